"""What the network needs of clock and transport, and what it keeps of one connection.

Source: docs/architecture.md, "Walks". Types for `node/network.py`; nothing happens here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dms3.core.ids import PeerId
from dms3.core.limits import IDENTIFY_PUSH_LEAK_US, IDENTIFY_PUSHES_BURST_MAX
from dms3.core.machine import Now
from dms3.libp2p.multiaddr import Multiaddr
from dms3.p2p.circuits_hop import HopFigures
from dms3.p2p.conduct import Bucket
from dms3.p2p.link import Link
from dms3.p2p.port import Reserved
from dms3.p2p.stream import Told


class Clock(Protocol):
    """Where the time comes from (io/clock.py)."""

    def now(self) -> Now:
        """This instant."""
        ...


class Secured(Protocol):
    """A secured connection (io/transport.py)."""

    peer: PeerId
    remote: Multiaddr
    inbound: bool
    hop: PeerId | None  # through which it goes; None: direct

    def open_stream(self, protocols: Sequence[str]) -> int:
        """See p2p.stream.Muxed."""
        ...

    def send(self, stream: int, data: bytes) -> int:
        """See p2p.stream.Muxed."""
        ...

    def consume(self, stream: int, count: int) -> None:
        """See p2p.stream.Muxed."""
        ...

    def finish(self, stream: int) -> None:
        """See p2p.stream.Muxed."""
        ...

    def reset(self, stream: int) -> None:
        """See p2p.stream.Muxed."""
        ...

    def push_identify(self) -> None:
        """Tell the peer that what Identify says about this node has changed."""
        ...

    def close(self, reason: str) -> None:
        """End the connection."""
        ...

    @property
    def rtt_us(self) -> int:
        """The last measured round trip."""
        ...


class HopBooks(Protocol):
    """The books of a hop (p2p/circuits_hop.py)."""

    offered: bool
    figures: HopFigures

    @property
    def circuits(self) -> int:
        """How many there are now."""
        ...

    def places(self, now_us: int) -> int:
        """How many peers have a place."""
        ...


class HopServer(Protocol):
    """The hop (io/transport_hop.py)."""

    @property
    def books(self) -> HopBooks:
        """Its books."""
        ...


class Circuits(Protocol):
    """Circuits of the transport (io/transport_circuit.py)."""

    @property
    def hop(self) -> HopServer:
        """This node as a hop."""
        ...

    async def reserve(self, hop: PeerId) -> Reserved:
        """A place at a connected hop."""
        ...

    def leave(self, hop: PeerId) -> None:
        """Give it up."""
        ...

    def is_busy(self, peer: PeerId) -> bool:
        """Whether the connection to `peer` carries circuits, or a place depends on it."""
        ...


class Transport(Protocol):
    """What opens and accepts connections (io/transport.py).

    `failed`: inbound handshakes by the code they ended with.
    """

    failed: dict[str, int]

    @property
    def circuits(self) -> Circuits:
        """What it has to do with circuits."""
        ...

    async def listen(self, address: Multiaddr) -> Multiaddr:
        """Accept connections; the address with the port that was really taken."""
        ...

    async def dial(
        self, addresses: Sequence[Multiaddr], peer: PeerId | None, timeout_us: int
    ) -> Secured:
        """A connection to `peer`, or the one there is."""
        ...

    async def straighten(
        self, addresses: Sequence[Multiaddr], peer: PeerId, timeout_us: int
    ) -> Secured:
        """A direct connection to `peer` in the place of a circuit."""
        ...

    def wake(self) -> None:
        """Forget which addresses failed lately: this machine slept, or is elsewhere now."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...


@dataclass(frozen=True, slots=True)
class HopStanding:
    """A node as a hop: whether it is one, places and circuits now, the rest since its start."""

    offered: bool
    places: int
    circuits: int
    since_start: HopFigures


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """Counts of one connection; bytes are those of dms3 streams inward, of bodies outward.

    `asked`: our questions, `answered`: theirs that reached a machine, `in_flight`: ours not ended.
    """

    peer: PeerId
    address: str
    inbound: bool
    direct: bool
    since_us: int  # wall
    rtt_us: int
    bytes_in: int
    bytes_out: int
    asked: int
    answered: int
    in_flight: int


@dataclass(slots=True, eq=False)
class Session:
    """One peer's connection with its link."""

    number: int
    secured: Secured
    link: Link
    since_us: int
    held: deque[Told] = field(default_factory=deque)  # offered to the driver and not taken
    timer: asyncio.TimerHandle | None = None
    timer_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    asked: int = 0
    answered: int = 0
    pushes: Bucket = field(
        default_factory=lambda: Bucket(IDENTIFY_PUSHES_BURST_MAX, IDENTIFY_PUSH_LEAK_US)
    )

    def figures(self) -> PeerFigures:
        """The counts so far."""
        secured = self.secured
        return PeerFigures(
            peer=secured.peer,
            address=str(secured.remote),
            inbound=secured.inbound,
            direct=secured.hop is None,
            since_us=self.since_us,
            rtt_us=secured.rtt_us,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            asked=self.asked,
            answered=self.answered,
            in_flight=self.link.in_flight(),
        )
