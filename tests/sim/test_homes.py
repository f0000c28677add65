"""Homes of one person over a while: a backup or a folder of before comes back, and nothing forks.

Between real processes `tests/network/test_chain_restore.py` shows the same with a backup
of minutes.
"""

from dataclasses import replace

import pytest

from dms3.chain.operations import Begin, ChainHead
from dms3.chain.operations_validation import Activity, GetActivity, OpenApp
from dms3.core.limits import SECOND_US
from dms3.sim.checkers import ViolationError
from dms3.sim.faults import FaultPlan
from dms3.sim.places import address_of
from dms3.sim.scenario import Outcome, Setting, messages, run
from dms3.sim.scenarios.chain import ChainScenario
from dms3.sim.scenarios.chain_members import ChainMembers
from dms3.sim.scenarios.chain_rules import DNA
from dms3.sim.seeds import stream

NODES = 4
HOUR_US = 3_600 * SECOND_US
SAVED_US = HOUR_US // 6
WRITES = 24  # about, between the saving and the return


class Homes(ChainMembers):
    """Nodes 0 and 1 are homes of one person; `moved` says what has become of node 0."""

    moved = ""

    def own(self, node):
        """A restored backup is another device; a folder that was put back lies elsewhere."""
        own = super().own(node)
        if node.index > 1:
            return own
        own = replace(own, tree=self._tree(0))
        if node.index == 0 and self.moved == "backup":
            return replace(own, device=bytes(len(own.device)))
        return replace(own, place=b"elsewhere") if node.index == 0 and self.moved else own


class Yesterday(ChainScenario):
    """A day of writing; then node 0 comes back from what it was in the first hour."""

    def __init__(self, moved: str, away_us: int) -> None:
        super().__init__()
        self.away_us = away_us
        self._members = self.homes = Homes()
        self.moved = moved
        self.agents: dict[bytes, int] = {}  # -> the seq of its head
        self.states: dict[bytes, Activity] = {}

    def started(self, node):
        """As always; remember the agent, and look at all of them when the day is over."""

        def begun(answer):
            if isinstance(answer, ChainHead):
                self.agents.setdefault(answer.agent, answer.seq)

        node.call("dht.listening", (address_of(node.index),), lambda _: None)
        node.call("validation.open", OpenApp(DNA), lambda _: None)
        node.call("source.begin", Begin(DNA), begun)

    def begin(self, world, until_us):
        """Besides the writing: save node 0, and bring it back a day later."""
        super().begin(world, until_us)
        world.at(SAVED_US, self._save)
        world.at(SAVED_US + self.away_us, self._bring_back)

    def pause_us(self, random):
        """A few commits an hour."""
        return random.randrange(2 * self.away_us // WRITES)

    def _look(self, random):
        """All is read at the end."""

    def _save(self):
        self.saved = self.world.nodes[0].disk.copy()
        self.before = len(self.tally.committed)

    def _bring_back(self):
        node = self.world.nodes[0]
        self.between = len(self.tally.committed) - self.before
        node.crash(durable=True)
        node.disk = self.saved
        self.homes.moved = self.moved
        self.world.restart(node)
        random = stream(self.world.seed, "home")
        for minute in range(1, 11):
            back_us = SAVED_US + self.away_us
            self.world.at(back_us + minute * 60 * SECOND_US, self._commit, node, random)

    def finished(self, world):
        """Whether everybody has read everything and node 3 knows how every agent stands."""
        if not super().finished(world):
            return False
        for agent in sorted(self.agents):
            self._call(
                world.nodes[3], "validation.activity", GetActivity(DNA.id, agent), self._state
            )
        return len(self.states) == len(self.agents)

    def _state(self, answer):
        if isinstance(answer, Activity):
            if answer.state not in ("valid", "empty"):
                raise ViolationError(f"a chain is {answer.state}")
            self.states[answer.agent] = answer


def away(moved: str, away_us: int, seed: int = 1) -> tuple[Outcome, Yesterday]:
    scenario = Yesterday(moved, away_us)
    end_us = SAVED_US + away_us + HOUR_US // 4
    outcome = run(scenario, Setting(NODES, seed, end_us, FaultPlan(), messages))
    print(moved, away_us // HOUR_US, "hours", seed, outcome.events, outcome.figures)
    return outcome, scenario


def check(moved: str, away_us: int) -> None:
    outcome, scenario = away(moved, away_us)
    assert outcome.ok, outcome.violation
    assert scenario.between > 0
    writers = list(scenario.tally.committed.values())
    assert 0 in writers[: scenario.before + scenario.between]
    assert 0 in writers[scenario.before + scenario.between :]
    assert outcome.figures["unread"] == 0
    events = [event for node in scenario.world.nodes for event in node.disk.events]
    wrong = ("chain.forked", "chain.warranted", "chain.convicted")
    assert not [event.topic for event in events if event.topic in wrong]
    assert {each.state for each in scenario.states.values()} == {"valid"}


@pytest.mark.parametrize("moved", ["backup"])
def test_a_home_of_before_forks_nothing_and_lacks_nothing(moved):
    check(moved, HOUR_US // 2)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moved", ["backup", "folder"])
def test_a_home_of_yesterday_forks_nothing_and_lacks_nothing(moved):
    check(moved, 24 * HOUR_US)
