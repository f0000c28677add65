"""Machine "sharing": who may use my spaces, whose spaces I may use, and searching the latter.

Source: docs/architecture.md, "Private by default"; docs/wire.md, "Sharing"; docs/attacks.md. Puts
together the grant books, the outbox, the gate and the searches. Announces nothing to anybody who
has no grant. Fetching content is `search/fetch.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId, Root, SpaceId, Token
from dms3.core.limits import (
    CERTIFICATE_LIFE_US,
    FETCH_SOURCES_MAX,
    SEARCH_ASKED_MAX,
    SEARCHES_OPEN_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Effect,
    Entropy,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Requested,
    View,
    Withdrawn,
)
from dms3.crypto.certificate import issue_certificate
from dms3.crypto.grant import READ, SEARCH
from dms3.crypto.signing import SigningKey
from dms3.search import asking, delivery, offers, serving
from dms3.search.asking import Search
from dms3.search.gate import Gate
from dms3.search.giving import Giving
from dms3.search.grants import GivenBook, Received, ReceivedBook
from dms3.search.messages import BLOCK_PROTOCOL, GRANT_PROTOCOL, SEARCH_PROTOCOL
from dms3.search.operations import (
    MALFORMED,
    Grants,
    Penalty,
    ReceivedGrant,
    SearchPeers,
    Share,
    Source,
    Sources,
    Unshare,
)

NAME = "sharing"
PROTOCOLS = (GRANT_PROTOCOL, SEARCH_PROTOCOL, BLOCK_PROTOCOL)
_PENALTY_PREFIX = "penalise:"
NODE = "node"
_OFFERED_BY = b"peer"  # the node that has offered the grants given


class Sharing:
    """The machine; `operations.py` lists its operations.

    Arguments: `key`, the person's root key; `peer` and `device`, this node's peer id and its name
    for people; `entropy`, for serials.
    """

    def __init__(self, key: SigningKey, peer: PeerId, device: str, entropy: Entropy) -> None:
        self._key = key
        self._peer = peer
        self._device = device
        self._given = GivenBook()
        self._received = ReceivedBook()
        self._outbox = delivery.Outbox()
        self._giving = Giving(key, entropy, self._given, self._outbox)
        self._offers = offers.Offers(Root(key.public), self._received)
        self._serving = serving.Serving(Gate(Root(key.public), self._given))
        self._searches: dict[int, Search] = {}
        self._connected: dict[PeerId, None] = {}  # in order of connection
        self._count = 0
        self._certificate = b""
        self._certificate_old_us = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the tables; the outbox waits for its peers to connect."""
        self._given.load(view)
        self._received.load(view)
        self._outbox.load(view)
        effects = self._given.prune(now.wall_us) + self._received.prune(now.wall_us)
        return effects + self._offer_as(view, now)

    def _offer_as(self, view: View, now: Now) -> list[Effect]:
        """After a restoration this is another node than the one that delivered the grants."""
        if view.get(NODE, _OFFERED_BY) == self._peer or not list(self._given):
            return []
        return [self._offered(), *self._giving.offer_again(now)]

    def _offered(self) -> Effect:
        return Persist(NODE, _OFFERED_BY, self._peer)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, peers' questions, answers, connections."""
        if isinstance(event, Requested):
            return self._requested(event, now)
        if isinstance(event, Answered):
            return self._answered(event, now) + self._deliver(now)
        if isinstance(event, Called):
            return self._called(event, now) + self._deliver(now)
        if isinstance(event, Withdrawn):
            return self._withdrawn(event.request)
        if isinstance(event, PeerUp):
            self._connected[event.peer] = None
            self._outbox.peer_up(event.peer, now)
            return self._deliver(now)
        if isinstance(event, PeerDown):
            self._connected.pop(event.peer, None)
            self._outbox.peer_down(event.peer)
            self._serving.peer_down(event.peer)
            self._offers.peer_down(event.peer)
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Deliveries that are due, searches whose time is over."""
        effects = self._deliver(now)
        for number, search in list(self._searches.items()):
            if search.deadline_us <= now.mono_us:
                del self._searches[number]
                effects += [*search.expire(), search.reply()]
        return effects

    def next_timer(self) -> int | None:
        """The next delivery or the next deadline of a search."""
        due = [search.deadline_us for search in self._searches.values()]
        delivery_us = self._outbox.next_timer()
        if delivery_us is not None:
            due.append(delivery_us)
        return min(due) if due else None

    # Commands and other machines

    def _called(self, event: Called, now: Now) -> list[Effect]:
        try:
            if event.operation == "search":
                return self._search(event.arguments, event.request, now)
            body, effects = self._operation(event.operation)(event.arguments, now)
        except Dms3Error as error:
            return [Reply(event.request, Failure.of(error))]
        return [*effects, Reply(event.request, body)]

    def _operation(self, name: str) -> Callable[[Any, Now], tuple[Any, list[Effect]]]:
        operations: dict[str, Callable[[Any, Now], tuple[Any, list[Effect]]]] = {
            "share": self._share,
            "unshare": self._unshare,
            "grants": self._grants,
            "sources": self._sources,
        }
        if name not in operations:
            raise Dms3Error("method_unknown", f"sharing has no operation {name!r}.")
        return operations[name]

    def _share(self, share: Share, now: Now) -> tuple[Any, list[Effect]]:
        effects = self._given.prune(now.wall_us)
        try:
            shared, more = self._giving.share(share, now)
        except Dms3Error as error:
            return Failure.of(error), effects
        return shared, effects + ([self._offered()] if shared.fresh else []) + more

    def _unshare(self, unshare: Unshare, now: Now) -> tuple[Any, list[Effect]]:
        return self._giving.unshare(unshare, now)

    def _grants(self, _: None, now: Now) -> tuple[Any, list[Effect]]:
        rows = [
            ReceivedGrant(
                space=SpaceId(received.grant.space),
                name=received.record.name,
                issuer=Root(received.grant.issuer),
                rights=received.grant.rights,
                created_us=received.grant.created_us,
                until_us=received.grant.until_us,
                peers=tuple(PeerId(peer) for peer in received.record.peers),
                connected=tuple(self._here(received)),
            )
            for received in self._newest("", None, now)
        ]
        rows.sort(key=lambda row: (row.issuer, row.space, row.created_us))
        return Grants(self._giving.listed(now.wall_us), tuple(rows)), []

    def _sources(self, sources: Sources, now: Now) -> tuple[Any, list[Effect]]:
        """Connected devices of owners that let me read, newest grant of each space first."""
        certificate = self._own_certificate(now)
        found = [
            Source(peer, SpaceId(received.grant.space), received.record.grant, certificate)
            for received in self._usable(READ, sources.space, now)
            for peer in self._here(received)
        ]
        return tuple(found[:FETCH_SOURCES_MAX]), []

    def _search(self, question: SearchPeers, request: RequestId, now: Now) -> list[Effect]:
        try:
            deadline_us = asking.check_question(question, now)
        except ValueError as cause:
            raise Dms3Error("argument_invalid", f"This cannot be asked: {cause}.") from cause
        if len(self._searches) >= SEARCHES_OPEN_MAX:
            raise Dms3Error("limit_reached", f"{SEARCHES_OPEN_MAX} searches are under way.")
        newest = self._newest(SEARCH, question.space, now)
        parts = [(received, self._here(received)) for received in newest]
        self._count += 1
        search = Search(self._count, request, question, self._own_certificate(now), deadline_us)
        effects = search.start(parts[:SEARCH_ASKED_MAX])
        self._searches[search.number] = search
        return effects + self._ended(search)

    def _usable(self, right: str, space: SpaceId | None, now: Now) -> list[Received]:
        """Received grants in date, newest first; those that give `right` on `space`."""
        usable = [
            received
            for received in self._received
            if received.grant.until_us > now.wall_us
            and (not right or right in received.grant.rights)
            and (space is None or received.grant.space == space)
        ]
        return sorted(usable, key=lambda each: (-each.grant.created_us, each.grant.serial))

    def _newest(self, right: str, space: SpaceId | None, now: Now) -> list[Received]:
        """Of each space the newest usable grant: one that it replaces may not be withdrawn yet."""
        newest = {
            received.grant.issuer + received.grant.space: received
            for received in reversed(self._usable(right, space, now))
        }
        return list(newest.values())

    def _here(self, received: Received) -> list[PeerId]:
        """The connected devices that offered this grant, the latest first."""
        peers = reversed(received.record.peers)
        return [PeerId(peer) for peer in peers if PeerId(peer) in self._connected]

    # Peers

    def _requested(self, event: Requested, now: Now) -> list[Effect]:
        if event.protocol == GRANT_PROTOCOL:
            effects, penalty = self._offers.requested(event, now)
        else:
            effects, penalty = self._serving.requested(event, now)
        return effects if penalty is None else [*effects, self._penalise(penalty)]

    def _answered(self, event: Answered, now: Now) -> list[Effect]:
        token = event.token
        if token.startswith(serving.PREFIX):
            return self._serving.answered(token, event.body)
        if token.startswith(offers.PREFIX):
            return self._offers.answered(token, event.body, now)
        if token.startswith(delivery.PREFIX):
            return self._giving.delivered(token, event.body, now)
        if token.startswith(asking.PREFIX):
            return self._search_answered(token, event.body)
        return []  # the answer to a penalty says nothing

    def _search_answered(self, token: Token, body: bytes | Failure) -> list[Effect]:
        number, index = asking.search_of_token(token)
        search = self._searches.get(number)
        if search is None:
            return []
        effects, malformed = search.answered(index, body)
        if malformed is not None:
            effects.append(self._penalise(Penalty(malformed, MALFORMED)))
        return effects + self._ended(search)

    def _ended(self, search: Search) -> list[Effect]:
        if not search.done:
            return []
        del self._searches[search.number]
        return [search.reply()]

    def _withdrawn(self, request: RequestId) -> list[Effect]:
        for number, search in list(self._searches.items()):
            if search.request == request:
                del self._searches[number]
                return search.expire()
        return self._serving.withdrawn(request) + self._offers.withdrawn(request)

    def _deliver(self, now: Now) -> list[Effect]:
        due_us = self._outbox.next_timer()
        if due_us is None or due_us > now.mono_us:
            return []
        return self._outbox.send_due(self._own_certificate(now), now)

    def _penalise(self, penalty: Penalty) -> Effect:
        self._count += 1
        return Call("peers.conduct", penalty, Token(f"{_PENALTY_PREFIX}{self._count}"))

    def _own_certificate(self, now: Now) -> bytes:
        """This node's certificate, renewed when half its life is over or the clock went back."""
        age_us = now.wall_us - self._certificate_old_us
        if not self._certificate or not 0 <= age_us < CERTIFICATE_LIFE_US // 2:
            until_us = now.wall_us + CERTIFICATE_LIFE_US
            fresh = issue_certificate(self._key, self._peer, self._device, now.wall_us, until_us)
            self._certificate, self._certificate_old_us = encode(fresh), now.wall_us
        return self._certificate
