"""Statements about overlays over sizes and seeds; see docs/growth.md and docs/simulator.md.

Small here, whole in `make long`, where each test can be chosen by its name (ONLY=...). Seeds and
figures are printed.
"""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import HOLDERS_SLACK, ID_WORK_BITS, PREFIX_NODES_PER_TABLE_MAX
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import HOLDERS_MIN
from dms3.sim.faults import CALM
from dms3.sim.ground import UPTIMES, Ground, draw_uptimes
from dms3.sim.measures import line, mean, quantile, standard_error
from dms3.sim.run import SCENARIOS, run_scenario
from dms3.sim.scenario import Setting, run
from dms3.sim.scenarios.eclipse import ALL_WAYS, EclipseScenario
from dms3.sim.scenarios.eclipse_hearsay import HearsayScenario
from dms3.sim.scenarios.eclipse_holders import WAYS, HoldersScenario
from dms3.sim.scenarios.eclipse_siege import Surrounded
from dms3.sim.scenarios.flash import FlashScenario
from dms3.sim.scenarios.load import LoadScenario
from dms3.sim.scenarios.load_handover import HandoverScenario
from dms3.sim.scenarios.load_turnover import TurnoverScenario
from dms3.sim.scenarios.partition import PartitionScenario
from dms3.sim.scenarios.repair import RepairScenario
from dms3.sim.scenarios.statements import STATEMENTS
from dms3.sim.scenarios.survival import ENTRIES, PERIODS_MAX, SurvivalScenario
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement


def played(scenario: Statement, nodes: int, seed: int = 1) -> dict:
    """The figures of one run, in which everything has to hold."""
    work_us = int(scenario.minutes_default * 60_000_000)
    outcome = scenario.run(Setting(nodes, seed, work_us, CALM))
    print(scenario.name, nodes, seed, json.dumps(outcome.figures))
    assert outcome.ok, outcome.violation
    return outcome.figures


# What statements are made of


def test_a_line_through_points_on_it_fits_wholly():
    found = line([(x, 2 + 3 * x) for x in range(5)])
    assert (round(found.start, 9), round(found.slope, 9), round(found.fit, 9)) == (2, 3, 1)
    assert found.at(10) == pytest.approx(32)
    assert line([(0, 0), (1, 5), (2, 0)]).fit < 0.1


def test_means_and_spreads():
    assert mean([]) == quantile([], 0.5) == standard_error([1]) == 0
    assert quantile(range(1, 101), 0.99) == 99
    assert standard_error([1, 3]) == pytest.approx(1)


def test_the_nearest_are_those_that_sorting_all_of_them_finds():
    random = stream(5, "ground")
    places = [random.getrandbits(256) for _ in range(200)]
    ground = Ground(places, draw_uptimes(random, 200))
    gone = set(range(0, 200, 3))
    for count in (1, 8, 40, 300):
        target = random.getrandbits(256)
        order = sorted(range(200), key=lambda index: places[index] ^ target)
        assert ground.nearest(target, count) == order[:count]
        assert ground.nearest(target, count, gone) == [i for i in order if i not in gone][:count]


def test_holders_are_the_fewest_whose_uptimes_add_up():
    random = stream(6, "ground")
    places = [random.getrandbits(256) for _ in range(300)]
    ground = Ground(places, draw_uptimes(random, 300))
    assert set(ground.uptimes) == set(UPTIMES)
    for _ in range(50):
        target = random.getrandbits(256)
        held = ground.holders(target)
        assert 8 <= len(held) <= 40
        assert ground.sum_of(held) >= 8 - 1e-9
        assert len(held) == 8 or ground.sum_of(held[:-1]) < 8
        assert ground.is_enough(held, target)
        assert not ground.is_enough(held[1:8], target)


# Load


@pytest.mark.parametrize("nodes", [64, 256])
def test_by_the_rule_a_hundred_entries_for_each_node_lie_evenly(nodes):
    random = stream(1, "evenly")
    places = [random.getrandbits(256) for _ in range(nodes)]
    for uptimes in ([1.0] * nodes, draw_uptimes(random, nodes)):
        ground = Ground(places, uptimes)
        held = Counter(
            index for _ in range(100 * nodes) for index in ground.holders(random.getrandbits(256))
        )
        loads = [held[index] for index in range(nodes)]
        print(nodes, "mean", mean(loads), "p99", quantile(loads, 0.99))
        assert quantile(loads, 0.99) <= 3 * mean(loads)


