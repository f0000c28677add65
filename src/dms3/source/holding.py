"""Who holds what of an own action: the row that is kept, and when that is enough.

Source: docs/chains.md, "Published". An op is held by enough when the uptimes of those who signed
for it reach the DNA's r, or when everybody did whom there is to ask: all live members of a small
overlay, or the q_max nearest of a large one; or all of these but those who say that they lie too
far. The q_min nearest are asked first, then as many as are to hold it, then ever more. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from dms3.chain.action import SignedAction
from dms3.chain.dna import Dna
from dms3.chain.operations import OpHeld, Published
from dms3.chain.ops import bases_of, op_id_of
from dms3.core.cid import Cid
from dms3.core.ids import PeerId
from dms3.core.limits import PUBLISH_NODES_MAX, RECEIPT_UPTIME
from dms3.core.overlay import HOLDERS_MIN

Enough = Literal["uptime", "everybody", "near", ""]
_WHOLE = 1_000_000


@dataclass(frozen=True, slots=True)
class OpRow:
    """One op: who signed for it, their uptimes together in millionths, the members last seen.

    `needed`: how many nodes were to hold it then, 0 before anybody was asked.
    """

    kind: str
    basis: bytes
    signers: tuple[bytes, ...] = ()
    uptime_ppm: int = 0
    members: int = 0
    enough: str = ""
    needed: int = 0


@dataclass(frozen=True, slots=True)
class PublishRow:
    """An own action on its way to others. `chain`: key of its chain; `tries`: rounds so far.

    `again_us`: wall clock of the next round, 0 when there is none.
    """

    v: int
    overlay: bytes
    chain: bytes
    seq: int
    action: Cid
    ops: tuple[OpRow, ...]
    tries: int = 0
    again_us: int = 0

    @property
    def complete(self) -> bool:
        """Whether every op is held by enough."""
        return all(op.enough for op in self.ops)

    @property
    def shown(self) -> Published:
        """What people and programs are told."""
        ops = tuple(
            OpHeld(
                op.kind,
                op.basis,
                tuple(PeerId(each) for each in op.signers),
                op.uptime_ppm / _WHOLE,
                op.members,
                cast("Enough", op.enough),
                0 if op.enough else self.again_us,
            )
            for op in self.ops
        )
        return Published(self.action, ops, self.complete)


def first_row(overlay: bytes, chain: bytes, signed: SignedAction) -> PublishRow:
    """The row of an action that nobody holds yet."""
    ops = tuple(OpRow(kind, basis) for kind, basis in bases_of(signed))
    return PublishRow(1, overlay, chain, signed.action.seq, signed.hash, ops)


def ids_of(row: PublishRow, signed: SignedAction) -> tuple[bytes, ...]:
    """The names of the ops, in the order of the row."""
    return tuple(op_id_of(op.kind, op.basis, signed) for op in row.ops)


@dataclass(frozen=True, slots=True)
class Need:
    """What an app's DNA asks for: `uptime` in millionths, `few` holders at least, `most` asked."""

    uptime: int
    few: int
    most: int

    @classmethod
    def of(cls, dna: Dna | None) -> Need:
        """That of `dna`; the default of apps without it."""
        if dna is None:
            return cls(RECEIPT_UPTIME * _WHOLE, HOLDERS_MIN, PUBLISH_NODES_MAX)
        most = min(max(dna.q_max, dna.q_min), PUBLISH_NODES_MAX)
        return cls(dna.r * _WHOLE, min(dna.q_min, most), most)


@dataclass(frozen=True, slots=True)
class Round:
    """What became of one question: of `count` nodes that it was for, `found` were there to ask.

    `members`: those of them that live. `settled`: none of these is still to answer, and whoever
    has not signed says that it lies too far (`far`: somebody does). `needed`: how many are to hold
    what lies there.
    """

    count: int
    found: int
    members: int
    settled: bool
    needed: int = 0
    far: bool = False


def count_of(op: OpRow, tries: int, need: Need) -> int:
    """How many nodes near a place to ask for its `op` in the round after `tries` others."""
    if not tries:
        return need.few
    if not op.needed:
        return need.most
    return max(need.few, min(op.needed + (tries - 1) * need.few, need.most))


def after_round(op: OpRow, round_: Round, need: Need) -> OpRow:
    """The op after a round; its signers are those of all rounds."""
    whole = round_.found < round_.count or round_.count >= need.most
    some = len(op.signers) >= max(1, min(round_.members, need.few))
    asked: Enough = "near" if round_.far else "everybody"
    everybody = whole and some and round_.settled and round_.members > 0
    enough = _by_uptime(op, need) or (asked if everybody else "")
    needed = round_.needed or op.needed
    return replace(op, members=round_.members, enough=op.enough or enough, needed=needed)


def with_signers(op: OpRow, peers: set[PeerId], uptimes: Mapping[PeerId, float]) -> OpRow:
    """The op with more signers."""
    signers = tuple(sorted({*op.signers, *peers}))
    known = sum(round(uptimes.get(PeerId(each), 0.0) * _WHOLE) for each in signers)
    return replace(op, signers=signers, uptime_ppm=known)


def by_uptime(op: OpRow, need: Need) -> OpRow:
    """The op, enough when its signers' uptimes are."""
    return replace(op, enough=op.enough or _by_uptime(op, need))


def _by_uptime(op: OpRow, need: Need) -> Enough:
    return "uptime" if op.uptime_ppm >= need.uptime else ""
