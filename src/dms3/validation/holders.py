"""Fetching from other holders: whom to ask, and what of their answers can be believed at once.

Source: docs/wire.md, "/dms3/chain/1"; docs/attacks.md, "Somebody in an app's overlay". An op that
is not what was asked for, or that its author has not signed, is its sender's lie: the whole answer
is dropped and the peer reported. Whether an op keeps the rules is for `judging.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.action import SignedAction, check_signature
from dms3.chain.messages import (
    PROTOCOL,
    ChainQuestion,
    Fetch,
    Fetched,
    FetchedOp,
    Publish,
    decode_fetched,
)
from dms3.chain.ops import OP_BYTES_MAX, Op, decode_op
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import CHAIN_ANSWER_BYTES_MAX, DHT_ASK_US, SIGNATURES_KNOWN_MAX
from dms3.core.overlay import Asked, AskNear, location
from dms3.p2p.port import Conducted
from dms3.validation.serving import ROOM_BYTES, fits

LIED, MALFORMED = "content_invalid", "body_malformed"

# what is fetched -> the kinds of its ops
_KINDS = {
    "record": ("record",),
    "entry": ("entry",),
    "links": ("link", "unlink"),
    "activity": ("activity",),
    "agents": ("agent",),
    "warrants": ("warrant",),
    "changes": ("update", "delete"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """An op as a holder says it stands; the signature is its author's."""

    op: Op
    state: str
    rule: str = ""
    detail: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one holder has answered; as Fetched."""

    peer: PeerId
    ops: tuple[Told, ...] = field(repr=False)
    more: bool
    head: int
    highest: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What all have answered, nearest first; `near` and `members` as in Asked."""

    answers: tuple[Answer, ...]
    near: bool = False
    members: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """How many holders are asked, after how many answers the rest is not waited for, how long."""

    count: int
    enough: int = 0
    patience_us: int = DHT_ASK_US


class Signatures:
    """Signatures of actions found good, so that each is checked once."""

    def __init__(self) -> None:
        self._good: dict[tuple[Cid, bytes], None] = {}

    def holds(self, signed: SignedAction) -> bool:
        """Whether its author has signed it."""
        key = (signed.hash, signed.signature)
        if key in self._good:
            return True
        if not check_signature(signed):
            return False
        if len(self._good) >= SIGNATURES_KNOWN_MAX:
            del self._good[next(iter(self._good))]
        self._good[key] = None
        return True


class Holders:
    """Asks them, through machine "dht"."""

    def __init__(self, desk: Desk, signatures: Signatures) -> None:
        self._desk = desk
        self._signatures = signatures

    def fetch(
        self, overlay: OverlayId, fetch: Fetch, reach: Reach, then: Callable[[Heard], None]
    ) -> None:
        """Ask the holders of `fetch.basis`; `then` is told what of it can be read."""
        body = encode(ChainQuestion(overlay, fetch=fetch))
        asked = AskNear(
            overlay,
            location(fetch.basis),
            reach.count,
            PROTOCOL,
            body,
            reach.enough,
            reach.patience_us,
        )
        self._desk.call("dht.ask_near", asked, lambda body: then(self._heard(overlay, fetch, body)))

    def offer(self, overlay: OverlayId, peer: PeerId, ops: tuple[bytes, ...]) -> None:
        """Publish encoded ops to a connected peer that misses them; its answer is not needed."""
        body = encode(ChainQuestion(overlay, publish=Publish(ops)))
        self._desk.request(peer, PROTOCOL, body, DHT_ASK_US, _nothing)

    def blame(self, peer: PeerId, code: str) -> None:
        """Tell the peer book what `peer` did."""
        self._desk.call("peers.conduct", Conducted(peer, code), _nothing)

    def _heard(self, overlay: OverlayId, fetch: Fetch, body: Any) -> Heard:
        if not isinstance(body, Asked):
            return Heard(())
        answers = [
            answer
            for peer, data in body.answers
            if isinstance(data, bytes)
            and (answer := self._read(overlay, fetch, peer, data)) is not None
        ]
        return Heard(tuple(answers), body.near, body.members)

    def _read(self, overlay: OverlayId, fetch: Fetch, peer: PeerId, data: bytes) -> Answer | None:
        try:
            fetched = decode_fetched(data, fetch.limit)
            ops = tuple(self._told(overlay, fetch, each) for each in fetched.ops)
        except DecodeError:
            self.blame(peer, MALFORMED)
            return None
        except _LieError:
            self.blame(peer, LIED)
            return None
        if fetched.more and _is_cut_short(fetch, ops, sum(len(each.op) for each in fetched.ops)):
            self.blame(peer, LIED)
            return None
        return _answer(peer, fetched, ops)

    def _told(self, overlay: OverlayId, fetch: Fetch, fetched: FetchedOp) -> Told:
        try:
            op = decode_op(fetched.op)
        except DecodeError as error:
            raise _LieError from error  # ops are content: altered bytes do not fit their hash
        asked = op.basis == fetch.basis and op.kind in _KINDS[fetch.what]
        if not asked or op.signed.action.dna != overlay or not self._signatures.holds(op.signed):
            raise _LieError
        return Told(op, fetched.state, fetched.rule, fetched.detail, fetched.line)


def _is_cut_short(fetch: Fetch, ops: Sequence[Told], size: int) -> bool:
    """Whether a page that says that there is more has room for it: so what follows is hidden."""
    full = size > CHAIN_ANSWER_BYTES_MAX - ROOM_BYTES - OP_BYTES_MAX
    passed = bool(ops) and not fits(ops[-1].op.signed.action, fetch)
    return not (full or passed or len(ops) >= fetch.limit)


class _LieError(Exception):
    """An answer that no honest node gives."""


def _answer(peer: PeerId, fetched: Fetched, ops: tuple[Told, ...]) -> Answer:
    return Answer(peer, ops, fetched.more, fetched.head, fetched.highest)


def _nothing(_: Any) -> None:
    """What is done with an answer that nobody waits for."""
