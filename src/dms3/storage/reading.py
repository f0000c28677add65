"""Reading what other devices wrote: looking at heads, bringing chunks, newest first.

Source: docs/adr/0008-conversation-storage.md. What is new is brought at once; what is old until a
new device can show something, then slowly, or when somebody asks for it. A place that withholds,
alters or turns back makes a problem that names it; nothing of it is believed, and it is asked
again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import RequestId
from dms3.core.limits import (
    STORAGE_DEVICES_MAX,
    STORAGE_FIRST_ITEMS_MIN,
    STORAGE_GETS_MAX,
    STORAGE_HISTORY_US,
    STORAGE_LOOK_US_MAX,
    STORAGE_LOOK_US_MIN,
    STORAGE_ROSTER_US,
)
from dms3.storage.book import Book, Pace, altered, withheld
from dms3.storage.chunk import decode_chunk
from dms3.storage.devices import Devices, Other
from dms3.storage.head import Head, Page, Ref, decode_page, open_objects
from dms3.storage.operations import GetObject, Item
from dms3.storage.slots import Ground
from dms3.storage.work import All, Ask, Until, Work, body_or_raise

HEAD, LEFT, CLAIM = "head", "left", "claim"


@dataclass(slots=True)
class _Wish:
    """Somebody wants `wanted` older items; `came` so far."""

    request: RequestId
    wanted: int
    came: int = 0


@dataclass(slots=True)
class _Shelf:
    """Chunks of one device that are known to memory: those of its head and of opened pages."""

    age: tuple[int, int]
    refs: list[Ref]
    older: Ref | None
    bad: set[bytes] = field(default_factory=set)  # asked whether it has an id, never iterated
    read: set[bytes] = field(default_factory=set)  # also when spans of it were forgotten

    def lacks(self, other: Other) -> list[Ref]:
        """What of `other` is to be brought."""
        rows = [*self.refs, *([] if self.older is None else [self.older])]
        done = self.bad | self.read
        return [ref for ref in rows if ref.id not in done and not other.has_read(ref)]


class Reading:
    """What is wanted of other devices, and the work that brings it."""

    def __init__(self, book: Book, devices: Devices) -> None:
        self._book = book
        self._devices = devices
        self._shelves: dict[bytes, _Shelf] = {}
        self._wishes: deque[_Wish] = deque()
        self._pace = Pace(STORAGE_LOOK_US_MIN)
        self._came = 0  # items of other devices since the start
        self._look_us = 0
        self._roster_us = 0
        self._history_us = 0
        self.is_left_behind = False  # whether somebody announced a move

    def earlier(self, wanted: int, request: RequestId) -> None:
        """Bring older items; answered with how many came."""
        self._wishes.append(_Wish(request, wanted))

    def hurry(self) -> None:
        """Look soon: something happened here, so that it may have elsewhere."""
        self._pace.reset()
        soon_us = self._book.works.now.mono_us + STORAGE_LOOK_US_MIN
        self._look_us = min(self._look_us, soon_us)

    def look_now(self) -> None:
        """Look at once, at all slots, too."""
        self._pace.reset()
        self._look_us = self._roster_us = 0

    def joined(self) -> None:
        """All slots were looked at just now."""
        self._pace.reset()
        self._look_us = 0
        self._roster_us = self._book.works.now.mono_us + STORAGE_ROSTER_US

    def work(self) -> Work[None]:
        """Look and bring, for ever."""
        book = self._book
        self._history_us = book.works.now.mono_us
        while True:
            now_us = book.works.now.mono_us
            due_us = min(self._look_us, self._history_us) if self._has_history() else self._look_us
            if not self._may_go() or (due_us > now_us and not self._wishes):
                yield Until(self._is_called, None if not self._may_go() else due_us - now_us)
                continue
            if self._look_us <= now_us:
                yield from self._look()
            yield from self._bring_all()

    def _may_go(self) -> bool:
        return self._book.joined and not self._book.paused and not self._book.state.struck

    def _is_called(self) -> bool:
        now_us = self._book.works.now.mono_us
        return self._may_go() and (bool(self._wishes) or self._look_us <= now_us)

    # Looking

    def _look(self) -> Work[None]:
        """The slots now and then, the announcement and the heads each time."""
        book = self._book
        now_us = book.works.now.mono_us
        ground = book.ground
        self._look_us = now_us + self._pace.next_us(STORAGE_LOOK_US_MAX)
        for shelf in self._shelves.values():
            shelf.bad.clear()
        if ground.alone:
            self._look_us = now_us + STORAGE_LOOK_US_MAX
            return
        if self._roster_us <= now_us:
            book.joined = False  # what this device has there is compared again, then all are met
            return
        try:
            step = yield from book.announced(ground)
            if step is not None and step.epoch > book.state.epoch:
                self.is_left_behind = True
                return
        except Dms3Error as error:
            book.problem("look", str(error))
            return
        book.problem("look", "")
        for other in self._devices.all():
            yield from self._look_at(other, ground)

    def _look_at(self, other: Other, ground: Ground) -> Work[bool]:
        """Bring the newest head of a device; whether it is news."""
        book, part = self._book, f"head {other.id.hex()}"
        try:
            gone = other.known.gone
            head = yield from newest(book, self._devices, other, ground, gone=gone)
            if head is None and other.head is not None:
                raise withheld(ground.place, f"the state of your device {other.head.name}")
            news = head is not None and self._devices.take(other, head, ground)
        except Dms3Error as error:
            book.problem(part, str(error))
            return False
        book.problem(part, "")
        if news:
            self._pace.reset()
            self._look_us = min(self._look_us, book.works.now.mono_us + STORAGE_LOOK_US_MIN)
        return news

    # Bringing

    def _bring_all(self) -> Work[None]:
        """All that is to be brought now, a few chunks at a time."""
        while self._may_go():
            chosen = self._choose()
            if not chosen:
                self._satisfied()
                return
            pages = [(other, ref) for other, ref in chosen if ref is self._shelf(other).older]
            if pages:
                yield from self._open_page(*pages[0])
            else:
                yield from self._bring(chosen)

    def _choose(self) -> list[tuple[Other, Ref]]:
        """What to ask for next; what is new before what is old, the newest first."""
        fresh: list[tuple[int, Other, Ref]] = []
        old: list[tuple[int, Other, Ref]] = []
        for other in self._devices.all():
            for ref in self._shelf(other).lacks(other):
                is_new = ref.end > other.known.base
                (fresh if is_new else old).append((-ref.high_ms, other, ref))
        fresh.sort(key=lambda row: (row[0], row[1].id, row[2].id))
        old.sort(key=lambda row: (row[0], row[1].id, row[2].id))
        chosen = fresh[:STORAGE_GETS_MAX]
        if not chosen and old and self._is_history_due():
            few = 1 if self._came >= STORAGE_FIRST_ITEMS_MIN and not self._wishes else None
            chosen = old[: few or STORAGE_GETS_MAX]
            self._history_us = self._book.works.now.mono_us + STORAGE_HISTORY_US
        return [(other, ref) for _, other, ref in chosen]

    def _is_history_due(self) -> bool:
        if self._wishes or self._came < STORAGE_FIRST_ITEMS_MIN:
            return True
        return self._history_us <= self._book.works.now.mono_us

    def _has_history(self) -> bool:
        return any(self._shelf(other).lacks(other) for other in self._devices.all())

    def _bring(self, chosen: list[tuple[Other, Ref]]) -> Work[None]:
        """Get chunks at once, and hand them on one after the other."""
        ground = self._book.ground
        asks = [asks_of(self._book, ground, ref) for _, ref in chosen]
        bodies = yield All(tuple(ask for each in asks for ask in each))
        for (other, ref), each in zip(chosen, asks, strict=True):
            mine, bodies = bodies[: len(each)], bodies[len(each) :]
            yield from self._hand_on(other, ref, mine, ground)

    def _hand_on(self, other: Other, ref: Ref, bodies: list[Any], ground: Ground) -> Work[None]:
        """Items of one chunk to the mailbox; it is read when the mailbox has kept them."""
        book, part = self._book, f"chunk {other.id.hex()}"
        try:
            items = items_of(book, ref, bodies, ground)
            yield Ask("mailbox.merge", items)
        except Dms3Error as error:
            self._shelf(other).bad.add(ref.id)
            if error.code == "content_invalid" and (yield from self._look_at(other, ground)):
                return  # it was merged with others meanwhile
            book.problem(part, str(error))
            return
        book.problem(part, "")
        self._devices.read(other, ref)
        self._shelf(other).read.add(ref.id)
        self._came += len(items)
        if ref.end <= other.known.base and self._wishes:
            wish = self._wishes[0]
            wish.came += len(items)
            if wish.came >= wish.wanted:
                book.reply(self._wishes.popleft().request, wish.came)

    def _open_page(self, other: Other, ref: Ref) -> Work[None]:
        """Older chunks of a device become known."""
        book, part = self._book, f"page {other.id.hex()}"
        ground, shelf = book.ground, self._shelf(other)
        try:
            page = yield from page_of(book, ground, ref)
        except Dms3Error as error:
            shelf.bad.add(ref.id)
            book.problem(part, str(error))
            return
        book.problem(part, "")
        shelf.refs += page.refs
        shelf.older = page.older

    def _satisfied(self) -> None:
        """Nothing more can be brought now: whoever waits is told."""
        while self._wishes:
            wish = self._wishes.popleft()
            self._book.reply(wish.request, wish.came)

    def _shelf(self, other: Other) -> _Shelf:
        shelf = self._shelves.get(other.id)
        if shelf is None or shelf.age != other.age:
            head = other.head
            refs, older = ([], None) if head is None else (list(head.refs), head.older)
            shelf = self._shelves[other.id] = _Shelf(other.age, refs, older)
        return shelf


def roster(book: Book, devices: Devices, ground: Ground) -> Work[list[bytes | None]]:
    """Which device claims each slot (None: nobody), after meeting them all; b"": unreadable."""
    count = range(STORAGE_DEVICES_MAX)
    names = [book.name_of(ground, "slot", bytes([slot])) for slot in count]
    found: list[bytes | None] = []
    for start in range(0, len(names), STORAGE_GETS_MAX):
        some = names[start : start + STORAGE_GETS_MAX]
        bodies = yield All(tuple(Ask("place.get", GetObject(ground.place, name)) for name in some))
        for name, body in zip(some, bodies, strict=True):
            sealed = body_or_raise(body)
            try:
                content = book.opened(ground, name, sealed)
                found.append(None if content is None else devices.meet(content).device)
            except DecodeError as error:
                book.problem("slots", str(altered(ground.place, error.reason)))
                found.append(b"")
            except Dms3Error as error:
                book.problem("slots", str(error))
                found.append(b"")
    if b"" not in found:
        book.problem("slots", "")
    for device in book.state.removed if ground == book.ground else ():
        content = None if devices.get(device) else (yield from book.get(ground, CLAIM, device))
        if content is not None:
            devices.meet(content)
    return found


def newest(
    book: Book, devices: Devices, other: Other, ground: Ground, *, gone: bool
) -> Work[Head | None]:
    """The newest head of a device at a ground: its own, or the one that others brought along.

    `gone`: only the latter counts there.
    """
    best: Head | None = None
    for what in (LEFT,) if gone else (HEAD, LEFT):
        data = yield from book.get(ground, what, other.id)
        if data is not None:
            head = devices.checked(other, data, ground)
            if best is None or head.age > best.age:
                best = head
            if what == HEAD and head.age >= other.age:
                break
    return best


def asks_of(book: Book, ground: Ground, ref: Ref) -> list[Ask]:
    """The questions for the objects of a chunk or page."""
    names = book.names_at(ground, ref)
    return [Ask("place.get", GetObject(ground.place, name)) for name in names]


def objects_of(bodies: list[Any], ground: Ground) -> list[bytes]:
    """The objects that came; raises what went wrong, `content_invalid` when one is not there."""
    objects = []
    for body in bodies:
        sealed = body.error() if isinstance(body, Failure) else body
        if isinstance(sealed, Dms3Error):
            raise sealed
        if sealed is None:
            raise withheld(ground.place, "a chunk of messages that was written there")
        objects.append(sealed)
    return objects


def items_of(book: Book, ref: Ref, bodies: list[Any], ground: Ground) -> tuple[Item, ...]:
    """The items of a chunk whose objects came; raises `content_invalid`, which names the place."""
    objects = objects_of(bodies, ground)
    try:
        return decode_chunk(open_objects(book.keys, ref, objects))
    except DecodeError as error:
        raise altered(ground.place, error.reason) from error


def page_of(book: Book, ground: Ground, ref: Ref) -> Work[Page]:
    """The page that `ref` names; raises `content_invalid`, which names the place."""
    bodies = yield All(tuple(asks_of(book, ground, ref)))
    objects = objects_of(bodies, ground)
    try:
        return decode_page(open_objects(book.keys, ref, objects))
    except DecodeError as error:
        raise altered(ground.place, error.reason) from error
