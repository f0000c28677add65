"""Devices of one person under partition, crashes and places that fail: all come to have everything.

Machine "storage", driver and commits are those of a real node; see sim/scenarios/devices.py.
"""

import json
import os
import subprocess
import sys

import pytest

from dms3.core.limits import SECOND_US
from dms3.sim.faults import CALM
from dms3.sim.run import run_scenario
from dms3.sim.scenario import Outcome, Setting, run
from dms3.sim.scenarios.devices import DevicesScenario
from dms3.storage.appending import Appending
from dms3.storage.operations import Durable


def share(scenario, *, nodes, seed, minutes=4, plan=None) -> Outcome:
    plan = scenario.plan(seed) if plan is None else plan
    outcome = run(scenario, Setting(nodes, seed, minutes * 60 * SECOND_US, plan))
    print(seed, outcome.figures)
    return outcome


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("seed", range(1, 6))
def test_nothing_is_lost_and_all_have_the_same(nodes, seed):
    outcome = share(DevicesScenario(), nodes=nodes, seed=seed)
    assert outcome.ok, outcome.violation
    assert outcome.figures["written"] > 20 * nodes


def test_without_faults_little_is_written_besides_the_chunks():
    outcome = share(DevicesScenario(faulty=0), nodes=3, seed=7, plan=CALM)
    assert outcome.ok, outcome.violation
    assert outcome.figures["moves"] >= 1
    assert outcome.figures["objects"] < 2 * outcome.figures["written"]


def test_a_device_that_says_too_early_that_all_is_shared_is_caught(monkeypatch):
    """It acknowledges what still waits, so a crash loses it for the others."""

    def hasty(self, event):
        self._book.reply(event.request, Durable(shared=True))

    monkeypatch.setattr(Appending, "append", hasty)
    outcome = share(DevicesScenario(), nodes=2, seed=1, minutes=1)
    assert not outcome.ok


def test_equal_seeds_give_equal_traces_under_any_hash_seed():
    program = (
        "from dms3.sim.run import run_scenario\n"
        "import json\n"
        "run_scenario('devices', 3, 5, 2.5, lambda line: print(json.dumps(line)))\n"
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


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_seeds():
    for seed in range(100, 200):
        lines: list[dict] = []
        assert run_scenario("devices", 2 + seed % 2, seed, None, lines.append), lines[-2]
