"""The scenarios that are statements over sizes and seeds, by name.

Source: docs/simulator.md, "Statements".
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.sim.scenarios.load import LoadScenario
from dms3.sim.scenarios.survival import SurvivalScenario
from dms3.sim.statement import Statement

STATEMENTS: dict[str, Callable[[], Statement]] = {
    "load": LoadScenario,
    "survival": SurvivalScenario,
}
