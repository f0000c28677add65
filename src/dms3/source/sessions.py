"""Sessions of countersigning as this device keeps them, and what makes a step of one believable.

Source: docs/chains.md, "Countersigning"; `chain/session.py` has the formats. Rows and checks:
`countersigning.py` takes the steps.

States: "asked" (the person decides), "gathering" (mine: others decide), "accepted" (my chain
waits), "agreed" (all have accepted: to be written), "written" (mine is, others' are gathered and
shown to the network), and the ends "complete", "declined", "expired".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from dms3.chain.action import SignedAction, check_signature, decode_signed, encode_signed
from dms3.chain.agent_messages import SessionReply
from dms3.chain.entry import decode_entry
from dms3.chain.operations import Session
from dms3.chain.session import (
    Acceptance,
    Agreed,
    check_acceptance,
    check_session,
    decode_acceptance,
    decode_preflight,
    session_entry,
)
from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    DETAIL_CHARS_MAX,
    SESSION_SETTLE_US,
    SESSIONS_ENDED_MAX,
    SESSIONS_OF_ONE_MAX,
    SESSIONS_OPEN_MAX,
)
from dms3.core.machine import View, scan

TABLE = "session"
ENDS = ("complete", "declined", "expired")
_SHOWN = {
    "asked": "proposed",
    "gathering": "proposed",
    "accepted": "locked",
    "agreed": "locked",
    "written": "locked",
}


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session. `me`: the own agent in it. `plain`: its entry without a session.

    `accepted`, `actions`: encoded acceptances and signed actions of the parties that are known.
    `why`: what ended it, for people.
    """

    v: int
    preflight: bytes
    plain: bytes = field(repr=False)
    me: bytes
    state: str
    accepted: tuple[bytes, ...] = ()
    actions: tuple[bytes, ...] = ()
    why: str = ""


