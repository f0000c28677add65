"""Scenario "eclipse": a fifth of the nodes is hostile, and somebody grinds ids around one key.

Source: docs/attacks.md, "Somebody in the public overlay". Honest nodes put and get among nodes that
are hostile in six ways (`eclipse_hostile.py`). What it costs to be the nearest to a key is counted
by drawing ids until enough lie nearer than every honest node; whom a routing table admits is asked
of one. Then such ids sit around keys (`eclipse_siege.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import REPUT_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import (
    PUBLIC,
    Content,
    GetContent,
    Got,
    Placed,
    PutContent,
    location,
)
from dms3.dht.presence import Verified, node_location
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.ground import Ground
from dms3.sim.liars import LIES, Liar
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.eclipse_cost import admitted, cost
from dms3.sim.scenarios.eclipse_hostile import FLOODED, WAYS, Hostile, Judges
from dms3.sim.scenarios.eclipse_siege import Surrounded
from dms3.sim.scenarios.notes import NOTE, Note, new_note, note_type
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require
from dms3.sim.warm import warm, warm_held

HOSTILE = 5  # one node of so many
RIGHT_MIN = 0.99
NOTES = 50  # that lie there, and as many that are put
MISLEADS = "misleads"  # names nodes that do not exist, or are far, or its friends; or says nothing
ALL_WAYS = (*WAYS, MISLEADS)


class EclipseScenario(Statement):
    """`gets` of honest nodes among hostile ones; then being the nearest to a key.

    `besieged`: whether Sybils surround keys, too, at last.
    """

    name = "eclipse"
    minutes_default = 1.0

    def __init__(self, *, gets: int = 300, besieged: bool = True) -> None:
        super().__init__()
        self._gets = gets
        self._besieged = besieged
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._judges = Judges()
        self._way_of: dict[int, str] = {}
        self._hostile: list[Hostile | Liar] = []
        self._world: BareWorld | None = None
        self._right: list[bool] = []
        self._put: list[bool] = []

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Put and get among hostile nodes, then count, then surround."""
        ports = {"peers": self._judges.port, "library": peer_book}
        world = BareWorld(seed, nodes, self._machines, ports)
        self._world, self.trace = world, world.trace
        random = stream(seed, "hostile")
        chosen = random.sample(range(nodes), nodes // HOSTILE)
        self._way_of = {index: ALL_WAYS[turn % len(ALL_WAYS)] for turn, index in enumerate(chosen)}
        self._judges.hostile = frozenset(chosen)
        places = [int.from_bytes(node_location(node.peer), "big") for node in world.nodes]
        honest = [node for node in world.nodes if node.index not in self._way_of]
        notes = self._begin(world, random, places)
        self._ask(honest, notes, random, work_us)
        world.run(work_us)
        self.time_us = world.time_us
        self.figures = {"hostile": len(chosen), "honest": len(honest), **self._judged(world)}
        self.figures |= {"gets": len(self._right), "right": sum(self._right)}
        self.figures |= cost(seed, _at(notes[0]), [places[node.index] for node in honest])
        self.figures |= admitted(world)
        self._check()
        if self._besieged:
            self.figures |= Surrounded(seed, len(honest)).besiege()

    def _begin(self, world: BareWorld, random: Random, places: Sequence[int]) -> list[Note]:
        """Start everybody; notes lie where they belong, with hostile nodes, too."""
        ground = Ground(places, [1.0] * len(places))
        notes = [new_note(random) for _ in range(NOTES)]
        dealt = [ground.holders(_at(note)) for note in notes]
        warm(world.seed, world.nodes, self._verified)
        warm_held(world.nodes, note_type(), [(each.key, each.value) for each in notes], dealt)
        for node in world.nodes:
            world.start(node)
        return notes

    def _ask(
        self, honest: Sequence[BareNode], notes: list[Note], random: Random, work_us: int
    ) -> None:
        """Some more notes are put, and all of them are got."""
        assert self._world is not None, "play comes first"
        fresh = [new_note(random) for _ in range(NOTES)]
        for note in fresh:
            at_us = random.randrange(1, work_us // 4)
            self._world.at(at_us, self._put_one, random.choice(honest), note)
        for _ in range(self._gets):
            at_us = random.randrange(work_us // 2, work_us * 3 // 4)
            note = random.choice((*notes, *fresh))
            self._world.at(at_us, self._get, random.choice(honest), note)

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        assert self._world is not None, "play comes first"
        name, dht, protocols = bare_dht(node, entropy, self._verified, REPUT_US)
        way = self._way_of.get(node.index)
        if way is None:
            return [(name, dht, protocols)]
        mask: Hostile | Liar
        if way == MISLEADS:
            friends = [index for index, each in self._way_of.items() if each == MISLEADS]
            mask = Liar(dht, self._world.nodes, friends, node.index, (*LIES, Liar.silence))
        else:
            mask = Hostile(dht, way, self._victims(), stream(node.index, "hostile"))
        self._hostile.append(mask)
        return [(name, mask, protocols)]

    def _victims(self) -> list[PeerId]:
        assert self._world is not None, "play comes first"
        return [node.peer for node in self._world.nodes if node.index not in self._way_of]

    def _put_one(self, node: BareNode, note: Note) -> None:
        def done(body: Placed | Failure) -> None:
            self._put.append(isinstance(body, Placed) and body.holders[0] > 1)

        assert self._world is not None, "play comes first"
        content = Content(NOTE, note.key, note.value)
        self._world.call(node, "dht.put", PutContent(PUBLIC, (content,)), done)

    def _get(self, node: BareNode, note: Note) -> None:
        def done(body: Got | Failure) -> None:
            self._right.append(isinstance(body, Got) and note.value in body.values)

        assert self._world is not None, "play comes first"
        self._world.call(node, "dht.get", GetContent(PUBLIC, NOTE, note.key), done)

    # Figures

    def _judged(self, world: BareWorld) -> dict[str, Any]:
        """By way: what was done, and what honest nodes report it as; whom they report wrongly."""
        deeds = Counter(dict.fromkeys(ALL_WAYS, 0))
        for mask in self._hostile:
            if isinstance(mask, Liar):
                deeds[MISLEADS] += mask.told
            else:
                deeds[mask.way] += mask.deeds
        reports = self._judges.of(
            {world.nodes[index].peer: way for index, way in self._way_of.items()}
        )
        floods = [mask for mask in self._hostile if isinstance(mask, Hostile)]
        return {
            "deeds": dict(deeds),
            "reported": {way: dict(codes) for way, codes in sorted(reports.items())},
            "refused_pairs": len(self._judges.refused),
            "floods_refused": sum(mask.refused["limit_reached"] for mask in floods),
            "puts": sum(self._put),
        }

    def _check(self) -> None:
        figures, reported = self.figures, self.figures["reported"]
        require(len(self._put) == sum(self._put) == NOTES, "a put among hostile nodes failed")
        require(len(self._right) == self._gets, "some gets did not end")
        share = sum(self._right) / self._gets
        require(share >= RIGHT_MIN, f"{share:.1%} of gets among hostile nodes were right")
        require("honest" not in reported, f"honest nodes are blamed: {reported.get('honest')}")
        require(not figures["admitted_without_work"], "an id without work was admitted")
        floods = reported.get("floods", {}).get(FLOODED, 0)
        require(floods >= figures["floods_refused"], "a flood was refused and not reported")


def _at(note: Note) -> int:
    return int.from_bytes(location(note.key), "big")
