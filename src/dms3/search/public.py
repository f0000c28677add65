"""Machine "public": searches all public spaces without telling anybody what is looked for.

Source: plan 0003, "Who holds what"; docs/search.md; docs/attacks.md. Brings the manifests of all
public spaces here, keeps them, and asks the overlay for index blocks by their CIDs. Does the same
in each network of the person, whose manifests it does not keep. One search is
`search/publicsearch.py`; ranking runs behind the port "published".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.errors import Failure, Retry
from dms3.core.ids import OverlayId, PeerId, RequestId, Token
from dms3.core.limits import (
    DIRECTORY_GET_US,
    DIRECTORY_MISS_US,
    DIRECTORY_OLD_US,
    DIRECTORY_PAGES_MAX,
    DIRECTORY_WAIT_US_MAX,
    NETWORKS_MAX,
    PUBLIC_GETS_MAX,
    PUBLIC_ROWS_US_MIN,
    PUBLIC_SEARCH_US_MAX,
    PUBLIC_SEARCHES_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Effect,
    Entropy,
    Event,
    Now,
    Reply,
    View,
    Withdrawn,
)
from dms3.core.overlay import PUBLIC, GetContent, Got
from dms3.search.directory import Directory
from dms3.search.manifest import DIRECTORY
from dms3.search.manifest import NAME as MANIFEST
from dms3.search.openrank import Ranking
from dms3.search.operations_public import Missed, SearchPublic
from dms3.search.publicsearch import BlockCache, PublicSearch, waiting_blocks

NAME = "public"
_DIRECTORY, _BLOCK, _RANK = "directory", "block", "rank"
_BLOCK_TYPE = "block"  # content type of dht/blocks.py
_SALT_BYTES = 16
_OPENING = 0.8  # share of a search's time after which is ranked what is open by then


@dataclass(slots=True, eq=False)
class _Listing:
    """The manifests of one overlay.

    `brought_us`: when they came last (monotonic); `bringing`: the key of each get under way;
    `silent`: keys without an answer the last time.
    """

    overlay: OverlayId
    directory: Directory
    brought_us: int | None = None
    bringing: dict[Token, int] = field(default_factory=dict)
    silent: int = 0

    def kept(self, effects: list[Effect]) -> list[Effect]:
        """The writes of the directory, which only the public one makes."""
        return effects if self.overlay == PUBLIC else []


class Public:
    """The machine; `operations_public.py` lists its operations. It speaks no protocol of its own.

    Arguments: `peer`, this node's peer id; `entropy`, for an order that nobody can steer.
    """

    def __init__(self, peer: PeerId, entropy: Entropy) -> None:
        self._peer = peer
        self._listings: dict[OverlayId, _Listing] = {PUBLIC: _Listing(PUBLIC, Directory(peer))}
        self._salt = entropy.draw(_SALT_BYTES)
        self._cache = BlockCache()
        self._searches: dict[int, PublicSearch] = {}
        self._bringing: dict[Token, tuple[_Listing, int, int]] = {}  # with key and page
        self._gets: dict[Token, tuple[OverlayId, Cid]] = {}
        self._count = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the manifests that were known."""
        return self._listings[PUBLIC].directory.load(view, now.wall_us)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands and answers."""
        if isinstance(event, Called):
            return self._called(event, now)
        if isinstance(event, Answered):
            return self._answered(event, now)
        if isinstance(event, Withdrawn):
            self._searches = {
                number: search
                for number, search in self._searches.items()
                if search.request != event.request
            }
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Searches that wait for something no longer."""
        return self._go_on(now)

    def next_timer(self) -> int | None:
        """The next instant at which a search goes on with what it has."""
        due = [
            search.deadline_us if search.ranked else search.opening_until_us
            for search in self._searches.values()
            if search.begun
        ]
        waits = [self._wait_us(search) for search in self._searches.values() if not search.begun]
        return min([*due, *waits], default=None)

    # Commands

    def _called(self, event: Called, now: Now) -> list[Effect]:
        asked = event.arguments
        if event.operation != "search" or not isinstance(asked, SearchPublic):
            message = f"public has no operation {event.operation!r} of this form."
            return [Reply(event.request, Failure("method_unknown", message))]
        if not 0 < asked.timeout_us <= PUBLIC_SEARCH_US_MAX:
            message = "A public search takes up to 5 seconds."
            return [Reply(event.request, Failure("argument_invalid", message))]
        if len(self._searches) >= PUBLIC_SEARCHES_MAX:
            message = f"{PUBLIC_SEARCHES_MAX} public searches are under way."
            return [Reply(event.request, Failure("limit_reached", message, Retry.LATER))]
        return [*self._begin(asked, event.request, now), *self._go_on(now)]

    def _begin(self, asked: SearchPublic, request: RequestId, now: Now) -> list[Effect]:
        self._count += 1
        search = PublicSearch(
            number=self._count,
            request=request,
            question=asked,
            opening_until_us=now.mono_us + int(_OPENING * asked.timeout_us),
            deadline_us=now.mono_us + asked.timeout_us,
        )
        self._searches[search.number] = search
        listing = self._listing(asked.overlay)
        if self._is_old(listing, asked, now) and not listing.bringing:
            listing.silent = 0
            effects = listing.kept(listing.directory.prune(now.wall_us))
            keys = range(len(DIRECTORY))
            return effects + [self._bring(listing, number, 0, b"") for number in keys]
        return []

    def _listing(self, overlay: OverlayId) -> _Listing:
        """What is known of an overlay; of the least used network nothing any more."""
        listing = self._listings.get(overlay)
        if listing is None:
            if len(self._listings) > NETWORKS_MAX:
                idle = (key for key, each in self._listings.items() if not each.bringing)
                del self._listings[next(key for key in idle if key != PUBLIC)]
            listing = self._listings[overlay] = _Listing(overlay, Directory(self._peer))
        return listing

    def _is_old(self, listing: _Listing, asked: SearchPublic, now: Now) -> bool:
        """Whether to bring the manifests again; soon when none that is known can match.

        Somebody who looks for what was published this minute is not to be told that it is nowhere.
        """
        if listing.brought_us is None:
            return True
        known = listing.directory.choose(
            asked.query, asked.kind, asked.conditions, self._salt, now.wall_us
        )
        bound_us = DIRECTORY_OLD_US if known.manifests else DIRECTORY_MISS_US
        return now.mono_us - listing.brought_us > bound_us

    def _bring(self, listing: _Listing, number: int, page: int, after: bytes) -> Effect:
        """Ask for the manifests under one key, behind slot `after`."""
        token = self._token(_DIRECTORY)
        self._bringing[token] = (listing, number, page)
        listing.bringing[token] = number
        get = GetContent(listing.overlay, MANIFEST, DIRECTORY[number], after, DIRECTORY_GET_US)
        return Call("dht.get", get, token)

    # Answers

    def _answered(self, event: Answered, now: Now) -> list[Effect]:
        token, body = event.token, event.body
        effects: list[Effect] = []
        if token in self._bringing:
            effects = self._brought(token, body, now)
        elif token in self._gets:
            self._take_block(*self._gets.pop(token), body)
        else:
            search = self._searches.get(int(token.split(":")[1]))
            if search is None or search.ranking is not None:
                return []
            if not isinstance(body, Ranking):
                del self._searches[search.number]
                return [Reply(search.request, body)]
            search.take_ranking(body)
            search.deadline_us = max(search.deadline_us, now.mono_us + PUBLIC_ROWS_US_MIN)
        return effects + self._go_on(now)

    def _brought(self, token: Token, body: Got | Failure, now: Now) -> list[Effect]:
        listing, number, page = self._bringing.pop(token)
        del listing.bringing[token]
        effects: list[Effect] = []
        if isinstance(body, Failure):
            listing.silent += 1
        else:
            effects = listing.kept(listing.directory.take(body.values))
            if body.more is not None and page + 1 < DIRECTORY_PAGES_MAX:
                effects.append(self._bring(listing, number, page + 1, body.more))
        if not listing.bringing and listing.silent < len(DIRECTORY):
            listing.brought_us = now.mono_us
        return effects

    def _take_block(self, overlay: OverlayId, cid: Cid, body: Got | Failure) -> None:
        if isinstance(body, Got) and body.values:
            self._cache.put(cid, body.values[0])
            for search in self._searches.values():
                search.take(cid, body.values[0])
            return
        code = body.code if isinstance(body, Failure) else "content_unavailable"
        for search in self._searches.values():
            if search.question.overlay == overlay:
                search.lack(cid, code)

    # Searches

    def _go_on(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for search in list(self._searches.values()):
            effects += self._further(search, now)
        asked = set(self._gets.values())  # asked whether it contains, never iterated
        for overlay, cid in waiting_blocks(list(self._searches.values())):
            if len(self._gets) >= PUBLIC_GETS_MAX:
                break
            if (overlay, cid) not in asked:
                token = self._token(_BLOCK)
                self._gets[token] = (overlay, cid)
                get = GetContent(overlay, _BLOCK_TYPE, cid.binary, patience_us=PUBLIC_SEARCH_US_MAX)
                effects.append(Call("dht.get", get, token))
        return effects

    def _further(self, search: PublicSearch, now: Now) -> list[Effect]:
        """Take one search through every stage that needs nothing more from outside."""
        if not search.begun:
            if self._listing(search.question.overlay).bringing and now.mono_us < self._wait_us(
                search
            ):
                return []
            self._open(search, now)
        self._from_cache(search)
        if not search.ranked and (search.is_open or search.opening_until_us <= now.mono_us):
            question = search.stop_opening()
            return [Call("published.rank", question, Token(f"{_RANK}:{search.number}"))]
        if search.is_done or search.deadline_us <= now.mono_us:
            del self._searches[search.number]
            return [Reply(search.request, search.found())]
        return []

    def _open(self, search: PublicSearch, now: Now) -> None:
        asked = search.question
        listing = self._listing(asked.overlay)
        if listing.bringing or listing.silent:
            silent = max(listing.silent, len(set(listing.bringing.values())))
            message = (
                f"{silent} of {len(DIRECTORY)} parts of the list of public spaces did not come; "
                f"{len(listing.directory)} spaces known from before were looked at."
            )
            search.missed.append(Missed("public", "timed_out", message))
        search.begin(
            listing.directory.choose(
                asked.query, asked.kind, asked.conditions, self._salt, now.wall_us
            )
        )

    def _from_cache(self, search: PublicSearch) -> None:
        """Take what is kept; a root that is kept may want blocks that are kept, too."""
        while True:
            held = [(cid, self._cache.get(cid)) for cid in search.wanted()]
            some = [(cid, block) for cid, block in held if block is not None]
            if not some:
                return
            for cid, block in some:
                search.take(cid, block)

    def _wait_us(self, search: PublicSearch) -> int:
        """Until when a search waits for manifests; it has no later deadline before it is ranked."""
        begun_us = search.deadline_us - search.question.timeout_us
        return min(search.opening_until_us, begun_us + DIRECTORY_WAIT_US_MAX)

    def _token(self, kind: str) -> Token:
        self._count += 1
        return Token(f"{kind}:{self._count}")
