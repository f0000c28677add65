"""What the benchmarks share: a row of the table, and words on stderr while they run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure beside that of another program, or of a floor, in the same run.

    Of a rate (unit ending in "/s") ours/peer should be at least `goal`, of anything else at most.
    `peer`: None for a figure that stands alone; its goal then bounds the figure. `goal`: None when
    nothing was promised. `why`: what the figure depends on, for whoever reads the table.
    """

    name: str
    ours: float
    peer: float | None
    peer_name: str
    unit: str
    goal: float | None
    why: str = ""

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float | None:
        """Ours in parts of the peer's."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def ok(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return value >= self.goal if self.is_rate else value <= self.goal

    def as_json(self) -> dict[str, Any]:
        """The row as `build/bench.json` has it."""
        return {
            "name": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "peer_name": self.peer_name,
            "ratio": self.ratio,
            "unit": self.unit,
            "goal": self.goal,
            "ok": self.ok,
            "why": self.why,
        }

    def __str__(self) -> str:
        beside = "" if self.peer is None else f"; {self.peer_name} {figure(self.peer)}"
        ratio = "" if self.ratio is None else f"; ratio {self.ratio:.2f}"
        goal = "" if self.goal is None else f" (goal {self.bound})"
        return f"{self.name}: {figure(self.ours)} {self.unit}{beside}{ratio}{goal}"

    @property
    def bound(self) -> str:
        """The goal with its direction."""
        return "" if self.goal is None else f"{'≥' if self.is_rate else '≤'} {self.goal:.3g}"


def figure(value: float) -> str:
    """A number with about three digits that say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def note(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)
