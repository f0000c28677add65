"""Countersigning: an entry that several agents sign, each in its own chain, all of them or nobody.

Source: IPS paper, appendix C; docs/chains.md, "Countersigning". What people, apps and the other
parties ask of this device; `agreeing.py` takes the steps, `carrying.py` asks the others,
`notarising.py` the network, `sessions.py` keeps and checks.
"""

from __future__ import annotations

from collections.abc import Mapping

from dms3.chain.agent_messages import (
    SessionAccept,
    SessionComplete,
    SessionDecline,
    SessionPropose,
    SessionReply,
    check_decline,
)
from dms3.chain.entry import decode_entry, entry_hash, make_entry
from dms3.chain.operations import AcceptSession, Propose
from dms3.chain.session import (
    VERSION,
    Preflight,
    check_preflight,
    decode_acceptance,
    decode_preflight,
    propose_session,
)
from dms3.core.codec import encode
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, short
from dms3.core.limits import (
    AGENT_SENDERS_MAX,
    CLOCK_AHEAD_US_MAX,
    GET_PATIENCE_US,
    SESSION_BURST_US,
    SESSION_COST_US,
    SESSION_ENTRY_BYTES_MAX,
)
from dms3.core.machine import View
from dms3.source.agents import Agents, Paces
from dms3.source.agreeing import Agreeing, locked_by_session
from dms3.source.chains import Chain
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.parts import Part, Question
from dms3.source.sessions import Kept, SessionRow, Sessions, believed, said_of
from dms3.source.writing import Writing

_BUSY = "Its chain waits for another countersigning."


