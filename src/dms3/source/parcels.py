"""A parcel: ops of own actions in one question to the nodes near one place, and what they answer.

Source: docs/wire.md, "/dms3/chain/1". Receipts are believed for their signatures alone. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.messages import ChainQuestion, OpResult, Publish, decode_published
from dms3.chain.ops import Op, encode_op, op_id
from dms3.chain.receipt import check_receipt, decode_receipt
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import CHAIN_OPS_MAX, CHAIN_QUESTION_BYTES_MAX, KIB
from dms3.core.overlay import Asked

_HEAD_BYTES = KIB  # of a question around its ops
BUSY = "limit_reached"
"""The code of a node that is asked too much."""

_GONE = ("timed_out", "peer_unreachable")  # such a node is no live member


@dataclass(frozen=True, slots=True)
class Place:
    """An op of a parcel: number `index` of the ops of `action`."""

    action: Cid
    index: int
    id: bytes
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parcel:
    """Ops for the `count` nodes of `overlay` near `target`."""

    overlay: OverlayId
    target: bytes
    count: int
    places: tuple[Place, ...]

    @property
    def body(self) -> bytes:
        """The question."""
        publish = Publish(tuple(place.data for place in self.places))
        return encode(ChainQuestion(self.overlay, publish=publish))


def place_of(action: Cid, index: int, op: Op) -> Place:
    """The op as it travels."""
    return Place(action, index, op_id(op), encode_op(op))


def filled(places: Iterable[Place]) -> Iterator[tuple[Place, ...]]:
    """The places in as many groups as questions hold them, in order."""
    group: list[Place] = []
    size = _HEAD_BYTES
    for place in places:
        more = len(place.data) + 16
        if group and (len(group) == CHAIN_OPS_MAX or size + more > CHAIN_QUESTION_BYTES_MAX):
            yield tuple(group)
            group, size = [], _HEAD_BYTES
        group.append(place)
        size += more
    if group:
        yield tuple(group)


@dataclass(slots=True)
class Outcome:
    """What a question brought: signers of each place, in its order; who lied; refusals.

    `open`: places that somebody did not answer for, or will later; `far`: that somebody says to
    lie too far from it. `busy`: most of them are asked too much. `asked`: all whom the question
    went to.
    """

    signers: list[set[PeerId]]
    open: list[bool]
    far: list[bool]
    asked: set[PeerId] = field(default_factory=set)
    busy: bool = False
    forgers: dict[PeerId, str] = field(default_factory=dict)
    refusals: list[tuple[PeerId, Place, OpResult]] = field(default_factory=list)


def outcome_of(parcel: Parcel, asked: Asked) -> Outcome:
    """Read the answers to `parcel`."""
    count = len(parcel.places)
    refused = 0
    outcome = Outcome([set() for _ in range(count)], [False] * count, [False] * count)
    for peer, body in asked.answers:
        outcome.asked.add(peer)
        results = _results(outcome, peer, body, count)
        for number, (place, result) in enumerate(zip(parcel.places, results, strict=False)):
            if result.code == "held":
                signed = signed_by(parcel.overlay, place.id, peer, result.receipt)
                if signed:
                    outcome.signers[number].add(peer)
                else:
                    outcome.forgers[peer] = "receipt_forged"
                    outcome.open[number] = True
            elif result.code == "refused":
                outcome.refusals.append((peer, place, result))
                outcome.open[number] = True
            elif result.code == "far":
                outcome.far[number] = True
            else:
                outcome.open[number] = True
        gone = isinstance(body, Failure) and body.code in _GONE
        refused += isinstance(body, Failure) and body.code == BUSY
        if not results and not gone:
            outcome.open = [True] * count
    outcome.busy = 2 * refused > len(asked.answers)
    return outcome


def signed_by(overlay: OverlayId, op: bytes, peer: PeerId, receipt: bytes) -> bool:
    """Whether `receipt` is that of `peer` for the op of that name."""
    try:
        found = decode_receipt(receipt)
    except DecodeError:
        return False
    return found.peer == peer and check_receipt(found, overlay, op)


def _results(outcome: Outcome, peer: PeerId, body: Any, count: int) -> tuple[OpResult, ...]:
    if isinstance(body, Failure):
        return ()
    try:
        return decode_published(body, count).results
    except DecodeError:
        outcome.forgers[peer] = "body_malformed"
        return ()
