"""One search over public spaces: open what can match, block by block, rank together, show the best.

Source: plan 0003, "Who holds what"; docs/search.md. The query stays here: what leaves are content
identifiers of index blocks. A space whose index is missing, slow, huge or contradicts itself is
named and left out. Part of machine "public" (`search/public.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId, PeerId, RequestId, Root, SpaceId
from dms3.core.limits import (
    PUBLIC_CACHE_BYTES_MAX,
    PUBLIC_OPENED_MAX,
    PUBLIC_SEARCH_BYTES_MAX,
    PUBLIC_SPACE_BLOCKS_MAX,
)
from dms3.search.directory import Chosen
from dms3.search.manifest import Manifest
from dms3.search.openindex import Root as IndexRoot
from dms3.search.openindex import (
    Row,
    decode_root,
    decode_row,
    decode_rows,
    part_of_number,
)
from dms3.search.openrank import Best, Opened, Ranking, needed_parts
from dms3.search.operations_public import Missed, PublicFound, PublicHit, RankOpened, SearchPublic

_NO_BLOCK = "A block of its index was not found; its publisher may have gone."
_TOO_LATE = "Its index did not arrive in time."


class BlockCache:
    """Index blocks for the next search, the latest PUBLIC_CACHE_BYTES_MAX of them."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[Cid, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, cid: Cid) -> bytes | None:
        """The block, if it is kept."""
        block = self._blocks.get(cid)
        if block is not None:
            self._blocks.move_to_end(cid)
        return block

    def put(self, cid: Cid, block: bytes) -> None:
        """Keep a block."""
        if cid not in self._blocks:
            self._blocks[cid] = block
            self._bytes += len(block)
        while self._bytes > PUBLIC_CACHE_BYTES_MAX:
            self._bytes -= len(self._blocks.popitem(last=False)[1])


@dataclass(slots=True, eq=False)
class _Space:
    """A space that is being opened; `wanted`: blocks still to come."""

    manifest: Manifest
    wanted: dict[Cid, None]
    root: IndexRoot | None = None
    blocks: dict[Cid, bytes] = field(default_factory=dict, repr=False)
    missed: Missed | None = None