class Kept:
    """A session at hand: its row, and what is decoded of it."""

    def __init__(self, row: SessionRow) -> None:
        self.row = row
        self.preflight = decode_preflight(row.preflight)
        self.id = self.preflight.id

    @property
    def overlay(self) -> OverlayId:
        """The app."""
        return OverlayId(self.preflight.overlay)

    @property
    def state(self) -> str:
        """Where it stands."""
        return self.row.state

    @property
    def mine(self) -> bool:
        """Whether this device proposed it."""
        return self.preflight.proposer == self.row.me

    @property
    def others(self) -> tuple[bytes, ...]:
        """The other parties, in order."""
        return tuple(each for each in self.preflight.parties if each != self.row.me)

    @property
    def acceptances(self) -> dict[bytes, bytes]:
        """Encoded acceptances by agent."""
        return {decode_acceptance(each).agent: each for each in self.row.accepted}

    @property
    def actions(self) -> dict[bytes, SignedAction]:
        """Signed actions by agent."""
        found = (decode_signed(each) for each in self.row.actions)
        return {each.action.author: each for each in found}

    @property
    def own(self) -> Acceptance | None:
        """What this device has accepted."""
        data = self.acceptances.get(self.row.me)
        return None if data is None else decode_acceptance(data)

    @property
    def action(self) -> Cid | None:
        """The own action, once it is written."""
        signed = self.actions.get(self.row.me)
        return None if signed is None else signed.hash

    @property
    def missing(self) -> tuple[bytes, ...]:
        """Parties whose action is not known."""
        known = self.actions
        return tuple(each for each in self.preflight.parties if each not in known)

    @property
    def window_us(self) -> int:
        """How long the session may last."""
        return self.preflight.until_us - self.preflight.since_us

    @property
    def settle_us(self) -> int:
        """Nobody completes the set this long before the end, or goes on this long behind it."""
        return min(SESSION_SETTLE_US, self.window_us // 4)

    def entry(self) -> tuple[Cid, bytes]:
        """Hash and bytes of the countersigned entry, when all have accepted."""
        assert len(self.row.accepted) == len(self.preflight.parties), "not all have accepted"
        content = decode_entry(self.row.plain).content
        return session_entry(content, self.row.preflight, self.row.accepted)

    @property
    def shown(self) -> Session:
        """What people and programs are told."""
        preflight = self.preflight
        signed = self.actions or self.acceptances
        return Session(
            self.id,
            self.overlay,
            preflight.kind,
            decode_entry(self.row.plain).content,
            preflight.parties,
            tuple(sorted(signed)),
            preflight.until_us,
            cast("Literal['proposed']", _SHOWN.get(self.row.state, self.row.state)),
            self.action,
            preflight.proposer,
            self.row.why,
        )


class Sessions:
    """All sessions by id: those that go on, and the last that have ended."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._all: dict[bytes, Kept] = {}

    def load(self, view: View) -> None:
        """Read the table."""
        found = [Kept(decode(SessionRow, value)) for _, value in scan(view, TABLE)]
        found.sort(key=lambda each: (each.preflight.until_us, each.id))
        self._all = {each.id: each for each in found}

    def find(self, session: bytes) -> Kept | None:
        """The session with this id."""
        return self._all.get(session)

    def need(self, session: bytes) -> Kept:
        """The same; raises `not_found`."""
        kept = self._all.get(session)
        if kept is None:
            raise Dms3Error("not_found", f"No session {session.hex()[:12]} is known here.")
        return kept

    def of(self, overlay: OverlayId | None, *states: str) -> Iterator[Kept]:
        """Those of an app (None: of all) in one of `states` (none given: in any), in order."""
        for kept in list(self._all.values()):
            if overlay in (None, kept.overlay) and (not states or kept.row.state in states):
                yield kept

    def add(self, row: SessionRow) -> Kept:
        """A new session; raises `limit_reached`."""
        kept = Kept(row)
        going = [each for each in self._all.values() if each.row.state not in ENDS]
        from_him = sum(each.preflight.proposer == kept.preflight.proposer for each in going)
        if len(going) >= SESSIONS_OPEN_MAX or from_him >= SESSIONS_OF_ONE_MAX:
            raise Dms3Error(
                "limit_reached",
                "As many countersignings are under way as this node takes part in at once.",
                hint="Wait until one has ended.",
            )
        self._all[kept.id] = kept
        self._keep(kept)
        return kept

    def change(self, kept: Kept, **changes: object) -> None:
        """Keep the row with `changes`; people are told of another state."""
        before = kept.row.state
        kept.row = replace(kept.row, **changes)  # type: ignore[arg-type]
        self._keep(kept)
        if kept.row.state != before and kept.row.state in ENDS:
            self._forget_some()

    def _keep(self, kept: Kept) -> None:
        self._desk.persist(TABLE, kept.id, encode(kept.row))

    def _forget_some(self) -> None:
        ended = [each for each in self._all.values() if each.row.state in ENDS]
        for kept in ended[: max(0, len(ended) - SESSIONS_ENDED_MAX)]:
            del self._all[kept.id]
            self._desk.delete(TABLE, kept.id)


def believed(kept: Kept, data: bytes) -> Acceptance:
    """The acceptance of this session by one of the others in `data`; raises `content_invalid`."""
    try:
        found = decode_acceptance(data)
    except DecodeError as error:
        raise Dms3Error("content_invalid", f"No acceptance: {error.reason}.") from error
    if found.session != kept.id or found.agent not in kept.others:
        raise Dms3Error("content_invalid", "The acceptance is of another session or agent.")
    if not check_acceptance(found):
        raise Dms3Error("content_invalid", "The acceptance is not signed by its agent.")
    return found


def set_in(kept: Kept, entry: bytes) -> tuple[bytes, ...]:
    """The acceptances of all parties that the countersigned `entry` of this session carries.

    Raises `content_invalid` when it is anything else, or has another acceptance of this agent.
    """
    try:
        found = decode(Agreed, decode_entry(entry).session, strict=True)
        content = decode_entry(kept.row.plain).content
        same = session_entry(content, kept.row.preflight, found.acceptances)[1] == entry
    except DecodeError as error:
        raise Dms3Error("content_invalid", f"No countersigned entry: {error.reason}.") from error
    agents = tuple(decode_acceptance(each).agent for each in found.acceptances)
    if not same or agents != kept.preflight.parties:
        raise Dms3Error("content_invalid", "The entry is not that of this session.")
    for agent, data in zip(agents, found.acceptances, strict=True):
        if agent != kept.row.me:
            believed(kept, data)
        elif data != kept.acceptances.get(agent):
            raise Dms3Error("content_invalid", "The entry has an acceptance that is not mine.")
    return found.acceptances


def fits(kept: Kept, data: bytes) -> SignedAction | None:
    """The countersigning action of a party in `data`, of this complete session; None: the own one.

    Raises `content_invalid` for anything else.
    """
    try:
        signed = decode_signed(data)
    except DecodeError as error:
        raise Dms3Error("content_invalid", f"No action: {error.reason}.") from error
    hash_, entry = kept.entry()
    action = signed.action
    if action.author == kept.row.me:
        return None
    if (action.kind, action.entry, action.author in kept.others) != ("countersign", hash_, True):
        raise Dms3Error("content_invalid", "The action is not of this session.")
    if not check_signature(signed) or check_session(action, decode_entry(entry)):
        raise Dms3Error("content_invalid", "The action does not keep what its author accepted.")
    return signed


def said_of(kept: Kept) -> SessionReply:
    """What the other parties are told of a session."""
    match kept.state:
        case "accepted":
            return SessionReply("accepted", kept.acceptances[kept.row.me])
        case "asked" | "gathering" | "agreed":
            return SessionReply("waiting")
        case "declined" | "expired":
            return SessionReply(kept.state, why=kept.row.why[:DETAIL_CHARS_MAX])
    return SessionReply("complete", action=encode_signed(kept.actions[kept.row.me]))
