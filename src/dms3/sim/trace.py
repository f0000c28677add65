"""The record of a run: a hash over every event, and the last fifty for people.

Source: docs/architecture.md, "Tests". Exact: whole numbers and bytes only, so that equal seeds
give equal hashes on every machine and under every hash seed.
"""

from __future__ import annotations

import hashlib
from collections import deque

LAST_EVENTS = 50
_JOINED = 512  # events hashed together


class Trace:
    """Hashes events as they happen."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting: list[bytes] = []  # what is to be hashed next, in order
        self._last: deque[tuple[int, int, str, bytes]] = deque(maxlen=LAST_EVENTS)
        self.events = 0

    def add(self, time_us: int, node: int, label: str, data: bytes) -> None:
        """Event `label` of `node` at `time_us` (virtual microseconds), with its bytes."""
        self.events += 1
        waiting = self._waiting
        waiting.append(b"%d %d %a %d " % (time_us, node, label, len(data)))
        waiting.append(data)
        self._last.append((time_us, node, label, data))
        if len(waiting) >= 2 * _JOINED:
            self._flush()

    def _flush(self) -> None:
        self._hash.update(b"".join(self._waiting))
        self._waiting.clear()

    def digest(self) -> str:
        """The hash so far, in hex."""
        self._flush()
        return self._hash.hexdigest()

    def last(self) -> list[str]:
        """The last events, one line each."""
        return [
            f"{time / 1e6:14.6f} node {node:3} {label} {data[:24].hex()}"
            for time, node, label, data in self._last
        ]
