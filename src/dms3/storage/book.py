"""What the parts of machine "storage" share: durable state, the ground, sealing, asking the place.

Source: docs/adr/0008-conversation-storage.md. Everything written here is durable before a later
question leaves, so a node that is killed goes on from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    STORAGE_GARBAGE_US,
    STORAGE_RETRY_US_MAX,
    STORAGE_RETRY_US_MIN,
    STORAGE_TRIES_MAX,
)
from dms3.core.machine import Delete, Entropy, Notify, Persist, Reply, View
from dms3.crypto.keys import DEVICE_BYTES, KeyTree
from dms3.crypto.seal import NONCE_BYTES
from dms3.storage.head import Head, Ref, decode_head, names_of
from dms3.storage.names import StorageKeys
from dms3.storage.operations import DeleteObject, GetObject, Place, PutObject
from dms3.storage.slots import Claim, Ground, Next, PlaceRow, decode_next, sign_claim
from dms3.storage.work import Ask, Work, Works

STATE, GARBAGE = "state", "garbage"
_STATE, _HEAD, _PENDING = b"state", b"head", b"pending"
LOCAL = PlaceRow("local", "", "")
NEVER_WRITTEN = -1


@dataclass(frozen=True, slots=True)
class Behind:
    """A ground that was left, where others may have written until they met the announcement.

    `mark`: of the journey; `gone`: devices that did not count there any more.
    """

    place: PlaceRow
    generation: int
    visit: int
    mark: bytes
    gone: tuple[bytes, ...]
    leads: bool
    since_us: int


@dataclass(frozen=True, slots=True)
class State:
    """The row of this machine.

    `home`: the device that the home was when it was written. `device`: under which this node
    writes, since `since_us`. `slot`: where its claim was seen to stay. `wish`: a place to move to,
    `attempt` names that move; `strike`: devices to remove. `struck`: this device was removed by
    another one. `behind`: where others are still brought along from. `told`: the generation that
    "mailbox" knows. `repeat`: "mailbox" is to append again all that it has.
    """

    v: int
    home: bytes
    device: bytes
    place: PlaceRow
    generation: int
    epoch: int
    removed: tuple[bytes, ...]
    visit: int = 0
    slot: int = NEVER_WRITTEN
    struck: bool = False
    wish: PlaceRow | None = None
    strike: tuple[bytes, ...] = ()
    attempt: bytes = b""
    since_us: int = 0
    behind: Behind | None = None
    told: int = 0
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """A head on its way, and the names of the objects that it needs, not yet known to be there."""

    v: int
    head: bytes = field(repr=False)
    names: tuple[str, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that nothing needs any more."""

    v: int
    place: PlaceRow
    name: str


