"""How far the publication of a space is: what is durable, shown and signed of it.

Source: plan 0003, "Who holds what"; docs/publishing.md. Values only: what is done next is decided
in `search/publisher.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dms3.core.cid import Cid
from dms3.core.ids import OverlayId, PeerId, SpaceId
from dms3.core.limits import MANIFEST_LIFE_US_MAX
from dms3.core.overlay import PUBLIC, Placed
from dms3.search.manifest import VERSION, Manifest
from dms3.search.openindex import CODEC
from dms3.search.operations_public import IndexBuilt, Publication

SPACES = "spaces"
INDEX, BLOCKS, PROVIDERS, MANIFEST, DONE = "index", "blocks", "providers", "manifest", "done"
WITHDRAW, DROP = "withdraw", "drop"


@dataclass(frozen=True, slots=True)
class Record:
    """What is durable of a public space.

    `since`: the round covers documents with a row number above it; `through`: the row of the index
    it publishes, 0 before that is built; `cursor`: the location, or row number, up to which this
    stage is done. `round_us`: when a round over everything last began; `manifest_us`: date of the
    newest manifest, 0 without one. `overlay`: where it is put: the public one, or a network's.
    """

    v: int
    name: str
    stage: str
    since: int = 0
    through: int = 0
    cursor: bytes = b""
    mark: tuple[int, ...] = ()
    index: Cid | None = None
    documents: int = 0
    size: int = 0
    terms: int = 0
    kinds: tuple[str, ...] = ()
    filter: bytes = field(default=b"", repr=False)
    blocks: int = 0
    block_bytes: int = 0
    providers: int = 0
    least: int = 0
    wanted: int = 0
    nodes: int = 0
    round_us: int = 0
    manifest_us: int = 0
    overlay: bytes = PUBLIC

    @property
    def public(self) -> bool:
        """Whether others may have it."""
        return self.stage not in (WITHDRAW, DROP)

    def begun(self, since: int, wall_us: int) -> Record:
        """A new round, over documents with a row number above `since`."""
        begun = replace(self, since=since, blocks=0, block_bytes=0, providers=0, least=0, wanted=0)
        return replace(begun, round_us=wall_us) if since == 0 else begun

    def indexed(self, made: IndexBuilt) -> Record:
        """With the index that was built."""
        built = made.built
        return replace(
            self,
            through=made.number,
            mark=made.mark,
            index=built.root,
            documents=built.documents,
            size=built.size,
            terms=built.terms,
            kinds=built.kinds,
            filter=built.filter,
        )

    def held(self, placed: Placed) -> Record:
        """With the holders of what was put."""
        least = min([*placed.holders, *([self.least] if self.wanted else [])], default=0)
        return replace(self, least=least, wanted=max(self.wanted, placed.wanted))

    def shown(self, space: SpaceId, waiting: str) -> Publication:
        """For people; `waiting`: why it does not go on now."""
        return Publication(
            space=space,
            name=self.name,
            stage=self.stage,
            waiting=waiting,
            documents=self.documents,
            bytes=self.size,
            blocks=self.blocks,
            block_bytes=self.block_bytes,
            providers=self.providers,
            least=self.least,
            wanted=self.wanted,
            nodes=self.nodes,
            index=self.index,
            since_us=self.manifest_us,
            overlay=OverlayId(self.overlay),
        )

    def told(self, space: SpaceId) -> dict[str, Any]:
        """What an event says."""
        return {
            "space": space.hex(),
            "name": self.name,
            "stage": self.stage,
            "documents": self.documents,
            "blocks": self.blocks,
            "bytes": self.block_bytes,
            "holders": self.least,
            "wanted": self.wanted,
        }


def manifest_of(
    one: Record, space: SpaceId, root: bytes, peer: PeerId, created_us: int
) -> Manifest:
    """The manifest of `space` by `root`, at node `peer`, unsigned; one that withdraws says nothing.

    `created_us`: its date, wall clock; it holds for as long as a manifest may.
    """
    withdrawn = one.stage == WITHDRAW
    return Manifest(
        v=VERSION,
        space=space,
        name="-" if withdrawn else one.name,
        root=root,
        peer=peer,
        index=one.index or Cid.of(CODEC, b""),
        documents=0 if withdrawn else one.documents,
        size=0 if withdrawn else one.size,
        terms=0 if withdrawn else one.terms,
        kinds=() if withdrawn else one.kinds,
        filter=b"\x01\0" if withdrawn else one.filter,
        created_us=created_us,
        until_us=created_us + MANIFEST_LIFE_US_MAX,
        withdrawn=withdrawn,
        signature=b"",
    )
