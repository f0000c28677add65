"""Everybody hears what is spread, once, with few bodies for each: losses, idlers, restarts, bytes.

Machines, driver and wire formats are those of a real node; see sim/scenarios/gossip.py.
"""

from dataclasses import replace

import pytest

from dms3.core.limits import SECOND_US
from dms3.core.machine import Reply, Requested
from dms3.gossip.gossip import Gossip
from dms3.gossip.messages import decode_question
from dms3.sim.bytes_network import over_bytes
from dms3.sim.faults import CALM
from dms3.sim.run import run_scenario
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.gossip import REDUNDANCY_MAX, GossipScenario

SECOND = SECOND_US


def spread(scenario, *, nodes, seed=5, work_us=18 * SECOND, network=messages, plan=None) -> Outcome:
    plan = scenario.plan(seed) if plan is None else plan
    outcome = run(scenario, Setting(nodes, seed, work_us, plan, network))
    print(seed, outcome.figures)
    return outcome


def test_everybody_hears_everything_among_idlers_and_losses():
    outcome = spread(GossipScenario(), nodes=12)
    assert outcome.ok, outcome.violation
    figures = outcome.figures
    assert figures["idlers"] == 2
    assert figures["leavings"] > 4
    assert figures["heard"] > 24 * 9
    assert figures["redundancy"] <= REDUNDANCY_MAX


class Calm(GossipScenario):
    """Nothing is lost, nobody restarts, nobody idles."""

    idlers = 1_000

    def plan(self, seed):
        del seed
        return CALM

    def _leave(self, random):
        pass


@pytest.mark.parametrize("network", [messages, over_bytes], ids=["messages", "bytes"])
def test_without_faults_a_body_comes_once_and_is_asked_for_once(network):
    outcome = spread(Calm(), nodes=8, network=network)
    assert outcome.ok, outcome.violation
    figures = outcome.figures
    assert figures["heard"] == figures["bodies"] * 7
    assert figures["redundancy"] == figures["asked_per_heard"] == 1.0
    assert figures["reached_before_healing"] == 1.0
    assert figures["dropped"] == {}


class Promiser(Gossip):
    """Tells what it has heard and gives nothing."""

    def on_event(self, event, now):
        effects = super().on_event(event, now)
        if isinstance(event, Requested) and decode_question(event.body).want:
            return [each for each in effects if not isinstance(each, Reply)]
        return effects


class Promising(Calm):
    """A fifth of the nodes promise."""

    idlers = 5

    def machines(self, index, all_peers, entropy):
        hosted = super().machines(index, all_peers, entropy)
        if index not in self._idlers:
            return hosted
        liar = Promiser(entropy, {"talk": "listener"}, quiet=())
        return [replace(each, machine=liar) if each.name == "gossip" else each for each in hosted]


def test_who_promises_and_does_not_give_holds_nobody_up_for_long():
    outcome = spread(Promising(), nodes=10)
    assert outcome.ok, outcome.violation
    assert outcome.figures["reached_before_healing"] == 1.0
    assert outcome.figures["redundancy"] == 1.0


def test_a_body_that_nobody_tells_fails_the_run():
    class Silent(GossipScenario):
        def heard(self, node, told):
            if node.index:
                super().heard(node, told)

    outcome = spread(Silent(), nodes=4, work_us=8 * SECOND)
    assert not outcome.ok
    assert "unfinished" in outcome.violation


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_nodes(seed):
    lines: list[dict] = []
    assert run_scenario("gossip", 200, seed, None, lines.append), lines[-2]
    print(lines[-1])
    assert lines[-1]["redundancy"] <= REDUNDANCY_MAX
    assert lines[-1]["hops_mean"] <= 6
