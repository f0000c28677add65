"""Countersigning: an entry that several agents sign, each in its own chain, all of them or nobody.

Source: IPS paper, appendix C; docs/chains.md, "Countersigning". This part decides: what a person or
app accepts, when a chain waits and when it goes on. `carrying.py` talks to the other parties,
`sessions.py` keeps and checks, `notarising.py` asks the network.

An acceptance is no action: who accepted and never hears more goes on after the window, unharmed.
Once all have accepted, whoever has the set writes his action, whatever the time, and brings the set
to the others; an action whose session is not complete binds nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dms3.chain.action import encode_signed
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
    accept_session,
    check_preflight,
    decode_acceptance,
    decode_preflight,
    propose_session,
)
from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import OverlayId, PeerId, RequestId, short
from dms3.core.limits import (
    AGENT_SENDERS_MAX,
    CLOCK_AHEAD_US_MAX,
    GET_PATIENCE_US,
    SECOND_US,
    SESSION_BURST_US,
    SESSION_COST_US,
    SESSION_ENTRY_BYTES_MAX,
    SESSION_GRACE_US,
    SESSION_WINDOW_US_MAX,
)
from dms3.core.machine import View
from dms3.source.agents import Agents, Paces
from dms3.source.carrying import Carrying
from dms3.source.chains import Chain
from dms3.source.drafting import Draft, Known
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.parts import Operation, Part, Question
from dms3.source.sessions import ENDS, Kept, SessionRow, Sessions, believed, set_in
from dms3.source.writing import Job, Records, Writing

_BUSY = "Its chain waits for another countersigning."


class Countersigning(Part):
    """Operations "propose", "accept", "decline", "sessions", and the other parties' questions."""

    def __init__(self, grounds: Grounds, agents: Agents, writing: Writing) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._agents = agents
        self._writing = writing
        self._sessions = Sessions(grounds.desk)
        self._carrying = Carrying(grounds, agents, self._sessions, self)
        self._locking: set[OverlayId] = set()
        self._asking: set[bytes] = set()  # the app is asked about them
        self._writes: set[bytes] = set()
        self._paces = Paces[bytes](SESSION_COST_US, SESSION_BURST_US, AGENT_SENDERS_MAX)
        self._waiting: dict[bytes, list[RequestId]] = {}  # parties that want the own action

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
            self._go_on(kept)

    def clock_jumped(self) -> None:
        """Windows end by the wall clock."""
        for kept in self._sessions.of(None):
            self._arm(kept)

    # Commands

    def _propose(self, wanted: Propose, request: RequestId) -> None:
        chain = self._grounds.chains.need(wanted.overlay)
        chain.check_writable()
        if chain.row.lock:
            raise _locked(chain)
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
        self._told(kept)
        self._desk.reply(request, kept.shown)
        self._go_on(kept)

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
                self._carrying.seek(kept, at_once=True)

        self._accept_now(kept, done)

    def _decline(self, session: bytes, request: RequestId) -> None:
        kept = self._sessions.need(session)
        if kept.state not in ("asked", "gathering"):
            raise Dms3Error(
                "argument_invalid",
                f"This session cannot be declined: it is {kept.shown.state}.",
                hint="What was signed stands until its window ends.",
            )
        self.end(kept, "declined", "declined here")
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
            self._desk.reply(request, encode(self._standing(kept)))
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
        if self._refuses(kept):
            return SessionReply("declined", why=_BUSY)
        verdict = answer_or_raise((yield Ask("dapps.countersign", kept.shown)))
        if self._refuses(kept):
            return SessionReply("declined", why=_BUSY)
        if verdict is not None and not verdict:
            return SessionReply("declined", why="Its app does not accept this.")
        kept = self._sessions.add(row)
        self._arm(kept)
        if verdict is None:
            self._told(kept)
            return SessionReply("waiting")

        def done(failure: Failure | None) -> None:
            self._desk.reply(request, failure or encode(self._standing(kept)))
            self._carrying.seek(kept)

        self._accept_now(kept, done)
        return None

    def _refuses(self, kept: Kept) -> bool:
        """Whether the chain is spoken for, also by an own proposal to that proposer.

        Of two that propose to each other at once the one with the lesser id goes first, so that
        neither waits for the other.
        """
        chain = self._grounds.chains.need(kept.overlay)
        own = self._sessions.of(kept.overlay, "gathering", "agreed")
        before = any(
            kept.preflight.proposer in each.others and (each.id < kept.id or each.state == "agreed")
            for each in own
        )
        return bool(chain.row.lock) or chain.overlay in self._locking or before

    def _accept_now(self, kept: Kept, done: Callable[[Failure | None], None]) -> None:
        """Lock the chain and sign for the place behind its head; raises when it cannot be."""
        chain = self._grounds.chains.need(kept.overlay)
        chain.check_writable()
        if chain.row.lock or chain.overlay in self._locking:
            raise _locked(chain)

        def locked() -> None:
            self._locking.discard(chain.overlay)
            late = self._desk.now.wall_us >= kept.preflight.until_us
            if kept.state != "asked" or late or chain.row.agent != kept.row.me:
                self._writing.unlock(chain)
                done(Failure("forbidden", "The time to sign is over."))
                return
            self._sessions.change(kept, state="accepted", accepted=(self._signed(kept, chain),))
            self._told(kept)
            done(None)

        self._locking.add(chain.overlay)
        self._writing.lock(chain, kept.id, locked)

    def _signed(self, kept: Kept, chain: Chain) -> bytes:
        assert chain.row.head is not None, "a chain begins before anything is accepted"
        return accept_session(chain.signing, kept.id, chain.row.seq + 1, chain.row.head)

    def _standing(self, kept: Kept) -> SessionReply:
        """What the others are told of a session."""
        me = kept.row.me
        match kept.state:
            case "asked":
                return SessionReply("waiting")
            case "accepted":
                return SessionReply("accepted", kept.acceptances[me])
            case "gathering" | "agreed":
                return SessionReply("waiting")
            case "declined" | "expired":
                return SessionReply(kept.row.state, why=kept.row.why)
        return SessionReply("complete", action=encode_signed(kept.actions[me]))

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
            self.gathered(kept, acceptance.agent, said.acceptance)
        elif kept.state in ("written", "complete"):
            self._carrying.bring(kept, acceptance.agent)
        self._desk.reply(request, encode(self._standing(kept)))

    def gathered(self, kept: Kept, agent: bytes, data: bytes) -> None:
        """A party's acceptance of an own proposal; raises `content_invalid`."""
        if believed(kept, data).agent != agent:
            raise Dms3Error("content_invalid", "The acceptance is another agent's.")
        if kept.state != "gathering" or agent in kept.acceptances:
            return
        self._sessions.change(kept, accepted=_sorted(*kept.row.accepted, data))
        self._agree(kept)

    def _agree(self, kept: Kept) -> None:
        """All others have accepted: sign at last, so that the own chain waits for nobody."""
        chain = self._grounds.chains.need(kept.overlay)
        if set(kept.acceptances) != set(kept.others):
            return
        if chain.row.lock or chain.overlay in self._locking:
            return  # tried again when that ends
        if chain.row.agent != kept.row.me:
            self.end(kept, "expired", "the key of the proposer was replaced")
            return

        def locked() -> None:
            self._locking.discard(chain.overlay)
            if kept.state != "gathering":
                self._writing.unlock(chain)
            elif self._desk.now.wall_us > kept.preflight.until_us - kept.settle_us:
                self._writing.unlock(chain)
                self.end(kept, "expired", "too little time was left when all had accepted")
            else:
                own = self._signed(kept, chain)
                accepted = _sorted(*kept.row.accepted, own)
                self._sessions.change(kept, state="agreed", accepted=accepted)
                self._write(kept)

        self._locking.add(chain.overlay)
        self._writing.lock(chain, kept.id, locked)

    # The set is complete

    def _completed(self, peer: PeerId, brought: SessionComplete, request: RequestId) -> None:
        """The set of all acceptances, by whoever has it."""
        del peer
        kept = self._sessions.find(brought.session)
        if kept is None or kept.row.me != brought.to:
            raise Dms3Error("not_found", "This agent takes no part in such a session.")
        self._admit(kept.id)
        if kept.state in ("written", "complete"):
            self._carrying.add(kept, brought.actions)
            self._desk.reply(request, encode(self._standing(kept)))
            return
        self._waiting.setdefault(kept.id, []).append(request)
        try:
            self.agreed(kept, brought.entry)
        except Dms3Error:
            self._waiting[kept.id].remove(request)
            raise
        if kept.state in ("declined", "expired"):
            self._answer_waiting(kept)

    def agreed(self, kept: Kept, entry: bytes) -> None:
        """Take the set in a countersigned `entry`, and write the own action for it.

        Raises `content_invalid` when it is not the set of this session.
        """
        if kept.own is None:
            raise Dms3Error("content_invalid", "This agent has accepted no such session.")
        if kept.state == "agreed":
            return
        accepted = set_in(kept, entry)
        chain = self._grounds.chains.need(kept.overlay)
        if kept.state == "accepted":
            self._sessions.change(kept, state="agreed", accepted=accepted)
            self._write(kept)
            return
        if chain.row.head != kept.own.prev or chain.row.lock or chain.overlay in self._locking:
            return  # the chain has gone on: too late

        def locked() -> None:
            self._locking.discard(chain.overlay)
            if kept.own is None or chain.row.head != kept.own.prev:
                self._writing.unlock(chain)
                self._answer_waiting(kept)
                return
            self._sessions.change(kept, state="agreed", accepted=accepted)
            self._write(kept)

        self._locking.add(chain.overlay)
        self._writing.lock(chain, kept.id, locked)

    def _write(self, kept: Kept) -> None:
        """The own action, at the accepted place, within the window; the chain goes on with it."""
        chain, own = self._grounds.chains.need(kept.overlay), kept.own
        assert own is not None, "it was accepted"
        if kept.id in self._writes or kept.state != "agreed":
            return
        self._writes.add(kept.id)
        hash_, entry = kept.entry()
        preflight = kept.preflight

        def build(draft: Draft, _known: Known) -> None:
            draft.time_us = min(draft.time_us, preflight.until_us)
            draft.time_us = max(draft.time_us, preflight.since_us)
            draft.add("countersign", entry, entry=hash_, entry_kind=preflight.kind, session=kept.id)

        def written(records: Records) -> None:
            action = encode_signed(records[-1].signed)
            self._sessions.change(kept, state="written", actions=(action,))
            chain.lock(b"")
            self._told(kept)
            self._answer_waiting(kept)
            self._carrying.carry(kept)

        def done(result: Records | Failure) -> None:
            self._writes.discard(kept.id)
            if isinstance(result, Failure):
                self._not_written(kept, result)
            else:
                self._others_turn(kept.overlay)

        self._writing.write(
            Job(chain, build, head=own.prev, session=kept.id, written=written), done
        )

    def _not_written(self, kept: Kept, failure: Failure) -> None:
        """The rules of the app refuse it, for everybody alike; or they could not be applied yet."""
        late_us = self._desk.now.wall_us - kept.preflight.until_us
        if failure.retry == Retry.LATER and late_us < SESSION_GRACE_US:
            key = f"session:write:{kept.id.hex()}"
            self._desk.after(key, SECOND_US, lambda: self._write(kept))
            return
        self.end(kept, "declined", failure.message)

    def _answer_waiting(self, kept: Kept) -> None:
        for request in self._waiting.pop(kept.id, ()):
            self._desk.reply(request, encode(self._standing(kept)))

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
                self.end(kept, "declined", f"agent {short(said.agent)}: {said.reason}")
        self._desk.reply(request, encode(SessionReply("declined")))

    def end(self, kept: Kept, state: str, why: str) -> None:
        """It is over; the chain goes on, whoever waits is told."""
        before = kept.state
        self._sessions.change(kept, state=state, why=why)
        self._desk.no_alarm(_alarm(kept))
        self._told(kept)
        self._answer_waiting(kept)
        if state != "complete":
            self._carrying.tell_end(kept, before)
        chain = self._grounds.chains.need(kept.overlay)
        if chain.row.lock == kept.id:
            self._writing.unlock(chain)
            self._others_turn(kept.overlay)

    def _others_turn(self, overlay: OverlayId) -> None:
        """The chain is free: an own proposal may have waited for that."""
        for each in self._sessions.of(overlay, "gathering"):
            self._agree(each)

    def _told(self, kept: Kept) -> None:
        shown = kept.shown
        self._desk.notify(
            "chain.session",
            app=kept.overlay.hex(),
            session=kept.id.hex(),
            kind=shown.kind,
            state=shown.state,
            proposer=shown.proposer.hex(),
            parties=[each.hex() for each in shown.parties],
            signed=[each.hex() for each in shown.signed],
            until_us=shown.until_us,
            action=None if shown.action is None else str(shown.action),
            why=shown.why,
        )

    # Time

    def _go_on(self, kept: Kept) -> None:
        """Take up what is under way; the same after a restart and after a step."""
        chain = self._grounds.chains.need(kept.overlay)
        if kept.row.me != chain.row.agent and kept.state not in (*ENDS, "written"):
            why = "this home writes with another key, or came out of a backup of another one"
            self._sessions.change(kept, state="expired", why=why)
            return
        self._arm(kept)
        match kept.state:
            case "gathering":
                self._carrying.gather(kept)
                self._agree(kept)
            case "accepted":
                self._carrying.seek(kept, at_once=True)
            case "agreed":
                self._write(kept)
            case "written":
                self._carrying.carry(kept)

    def _arm(self, kept: Kept) -> None:
        if kept.state in ("asked", "gathering"):
            wait_us = max(0, kept.preflight.until_us - self._desk.now.wall_us)
            wait_us = min(wait_us, SESSION_WINDOW_US_MAX)
            self._desk.after(_alarm(kept), wait_us, lambda: self._time_over(kept))

    def _time_over(self, kept: Kept) -> None:
        if kept.state in ("asked", "gathering"):
            if self._desk.now.wall_us < kept.preflight.until_us:
                self._arm(kept)
                return
            missing = ", ".join(short(each) for each in kept.others if each not in kept.acceptances)
            self.end(kept, "expired", f"not accepted in time by {missing or 'this agent'}")


def _alarm(kept: Kept) -> str:
    return f"session:end:{kept.id.hex()}"


def _locked(chain: Chain) -> Dms3Error:
    return Dms3Error(
        "chain_locked",
        f"Your chain in app {short(chain.row.overlay)} waits for a countersigning.",
        hint="Wait until that has ended; dms3 dapp sessions shows until when.",
        retry=Retry.LATER,
    )


def _sorted(*accepted: bytes) -> tuple[bytes, ...]:
    return tuple(sorted(accepted, key=lambda each: decode_acceptance(each).agent))