def test_what_nodes_hold_and_ask_in_a_small_overlay():
    figures = played(LoadScenario(looks=40, per_node=3), 32)
    assert figures["notes"] == 96
    assert figures["holders_mean"] == 8
    assert figures["found"] == figures["lookups"] == 40
    assert (
        figures["work_messages_mean"] > 4 * figures["requests_per_put"]
    )  # 3 puts, asked, answered


def test_what_nodes_hold_when_half_of_them_have_changed():
    figures = played(TurnoverScenario(per_node=1, gets=16), 16)
    assert figures["nodes_after"] == 16
    assert figures["stored_after_mean"] <= figures["holders_mean"] + HOLDERS_SLACK
    assert figures["found"] == figures["gets"] == 16


# Survival


def test_what_had_a_living_holder_is_read():
    figures = played(SurvivalScenario(entries=300, reads=30), 200)
    assert figures["reads"] == figures["found"] == 30
    assert figures["periods_max"] <= PERIODS_MAX


def test_entries_that_nobody_can_read_fail_the_run(monkeypatch):
    monkeypatch.setattr("dms3.sim.scenarios.survival.warm_held", lambda *_: None)
    scenario = SurvivalScenario(entries=20, reads=4)
    outcome = scenario.run(Setting(40, 1, 20_000_000, CALM))
    assert "are not read" in outcome.violation


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_losses_of_a_hundred_seeds_are_those_that_are_to_be_expected():
    runs = [played(SurvivalScenario(reads=0), 1_000, seed) for seed in range(1, 101)]
    lost = [run["lost_at_50"] for run in runs]
    expected = mean([run["expected_at_50"] for run in runs])
    print("lost", sum(lost), "mean", mean(lost), "expected", expected, standard_error(lost))
    assert abs(mean(lost) - expected) <= 2.6 * standard_error(lost)
    assert sum(run["lost_at_30"] for run in runs) <= 3


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(1, 101, 10))
def test_of_a_hundred_seeds_everything_with_a_living_holder_is_read_and_repaired(first):
    for seed in range(first, first + 10):
        figures = played(SurvivalScenario(reads=ENTRIES), 1_000, seed)
        assert figures["reads"] == figures["found"] == ENTRIES - figures["lost_at_50"]
        assert figures["periods_max"] <= PERIODS_MAX


# Repair, flash, partition, eclipse

FEW = Duty(3, 4, 8)  # so that a small app has nodes that are not to hold everything


@pytest.mark.long  # a quarter of a minute
@pytest.mark.timeout(3600)
def test_a_crowd_that_comes_and_goes_moves_nothing_to_and_fro():
    figures = played(FlashScenario(notes=1, duty=FEW), 20)
    assert figures["lost"] == figures["short_after"] == 0
    assert figures["moves_max_coming"] <= 2
    assert figures["moves_max_going"] <= 2


def test_what_the_dead_held_is_held_again():
    figures = played(RepairScenario(notes=1, periods=2, duty=FEW), 14, 2)
    assert figures["killed"] == 2
    assert figures["lost"] == 0


def test_halves_that_wrote_without_each_other_hold_the_same_again():
    scenario = PartitionScenario()
    outcome = run(scenario, Setting(5, 1, 60_000_000, scenario.plan(1)))
    print(outcome.figures)
    assert outcome.ok, outcome.violation
    assert outcome.figures["partitions"] == 1
    assert outcome.figures["held"] == outcome.figures["ops"] > 0


def test_gets_among_a_fifth_of_hostile_nodes_and_the_cost_of_being_near():
    figures = played(EclipseScenario(gets=100, besieged=False), 60)
    assert figures["right"] >= 0.99 * figures["gets"]
    assert all(figures["deeds"][way] > 0 for way in ALL_WAYS)
    assert set(figures["reported"]) == {"alters", "floods", "misleads"}
    assert set(figures["reported"]["alters"]) == {"content_invalid"}
    assert set(figures["reported"]["floods"]) == {"requests_excess"}
    assert figures["reported"]["floods"]["requests_excess"] >= figures["floods_refused"] > 0
    assert figures["admitted_without_work"] == 0
    assert figures["admitted_with_work"] == PREFIX_NODES_PER_TABLE_MAX
    assert figures["keys_q_min"] == figures["drawn_q_min"] << ID_WORK_BITS
    assert figures["drawn_q_min"] < figures["drawn_all"]


