"""The scenarios that are statements over sizes and seeds, by name.

Source: docs/simulator.md, "Statements".
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.sim.scenarios.eclipse import EclipseScenario
from dms3.sim.scenarios.eclipse_hearsay import HearsayScenario
from dms3.sim.scenarios.eclipse_holders import HoldersScenario
from dms3.sim.scenarios.flash import FlashScenario
from dms3.sim.scenarios.load import LoadScenario
from dms3.sim.scenarios.load_handover import HandoverScenario
from dms3.sim.scenarios.load_turnover import TurnoverScenario
from dms3.sim.scenarios.repair import RepairScenario
from dms3.sim.scenarios.survival import SurvivalScenario
from dms3.sim.statement import Statement

STATEMENTS: dict[str, Callable[[], Statement]] = {
    "eclipse": EclipseScenario,
    "flash": FlashScenario,
    "handover": HandoverScenario,
    "hearsay": HearsayScenario,
    "holders": HoldersScenario,
    "load": LoadScenario,
    "repair": RepairScenario,
    "survival": SurvivalScenario,
    "turnover": TurnoverScenario,
}
