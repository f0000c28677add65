"""Connections for asking: who is connected, whom to dial, and letting go of what was dialled.

Source: docs/architecture.md, "Overlays". A lookup meets many nodes once, so connections that were
dialled for one are let go when they rest; those that others opened or keep are left alone. The
peer book decides about closing (Call "peers.release"), the io port "transport" dials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Failure, Retry
from dms3.core.ids import OverlayId, PeerId, Token
from dms3.core.limits import (
    DHT_CONNECTIONS_MAX,
    DHT_DIAL_US,
    DHT_DIALS_MAX,
    DHT_IDLE_US,
    PRESENCE_SHOWN_US,
)
from dms3.core.machine import Call, Effect, Now
from dms3.core.overlay import NodeAt
from dms3.p2p.port import Dialed, DialRequest

DIAL, LET = "dial:", "let:"
_GONE = Failure("peer_unreachable", "The connection has closed again.", Retry.LATER)


@dataclass(slots=True)
class _Connection:
    """An open connection: its remote address, and what was said on it."""

    address: str
    shown: dict[OverlayId, tuple[bytes, int]] = field(default_factory=dict)  # ours, and when
    unfit: Failure | None = None  # why asking on it is useless


class Connections:
    """`is_busy`: whether a question to a peer is open, so that its connection is needed."""

    def __init__(self, is_busy: Callable[[PeerId], bool]) -> None:
        self._is_busy = is_busy
        self._up: dict[PeerId, _Connection] = {}
        self._ours: dict[PeerId, int] = {}  # dialled here -> last used; the longest at rest first
        self._dials: dict[Token, PeerId] = {}
        self._dialing: dict[PeerId, None] = {}
        self._queue: dict[PeerId, NodeAt] = {}  # to be dialled, in turn
        self._count = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """What is dialled, waits to be, and is held open by us."""
        return len(self._dials), len(self._queue), len(self._ours)

    def address(self, peer: PeerId) -> str | None:
        """The remote end of the connection to `peer`, None without one."""
        connection = self._up.get(peer)
        return None if connection is None else connection.address

    def askable(self) -> list[NodeAt]:
        """Who is connected and may be another node, in order of connection."""
        return [
            NodeAt(peer, (connection.address,))
            for peer, connection in self._up.items()
            if connection.unfit is None
        ]

    def unfit(self, peer: PeerId) -> Failure | None:
        """Why it is useless to ask `peer` on this connection; None when it is not."""
        connection = self._up.get(peer)
        return None if connection is None else connection.unfit

    def is_shown(self, peer: PeerId, overlay: OverlayId, presence: bytes, now: Now) -> bool:
        """Whether `peer` was shown our `presence` of `overlay` lately (or there is none to show).

        Not once for all: what showed it may have come too late for whoever had asked.
        """
        connection = self._up.get(peer)
        if connection is None or not presence:
            return not presence
        shown, at_us = connection.shown.get(overlay, (b"", 0))
        return shown == presence and now.mono_us - at_us < PRESENCE_SHOWN_US

    def show(self, peer: PeerId, overlay: OverlayId, presence: bytes, now: Now) -> None:
        """`peer` is shown our `presence` now."""
        connection = self._up.get(peer)
        if connection is not None and presence:
            connection.shown[overlay] = (presence, now.mono_us)

    def unshown(self, peer: PeerId, overlay: OverlayId) -> None:
        """`peer` may know nothing of us there: it shows itself anew."""
        connection = self._up.get(peer)
        if connection is not None:
            connection.shown.pop(overlay, None)

    def leave(self, overlay: OverlayId) -> None:
        """What was shown in `overlay` is shown again, should this node come back."""
        for connection in self._up.values():
            connection.shown.pop(overlay, None)

    # What happens

    def on_up(self, peer: PeerId, address: str, now: Now, *, inbound: bool) -> list[Effect]:
        """A connection is open."""
        self._up[peer] = _Connection(address)
        if not inbound and peer in self._dialing:
            self._ours[peer] = now.mono_us
        self._queue.pop(peer, None)
        return self.dial_next()

    def on_down(self, peer: PeerId) -> None:
        """The last connection has closed."""
        self._up.pop(peer, None)
        self._ours.pop(peer, None)

    def on_dialed(self, token: Token, body: Any) -> tuple[PeerId, Failure | None, list[Effect]]:
        """A dial has ended: whom it was for, and why there is no connection, if there is none."""
        peer = self._dials.pop(token)
        del self._dialing[peer]
        if isinstance(body, Dialed) and self._is_busy(peer) and peer not in self._up:
            self._up[peer] = _Connection(body.address)  # it was there before; nobody says so twice
        failure = None
        if peer not in self._up:
            failure = body if isinstance(body, Failure) else _GONE
        return peer, failure, self.dial_next()

    def on_unfit(self, peer: PeerId, failure: Failure) -> list[Effect]:
        """Nothing can be asked of `peer` on this connection: it is another program or network."""
        connection = self._up.get(peer)
        if connection is not None:
            connection.unfit = failure
        return self._let_go(peer) if peer in self._ours else []

    # What to do

    def want(self, node: NodeAt) -> list[Effect]:
        """Dial `node`, now or in turn, unless that is done already."""
        if node.peer in self._up or node.peer in self._dialing or node.peer in self._queue:
            return []
        self._queue[node.peer] = node
        return self.dial_next()

    def unwant(self, peer: PeerId) -> None:
        """Do not dial `peer` when its turn comes."""
        self._queue.pop(peer, None)

    def used(self, peer: PeerId, now: Now) -> None:
        """Something was asked or answered on the connection."""
        if peer in self._ours:
            del self._ours[peer]
            self._ours[peer] = now.mono_us

    def on_timer(self, now: Now) -> list[Effect]:
        """Let go of what has been at rest for DHT_IDLE_US."""
        effects: list[Effect] = []
        for peer, used_us in list(self._ours.items()):
            if used_us + DHT_IDLE_US > now.mono_us:
                break
            if self._is_busy(peer):
                self.used(peer, now)
            else:
                effects += self._let_go(peer)
        return effects + self.dial_next()

    def dial_next(self) -> list[Effect]:
        """Dial whoever waits, as far as there is room for another connection of ours."""
        effects: list[Effect] = []
        while self._queue and len(self._dials) < DHT_DIALS_MAX:
            if len(self._ours) + len(self._dials) >= DHT_CONNECTIONS_MAX:
                idle = next((peer for peer in self._ours if not self._is_busy(peer)), None)
                if idle is None:
                    break
                effects += self._let_go(idle)
            peer = next(iter(self._queue))
            node = self._queue.pop(peer)
            self._count += 1
            token = Token(f"{DIAL}{self._count}")
            self._dials[token] = peer
            self._dialing[peer] = None
            request = DialRequest(node.addresses, peer, DHT_DIAL_US)
            effects.append(Call("transport.dial", request, token))
        return effects

    def next_timer(self) -> int | None:
        """When the connection that rests longest is let go."""
        oldest = next(iter(self._ours.values()), None)
        return None if oldest is None else oldest + DHT_IDLE_US

    # Small parts

    def _let_go(self, peer: PeerId) -> list[Effect]:
        del self._ours[peer]
        self._count += 1
        return [Call("peers.release", peer, Token(f"{LET}{self._count}"))]
