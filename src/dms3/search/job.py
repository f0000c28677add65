"""One fetch: a window of questions to suppliers, every block checked, kept, then followed.

Source: docs/wire.md, "/dms3/block/1"; docs/architecture.md, "Private by default". What nobody who
granted something has is asked for in public, unless it is known to be private
(`search/publicways.py`). Part of the machine in `search/fetch.py`, which starts and ends jobs,
answers commands and owns the record.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    FETCH_ASKED_BYTES_MAX,
    FETCH_BLOCK_TIMEOUT_US,
    FETCH_LOOK_BLOCKS_MAX,
    FETCH_WINDOW_BLOCKS_MAX,
    FETCH_WINDOW_BYTES_MAX,
    SECOND_US,
)
from dms3.core.machine import Call, Effect, Now, Reply, Request
from dms3.core.overlay import PUBLIC, Got
from dms3.crypto.grant import Proof
from dms3.search.messages import BLOCK_PROTOCOL, BlockQuestion
from dms3.search.operations import FetchProgress, LibraryKeep, Sources
from dms3.search.publicways import PublicWays
from dms3.search.suppliers import NOWHERE, OVERLAY, Key, Supplier, Suppliers, Verdict
from dms3.search.walk import Frontier, Want, named_in

LOOK, LOAD, ASK, KEEP, SOURCES, WAIT = "look", "load", "ask", "keep", "sources", "wait"
PROVIDERS, DIAL = "providers", "dial"


@dataclass(frozen=True, slots=True)
class _Flight:
    """A question under way."""

    want: Want
    supplier: Key


@dataclass(slots=True, eq=False)
class Job:
    """The state of one fetch; `number` makes its tokens unique.

    `patience_us`: the longest time without a new block; `resumed`: nobody waits for it, it goes
    on after a restart and is not given up at the first difficulty. `ways`: to ask in public, None
    when it must not be. `granted`: a block has come through a grant.
    """

    number: int
    root: Cid
    space: SpaceId | None
    patience_us: int
    resumed: bool
    last_block_us: int
    ways: PublicWays | None = None
    granted: bool = False
    callers: list[RequestId] = field(default_factory=list)
    waiting: dict[Cid, list[RequestId]] = field(default_factory=dict)  # readers of one block
    suppliers: Suppliers = field(default_factory=Suppliers)
    blocks: int = 0
    size: int = 0
    total: int = 0
    noted_us: int = 0
    complete: bool = False
    frontier: Frontier = field(init=False)
    _ready: list[Want] = field(default_factory=list)  # heap: missing here, to be asked for
    _flights: dict[Token, _Flight] = field(default_factory=dict)
    _lacking: dict[Cid, frozenset[Key]] = field(default_factory=dict)
    _looks: dict[Token, list[Want]] = field(default_factory=dict)
    _loads: dict[Token, Want] = field(default_factory=dict)
    _waits: dict[Token, Cid] = field(default_factory=dict)
    _fresh: list[tuple[Cid, bytes]] = field(default_factory=list, repr=False)  # not yet kept
    _keeping: LibraryKeep | None = None
    _moving: dict[Cid, None] = field(default_factory=dict)  # ready, asked for or not yet kept
    _asked_sources: bool = False
    _know_sources: bool = False
    _refresh_us: int = 0
    _named: list[Cid] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.frontier = Frontier(self.root)

    # Going on

    def join(self, request: RequestId, patience_us: int, now: Now) -> None:
        """One more caller, with fresh patience; it hears of failure as soon as there is no hope."""
        self.callers.append(request)
        self.resumed = False
        self.patience_us = patience_us
        self.last_block_us = now.mono_us

    def ask_sources(self, now: Now) -> list[Effect]:
        """Ask the sharing machine whom to ask."""
        if self._asked_sources:
            return []
        self._asked_sources = True
        self._lacking.clear()  # whoever lacked a block may have it by now
        self._refresh_us = now.mono_us + 2 * SECOND_US
        return [Call("sharing.sources", Sources(self.space), self._token(SOURCES))]

    def go_on(self, now: Now) -> list[Effect]:
        """Everything that can be asked now, of the library and of suppliers."""
        effects = self._look()
        if self.ways is not None:
            if not self.ways.begun and self._is_hopeless():
                effects += self.ways.begin(self._token(PROVIDERS), now)
            if self.ways.may_ask_overlay(now):
                self.suppliers.add_public(OVERLAY)
        while self._ready and self._has_room():
            effect = self._ask(now)
            if effect is None:
                break
            effects.append(effect)
        return effects + self._keep()

    def stuck(self) -> Failure | None:
        """Why this job cannot go on, as far as is known now; None while there is hope."""
        if self.resumed or not self._is_hopeless():
            return None
        if self.ways is not None and not self.ways.is_hopeless:
            return None
        want = self._ready[0]
        if self.ways is not None:
            return Failure(
                "content_unavailable",
                f"Nobody has block {want.cid} any more, neither a connected peer that lets you "
                "read it nor a node that holds public content. Try again when its owner is online.",
            )
        return Failure(
            "content_unavailable",
            f"No connected peer that lets you read it has block {want.cid}. "
            "Connect to its owner's node (`dms3 peer list`), or ask the owner to share the space.",
        )

    def _is_hopeless(self) -> bool:
        """Whether none of those known so far can have what is wanted next."""
        if self._flights or not self._ready:
            return False
        if self._asked_sources or not self._know_sources:
            return False
        lacking = self._lacking.get(self._ready[0].cid, frozenset())
        begun = self.blocks > 0  # then wait for a supplier that has gone, as long as patience lasts
        return self.suppliers.hopeless(lacking, begun=begun)

    def next_timer(self, now: Now) -> int:
        """When to look again: patience, a busy supplier, or new sources while starved."""
        due = [self.last_block_us + self.patience_us]
        if self._ready and not self._flights and not self._asked_sources:
            due.append(self._refresh_us)
        if self._ready:
            free_us = self.suppliers.next_free_us(now)
            if free_us is not None:
                due.append(free_us)
            if self.ways is not None and self.ways.overlay_from_us > now.mono_us:
                due.append(self.ways.overlay_from_us)
        return min(due)

    def starving(self, now: Now) -> bool:
        """Whether to ask for sources again."""
        return bool(self._ready) and not self._flights and now.mono_us >= self._refresh_us

    # Answers

    def take_sources(self, sources: Any, banned: dict[Any, None]) -> None:
        """The answer to `ask_sources`."""
        self._asked_sources = False
        if isinstance(sources, tuple):
            self._know_sources = True
            self.suppliers.update(sources, banned)

    def take_look(self, token: Token, body: Any) -> list[Effect]:
        """Which of the wants are here: leaves are done, inner nodes are loaded, others asked."""
        wants = self._looks.pop(token)
        if not isinstance(body, tuple) or len(body) != len(wants):
            raise _library_error(body)
        effects: list[Effect] = []
        for want, held in zip(wants, body, strict=True):
            if not held:
                heapq.heappush(self._ready, want)
            elif want.inner:
                load = self._token(LOAD)
                self._loads[load] = want
                effects.append(Call("library.load", want.cid, load))
            else:
                effects += self._arrived(want.cid)
        return effects

    def take_load(self, token: Token, body: Any) -> list[Effect]:
        """An inner node that was here already."""
        want = self._loads.pop(token)
        if body is None:
            heapq.heappush(self._ready, want)
            return []
        if not isinstance(body, bytes):
            raise _library_error(body)
        self._follow(want, body)
        return self._arrived(want.cid)

    def take_providers(self, body: Got | Failure, now: Now) -> list[Effect]:
        """Who serves the root: dial them."""
        if self.ways is None:
            return []
        nodes = self.ways.take(body, now)
        return [
            Call("transport.dial", self.ways.dial(node), self._token(f"{DIAL}:{index}"))
            for index, node in enumerate(nodes)
        ]

    def take_dial(self, index: int, body: Any, banned: dict[PeerId, None]) -> None:
        """A provider is connected, or cannot be reached."""
        if self.ways is None:
            return
        node = self.ways.dialed(index)
        if not isinstance(body, Failure) and node.peer not in banned:
            self.suppliers.add_public((node.peer, NOWHERE))

    def take_block(self, token: Token, body: bytes | Failure | Got, now: Now) -> Key | None:
        """A supplier's answer; the supplier when it sent a wrong block.

        Raises Dms3Error when a right block cannot be followed: then the content is at fault.
        """
        flight = self._flights.pop(token)
        want, key = flight.want, flight.supplier
        self.suppliers.released(key)
        if isinstance(body, Got):
            body = body.values[0] if body.values else _NOBODY
        if isinstance(body, Failure):
            if self.suppliers.failed(key, body, now) is Verdict.LACKS:
                self._lacking[want.cid] = self._lacking.get(want.cid, frozenset()) | {key}
            heapq.heappush(self._ready, want)
            return None
        if not want.cid.matches(body):
            heapq.heappush(self._ready, want)
            return key
        self.granted = self.granted or key[1] != NOWHERE
        if self.granted and self.ways is not None and not self.ways.begun:
            self.ways = None  # strangers have heard nothing of it, and will not
        self.suppliers.served(key)
        self._lacking.pop(want.cid, None)
        self.last_block_us = now.mono_us
        self.blocks += 1
        self.size += len(body)
        self._follow(want, body)
        self._fresh.append((want.cid, body))
        return None

    def take_kept(self, body: Any) -> list[Effect]:
        """The library has what it was given; readers of these blocks go on."""
        kept, self._keeping = self._keeping, None
        assert kept is not None, "nothing was being kept"
        if isinstance(body, Failure):
            raise _library_error(body)
        self.complete = kept.complete
        return [effect for cid, _ in kept.blocks for effect in self._arrived(cid)]

    def take_wait(self, token: Token, body: Any) -> list[Effect]:
        """Whether a block a reader asked for was here before."""
        cid = self._waits.pop(token)
        return self._wake(cid) if body == (True,) else []

    def wait_for(self, cid: Cid, request: RequestId) -> list[Effect]:
        """Answer `request` when block `cid` is here."""
        self.waiting.setdefault(cid, []).append(request)
        if cid in self._moving:
            return []  # it will be told when the block has been kept
        token = self._token(WAIT)
        self._waits[token] = cid
        return [Call("library.has", (cid,), token)]

    def forget(self, request: RequestId) -> bool:
        """Drop a reader or caller that no longer waits; whether it was one of this job's."""
        if request in self.callers:
            self.callers.remove(request)
            return True
        for cid, requests in list(self.waiting.items()):
            if request in requests:
                requests.remove(request)
                if not requests:
                    del self.waiting[cid]
                return True
        return False

    # Ends

    def progress(self) -> FetchProgress:
        """How far it is."""
        return FetchProgress(self.root, self.blocks, self.size, self.total)

    def tokens(self) -> list[Token]:
        """Everything under way, for Cancel."""
        public = [] if self.ways is None else self.ways.tokens()
        return [*self._flights, *self._looks, *self._loads, *self._waits, *public]

    def replies(self, body: Any) -> list[Effect]:
        """The end for everybody who waits."""
        readers = [request for requests in self.waiting.values() for request in requests]
        told = body if isinstance(body, Failure) else True
        effects: list[Effect] = [Reply(each, body) for each in self.callers]
        effects += [Reply(each, told) for each in readers]
        return effects

    # Small parts

    def _look(self) -> list[Effect]:
        """Ask the library about the next wants, one batch at a time."""
        if self._looks or self._loads or len(self._ready) >= FETCH_WINDOW_BLOCKS_MAX:
            return []
        wants: list[Want] = []
        while len(self.frontier) and len(wants) < FETCH_LOOK_BLOCKS_MAX:
            want = self.frontier.pop()
            if want.cid not in self._moving:
                self._moving[want.cid] = None
                wants.append(want)
        if not wants:
            return []
        token = self._token(LOOK)
        self._looks[token] = wants
        return [Call("library.has", tuple(want.cid for want in wants), token)]

    def _has_room(self) -> bool:
        unkept = [*self._fresh, *(self._keeping.blocks if self._keeping is not None else ())]
        asked = sum(flight.want.estimate for flight in self._flights.values())
        used = asked + sum(len(block) for _, block in unkept)
        blocks = len(self._flights) + len(unkept)
        estimate = self._ready[0].estimate
        if not blocks:
            return True
        return (
            blocks < FETCH_WINDOW_BLOCKS_MAX
            and used + estimate <= FETCH_WINDOW_BYTES_MAX
            and asked + estimate <= FETCH_ASKED_BYTES_MAX
        )

    def _ask(self, now: Now) -> Effect | None:
        want = self._ready[0]
        supplier = self.suppliers.choose(self._lacking.get(want.cid, frozenset()), now)
        if supplier is None:
            return None
        heapq.heappop(self._ready)
        token = self._token(ASK)
        self._flights[token] = _Flight(want, supplier.key)
        supplier.asked += 1
        return self._question(supplier, want.cid, token, now)

    def _question(self, supplier: Supplier, cid: Cid, token: Token, now: Now) -> Effect:
        """How a supplier is asked for a block."""
        if supplier.key[1] == NOWHERE and self.ways is not None:
            return self.ways.ask(supplier.key, cid, token, now)
        source = supplier.source
        proof = Proof(source.grant, source.certificate)
        body = encode(BlockQuestion(source.space, cid, proof))
        deadline_us = now.mono_us + FETCH_BLOCK_TIMEOUT_US
        return Request(source.peer, BLOCK_PROTOCOL, body, token, deadline_us)

    def _keep(self) -> list[Effect]:
        """Give the library what has come, one batch at a time, and say when it was the last."""
        if self._keeping is not None or self.complete:
            return []
        looking = self._looks or self._loads or len(self.frontier)
        last = not (looking or self._ready or self._flights)
        if not self._fresh and not last:
            return []
        self._keeping = LibraryKeep(self.root, self.space, tuple(self._fresh), complete=last)
        self._fresh = []
        return [Call("library.keep", self._keeping, self._token(KEEP))]

    def take_names(self) -> list[Cid]:
        """Files and folders that were named in folders since the last call."""
        named, self._named = self._named, []
        return named

    def _follow(self, want: Want, block: bytes) -> None:
        hidden = self.ways is not None and self.ways.overlay != PUBLIC
        if want.inner and (self.granted or hidden):
            self._named += named_in(block)
        below = self.frontier.follow(want, block) if want.inner else len(block)
        if not want.path:
            self.total = below

    def _arrived(self, cid: Cid) -> list[Effect]:
        self._moving.pop(cid, None)
        return self._wake(cid)

    def _wake(self, cid: Cid) -> list[Effect]:
        return [Reply(request, True) for request in self.waiting.pop(cid, [])]

    def _token(self, kind: str) -> Token:
        self._count += 1
        return Token(f"{self.number}:{kind}:{self._count}")


_NOBODY = Failure("not_found", "No node holds it for the overlay.")


def _library_error(body: Any) -> Dms3Error:
    if isinstance(body, Failure):
        return body.error()
    return Dms3Error("internal", "The library gave an answer of another form.")
