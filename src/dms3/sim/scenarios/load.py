"""Scenario "load": what holding and finding cost a node, in an overlay of so many nodes.

Source: docs/growth.md. Notes are put by random nodes, looked up and got, by the production dht over
tables that lie on the disks before the start; while they are put, what each node does is counted.
Besides, entries of apps are dealt to nodes by the rule of uptimes, without a message: that part is
arithmetic over the same nodes. `load_turnover.py` does so while half of the nodes change.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dms3.core.limits import REPUT_US, SECOND_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import LOCATION_BYTES
from dms3.dht.presence import Verified, node_location
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.ground import Ground, draw_uptimes
from dms3.sim.measures import mean, quantile
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.load_traffic import Traffic
from dms3.sim.scenarios.load_weighed import Scale, Work, figures
from dms3.sim.scenarios.notes import new_note
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require
from dms3.sim.warm import warm

OFF_MAX = 0.05  # how far the mean of what is held may be from n q / m
PEAK_MAX = 3.0  # times the mean: what 99 of 100 nodes hold at most...
PEAKED_MIN = 5  # ...of so many notes for each: of fewer, chance makes more of the peak
LOOKS_MAX, LOOKS_OF_ONE = 500, 4  # in all, for each node
SETTLE_US = 20 * SECOND_US
_YOUNG_MAX = 50_000  # objects before Python looks for garbage in rings


class LoadScenario(Statement):
    """n = `per_node` m notes are put; `looks`: lookups and gets, so many each at most."""

    name = "load"
    minutes_default = 0.6

    def __init__(self, *, per_node: float = 5, looks: int = LOOKS_MAX) -> None:
        super().__init__()
        self._per_node = per_node
        self._looks = looks
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._works: list[Work] = []

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Half of the time for puts, the rest for lookups and gets."""
        world = BareWorld(seed, nodes, self._machines, {"peers": peer_book, "library": peer_book})
        self.trace = world.trace
        warm(seed, world.nodes, self._verified)
        for node in world.nodes:
            world.start(node)
        with seldom_collected():
            self._play(world, seed, work_us // 2)

    def _play(self, world: BareWorld, seed: int, half_us: int) -> None:
        nodes, random = len(world.nodes), stream(seed, "work")
        traffic = Traffic(world, random)
        notes = [new_note(random) for _ in range(round(self._per_node * nodes))]
        traffic.put(notes, world.nodes, half_us)
        world.run(half_us + SETTLE_US)
        self.figures |= traffic.putting()
        self.figures |= stored(traffic, nodes)  # before a get mends anything
        self.figures["requests_per_put"] = round(world.requests / max(1, len(notes)), 2)
        self.figures |= figures(self._works)
        looks = min(self._looks, LOOKS_OF_ONE * nodes)
        traffic.look(world.nodes, looks, half_us)
        traffic.get(notes, world.nodes, looks, half_us)
        world.run(world.time_us + half_us + SETTLE_US)
        self.time_us = world.time_us
        self.figures |= traffic.finding()
        self.figures |= _dealt(world, seed, len(notes))
        self._check()

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        name, dht, protocols = bare_dht(node, entropy, self._verified, REPUT_US)
        self._works.append(Work())
        return [(name, Scale(dht, self._works[-1]), protocols)]

    def _check(self) -> None:
        found = self.figures
        off = abs(found["stored_mean"] / found["stored_expected"] - 1)
        require(off <= OFF_MAX, f"a node holds {off:.1%} other than n q / m")
        for what in ("stored", "entries") if self._per_node >= PEAKED_MIN else ():
            peak = found[f"{what}_p99"] / found[f"{what}_mean"]
            require(
                peak <= PEAK_MAX, f"{what}: 99 of 100 nodes hold up to {peak:.2f} times the mean"
            )


def stored(traffic: Traffic, nodes: int) -> dict[str, Any]:
    """What lies with the nodes that run, and n q / m with q as the writers were told."""
    held = traffic.held()
    return {
        "stored_expected": round(sum(traffic.placed) / nodes, 3),
        "stored_mean": round(mean(held), 3),
        "stored_p99": quantile(held, 0.99),
        "stored_max": max(held),
    }


@contextmanager
def seldom_collected() -> Iterator[None]:
    """What there is by now stays; rings are looked for more seldom, as millions of objects live."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _dealt(world: BareWorld, seed: int, count: int) -> dict[str, Any]:
    """What nodes would hold of `count` entries, by the rule of uptimes."""
    random = stream(seed, "entries")
    places = [int.from_bytes(node_location(node.peer), "big") for node in world.nodes]
    ground = Ground(places, draw_uptimes(random, len(places)))
    held: Counter[int] = Counter()
    for _ in range(count):
        name = hashlib.sha256(random.randbytes(LOCATION_BYTES)).digest()
        held.update(ground.holders(int.from_bytes(name, "big")))
    loads = [held[index] for index in range(len(places))]
    return {
        "entries_q": round(sum(loads) / count, 3),
        "entries_mean": round(mean(loads), 3),
        "entries_p99": quantile(loads, 0.99),
        "entries_max": max(loads),
    }
