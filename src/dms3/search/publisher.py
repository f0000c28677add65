"""One public space on its way into the overlay: index, blocks, providers, and the manifest last.

Source: plan 0003, "Who holds what"; docs/publishing.md. A round goes through the stages in order;
its record (`search/publication.py`) is durable after every batch (`search/batches.py`), so it goes
on where it was after a crash. Part of machine "publishing" (`search/publishing.py`), which starts
rounds and answers commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    FETCH_PROGRESS_US,
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
from dms3.search.batches import Batch, Batches, Issue
from dms3.search.manifest import sign_manifest
from dms3.search.operations_public import (
    BuildIndex,
    IndexBuilt,
    ListBlocks,
    ListRoots,
    Publication,
    Unpublished,
)
from dms3.search.publication import (
    BLOCKS,
    DONE,
    DROP,
    INDEX,
    MANIFEST,
    PROVIDERS,
    SPACES,
    WITHDRAW,
    Record,
    manifest_of,
)

ALONE = "no other node is there to hold it"
_BLOCK = "block"  # content type of dht/blocks.py


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
    """One public space: which stage it is at, and what that asks for; it serves nobody.

    `number` makes its tokens unique.
    """

    def __init__(self, number: int, space: SpaceId, record: Record, maker: Maker) -> None:
        self.number = number
        self.space = space
        self.record = record
        self.pause_us = 0
        self.waiting = ""
        self.waiters: list[RequestId] = []  # of publish
        self.leavers: list[RequestId] = []  # of unpublish
        self._maker = maker
        self._tokens: dict[Token, Batch | None] = {}
        self._batches = Batches(maker.issue)
        self._looked = False  # whether other nodes are there, in this stage
        self._attempts = 0
        self._alone = 0  # looks at which nobody was there
        self._noted_us = 0
        self._count = 0

    # what the machine asks

    @property
    def public(self) -> bool:
        """Whether others may have it."""
        return self.record.public

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
        return self.record.shown(self.space, self.waiting)

    def begin(self, stage: str, *, since: int, now: Now) -> list[Effect]:
        """A new round from `stage` on, over documents with a row number above `since`."""
        effects = self._leave_stage()
        self.pause_us, self._attempts = 0, 0
        self.record = self.record.begun(since, now.wall_us)
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

    def _go_further(self, batch: Batch | None, kind: str, body: Any, now: Now) -> list[Effect]:
        if kind == "build":
            return self._built(body)
        if kind == "look":
            return self._counted_nodes(body, now)
        if kind == "page":
            self._batches.take_page(body, self._page_rows())
            return []
        if kind == "manifest":
            return self._announced(body, now)
        if batch is not None:
            return self._loaded(batch, body) if kind == "load" else self._placed(batch, body, now)
        return [Delete(SPACES, self.space), self._tell("publish.withdrawn")]  # forget

    def _failed(self, batch: Batch | None, kind: str, failure: Failure, now: Now) -> list[Effect]:
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
        self.record = self.record.indexed(made)
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
        return [self._tell("publish.waiting"), *self._answer()]

    # batches

    def _fill(self, now: Now) -> list[Effect]:
        """Ask for the next page, load and put the next batches."""
        effects: list[Effect] = []
        if self._batches.hungry and not self._asked("page"):
            effects.append(self._list())
        for batch in self._batches.fill(now.wall_us):
            batch.asked = True
            effects += self._ask(batch)
        effects += self._advance(now)
        if self._batches.over:
            effects += self._next_stage()
        return effects

    def _list(self) -> Effect:
        since, space, most = self.record.since, self.space, self._page_rows()
        reached = self._batches.after(self.record.cursor)
        if self.record.stage == PROVIDERS:
            after = max(since, int.from_bytes(reached, "big"))
            return self._call("published.roots", ListRoots(space, after, most), "page")
        return self._call("published.blocks", ListBlocks(space, since, reached, most), "page")

    def _page_rows(self) -> int:
        return PUT_CONTENTS_MAX if self.record.stage == PROVIDERS else PUBLISH_PAGE_BLOCKS_MAX

    def _ask(self, batch: Batch) -> list[Effect]:
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

    def _loaded(self, batch: Batch, blocks: tuple[bytes | None, ...]) -> list[Effect]:
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

    def _placed(self, batch: Batch, placed: Placed, now: Now) -> list[Effect]:
        batch.done, self._attempts, self.waiting = True, 0, ""
        self.record = self.record.held(placed)
        return self._advance(now)

    def _advance(self, now: Now) -> list[Effect]:
        """Note durably how far the stage is: behind every batch that is done, in order."""
        effects: list[Effect] = []
        while batch := self._batches.pop_done():
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
            effects.append(self._tell("publish.progress"))
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
        self._looked = False
        return effects

    def _put_manifest(self, now: Now) -> list[Effect]:
        one, maker = self.record, self._maker
        created_us = max(now.wall_us, one.manifest_us + 1)
        manifest = manifest_of(one, self.space, maker.key.public, maker.peer, created_us)
        content = sign_manifest(maker.key, manifest)
        self.record = replace(one, manifest_us=created_us)
        put = self._call("dht.put", PutContent(self.overlay, (content,)), "manifest")
        return [self._persist(), put]

    def _announced(self, placed: Placed, now: Now) -> list[Effect]:
        """The manifest is there, or that there is none any more."""
        if self.record.stage == WITHDRAW:
            told = max(0, max(placed.holders, default=0))
            return [*self._left(told), *self._enter(DROP)]
        self.record = self.record.held(placed)
        effects = self._enter(DONE)
        self._noted_us = now.mono_us
        return [*effects, self._tell("publish.done"), *self._answer()]

    # small parts

    def _left(self, told: int) -> list[Effect]:
        requests, self.leavers = self.leavers, []
        return [Reply(request, Unpublished(True, told)) for request in requests]

    def _answer(self, failure: Failure | None = None) -> list[Effect]:
        """To whoever waits for the end of the round, or for a reason why there is none yet."""
        requests, self.waiters = self.waiters, []
        body = self.shown() if failure is None else failure
        return [*(Reply(request, body) for request in requests), *self._left(0)]

    def _tell(self, topic: str) -> Effect:
        return Notify(topic, self.record.told(self.space))

    def _persist(self) -> Effect:
        return Persist(SPACES, self.space, encode(self.record))

    def _asked(self, kind: str) -> bool:
        return any(token.split(":")[1] == kind for token in self._tokens)

    def _call(self, port: str, arguments: Any, kind: str, batch: Batch | None = None) -> Effect:
        self._count += 1
        token = Token(f"{self.number}:{kind}:{self._count}")
        self._tokens[token] = batch
        return Call(port, arguments, token)
