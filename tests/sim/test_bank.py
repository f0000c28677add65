"""The bank under faults: what the driver promises holds, and a driver that breaks it is caught."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.node.driver import Driver
from dms3.sim.faults import CALM, FaultPlan, draw_plan
from dms3.sim.run import run_scenario
from dms3.sim.scenario import Outcome, Setting, run
from dms3.sim.scenarios.bank import OPENING, BankScenario

SECOND = 1_000_000
SEEDS = Path(__file__).with_name("seeds.txt")


class HastyDriver(Driver):
    """Sends before it persists: what production code must never do."""

    def _release_point(self, seat, *, wrote):
        super()._release_point(seat, wrote=wrote)


class OvertakingDriver(Driver):
    """Lets an event without writes overtake what its machine has not yet made durable."""

    def _release_point(self, seat, *, wrote):
        point = super()._release_point(seat, wrote=wrote)
        return point if wrote else None


def run_bank(
    seed: int,
    *,
    nodes: int = 20,
    work_us: int = 2 * SECOND,
    plan: FaultPlan | None = None,
    driver_class: type[Driver] = Driver,
) -> Outcome:
    drawn = draw_plan(seed) if plan is None else plan
    setting = Setting(nodes, seed, work_us, drawn, driver_class=driver_class)
    return run(BankScenario(), setting)


def explain(seed: int, outcome: Outcome) -> str:
    lines = [f"seed {seed}: {outcome.violation}", f"faults {outcome.faults}"]
    lines += outcome.last_events
    lines.append(f"replay: dms3 sim run bank --nodes 20 --seed {seed} --minutes {2 / 60:.3g}")
    return "\n".join(lines)


def campaign(seeds: range) -> None:
    begun = time.process_time()
    events = 0
    crashes = 0
    for seed in seeds:
        outcome = run_bank(seed)
        assert outcome.ok, explain(seed, outcome)
        assert outcome.figures["money"] == 20 * OPENING
        assert outcome.figures["done"] == outcome.figures["transfers"] > 50
        events += outcome.events
        crashes += outcome.figures["crashes"]
    rate = events / (time.process_time() - begun)
    print(f"seeds {seeds.start}-{seeds.stop - 1}: {events} events, {crashes} crashes, {rate:.0f}/s")
    assert crashes > len(seeds), "the faults were off"


@pytest.mark.parametrize("start", range(0, 200, 25))
def test_two_hundred_seeds_keep_every_promise(start: int) -> None:
    campaign(range(start, start + 25))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_seeds_keep_every_promise() -> None:
    campaign(range(200, 1200))


@pytest.mark.parametrize(
    "line", [line for line in SEEDS.read_text().splitlines() if line and not line.startswith("#")]
)
def test_kept_seeds_hold(line: str) -> None:
    name, nodes, seed, work_us = line.split()[:4]
    assert name == "bank"
    outcome = run_bank(int(seed), nodes=int(nodes), work_us=int(work_us))
    assert outcome.ok, explain(int(seed), outcome)


def test_a_driver_that_sends_first_is_caught() -> None:
    caught = {}
    for seed in range(12):
        outcome = run_bank(seed, driver_class=HastyDriver)
        if not outcome.ok:
            caught[seed] = outcome.violation
            assert 0 < len(outcome.last_events) <= 50
    assert len(caught) >= 4, f"only {caught}"
    assert min(caught) <= 3, "it took too many seeds"


def test_a_driver_that_lets_events_overtake_is_caught() -> None:
    plan = FaultPlan(
        copies_per_million=300_000,
        crash_every_us=30_000,
        down_for_us=200_000,
        commit_min_us=20_000,
        commit_max_us=200_000,
    )
    for seed in range(3):
        assert not run_bank(seed, plan=plan, driver_class=OvertakingDriver).ok
        assert run_bank(seed, plan=plan).ok


def test_without_faults_every_transfer_is_made_once() -> None:
    outcome = run_bank(1, plan=CALM)
    assert outcome.ok, outcome.violation
    assert outcome.figures["transfers"] == outcome.figures["accepted"] == outcome.figures["done"]
    assert outcome.figures["crashes"] == 0
    assert outcome.figures["money"] == 20 * OPENING


def test_work_that_cannot_end_is_a_violation() -> None:
    class Forgetful(BankScenario):
        def finished(self, world):
            super().finished(world)
            return False

    outcome = run(Forgetful(), Setting(3, 1, SECOND, CALM))
    assert not outcome.ok
    assert "unfinished" in outcome.violation


def test_a_machine_that_raises_ends_the_run_with_its_name() -> None:
    class Broken(BankScenario):
        def build(self):
            inner = super().build()

            def machines(index, peers, entropy):
                (hosted,) = inner(index, peers, entropy)
                hosted.machine._acknowledged = lambda *_: 1 / 0
                return [hosted]

            return machines

    outcome = run(Broken(), Setting(3, 1, SECOND, CALM))
    assert not outcome.ok
    assert "bank failed on Answered" in outcome.violation
    assert "ZeroDivisionError" in outcome.violation


def test_equal_seeds_give_equal_traces_and_others_do_not() -> None:
    traces = [run_bank(seed).trace for seed in (5, 5, 6)]
    assert traces[0] == traces[1] != traces[2]


def test_traces_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from dms3.sim.run import run_scenario\n"
        "import json\n"
        "run_scenario('bank', 20, 9, 0.05, lambda line: print(json.dumps(line)))\n"
    )
    traces = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(json.loads(done.stdout.splitlines()[-1])["trace"])
    assert len(traces) == 1


def test_the_last_line_has_the_figures() -> None:
    lines: list[dict] = []
    assert run_scenario("bank", 5, 3, 0.02, lines.append)
    assert lines[0]["faults"] == draw_plan(3).named()
    last = lines[-1]
    assert last["ok"] is True
    assert (last["scenario"], last["nodes"], last["seed"]) == ("bank", 5, 3)
    assert len(bytes.fromhex(last["trace"])) == 32
    assert last["done"] == last["transfers"] > 0
    json.dumps(lines)


def test_a_failing_run_says_how_to_repeat_it(monkeypatch) -> None:
    monkeypatch.setattr(BankScenario, "finished", lambda *_: False)
    lines: list[dict] = []
    assert not run_scenario("bank", 3, 7, 0.01, lines.append)
    assert lines[-1]["ok"] is False
    assert lines[-2]["replay"] == "dms3 sim run bank --nodes 3 --seed 7 --minutes 0.01"
    assert "unfinished" in lines[-2]["violation"]
    assert 0 < sum("event" in line for line in lines) <= 50


@pytest.mark.parametrize(
    ("name", "nodes", "minutes"),
    [("nothing", 5, 1), ("bank", 1, 1), ("bank", 201, 1), ("bank", 5, 0), ("bank", 5, 1441)],
)
def test_settings_out_of_range_are_refused(name: str, nodes: int, minutes: float) -> None:
    with pytest.raises(Dms3Error) as caught:
        run_scenario(name, nodes, 1, minutes, print)
    assert caught.value.code == "argument_invalid"
