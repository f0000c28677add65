"""Who is told how a node does: its log and its figures.

Source: docs/operations.md, "Watching". Used by `node/node.py`; decides nothing.
"""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """Where the node writes what an operator wants to know (`node/logs.py`)."""

    def info(self, event: str, **values: Any) -> Any:
        """Something happened."""
        ...

    def error(self, event: str, **values: Any) -> Any:
        """Something that should not happen did."""
        ...


class Watch(Protocol):
    """What counts how the node does (`node/metrics.py`)."""

    def lag(self, lag_us: int) -> None:
        """The event loop was late by `lag_us`."""
        ...

    def failed(self) -> None:
        """A machine or a port failed in a way nobody expected."""
        ...


class Faults:
    """Tells log and figures of what nobody expected."""

    def __init__(self, log: Log, watch: Watch) -> None:
        self._log = log
        self._watch = watch

    def machine(self, name: str, event: str, error: Exception) -> None:
        """A machine failed on an event; the node stops."""
        self._watch.failed()
        self._log.error("machine_failed", machine=name, event_kind=event, exc_info=error)

    def port(self, operation: str, error: Exception) -> None:
        """An operation of an io port failed; the node goes on."""
        self._watch.failed()
        self._log.error("port_failed", operation=operation, exc_info=error)
