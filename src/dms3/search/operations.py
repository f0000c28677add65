"""What sharing and fetch ask of other local parts, and what commands ask of them.

Source: docs/architecture.md, "The machine" (Call). Plain values; nothing here travels to a peer
except `FoundHit` and `Found`, which are answers in both places.

| port and operation | arguments | answer |
|---|---|---|
| `sharing.share` | Share | Shared |
| `sharing.unshare` | Unshare | Unshared |
| `sharing.grants` | None | Grants |
| `sharing.search` | SearchPeers | PeersFound |
| `sharing.sources` | Sources | tuple of Source |
| `fetch.fetch` | Fetch | Fetched |
| `fetch.cancel` | Cid | True when there was a job |
| `fetch.block` | AwaitBlock | True as soon as the block is held |
| `fetch.jobs` | None | tuple of FetchProgress |
| `fetch.private` | tuple of Cid: what a grant led to | None; they are never asked for in public |
| `library.search` | LibrarySearch | Found |
| `library.block` | LibraryBlock | bytes, or Failure `not_found` when not in that space |
| `library.has` | tuple of Cid | tuple of bool |
| `library.load` | Cid | bytes, or None |
| `library.keep` | LibraryKeep | anything |
| `peers.contact_find` | the root in hex | something with that `root`, or a Failure |
| `peers.conduct` | Penalty | anything |

Every answer may be a Failure instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.core.limits import (
    FETCH_PATIENCE_US,
    HIT_SNIPPET_CHARS_MAX,
    HIT_TITLE_CHARS_MAX,
    KIND_CHARS_MAX,
    SEARCH_HITS_MAX,
    SEARCH_TIMEOUT_US,
)
from dms3.crypto.grant import READ, SEARCH

# sharing


@dataclass(frozen=True, slots=True)
class Share:
    """Let `reader`, whose devices are `peers`, use `space` (called `name`) until `until_us`.

    `until_us`: wall clock; None = until unshared.
    """

    space: SpaceId
    name: str
    reader: Root
    peers: tuple[PeerId, ...]
    rights: tuple[str, ...] = (READ, SEARCH)
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """The grant's serial; `fresh` is False when the same grant was already given."""

    serial: bytes
    until_us: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Unshare:
    """Take back every grant of `reader` on `space` (None: on every space)."""

    space: SpaceId | None
    reader: Root


@dataclass(frozen=True, slots=True)
class Unshared:
    """How many grants were taken back."""

    count: int


@dataclass(frozen=True, slots=True)
class GivenGrant:
    """A grant of mine. `delivered`: devices that have it; `refused`: why one refused, or ""."""

    space: SpaceId
    name: str
    reader: Root
    rights: tuple[str, ...]
    created_us: int
    until_us: int
    delivered: tuple[PeerId, ...]
    refused: str


@dataclass(frozen=True, slots=True)
class ReceivedGrant:
    """A grant to me; `peers` are the issuer's devices that offered it, `connected` those here."""

    space: SpaceId
    name: str
    issuer: Root
    rights: tuple[str, ...]
    created_us: int
    until_us: int
    peers: tuple[PeerId, ...]
    connected: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Grants:
    """All grants that are in date."""

    given: tuple[GivenGrant, ...]
    received: tuple[ReceivedGrant, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """Which connected peers let me read `space` (None: any space)?"""

    space: SpaceId | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A connected peer that lets me read `space`, with what it wants to see."""

    peer: PeerId
    space: SpaceId
    grant: bytes = field(repr=False)
    certificate: bytes = field(repr=False)


# search


@dataclass(frozen=True, slots=True)
class SearchPeers:
    """Search the spaces granted to me (or the one `space`) at connected peers.

    `timeout_us`: how long to wait for the slowest; late peers are reported as unreachable.
    """

    query: str
    limit: int
    kind: str | None = None
    where: tuple[str, ...] = ()
    space: SpaceId | None = None
    timeout_us: int = SEARCH_TIMEOUT_US


@dataclass(frozen=True, slots=True)
class FoundHit:
    """One document. `score`: millionths, higher is better; `cid`: its content."""

    cid: Cid
    title: str
    snippet: str
    kind: str
    score: int

    def __post_init__(self) -> None:
        if len(self.title) > HIT_TITLE_CHARS_MAX or len(self.snippet) > HIT_SNIPPET_CHARS_MAX:
            raise ValueError("a hit's text is too long")
        if len(self.kind) > KIND_CHARS_MAX:
            raise ValueError("a hit's kind is too long")


@dataclass(frozen=True, slots=True)
class Found:
    """The best hits, best first; `total` documents match; containers `opened` and `skipped`."""

    hits: tuple[FoundHit, ...]
    total: int
    opened: int
    skipped: int

    def __post_init__(self) -> None:
        if len(self.hits) > SEARCH_HITS_MAX:
            raise ValueError("too many hits in one answer")
        if min(self.total, self.opened, self.skipped) < 0:
            raise ValueError("a count is negative")


@dataclass(frozen=True, slots=True)
class PeerHit:
    """A hit with where it was found."""

    hit: FoundHit
    space: SpaceId
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Unreached:
    """A granted space that gave no answer; `code` of core/errors.py says why."""

    space: SpaceId
    name: str
    issuer: Root
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PeersFound:
    """Merged answers, best first; the same document at two peers appears once."""

    hits: tuple[PeerHit, ...]
    total: int
    opened: int
    skipped: int
    asked: int
    unreached: tuple[Unreached, ...]


@dataclass(frozen=True, slots=True)
class LibrarySearch:
    """Search one space of this node for a peer."""

    space: SpaceId
    query: str
    limit: int
    kind: str | None
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LibraryBlock:
    """The block `cid` if, and only if, it belongs to `space`."""

    space: SpaceId
    cid: Cid


# fetch


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring everything under `root` here, from peers that granted me `space` (None: any space).

    `patience_us`: give up when no new block has come for so long.
    """

    root: Cid
    space: SpaceId | None = None
    patience_us: int = FETCH_PATIENCE_US


@dataclass(frozen=True, slots=True)
class Fetched:
    """Everything under `root` is here; `blocks` and `size` (bytes) came from peers this time."""

    root: Cid
    blocks: int
    size: int


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """A running job: blocks and bytes so far; `total` bytes once the root is known, else 0."""

    root: Cid
    blocks: int
    size: int
    total: int


@dataclass(frozen=True, slots=True)
class AwaitBlock:
    """Answer when block `cid` of the running job `root` is held here."""

    root: Cid
    cid: Cid


@dataclass(frozen=True, slots=True)
class LibraryKeep:
    """Keep verified blocks of `root`; `complete`: with these, everything under it is here.

    `space`: the space they were granted through. Keeping a block twice changes nothing.
    """

    root: Cid
    space: SpaceId | None
    blocks: tuple[tuple[Cid, bytes], ...] = field(repr=False)
    complete: bool


@dataclass(frozen=True, slots=True)
class Penalty:
    """`peer` did what `code` names in the peer book's table of conduct."""

    peer: PeerId
    code: str


MALFORMED, FLOOD = "body_malformed", "requests_excess"
FORGED, WRONG_BLOCK = "proof_invalid", "content_invalid"
