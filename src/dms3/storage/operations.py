"""What the node asks of machine "storage", and what that asks of the places where chunks lie.

Source: docs/architecture.md, "Conversation storage". Types only. Calls to the machine:

| call | arguments | answer |
|---|---|---|
| `storage.append` | tuple of Item | Durable, when every one lies where all devices read it |
| `storage.chosen` | None | StorageState |
| `storage.choose` | Place: everything is moved there first, nothing is lost | StorageState |
| `storage.leave` | Place: use it at once, the old one is lost (`mailbox.repeat`) | StorageState |
| `storage.devices` | None | tuple of Device |
| `storage.remove_device` | device id in hex | the new generation of the profile keys |
| `storage.earlier` | how many older items are wanted in the local tables | how many came |
| `storage.look` | None: look at the other devices now | None, at once |

An append is answered once it is durable, so it may be asked again after a crash: of one kind and
key the last counts, per device. What `storage` asks of machine "mailbox":
`mailbox.merge` tuple of Item, of other devices -> anything, when they are kept ·
`mailbox.repeat` None: append again all that is kept -> anything, when that is certain to happen ·
`mailbox.rotate` int: use profile keys of at least this generation -> anything, when it is durable

Port `place` (`io/places.py` joins the back-ends; names are 64 hex characters, values sealed bytes):
`place.put` PutObject -> None (durable) · `place.get` GetObject -> bytes | None · `place.list`
ListObjects -> tuple of names (places that cannot list answer `protocol_unsupported`) ·
`place.delete` DeleteObject -> None · `place.check` Place -> None (reachable and writable)
Failures: `peer_unreachable`, `timed_out`, `limit_reached` (full), `unauthorized`,
`argument_invalid`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["local", "overlay", "ipfs", "s3", "webdav", "opendal", "service"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where chunks lie. `url` has no secret; `secret` holds what opens it (kept in the store only).

    `local`: this node alone · `overlay`: the public overlay · `ipfs`: a node's RPC URL · `s3`,
    `webdav`, `opendal`: through opendal, options in `secret` as JSON · `service`: URL and name of a
    delivery service of this person.
    """

    kind: Kind
    url: str = ""
    secret: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing all devices shall have: `key` is unique and ordered by nobody, `body` is opaque.

    `kind`: "message" (key: message hash; body: encoded messaging.operations.Kept), "state" (read
    and delivery state: merged by maximum), "person" (a correspondent: newest wins).
    `order_ms`: newest first is how a new device reads.
    """

    kind: str
    key: str
    body: bytes = field(repr=False)
    order_ms: int = 0


@dataclass(frozen=True, slots=True)
class Durable:
    """`shared`: the items lie where all devices read them. False: local-only, see `waiting_for`."""

    shared: bool
    waiting_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageState:
    """The place in use, how many items and bytes lie there, and what is wrong with it now."""

    place: Place
    items: int
    bytes: int
    pending: int
    problem: str
    moving: float | None = None  # share of a move that is done


@dataclass(frozen=True, slots=True)
class Device:
    """A device of this person: id in hex, name, when it last wrote (wall); `this`: this one."""

    id: str
    name: str
    seen_us: int
    this: bool


@dataclass(frozen=True, slots=True)
class PutObject:
    """Write `data` under `name` at `place`; what was there is replaced."""

    place: Place
    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetObject:
    """Read what lies under `name`."""

    place: Place
    name: str


@dataclass(frozen=True, slots=True)
class ListObjects:
    """The names at `place`, in order, after `after`; at most a page."""

    place: Place
    after: str = ""


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Remove what lies under `name`; nothing happens when there is nothing."""

    place: Place
    name: str
