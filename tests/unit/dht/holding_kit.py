"""A content type and rows in memory, for tests of what a node holds."""

from dataclasses import dataclass

from dms3.core.limits import SECOND_US
from dms3.core.machine import Delete, Effect, Now, Persist
from dms3.core.overlay import ContentType, Retention, location
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict

WALL = 1_800_000_000 * SECOND_US
NOW = Now(5, WALL)
LATER = WALL + 3_600 * SECOND_US
OWN = location(b"me")


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    del wall_us
    if value.startswith(b"early"):
        return Abandoned("from the future")
    return Valid() if value.startswith(key) else Invalid("key", "of another key")


def retention(key: bytes, value: bytes) -> Retention:
    """`KEY/SLOT/VERSION`; slot `u` says itself until when."""
    slot = value[len(key) + 1 :].split(b"/")[0]
    return Retention(slot, LATER if slot == b"u" else None)


NOTE = ContentType("note", validate, max, retention, 100, 4, 400)


@dataclass
class Rows:
    """A View on a dict, to which the effects of the holding are applied."""

    rows: dict

    def get(self, table, key):
        return self.rows.get((table, key))

    def range(self, table, start, limit):
        keys = sorted(key for name, key in self.rows if name == table and key >= start)
        return [(key, self.rows[table, key]) for key in keys[:limit]]

    def apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                self.rows[effect.table, effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.rows.pop((effect.table, effect.key), None)
