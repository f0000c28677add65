"""What subsystems ask of machine "dht": put, get, find in an overlay; what a content type is.

Source: docs/architecture.md, "Overlays". Types and the one distance;
`dht/` is the machine. The calls, as Call("dht.NAME", ARGUMENTS):

| call | arguments | answer |
|---|---|---|
| `dht.put` | PutContent | Placed |
| `dht.get` | GetContent | Got |
| `dht.find` | FindNodes | FoundNodes |
| `dht.drop` | DropContent | how many values this node held and holds no more |
| `dht.join` | JoinOverlay, or an OverlayId that is open: take part from now on | None |
| `dht.leave` | OverlayId | None |
| `dht.ask` | AskNodes: put a question to these nodes | Asked |
| `dht.ask_near` | AskNear: put it to the nodes nearest to a location | Asked |
| `dht.rank` | RankNear: how near this node is to locations | tuple of Rank |
| `dht.neighbours` | OverlayId | Neighbours |
| `dht.holds` | GetContent | whether anything is held here under that key |
| `dht.members` | OverlayId | tuple of presences (bytes) of the live nodes, this one's last |
| `dht.warned` | OverlayId of an app: its warrants have changed who may be in some overlays | None |
| `dht.standing` | OverlayId | why this node's own person may not be in it any more, or "" |
| `dht.overlays` | None | tuple of OverlayId: those that this node is in |
| `dht.shun` | Shun: nodes that are not asked for other machines | None |
| `dht.listening` | tuple of multiaddrs as text: where this node can be reached | None |
| `dht.figures` | None | tuple of OverlayFigures |
| `library.hold` | HoldBlocks | True, when the blocks are durable |
| `library.release` | tuple of Cid | anything; other needs of the blocks stay |
| `library.held` | the last Cid seen, or None | the next HELD_PAGE_MAX held Cids, in order |

Every answer may be a Failure instead. That nothing was found is no failure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from dms3.core.cid import Cid
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import GET_PATIENCE_US, HELD_LIFE_US, HOLDERS_SLACK, PUT_PATIENCE_US
from dms3.core.neighbourhood import USUAL, Duty
from dms3.core.verdict import Verdict

LOCATION_BYTES = 32
PUBLIC = OverlayId(hashlib.sha256(b"dms3 overlay: public").digest())
"""The overlay of public content; every node that takes part in public spaces is in it."""

HOLDERS_MIN = 8
"""q_min: how many nearest nodes hold a value; all of them when the overlay is smaller."""

RANK_MAX = HOLDERS_MIN + HOLDERS_SLACK
"""A node takes what lies where fewer nodes than this are nearer."""


def location(key: bytes) -> bytes:
    """Where a key lies in the 256-bit space that nodes and contents share: its SHA-256."""
    return hashlib.sha256(key).digest()


def distance(one: bytes, two: bytes) -> int:
    """How far apart two locations are: their exclusive or, as a number (Kademlia, section 2.1)."""
    return int.from_bytes(one, "big") ^ int.from_bytes(two, "big")


@dataclass(frozen=True, slots=True)
class Retention:
    """How a valid value is kept: beside others under its key in `slot`, until `until_us` (wall).

    `until_us` None: the value does not say; whoever puts it does.
    """

    slot: bytes
    until_us: int | None


@dataclass(frozen=True, slots=True)
class ContentType:
    """A type of content and its rules; the functions are pure and the same on every node.

    `validate(key, value, wall_us)`: the verdict; `merge(held, offered)`: which of two valid values
    of one slot stays; `retention(key, value)`: where and how long a valid value is kept.
    `value_bytes_max`: of one value; `slots_max`: values side by side under one key; `quota_bytes`:
    of this type held by one node for others. `kept_as`: rows of the database, or blocks of the
    library whose CID is the key. `life_us`: how long a value may be held at most after it was put.
    `contested`: of one slot, and honest holders may hold different values: several are asked, and
    a get gives every value, the one that most of them hold first. `taken_by`: what a node takes
    while its quota lasts: what few others are nearer to (rank); what lies within the radius that
    its quota leaves to it, whoever is nearer (radius), for types of one slot; or what is both.
    """

    name: str
    validate: Callable[[bytes, bytes, int], Verdict]
    merge: Callable[[bytes, bytes], bytes]
    retention: Callable[[bytes, bytes], Retention]
    value_bytes_max: int
    slots_max: int
    quota_bytes: int
    kept_as: Literal["rows", "blocks"] = "rows"
    life_us: int = HELD_LIFE_US
    contested: bool = False
    taken_by: Literal["rank", "radius", "both"] = "rank"

    @property
    def has_radius(self) -> bool:
        """Whether a quota that is full leaves a radius; otherwise it refuses what is farther."""
        return self.taken_by != "rank"


@dataclass(frozen=True, slots=True)
class Content:
    """A value of content type `type` under `key`, to be held until `until_us` (wall clock).

    `until_us` 0: as long as its type and HELD_LIFE_US allow.
    """

    type: str
    key: bytes
    value: bytes = field(repr=False)
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class PutContent:
    """Have `contents` held by the nodes nearest to each; at most PUT_CONTENTS_MAX of them.

    `patience_us`: after that the answer tells what was reached.
    """

    overlay: OverlayId
    contents: tuple[Content, ...]
    patience_us: int = PUT_PATIENCE_US


@dataclass(frozen=True, slots=True)
class Placed:
    """How many nodes hold each content now, this one included, in the order of the contents.

    `wanted`: how many are to hold it, that is HOLDERS_MIN or all nodes of a smaller overlay.
    """

    holders: tuple[int, ...]
    wanted: int


@dataclass(frozen=True, slots=True)
class GetContent:
    """Bring the values of `type` under `key`.

    A type of one slot is answered by the first valid value; of several slots, or contested, the
    values of several holders are joined. `after`: only slots after this one, to read on (see
    Got.more).
    """

    overlay: OverlayId
    type: str
    key: bytes
    after: bytes = b""
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class Got:
    """The valid `values`, in order of slot (contested: most holders first); none: not found.

    `more`: a holder has further slots: ask again with `after` = the last slot. `hops`: depth of the
    node that gave the first value (0: held here; 1: known at the start). `asked`: nodes asked.
    `holders`: of a contested type, how many nodes have each value.
    """

    values: tuple[bytes, ...] = field(repr=False)
    more: bytes | None
    hops: int
    asked: int
    holders: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FindNodes:
    """Find the nodes of `overlay` nearest to the location `target`."""

    overlay: OverlayId
    target: bytes
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class NodeAt:
    """A node and where it can be dialled (multiaddrs as text, without the peer id)."""

    peer: PeerId
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundNodes:
    """The nearest nodes that answered, nearest first; `hops` to the nearest; `asked` in all."""

    nodes: tuple[NodeAt, ...]
    hops: int
    asked: int


@dataclass(frozen=True, slots=True)
class AskNodes:
    """Put question `body` of `protocol` to each of `nodes`, connecting to them when need be.

    `enough`: after so many good answers the rest is not waited for (0: all are). `overlay`: where
    they are: a closed one's refusal is met by showing who this node is.
    """

    nodes: tuple[NodeAt, ...]
    protocol: str
    body: bytes = field(repr=False)
    enough: int = 0
    patience_us: int = GET_PATIENCE_US
    overlay: OverlayId | None = None


@dataclass(frozen=True, slots=True)
class AskNear:
    """The same to the `count` nodes of `overlay` nearest to the location `target`, not this one."""

    overlay: OverlayId
    target: bytes
    count: int
    protocol: str
    body: bytes = field(repr=False)
    enough: int = 0
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class JoinOverlay:
    """Take part in `overlay` from now on.

    `membrane`: who may be a member ("open": everybody whose key has cost the work); `proof`: this
    node's own, that it may, with the `certificate` of the node (encoded) by the member. `duty`: how
    many are to hold a key there. `secret`: known to members alone, who meet by it and show
    themselves to nobody else; `nodes`: members to begin with; `local`: only those of local networks
    may be members. A second call brings another proof.
    """

    overlay: OverlayId
    membrane: Any = "open"
    proof: bytes = field(default=b"", repr=False)
    duty: Duty = USUAL
    certificate: bytes = field(default=b"", repr=False)
    secret: bytes = field(default=b"", repr=False)
    nodes: tuple[NodeAt, ...] = ()
    local: bool = False


@dataclass(frozen=True, slots=True)
class RankNear:
    """How near this node is to each of `targets`."""

    overlay: OverlayId
    targets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rank:
    """Of a location: `nearer` live nodes are surely nearer than this one; `needed` are to hold it.

    `nearer` is not counted beyond what `keeps` asks; `needed` is as this node sees it.
    """

    nearer: int
    needed: int

    @property
    def holds(self) -> bool:
        """Whether this node is one of those that are to hold what lies there."""
        return self.nearer < self.needed

    @property
    def keeps(self) -> bool:
        """Whether it takes and keeps it, for tables of nodes differ a little."""
        return self.nearer < self.needed + HOLDERS_SLACK


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where this node lies (`at`), and the live nodes of its routing table, nearest to it first.

    Each with its location and its uptime, a share of one.
    """

    at: bytes
    nodes: tuple[tuple[NodeAt, bytes, float], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who answered what (bytes, or a Failure), nearest first.

    `near`: whether this node is itself among the `count` nearest. `members`: live nodes of the
    overlay that the lookup knows, this one not counted, at most `count`: with fewer than `count`
    these are all. `needed`: how many are to hold what lies there, as this node sees it; 0: not
    asked near a location.
    """

    answers: tuple[tuple[PeerId, Any], ...]
    near: bool = False
    members: int = 0
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Shun:
    """Ask none of `peers`, and nobody else of those before, for other machines in `overlay`."""

    overlay: OverlayId
    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class DropContent:
    """Hold no longer what this node holds of `type` under `key` (others keep what they have)."""

    overlay: OverlayId
    type: str
    key: bytes


@dataclass(frozen=True, slots=True)
class RadiusFigures:
    """Of a content type with a radius: the share of the whole space that is within it."""

    type: str
    quota_bytes: int
    share: float


@dataclass(frozen=True, slots=True)
class OverlayFigures:
    """How this node stands in an overlay.

    `member`: whether others may ask it; `nodes`: those of its routing table, nearest first;
    `held`: (type, values, bytes) held for the overlay; `neighbours`: how many of `nodes` are those
    with whom it holds what lies at its own location; `radii`: of the types that have one.
    """

    overlay: OverlayId
    member: bool
    nodes: tuple[NodeAt, ...]
    neighbours: int
    held: tuple[tuple[str, int, int], ...]
    radii: tuple[RadiusFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldBlocks:
    """Keep verified blocks for the overlay, until they are released."""

    blocks: tuple[tuple[Cid, bytes], ...] = field(repr=False)