class Countersigning(Part):
    """Operations "propose", "accept", "decline", "sessions", and the other parties' questions."""

    def __init__(self, grounds: Grounds, agents: Agents, writing: Writing) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._agents = agents
        self._writing = writing
        self._sessions = Sessions(grounds.desk)
        self._steps = Agreeing(grounds, agents, writing, self._sessions)
        self._asking: set[bytes] = set()  # the app is asked about them
        self._paces = Paces[bytes](SESSION_COST_US, SESSION_BURST_US, AGENT_SENDERS_MAX)

    def operations(self) -> Mapping[str, Operation]:
        """Those of a person's apps."""
        return {
            "propose": self._propose,
            "accept": self._accept,
            "decline": self._decline,
            "sessions": self._list,
        }

    def questions(self) -> Mapping[str, Question]:
        """Those of other parties."""
        return {
            "propose": self._proposed,
            "accept": self._accepted,
            "complete": self._completed,
            "decline": self._declined,
        }

    def load(self, view: View) -> None:
        """Read the table."""
        self._sessions.load(view)

    def taken_up(self, chain: Chain) -> None:
        """The app runs: go on with its sessions."""
        holder = self._sessions.find(chain.row.lock)
        if chain.row.lock and (holder is None or holder.state not in ("accepted", "agreed")):
            self._writing.unlock(chain)
        for kept in self._sessions.of(chain.overlay):
            self._steps.go_on(kept)

    def clock_jumped(self) -> None:
        """Windows end by the wall clock."""
        for kept in self._sessions.of(None):
            self._steps.arm(kept)

    # Commands

    def _propose(self, wanted: Propose, request: RequestId) -> None:
        chain = self._grounds.chains.need(wanted.overlay)
        chain.check_writable()
        if chain.row.lock:
            raise locked_by_session(chain)
        dna = self._grounds.app(wanted.overlay)
        kind = dna.entry_kind(wanted.kind)
        if kind is None or kind.private:
            raise Dms3Error(
                "argument_invalid",
                f"App {dna.name!r} has no public entry kind {wanted.kind!r}.",
                hint="What is countersigned can be read by everybody in the app.",
            )
        row = self._drafted(chain, wanted)
        kept = self._sessions.add(row)
        self._steps.tell(kept)
        self._desk.reply(request, kept.shown)
        self._steps.go_on(kept)

    def _drafted(self, chain: Chain, wanted: Propose) -> SessionRow:
        """The signed preflight; raises `argument_invalid`."""
        me, now_us = chain.row.agent, self._desk.now.wall_us
        try:
            hash_, plain = make_entry(wanted.content)
            bare = Preflight(
                VERSION,
                wanted.overlay,
                me,
                tuple(sorted({*wanted.parties, me})),
                hash_,
                wanted.kind,
                now_us,
                now_us + wanted.window_us,
                b"",
            )
        except ValueError as error:
            raise Dms3Error("argument_invalid", f"This cannot be proposed: {error}.") from error
        if len(plain) > SESSION_ENTRY_BYTES_MAX:
            raise Dms3Error(
                "argument_invalid",
                f"An entry of {len(plain)} bytes is too long to be countersigned, "
                f"{SESSION_ENTRY_BYTES_MAX} fit.",
                hint="Keep it as a document, and countersign its content identifier.",
            )
        return SessionRow(1, propose_session(chain.signing, bare), plain, me, "gathering")

    def _accept(self, wanted: AcceptSession, request: RequestId) -> None:
        kept = self._sessions.need(wanted.id)
        if kept.state != "asked":
            raise Dms3Error(
                "argument_invalid",
                f"There is nothing to accept: this session is {kept.shown.state}.",
            )

        def done(failure: Failure | None) -> None:
            self._desk.reply(request, failure or kept.shown)
            if failure is None:
                self._steps.carrying.seek(kept, at_once=True)

        self._steps.accept(kept, done)

    def _decline(self, session: bytes, request: RequestId) -> None:
        kept = self._sessions.need(session)
        if kept.state not in ("asked", "gathering"):
            raise Dms3Error(
                "argument_invalid",
                f"This session cannot be declined: it is {kept.shown.state}.",
                hint="What was signed stands until its window ends.",
            )
        self._steps.end(kept, "declined", "declined here")
        self._desk.reply(request, kept.shown)

    def _list(self, overlay: OverlayId | None, request: RequestId) -> None:
        self._desk.reply(request, tuple(kept.shown for kept in self._sessions.of(overlay)))

    # Being asked

    def _proposed(self, peer: PeerId, asked: SessionPropose, request: RequestId) -> None:
        del peer  # the proposer has signed
        preflight = decode_preflight(asked.preflight)
        if not check_preflight(preflight):
            raise Dms3Error("forbidden", "The proposer has not signed the preflight.")
        self._admit(preflight.proposer)
        kept = self._sessions.find(preflight.id)
        if kept is not None:
            self._desk.reply(request, encode(said_of(kept)))
            return
        if preflight.id in self._asking:
            raise Dms3Error("limit_reached", "This session is being looked at.")
        row = self._looked_at(preflight, asked)
        self._asking.add(preflight.id)

        def answered(reply: SessionReply | Failure | None) -> None:
            self._asking.discard(preflight.id)
            if reply is not None:
                self._desk.reply(request, reply if isinstance(reply, Failure) else encode(reply))

        self._grounds.flows.start(self._decide(row, asked.certificate, request), answered)

    def _admit(self, who: bytes) -> None:
        """Raise `limit_reached` when an agent, or one about a session, asks too often."""
        if not self._paces.admit(who, self._desk.now):
            raise Dms3Error("limit_reached", "You ask too often; wait a moment.")

    def _looked_at(self, preflight: Preflight, asked: SessionPropose) -> SessionRow:
        """The session as it may be accepted here; raises what the proposer is told."""
        overlay = OverlayId(preflight.overlay)
        chain = self._grounds.chains.find(overlay)
        if chain is None or chain.row.agent != asked.to or asked.to not in preflight.parties:
            raise Dms3Error("not_found", f"Agent {short(asked.to)} is not at this node.")
        if asked.to == preflight.proposer:
            raise Dms3Error("argument_invalid", "Nobody proposes to himself.")
        kind = self._grounds.app(overlay).entry_kind(preflight.kind)
        if kind is None or kind.private:
            raise Dms3Error("content_invalid", "The app has no such public entry kind.")
        if len(asked.entry) > SESSION_ENTRY_BYTES_MAX:
            raise Dms3Error("content_invalid", "The entry is too long to be countersigned.")
        self._check_content(preflight, asked.entry)
        row = SessionRow(1, asked.preflight, asked.entry, asked.to, "asked")
        now_us = self._desk.now.wall_us
        if now_us >= preflight.until_us - Kept(row).settle_us:
            raise Dms3Error("forbidden", "The time to sign is over.")
        if preflight.since_us > now_us + CLOCK_AHEAD_US_MAX:
            raise Dms3Error("not_yet_valid", "The time to sign has not begun.")
        return row

    def _check_content(self, preflight: Preflight, plain: bytes) -> None:
        content = decode_entry(plain).content
        if entry_hash(plain) != preflight.entry or make_entry(content)[1] != plain:
            raise Dms3Error("content_invalid", "The content is another than the preflight names.")

    def _decide(
        self, row: SessionRow, certificate: bytes, request: RequestId
    ) -> Flow[SessionReply | None]:
        """Ask the app, or leave it to the person; None: the reply comes later, with the lock."""
        kept = Kept(row)
        proposer = kept.preflight.proposer
        yield from self._agents.member(kept.overlay, proposer, certificate, GET_PATIENCE_US)
        if self._steps.is_busy(kept):
            return SessionReply("declined", why=_BUSY)
        verdict = answer_or_raise((yield Ask("dapps.countersign", kept.shown)))
        if self._steps.is_busy(kept):
            return SessionReply("declined", why=_BUSY)
        if verdict is not None and not verdict:
            return SessionReply("declined", why="Its app does not accept this.")
        kept = self._sessions.add(row)
        self._steps.arm(kept)
        if verdict is None:
            self._steps.tell(kept)
            return SessionReply("waiting")

        def done(failure: Failure | None) -> None:
            self._desk.reply(request, failure or encode(said_of(kept)))
            self._steps.carrying.seek(kept)

        self._steps.accept(kept, done)
        return None

    # Acceptances come

    def _accepted(self, peer: PeerId, said: SessionAccept, request: RequestId) -> None:
        """A party has accepted, or asks what became of it."""
        del peer
        acceptance = decode_acceptance(said.acceptance)
        kept = self._sessions.find(acceptance.session)
        if kept is None:
            self._desk.reply(request, encode(SessionReply("expired")))
            return
        self._admit(kept.id)
        believed(kept, said.acceptance)
        if kept.state == "gathering":
            self._steps.gathered(kept, acceptance.agent, said.acceptance)
        elif kept.state in ("written", "complete"):
            self._steps.carrying.bring(kept, acceptance.agent)
        self._desk.reply(request, encode(said_of(kept)))

    # The set is complete

    def _completed(self, peer: PeerId, brought: SessionComplete, request: RequestId) -> None:
        """The set of all acceptances, by whoever has it."""
        del peer
        kept = self._sessions.find(brought.session)
        if kept is None or kept.row.me != brought.to:
            raise Dms3Error("not_found", "This agent takes no part in such a session.")
        self._admit(kept.id)
        if kept.state in ("written", "complete"):
            self._steps.carrying.add(kept, brought.actions)
            self._desk.reply(request, encode(said_of(kept)))
            return
        self._steps.agreed(kept, brought.entry)
        self._steps.wait(kept, request)
        if kept.state in ("declined", "expired"):
            self._steps.answer_waiting(kept)

    # The end

    def _declined(self, peer: PeerId, said: SessionDecline, request: RequestId) -> None:
        """A party takes no part, or the proposer takes it back."""
        del peer
        kept = self._sessions.find(said.session)
        if kept is not None:
            self._admit(kept.id)
            if said.agent not in kept.others or not check_decline(said):
                raise Dms3Error("forbidden", "That is not signed by a party of the session.")
            theirs = said.agent == kept.preflight.proposer
            if kept.state == "gathering" or (theirs and kept.state in ("asked", "accepted")):
                self._steps.end(kept, "declined", f"agent {short(said.agent)}: {said.reason}")
        self._desk.reply(request, encode(SessionReply("declined")))
