"""Scenario "survival": many nodes die at one instant; what had a living holder is still read.

Source: docs/simulator.md, "Statements". Entries lie where the rule of uptimes puts them, as rows on
the disks of nodes whose tables are full; those who live run the production dht, which reads. How
many entries are lost, and how soon the living have made up for the dead, is arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from dms3.core.errors import Failure
from dms3.core.limits import REPUT_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import PUBLIC, GetContent, Got, location
from dms3.dht.presence import Verified, node_location
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.ground import Ground, draw_uptimes
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.notes import NOTE, Note, new_note, note_type
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require
from dms3.sim.warm import known_by, warm, warm_held

ENTRIES = 2_000
PERIODS_MAX = 3  # until what lives is held by enough again
LOST_AT_30_MAX = 3


class SurvivalScenario(Statement):
    """`entries` in all; `reads`: so many are got, half of them with the fewest living holders.

    Without reads it is arithmetic alone, and no node runs.
    """

    name = "survival"
    minutes_default = 0.6

    def __init__(self, *, entries: int = ENTRIES, reads: int = 40) -> None:
        super().__init__()
        self._entries = entries
        self._reads = reads
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._found: list[bool] = []

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Deal entries, kill three and five of ten nodes, read and repair after the latter."""
        world = BareWorld(seed, nodes, self._machines, {"peers": peer_book, "library": peer_book})
        self.trace = world.trace
        random = stream(seed, "entries")
        places = [int.from_bytes(node_location(node.peer), "big") for node in world.nodes]
        ground = Ground(places, draw_uptimes(random, nodes))
        notes = [new_note(random) for _ in range(self._entries)]
        dealt = [ground.holders(_at(note)) for note in notes]
        self.figures["holders_mean"] = round(sum(map(len, dealt)) / len(dealt), 3)
        for per_cent in (30, 50):
            dead = _dead(stream(seed, "dead", per_cent), nodes, per_cent)
            self.figures |= _losses(dealt, dead, per_cent)
        lost = self.figures["lost_at_30"]
        require(lost <= LOST_AT_30_MAX, f"{lost} entries are lost with three of ten nodes")
        if not self._reads:
            return
        warm(seed, world.nodes, self._verified)
        warm_held(world.nodes, note_type(), [(each.key, each.value) for each in notes], dealt)
        living = [node for node in world.nodes if node.index not in dead]
        for node in living:
            world.start(node)
        left = [[each for each in held if each not in dead] for held in dealt]
        self._read(world, living, notes, left, work_us)
        known = {node.index: known_by(node, world.index_of) for node in living}
        self._repair(ground, known, [_at(note) for note in notes], left)

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        return [bare_dht(node, entropy, self._verified, REPUT_US)]

    def _read(
        self,
        world: BareWorld,
        living: Sequence[BareNode],
        notes: Sequence[Note],
        left: Sequence[Sequence[int]],
        work_us: int,
    ) -> None:
        random = stream(world.seed, "reads")
        there = [number for number, held in enumerate(left) if held]
        there.sort(key=lambda number: len(left[number]))
        half = self._reads // 2
        chosen = there[:half] + random.sample(there[half:], min(half, len(there) - half))
        for number in chosen:
            at = random.randrange(1, work_us // 2)
            world.at(at, self._get, world, random.choice(living), notes[number])
        world.run(work_us)
        self.time_us = world.time_us
        found = sum(self._found)
        self.figures |= {"reads": len(chosen), "found": found, "requests": world.requests}
        require(
            found == len(chosen), f"{len(chosen) - found} entries with a living holder are not read"
        )

    def _get(self, world: BareWorld, node: BareNode, note: Note) -> None:
        def done(body: Got | Failure) -> None:
            self._found.append(isinstance(body, Got) and note.value in body.values)

        world.call(node, "dht.get", GetContent(PUBLIC, NOTE, note.key), done)

    def _repair(
        self,
        ground: Ground,
        known: Mapping[int, Sequence[int]],
        targets: Sequence[int],
        left: Sequence[Sequence[int]],
    ) -> None:
        """Every living holder gives the entry to whom the rule names among those it knows."""
        dead = {index for index in range(len(ground.places)) if index not in known}
        most = moves = 0
        for target, before in zip(targets, left, strict=True):
            held, periods = set(before), 0
            while held and not ground.is_enough(sorted(held), target, dead):
                require(periods < PERIODS_MAX, f"not repaired after {PERIODS_MAX} periods")
                periods += 1
                for holder in sorted(held):
                    held.update(_named(ground, known[holder], holder, target))
            most, moves = max(most, periods), moves + len(held) - len(before)
        self.figures |= {"periods_max": most, "copies_made": moves}


def _at(note: Note) -> int:
    return int.from_bytes(location(note.key), "big")


def _dead(random: Random, nodes: int, per_cent: int) -> frozenset[int]:
    return frozenset(index for index in range(nodes) if random.randrange(100) < per_cent)


def _losses(dealt: Sequence[Sequence[int]], dead: frozenset[int], per_cent: int) -> dict[str, Any]:
    lost = sum(dead.issuperset(held) for held in dealt)
    expected = sum((per_cent / 100) ** len(held) for held in dealt)
    return {f"lost_at_{per_cent}": lost, f"expected_at_{per_cent}": round(expected, 4)}


def _named(ground: Ground, known: Sequence[int], holder: int, target: int) -> list[int]:
    """Whom the rule names, of the living nodes that `holder` knows and itself."""
    near = sorted((*known, holder), key=lambda index: ground.places[index] ^ target)
    return ground.first(near)
