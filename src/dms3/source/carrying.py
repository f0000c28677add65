"""What a session asks of the other parties and of the network, until it has ended.

Source: docs/chains.md, "Countersigning". Every question is repeated with pauses that double; each
may come twice. Whatever is heard is believed for the signatures in it. `countersigning.py` decides
what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from dms3.chain.action import SignedAction, encode_signed
from dms3.chain.agent_messages import (
    AgentQuestion,
    SessionAccept,
    SessionComplete,
    SessionPropose,
    SessionReply,
    decode_session_reply,
    sign_decline,
)
from dms3.chain.operations_validation import Activity, Found, GetActivity, GetRecord
from dms3.core.errors import DecodeError, Dms3Error, Retry
from dms3.core.ids import short
from dms3.core.limits import (
    GET_PATIENCE_US,
    SECOND_US,
    SESSION_ACTIVITY_MAX,
    SESSION_AGAIN_US_MAX,
    SESSION_AGAIN_US_MIN,
    SESSION_CARRY_US_MAX,
    SESSION_GRACE_US,
    SESSION_WAITING_US,
)
from dms3.source.agents import ELSEWHERE, Agents
from dms3.source.flows import Ask, Flow, Rest, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.holding import Need
from dms3.source.notarising import Shown, show
from dms3.source.sessions import Kept, Sessions, fits

_OTHERS_WAIT_US = 2 * SECOND_US  # before a party carries what its proposer should
_SHOW_AGAIN_US = SECOND_US // 20
_REST_US = 30 * SECOND_US  # then others are not held up by what is not urgent
_END_TRIES = 4


class Steps(Protocol):
    """What may follow from what was heard."""

    def gathered(self, kept: Kept, agent: bytes, data: bytes) -> None:
        """A party has accepted."""

    def agreed(self, kept: Kept, entry: bytes) -> None:
        """All have."""

    def end(self, kept: Kept, state: str, why: str) -> None:
        """It is over."""


class Carrying:
    """The flows of all sessions; at most one of a kind to one party."""

    def __init__(self, grounds: Grounds, agents: Agents, sessions: Sessions, steps: Steps) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._agents = agents
        self._sessions = sessions
        self._steps = steps
        self._running: set[tuple[str, bytes, bytes]] = set()

    def _start(self, what: str, kept: Kept, agent: bytes, flow: Callable[[], Flow[None]]) -> None:
        key = (what, kept.id, agent)
        if key in self._running:
            return
        self._running.add(key)
        self._grounds.flows.start(flow(), lambda _: self._running.discard(key))

    def _ask(self, kept: Kept, agent: bytes, question: AgentQuestion) -> Flow[SessionReply]:
        """One question to a party; raises its refusal."""
        patience_us = min(GET_PATIENCE_US, max(SECOND_US, kept.window_us))
        data = yield from self._agents.ask(kept.overlay, agent, question, patience_us)
        try:
            return decode_session_reply(data)
        except DecodeError as error:
            raise Dms3Error(
                "peer_misbehaved", f"The answer cannot be read: {error.reason}."
            ) from error

    # Gathering acceptances

    def gather(self, kept: Kept) -> None:
        """Ask each of the others to accept an own proposal, until all have."""
        for agent in kept.others:
            if agent not in kept.acceptances:
                self._start("ask", kept, agent, lambda agent=agent: self._gather(kept, agent))  # type: ignore[misc]

    def _gather(self, kept: Kept, agent: bytes) -> Flow[None]:
        chain = self._grounds.chains.need(kept.overlay)
        row = kept.row
        certificate = self._agents.certificate(chain)
        question = AgentQuestion(
            propose=SessionPropose(agent, row.preflight, row.plain, certificate)
        )
        pause_us = SESSION_AGAIN_US_MIN
        while kept.state == "gathering" and agent not in kept.acceptances:
            try:
                reply = yield from self._ask(kept, agent, question)
                if reply.step == "accepted":
                    self._steps.gathered(kept, agent, reply.acceptance)
                elif reply.step in ("declined", "expired") and kept.state == "gathering":
                    why = reply.why or reply.step
                    self._steps.end(kept, "declined", f"agent {short(agent)}: {why}")
                elif reply.step == "waiting":
                    pause_us = SESSION_WAITING_US  # it says so when its person has decided
            except Dms3Error as error:
                if _refused(error) and kept.state == "gathering":
                    why = f"agent {short(agent)}: {error.message}"
                    self._steps.end(kept, "declined", why)
            if kept.state == "gathering" and agent not in kept.acceptances:
                yield Rest(pause_us)
                pause_us = min(2 * pause_us, SESSION_AGAIN_US_MAX)

    # Waiting for the set

    def seek(self, kept: Kept, *, at_once: bool = False) -> None:
        """Say what was accepted here, and ask what became of it, until that is known."""
        first_us = 0 if at_once else _OTHERS_WAIT_US
        self._start("seek", kept, b"", lambda: self._seek(kept, first_us))

    def _seek(self, kept: Kept, wait_us: int) -> Flow[None]:
        pause_us = SESSION_AGAIN_US_MIN
        while kept.state == "accepted":
            if wait_us:
                yield Rest(wait_us)
            unknown = yield from self._hear(kept)
            if kept.state != "accepted":
                return
            late_us = self._desk.now.wall_us - kept.preflight.until_us - kept.settle_us
            if unknown or late_us >= 0:
                sure = yield from self._look(kept)
                late_us = self._desk.now.wall_us - kept.preflight.until_us - kept.settle_us
                over = (late_us >= 0 and (sure or not unknown)) or late_us >= SESSION_GRACE_US
                if over and kept.state == "accepted":
                    self._steps.end(kept, "expired", "not all have accepted in time")
                    return
            wait_us = min(pause_us, -late_us) if late_us < 0 else pause_us
            pause_us = min(2 * pause_us, SESSION_AGAIN_US_MAX)

    def _hear(self, kept: Kept) -> Flow[int]:
        """Ask the proposer, and the others when it is silent: how many could not be asked.

        Whoever has the set brings it when it is asked.
        """
        own = kept.acceptances[kept.row.me]
        question = AgentQuestion(accept=SessionAccept(own))
        proposer = kept.preflight.proposer
        silent = 0
        for agent in (proposer, *(each for each in kept.others if each != proposer)):
            try:
                reply = yield from self._ask(kept, agent, question)
            except Dms3Error:
                silent += 1
                continue
            if kept.state != "accepted":
                return 0
            if agent == proposer and reply.step in ("declined", "expired"):
                why = f"agent {short(agent)}: {reply.why or reply.step}"
                self._steps.end(kept, reply.step, why)
                return 0
            if agent == proposer and self._desk.now.wall_us < kept.preflight.until_us:
                return 0
        return silent

    def _look(self, kept: Kept) -> Flow[bool]:
        """Look for the set in the chains of the others; whether it is sure that it is not there."""
        sure = True
        for agent in kept.others:
            try:
                known = yield from self._looked(kept, agent)
            except Dms3Error:
                known = False
            if kept.state != "accepted":
                return False
            sure = sure and known
        return sure

    def _looked(self, kept: Kept, agent: bytes) -> Flow[bool]:
        """One chain; whether all of it was seen."""
        after = -1
        while True:
            wanted = GetActivity(kept.overlay, agent, after, limit=SESSION_ACTIVITY_MAX)
            found: Activity = answer_or_raise((yield Ask("validation.activity", wanted)))
            for signed in found.actions:
                after = max(after, signed.action.seq)
                if signed.action.session == kept.id and signed.action.entry is not None:
                    hash_ = signed.action.entry
                    got = yield Ask("validation.get", GetRecord(kept.overlay, hash_))
                    record: Found | None = answer_or_raise(got)
                    entries = [each.entry for each in record.records] if record else []
                    for entry in entries[:1]:
                        if entry is not None and kept.state == "accepted":
                            self._steps.agreed(kept, entry)
                    return bool(entries)  # all have accepted: the set is somewhere
            if len(found.actions) < SESSION_ACTIVITY_MAX:
                return found.quorum

    # Bringing the set

    def carry(self, kept: Kept) -> None:
        """Bring the set to whoever has not signed yet, and all actions to the network."""
        if kept.missing:
            wait_us = 0 if kept.mine else _OTHERS_WAIT_US
            for agent in kept.missing:
                self._bring(kept, agent, wait_us)
        else:
            self._notarise(kept)

    def bring(self, kept: Kept, agent: bytes) -> None:
        """Bring it to one party now: it asked."""
        self._start("again", kept, agent, lambda: self._brought(kept, agent))

    def add(self, kept: Kept, actions: Iterable[bytes]) -> None:
        """Actions of others that came with the set; raises `content_invalid`."""
        if kept.state != "written":
            return
        known = kept.actions
        for data in actions:
            signed = fits(kept, data)
            if signed is not None and signed.action.author not in known:
                known[signed.action.author] = signed
        if len(known) > len(kept.actions):
            self._signed(kept, known)

    def _signed(self, kept: Kept, known: dict[bytes, SignedAction]) -> None:
        actions = tuple(encode_signed(known[agent]) for agent in sorted(known))
        self._sessions.change(kept, actions=actions)
        if not kept.missing:
            if kept.mine:
                for agent in kept.others:
                    self.bring(kept, agent)
            self._notarise(kept)

    def _bring(self, kept: Kept, agent: bytes, wait_us: int) -> None:
        self._start("carry", kept, agent, lambda: self._bring_until(kept, agent, wait_us))

    def _bring_until(self, kept: Kept, agent: bytes, wait_us: int) -> Flow[None]:
        pause_us = SESSION_AGAIN_US_MIN
        while kept.state == "written" and agent in kept.missing:
            if wait_us:
                yield Rest(wait_us)
            if kept.state != "written" or agent not in kept.missing:
                return
            yield from self._brought(kept, agent)
            late_us = self._desk.now.wall_us - kept.preflight.until_us
            if late_us > SESSION_CARRY_US_MAX and kept.state == "written" and kept.missing:
                who = ", ".join(short(each) for each in kept.missing)
                self._steps.end(kept, "expired", f"accepted by all, but never written by {who}")
                return
            wait_us, pause_us = pause_us, min(2 * pause_us, SESSION_AGAIN_US_MAX)

    def _brought(self, kept: Kept, agent: bytes) -> Flow[None]:
        """Ask once; what cannot be done now is tried again by whoever called."""
        if kept.state not in ("written", "complete"):
            return
        entry = kept.entry()[1]
        question = AgentQuestion(complete=SessionComplete(agent, kept.id, entry, kept.row.actions))
        try:
            reply = yield from self._ask(kept, agent, question)
            if reply.action:
                self.add(kept, (reply.action,))
        except Dms3Error:
            return

    # The network as notary

    def _notarise(self, kept: Kept) -> None:
        self._start("show", kept, b"", lambda: self._show(kept))

    def _show(self, kept: Kept) -> Flow[None]:
        actions = kept.actions
        need = Need.of(self._grounds.app_or_none(kept.overlay))
        shown = Shown(
            kept.overlay, tuple(actions[each] for each in sorted(actions)), kept.entry()[1], need
        )
        pause_us = _SHOW_AGAIN_US
        while kept.state == "written":
            try:
                enough = yield from show(shown, ("entry",))
            except Dms3Error:
                enough = False
            if enough and kept.state == "written":
                self._steps.end(kept, "complete", "")
                break
            yield Rest(pause_us)
            pause_us = min(2 * pause_us, SESSION_AGAIN_US_MAX)
        yield Rest(_REST_US)
        yield from self._show_rest(kept, shown)

    def _show_rest(self, kept: Kept, shown: Shown) -> Flow[None]:
        """The other parts of what the others wrote: one may be gone, or hide that he forks."""
        theirs = tuple(signed for signed in shown.actions if signed.action.author != kept.row.me)
        try:
            yield from show(replace(shown, actions=theirs), ("record", "activity"))
        except Dms3Error:
            return

    # Ends

    def tell_end(self, kept: Kept, before: str) -> None:
        """Tell who waits for this party that it is over: the sooner their chains go on."""
        to = kept.others if kept.mine else (kept.preflight.proposer,)
        if before in ("gathering", "agreed") if kept.mine else before in ("asked", "agreed"):
            for agent in to:
                self._start("end", kept, agent, lambda agent=agent: self._tell_end(kept, agent))  # type: ignore[misc]

    def _tell_end(self, kept: Kept, agent: bytes) -> Flow[None]:
        chain = self._grounds.chains.need(kept.overlay)
        decline = sign_decline(chain.signing, kept.id, kept.row.why or kept.row.state)
        pause_us = SESSION_AGAIN_US_MIN
        for _ in range(_END_TRIES):
            try:
                yield from self._ask(kept, agent, AgentQuestion(decline=decline))
            except Dms3Error as error:
                if _refused(error):
                    return
                yield Rest(pause_us)
                pause_us = min(2 * pause_us, SESSION_AGAIN_US_MAX)
            else:
                return


def _refused(error: Dms3Error) -> bool:
    """Whether it was heard and refused, and not just not reached."""
    return error.retry == Retry.NEVER and error.code not in ELSEWHERE
