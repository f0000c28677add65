"""Which of a device's own chunks become one, and which go from its head to a page.

Source: docs/adr/0008-conversation-storage.md; the tiers of a log-structured merge tree (O'Neil et
al., 1996). Sixteen neighbours of a tier become one of the next, until a chunk is half full: so an
item is written again a few times, and the newest thousand lie in a few dozen chunks.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.limits import (
    STORAGE_CHUNK_ITEMS_MAX,
    STORAGE_MERGE_CHUNKS,
    STORAGE_PAGE_REFS,
)
from dms3.storage.chunk import ROOM_BYTES
from dms3.storage.head import Ref


def to_merge(refs: Sequence[Ref]) -> Sequence[Ref]:
    """Neighbours that are to become one chunk; empty: none."""
    start = 0
    for at, ref in enumerate(refs):
        if is_full(ref) or ref.tier != refs[start].tier:
            start = at + 1 if is_full(ref) else at
        elif at + 1 - start >= STORAGE_MERGE_CHUNKS:
            return _fitting(refs[start : at + 1])
    return ()


def to_page(refs: Sequence[Ref]) -> Sequence[Ref]:
    """The oldest chunks, when there are too many for a head; empty: there are not."""
    return refs[:STORAGE_PAGE_REFS] if len(refs) >= 2 * STORAGE_PAGE_REFS else ()


def is_full(ref: Ref) -> bool:
    """Whether a chunk is large enough to stay as it is."""
    return 2 * ref.size > ROOM_BYTES or 2 * ref.items > STORAGE_CHUNK_ITEMS_MAX


def _fitting(refs: Sequence[Ref]) -> Sequence[Ref]:
    """As many of the first as fit into one chunk: at least two, for none is half full."""
    items = size = 0
    for at, ref in enumerate(refs):
        items, size = items + ref.items, size + ref.size
        if items > STORAGE_CHUNK_ITEMS_MAX or size > ROOM_BYTES:
            return refs[:at]
    return refs
