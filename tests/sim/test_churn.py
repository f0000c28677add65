"""A fifth of the nodes leaves every minute and returns with its disk: what was put is found."""

import pytest

from dms3.core.limits import SECOND_US
from dms3.sim.run import run_scenario
from dms3.sim.scenario import Setting, run
from dms3.sim.scenarios.churn import ChurnScenario


def test_what_was_put_a_minute_ago_is_found_while_nodes_come_and_go():
    scenario = ChurnScenario()
    outcome = run(scenario, Setting(30, 3, 150 * SECOND_US, scenario.plan(3)))
    print(outcome.figures)
    assert outcome.ok, outcome.violation
    figures = outcome.figures
    assert figures["leavings"] >= 12
    assert figures["gets"] > 100
    assert figures["found"] >= 0.99 * figures["gets"]
    assert figures["holders_min"] >= 8


def test_a_run_whose_puts_stay_alone_fails():
    class Alone(ChurnScenario):
        def finished(self, world):
            if world.time_us >= self._until_us:
                self.tally.alone = 1 + self.tally.puts // 50
            return super().finished(world)

    scenario = Alone()
    outcome = run(scenario, Setting(4, 1, 10 * SECOND_US, scenario.plan(1)))
    assert not outcome.ok
    assert "puts found no other holder" in outcome.violation


def test_a_run_that_finds_too_little_fails():
    class Forgetting(ChurnScenario):
        def finished(self, world):
            if world.time_us >= self._until_us:
                self.tally.gets += 1_000
            return super().finished(world)

    scenario = Forgetting()
    outcome = run(scenario, Setting(4, 1, 70 * SECOND_US, scenario.plan(1)))
    assert not outcome.ok
    assert "gets found their note" in outcome.violation


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_three_hundred_nodes_for_ten_minutes():
    lines: list[dict] = []
    assert run_scenario("churn", 300, 7, 10, lines.append), lines[-2]
    assert lines[-1]["found_fraction"] >= 0.99
    assert lines[-1]["gets"] > 1_000
