"""Scenario "turnover": half of the nodes leave and as many come; what a node holds stays bounded.

Source: docs/growth.md, "When half of the nodes change". Notes are put as in scenario "load". Then
nodes go and newcomers come, in waves; these join through three nodes that are there. Holders put
again what they hold, every two minutes here, not every hour. A holder drops a note when its time is
over, two days after its writer put it last, so nobody drops anything in this run: what is counted
is the most that there is to hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from dms3.core.limits import HOLDERS_SLACK, SECOND_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import LOCATION_BYTES, PUBLIC, location
from dms3.dht.presence import Verified
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.measures import mean, quantile
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.load import SETTLE_US, seldom_collected, stored
from dms3.sim.scenarios.load_traffic import HELD, Traffic
from dms3.sim.scenarios.notes import Note, new_note
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require
from dms3.sim.warm import warm

WAVES = 4
WAVE_US = 60 * SECOND_US
PUT_AGAIN_US = 120 * SECOND_US
MET = 3  # nodes through which newcomers join


class TurnoverScenario(Statement):
    """n = `per_node` m notes are put, and `gets` of them got at the end."""

    name = "turnover"
    minutes_default = 0.3  # for the puts

    def __init__(self, *, per_node: float = 5, gets: int = 200) -> None:
        super().__init__()
        self._per_node = per_node
        self._gets = gets
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Put, let half of the nodes change, wait until all was put again, look."""
        ports = {"peers": peer_book, "library": peer_book}
        world = BareWorld(seed, nodes + nodes // 2, self._machines, ports)
        self.trace = world.trace
        before, coming = world.nodes[:nodes], world.nodes[nodes:]
        warm(seed, before, self._verified)
        for node in before:
            world.start(node)
        random = stream(seed, "work")
        traffic = Traffic(world, random)
        notes = [new_note(random) for _ in range(round(self._per_node * nodes))]
        with seldom_collected():
            traffic.put(notes, before, work_us)
            world.run(work_us + SETTLE_US)
            self.figures |= traffic.putting() | stored(traffic, nodes)
            leaving = random.sample(before, len(coming))
            self._change(world, leaving, coming, random)
            self._look(world, traffic, notes, nodes)
            self._get(world, traffic, notes)
        self.time_us = world.time_us

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        return [bare_dht(node, entropy, self._verified, PUT_AGAIN_US)]

    def _change(
        self,
        world: BareWorld,
        leaving: Sequence[BareNode],
        coming: Sequence[BareNode],
        random: Random,
    ) -> None:
        """Some go and as many come, wave after wave; then everything is put again."""
        for wave in range(WAVES):
            for node in leaving[wave::WAVES]:
                world.kill(node)
            met = random.sample(world.living(), MET)
            for node in coming[wave::WAVES]:
                warm(world.seed, met, self._verified, PUBLIC, (node,))
                world.start(node)
            world.run(world.time_us + WAVE_US)
        world.run(world.time_us + 2 * PUT_AGAIN_US)

    def _look(self, world: BareWorld, traffic: Traffic, notes: Sequence[Note], nodes: int) -> None:
        held = traffic.held()
        lost = len(notes) - len(_there(world, notes))
        most = len(notes) * (self.figures["holders_mean"] + HOLDERS_SLACK) / nodes
        self.figures |= {
            "nodes_after": len(held),
            "stored_after_mean": round(mean(held), 3),
            "stored_after_p99": quantile(held, 0.99),
            "stored_after_most": round(most, 3),
            "copies_after_mean": round(sum(held) / len(notes), 3),
            "lost": lost,
        }
        require(mean(held) <= most, f"a node holds {mean(held):.1f}, more than {most:.1f}")

    def _get(self, world: BareWorld, traffic: Traffic, notes: Sequence[Note]) -> None:
        """What anybody holds is found."""
        there = _there(world, notes)
        traffic.get(there, world.living(), min(self._gets, 4 * len(there)), SETTLE_US)
        world.run(world.time_us + 2 * SETTLE_US)
        found = traffic.finding()
        self.figures |= {"gets": found["gets"], "found": found["found"]}


def _there(world: BareWorld, notes: Sequence[Note]) -> list[Note]:
    """The notes that some node has that runs."""
    held = {key[-LOCATION_BYTES:] for node in world.living() for key in node.disk.table(HELD)}
    return [note for note in notes if location(note.key) in held]
