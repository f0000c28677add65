"""Who breaks rules is convicted by all, and nobody else; see sim/scenarios/integrity.py.

How many holders hide a fork is swept in `make long`.
"""

import pytest

from dms3.core.limits import SECOND_US
from dms3.core.overlay import HOLDERS_MIN
from dms3.core.verdict import Valid
from dms3.sim.run import SCENARIOS
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.integrity import FOUND_US, OUTLAWS, IntegrityScenario
from dms3.validation import judging

NODES = 17
WORK_US = 6 * SECOND_US


def integrity(seed: int, bad: int) -> Outcome:
    scenario = IntegrityScenario(bad)
    outcome = run(scenario, Setting(NODES, seed, WORK_US, scenario.plan(seed), messages))
    print(seed, outcome.violation, outcome.figures)
    return outcome


@pytest.mark.parametrize("bad", [HOLDERS_MIN - 1])
def test_outlaws_are_convicted_by_every_honest_node_and_nobody_else_is(bad):
    outcome = integrity(bad, bad)
    assert outcome.ok, outcome.violation
    assert outcome.figures["bad_holders"] == bad
    assert outcome.figures["honest"] == NODES - len(OUTLAWS) - bad
    assert outcome.figures["fork_known_s"] <= FOUND_US / SECOND_US


def test_it_is_among_the_scenarios():
    assert SCENARIOS["integrity"] is IntegrityScenario


@pytest.mark.long
def test_a_false_warrant_that_is_believed_is_caught(monkeypatch):
    monkeypatch.setattr(judging, "check_warrant", lambda _: Valid())
    monkeypatch.setattr("dms3.sim.scenario.SIM_QUIET_US_MAX", 4 * SECOND_US)
    assert "unfinished" in integrity(1, 0).violation


@pytest.mark.long
def test_a_fork_that_is_known_too_late_fails_the_run(monkeypatch):
    monkeypatch.setattr("dms3.sim.scenarios.integrity.FOUND_US", 0)
    assert "after one had both sides" in integrity(1, 0).violation


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bad", range(HOLDERS_MIN))
def test_a_fork_is_found_as_long_as_one_honest_holder_sees_both(bad):
    for seed in range(10):
        outcome = integrity(100 * bad + seed, bad)
        assert outcome.ok, (seed, outcome.violation)
