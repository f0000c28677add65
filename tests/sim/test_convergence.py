"""Writers in pieces of a network that loses a third of all messages; see sim/scenarios/converge.py.

The sweep of a thousand seeds is for `make long`.
"""

import pytest

from dms3.core.limits import SECOND_US
from dms3.sim.run import SCENARIOS
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.converge import LOSS_PER_MILLION, ConvergeScenario
from dms3.source.filling import Filling
from dms3.validation.reconciling import Reconciling

NODES = 5
WORK_US = 8 * SECOND_US


def converge(seed: int, nodes: int = NODES) -> Outcome:
    scenario = ConvergeScenario()
    outcome = run(scenario, Setting(nodes, seed, WORK_US, scenario.plan(seed), messages))
    print(seed, outcome.violation, outcome.virtual_us // SECOND_US, outcome.figures)
    return outcome


@pytest.mark.parametrize("seed", [1, 2])
def test_all_hold_the_same_after_partitions_and_loss(seed):
    outcome = converge(seed)
    assert outcome.ok, outcome.violation
    assert outcome.faults["loss_per_million"] == LOSS_PER_MILLION
    assert outcome.figures["partitions"] > 0
    assert outcome.figures["held"] == outcome.figures["ops"] > 0


@pytest.mark.parametrize(("seed", "nodes"), [(92, 5), (222, 3)])
def test_the_end_is_when_what_was_acknowledged_has_come_through(seed, nodes):
    """Sets of ops are equal, too, before an author has judged its own, or when all writes fail."""
    outcome = converge(seed, nodes)
    assert outcome.ok, outcome.violation
    assert outcome.figures["committed"] > 0


def test_comparing_alone_brings_everything_to_everybody(monkeypatch):
    """Nobody publishes: what an author has, the others find with it."""
    monkeypatch.setattr(Filling, "parcels", lambda _: iter(()))
    assert converge(3).ok


def test_without_comparing_the_sets_stay_different(monkeypatch):
    monkeypatch.setattr(Filling, "parcels", lambda _: iter(()))
    monkeypatch.setattr(Reconciling, "_begin", lambda *_: None)
    outcome = converge(3, 3)
    assert "unfinished" in outcome.violation


def test_it_is_among_the_scenarios():
    assert SCENARIOS["converge"] is ConvergeScenario


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_a_thousand_seeds_converge(first):
    for seed in range(first, first + 100):
        outcome = converge(seed, 3 + seed % 6)
        assert outcome.ok, (seed, outcome.violation)
