"""Rows in order of their distance from a node, the farthest first, without reading all of them.

Source: Kademlia, section 2.1. Keys are a base and a location; those with a common beginning of the
location lie side by side, so the space is halved until few rows are left of the farther half.
"""

from __future__ import annotations

from collections.abc import Iterator

from dms3.core.limits import HELD_SLOT_BYTES_MAX
from dms3.core.machine import View
from dms3.core.overlay import LOCATION_BYTES

_PAGE = 32
_BITS = 8 * LOCATION_BYTES

Rows = list[tuple[bytes, bytes]]


def farthest_first(
    view: View, table: str, base: bytes, own: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of the rows of `table` under `base`, those farthest from location `own` first.

    Rows of one location come in order of their keys. The rows must not change meanwhile.
    """
    at = int.from_bytes(own, "big")

    def far(key: bytes) -> int:
        return int.from_bytes(key[len(base) : len(base) + LOCATION_BYTES], "big") ^ at

    def behind(key: bytes) -> bytes:
        return key[len(base) : len(base) + LOCATION_BYTES] + b"\xff" * HELD_SLOT_BYTES_MAX

    def page(start: bytes, last: bytes) -> Rows:
        rows = view.range(table, base + start, _PAGE)
        return [row for row in rows if base <= row[0][: len(base) + LOCATION_BYTES] <= base + last]

    def walk(beginning: int, bits: int) -> Iterator[tuple[bytes, bytes]]:
        first = (beginning << (_BITS - bits)).to_bytes(LOCATION_BYTES, "big")
        last = ((beginning + 1 << (_BITS - bits)) - 1).to_bytes(LOCATION_BYTES, "big")
        rows = page(first, last)
        if bits == _BITS:
            while rows:
                yield from rows
                rows = page(rows[-1][0][len(base) :] + b"\0", last)
        elif len(rows) < _PAGE:
            yield from sorted(rows, key=lambda row: (-far(row[0]), row[0]))
        elif far(rows[0][0]) == far(rows[-1][0]) and not page(behind(rows[0][0]), last):
            yield from walk(far(rows[0][0]) ^ at, _BITS)  # a crowd at one location, nothing else
        else:
            near = at >> (_BITS - 1 - bits) & 1
            yield from walk(beginning << 1 | 1 - near, bits + 1)
            yield from walk(beginning << 1 | near, bits + 1)

    return walk(0, 0)
