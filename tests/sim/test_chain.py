"""Chains of many people under faults; see sim/scenarios/chain.py."""

import pytest

from dms3.core.limits import SECOND_US
from dms3.core.verdict import Valid
from dms3.sim.run import SCENARIOS
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.chain import ChainScenario
from dms3.validation.holding import Holding
from dms3.validation.judging import Judging

NODES = 5
WORK_US = 6 * SECOND_US


def chain(seed: int) -> tuple[Outcome, ChainScenario]:
    scenario = ChainScenario()
    outcome = run(scenario, Setting(NODES, seed, WORK_US, scenario.plan(seed), messages))
    print(seed, outcome.figures)
    return outcome, scenario


@pytest.mark.parametrize("seed", [3, 4, 10])
def test_what_was_acknowledged_is_read_by_everybody(seed):
    outcome, scenario = chain(seed)
    assert outcome.ok, outcome.violation
    assert len(scenario.tally.committed) > 0
    assert outcome.figures["unread"] == 0


def test_equal_seeds_give_equal_runs():
    assert chain(7)[0].trace == chain(7)[0].trace


def test_it_is_among_the_scenarios():
    assert SCENARIOS["chain"] is ChainScenario


def test_nodes_that_lose_what_they_signed_for_are_caught(monkeypatch):
    def forgets(self, overlay, kind, basis, signed, state):
        del self, overlay, kind, basis, signed, state

    monkeypatch.setattr(Holding, "add_op", forgets)
    outcome, _ = chain(6)
    assert not outcome.ok


def test_a_verdict_that_is_not_asked_of_the_rules_is_caught(monkeypatch):
    monkeypatch.setattr(Judging, "_app", lambda self, case, _: self.finish(case, Valid()))
    outcome, _ = chain(6)
    assert "breaks a rule" in outcome.violation
