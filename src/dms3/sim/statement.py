"""A statement over many nodes: a seeded run that ends with figures, and fails when one is wrong.

Source: docs/simulator.md, "Statements". For what needs no faults in the middle of an event; those
that do are `sim/scenario.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from dms3.sim.checkers import ViolationError
from dms3.sim.faults import CALM, FaultPlan
from dms3.sim.scenario import Outcome, Setting
from dms3.sim.trace import Trace


class Statement(ABC):
    """One run; an instance is for one. `trace`: of everything that happens in it.

    `minutes_default`: virtual time that it takes; `figures` are filled as it goes.
    """

    name: str
    minutes_default: float = 1.0

    def __init__(self) -> None:
        self.trace = Trace()
        self.figures: dict[str, Any] = {}
        self.time_us = 0

    @abstractmethod
    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Do it; raises ViolationError when what must hold does not."""

    def plan(self, seed: int) -> FaultPlan:
        """What strikes is part of the statement, not drawn."""
        del seed
        return CALM

    def run(self, setting: Setting) -> Outcome:
        """Do it, with what was found out until then when it does not hold."""
        violation = ""
        try:
            self.play(setting.nodes, setting.seed, setting.work_us)
        except ViolationError as found:
            violation = str(found)
        return Outcome(
            ok=not violation,
            violation=violation,
            trace=self.trace.digest(),
            events=self.trace.events,
            virtual_us=self.time_us,
            figures=self.figures,
            last_events=self.trace.last() if violation else [],
        )


def require(holds: bool, otherwise: str) -> None:
    """Go on when it `holds`; else raise the ViolationError that says `otherwise`."""
    if not holds:
        raise ViolationError(otherwise)
