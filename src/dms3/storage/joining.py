"""Taking part at a ground: what was on its way is settled, the own head compared, a slot claimed.

Source: docs/adr/0008-conversation-storage.md. A place may forget, turn back, or be written by a
copy of this home; each is noticed here, before anything more is written.
"""

from __future__ import annotations

from dms3.core.codec import encode
from dms3.core.errors import Dms3Error
from dms3.core.limits import STORAGE_DEVICES_MAX, STORAGE_GROUNDS_MAX, STORAGE_SETTLE_US
from dms3.storage.book import Book, digest_of_head, withheld
from dms3.storage.chunk import digest_of
from dms3.storage.devices import Devices
from dms3.storage.head import Head, decode_head, is_head_of
from dms3.storage.operations import GetObject, Place
from dms3.storage.reading import HEAD, roster
from dms3.storage.slots import Claim, Ground, Next, slots_in_order
from dms3.storage.work import All, Ask, Work, body_or_raise, rest

_TRIES_MAX = 2 * STORAGE_DEVICES_MAX


def join(book: Book, devices: Devices) -> Work[None]:
    """Take part at the ground where this device is; raises what the place says."""
    ground = book.ground
    yield from _settle_pending(book, ground)
    if not (yield from _compare_own(book, ground)):
        book.become(book.draw_device())
    if not ground.alone:
        slot = yield from claim(book, devices, ground, book.claim(), book.state.slot)
        if slot != book.state.slot:
            book.put_state(slot=slot)
    book.joined = True


def _settle_pending(book: Book, ground: Ground) -> Work[None]:
    """A head was on its way at a crash: it counts when it, or everything that it needs, arrived."""
    pending = book.pending
    if pending is None:
        return
    head = decode_head(pending.head)
    if (yield from own_at(book, ground)) == head:
        book.put_head(head)
        return
    asks = tuple(Ask("place.get", GetObject(ground.place, name)) for name in pending.names)
    objects = [body_or_raise(body) for body in (yield All(asks))]
    if all(each is not None for each in objects) and digest_of(objects) == pending.digest:
        yield book.put(ground, book.name_of(ground, HEAD, book.device), pending.head)
        book.put_head(head)
        return
    for name in pending.names:
        book.discard(ground.place, name)
    book.put_pending(None)


def own_at(book: Book, ground: Ground, what: str = HEAD) -> Work[Head | None]:
    """What lies there as the state of this device; None: nothing, or nothing that it signed."""
    try:
        data = yield from book.get(ground, what, book.device)
        head = None if data is None else decode_head(data)
    except Dms3Error as error:
        if error.code not in ("content_invalid", "decode_failed"):
            raise
        book.problem("own", str(error))
        return None
    signed = head is not None and is_head_of(head, book.device, book.device_key.public)
    return head if signed else None


def _compare_own(book: Book, ground: Ground) -> Work[bool]:
    """Put the own head again unless it lies there; False: somebody else writes as this device."""
    mine = book.head
    theirs = yield from own_at(book, ground)
    if theirs is not None:
        if theirs.age > mine.age:
            return False
        if theirs.age == mine.age:
            book.problem("own", "")
            return digest_of_head(theirs) == digest_of_head(mine)
    if mine.version:
        if theirs is not None or (book.state.slot >= 0 and not ground.alone):
            book.problem("own", str(withheld(ground.place, "what this device wrote last")))
        yield book.put(ground, book.name_of(ground, HEAD, book.device), encode(mine))
    return True


def claim(
    book: Book, devices: Devices, ground: Ground, mine: Claim, settled: int = -1
) -> Work[int]:
    """Put `mine` into a slot where it stays; the number of the slot.

    `settled`: the slot where it was seen to stay before.
    Two devices may find the same slot free. What was put is read again after a pause in which a
    writing that had begun before has ended; whoever was overwritten goes on to another slot.
    Raises `limit_reached` when there is none.
    """
    content = encode(mine)
    wrote = -1
    for _ in range(_TRIES_MAX):
        held = yield from roster(book, devices, ground)
        if mine.device in held:
            slot = held.index(mine.device)
            if slot in (wrote, settled):
                return slot
        else:
            slot = _free(devices, held, mine.device)
            name = book.name_of(ground, "slot", bytes([slot]))
            yield book.put(ground, name, content)
        wrote = slot
        yield rest(STORAGE_SETTLE_US)
    raise Dms3Error("timed_out", "Other devices of yours come to this place all at once.")


def _free(devices: Devices, held: list[bytes | None], device: bytes) -> int:
    """The first slot, in the order of `device`, that nobody holds, or one that cannot be read."""
    order = slots_in_order(device)
    for wanted in (None, b""):
        for slot in order:
            if held[slot] == wanted:
                return slot
    for slot in order:
        holder = devices.get(held[slot] or b"")
        if holder is not None and holder.known.gone:
            return slot
    raise Dms3Error(
        "limit_reached",
        f"{STORAGE_DEVICES_MAX} devices keep their messages there already.",
        hint="Remove one with `dms3 message remove-device`.",
    )


def end_of(book: Book, place: Place, start: Place) -> Work[tuple[Ground, Next | None, bool]]:
    """Where whoever comes to `place` is led, the last step to it, and whether one leads to `start`.

    That one is not taken: it is where we come from.
    """
    ground = Ground(place, 0, 0)
    last: Next | None = None
    for _ in range(STORAGE_GROUNDS_MAX):
        step = None if ground.alone else (yield from book.announced(ground))
        if step is None:
            return ground, last, False
        further = step.ground(ground.place)
        if (further.place.kind, further.place.url) == (start.kind, start.url):
            return ground, last, True
        ground, last = further, step
    raise Dms3Error("content_invalid", f"{STORAGE_GROUNDS_MAX} moves lead on from there.")
