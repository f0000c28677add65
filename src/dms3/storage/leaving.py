"""What is removed from places: chunks that were merged, and everything at a place that was left.

Source: docs/adr/0008-conversation-storage.md. At a place that was left the announcement stays, so
that a device that comes back after a long time is led on.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.limits import STORAGE_DEVICES_MAX, STORAGE_GARBAGE_ROWS_MAX, STORAGE_PARTING_US
from dms3.core.machine import scan
from dms3.storage.book import GARBAGE, Book, Garbage
from dms3.storage.devices import Devices
from dms3.storage.head import Ref
from dms3.storage.slots import Ground, PlaceRow
from dms3.storage.work import Work

CARRIED, LEFT_PLACES = "carried", "left"


@dataclass(frozen=True, slots=True)
class Parted:
    """A ground that was left at `since_us` (wall); rows of what was copied begin with `mark`.

    `erase`: whether what was copied is removed there, once nobody needs it.
    """

    v: int
    place: PlaceRow
    generation: int
    visit: int
    mark: bytes
    since_us: int
    erase: bool

    @property
    def ground(self) -> Ground:
        """What was left."""
        return Ground(self.place.place, self.generation, self.visit)


class Leaving:
    """The rows of what is to be removed, and the steps that remove it."""

    def __init__(self, book: Book, devices: Devices) -> None:
        self._book = book
        self._devices = devices

    def add(self, ground: Ground, mark: bytes, *, erase: bool) -> None:
        """`ground` was left."""
        book = self._book
        row = Parted(
            v=1,
            place=PlaceRow.of(ground.place),
            generation=ground.generation,
            visit=ground.visit,
            mark=mark,
            since_us=book.works.now.wall_us,
            erase=erase,
        )
        book.keep(LEFT_PLACES, mark, encode(row))

    def sweep(self) -> Work[bool]:
        """Remove some of what nobody needs any more; whether there was something."""
        if (yield from self._sweep_garbage()):
            return True
        for _, data in scan(self._book.view, LEFT_PLACES):
            row = decode(Parted, data)
            if not row.erase or (self._book.state.behind is None and self._is_deserted(row)):
                yield from self._sweep_place(row)
                return True
        return False

    def _sweep_garbage(self) -> Work[bool]:
        book = self._book
        now_us = book.works.now.wall_us
        for key, data in book.view.range(GARBAGE, b"", STORAGE_GARBAGE_ROWS_MAX):
            if int.from_bytes(key[:8], "big") > now_us:
                return False
            row = decode(Garbage, data)
            yield book.delete(row.place.place, row.name)
            book.forget(GARBAGE, key)
            return True
        return False

    def _is_deserted(self, row: Parted) -> bool:
        """Whether no device writes there any more, as far as is known."""
        book = self._book
        if row.place.kind == "local":
            return True
        gone_us = book.works.now.wall_us - row.since_us
        here = all(other.age[0] >= book.state.epoch for other in self._devices.listed())
        return here or gone_us >= STORAGE_PARTING_US

    def _sweep_place(self, row: Parted) -> Work[None]:
        book, ground = self._book, row.ground
        rows = book.view.range(CARRIED, row.mark, STORAGE_GARBAGE_ROWS_MAX)
        mine = [(key, data) for key, data in rows if key.startswith(row.mark)]
        for key, data in mine:
            for name in book.names_at(ground, decode(Ref, data)) if row.erase else ():
                yield book.delete(ground.place, name)
            book.forget(CARRIED, key)
        if mine:
            return
        for name in self._controls(ground) if row.erase else ():
            yield book.delete(ground.place, name)
        book.forget(LEFT_PLACES, row.mark)

    def _controls(self, ground: Ground) -> list[str]:
        """Heads and slots of that ground; the announcement stays."""
        book = self._book
        devices = [book.device, *(other.id for other in self._devices.all())]
        names = [
            book.name_of(ground, what, each)
            for what in ("head", "left", "claim")
            for each in devices
        ]
        slots = range(STORAGE_DEVICES_MAX)
        return [*names, *(book.name_of(ground, "slot", bytes([slot])) for slot in slots)]
