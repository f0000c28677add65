"""What is put is found: from random nodes, among the dead and liars, over bytes, when parts heal.

Machines, driver and wire formats are those of a real node; see sim/scenarios/lookup.py.
"""

import json
import os
import subprocess
import sys

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US
from dms3.sim.bytes_network import over_bytes
from dms3.sim.liars import LIES, Liar
from dms3.sim.run import run_scenario
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.lookup import LookupScenario
from dms3.sim.seeds import stream

SECOND = SECOND_US


def look(scenario, *, nodes, seed=7, work_us=20 * SECOND, network=messages) -> Outcome:
    outcome = run(scenario, Setting(nodes, seed, work_us, scenario.plan(seed), network))
    print(seed, outcome.figures)
    return outcome


class Small(LookupScenario):
    """A few gets instead of ten for each node."""

    gets_per_node = 3


class Warm(Small):
    """Begins with full tables, whatever the size."""

    cold_nodes_max = 0


class HalfDead(Warm):
    """Half of the nodes in every table have gone before anybody asks."""

    def begin(self, world, until_us):
        random = stream(world.seed, "dead")
        for node in random.sample(world.nodes, len(world.nodes) // 2):
            node.crash(durable=True)
        super().begin(world, until_us)


class Parted(Small):
    """The world falls into two halves for a while, between the puts and the gets."""

    def begin(self, world, until_us):
        super().begin(world, until_us)
        half = len(world.nodes) // 2
        cut = {(one, two) for one in range(half) for two in range(half, 2 * half)}
        world.at(until_us // 2, self.part, cut | {(two, one) for one, two in cut})
        world.at(until_us // 2 + 4 * SECOND, self.part, set())

    def part(self, blocked):
        self.world.faults._blocked = blocked
        self.world.network.rewired()


class Lying(Warm):
    """A fifth of the nodes lie in every way; what they ask themselves does not count."""

    def __init__(self) -> None:
        super().__init__(found_min=0.99)
        self.liars = frozenset()
        self.told = []

    def prepare(self, world):
        random = stream(world.seed, "liars")
        chosen = random.sample(range(len(world.nodes)), len(world.nodes) // 5)
        self.liars = frozenset(chosen)
        super().prepare(world)

    def machines(self, index, all_peers, entropy):
        hosted = super().machines(index, all_peers, entropy)
        if index in self.liars:
            liar = Liar(hosted[1].machine, self.world.nodes, self.liars, index)
            self.told.append(liar)
            return [hosted[0], type(hosted[1])("dht", liar, hosted[1].protocols)]
        return hosted

    def running_from(self, index):
        count = len(self.world.nodes)
        honest = (each for each in range(index, index + count) if each % count not in self.liars)
        return super().running_from(next(honest) % count)


def test_nodes_join_through_three_others_and_find_everything():
    outcome = look(Small(), nodes=24)
    assert outcome.ok, outcome.violation
    figures = outcome.figures
    assert figures["gets"] == figures["found"] == 72
    assert figures["placed"] == figures["puts"] == 20
    assert figures["holders_min"] >= 8
    assert 1 <= figures["hops_mean"] <= 4


def test_full_tables_make_no_difference_to_what_is_found():
    outcome = look(Warm(), nodes=60)
    assert outcome.ok, outcome.violation
    assert outcome.figures["found"] == 180


def test_half_of_the_table_is_dead():
    outcome = look(HalfDead(), nodes=120, work_us=40 * SECOND)
    assert outcome.ok, outcome.violation
    assert outcome.figures["placed"] == outcome.figures["puts"] == 60
    assert outcome.figures["found"] == outcome.figures["gets"] > 300


def test_a_partition_heals_and_everything_is_found():
    outcome = look(Parted(), nodes=16, work_us=40 * SECOND)
    assert outcome.ok, outcome.violation


def test_a_fifth_of_liars_of_every_kind():
    scenario = Lying()
    outcome = look(scenario, nodes=50, work_us=40 * SECOND)
    assert outcome.ok, outcome.violation
    told = sum(liar.told for liar in scenario.told)
    assert told > 20 * len(LIES), "the liars were hardly asked"


def test_both_fidelities_deliver_the_same():
    figures = [
        look(Small(), nodes=12, network=network).figures for network in (messages, over_bytes)
    ]
    assert figures[0]["delivered"] == figures[1]["delivered"]
    assert figures[0]["found"] == figures[1]["found"] == 36


def test_a_lookup_that_finds_nothing_fails_the_run():
    class Forgetting(Small):
        def get(self, node, note, number):
            super().get(node, type(note)(note.value[:-1] + bytes([number])), number)

    outcome = look(Forgetting(), nodes=8)
    assert not outcome.ok
    assert "gets found their note" in outcome.violation


def test_equal_seeds_give_equal_traces_under_any_hash_seed():
    program = (
        "from dms3.sim.run import run_scenario\n"
        "import json\n"
        "run_scenario('lookup', 8, 7, 0.2, lambda line: print(json.dumps(line)))\n"
    )
    traces = set()
    for hash_seed in ("0", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(json.loads(done.stdout.splitlines()[-1])["trace"])
    assert len(traces) == 1


def test_sizes_out_of_range_are_refused():
    for nodes, fidelity in ((10_001, "messages"), (51, "bytes")):
        with pytest.raises(Dms3Error):
            run_scenario("lookup", nodes, 1, 0.1, print, fidelity=fidelity)


def last_line(nodes: int, fidelity: str = "messages") -> dict:
    lines: list[dict] = []
    assert run_scenario("lookup", nodes, 7, None, lines.append, fidelity=fidelity), lines[-2]
    print(lines[-1])
    return lines[-1]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_nodes_find_everything():
    last = last_line(1_000)
    assert last["found_fraction"] == 1
    assert last["hops_mean"] <= 4
    assert last_line(1_000)["trace"] == last["trace"]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_nodes_find_everything():
    last = last_line(10_000)
    assert last["found"] == last["gets"] == 2_000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_fifty_nodes_over_bytes_deliver_what_messages_deliver():
    assert last_line(50)["delivered"] == last_line(50, "bytes")["delivered"]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", [HalfDead, Lying])
def test_a_thousand_nodes_among_the_dead_and_liars(scenario):
    outcome = look(scenario(), nodes=1_000, work_us=60 * SECOND)
    assert outcome.ok, outcome.violation
