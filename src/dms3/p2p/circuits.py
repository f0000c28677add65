"""Whether this node can be reached, and what follows: places at hops, or being one; "circuits".

Source: libp2p circuit relay v2 specification; docs/wire.md, "Circuits". A node can be reached as
far away as somebody has dialled it from. When nobody came from as far as its furthest connection,
it asks up to HOPS_MAX of the nodes there that are hops for a place, renews it, and is dialled
through them (node/reachable.py says so to the others). A node that can be reached is a hop itself.
Where there is a circuit, a direct way is tried now and then.

Operations: listening(tuple of multiaddrs as text) -> None · spoken(Spoken) -> None · standing() ->
Standing. Topics: none. Nothing is kept over a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.limits import (
    HOP_ADDRESSES_MAX,
    HOP_RETRY_US,
    HOPS_KEPT_MAX,
    HOPS_MAX,
    REACHED_WAIT_US,
    RESERVATION_US_MAX,
    RESERVATION_US_MIN,
    STRAIGHTEN_US_MAX,
    STRAIGHTEN_US_MIN,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Effect,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Reply,
    View,
)
from dms3.libp2p.circuit import HOP_PROTOCOL
from dms3.libp2p.multiaddr import Multiaddr
from dms3.p2p.port import DialRequest, Reserved, Spoken
from dms3.p2p.reach import Reach, reach_of, reach_of_text

NAME = "circuits"
_DOUBLINGS_MAX = 16


@dataclass(frozen=True, slots=True)
class Standing:
    """How this node stands: `reached`: somebody came from as far as it is connected.

    `hop`: it passes circuits on; `hops`: where it has a place; `addresses`: of circuits to it.
    `needs`: it is connected, cannot be reached, and looks for a hop.
    """

    reached: bool
    hop: bool
    hops: tuple[PeerId, ...]
    addresses: tuple[str, ...]
    needs: bool


@dataclass(slots=True)
class _Up:
    """A connected peer; `reach` is None of one behind a hop."""

    since_us: int
    reach: Reach | None
    inbound: bool
    hop: bool = False  # it says that it is one
    direct: tuple[str, ...] = ()  # of one behind a hop: where it may be dialled all the same
    tries: int = 0
    try_us: int | None = None  # when; None: not, or it is under way


@dataclass(slots=True)
class _Place:
    """A place at a hop, or a question for one: `addresses` are empty until it is had."""

    addresses: tuple[str, ...] = ()
    renew_us: int | None = None  # None while a question is under way


class CircuitBook:
    """The machine. `offers`: whether to be a hop for others when this node can be reached."""

    def __init__(self, *, offers: bool) -> None:
        self._offers = offers
        self._up: dict[PeerId, _Up] = {}
        self._own: tuple[str, ...] | None = None  # where it listens, once that is known
        self._hosts: frozenset[bytes] = frozenset()
        self._behind = False  # peers see another address than one of its own
        self._came: Reach | None = None  # the furthest from which somebody came
        self._since_us = 0  # when it first was connected as far as it is now
        self._furthest: Reach | None = None
        self._places: dict[PeerId, _Place] = {}
        self._refused: dict[PeerId, int] = {}  # not asked again until then
        self._is_hop = False
        self._told: tuple[str, ...] = ()
        self._timer: int | None = None
        self._count = 0
        self._operations: dict[str, Callable[[Any, RequestId, Now], Any]] = {
            "listening": self._listening,
            "spoken": self._spoken,
            "standing": self._standing,
        }

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Nothing is known before somebody is connected."""
        del view, now
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """See the operations in the module docstring."""
        effects: list[Effect] = []
        match event:
            case Called(operation, arguments, request):
                effects = self._on_called(operation, arguments, request, now)
            case Answered(token, body):
                self._on_answered(token, body, now)
            case PeerUp(peer, address, inbound):
                self._on_up(peer, address, now, inbound=inbound)
            case PeerDown(peer, _):
                self._up.pop(peer, None)
                self._places.pop(peer, None)
        return [*effects, *self._decide(now)]

    def on_timer(self, now: Now) -> list[Effect]:
        """A wait is over, or a place is to be renewed."""
        return self._decide(now)

    def next_timer(self) -> int | None:
        """When that is."""
        return self._timer

    # What happens

    def _on_called(
        self, operation: str, arguments: Any, request: RequestId, now: Now
    ) -> list[Effect]:
        method = self._operations.get(operation)
        if method is None:
            why = f"Circuits have no {operation!r}."
            return [Reply(request, Failure("method_unknown", why))]
        try:
            return [Reply(request, method(arguments, request, now))]
        except Dms3Error as error:
            return [Reply(request, Failure.of(error))]

    def _listening(self, addresses: tuple[str, ...], _request: RequestId, _now: Now) -> None:
        """The node is at these addresses; in another network nobody has come yet."""
        places = [place for place in map(_parsed, addresses) if place is not None]
        direct = tuple(str(one) for one in places if one.tcp_endpoint is not None)
        if self._own is not None and direct != self._own:
            self._came, self._furthest, self._behind = None, None, False
        self._own = direct
        self._hosts = frozenset(_host(one) for one in places if one.tcp_endpoint is not None)

    def _spoken(self, spoken: Spoken, _request: RequestId, _now: Now) -> None:
        """A connected peer says what it speaks, and under which address it sees this node."""
        up = self._up.get(spoken.peer)
        if up is None:
            return
        up.hop = HOP_PROTOCOL in spoken.protocols
        if up.reach is None:
            up.direct = spoken.direct
            if up.direct and not up.tries and up.try_us is None:
                up.try_us = up.since_us + STRAIGHTEN_US_MIN
        seen = _parsed(spoken.observed)
        far = None if seen is None else reach_of(seen)
        if seen is not None and far is Reach.EVERYWHERE and up.reach is far and not up.inbound:
            self._behind = _host(seen) not in self._hosts

    def _on_up(self, peer: PeerId, address: str, now: Now, *, inbound: bool) -> None:
        place = _parsed(address)
        circuit = place is not None and place.circuit is not None
        reach = None if circuit else reach_of_text(address)
        self._up[peer] = _Up(now.mono_us, reach, inbound)
        self._places.pop(peer, None)  # of a connection that was replaced
        if inbound and reach is not None and (self._came is None or reach > self._came):
            self._came = reach

    def _on_answered(self, token: Token, body: Any, now: Now) -> None:
        kind, _, rest = token.partition("/")
        if kind not in ("reserve", "straighten"):
            return
        peer = PeerId(bytes.fromhex(rest.partition("/")[0]))
        if kind == "straighten":
            self._on_straightened(peer, now)
            return
        place = self._places.get(peer)
        if place is None or place.renew_us is not None:
            return  # it has gone in the meantime
        if isinstance(body, Reserved):
            left_us = min(max(body.left_us, RESERVATION_US_MIN), RESERVATION_US_MAX)
            place.addresses = _useful(body.addresses)
            place.renew_us = now.mono_us + left_us // 2
        else:
            del self._places[peer]
            self._keep_refusal(peer, now)

    def _on_straightened(self, peer: PeerId, now: Now) -> None:
        """It was tried; the connection is a new one when it went well."""
        up = self._up.get(peer)
        if up is not None and up.reach is None and up.try_us is None:
            wait_us = min(STRAIGHTEN_US_MIN << min(up.tries, _DOUBLINGS_MAX), STRAIGHTEN_US_MAX)
            up.try_us = now.mono_us + wait_us

    def _keep_refusal(self, peer: PeerId, now: Now) -> None:
        self._refused.pop(peer, None)
        self._refused[peer] = now.mono_us + HOP_RETRY_US
        if len(self._refused) > HOPS_KEPT_MAX:
            del self._refused[next(iter(self._refused))]

    # What follows

    def _decide(self, now: Now) -> list[Effect]:
        """Be a hop or not, ask for places or leave them, say where this node is."""
        self._look(now)
        self._timer = None
        effects = [*self._straighten(now), *self._be_hop()]
        effects += self._seek(now) if self._needs(now) else self._leave()
        places = [self._places[peer].addresses for peer in sorted(self._places)]
        found = tuple(dict.fromkeys(one for addresses in places for one in addresses))
        if found != self._told:
            self._told = found
            effects.append(self._call("circuits", found))
        return effects

    def _straighten(self, now: Now) -> list[Effect]:
        """Try a direct way to who is connected through a hop, when it is time."""
        effects: list[Effect] = []
        for peer in sorted(self._up):
            up = self._up[peer]
            if up.try_us is None or not up.direct:
                continue
            if up.try_us > now.mono_us:
                self._wake(up.try_us)
                continue
            up.try_us = None
            up.tries += 1
            request = DialRequest(up.direct, peer)
            effects.append(Call("transport.straighten", request, self._token("straighten", peer)))
        return effects

    def _look(self, now: Now) -> None:
        """How far this node is connected now."""
        reaches = [up.reach for up in self._up.values() if up.reach is not None]
        furthest = max(reaches, default=None)
        if furthest != self._furthest:
            self._furthest, self._since_us = furthest, now.mono_us

    def _reached(self) -> bool:
        """Whether somebody came from as far away as this node is connected."""
        return self._came is not None and (self._furthest is None or self._came >= self._furthest)

    def _needs(self, now: Now) -> bool:
        """Whether nobody can dial this node; when it is too early to say, a timer is set."""
        if self._reached() or self._furthest is None or self._own is None:
            return False
        if not self._own or self._behind:
            return True
        if self._furthest is Reach.MACHINE:
            return False  # nothing stands between two programs of one machine
        due_us = self._since_us + REACHED_WAIT_US
        if now.mono_us < due_us:
            self._wake(due_us)
            return False
        return True

    def _be_hop(self) -> list[Effect]:
        able = self._offers and bool(self._own) and self._reached()
        if able == self._is_hop:
            return []
        self._is_hop = able
        return [self._call("hop", able)]

    def _seek(self, now: Now) -> list[Effect]:
        """Ask for the places that are missing, and renew those that are due."""
        effects: list[Effect] = []
        for peer in sorted(self._places):
            place = self._places[peer]
            if place.renew_us is not None and place.renew_us <= now.mono_us:
                place.renew_us = None
                effects.append(self._ask(peer))
            elif place.renew_us is not None:
                self._wake(place.renew_us)
        for peer in self._candidates():
            if len(self._places) >= HOPS_MAX:
                break
            until_us = self._refused.get(peer, 0)
            if until_us > now.mono_us:
                self._wake(until_us)
                continue
            self._places[peer] = _Place()
            effects.append(self._ask(peer))
        return effects

    def _candidates(self) -> list[PeerId]:
        """The hops that this node has dialled as far away as it can, longest connected first."""
        fit = [
            (up.since_us, peer)
            for peer, up in self._up.items()
            if up.hop and not up.inbound and up.reach is self._furthest and peer not in self._places
        ]
        return [peer for _, peer in sorted(fit)]

    def _leave(self) -> list[Effect]:
        left, self._places = sorted(self._places), {}
        return [self._call("leave", peer) for peer in left]

    def _standing(self, _arguments: Any, _request: RequestId, now: Now) -> Standing:
        had = tuple(peer for peer in sorted(self._places) if self._places[peer].addresses)
        needs = self._needs(now)
        return Standing(self._reached(), self._is_hop, had, self._told, needs)

    def _ask(self, peer: PeerId) -> Call:
        return Call("transport.reserve", peer, self._token("reserve", peer))

    def _token(self, kind: str, peer: PeerId) -> Token:
        self._count += 1
        return Token(f"{kind}/{peer.hex()}/{self._count}")

    def _call(self, operation: str, arguments: Any) -> Call:
        self._count += 1
        return Call(f"transport.{operation}", arguments, Token(f"{operation}/{self._count}"))

    def _wake(self, at_us: int) -> None:
        if self._timer is None or at_us < self._timer:
            self._timer = at_us


def _useful(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The first, which led to the hop, and others of numbers that reach further."""
    proven = max((_reach(one) for one in addresses[:1]), default=Reach.MACHINE)
    further = [one for one in addresses[1:] if _reach(one) > proven]
    return (*addresses[:1], *further)[:HOP_ADDRESSES_MAX]


def _reach(text: str) -> Reach:
    place = _parsed(text)
    return (None if place is None else reach_of(place)) or Reach.MACHINE


def _parsed(text: str) -> Multiaddr | None:
    try:
        return Multiaddr.parse(text)
    except DecodeError:
        return None


def _host(address: Multiaddr) -> bytes:
    return address.parts[0][1]