class Book:
    """Arguments: `tree`, the person's keys; `home`, the device of this home; `name`, for people."""

    def __init__(self, tree: KeyTree, home: bytes, name: str, entropy: Entropy) -> None:
        self.works = Works()
        self.root_key = tree.root()
        self.root = tree.root_id()
        self.keys = StorageKeys(tree.storage)
        self.name = name
        self._tree = tree
        self._home = home
        self._entropy = entropy
        self.state = State(1, home, home, LOCAL, 0, 0, ())
        self.head: Head = self._empty()
        self.pending: Pending | None = None
        self.joined = False  # whether others can find what this device writes here
        self.paused = False  # whether nothing may be appended, because everything is moving
        self.writing = False  # whether a head is on its way
        self.moving: float | None = None
        self.view: View
        self._problems: dict[str, str] = {}

    # What is durable

    def load(self, view: View) -> None:
        """Read the rows; those of another home are of a device that this one is not."""
        self.view = view
        data = view.get(STATE, _STATE)
        if data is None:
            self.put_state(since_us=self.works.now.wall_us)
            return
        state = decode(State, data)
        if state.home != self._home:  # restored from a backup: only where things lie is known
            self.state = dataclasses.replace(state, home=self._home, wish=None, strike=())
            self.become(self._home, repeat=self.ground.alone)  # a backup has no folder of chunks
            return
        self.state = state
        head, pending = view.get(STATE, _HEAD), view.get(STATE, _PENDING)
        self.head = self._empty() if head is None else decode_head(head)
        self.pending = None if pending is None else decode(Pending, pending)

    def put_state(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = dataclasses.replace(self.state, **changes)
        self.keep(STATE, _STATE, encode(self.state))

    def put_head(self, head: Head) -> None:
        """`head` is what lies at the place now; nothing is on its way."""
        self.head, self.pending = head, None
        self.keep(STATE, _HEAD, encode(head))
        self.forget(STATE, _PENDING)

    def put_pending(self, pending: Pending | None) -> None:
        """A head is on its way, or is not any more."""
        self.pending = pending
        if pending is None:
            self.forget(STATE, _PENDING)
        else:
            self.keep(STATE, _PENDING, encode(pending))

    def become(self, device: bytes, *, repeat: bool = True) -> None:
        """Go on as a device of that id, which has written nothing.

        `repeat`: whether what this node wrote before cannot be read any more.
        """
        since_us = self.works.now.wall_us
        self.put_state(
            device=device, slot=NEVER_WRITTEN, struck=False, repeat=repeat, since_us=since_us
        )
        self.put_head(self._empty())
        self.joined = False

    def keep(self, table: str, key: bytes, value: bytes) -> None:
        """Write a row."""
        self.works.effects.append(Persist(table, key, value))

    def forget(self, table: str, key: bytes) -> None:
        """Remove a row."""
        self.works.effects.append(Delete(table, key))

    def reply(self, request: Any, body: Any) -> None:
        """Answer a question."""
        self.works.effects.append(Reply(request, body))

    # Who and where

    @property
    def ground(self) -> Ground:
        """Where this device writes."""
        return Ground(self.state.place.place, self.state.generation, self.state.visit)

    @property
    def device(self) -> bytes:
        """Under which id this device writes."""
        return self.state.device

    @property
    def device_key(self) -> Any:
        """The key that signs its heads."""
        return self._tree.device(self.state.device)

    def claim(self) -> Claim:
        """The person's word for this device."""
        public = self.device_key.public
        return sign_claim(
            self.root_key, Claim(1, self.device, self.name, public, self.state.since_us)
        )

    def draw_device(self) -> bytes:
        """A device id that nobody has."""
        return self._entropy.draw(DEVICE_BYTES)

    def draw(self, count: int) -> bytes:
        """Random bytes."""
        return self._entropy.draw(count)

    def _empty(self) -> Head:
        return Head(1, self.state.device, self.name, 0, 0, 0, 0, 0, 0, (), None)

    # Objects

    def name_of(self, ground: Ground, what: str, *parts: bytes) -> str:
        """The name of an object that is replaced: "head", "left", "slot", "next"."""
        return self.keys.name(ground.generation, what, ground.visit.to_bytes(8, "big"), *parts)

    def names_at(self, ground: Ground, ref: Ref) -> list[str]:
        """The names of the objects of a chunk or page where they lie, in order."""
        visit = ground.visit.to_bytes(8, "big")
        return [
            self.keys.name(ref.generation, "at", visit, bytes.fromhex(name))
            for name in names_of(self.keys, ref)
        ]

    def put(self, ground: Ground, name: str, content: bytes) -> Ask:
        """Seal and write an object under the keys of `ground`."""
        nonce = self._entropy.draw(NONCE_BYTES)
        sealed = self.keys.seal(ground.generation, name, content, nonce)
        return Ask("place.put", PutObject(ground.place, name, sealed))

    def get(self, ground: Ground, what: str, *parts: bytes) -> Work[bytes | None]:
        """The content of an object that is replaced; None: there is none.

        Raises `content_invalid`, which names the place, when it was altered.
        """
        name = self.name_of(ground, what, *parts)
        for _ in range(STORAGE_TRIES_MAX - 1):
            sealed = yield Ask("place.get", GetObject(ground.place, name))
            try:
                return self.opened(ground, name, sealed)
            except Dms3Error:
                continue  # torn on its way, or while it was being written
        return self.opened(ground, name, (yield Ask("place.get", GetObject(ground.place, name))))

    def announced(self, ground: Ground) -> Work[Next | None]:
        """Where everybody at `ground` is to go on; None: here.

        Raises `content_invalid`, which names the place, when that was altered.
        """
        data = yield from self.get(ground, "next")
        try:
            return None if data is None else decode_next(data, self.root)
        except DecodeError as error:
            raise altered(ground.place, error.reason) from error

    def opened(self, ground: Ground, name: str, sealed: bytes | None) -> bytes | None:
        """The content of what came; None: nothing. Raises `content_invalid`."""
        if sealed is None:
            return None
        try:
            return self.keys.open(ground.generation, name, sealed)
        except DecodeError as error:
            raise altered(ground.place, error.reason) from error

    def delete(self, place: Place, name: str) -> Ask:
        """Remove an object."""
        return Ask("place.delete", DeleteObject(place, name))

    def discard(self, place: Place, name: str) -> None:
        """Remove an object later: somebody may be reading it, or it may still arrive."""
        due_us = self.works.now.wall_us + STORAGE_GARBAGE_US
        row = Garbage(1, PlaceRow.of(place), name)
        self.keep(GARBAGE, due_us.to_bytes(8, "big") + bytes.fromhex(name), encode(row))

    # Problems

    def problem(self, part: str, text: str) -> None:
        """Say what is wrong in `part` ("": nothing); people are told when it changes."""
        before = self.problem_text
        if text:
            self._problems[part] = text
        else:
            self._problems.pop(part, None)
        if self.problem_text != before:
            self.tell()

    @property
    def problem_text(self) -> str:
        """What is wrong now, one sentence; "" when nothing is."""
        return next(iter(self._problems.values()), "")

    def tell(self) -> None:
        """Tell people where conversations lie and how that is."""
        place = self.state.place
        data: dict[str, Any] = {
            "kind": place.kind,
            "url": place.url,
            "problem": self.problem_text,
            "moving": self.moving is not None,
        }
        self.works.effects.append(Notify("message.storage", data))


class Pace:
    """How long to wait before the next try: twice as long each time, until something worked."""

    def __init__(self, least_us: int = STORAGE_RETRY_US_MIN) -> None:
        self._least_us = least_us
        self._us = least_us

    def next_us(self, most_us: int = STORAGE_RETRY_US_MAX) -> int:
        """The next pause."""
        us = min(self._us, most_us)
        self._us = min(2 * self._us, most_us)
        return us

    def reset(self) -> None:
        """Something worked."""
        self._us = self._least_us


def label_of(place: Place) -> str:
    """How a place is called in a sentence."""
    return f"{place.kind} {place.url}".rstrip()


def altered(place: Place, reason: str) -> Dms3Error:
    """What came from `place` is not what was written there."""
    return Dms3Error(
        "content_invalid",
        f"{label_of(place)} gave something else than was written there: {reason}.",
        hint="Nothing of it was believed; it is asked again.",
    )


def withheld(place: Place, what: str) -> Dms3Error:
    """Something that must be at `place` is not there, or is an older state."""
    return Dms3Error(
        "content_invalid",
        f"{label_of(place)} does not give {what}.",
        hint="Nothing is lost here; it is asked again.",
    )


def digest_of_head(head: Head) -> bytes:
    """Tells two heads of one age apart."""
    return hashlib.sha256(encode(head)).digest()
