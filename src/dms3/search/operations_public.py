"""What publishing and public search ask of other local parts, and what commands ask of them.

Source: docs/architecture.md, "Public spaces". Plain values; nothing here travels to a peer.

| port and operation | arguments | answer |
|---|---|---|
| `publishing.publish` | Publish | Publication, when it is done or has to wait for nodes |
| `publishing.unpublish` | the space | Unpublished |
| `publishing.spaces` | None | tuple of Publication |
| `fetch.in_network` | FoundIn | None |
| `publishing.changed` | None | None: look soon whether public spaces have changed |
| `publishing.listening` | tuple of multiaddrs as text: where this node can be reached | None |
| `public.search` | SearchPublic | PublicFound |
| `published.build` | BuildIndex | IndexBuilt |
| `published.marks` | tuple of spaces | tuple: of each a mark that changes with it, or None |
| `published.blocks` | ListBlocks | tuple of BlockAt |
| `published.roots` | ListRoots | tuple of RootAt |
| `published.load` | tuple of Cid | tuple of bytes or None |
| `published.block` | PublicBlock | bytes, or Failure `not_found` |
| `published.forget` | the space | anything: its open index is kept no longer |
| `published.rank` | RankOpened | Ranking of search/openrank.py |

Every answer may be a Failure instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.ids import OverlayId, PeerId, Root, SpaceId
from dms3.core.limits import PUBLIC_SEARCH_US_MAX
from dms3.core.overlay import PUBLIC
from dms3.search.condition import Condition
from dms3.search.indexing import Built
from dms3.search.openrank import Opened
from dms3.search.query import Query

# publishing


@dataclass(frozen=True, slots=True)
class Publish:
    """Put `space`, called `name`, into `overlay`: make it public, or that of a network."""

    space: SpaceId
    name: str
    overlay: OverlayId = PUBLIC


@dataclass(frozen=True, slots=True)
class Publication:
    """A public space and how far it is published.

    `stage`: index, blocks, providers, manifest or done; withdraw or drop once it is public no
    longer. `waiting`: why it cannot go on just now, or "". `blocks`, `block_bytes`: put by the
    present or last round; `least` nodes hold each of its parts, `wanted` were to. `since_us`: when
    its manifest was last put (wall clock), 0 never.
    """

    space: SpaceId
    name: str
    stage: str
    waiting: str
    documents: int
    bytes: int
    blocks: int
    block_bytes: int
    providers: int
    least: int
    wanted: int
    nodes: int
    index: Cid | None
    since_us: int
    overlay: OverlayId = PUBLIC


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Whether the space was public, and how many nodes were told by now."""

    was_public: bool
    told: int


@dataclass(frozen=True, slots=True)
class BuildIndex:
    """Build and keep the open index of `space`, in place of the one before."""

    space: SpaceId
    wall_us: int


@dataclass(frozen=True, slots=True)
class IndexBuilt:
    """The index; `number`: its row, above those of all documents in it; `mark`: of the space."""

    built: Built
    number: int
    mark: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ListBlocks:
    """Blocks of `space` behind location `after`, of documents with a row number > `since`."""

    space: SpaceId
    since: int
    after: bytes
    limit: int


@dataclass(frozen=True, slots=True)
class BlockAt:
    """A block, its location in the overlay, its bytes."""

    location: bytes
    cid: Cid
    size: int


@dataclass(frozen=True, slots=True)
class ListRoots:
    """Files and folders of `space` with row number > `since`."""

    space: SpaceId
    since: int
    limit: int


@dataclass(frozen=True, slots=True)
class RootAt:
    """A file or folder and its row number."""

    number: int
    cid: Cid


@dataclass(frozen=True, slots=True)
class PublicBlock:
    """The block `cid` if one of these public spaces has it, or the overlay has it held here."""

    spaces: tuple[SpaceId, ...]
    cid: Cid


# public search


@dataclass(frozen=True, slots=True)
class SearchPublic:
    """Search all spaces of `overlay`; `query` has been checked by whoever asks."""

    query: Query
    limit: int
    kind: str | None = None
    conditions: tuple[Condition, ...] = ()
    timeout_us: int = PUBLIC_SEARCH_US_MAX
    overlay: OverlayId = PUBLIC


@dataclass(frozen=True, slots=True)
class RankOpened:
    """Rank the documents of open indexes together."""

    spaces: tuple[Opened, ...] = field(repr=False)
    query: Query
    kind: str | None
    conditions: tuple[Condition, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class PublicHit:
    """A document of a public space; `score` in millionths, `marks` are made by whoever shows it."""

    cid: Cid
    title: str
    beginning: str = field(repr=False)
    kind: str
    score: int
    space: SpaceId
    name: str
    root: Root
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Missed:
    """A public space, or the directory, that gave no answer; `code` of core/errors.py says why."""

    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class FoundIn:
    """Contents that were found in a network (`fetch.in_network`): they are asked for only there."""

    overlay: OverlayId
    cids: tuple[Cid, ...]


@dataclass(frozen=True, slots=True)
class PublicFound:
    """Hits, best first; spaces `opened`, `skipped` because nothing in them can match, `missed`."""

    hits: tuple[PublicHit, ...]
    total: int
    opened: int
    skipped: int
    missed: tuple[Missed, ...]
