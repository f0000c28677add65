"""What the peer book and the io port "transport" say to each other.

Source: docs/architecture.md, "The machine" (Call). Types; the port is
`node/transport_port.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dms3.core.ids import PeerId
from dms3.core.limits import DIAL_TIMEOUT_US


@dataclass(frozen=True, slots=True)
class DialRequest:
    """Arguments of Call "transport.dial", answered by `Dialed`.

    `addresses`: multiaddrs as text, best first; `peer`: who must answer, None: anyone.
    """

    addresses: tuple[str, ...]
    peer: PeerId | None
    timeout_us: int = DIAL_TIMEOUT_US


@dataclass(frozen=True, slots=True)
class Dialed:
    """A connection to `peer` is open (it may have been before); `address` is its remote end."""

    peer: PeerId
    address: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """Answer of Call "transport.reserve" (a peer id): a place at `hop`.

    `addresses`: multiaddrs of circuits to this node, the one that is known to lead to the hop
    first; `left_us`: until the place expires, by the hop's clock.
    """

    hop: PeerId
    addresses: tuple[str, ...]
    left_us: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """Arguments of "circuits.spoken": a connected `peer` describes itself (Identify).

    `protocols`: what it speaks; `observed`: the multiaddr under which it sees this node, or "";
    `direct`: its own addresses that a stranger's word may make this node dial, without circuits.
    """

    peer: PeerId
    protocols: tuple[str, ...]
    observed: str
    direct: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HangUp:
    """Arguments of Call "transport.hang_up": close the connection to `peer`, if there is one."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Arguments of Call "transport.refuse": no connection with `peer` for `for_us` microseconds."""

    peer: PeerId
    for_us: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Arguments of Call "transport.keep": the peers that always get in, in order of their ids."""

    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Arguments of Call "transport.announce": sign `addresses` with `sequence` and tell peers."""

    sequence: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conducted:
    """Arguments of "peers.conduct": `peer` did what `code`, a key of CONDUCT, names."""

    peer: PeerId
    code: str


@dataclass(frozen=True, slots=True)
class Partners:
    """Arguments of "peers.partners": draw at most `count` of `candidates` to gossip with.

    `of`: "pull", those of whom little is known and who are likely to be there; "push", those who
    are surely there, to hand news on.
    """

    candidates: tuple[PeerId, ...]
    of: Literal["pull", "push"]
    count: int


@dataclass(frozen=True, slots=True)
class Thought:
    """What this node thinks of `peer`: shares of one, of uptime and how sure it is.

    `own`: as it has seen it itself; `heard`: what `reporters` others say, None while they are too
    few; `uptime`: both together. `looked_us` (wall, 0: never): when it was looked at last; `away`:
    it was not there then. `points`: of misconduct; `refused_until_us`: wall, 0 when it is not.
    """

    peer: PeerId
    name: str | None
    connected: bool
    uptime: float
    own: tuple[float, float]
    heard: tuple[float, float] | None
    reporters: int
    looked_us: int
    away: bool
    points: int
    refused_until_us: int


@dataclass(frozen=True, slots=True)
class Introduced:
    """Arguments of "peers.introduced": what a connected `peer` says about itself (Identify).

    `addresses`: where it listens, without a signature; `protocols`: what it speaks; `record`: its
    signed peer record (libp2p/peer_record.py), or empty.
    """

    peer: PeerId
    addresses: tuple[str, ...]
    protocols: tuple[str, ...] = ()
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class Found:
    """Arguments of "peers.found": `peer` may be at `addresses`; nothing of it is proven.

    `how`: "lan" (it answered on the local network) or "exchange" (another peer named it).
    """

    peer: PeerId
    addresses: tuple[str, ...]
    how: str
