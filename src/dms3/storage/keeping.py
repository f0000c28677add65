"""What is done when nothing else is: small chunks become large ones, and what is dead goes.

Source: docs/adr/0008-conversation-storage.md. Nothing of it is urgent, and a place that fails at it
is asked again later.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US
from dms3.storage.appending import Appending, make_chunk, make_page, next_head
from dms3.storage.book import Book, Pace
from dms3.storage.chunk import last_of_each
from dms3.storage.compaction import to_merge, to_page
from dms3.storage.head import Page, Ref
from dms3.storage.leaving import Leaving
from dms3.storage.operations import Item
from dms3.storage.reading import asks_of, items_of
from dms3.storage.work import All, Ask, Until, Work, body_or_raise, rest

_IDLE_US = 600 * SECOND_US


class Keeping:
    """The work that keeps this device's chunks few."""

    def __init__(self, book: Book, appending: Appending, leaving: Leaving) -> None:
        self._book = book
        self._appending = appending
        self._leaving = leaving
        self._pace = Pace()

    def work(self) -> Work[None]:
        """Merge and sweep, for ever."""
        book = self._book
        while True:
            yield Until(self._may_go)
            try:
                did = yield from self._round()
            except Dms3Error as error:
                book.problem("keep", str(error))
                yield Until(lambda: False, self._pace.next_us())
                continue
            book.problem("keep", "")
            self._pace.reset()
            if not did:
                yield Until(lambda: self._may_go() and self._has_many(), _IDLE_US)

    def _may_go(self) -> bool:
        book = self._book
        free = book.joined and not book.writing and not book.paused
        return free and book.moving is None and not book.state.struck

    def _has_many(self) -> bool:
        refs = self._book.head.refs
        return bool(to_page(refs) or to_merge(refs)) or self._book.state.repeat

    def _round(self) -> Work[bool]:
        """One thing that is to be done; whether there was one."""
        book = self._book
        if book.state.repeat:
            yield Ask("mailbox.repeat", None)
            book.put_state(repeat=False)
            return True
        refs = book.head.refs
        if to_page(refs):
            yield from self._page(to_page(refs))
            return True
        if to_merge(refs):
            yield from self._merge(to_merge(refs))
            return True
        swept = yield from self._leaving.sweep()
        yield rest(1)  # what was written is seen from the next event on
        return swept

    def _page(self, refs: Sequence[Ref]) -> Work[None]:
        """The oldest chunks of the head go into a page."""
        book = self._book
        head = book.head
        made = make_page(book, Page(1, tuple(refs), head.older))
        new = next_head(book, head, head.refs[len(refs) :], made.ref)
        yield from self._appending.exclusively(new, made)

    def _merge(self, refs: Sequence[Ref]) -> Work[None]:
        """Neighbours become one chunk; the old ones stay for those who are reading them."""
        book = self._book
        ground, device = book.ground, book.device
        items: list[Item] = []
        for ref in refs:
            bodies = yield All(tuple(asks_of(book, ground, ref)))
            items += items_of(book, ref, [body_or_raise(body) for body in bodies], ground)
        kept = last_of_each(items)
        if not self._may_go() or (book.ground, book.device) != (ground, device):
            return
        head = book.head
        tier = min(255, refs[0].tier + 1)
        made = make_chunk(book, kept, refs[0].first, refs[-1].end, tier=tier)
        at = head.refs.index(refs[0])
        row = (*head.refs[:at], made.ref, *head.refs[at + len(refs) :])
        if (yield from self._appending.exclusively(next_head(book, head, row, head.older), made)):
            for ref in refs:
                for name in book.names_at(ground, ref):
                    book.discard(ground.place, name)
