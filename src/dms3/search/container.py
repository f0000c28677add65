"""Which containers a search has to open: by space, kind and the bounds of their fields.

Source: docs/vocabulary.md; docs/architecture.md, "Storage and search". A container is never
searched when its record shows that nothing in it can match, and the answer counts both. The
tables behind it are `io/index.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dms3.core.limits import CONTAINER_DOCUMENTS_MAX
from dms3.search.condition import Condition


@dataclass(frozen=True, slots=True)
class Container:
    """The record of one container.

    `number`: its row. `documents`: those in it now. `taken`: those ever put in, which is what is
    bounded. The bounds are those of every document ever put in: bytes, and microseconds since the
    Unix epoch.
    """

    number: int
    space: int
    kind: str
    documents: int
    taken: int
    bytes_low: int
    bytes_high: int
    modified_low: int
    modified_high: int
    added_low: int
    added_high: int

    @property
    def is_full(self) -> bool:
        """Whether the next document goes to a new container."""
        return self.taken >= CONTAINER_DOCUMENTS_MAX


@dataclass(frozen=True, slots=True)
class Plan:
    """The containers to open, and how many need not be."""

    opened: tuple[Container, ...]
    skipped: int


def plan(
    containers: Iterable[Container], kind: str | None, conditions: Sequence[Condition]
) -> Plan:
    """Which of `containers` a search for `kind` (None: any) under `conditions` must open."""
    opened: list[Container] = []
    skipped = 0
    for container in containers:
        if _can_match(container, kind, conditions):
            opened.append(container)
        else:
            skipped += 1
    return Plan(tuple(opened), skipped)


def _can_match(container: Container, kind: str | None, conditions: Sequence[Condition]) -> bool:
    if container.documents == 0 or (kind is not None and container.kind != kind):
        return False
    bounds = {
        "bytes": (container.bytes_low, container.bytes_high),
        "modified": (container.modified_low, container.modified_high),
        "added": (container.added_low, container.added_high),
    }
    for condition in conditions:
        if condition.field not in bounds:
            continue
        low, high = bounds[condition.field]
        if condition.low is not None and condition.low > high:
            return False
        if condition.high is not None and condition.high < low:
            return False
    return True
