"""Bytes fidelity: the same bank over frames, Yamux and Noise, with the same result."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.sim.bytes_network import BytesNetwork, over_bytes
from dms3.sim.faults import CALM, FaultPlan, draw_plan
from dms3.sim.run import run_scenario
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.bank import OPENING, BankScenario

SECOND = 1_000_000
RICH = 1_000_000_000  # nobody is refused for want of money: what is paid does not depend on when


def run_bytes(
    seed: int,
    plan: FaultPlan,
    *,
    nodes: int = 8,
    work_us: int = SECOND,
    network=over_bytes,
    scenario: BankScenario | None = None,
) -> Outcome:
    return run(scenario or BankScenario(), Setting(nodes, seed, work_us, plan, network))


@pytest.mark.parametrize("seed", range(20))
def test_drawn_faults_over_bytes_keep_every_promise(seed: int) -> None:
    outcome = run_bytes(seed, draw_plan(seed))
    assert outcome.ok, (seed, outcome.violation, outcome.faults, outcome.last_events)
    assert outcome.figures["money"] == 8 * OPENING
    assert outcome.figures["done"] == outcome.figures["transfers"] > 5


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_seeds_over_bytes() -> None:
    for seed in range(20, 320):
        outcome = run_bytes(seed, draw_plan(seed))
        assert outcome.ok, (seed, outcome.violation, outcome.faults, outcome.last_events)


@pytest.mark.parametrize(
    "plan",
    [
        CALM,
        FaultPlan(partition_every_us=SECOND // 2, partition_for_us=SECOND // 4),
        FaultPlan(loss_per_million=50_000, copies_per_million=50_000, reorder=True),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_both_fidelities_deliver_the_same(seed: int, plan: FaultPlan) -> None:
    results = []
    for network in (messages, over_bytes):
        scenario = BankScenario(opening=RICH, amount_max=100)
        outcome = run_bytes(seed, plan, network=network, scenario=scenario)
        assert outcome.ok, outcome.violation
        figures = outcome.figures
        results.append([figures[name] for name in ("balances", "transfers", "done", "money")])
    assert results[0] == results[1]
    assert results[0][1] > 50


def test_equal_seeds_give_equal_traces_over_bytes() -> None:
    traces = [run_bytes(seed, draw_plan(seed)).trace for seed in (4, 4, 5)]
    assert traces[0] == traces[1] != traces[2]


def test_a_changed_byte_is_noticed() -> None:
    class Careless(BytesNetwork):
        """A network that flips a bit now and then: the secure channel must notice."""

        changed = 0

        def _put(self, source, target, data):
            self.changed += 1
            if self.changed == 100:
                data = data[:-1] + bytes([data[-1] ^ 1])
            super()._put(source, target, data)

    outcome = run_bytes(1, CALM, network=Careless)
    assert not outcome.ok
    assert "broken bytes" in outcome.violation


def test_more_nodes_than_bytes_allow_are_refused() -> None:
    with pytest.raises(Dms3Error):
        run_scenario("bank", 51, 1, 0.01, print, fidelity="bytes")
    lines: list[dict] = []
    assert run_scenario("bank", 4, 1, 0.01, lines.append, fidelity="bytes")
    assert lines[-1]["fidelity"] == "bytes"
