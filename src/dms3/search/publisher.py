"""One public space on its way into the overlay: index, blocks, providers, and the manifest last.

Source: plan 0003, "Who holds what"; docs/publishing.md. A round goes through the stages in order;
its record is durable after every batch, so it goes on where it was after a crash. Part of machine
"publishing" (`search/publishing.py`), which starts rounds and answers commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    FETCH_PROGRESS_US,
    MANIFEST_LIFE_US_MAX,
    PUBLISH_BATCH_BYTES_MAX,
    PUBLISH_BATCHES_MAX,
    PUBLISH_LOOKS_CONNECTED_MIN,
    PUBLISH_LOOKS_MIN,
    PUBLISH_PAGE_BLOCKS_MAX,
    PUBLISH_RETRY_US_MAX,
    PUBLISH_WAIT_US,
    PUT_CONTENTS_MAX,
)
from dms3.core.machine import Call, Cancel, Delete, Effect, Notify, Now, Persist, Reply
from dms3.core.overlay import PUBLIC, Content, DropContent, OverlayFigures, Placed, PutContent
from dms3.crypto.signing import SigningKey
from dms3.search.manifest import VERSION, Manifest, sign_manifest
from dms3.search.openindex import CODEC
from dms3.search.operations_public import (
    BlockAt,
    BuildIndex,
    IndexBuilt,
    ListBlocks,
    ListRoots,
    Publication,
    RootAt,
    Unpublished,
)

SPACES = "spaces"
INDEX, BLOCKS, PROVIDERS, MANIFEST, DONE = "index", "blocks", "providers", "manifest", "done"
WITHDRAW, DROP = "withdraw", "drop"
ALONE = "no other node is there to hold it"
_BLOCK = "block"  # content type of dht/blocks.py

Issue = Callable[[Cid, int], Content | None]
"""The provider record of this node for a CID from a wall-clock instant on; None: unreachable."""


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


@dataclass(slots=True, eq=False)
class _Batch:
    """Contents put or dropped together; `cursor`: where the stage stands when it is done."""

    cursor: bytes
    blocks: tuple[BlockAt, ...] = ()
    contents: tuple[Content, ...] = field(default=(), repr=False)
    asked: bool = False
    done: bool = False
    open: int = 0  # answers still to come, of drops


@dataclass(frozen=True, slots=True)
class Maker:
    """What signs for a publisher: the person's `key`, this node's `peer`, provider records.

    `is_connected`: whether there is any connection.
    """

    key: SigningKey
    peer: PeerId
    issue: Issue
    is_connected: Callable[[], bool]


class Publisher:
    """The state of one public space; `number` makes its tokens unique."""

    def __init__(self, number: int, space: SpaceId, record: Record, maker: Maker) -> None:
        self.number = number
        self.space = space
        self.record = record
        self.pause_us = 0
        self.waiting = ""
        self.waiters: list[RequestId] = []  # of publish
        self.leavers: list[RequestId] = []  # of unpublish
        self._maker = maker
        self._tokens: dict[Token, _Batch | None] = {}
        self._batches: deque[_Batch] = deque()
        self._page: deque[BlockAt | RootAt] = deque()
        self._listed = False  # the last page of this stage has come
        self._reached = b""  # cursor of the last thing listed
        self._looked = False  # whether other nodes are there, in this stage
        self._attempts = 0
        self._alone = 0  # looks at which nobody was there
        self._noted_us = 0
        self._count = 0

    # what the machine asks

    @property
    def public(self) -> bool:
        """Whether others may have it."""
        return self.record.stage not in (WITHDRAW, DROP)

    @property
    def overlay(self) -> OverlayId:
        """Where it is put."""
        return OverlayId(self.record.overlay)

    @property
    def for_all(self) -> bool:
        """Whether anybody may have it, and not the members of one network."""
        return self.public and self.overlay == PUBLIC

    @property
    def working(self) -> bool:
        """Whether there is something to do."""
        return self.record.stage != DONE

    def shown(self) -> Publication:
        """For people."""
        one = self.record
        return Publication(
            space=self.space,
            name=one.name,
            stage=one.stage,
            waiting=self.waiting,
            documents=one.documents,
            bytes=one.size,
            blocks=one.blocks,
            block_bytes=one.block_bytes,
            providers=one.providers,
            least=one.least,
            wanted=one.wanted,
            nodes=one.nodes,
            index=one.index,
            since_us=one.manifest_us,
            overlay=self.overlay,
        )

    def begin(self, stage: str, *, since: int, now: Now) -> list[Effect]:
        """A new round from `stage` on, over documents with a row number above `since`."""
        effects = self._leave_stage()
        self.pause_us, self._attempts = 0, 0
        begun = replace(self.record, since=since, blocks=0, block_bytes=0, providers=0)
        if since == 0:
            begun = replace(begun, round_us=now.wall_us)
        self.record = replace(begun, least=0, wanted=0)
        return [*effects, *self._enter(stage)]

    def go_on(self, now: Now) -> list[Effect]:
        """Everything that can be asked now."""
        stage = self.record.stage
        if now.mono_us < self.pause_us:
            return []
        if stage in (BLOCKS, PROVIDERS, DROP) and self._looked:
            return self._fill(now)
        if self._tokens or stage == DONE:
            return []
        if stage == INDEX:
            return [self._call("published.build", BuildIndex(self.space, now.wall_us), "build")]
        if not self._looked:
            return [self._call("dht.figures", None, "look")]
        return self._put_manifest(now)

    # answers

    def take(self, token: Token, kind: str, body: Any, now: Now) -> list[Effect]:
        """The answer to a Call of ours."""
        if token not in self._tokens:
            return []
        batch = self._tokens.pop(token)
        if kind == "drop" and batch is not None:
            batch.open -= 1  # what could not be dropped now lapses by itself
            batch.done = batch.open == 0
            return self._advance(now)
        if isinstance(body, Failure):
            return self._failed(batch, kind, body, now)
        return self._go_further(batch, kind, body, now)

    def _go_further(self, batch: _Batch | None, kind: str, body: Any, now: Now) -> list[Effect]:
        if kind == "build":
            return self._built(body)
        if kind == "look":
            return self._counted_nodes(body, now)
        if kind == "page":
            return self._take_page(body)
        if kind == "manifest":
            return self._announced(body, now)
        if batch is not None:
            return self._loaded(batch, body) if kind == "load" else self._placed(batch, body, now)
        return [Delete(SPACES, self.space), Notify("publish.withdrawn", self._told())]  # forget

    def _failed(self, batch: _Batch | None, kind: str, failure: Failure, now: Now) -> list[Effect]:
        """Try again later; an index that cannot be built is told to whoever waits."""
        self._attempts += 1
        pause_us = min(PUBLISH_RETRY_US_MAX, PUBLISH_WAIT_US << min(self._attempts - 1, 16))
        self.pause_us = now.mono_us + pause_us
        self.waiting = failure.message
        if batch is not None:
            batch.asked = False
        if kind == "build" or self._attempts > 1:
            return self._answer(failure if kind == "build" else None)
        return []

    def _built(self, made: IndexBuilt) -> list[Effect]:
        built = made.built
        self.record = replace(
            self.record,
            through=made.number,
            mark=made.mark,
            index=built.root,
            documents=built.documents,
            size=built.size,
            terms=built.terms,
            kinds=built.kinds,
            filter=built.filter,
        )
        return self._enter(BLOCKS)

    def _counted_nodes(self, figures: tuple[OverlayFigures, ...], now: Now) -> list[Effect]:
        """Go on when somebody is there; else say so and look again."""
        nodes = next((len(each.nodes) for each in figures if each.overlay == self.overlay), 0)
        if nodes:
            self._looked, self.waiting, self._attempts, self._alone = True, "", 0, 0
            self.record = replace(self.record, nodes=max(nodes, self.record.nodes))
            return []
        self._alone += 1
        looks = PUBLISH_LOOKS_CONNECTED_MIN if self._maker.is_connected() else PUBLISH_LOOKS_MIN
        if self._alone < looks:  # a node that has just started knows nobody yet
            self.pause_us = now.mono_us + PUBLISH_WAIT_US // PUBLISH_LOOKS_MIN
            return []
        self.pause_us = now.mono_us + PUBLISH_WAIT_US
        if self.waiting == ALONE:
            return self._answer()
        self.waiting = ALONE
        return [Notify("publish.waiting", self._told()), *self._answer()]

    # batches

    def _fill(self, now: Now) -> list[Effect]:
        """Ask for the next page, load and put the next batches."""
        effects: list[Effect] = []
        if not self._page and not self._listed and not self._asked("page"):
            effects.append(self._list())
        while self._page and len(self._batches) < PUBLISH_BATCHES_MAX:
            self._batches.append(self._next_batch(now))
        for batch in self._batches:
            if not batch.asked and not batch.done:
                batch.asked = True
                effects += self._ask(batch)
        effects += self._advance(now)
        if not self._batches and self._listed:
            effects += self._next_stage()
        return effects

    def _list(self) -> Effect:
        self._reached = self._reached or self.record.cursor
        since, space = self.record.since, self.space
        if self.record.stage == PROVIDERS:
            after = max(since, int.from_bytes(self._reached, "big"))
            roots = ListRoots(space, after, PUT_CONTENTS_MAX)
            return self._call("published.roots", roots, "page")
        blocks = ListBlocks(space, since, self._reached, PUBLISH_PAGE_BLOCKS_MAX)
        return self._call("published.blocks", blocks, "page")

    def _take_page(self, rows: tuple[BlockAt | RootAt, ...]) -> list[Effect]:
        is_roots = self.record.stage == PROVIDERS
        limit = PUT_CONTENTS_MAX if is_roots else PUBLISH_PAGE_BLOCKS_MAX
        self._listed = len(rows) < limit
        self._page.extend(rows)
        if rows:
            last = rows[-1]
            self._reached = _cursor(last)
        return []

    def _next_batch(self, now: Now) -> _Batch:
        rows: list[BlockAt | RootAt] = []
        size = 0
        while self._page and len(rows) < PUT_CONTENTS_MAX:
            row = self._page[0]
            size += row.size if isinstance(row, BlockAt) else 0
            if rows and size > PUBLISH_BATCH_BYTES_MAX:
                break
            rows.append(self._page.popleft())
        blocks = tuple(row for row in rows if isinstance(row, BlockAt))
        issued = [self._maker.issue(row.cid, now.wall_us) for row in rows if not blocks]
        contents = tuple(content for content in issued if content is not None)
        return _Batch(_cursor(rows[-1]), blocks, contents)

    def _ask(self, batch: _Batch) -> list[Effect]:
        """The first question of a batch."""
        if self.record.stage == DROP:
            batch.open = len(batch.blocks)
            return [
                self._call(
                    "dht.drop", DropContent(self.overlay, _BLOCK, at.cid.binary), "drop", batch
                )
                for at in batch.blocks
            ]
        if batch.blocks:
            cids = tuple(at.cid for at in batch.blocks)
            return [self._call("published.load", cids, "load", batch)]
        if batch.contents:
            return [self._call("dht.put", PutContent(self.overlay, batch.contents), "put", batch)]
        batch.done = True  # this node cannot be reached: nobody could ask it
        return []

    def _loaded(self, batch: _Batch, blocks: tuple[bytes | None, ...]) -> list[Effect]:
        """What is no longer here was removed from the space meanwhile."""
        contents = tuple(
            Content(_BLOCK, at.cid.binary, block)
            for at, block in zip(batch.blocks, blocks, strict=True)
            if block is not None
        )
        if not contents:
            batch.done = True
            return []
        return [self._call("dht.put", PutContent(self.overlay, contents), "put", batch)]

    def _placed(self, batch: _Batch, placed: Placed, now: Now) -> list[Effect]:
        batch.done, self._attempts, self.waiting = True, 0, ""
        self._count_holders(placed)
        return self._advance(now)

    def _count_holders(self, placed: Placed) -> None:
        one = self.record
        least = min([*placed.holders, *([one.least] if one.wanted else [])], default=0)
        self.record = replace(one, least=least, wanted=max(one.wanted, placed.wanted))

    def _advance(self, now: Now) -> list[Effect]:
        """Note durably how far the stage is: behind every batch that is done, in order."""
        effects: list[Effect] = []
        while self._batches and self._batches[0].done:
            batch = self._batches.popleft()
            one = self.record
            self.record = replace(
                one,
                cursor=batch.cursor,
                blocks=one.blocks + len(batch.blocks),
                block_bytes=one.block_bytes + sum(at.size for at in batch.blocks),
                providers=one.providers + (0 if batch.blocks else len(batch.contents)),
            )
            effects = [self._persist()]
        if effects and now.mono_us >= self._noted_us + FETCH_PROGRESS_US:
            self._noted_us = now.mono_us
            effects.append(Notify("publish.progress", self._told()))
        return effects

    # stages

    def _next_stage(self) -> list[Effect]:
        stage = self.record.stage
        if stage == DROP:
            return [] if self._tokens else [self._call("published.forget", self.space, "forget")]
        serves = stage == BLOCKS and self.overlay == PUBLIC  # in a network its members hold it
        return self._enter(PROVIDERS if serves else MANIFEST)

    def _enter(self, stage: str) -> list[Effect]:
        looked = self._looked
        effects = self._leave_stage()
        self._looked = looked and stage not in (BLOCKS, WITHDRAW)
        if stage == DROP:
            self._looked = True  # that is done here, whether or not others are there
        self.record = replace(self.record, stage=stage, cursor=b"")
        return [*effects, self._persist()]

    def _leave_stage(self) -> list[Effect]:
        effects: list[Effect] = [Cancel(token) for token in self._tokens]
        self._tokens.clear()
        self._batches.clear()
        self._page.clear()
        self._listed, self._reached, self._looked = False, b"", False
        return effects

    def _put_manifest(self, now: Now) -> list[Effect]:
        one = self.record
        withdrawn = one.stage == WITHDRAW
        created_us = max(now.wall_us, one.manifest_us + 1)
        manifest = Manifest(
            v=VERSION,
            space=self.space,
            name="-" if withdrawn else one.name,
            root=self._maker.key.public,
            peer=self._maker.peer,
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
        content = sign_manifest(self._maker.key, manifest)
        self.record = replace(one, manifest_us=created_us)
        put = self._call("dht.put", PutContent(self.overlay, (content,)), "manifest")
        return [self._persist(), put]

    def _announced(self, placed: Placed, now: Now) -> list[Effect]:
        """The manifest is there, or that there is none any more."""
        if self.record.stage == WITHDRAW:
            told = max(0, max(placed.holders, default=0))
            return [*self._left(told), *self._enter(DROP)]
        self._count_holders(placed)
        effects = self._enter(DONE)
        self._noted_us = now.mono_us
        return [*effects, Notify("publish.done", self._told()), *self._answer()]

    # small parts

    def _left(self, told: int) -> list[Effect]:
        requests, self.leavers = self.leavers, []
        return [Reply(request, Unpublished(True, told)) for request in requests]

    def _answer(self, failure: Failure | None = None) -> list[Effect]:
        """To whoever waits for the end of the round, or for a reason why there is none yet."""
        requests, self.waiters = self.waiters, []
        body = self.shown() if failure is None else failure
        return [*(Reply(request, body) for request in requests), *self._left(0)]

    def _told(self) -> dict[str, Any]:
        """What an event says."""
        one = self.record
        return {
            "space": self.space.hex(),
            "name": one.name,
            "stage": one.stage,
            "documents": one.documents,
            "blocks": one.blocks,
            "bytes": one.block_bytes,
            "holders": one.least,
            "wanted": one.wanted,
        }

    def _persist(self) -> Effect:
        return Persist(SPACES, self.space, encode(self.record))

    def _asked(self, kind: str) -> bool:
        return any(token.split(":")[1] == kind for token in self._tokens)

    def _call(self, port: str, arguments: Any, kind: str, batch: _Batch | None = None) -> Effect:
        self._count += 1
        token = Token(f"{self.number}:{kind}:{self._count}")
        self._tokens[token] = batch
        return Call(port, arguments, token)


def _cursor(row: BlockAt | RootAt) -> bytes:
    return row.location if isinstance(row, BlockAt) else row.number.to_bytes(8, "big")
