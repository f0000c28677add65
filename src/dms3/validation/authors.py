"""How far the chain of each author is held: its head, its highest action, where it forks.

Source: docs/chains.md, "How an op is judged". Follows from the index of activity, which
`holding.py` writes; a row saves reading it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from dms3.chain.action import SignedAction
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import decode, encode
from dms3.core.ids import OverlayId
from dms3.core.limits import ACTIONS_READ_MAX
from dms3.validation.rows import (
    AUTHORS,
    CODES,
    INDEX,
    AuthorRow,
    Rows,
    index_prefix,
    number_key,
)

_VERSION = 1
_DIGEST = 32
_NOBODY = AuthorRow(_VERSION, -1, -1, -1)


class Authors:
    """Of all overlays; `rows` has the index."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def row(self, overlay: OverlayId, author: bytes) -> AuthorRow:
        """How far the chain of `author` is held."""
        data = self._rows.get(AUTHORS, overlay + author)
        return _NOBODY if data is None else _author(data)

    def extend(self, overlay: OverlayId, signed: SignedAction) -> Cid | None:
        """The chain of its author has one more action; another one at the same place, if any."""
        author, seq = signed.action.author, signed.action.seq
        row = self.row(overlay, author)
        fork, forked, head = None, row.forked, row.head
        if seq <= row.highest:  # else nothing is listed there or above
            fork = self._beside(overlay, signed)
        if fork is not None and (forked < 0 or seq < forked):
            forked = seq
        if seq == head + 1:
            head = seq if seq > row.highest else self._head_from(overlay, author, seq)
        changed = AuthorRow(_VERSION, head, max(row.highest, seq), forked)
        if changed != row:
            self._rows.put(AUTHORS, overlay + author, encode(changed))
        return fork

    def shorten(self, overlay: OverlayId, signed: SignedAction) -> None:
        """The chain of its author is held without this action."""
        author, seq = signed.action.author, signed.action.seq
        prefix = index_prefix(overlay, CODES["activity"], author)
        if next(self._rows.under(INDEX, prefix), None) is None:
            self._rows.drop(AUTHORS, overlay + author)
            return
        row = self.row(overlay, author)
        if seq <= row.head:
            self._rows.put(AUTHORS, overlay + author, encode(replace(row, head=seq - 1)))

    def _beside(self, overlay: OverlayId, signed: SignedAction) -> Cid | None:
        """Another action at its place in the chain, if one is listed."""
        place = index_prefix(overlay, CODES["activity"], signed.action.author)
        here = self._rows.under(INDEX, place + number_key(signed.action.seq))
        digests = (key[-_DIGEST:] for key, _ in here)
        other = next((each for each in digests if each != signed.hash.digest), None)
        return None if other is None else Cid.of_digest(DAG_CBOR, other)

    def _head_from(self, overlay: OverlayId, author: bytes, seq: int) -> int:
        """The last seq behind `seq` that is listed without a gap, or `seq`."""
        prefix = index_prefix(overlay, CODES["activity"], author)
        after = prefix + number_key(seq) + b"\xff" * _DIGEST
        head = seq
        for key, _ in self._rows.under(INDEX, prefix, after):
            number = int.from_bytes(key[len(prefix) : -_DIGEST], "big")
            if number > head + 1:
                break
            head = number
        return head


@lru_cache(maxsize=ACTIONS_READ_MAX)
def _author(data: bytes) -> AuthorRow:
    return decode(AuthorRow, data)
