"""What lies side by side under one key, known without reading it: marks, and how many there are.

Source: docs/attacks.md, "Somebody in the public overlay". Some keys hold thousands of values of
16 KiB: an offer or a put of one more must not read them all. Only for types of many slots.
"""

from __future__ import annotations

from dms3.core.machine import Delete, Effect, Persist, View, scan
from dms3.core.overlay import ContentType

MARKS, SLOTS = "marks", "slots"
_COUNT_BYTES = 4
_FEW = 64  # so many values are looked through


def are_many(kind: ContentType) -> bool:
    """Whether values of `kind` are kept track of here."""
    return kind.slots_max > _FEW


class Slots:
    """Arguments of its methods: `base`, the beginning of the table keys of the values of one key.

    Reads through `view`; the counts are as written, the writes of the present event included.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._counts = {key: int.from_bytes(data, "big") for key, data in scan(view, SLOTS)}

    def count(self, base: bytes) -> int:
        """How many values there are."""
        return self._counts.get(base, 0)

    def of_mark(self, base: bytes, mark: bytes) -> bytes | None:
        """The slot of the value with this mark, or None."""
        return self._view.get(MARKS, base + mark)

    def put(self, base: bytes, slot: bytes, mark: bytes, before: bytes | None) -> list[Effect]:
        """A value is written in `slot`, where one with mark `before` lay."""
        effects: list[Effect] = [Persist(MARKS, base + mark, slot)]
        if before is None:
            return [*effects, self._add(base, 1)]
        return effects if before == mark else [Delete(MARKS, base + before), *effects]

    def remove(self, base: bytes, mark: bytes) -> list[Effect]:
        """The value with this mark is gone."""
        return [Delete(MARKS, base + mark), self._add(base, -1)]

    def _add(self, base: bytes, more: int) -> Effect:
        count = self._counts[base] = max(0, self.count(base) + more)
        if not count:
            del self._counts[base]
            return Delete(SLOTS, base)
        return Persist(SLOTS, base, count.to_bytes(_COUNT_BYTES, "big"))
