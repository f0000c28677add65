"""Appending: items into a chunk, the chunk to the place, then the head; only then it is durable.

Source: docs/adr/0008-conversation-storage.md. One writing at a time. What is on its way is not kept
here: whoever appends asks again after a crash. What is kept is the head on its way, so that a
restart can tell whether it arrived.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import RequestId
from dms3.core.limits import (
    STORAGE_CHUNK_ITEMS_MAX,
    STORAGE_GATHER_US,
    STORAGE_REFS_MAX,
    STORAGE_WAITING_BYTES_MAX,
    STORAGE_WAITING_ITEMS_MAX,
)
from dms3.core.machine import Called
from dms3.crypto.seal import NONCE_BYTES
from dms3.storage.book import Book, Pace, Pending
from dms3.storage.chunk import ROOM_BYTES, cut, digest_of, encode_chunk, is_item, size_of
from dms3.storage.devices import Devices
from dms3.storage.head import ID_BYTES, Head, Page, Ref, names_of, sign_head
from dms3.storage.operations import Item, PutObject
from dms3.storage.slots import Ground
from dms3.storage.work import Ask, Until, Work, rest


@dataclass(slots=True)
class _Waiter:
    """Whoever appended `items`; `left`: those that do not lie at the place yet."""

    request: RequestId
    items: tuple[Item, ...]
    left: int


@dataclass(slots=True)
class Made:
    """Sealed objects of a new chunk or page, and its reference."""

    ref: Ref
    objects: list[tuple[str, bytes]] = field(repr=False)


class Appending:
    """What waits to be written, and the work that writes it."""

    def __init__(self, book: Book, devices: Devices) -> None:
        self._book = book
        self._devices = devices
        self._queue: deque[tuple[_Waiter, Item]] = deque()
        self._bytes = 0
        self._pace = Pace()
        self.pending = 0
        self.is_left_behind = False  # whether the others have gone on, and this device has to
        self.wrote_us: int | None = None  # monotonic

    def append(self, event: Called) -> None:
        """Take items, answered when they are durable; raises when they cannot be taken."""
        items: tuple[Item, ...] = event.arguments
        if self._book.state.struck:
            raise removed()
        if not all(map(is_item, items)):
            raise Dms3Error(
                "argument_invalid", "An item is larger than conversation storage takes."
            )
        size = sum(map(size_of, items))
        waiting = len(self._queue) + len(items)
        full = waiting > STORAGE_WAITING_ITEMS_MAX or self._bytes + size > STORAGE_WAITING_BYTES_MAX
        if full and self._queue:
            raise Dms3Error("limit_reached", "Too many messages wait for conversation storage.")
        waiter = _Waiter(event.request, items, len(items))
        self._queue.extend((waiter, item) for item in items)
        self._bytes += size
        self.pending += len(items)
        if not items:
            self._done(waiter)

    def refuse_all(self) -> None:
        """This device was removed: nothing that waits will be written."""
        for request in dict.fromkeys(waiter.request for waiter, _ in self._queue):
            self._book.reply(request, Failure.of(removed()))
        self._queue.clear()
        self._bytes = self.pending = 0

    def work(self) -> Work[None]:
        """Write what waits, for ever."""
        book = self._book
        while True:
            yield Until(self._may_write)
            if len(self._queue) < STORAGE_CHUNK_ITEMS_MAX:
                yield rest(STORAGE_GATHER_US)
            if not self._may_write():
                continue
            book.writing = True
            taken = self._take()
            yield from self._write(taken)
            book.writing = False

    def exclusively(self, head: Head, made: Made) -> Work[bool]:
        """Write a head that replaces the present one while nothing else is written."""
        book = self._book
        assert not book.writing, "two heads at once"
        book.writing = True
        try:
            return (yield from self.replace(head, [made]))
        finally:
            book.writing = False

    # One chunk

    def _may_write(self) -> bool:
        book = self._book
        has_room = len(book.head.refs) < STORAGE_REFS_MAX
        free = book.joined and not book.paused and not book.writing
        return bool(self._queue) and free and has_room

    def _take(self) -> list[tuple[_Waiter, Item]]:
        """The items of the next chunk."""
        room = ROOM_BYTES
        taken: list[tuple[_Waiter, Item]] = []
        while self._queue and len(taken) < STORAGE_CHUNK_ITEMS_MAX:
            size = size_of(self._queue[0][1])
            if taken and size > room:
                break
            room -= size
            self._bytes -= size
            taken.append(self._queue.popleft())
        return taken

    def _write(self, taken: list[tuple[_Waiter, Item]]) -> Work[None]:
        """Write one chunk, and do not give up; who appended is told when all of it lies there."""
        book = self._book
        items = [item for _, item in taken]
        head = book.head
        made = make_chunk(book, items, head.sequence, head.sequence + 1, tier=0)
        refs = (*head.refs, made.ref)
        if not (yield from self.replace(next_head(book, head, refs, head.older), [made])):
            self._queue.extendleft(reversed(taken))
            self._bytes += sum(size_of(item) for item in items)
            return
        self.wrote_us = book.works.now.mono_us
        counts = yield from self._look_for_next()
        self.pending -= len(taken)
        for waiter, _ in taken:
            waiter.left -= 1
            if not counts:
                book.reply(waiter.request, Failure.of(removed()))
            elif not waiter.left:
                self._done(waiter)

    def replace(self, head: Head, made: Sequence[Made]) -> Work[bool]:
        """Put new objects, then the head that needs them; tried until the place has all.

        False: the place was given up meanwhile.
        """
        book = self._book
        ground = book.ground
        objects = [each for one in made for each in one.objects]
        digest = digest_of(sealed for _, sealed in objects)
        names = tuple(name for name, _ in objects)
        book.put_pending(Pending(1, encode(head), names, digest))
        asks = [Ask("place.put", PutObject(ground.place, name, sealed)) for name, sealed in objects]
        name = book.name_of(ground, "head", book.device)
        for ask in (*asks, book.put(ground, name, encode(head))):
            if not (yield from self._insist(ask, ground, head.device)):
                return False
        book.put_head(head)
        return True

    def _insist(self, ask: Ask, ground: Ground, device: bytes) -> Work[bool]:
        book = self._book

        def is_here() -> bool:
            return (book.ground, book.device) == (ground, device)

        while is_here():
            try:
                yield ask
            except Dms3Error as error:
                book.problem("append", str(error))
                yield Until(lambda: not is_here(), self._pace.next_us())
            else:
                book.problem("append", "")
                self._pace.reset()
                return is_here()
        book.problem("append", "")
        return False

    def _look_for_next(self) -> Work[bool]:
        """Have the others gone on? Then what was written here comes along before it counts.

        Whoever announces a move reads the heads after that. So either it sees this head, or this
        device sees its announcement. False: this device was removed meanwhile.
        """
        book = self._book
        while not book.ground.alone:
            ground = book.ground
            try:
                step = yield from book.announced(ground)
            except Dms3Error as error:
                book.problem("append", str(error))
                yield rest(self._pace.next_us())
                continue
            book.problem("append", "")
            self._pace.reset()
            if step is None or step.epoch <= book.state.epoch:
                break
            self.is_left_behind, book.writing = True, False
            yield Until(partial(self._has_followed, ground))
            self.is_left_behind, book.writing = False, True
            if book.state.struck:
                return False
        return True

    def _has_followed(self, left: Ground) -> bool:
        book = self._book
        return book.state.struck or (book.ground != left and book.joined and not book.writing)

    def _done(self, waiter: _Waiter) -> None:
        durable = self._devices.durable(waiter.items)
        self._book.reply(waiter.request, durable)


def removed() -> Dms3Error:
    """What a device is told that others removed."""
    return Dms3Error(
        "forbidden",
        "Another device of yours removed this one, so it keeps no messages for the others.",
        hint="Choose a place with `dms3 message store-in` to take part again.",
    )


def make_chunk(book: Book, items: Sequence[Item], first: int, end: int, *, tier: int) -> Made:
    """A sealed chunk of `items`, which stands for the appends `first` to `end`."""
    content = encode_chunk(items)
    orders = [item.order_ms for item in items]
    return _seal(book, content, first, end, len(items), (min(orders), max(orders)), tier)


def make_page(book: Book, page: Page) -> Made:
    """A sealed page; its reference stands for all that it and earlier pages hold."""
    row = page.refs if page.older is None else (page.older, *page.refs)
    orders = (min(ref.low_ms for ref in row), max(ref.high_ms for ref in row))
    items, size = sum(ref.items for ref in row), sum(ref.size for ref in row)
    made = _seal(book, encode(page), 0, row[-1].end, items, orders, 0)
    return Made(dataclasses.replace(made.ref, size=size), made.objects)


def _seal(
    book: Book,
    content: bytes,
    first: int,
    end: int,
    items: int,
    orders: tuple[int, int],
    tier: int,
) -> Made:
    pieces = cut(content)
    ref = Ref(
        id=book.draw(ID_BYTES),
        generation=book.state.generation,
        parts=len(pieces),
        first=first,
        end=end,
        items=items,
        size=len(content),
        low_ms=orders[0],
        high_ms=orders[1],
        tier=tier,
        digest=bytes(32),
    )
    sealed = [
        book.keys.seal(ref.generation, name, piece, book.draw(NONCE_BYTES))
        for name, piece in zip(names_of(book.keys, ref), pieces, strict=True)
    ]
    objects = list(zip(book.names_at(book.ground, ref), sealed, strict=True))
    return Made(dataclasses.replace(ref, digest=digest_of(sealed)), objects)


def next_head(
    book: Book, head: Head, refs: Sequence[Ref], older: Ref | None, epoch: int | None = None
) -> Head:
    """The head after `head`, with these chunks, signed; `epoch`: of the ground it is for."""
    row = refs if older is None else (older, *refs)
    made = dataclasses.replace(
        head,
        device=book.device,
        name=book.name,
        epoch=book.state.epoch if epoch is None else epoch,
        version=head.version + 1,
        sequence=row[-1].end if row else 0,
        items=sum(ref.items for ref in row),
        size=sum(ref.size for ref in row),
        wall_us=max(head.wall_us, book.works.now.wall_us),
        refs=tuple(refs),
        older=older,
    )
    return sign_head(book.device_key, made)
