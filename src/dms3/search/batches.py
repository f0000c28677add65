"""What of a space is put, or dropped, together: pages as they are listed, cut into batches.

Source: docs/publishing.md. A stage is done as far as every batch up to there is. Asks for nothing:
`search/publisher.py` does, and says when a batch is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.limits import PUBLISH_BATCH_BYTES_MAX, PUBLISH_BATCHES_MAX, PUT_CONTENTS_MAX
from dms3.core.overlay import Content
from dms3.search.operations_public import BlockAt, RootAt

Issue = Callable[[Cid, int], Content | None]
"""The provider record of this node for a CID from a wall-clock instant on; None: unreachable."""


@dataclass(slots=True, eq=False)
class Batch:
    """Contents put or dropped together; `cursor`: where the stage stands when it is done."""

    cursor: bytes
    blocks: tuple[BlockAt, ...] = ()
    contents: tuple[Content, ...] = field(default=(), repr=False)
    asked: bool = False
    done: bool = False
    open: int = 0  # answers still to come, of drops


class Batches:
    """The pages and batches of one stage; `issue` makes the contents of roots."""

    def __init__(self, issue: Issue) -> None:
        self._issue = issue
        self._open: deque[Batch] = deque()
        self._page: deque[BlockAt | RootAt] = deque()
        self._listed = False  # the last page of this stage has come
        self._reached = b""  # cursor of the last thing listed

    def clear(self) -> None:
        """Another stage begins."""
        self._open.clear()
        self._page.clear()
        self._listed, self._reached = False, b""

    @property
    def hungry(self) -> bool:
        """Whether the next page is wanted."""
        return not self._page and not self._listed

    @property
    def over(self) -> bool:
        """Whether everything was listed, and every batch is done."""
        return not self._open and self._listed

    def after(self, cursor: bytes) -> bytes:
        """Behind which cursor the next page begins, in a stage that is done up to `cursor`."""
        self._reached = self._reached or cursor
        return self._reached

    def take_page(self, rows: tuple[BlockAt | RootAt, ...], most: int) -> None:
        """A page that was listed; `most`: as many rows as it could have."""
        self._listed = len(rows) < most
        self._page.extend(rows)
        if rows:
            self._reached = _cursor(rows[-1])

    def fill(self, wall_us: int) -> list[Batch]:
        """The batches that nothing was asked for yet: as many more as may be open are begun."""
        while self._page and len(self._open) < PUBLISH_BATCHES_MAX:
            self._open.append(self._next(wall_us))
        return [batch for batch in self._open if not batch.asked and not batch.done]

    def pop_done(self) -> Batch | None:
        """The first batch, when it is done: the stage is done up to its cursor."""
        return self._open.popleft() if self._open and self._open[0].done else None

    def _next(self, wall_us: int) -> Batch:
        rows: list[BlockAt | RootAt] = []
        size = 0
        while self._page and len(rows) < PUT_CONTENTS_MAX:
            row = self._page[0]
            size += row.size if isinstance(row, BlockAt) else 0
            if rows and size > PUBLISH_BATCH_BYTES_MAX:
                break
            rows.append(self._page.popleft())
        blocks = tuple(row for row in rows if isinstance(row, BlockAt))
        issued = [self._issue(row.cid, wall_us) for row in rows if not blocks]
        contents = tuple(content for content in issued if content is not None)
        return Batch(_cursor(rows[-1]), blocks, contents)


def _cursor(row: BlockAt | RootAt) -> bytes:
    return row.location if isinstance(row, BlockAt) else row.number.to_bytes(8, "big")