def test_eight_sybils_around_a_key_hide_what_is_put_there_and_seven_do_not():
    figures = Surrounded(1, 60, (HOLDERS_MIN - 1, HOLDERS_MIN, 24)).besiege()
    print(json.dumps(figures))
    assert figures["put_found"]["7"] == figures["kept_found"]["7"] == 1
    assert figures["put_hidden_by"] == HOLDERS_MIN
    assert figures["kept_found"]["24"] < 1


def test_who_forges_receipts_is_named_and_who_lets_go_loses_nothing():
    figures = played(HoldersScenario(notes=1), 10)
    deeds = figures["deeds"]
    assert set(figures["reported"]) == {"forges"}
    assert 0 < figures["reported"]["forges"]["receipt_forged"] <= deeds["forges"]
    assert deeds["claims"] > 0
    assert figures["honest_holders_min"] > 0


# In `make long`


SIZES = (64, 256, 1_024, 4_096, 10_000)


@pytest.mark.long  # an hour, most of it for the largest
@pytest.mark.timeout(4 * 3600)
def test_growth():
    """Five notes for each node. Of the work of a node, what each doubling adds gets less."""
    runs = [(math.log2(m), played(LoadScenario(), m)) for m in SIZES]
    assert [run["notes"] for _, run in runs] == [5 * m for m in SIZES]
    hops = line([(size, run["hops_mean"]) for size, run in runs])
    print(hops)
    assert hops.fit > 0.95
    assert runs[-1][1]["asked_mean"] <= 1.5 * runs[0][1]["asked_mean"]
    for what in ("messages", "bytes", "connections", "events"):
        points = [(size, run[f"work_{what}_mean"]) for size, run in runs]
        added = [line(pair).slope for pair in pairwise(points)]
        print(what, points, added)
        assert max(added) == added[0], what


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("nodes", [64, 256, 1_024])
def test_turnover_of_half_of_the_nodes(nodes):
    assert played(TurnoverScenario(), nodes)["nodes_after"] == nodes


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_turnover_of_half_of_the_nodes_of_an_app():
    figures = played(HandoverScenario(), 24)
    assert figures["lost"] == 0
    assert figures["stored_mean_after"] <= figures["stored_most_after"]


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("nodes", [64, 256, 1_000])
def test_a_hundred_notes_for_each_node(nodes):
    played(LoadScenario(per_node=100), nodes)


@pytest.mark.long  # eight minutes each
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_tenth_dies_in_each_of_twenty_periods(seed):
    assert played(RepairScenario(), 40, seed)["lost"] == 0


@pytest.mark.long  # a minute each
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_crowd_of_sixty_per_cent(seed):
    played(FlashScenario(), 40, seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_in_two_halves(seed):
    lines: list[dict] = []
    assert run_scenario("partition", 8, seed, None, lines.append), lines[-2]
    print(lines[-1])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_thousand_nodes_of_whom_a_fifth_lies(seed):
    played(EclipseScenario(gets=1_000), 1_000, seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_app_a_fifth_of_whose_holders_lie(seed):
    figures = played(HoldersScenario(), 40, seed)
    assert all(figures["deeds"][way] > 0 for way in WAYS)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_half_a_day_among_a_fifth_of_liars_about_uptimes(seed):
    assert played(HearsayScenario(), 20, seed)["heard_of"] > 0


# Every scenario

TRACED = ("eclipse", "load", "partition", "survival")  # flash and repair cost too much for this


@pytest.mark.long  # every scenario twice, in processes of their own
def test_equal_seeds_give_equal_traces_under_any_hash_seed():
    program = (
        "import json\n"
        "from dms3.sim.run import run_scenario\n"
        "for name in NAMES:\n"
        "    lines = []\n"
        "    run_scenario(name, 6, 3, 0.5, lines.append)\n"
        "    print(json.dumps(lines[-1]))\n"
    ).replace("NAMES", repr(TRACED))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("0", "4242")
    ]
    runs = [[json.loads(line) for line in each.communicate()[0].splitlines()] for each in running]
    assert [each["scenario"] for each in runs[0]] == list(TRACED)
    assert set(TRACED) <= set(SCENARIOS)
    assert set(STATEMENTS) <= set(SCENARIOS)
    for one, two in zip(*runs, strict=True):
        assert {"ok", "scenario", "nodes", "seed", "trace"} <= set(one)
        assert one["trace"] == two["trace"], one["scenario"]


def test_a_statement_is_not_run_over_bytes():
    with pytest.raises(Dms3Error, match="not run over bytes"):
        run_scenario("load", 4, 1, 0.1, print, fidelity="bytes")
