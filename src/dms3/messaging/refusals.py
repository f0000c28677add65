"""What was proven wrong: recorded with the reason, told once, never shown as a message.

Source: docs/architecture.md, "Messages"; docs/attacks.md. The newest are kept, within a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.limits import MAIL_REFUSED_MAX
from dms3.core.machine import View, scan
from dms3.messaging.operations import Refused

TABLE = "refused"
_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Row:
    v: int
    digest: bytes
    at_us: int
    service: str
    sender: str
    reason: str


class Refusals:
    """The table; envelopes are named by the digest of their bytes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rows: dict[bytes, tuple[int, _Row]] = {}  # by digest, the oldest first
        self._next = 1

    def load(self, view: View) -> None:
        """Read the table."""
        for key, data in scan(view, TABLE):
            row = decode(_Row, data)
            number = int.from_bytes(key, "big")
            self._rows[row.digest] = (number, row)
            self._next = number + 1

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._rows

    def add(self, digest: bytes, service: str, sender: str, reason: str) -> None:
        """Record an envelope; one that comes again is not told of again."""
        if digest in self._rows:
            return
        if len(self._rows) >= MAIL_REFUSED_MAX:
            oldest = next(iter(self._rows))
            number, _ = self._rows.pop(oldest)
            self._desk.delete(TABLE, number.to_bytes(_NUMBER_BYTES, "big"))
        row = _Row(1, digest, self._desk.now.wall_us, service, sender, reason)
        self._rows[digest] = (self._next, row)
        self._desk.persist(TABLE, self._next.to_bytes(_NUMBER_BYTES, "big"), encode(row))
        self._desk.notify("message.refused", service=service, sender=sender, reason=reason)
        self._next += 1

    def all(self) -> tuple[Refused, ...]:
        """What was recorded, newest first."""
        rows = [row for _, row in self._rows.values()]
        return tuple(
            Refused(row.at_us, row.service, row.sender, row.reason) for row in reversed(rows)
        )
