"""Going on from one ground to the next: to another place, or to new keys without a device.

Source: docs/adr/0008-conversation-storage.md. Everything is copied first; then nothing is appended
for a moment, what came meanwhile follows, the step is announced at the old ground, and only then
this device is at the new one. Whoever meets the announcement does the same without announcing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from dms3.core.codec import INTEGER_MAX, encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import RequestId
from dms3.core.limits import STORAGE_PARTING_US, STORAGE_REMOVED_MAX, STORAGE_SETTLE_US
from dms3.crypto.keys import GENERATION_MAX
from dms3.storage.appending import Appending, next_head
from dms3.storage.book import Behind, Book, Pace
from dms3.storage.carrying import Carrying, Journey, is_same
from dms3.storage.devices import Devices
from dms3.storage.head import Head
from dms3.storage.joining import claim, end_of, join
from dms3.storage.leaving import Leaving
from dms3.storage.operations import Place
from dms3.storage.reading import HEAD, Reading
from dms3.storage.slots import Ground, Next, PlaceRow, sign_next
from dms3.storage.work import Ask, Until, Work, rest

_MARK_BYTES = 8


class Moving:
    """The work that joins, follows and leads; and who waits for that.

    Argument: `told`, what whoever chose a place is answered.
    """

    def __init__(
        self,
        book: Book,
        devices: Devices,
        appending: Appending,
        reading: Reading,
        leaving: Leaving,
        told: Callable[[], Any],
    ) -> None:
        self._book = book
        self._devices = devices
        self._appending = appending
        self._reading = reading
        self._leaving = leaving
        self._told = told
        self._carrying = Carrying(book, devices, self._share)
        self._pace = Pace()
        self._choosing: list[RequestId] = []
        self._striking: list[tuple[bytes, RequestId]] = []
        self._changed = False
        self._choices = 0

    # What is wanted

    def choose(self, place: Place, request: RequestId) -> None:
        """Move there, when it can be reached; answered when everything is there."""
        row = _row(place)
        self._choices += 1
        self._book.works.start(f"choose {self._choices}", self._check(row, request))

    def _check(self, row: PlaceRow, request: RequestId) -> Work[None]:
        """A person is there who can choose again: what cannot be reached is said at once."""
        book, place = self._book, row.place
        try:
            yield Ask("place.check", place)
        except Dms3Error as error:
            book.reply(request, Failure.of(error))
            return
        self._choose_instead(request)
        if is_same(place, book.ground.place):  # maybe with other credentials
            book.put_state(place=row, wish=None)
            book.joined = False
        else:
            book.put_state(wish=row, attempt=book.draw(_MARK_BYTES))

    def leave(self, place: Place, request: RequestId) -> None:
        """Use `place` at once; what lies at the old one is given up and appended again."""
        row = _row(place)
        self._choose_instead(request)
        changes = {"generation": 0, "visit": 0, "epoch": 0}
        self._book.put_state(place=row, wish=None, attempt=b"", behind=None, **changes)
        self._book.become(self._book.draw_device())

    def remove(self, device: bytes, request: RequestId) -> None:
        """Remove a device; answered with the new generation."""
        book = self._book
        if device == book.device:
            raise Dms3Error(
                "argument_invalid",
                "This is the device that you are using.",
                hint="Remove it from another one of yours.",
            )
        if self._devices.get(device) is None:
            raise Dms3Error("not_found", f"None of your devices is called {device.hex()}.")
        if len(book.state.removed) >= STORAGE_REMOVED_MAX:
            raise _too_many()
        self._striking.append((device, request))
        if device not in book.state.removed and device not in book.state.strike:
            book.put_state(strike=(*book.state.strike, device))
        self._changed = True

    def _choose_instead(self, request: RequestId) -> None:
        for waiting in self._choosing:
            self._book.reply(waiting, Failure("cancelled", "Another place was chosen meanwhile."))
        self._choosing = [request]
        self._changed = True

    # The work

    def work(self) -> Work[None]:
        """Join, follow and lead, for ever."""
        book = self._book
        while True:
            yield Until(self._has_work)
            self._changed = False
            copied = self._carrying.copied
            try:
                yield from self._step()
            except Dms3Error as error:
                book.paused = False
                self._share(None)
                book.problem("place", str(error))
                if self._carrying.copied > copied:
                    self._pace.reset()
                yield Until(lambda: self._changed, self._pace.next_us())
            else:
                book.paused = False
                self._share(None)
                book.problem("place", "")
                self._pace.reset()

    def _has_work(self) -> bool:
        state = self._book.state
        if state.struck:
            return state.wish is not None
        wants = state.wish is not None or bool(state.strike) or state.behind is not None
        hinted = self._appending.is_left_behind or self._reading.is_left_behind
        rotates = state.told != state.generation
        waits = bool(self._choosing or self._striking)
        return not self._book.joined or wants or hinted or rotates or waits

    def _step(self) -> Work[None]:
        """One thing that is to be done."""
        book = self._book
        if book.state.struck:  # a person chose a place again: as a new device
            book.become(book.draw_device())
            book.problem("struck", "")
        if not book.joined:
            yield Until(lambda: not book.writing)
            yield from join(book, self._devices)
            self._reading.joined()
        ground, state = book.ground, book.state
        step = None if ground.alone else (yield from book.announced(ground))
        self._reading.is_left_behind = False
        if step is not None and step.epoch > state.epoch:
            yield from self._follow(step)
        elif state.wish is not None:
            yield from self._lead(state.wish.place)
        elif state.strike or state.told > state.generation:
            yield from self._strike()
        elif state.behind is not None:
            yield from self._look_back(state.behind)
        state = book.state
        if state.told < state.generation and not state.struck:
            yield Ask("mailbox.rotate", state.generation)
            book.put_state(told=state.generation)
        self._answer()

    def _answer(self) -> None:
        """Tell those who waited for what is done now."""
        book, state = self._book, self._book.state
        if state.wish is None and book.joined:
            for request in self._choosing:
                book.reply(request, self._told())
            self._choosing = []
        if state.told == state.generation and not state.struck:
            for device, request in self._striking:
                if device in state.removed:
                    book.reply(request, state.generation)
            self._striking = [each for each in self._striking if each[0] not in state.removed]
        if state.struck:
            gone = Failure("forbidden", "Another device of yours removed this one meanwhile.")
            for _, request in self._striking:
                book.reply(request, gone)
            self._striking = []

    # Where to

    def _follow(self, step: Next) -> Work[None]:
        """The others have gone on."""
        book, state = self._book, self._book.state
        if book.device in step.removed:
            book.put_state(struck=True, wish=None, strike=(), behind=None)
            book.joined = False
            self._appending.refuse_all()
            book.problem("struck", "Another device of yours removed this one.")
            return
        mark = hashlib.sha256(encode(step)).digest()[:_MARK_BYTES]
        goal = step.ground(book.ground.place)
        way = Journey(book.ground, goal, step.epoch, step.removed, state.removed, mark, leads=False)
        yield from self._go(way)

    def _strike(self) -> Work[None]:
        """Lead everybody to new keys, without those who are to be removed."""
        book, state = self._book, self._book.state
        generation = max(state.generation + 1, state.told)
        if generation > GENERATION_MAX:
            raise _counted_out("keys")
        goal = Ground(book.ground.place, generation, state.visit)
        removed = self._to_remove()
        epoch = self._next_epoch()
        way = Journey(book.ground, goal, epoch, removed, state.removed, b"", leads=True)
        yield from self._go(way)

    def _lead(self, place: Place) -> Work[None]:
        """Lead everybody to another place, or join those who are there."""
        book, state = self._book, self._book.state
        start = book.ground
        if is_same(place, start.place):  # the others have led this device there meanwhile
            book.put_state(wish=None)
            return
        end, step, back = yield from end_of(book, place, start.place)
        removed = () if step is None else step.removed
        if book.device in removed:
            book.become(book.draw_device())
            yield from join(book, self._devices)
        epoch = self._next_epoch(0 if step is None else step.epoch)
        goal, door = end, None
        if end.alone or back:  # where we were before: nothing of then is met again
            goal, door = Ground(end.place, end.generation, epoch), None if end.alone else end
        marked = (state.removed, _mark_of(state.attempt, goal))
        yield from self._go(Journey(start, goal, epoch, removed, *marked, True, door))

    def _next_epoch(self, least: int = 0) -> int:
        """After all that are known; raises `limit_reached` after the last one there is."""
        known = [self._book.state.epoch, *(other.age[0] for other in self._devices.all())]
        newest = max(least, *known)
        if newest >= INTEGER_MAX:
            raise _counted_out("moves")
        return newest + 1

    def _to_remove(self) -> tuple[bytes, ...]:
        """All that were and are to be removed; what is more than a step can say is given up."""
        book, state = self._book, self._book.state
        new = [device for device in state.strike if device not in state.removed]
        new, refused = new[: self._room()], new[self._room() :]
        if refused:
            book.put_state(strike=tuple(new))
            for device, request in self._striking:
                if device in refused:
                    book.reply(request, Failure.of(_too_many()))
            self._striking = [each for each in self._striking if each[0] not in refused]
        return union(state.removed, tuple(new))

    def _room(self) -> int:
        """How many devices more can be removed."""
        return max(0, STORAGE_REMOVED_MAX - len(self._book.state.removed))

    # On the way

    def _go(self, way: Journey) -> Work[None]:
        """All that leads from one ground to the next, as far as it was not done before."""
        book, carrying = self._book, self._carrying
        yield from carrying.meet(way.start)
        if way.copies:
            self._share(0.0)
            yield from carrying.chunks(way)
        book.paused = True
        yield Until(lambda: not book.writing)
        if book.ground != way.start:
            return
        if way.copies:
            yield from carrying.copy(book.head, way, (yield from carrying.own_at(way.goal)))
        slot = -1
        if not way.goal.alone:
            slot = yield from claim(book, self._devices, way.goal, book.claim())
        yield from carrying.claims(way)
        for other in self._devices.all():
            yield from carrying.state(other, way)
        if way.leads and not (yield from self._announce(way)):
            return
        head = next_head(book, book.head, book.head.refs, book.head.older, way.epoch)
        yield book.put(way.goal, book.name_of(way.goal, HEAD, book.device), encode(head))
        self._arrive(way, head, slot)

    def _announce(self, way: Journey) -> Work[bool]:
        """Lead the others here; False: another device has led them elsewhere at once."""
        book = self._book
        if way.goal.alone:  # the others stay where they are
            return True
        goal = way.goal
        if way.door is not None:
            yield from self._put_next(way.door, way, None)
        if way.start.alone:
            return True
        place = None if is_same(goal.place, way.start.place) else PlaceRow.of(goal.place)
        step = yield from self._put_next(way.start, way, place)
        yield rest(STORAGE_SETTLE_US)
        found = yield from book.announced(way.start)
        return found == step

    def _put_next(self, ground: Ground, way: Journey, place: PlaceRow | None) -> Work[Next]:
        book, goal = self._book, way.goal
        bare = Next(1, way.epoch, goal.generation, goal.visit, place, way.removed)
        step = sign_next(book.root_key, bare)
        yield book.put(ground, book.name_of(ground, "next"), encode(step))
        return step

    def _arrive(self, way: Journey, head: Head, slot: int) -> None:
        """This device is at the new ground now."""
        book, state = self._book, self._book.state
        wish = state.wish
        if wish is not None and way.copies and (way.leads or is_same(wish.place, way.goal.place)):
            wish = None
        behind = None
        if not way.start.alone:
            place = PlaceRow.of(way.start.place)
            behind = Behind(
                place,
                way.start.generation,
                way.start.visit,
                way.mark,
                way.gone,
                way.leads,
                book.works.now.wall_us,
            )
        mine = union(state.removed, state.strike)
        book.put_state(
            place=PlaceRow.of(way.goal.place),
            generation=way.goal.generation,
            visit=way.goal.visit,
            epoch=way.epoch,
            removed=way.removed,
            slot=slot,
            wish=wish,
            strike=tuple(each for each in mine if each not in way.removed),
            behind=behind,
        )
        book.put_head(head)
        self._devices.strike(way.removed)
        if way.copies:
            shared = not way.start.alone and not way.goal.alone
            self._leaving.add(way.start, way.mark, erase=way.start.alone or shared)
        self._reading.look_now()
        book.tell()

    def _look_back(self, behind: Behind) -> Work[None]:
        """Bring along what others wrote until they met the announcement."""
        book, state = self._book, self._book.state
        start = Ground(behind.place.place, behind.generation, behind.visit)
        marked = (behind.gone, behind.mark, behind.leads)
        way = Journey(start, book.ground, state.epoch, state.removed, *marked)
        try:
            yield from self._carrying.meet(start)
            yield from self._carrying.claims(way)
            for other in self._devices.all():
                yield from self._carrying.state(other, way)
        except Dms3Error:
            if book.works.now.wall_us - behind.since_us < STORAGE_PARTING_US:
                raise
        book.put_state(behind=None)

    def _share(self, share: float | None) -> None:
        """How much of the move is done; people are told at its beginning and at its end."""
        book = self._book
        changed = (share is None) != (book.moving is None)
        book.moving = share
        if changed:
            book.tell()


def _row(place: Place) -> PlaceRow:
    try:
        return PlaceRow.of(place)
    except ValueError as error:
        raise Dms3Error("argument_invalid", f"That is no place: {error}.") from error


def _mark_of(attempt: bytes, goal: Ground) -> bytes:
    """Names a journey: what was copied for another goal lies under other names."""
    place = goal.place
    where = f"{place.kind} {place.url} {goal.generation} {goal.visit}"
    return hashlib.sha256(attempt + where.encode()).digest()[:_MARK_BYTES]


def _too_many() -> Dms3Error:
    return Dms3Error("limit_reached", f"{STORAGE_REMOVED_MAX} devices were removed already.")


def _counted_out(what: str) -> Dms3Error:
    """A device of the person signed the last number that there is."""
    return Dms3Error(
        "limit_reached",
        f"A device of yours gave your {what} the highest number there is.",
        hint="Choose a place again with `dms3 message store-in KIND --lost`.",
    )


def union(one: tuple[bytes, ...], two: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Both, in order."""
    return tuple(sorted(dict.fromkeys((*one, *two))))
