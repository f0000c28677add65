"""Which words a public space can have: a Bloom filter, small enough to travel in its manifest.

Source: Bloom (1970), "Space/time trade-offs in hash coding with allowable errors"; two hashes for
all (Kirsch and Mitzenmacher, 2006). Never says no to a word that is there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from dms3.core.limits import FILTER_BITS_PER_TERM, FILTER_BYTES_MAX

_HASHES_MAX = 7  # best for FILTER_BITS_PER_TERM; fewer when the filter is full
MARK_BYTES = 8


def term_mark(term: bytes) -> bytes:
    """What the filter keeps of a word: eight bytes of its hash."""
    return hashlib.sha256(b"word\0" + term).digest()[:MARK_BYTES]


def make_filter(marks: bytes) -> bytes:
    """The filter of the words whose `term_mark`s stand one after another in `marks`.

    The first byte is the number of hashes, the rest are bits.
    """
    count = max(1, len(marks) // MARK_BYTES)
    size = min(FILTER_BYTES_MAX - 1, max(8, -(-count * FILTER_BITS_PER_TERM // 8)))
    hashes = max(1, min(_HASHES_MAX, round(math.log(2) * 8 * size / count)))
    bits = bytearray(size)
    for start in range(0, len(marks), MARK_BYTES):
        for place in _places(marks[start : start + MARK_BYTES], hashes, 8 * size):
            bits[place >> 3] |= 1 << (place & 7)
    return bytes([hashes]) + bytes(bits)


def may_have(held: bytes, term: bytes) -> bool:
    """Whether the filter `held` does not exclude `term`."""
    size = 8 * (len(held) - 1)
    if size <= 0:
        return False
    places = _places(term_mark(term), held[0], size)
    return all(held[1 + (place >> 3)] & 1 << (place & 7) for place in places)


def filter_fault(held: bytes) -> str:
    """What is wrong with a filter, or ""."""
    if not 2 <= len(held) <= FILTER_BYTES_MAX:
        return f"a filter has 2 to {FILTER_BYTES_MAX} bytes"
    if not 1 <= held[0] <= _HASHES_MAX:
        return f"a filter has 1 to {_HASHES_MAX} hashes"
    return ""


def _places(mark: bytes, hashes: int, size: int) -> Iterable[int]:
    one = int.from_bytes(mark[:4], "big")
    step = int.from_bytes(mark[4:], "big") | 1
    return ((one + number * step) % size for number in range(hashes))
