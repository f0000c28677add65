"""The steps of a session that this device takes: locking, signing, writing, going on, ending.

Source: IPS paper, appendix C; docs/chains.md, "Countersigning". An acceptance is no action: who
accepted and never hears more goes on after the window, unharmed. Once all have accepted, whoever
has the set writes his action, whatever the time. `carrying.py` talks to the other parties,
`sessions.py` keeps and checks.
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.chain.action import encode_signed
from dms3.chain.session import accept_session, decode_acceptance
from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import OverlayId, RequestId, short
from dms3.core.limits import SECOND_US, SESSION_GRACE_US, SESSION_WINDOW_US_MAX
from dms3.source.agents import Agents
from dms3.source.carrying import Carrying
from dms3.source.chains import Chain
from dms3.source.drafting import Draft, Known
from dms3.source.grounds import Grounds
from dms3.source.sessions import ENDS, Kept, Sessions, believed, said_of, set_in
from dms3.source.writing import Job, Records, Writing


class Agreeing:
    """What is done with the own chain; at most one session has its lock."""

    def __init__(
        self, grounds: Grounds, agents: Agents, writing: Writing, sessions: Sessions
    ) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._writing = writing
        self._sessions = sessions
        self.carrying = Carrying(grounds, agents, sessions, self)
        self._locking: set[OverlayId] = set()
        self._writes: set[bytes] = set()
        self._waiting: dict[bytes, list[RequestId]] = {}  # parties that want the own action

    # The own chain

    def is_busy(self, kept: Kept) -> bool:
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

    def accept(self, kept: Kept, done: Callable[[Failure | None], None]) -> None:
        """Lock the chain and sign for the place behind its head; raises when it cannot be."""
        chain = self._grounds.chains.need(kept.overlay)
        chain.check_writable()
        if chain.row.lock or chain.overlay in self._locking:
            raise locked_by_session(chain)

        def locked() -> None:
            self._locking.discard(chain.overlay)
            late = self._desk.now.wall_us >= kept.preflight.until_us
            if kept.state != "asked" or late or chain.row.agent != kept.row.me:
                self._writing.unlock(chain)
                done(Failure("forbidden", "The time to sign is over."))
                return
            self._sessions.change(kept, state="accepted", accepted=(self._signed(kept, chain),))
            self.tell(kept)
            done(None)

        self._locking.add(chain.overlay)
        self._writing.lock(chain, kept.id, locked)

    def _signed(self, kept: Kept, chain: Chain) -> bytes:
        assert chain.row.head is not None, "a chain begins before anything is accepted"
        return accept_session(chain.signing, kept.id, chain.row.seq + 1, chain.row.head)

    # Acceptances come

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
                self.answer_waiting(kept)
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
            self.tell(kept)
            self.answer_waiting(kept)
            self.carrying.carry(kept)

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

    def wait(self, kept: Kept, request: RequestId) -> None:
        """Answer `request` when the own action is written, or will not be."""
        self._waiting.setdefault(kept.id, []).append(request)

    def answer_waiting(self, kept: Kept) -> None:
        """Tell those who wait how it stands."""
        for request in self._waiting.pop(kept.id, ()):
            self._desk.reply(request, encode(said_of(kept)))

    # The end

    def end(self, kept: Kept, state: str, why: str) -> None:
        """It is over; the chain goes on, whoever waits is told."""
        before = kept.state
        self._sessions.change(kept, state=state, why=why)
        self._desk.no_alarm(_alarm(kept))
        self.tell(kept)
        self.answer_waiting(kept)
        if state != "complete":
            self.carrying.tell_end(kept, before)
        chain = self._grounds.chains.need(kept.overlay)
        if chain.row.lock == kept.id:
            self._writing.unlock(chain)
            self._others_turn(kept.overlay)

    def _others_turn(self, overlay: OverlayId) -> None:
        """The chain is free: an own proposal may have waited for that."""
        for each in self._sessions.of(overlay, "gathering"):
            self._agree(each)

    def tell(self, kept: Kept) -> None:
        """Tell people and programs how it stands."""
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

    def go_on(self, kept: Kept) -> None:
        """Take up what is under way; the same after a restart and after a step."""
        chain = self._grounds.chains.need(kept.overlay)
        if kept.row.me != chain.row.agent and kept.state not in (*ENDS, "written"):
            why = "this home writes with another key, or came out of a backup of another one"
            self._sessions.change(kept, state="expired", why=why)
            return
        self.arm(kept)
        match kept.state:
            case "gathering":
                self.carrying.gather(kept)
                self._agree(kept)
            case "accepted":
                self.carrying.seek(kept, at_once=True)
            case "agreed":
                self._write(kept)
            case "written":
                self.carrying.carry(kept)

    def arm(self, kept: Kept) -> None:
        """Look at it when its window ends."""
        if kept.state in ("asked", "gathering"):
            wait_us = max(0, kept.preflight.until_us - self._desk.now.wall_us)
            wait_us = min(wait_us, SESSION_WINDOW_US_MAX)
            self._desk.after(_alarm(kept), wait_us, lambda: self._time_over(kept))

    def _time_over(self, kept: Kept) -> None:
        if kept.state in ("asked", "gathering"):
            if self._desk.now.wall_us < kept.preflight.until_us:
                self.arm(kept)
                return
            missing = ", ".join(short(each) for each in kept.others if each not in kept.acceptances)
            self.end(kept, "expired", f"not accepted in time by {missing or 'this agent'}")


def _alarm(kept: Kept) -> str:
    return f"session:end:{kept.id.hex()}"


def locked_by_session(chain: Chain) -> Dms3Error:
    """What a commit or proposal is told while the chain waits."""
    return Dms3Error(
        "chain_locked",
        f"Your chain in app {short(chain.row.overlay)} waits for a countersigning.",
        hint="Wait until that has ended; dms3 dapp sessions shows until when.",
        retry=Retry.LATER,
    )


def _sorted(*accepted: bytes) -> tuple[bytes, ...]:
    return tuple(sorted(accepted, key=lambda each: decode_acceptance(each).agent))
