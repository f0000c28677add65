"""Types with which parts meet the database without importing it: layer 0 has no database.

Source: docs/architecture.md, "Where data lies". `io/store.py` is the implementation; this module
opens, reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from dms3.core.machine import Delete, Persist

T = TypeVar("T")

Write = Persist | Delete
"""One change of a machine's committed state."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A Notify with its number: `id` is gap-free from 1, `wall_us` since the Unix epoch.

    `data` holds JSON values only.
    """

    id: int
    topic: str
    data: dict[str, Any]
    wall_us: int


@dataclass(frozen=True, slots=True)
class Migration:
    """One step forward of the database: numbers run from 1 without a gap and are never reused.

    `statements` run in order in one transaction together with the change of the version.
    """

    number: int
    name: str
    statements: tuple[str, ...]


class Cursor(Protocol):
    """The result of one statement (PEP 249)."""

    @property
    def rowcount(self) -> int:
        """Rows changed by an INSERT, UPDATE or DELETE; -1 otherwise."""
        ...

    @property
    def lastrowid(self) -> int | None:
        """The rowid of the last INSERT."""
        ...

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...


class Connection(Protocol):
    """What a work or a reader may do: statements, never BEGIN, COMMIT or ROLLBACK."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement once per row of parameters."""
        ...


class Database(Protocol):
    """The part of the store that other adapters are given by their constructor."""

    def transact(self, work: Callable[[Connection], T], *, frees_space: bool = False) -> Future[T]:
        """Run `work` on the writer thread; the future resolves after the durable commit.

        Raises `disk_full` below the disk reserve, unless the work `frees_space`.
        """
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """A read-only connection that sees one snapshot."""
        ...

    def truncate(self) -> Future[bool]:
        """Leave nothing of what was deleted in the log; False when a reader held it up."""
        ...
