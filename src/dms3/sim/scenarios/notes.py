"""Notes: the contents of the overlay's scenarios, and what became of putting and getting them.

Source: docs/simulator.md, "The scenarios of the overlay". The type needs no signatures, so that a
run is about finding and not about checking.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dms3.core.limits import MIB
from dms3.core.overlay import ContentType, Retention
from dms3.core.verdict import Invalid, Valid, Verdict

NOTE = "note"
NOTE_BYTES = 64


def _validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    del wall_us
    if hashlib.sha256(value).digest() == key:
        return Valid()
    return Invalid("hash", "the note is not that of its key")


def note_type() -> ContentType:
    """Content type "note": any few bytes under their SHA-256."""
    return ContentType(
        name=NOTE,
        validate=_validate,
        merge=lambda held, _offered: held,
        retention=lambda _key, _value: Retention(b"", None),
        value_bytes_max=NOTE_BYTES,
        slots_max=1,
        quota_bytes=MIB,
    )


@dataclass(slots=True)
class Note:
    """A content of the run: who put it last, and since when (virtual) it is placed."""

    value: bytes
    key: bytes = b""
    placed_us: int | None = None
    holders: int = 0

    def __post_init__(self) -> None:
        self.key = hashlib.sha256(self.value).digest()


@dataclass(slots=True)
class Tally:
    """What became of puts and gets; those whose asker died on the way are `lost`.

    `placed`: puts that another node holds; `alone`: those that ended without one.
    """

    puts: int = 0
    placed: int = 0
    alone: int = 0
    gets: int = 0
    found: int = 0
    lost: int = 0
    refused: int = 0
    open: int = 0
    hops: list[int] = field(default_factory=list)
    asked: int = 0
    holders_min: int | None = None

    def figures(self) -> dict[str, Any]:
        """As JSON values; means to two places."""
        answered = max(1, len(self.hops))
        return {
            "puts": self.puts,
            "placed": self.placed,
            "holders_min": self.holders_min or 0,
            "gets": self.gets,
            "found": self.found,
            "found_fraction": round(self.found / max(1, self.gets), 4),
            "hops_mean": round(sum(self.hops) / answered, 2),
            "asked_mean": round(self.asked / max(1, self.gets), 2),
            "lost": self.lost,
            "refused": self.refused,
        }


def new_note(random: Random) -> Note:
    """A note that nobody has seen."""
    return Note(random.randbytes(NOTE_BYTES))