@dataclass(slots=True, eq=False)
class PublicSearch:
    """The state of one search. `opening_until_us`: then what is there is ranked; monotonic."""

    number: int
    request: RequestId
    question: SearchPublic
    opening_until_us: int
    deadline_us: int
    missed: list[Missed] = field(default_factory=list)
    skipped: int = 0
    ranking: Ranking | None = None
    ranked: bool = False  # the ranking has been asked for
    _spaces: list[_Space] = field(default_factory=list)
    _opened: list[_Space] = field(default_factory=list)
    _rows: dict[Cid, bytes] = field(default_factory=dict, repr=False)
    _rows_wanted: dict[Cid, None] = field(default_factory=dict)
    _bytes: int = 0
    begun: bool = False

    def begin(self, chosen: Chosen) -> None:
        """Open these spaces, as many as one search may."""
        self.begun = True
        self.skipped = chosen.skipped
        for manifest in chosen.manifests[:PUBLIC_OPENED_MAX]:
            self._spaces.append(_Space(manifest, {manifest.index: None}))
        more = len(chosen.manifests) - len(self._spaces)
        if more:
            message = f"{more} further public spaces may have it. Add a word that is rarer."
            self.missed.append(Missed("public", "limit_reached", message))

    def wanted(self) -> list[Cid]:
        """Blocks still to come, each once, in order."""
        found: dict[Cid, None] = {}
        for space in self._spaces:
            if space.missed is None and not self.ranked:
                found.update(space.wanted)
        return list(found | self._rows_wanted)

    def take(self, cid: Cid, block: bytes) -> None:
        """A block that was asked for has come."""
        self._bytes += len(block)
        if cid in self._rows_wanted:
            del self._rows_wanted[cid]
            self._rows[cid] = block
        for space in self._spaces:
            if space.missed is None and cid in space.wanted:
                del space.wanted[cid]
                self._take_for(space, cid, block)

    def lack(self, cid: Cid, code: str) -> None:
        """A block that was asked for cannot be had."""
        self._rows_wanted.pop(cid, None)
        for space in self._spaces:
            if cid in space.wanted:
                space.missed = space.missed or _missed(space.manifest, code, _NO_BLOCK)

    @property
    def is_open(self) -> bool:
        """Whether every space is open or has failed."""
        return all(space.missed is not None or not space.wanted for space in self._spaces)

    @property
    def is_done(self) -> bool:
        """Whether every row to be shown is here."""
        return self.ranking is not None and not self._rows_wanted

    def stop_opening(self) -> RankOpened:
        """The question to rank what is open; the others are late."""
        self.ranked = True
        for space in self._spaces:
            if space.wanted and space.missed is None:
                space.missed = _missed(space.manifest, "timed_out", _TOO_LATE)
        self._opened = [space for space in self._spaces if space.missed is None]
        return RankOpened(
            tuple(Opened(space.root, space.blocks) for space in self._opened if space.root),
            self.question.query,
            self.question.kind,
            self.question.conditions,
            self.question.limit,
        )

    def take_ranking(self, ranking: Ranking) -> None:
        """What is to be shown; faulty spaces are named."""
        self.ranking = ranking
        for index, reason in sorted(ranking.faults.items()):
            space = self._opened[index]
            message = f"Its index is faulty: {reason}."
            space.missed = _missed(space.manifest, "content_invalid", message)
        for best in ranking.best:
            part = self._part(best)
            if part is not None:
                self._rows_wanted[part] = None

    def found(self) -> PublicFound:
        """The answer, with what is here by now."""
        hits = [] if self.ranking is None else list(map(self._hit, self.ranking.best))
        missed = [space.missed for space in self._spaces if space.missed is not None]
        return PublicFound(
            hits=tuple(hit for hit in hits if hit is not None),
            total=0 if self.ranking is None else self.ranking.total,
            opened=len(self._spaces) - len(missed),
            skipped=self.skipped,
            missed=(*self.missed, *missed),
        )

    def _take_for(self, space: _Space, cid: Cid, block: bytes) -> None:
        space.blocks[cid] = block
        if self._bytes > PUBLIC_SEARCH_BYTES_MAX:
            message = "The blocks of this search are too many. Add a word that is rarer."
            space.missed = _missed(space.manifest, "limit_reached", message)
        if space.root is not None:
            return
        try:
            space.root = decode_root(block)
        except DecodeError as error:
            message = f"Its index is faulty: {error.reason}."
            space.missed = _missed(space.manifest, "content_invalid", message)
            return
        needed = needed_parts(space.root, self.question.query)
        space.wanted = {each: None for each in needed if each not in space.blocks}
        if len(space.wanted) > PUBLIC_SPACE_BLOCKS_MAX:
            message = f"These words need {len(space.wanted)} blocks of its index."
            space.missed = _missed(space.manifest, "limit_reached", message)

    def _part(self, best: Best) -> Cid | None:
        root = self._opened[best.space].root
        part = None if root is None else part_of_number(root.rows, best.number)
        return None if part is None else part.cid

    def _hit(self, best: Best) -> PublicHit | None:
        """The hit, or None (and its space is named) when its row cannot be shown."""
        space = self._opened[best.space]
        part = self._part(best)
        block = None if part is None else self._rows.get(part)
        if block is None:
            space.missed = space.missed or _missed(space.manifest, "timed_out", _TOO_LATE)
            return None
        try:
            row = _row(block, best.number)
        except DecodeError as error:
            message = f"Its index is faulty: {error.reason}."
            space.missed = _missed(space.manifest, "content_invalid", message)
            return None
        manifest = space.manifest
        return PublicHit(
            row.cid,
            row.title,
            row.beginning,
            best.kind,
            best.score,
            SpaceId(manifest.space),
            manifest.name,
            Root(manifest.root),
            PeerId(manifest.peer),
        )


def _row(block: bytes, number: int) -> Row:
    """The row of document `number`; raises DecodeError."""
    rows = decode_rows(block)
    if not 0 <= number - rows.first < len(rows.rows):
        raise DecodeError(0, f"it shows nothing of document {number}")
    return decode_row(rows.rows[number - rows.first])


def waiting_blocks(searches: Sequence[PublicSearch]) -> list[tuple[OverlayId, Cid]]:
    """What all searches wait for, and where, each once; the earliest search first."""
    found: dict[tuple[OverlayId, Cid], None] = {}
    for search in searches:
        found.update(dict.fromkeys((search.question.overlay, cid) for cid in search.wanted()))
    return list(found)


def _missed(manifest: Manifest, code: str, message: str) -> Missed:
    return Missed(manifest.name, code, message)
