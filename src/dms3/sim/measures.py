"""Means, spreads and straight lines: what statements over many seeds or sizes are made of.

Source: any textbook of statistics (least squares; the standard error of a mean). Exact enough for
figures; nothing here enters a trace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def quantile(values: Sequence[float], part: float) -> float:
    """The least value that at least `part` (0 to 1) of `values` do not exceed; 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def standard_error(values: Sequence[float]) -> float:
    """How far the mean of `values` is usually off, by their own spread; 0 of fewer than two."""
    if len(values) < 2:
        return 0.0
    middle = mean(values)
    spread = sum((value - middle) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(spread / len(values))


@dataclass(frozen=True, slots=True)
class Line:
    """y = `start` + `slope` x; `fit` (R squared): which part of the spread of y it explains."""

    start: float
    slope: float
    fit: float

    def at(self, x: float) -> float:
        """Its y."""
        return self.start + self.slope * x


def line(points: Sequence[tuple[float, float]]) -> Line:
    """The line with the least squares through `points` (x, y), of at least two different x."""
    middle_x, middle_y = mean([x for x, _ in points]), mean([y for _, y in points])
    spread_x = sum((x - middle_x) ** 2 for x, _ in points)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in points) / spread_x
    start = middle_y - slope * middle_x
    total = sum((y - middle_y) ** 2 for _, y in points)
    missed = sum((y - start - slope * x) ** 2 for x, y in points)
    return Line(start, slope, 1.0 if not total else 1 - missed / total)
