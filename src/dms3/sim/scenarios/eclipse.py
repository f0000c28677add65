"""Scenario "eclipse": a fifth of the nodes lies, and somebody grinds ids around one key.

Source: docs/attacks.md, "Somebody in the public overlay". Lookups of honest nodes go on among
liars of every kind. What it costs to be the nearest to a key is counted by drawing ids until
enough lie nearer than every honest node; whom a routing table admits is asked of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dms3.core.errors import Failure
from dms3.core.limits import ID_WORK_BITS, NEIGHBOURS_MAX, REPUT_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import HOLDERS_MIN, PUBLIC, GetContent, Got, location
from dms3.dht.presence import Verified, issue_presence, node_location
from dms3.dht.routing import Table
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.ground import Ground
from dms3.sim.liars import LIES, Liar
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.notes import NOTE, Note, new_note, note_type
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require
from dms3.sim.warm import warm, warm_held
from dms3.sim.world import WALL_START_US

HOSTILE = 5  # one node of so many
RIGHT_MIN = 0.99
NOTES = 50
PREFIX = "/ip4/8.8.4.{}/tcp/4001"  # one network that somebody has rented


class EclipseScenario(Statement):
    """`gets` of honest nodes among liars; then the cost of being the nearest to a key."""

    name = "eclipse"
    minutes_default = 1.0

    def __init__(self, *, gets: int = 300) -> None:
        super().__init__()
        self._gets = gets
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._liars: frozenset[int] = frozenset()
        self._told: list[Liar] = []
        self._world: BareWorld | None = None
        self._right: list[bool] = []

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Get among liars, then count."""
        world = BareWorld(seed, nodes, self._machines, {"peers": peer_book, "library": peer_book})
        self._world, self.trace = world, world.trace
        random = stream(seed, "hostile")
        self._liars = frozenset(random.sample(range(nodes), nodes // HOSTILE))
        places = [int.from_bytes(node_location(node.peer), "big") for node in world.nodes]
        ground = Ground(places, [1.0] * nodes)
        notes = [new_note(random) for _ in range(NOTES)]
        dealt = [ground.holders(_at(note)) for note in notes]
        warm(seed, world.nodes, self._verified)
        warm_held(world.nodes, note_type(), [(each.key, each.value) for each in notes], dealt)
        for node in world.nodes:
            world.start(node)
        honest = [node for node in world.nodes if node.index not in self._liars]
        for _ in range(self._gets):
            at = random.randrange(1, work_us // 2)
            world.at(at, self._get, random.choice(honest), random.choice(notes))
        world.run(work_us)
        self.time_us = world.time_us
        self.figures = {
            "hostile": len(self._liars),
            "lies": sum(liar.told for liar in self._told),
            "gets": len(self._right),
            "right": sum(self._right),
            **self._cost(seed, notes[0], [places[node.index] for node in honest]),
            **_admitted(world),
        }
        require(len(self._right) == self._gets, "some gets did not end")
        share = sum(self._right) / self._gets
        require(not self.figures["admitted_without_work"], "an id without work was admitted")
        require(share >= RIGHT_MIN, f"{share:.1%} of gets among liars were right")

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        assert self._world is not None, "play comes first"
        name, dht, protocols = bare_dht(node, entropy, self._verified, REPUT_US)
        if node.index not in self._liars:
            return [(name, dht, protocols)]
        liar = Liar(dht, self._world.nodes, self._liars, node.index, (*LIES, Liar.silence))
        self._told.append(liar)
        return [(name, liar, protocols)]

    def _get(self, node: BareNode, note: Note) -> None:
        def done(body: Got | Failure) -> None:
            self._right.append(isinstance(body, Got) and note.value in body.values)

        assert self._world is not None, "play comes first"
        self._world.call(node, "dht.get", GetContent(PUBLIC, NOTE, note.key), done)

    def _cost(self, seed: int, note: Note, honest: Sequence[int]) -> dict[str, int]:
        """How many ids are drawn until so many lie nearer to `note` than every honest node.

        Work is asked of each id besides: one of 2**ID_WORK_BITS has it, wherever it lies.
        """
        random, target = stream(seed, "ids"), _at(note)
        nearest = min(place ^ target for place in honest)
        near = drawn = 0
        figures: dict[str, int] = {"id_work": 1 << ID_WORK_BITS}
        while near < NEIGHBOURS_MAX:
            drawn += 1
            near += random.getrandbits(256) ^ target < nearest
            for name, count in (("q_min", HOLDERS_MIN), ("all", NEIGHBOURS_MAX)):
                if near == count and f"ids_{name}" not in figures:
                    figures[f"ids_{name}"] = count
                    figures[f"drawn_{name}"] = drawn
                    figures[f"keys_{name}"] = drawn << ID_WORK_BITS
        return figures


def _admitted(world: BareWorld) -> dict[str, int]:
    """How many of the world's nodes a routing table takes when one rented network has them all.

    Without the work, and as if each id had cost it.
    """
    own, *others = world.nodes
    taken = {}
    for name, work in (("without_work", ID_WORK_BITS - 1), ("with_work", ID_WORK_BITS)):
        table, verified = Table(own.peer, PUBLIC), Verified()
        for number, node in enumerate(others):
            address = PREFIX.format(number % 250 + 1)
            presence = issue_presence(node.key, PUBLIC, (address,), WALL_START_US)
            proven = verified.remembered(presence)
            table.seen(replace(proven, work=work), address, 0)
        taken[f"admitted_{name}"] = len(table)
    return taken


def _at(note: Note) -> int:
    return int.from_bytes(location(note.key), "big")
