"""What comes along from one ground to the next: chunks as they are, and the states of all devices.

Source: docs/adr/0008-conversation-storage.md. A chunk is copied sealed, under its name, and each
copy is noted, so that a journey that was interrupted goes on. The state of another device goes
under a name of its own: an object of a device is written by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dms3.core.codec import encode
from dms3.core.limits import STORAGE_GETS_MAX, STORAGE_PAGES_MAX
from dms3.storage.book import Book, altered, withheld
from dms3.storage.chunk import digest_of
from dms3.storage.devices import Devices, Other
from dms3.storage.head import Head, Ref
from dms3.storage.joining import claim, own_at
from dms3.storage.leaving import CARRIED
from dms3.storage.operations import Place, PutObject
from dms3.storage.reading import CLAIM, HEAD, LEFT, asks_of, newest, objects_of, page_of, roster
from dms3.storage.slots import Ground
from dms3.storage.work import All, Ask, Work, body_or_raise


@dataclass(frozen=True, slots=True)
class Journey:
    """From one ground to another. `mark` names it: rows of what was copied on it begin so.

    `removed`: devices that do not count there, `gone`: those that did not before. `leads`: whether
    it is announced; `door`: where whoever comes to the place of the goal has to be led to it.
    """

    start: Ground
    goal: Ground
    epoch: int
    removed: tuple[bytes, ...]
    gone: tuple[bytes, ...]
    mark: bytes
    leads: bool
    door: Ground | None = None

    @property
    def copies(self) -> bool:
        """Whether chunks lie elsewhere afterwards."""
        same = is_same(self.start.place, self.goal.place)
        return not same or self.start.visit != self.goal.visit


class Carrying:
    """Copies along journeys. Argument: `share`, told how much of one is done."""

    def __init__(self, book: Book, devices: Devices, share: Callable[[float], None]) -> None:
        self._book = book
        self._devices = devices
        self._share = share
        self.copied = 0  # chunks, since the start
        self._seen = 0
        self._total = 0

    def meet(self, ground: Ground) -> Work[None]:
        """Know everybody who has a slot there."""
        if not ground.alone:
            yield from roster(self._book, self._devices, ground)

    def chunks(self, way: Journey) -> Work[None]:
        """The chunks of everybody."""
        book, devices = self._book, self._devices
        heads: list[tuple[Head, Head | None]] = [(book.head, (yield from self.own_at(way.goal)))]
        for other in devices.all():
            gone = other.id in way.gone
            head = yield from newest(book, devices, other, way.start, gone=gone)
            if head is not None:
                gone = other.id in way.removed
                there = yield from newest(book, devices, other, way.goal, gone=gone)
                heads.append((head, there))
        self._seen = 0
        self._total = sum(len(head.refs) + (head.older is not None) for head, _ in heads)
        for head, there in heads:
            yield from self.copy(head, way, there)

    def copy(self, head: Head, way: Journey, there: Head | None) -> Work[None]:
        """Chunks and pages of `head`; `there`: a head whose chunks are at the goal."""
        has = frozenset(() if there is None else (ref.id for ref in there.refs))
        older = None if there is None or there.older is None else there.older.id
        yield from self._copy_some([ref for ref in head.refs if ref.id not in has], way)
        page = head.older
        for _ in range(STORAGE_PAGES_MAX):
            if page is None or page.id == older:
                return
            opened = yield from page_of(self._book, way.start, page)
            self._total += len(opened.refs)
            yield from self._copy_some([*opened.refs, page], way)
            page = opened.older

    def state(self, other: Other, way: Journey) -> Work[None]:
        """The newest state of another device, and the chunks that it needs."""
        book, devices = self._book, self._devices
        was_gone, is_gone = other.id in way.gone, other.id in way.removed
        head = yield from newest(book, devices, other, way.start, gone=was_gone)
        there = yield from newest(book, devices, other, way.goal, gone=is_gone)
        if head is None:  # maybe everybody has gone on, and that place was emptied
            is_there = there is not None and there.age >= other.age
            if other.head is not None and not way.start.alone and not is_there:
                raise withheld(way.start.place, f"the state of your device {other.head.name}")
            return
        if there is not None and (there.age >= head.age or (is_gone and not way.leads)):
            return  # what a removed device wrote after the step counts for nobody
        if way.copies:
            yield from self.copy(head, way, there)
        yield book.put(way.goal, book.name_of(way.goal, LEFT, other.id), encode(head))

    def claims(self, way: Journey) -> Work[None]:
        """Whoever comes to the goal finds the devices that have not come yet."""
        book = self._book
        for device in way.removed:  # they have no slot, but what they wrote before counts
            other = self._devices.get(device)
            if other is not None:
                name = book.name_of(way.goal, CLAIM, device)
                yield book.put(way.goal, name, encode(other.known.claim))
        if way.goal.alone:
            return
        held = yield from roster(self._book, self._devices, way.goal)
        for other in self._devices.listed():
            if other.id not in held and other.id not in way.removed:
                yield from claim(self._book, self._devices, way.goal, other.known.claim)

    def own_at(self, ground: Ground) -> Work[Head | None]:
        """The newest state of this device that others, or an earlier try, brought there."""
        mine = yield from own_at(self._book, ground, HEAD)
        brought = yield from own_at(self._book, ground, LEFT)
        if mine is None or brought is None:
            return mine or brought
        return mine if mine.age >= brought.age else brought

    def _copy_some(self, refs: list[Ref], way: Journey) -> Work[None]:
        """Single objects a few at once, chunks of many objects one by one."""
        for start in range(0, len(refs), STORAGE_GETS_MAX):
            some = refs[start : start + STORAGE_GETS_MAX]
            todo = [ref for ref in some if self._book.view.get(CARRIED, way.mark + ref.id) is None]
            small = [ref for ref in todo if ref.parts == 1]
            if small:
                yield from self._copy_together(small, way)
            for ref in todo:
                if ref.parts > 1:
                    yield from self._copy_together([ref], way)
            self._seen += len(some)
            self._share(min(0.99, self._seen / max(1, self._total)))

    def _copy_together(self, refs: list[Ref], way: Journey) -> Work[None]:
        book = self._book
        asks = [asks_of(book, way.start, ref) for ref in refs]
        bodies = yield All(tuple(ask for each in asks for ask in each))
        puts: list[Ask] = []
        for ref in refs:
            mine, bodies = bodies[: ref.parts], bodies[ref.parts :]
            objects = objects_of(mine, way.start)
            if digest_of(objects) != ref.digest:
                objects = yield from self._again(ref, way)
            places = zip(book.names_at(way.goal, ref), objects, strict=True)
            puts += [Ask("place.put", PutObject(way.goal.place, *pair)) for pair in places]
        for body in (yield All(tuple(puts))):
            body_or_raise(body)
        for ref in refs:
            book.keep(CARRIED, way.mark + ref.id, encode(ref))
            self.copied += 1

    def _again(self, ref: Ref, way: Journey) -> Work[list[bytes]]:
        """The objects of a chunk that came altered, asked once more."""
        bodies = yield All(tuple(asks_of(self._book, way.start, ref)))
        objects = objects_of(bodies, way.start)
        if digest_of(objects) != ref.digest:
            raise altered(way.start.place, "a chunk of messages has another hash")
        return objects


def is_same(one: Place, two: Place) -> bool:
    """Whether two places are one, maybe with other credentials."""
    if one.kind != two.kind or one.url != two.url:
        return False
    return bool(one.url) or one.secret == two.secret or one.kind in ("local", "overlay")
