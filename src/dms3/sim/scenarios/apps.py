"""The scenarios about the chains of apps, by name.

Source: docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.sim.scenario import Scenario
from dms3.sim.scenarios.chain import ChainScenario
from dms3.sim.scenarios.converge import ConvergeScenario
from dms3.sim.scenarios.gossip import GossipScenario
from dms3.sim.scenarios.integrity import IntegrityScenario
from dms3.sim.scenarios.partition import PartitionScenario

APPS: dict[str, Callable[[], Scenario]] = {
    "chain": ChainScenario,
    "converge": ConvergeScenario,
    "gossip": GossipScenario,
    "partition": PartitionScenario,
    "integrity": IntegrityScenario,
}
