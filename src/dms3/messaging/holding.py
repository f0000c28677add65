"""What cannot be verified now and stays at its service: how much of whom, when it is tried again.

Source: docs/architecture.md, "Messages"; docs/attacks.md. Nobody may fill the answers of a service
with what cannot be verified: of a sender who is no contact as much is held as a stranger may
write, of all of them together at one service a bounded number. Looks up nobody itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.limits import (
    MAIL_HELD_AGAIN_US_MAX,
    MAIL_HELD_AGAIN_US_MIN,
    MAIL_HELD_BYTES_MAX,
    MAIL_HELD_MAX,
    MAIL_HELD_PATIENCE_US,
    MAIL_HELD_PER_SENDER_MAX,
    MAIL_HELD_PER_SERVICE_MAX,
    MAIL_HELD_SENDERS_MAX,
    MAIL_HELD_US_MAX,
    MAIL_HELD_WOKE_US,
)
from dms3.core.machine import View, scan

TABLE = "held"


@dataclass(frozen=True, slots=True)
class Held:
    """An envelope of `size` bytes at `service`; `trusted`: signed with the known key of a contact.

    `since_us`: when (wall) it came first, kept over restarts.
    """

    v: int
    service: str
    sender: str
    size: int
    trusted: bool
    since_us: int


@dataclass(slots=True)
class _Pause:
    """A sender of whom nothing can be taken: since when, how often, until when nobody asks, why."""

    since_us: int
    failures: int = 0
    until_us: int = 0
    reason: str = ""


class Holding:
    """All that is held, by the digest of the envelope; the table is about the same."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rows: dict[bytes, Held] = {}
        self._pauses: dict[str, _Pause] = {}  # by sender, the oldest first
        self._woke_us = 0  # monotonic

    def load(self, view: View) -> None:
        """Read the table."""
        self._woke_us = self._desk.now.mono_us
        for digest, data in scan(view, TABLE):
            self._rows[digest] = decode(Held, data)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._rows

    # Room

    def room(self, held: Held) -> str:
        """Why `held` is one too many, "" when it is not."""
        if held.trusted:
            return ""
        others = [row for row in self._rows.values() if not row.trusted]
        count = sum(row.sender == held.sender for row in others)
        if count >= MAIL_HELD_PER_SENDER_MAX:
            return f"{count} of {held.sender} wait already"
        here = [row.size for row in others if row.service == held.service]
        if len(here) >= MAIL_HELD_PER_SERVICE_MAX:
            return f"{len(here)} of strangers wait at {held.service} already"
        if sum(here) + held.size > MAIL_HELD_BYTES_MAX:
            return f"{sum(here)} bytes of strangers wait at {held.service} already"
        return ""

    def add(self, digest: bytes, held: Held) -> None:
        """Hold an envelope for which there is room; of contacts, so many that their time runs."""
        if held.trusted and len(self._rows) >= MAIL_HELD_MAX:
            return
        self._rows[digest] = held
        self._desk.persist(TABLE, digest, encode(held))

    def remove(self, digest: bytes) -> None:
        """It is held no longer."""
        if self._rows.pop(digest, None) is not None:
            self._desk.delete(TABLE, digest)

    def lies(self, service: str, digests: Collection[bytes]) -> None:
        """All that lies at `service` is `digests`: whatever else was held is there no more."""
        for digest in [key for key, row in self._rows.items() if row.service == service]:
            if digest not in digests:
                self.remove(digest)

    def asked(self, services: Collection[str]) -> None:
        """Only these services are asked."""
        for digest in [key for key, row in self._rows.items() if row.service not in services]:
            self.remove(digest)

    def is_over(self, digest: bytes) -> bool:
        """Whether it was held for as long as anything is, and names had time after a sleep."""
        row, now = self._rows.get(digest), self._desk.now
        if row is None or now.mono_us - self._woke_us < MAIL_HELD_WOKE_US:
            return False
        return now.wall_us - row.since_us > MAIL_HELD_US_MAX

    # Looking up again

    def rests(self, digest: bytes) -> str:
        """Why what is held is not to be tried yet, "" when it is."""
        row = self._rows.get(digest)
        pause = None if row is None else self._pauses.get(row.sender)
        if pause is None or self._desk.now.mono_us >= pause.until_us:
            return ""
        return pause.reason

    def failed(self, sender: str, reason: str) -> bool:
        """Nothing of this sender can be taken now; whether it has been so for long."""
        now_us = self._desk.now.mono_us
        pause = self._pauses.get(sender)
        if pause is None:
            if len(self._pauses) >= MAIL_HELD_SENDERS_MAX:
                del self._pauses[next(iter(self._pauses))]
            pause = self._pauses[sender] = _Pause(now_us)
        pause.reason = reason
        if now_us >= pause.until_us:  # many messages of one look are one failure
            wait_us = MAIL_HELD_AGAIN_US_MIN << min(pause.failures, 16)
            pause.until_us = now_us + min(MAIL_HELD_AGAIN_US_MAX, wait_us)
            pause.failures += 1
        return now_us - pause.since_us >= MAIL_HELD_PATIENCE_US

    def found(self, sender: str) -> None:
        """Messages of this sender can be taken."""
        self._pauses.pop(sender, None)

    def woke(self) -> None:
        """The machine slept or moved: names may not be reached yet."""
        self._woke_us = self._desk.now.mono_us
        self.hurry()

    def hurry(self) -> None:
        """Something has changed: look everybody up when they come next."""
        for pause in self._pauses.values():
            pause.until_us = self._desk.now.mono_us
