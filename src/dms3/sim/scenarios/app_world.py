"""A bare world of one app: nodes that hold its ops and compare them, of whom the first ones write.

Source: docs/simulator.md, "Statements"; docs/chains.md, "Published" and "Repaired". How much of the
time a node is there, everybody knows. Who holds what is read from the disks, what is enough is said
by `sim/ground.py`, which knows all nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dms3.chain.operations import Begin, Change, Commit, Committed
from dms3.chain.operations_validation import OpenApp
from dms3.core.codec import decode
from dms3.core.errors import Failure
from dms3.core.limits import SECOND_US, UPTIME_NEWCOMER_PPM
from dms3.core.neighbourhood import USUAL, Duty
from dms3.core.overlay import location
from dms3.dht.presence import node_location
from dms3.sim.bare import BareNode, BareWorld
from dms3.sim.ground import Ground, draw_uptimes
from dms3.sim.scenarios.app_members import AppMembers
from dms3.sim.scenarios.chain_rules import DNA
from dms3.sim.seeds import stream
from dms3.sim.statement import require
from dms3.sim.warm import warm
from dms3.validation.rows import OpRow

OPS = "validation/ops"
WRITERS = 3
WRITE_US = 2 * SECOND_US  # between two commits
MET_US = 130 * SECOND_US  # after that nodes have asked for uptimes twice


@dataclass(frozen=True, slots=True)
class HeldOp:
    """An op that somebody holds: where it lies, and by whom it is held, by index."""

    target: int
    holders: tuple[int, ...]


class AppWorld:
    """`nodes` in one app that asks for `duty`; none of them runs yet.

    `newcomers`: of them so many, the last ones, are new to everybody.
    """

    def __init__(self, seed: int, nodes: int, duty: Duty = USUAL, *, newcomers: int = 0) -> None:
        self.dna = replace(DNA, r=int(duty.r), q_min=duty.least, q_max=duty.most)
        self._members = AppMembers(WRITERS)
        self.world = BareWorld(seed, nodes, self._members.machines, self._members.ports())
        places = [int.from_bytes(node_location(node.peer), "big") for node in self.world.nodes]
        uptimes = draw_uptimes(stream(seed, "uptimes"), nodes - newcomers)
        uptimes += [UPTIME_NEWCOMER_PPM / 1_000_000] * newcomers
        self.ground = Ground(places, uptimes, duty)
        peers = (node.peer for node in self.world.nodes)
        self._members.share_of = dict(zip(peers, uptimes, strict=True))
        self.committed = self.refused = 0

    def begin(self, nodes: Sequence[BareNode], notes: int) -> None:
        """Start `nodes`, which know each other, and let the writers write; until all is held."""
        warm(self.world.seed, nodes, self._members.verified, self.dna.id)
        for node in nodes:
            self.start(node)
        self.run(MET_US)
        for number in range(notes):
            self._write(number)
            self.run(WRITE_US)
        self.settle(MET_US, WRITE_US)
        require(self.committed == notes, f"{notes - self.committed} of {notes} notes not written")

    def crowd(self, nodes: Sequence[BareNode]) -> None:
        """Start `nodes`, all at once; they know of those who were there before."""
        before = self.world.living()
        warm(self.world.seed, before, self._members.verified, self.dna.id, nodes)
        for node in nodes:
            self.start(node)

    def start(self, node: BareNode) -> None:
        """Start a node and open the app on it."""
        self.world.start(node)
        self.world.call(node, "validation.open", OpenApp(self.dna), _nothing)
        if node.index < WRITERS:
            self.world.call(node, "source.begin", Begin(self.dna), _nothing)

    def run(self, for_us: int) -> None:
        """Let so much virtual time pass."""
        self.world.run(self.world.time_us + for_us)

    def held(self) -> dict[bytes, HeldOp]:
        """Every op that a living node holds, by its name."""
        holders: dict[bytes, list[int]] = {}
        bases: dict[bytes, bytes] = {}
        for node in self.world.living():
            for key, data in node.disk.table(OPS).items():
                holders.setdefault(key, []).append(node.index)
                if key not in bases:
                    bases[key] = decode(OpRow, data).basis
        return {
            key: HeldOp(int.from_bytes(location(bases[key]), "big"), tuple(holders[key]))
            for key in sorted(holders)
        }

    def short(self) -> int:
        """How many ops are held by fewer than the rule asks for, of the living."""
        off = {node.index for node in self.world.nodes if not node.on}
        ops = self.held().values()
        return sum(not self.ground.is_enough(op.holders, op.target, off) for op in ops)

    def settle(self, within_us: int, step_us: int) -> int:
        """Run until nothing is short; how long that took. ViolationError when it takes longer."""
        begun = self.world.time_us
        while short := self.short():
            spent = self.world.time_us - begun
            require(spent < within_us, f"{short} ops are short after {spent / SECOND_US:.0f} s")
            self.run(step_us)
        return self.world.time_us - begun

    def _write(self, number: int) -> None:
        """Let a writer commit a note."""

        def done(body: Committed | Failure) -> None:
            self.committed += isinstance(body, Committed)
            self.refused += isinstance(body, Failure)

        changes = (Change("create", kind="note", content={"text": f"note {number}"}),)
        node = self.world.nodes[number % WRITERS]
        self.world.call(node, "source.commit", Commit(self.dna.id, changes), done)


def _nothing(_answer: object) -> None:
    """What is done with an answer that nobody waits for."""
