"""What other machines and commands ask of the dht: find, get, put, drop, figures.

Source: `core/overlay.py`, which lists the operations. A get looks here first, then asks; what it
finds it gives to near nodes that missed it. Every request is answered once, unless withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, Token, short
from dms3.core.limits import (
    DHT_ITEMS_MAX,
    DHT_KEY_BYTES_MAX,
    DHT_PUT_BYTES_MAX,
    MEND_LIFE_US,
    PUT_CONTENTS_MAX,
)
from dms3.core.machine import Call, Cancel, Effect, Now, Reply
from dms3.core.overlay import (
    HOLDERS_MIN,
    LOCATION_BYTES,
    Content,
    ContentType,
    DropContent,
    FindNodes,
    FoundNodes,
    GetContent,
    Got,
    Neighbours,
    OverlayFigures,
    Placed,
    PutContent,
    RankNear,
)
from dms3.core.verdict import Valid
from dms3.dht.gathering import Fetched, Gathering
from dms3.dht.holding import Holding, mark_of
from dms3.dht.lookup import Nearest
from dms3.dht.lookups import Lookups
from dms3.dht.messages import Get, PutValue
from dms3.dht.placing import Parcel, Placing
from dms3.dht.presence import Standing, node_location
from dms3.dht.routing import Table
from dms3.dht.shares import Shares
from dms3.dht.taking import Taking
from dms3.dht.upkeep import Upkeep

GET = "get:"


@dataclass(frozen=True, slots=True)
class Parts:
    """What commands are carried out with; `own` is this node."""

    own: PeerId
    tables: Mapping[OverlayId, Table]
    standing: Standing
    lookups: Lookups
    holding: Holding
    taking: Taking
    placing: Placing
    upkeep: Upkeep
    shares: Shares


class Commands:
    """The operations, by name in `operations`: (arguments, request, now) -> effects."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._puts: dict[RequestId, int] = {}  # -> number of the put
        self._finds: dict[RequestId, None] = {}  # lookups belong to the request's owner number
        self._loads: dict[Token, tuple[RequestId, GetContent, ContentType]] = {}
        self.operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "find": self._find,
            "get": self._get,
            "put": self._put,
            "drop": self._drop,
            "listening": self._listening,
            "figures": self._figures,
            "rank": self._rank,
            "neighbours": self._neighbours,
            "holds": self._holds,
        }

    @property
    def open(self) -> int:
        """Requests that were not answered yet."""
        return len(self._puts) + len(self._finds) + len(self._loads)

    def called(self, operation: str, arguments: Any, request: RequestId, now: Now) -> list[Effect]:
        """Carry out `operation`; what cannot be done is answered with a Failure."""
        method = self.operations.get(operation)
        if method is None:
            why = f"The dht has no {operation!r}."
            return [Reply(request, Failure("method_unknown", why))]
        try:
            return method(arguments, request, now)
        except Dms3Error as error:
            return [Reply(request, Failure.of(error))]

    def loaded(self, token: Token, body: Any, now: Now) -> list[Effect]:
        """The library's answer to a block that a get asked for."""
        found = self._loads.pop(token, None)
        if found is None:
            return []
        request, get, kind = found
        if isinstance(body, bytes):
            return [Reply(request, Got((body,), None, 0, 0))]
        return self._look(get, kind, request, now)

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """Nobody waits for `request` any more: its work ends."""
        if request in self._puts:
            self._parts.placing.cancel(self._puts.pop(request))
        effects: list[Effect] = []
        token = Token(f"{GET}{request}")
        if self._loads.pop(token, None) is not None:
            effects.append(Cancel(token))
        if request in self._finds:
            del self._finds[request]
            effects += self._parts.lookups.drop(_owner(request))
        return effects

    # Finding

    def _find(self, find: FindNodes, request: RequestId, now: Now) -> list[Effect]:
        self._table(find.overlay)
        if len(find.target) != LOCATION_BYTES:
            raise Dms3Error("argument_invalid", f"A location has {LOCATION_BYTES} bytes.")

        def found(near: Nearest, _: Now) -> list[Effect]:
            del self._finds[request]
            return [Reply(request, FoundNodes(near.nodes, near.hops, near.asked))]

        self._finds[request] = None
        return self._parts.lookups.nearest(
            find.overlay,
            find.target,
            now,
            found,
            patience_us=find.patience_us,
            owner=_owner(request),
        )

    def _get(self, get: GetContent, request: RequestId, now: Now) -> list[Effect]:
        self._table(get.overlay)
        kind = self._kind(get.type)
        if not 0 < len(get.key) <= DHT_KEY_BYTES_MAX or len(get.after) > DHT_KEY_BYTES_MAX:
            raise Dms3Error("argument_invalid", f"A key has 1 to {DHT_KEY_BYTES_MAX} bytes.")
        holding = self._parts.holding
        if kind.kept_as == "blocks" and holding.has(get.overlay, kind, get.key, now):
            token = Token(f"{GET}{request}")
            self._loads[token] = (request, get, kind)
            return [Call("library.load", Cid(get.key), token)]
        return self._look(get, kind, request, now)

    def _look(
        self, get: GetContent, kind: ContentType, request: RequestId, now: Now
    ) -> list[Effect]:
        """Bring the values from others, beside those held here."""
        gathering = Gathering(kind, Get(get.type, get.key, get.after))
        if kind.kept_as == "rows":
            held, more = self._parts.holding.values(get.overlay, kind, get.key, get.after, now)
            if held and kind.slots_max == 1 and not kind.contested:
                return [Reply(request, Got(held, None, 0, 0))]
            gathering.take(self._parts.own, 0, held, more=more, wall_us=now.wall_us)

        def fetched(found: Fetched, at: Now) -> list[Effect]:
            del self._finds[request]
            values = tuple(value for _, value in found.values)
            asked = found.nearest.asked
            got = Got(values, found.more, found.hops, asked, found.holders)
            return [Reply(request, got), *self._mend(get, kind, found, at)]

        self._finds[request] = None
        return self._parts.lookups.values(
            get.overlay,
            gathering,
            now,
            fetched,
            patience_us=get.patience_us,
            owner=_owner(request),
        )

    def _mend(self, get: GetContent, kind: ContentType, found: Fetched, now: Now) -> list[Effect]:
        """Give what was found to near nodes that hold nothing, as much as one question takes."""
        puts: list[PutValue] = []
        size = 0
        for _, value in found.values[:DHT_ITEMS_MAX]:
            size += len(value)
            if size > DHT_PUT_BYTES_MAX:
                break
            until_us = kind.retention(get.key, value).until_us or now.wall_us + MEND_LIFE_US
            puts.append(PutValue(get.type, get.key, value, until_us))
        if not puts or not found.without:
            return []
        return self._parts.upkeep.mend(get.overlay, puts, found.without, now)

    # Putting

    def _put(self, put: PutContent, request: RequestId, now: Now) -> list[Effect]:
        self._table(put.overlay)
        if len(put.contents) > PUT_CONTENTS_MAX:
            why = f"At most {PUT_CONTENTS_MAX} contents are put at once."
            raise Dms3Error("argument_invalid", why)
        parcels = self._parcels(put.contents, now)
        if self._parts.placing.full:
            raise Dms3Error("limit_reached", "Too many puts are under way; try again later.")
        told: list[Placed] = []

        def placed(result: Placed, _: Now) -> list[Effect]:
            told.append(result)
            self._puts.pop(request, None)
            return [Reply(request, result)]

        deadline_us = now.mono_us + put.patience_us
        number, effects = self._parts.placing.put(put.overlay, parcels, deadline_us, now, placed)
        if not told:
            self._puts[request] = number
        return effects

    def _parcels(self, contents: Sequence[Content], now: Now) -> list[Parcel]:
        """What to place; raises `content_invalid` for a value that no node would hold."""
        parcels: list[Parcel] = []
        for content in contents:
            kind = self._kind(content.type)
            fits = len(content.value) <= kind.value_bytes_max
            verdict = kind.validate(content.key, content.value, now.wall_us) if fits else None
            if not isinstance(verdict, Valid):
                why = f"This is no {content.type} for key {short(content.key)}: {verdict}."
                raise Dms3Error("content_invalid", why)
            mark = mark_of(content.value)
            parcel = Parcel(content.type, content.key, mark, content.value, content.until_us)
            parcels.append(parcel)
        return parcels

    def _drop(self, drop: DropContent, request: RequestId, _: Now) -> list[Effect]:
        self._table(drop.overlay)
        count, effects = self._parts.taking.drop(drop.overlay, drop.type, drop.key)
        return [*effects, Reply(request, count)]

    # Standing

    def _listening(self, addresses: Sequence[str], request: RequestId, _: Now) -> list[Effect]:
        self._parts.standing.listening(addresses)
        return [Reply(request, None)]

    def _figures(self, _: Any, request: RequestId, __: Now) -> list[Effect]:
        parts = self._parts
        figures = []
        for overlay, table in parts.tables.items():
            nodes = tuple(table.nearest(node_location(parts.own), len(table)))
            beside = min(HOLDERS_MIN - 1, len(nodes))
            held = parts.holding.figures(overlay)
            member = parts.standing.is_member
            radii = parts.holding.radius_figures(overlay)
            figures.append(OverlayFigures(overlay, member, nodes, beside, held, radii))
        return [Reply(request, tuple(figures))]

    def _rank(self, asked: RankNear, request: RequestId, _: Now) -> list[Effect]:
        self._table(asked.overlay)
        shares = self._parts.shares
        return [
            Reply(request, tuple(shares.rank(asked.overlay, target) for target in asked.targets))
        ]

    def _holds(self, asked: GetContent, request: RequestId, now: Now) -> list[Effect]:
        """Whether anything is held here for that overlay under that key."""
        held = self._parts.holding.has(asked.overlay, self._kind(asked.type), asked.key, now)
        return [Reply(request, held)]

    def _neighbours(self, overlay: OverlayId, request: RequestId, _: Now) -> list[Effect]:
        at = node_location(self._parts.own)
        live = self._table(overlay).live(at)
        shares = self._parts.shares
        nodes = tuple(
            (node, place.to_bytes(LOCATION_BYTES, "big"), shares.of(node.peer))
            for node, place in live
            if shares.counts(overlay, node.peer)
        )
        return [Reply(request, Neighbours(at, nodes))]

    # Small parts

    def _table(self, overlay: OverlayId) -> Table:
        table = self._parts.tables.get(overlay)
        if table is None:
            raise Dms3Error("not_found", f"This node is not in overlay {short(overlay)}.")
        return table

    def _kind(self, name: str) -> ContentType:
        kind = self._parts.holding.type_of(name)
        if kind is None:
            raise Dms3Error("argument_invalid", f"There is no content type {name!r}.")
        return kind


def _owner(request: RequestId) -> int:
    """The number under which lookups of `request` are dropped; 0 is nobody's."""
    return request + 1
