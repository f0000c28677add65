"""TCP and circuits on asyncio: dials, accepts, hands up secured, multiplexed connections.

Source: libp2p connections specification; RFC 8305 for several addresses. Keeps one connection per
peer. When two cross on the way, both ends keep the one dialled by the peer with the smaller id;
otherwise the newer one wins, because its dialer would not have dialled had the older one lived.
Of a circuit and a direct one, the direct one. Only /ip4, /ip6 and /dns addresses with /tcp are
dialled, and circuits through a hop at such an address (io/transport_circuit.py).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from dms3.core import limits
from dms3.core.errors import Dms3Error, Retry
from dms3.core.ids import PeerId
from dms3.core.machine import Entropy, Now
from dms3.io.transport_circuit import Circuits
from dms3.io.transport_wire import Handler, Secured, Wire
from dms3.libp2p.connection import Connection
from dms3.libp2p.dialing import Backoff
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey

__all__ = ["Clock", "Gate", "Handler", "Secured", "Transport", "open_gate"]

_FAMILIES = {"ip4": socket.AF_INET, "dns4": socket.AF_INET, "ip6": socket.AF_INET6}
_FAMILIES["dns6"] = socket.AF_INET6


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> Now:
        """This instant."""
        ...


Gate = Callable[[PeerId | None, Multiaddr, bool], bool]
"""Whether to have a connection: (peer when known, remote address, inbound)."""


def open_gate(peer: PeerId | None, address: Multiaddr, inbound: bool) -> bool:
    """A gate that lets everybody through."""
    del peer, address, inbound
    return True


class Transport:
    """The node's connections, over TCP and through hops; `circuits` has to do with the latter.

    `key` is the node's identity, `handler` is told what happens, `protocols` says which protocols
    peers may open, `identify` what to say about this node, `gate` whom to have a connection with.
    """

    def __init__(
        self,
        *,
        key: NodeKey,
        handler: Handler,
        protocols: Callable[[str], bool],
        identify: Callable[[], IdentifyInfo],
        entropy: Entropy,
        clock: Clock,
        gate: Gate = open_gate,
    ) -> None:
        self.circuits = Circuits(self, handler, key, lambda: self._identify().addresses)
        self.handler: Handler = self.circuits
        self._key = key
        self._protocols = protocols
        self._identify = identify
        self._entropy = entropy
        self._clock = clock
        self._gate = gate
        self._servers: list[asyncio.Server] = []
        self._wires: dict[Wire, None] = {}
        self._handshakes = 0  # inbound, not yet secured
        self._links: dict[PeerId, Secured] = {}
        self._dials = 0
        self._waiting: dict[PeerId, list[asyncio.Future[Secured | Dms3Error]]] = {}
        self._backoff = Backoff()
        self.failed: dict[str, int] = {}  # inbound handshakes by the code they ended with
        self._emptied: asyncio.Event = asyncio.Event()
        self._closing = False

    def now_us(self) -> int:
        """Monotonic microseconds."""
        return self._clock.now().mono_us

    def now(self) -> Now:
        """This instant."""
        return self._clock.now()

    def connections(self) -> list[Secured]:
        """The open connections, one per peer, oldest first."""
        return list(self._links.values())

    def connection_to(self, peer: PeerId) -> Secured | None:
        """The open connection to `peer`, or None."""
        return self._links.get(peer)

    async def listen(self, address: Multiaddr) -> Multiaddr:
        """Accept connections at `address`; the address with the port that was really taken.

        Raises `port_in_use`, or `argument_invalid` for an address that is not of this machine or
        not TCP (the caller's fault).
        """
        endpoint = address.tcp_endpoint
        if endpoint is None or endpoint[0] not in {"ip4", "ip6"}:
            raise Dms3Error(
                "argument_invalid",
                f"Cannot listen at {address}.",
                hint="Use an address such as /ip4/127.0.0.1/tcp/4001.",
            )
        kind, host, port = endpoint
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Wire(self, expected=None, remote=None), host, port, family=_FAMILIES[kind]
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Dms3Error(
                    "port_in_use",
                    f"Cannot listen at {address}: it is in use by another program.",
                    hint="Choose another port, or 0 for any free one.",
                ) from error
            raise Dms3Error(
                "argument_invalid",
                f"Cannot listen at {address}: {os.strerror(error.errno or 0).lower()}.",
                hint="Use an address of this machine and a port above 1023.",
            ) from error
        self._servers.append(server)
        taken = server.sockets[0].getsockname()
        return Multiaddr.tcp(taken[0], taken[1])

    async def dial(
        self, addresses: Sequence[Multiaddr], peer: PeerId | None, timeout_us: int
    ) -> Secured:
        """A connection to `peer` (None: whoever answers), tried at `addresses` within `timeout_us`.

        An open connection to the peer is returned as it is. Raises `peer_unreachable`,
        `timed_out`, `limit_reached`, or what the handshake ended with.
        """
        peer = peer or next((address.peer for address in addresses if address.peer), None)
        if peer is not None and peer in self._links:
            return self._links[peer]
        if self._closing:
            raise Dms3Error("node_stopping", "This node is stopping.")
        return await self._dial(self._targets(addresses, peer), peer, timeout_us)

    async def straighten(
        self, addresses: Sequence[Multiaddr], peer: PeerId, timeout_us: int
    ) -> Secured:
        """A direct connection to `peer` in the place of the circuit that there is.

        Raises what `dial` raises; the circuit stays then.
        """
        direct = [address for address in addresses if address.circuit is None]
        return await self._dial(self._targets(direct, peer), peer, timeout_us)

    async def _dial(
        self, targets: list[Multiaddr], peer: PeerId | None, timeout_us: int
    ) -> Secured:
        if self._dials >= limits.DIALS_MAX:
            raise Dms3Error("limit_reached", f"{self._dials} dials are under way already.")
        self._dials += 1
        try:
            async with asyncio.timeout(timeout_us / limits.SECOND_US):
                outcome = await self._race(targets, peer)
        except TimeoutError as error:
            where = ", ".join(map(str, targets))
            raise Dms3Error("timed_out", f"No answer in time from {where}.") from error
        finally:
            self._dials -= 1
        if isinstance(outcome, Dms3Error):
            raise outcome
        return outcome

    def wake(self) -> None:
        """Forget which addresses failed lately."""
        self._backoff = Backoff()

    async def close(self) -> None:
        """Stop listening, end every connection after what is queued, and wait for that."""
        self._closing = True
        for server in self._servers:
            server.close()
        for wire in list(self._wires):
            wire.close("node_stopping", "this node is stopping")
        self._emptied.clear()
        if self._wires:
            await self._emptied.wait()  # each wire aborts by itself after CLOSE_US_MAX

    # Dialling.

    def _targets(self, addresses: Sequence[Multiaddr], peer: PeerId | None) -> list[Multiaddr]:
        fit = [
            address
            for address in addresses
            if address.peer in {None, peer} and self._gate(peer, address, False)
        ]
        usable = [one.without_peer() for one in fit if one.tcp_endpoint is not None]
        usable += [  # after all direct ones, each with its far end: a hop has many
            one.with_peer(peer)
            for one in fit
            if peer is not None and one.circuit is not None and one.circuit[1] != self._key.peer_id
        ]
        chosen = self._backoff.choose(usable, self.now_us())
        if not chosen:
            listed = ", ".join(map(str, addresses[:4])) or "none"
            raise Dms3Error(
                "peer_unreachable",
                f"No address can be dialled (known: {listed}).",
                hint="An address looks like /ip4/192.0.2.1/tcp/4001.",
                retry=Retry.NEVER,
            )
        return chosen

    async def _race(self, targets: list[Multiaddr], peer: PeerId | None) -> Secured | Dms3Error:
        """The first attempt that succeeds, or an inbound connection of the peer meanwhile."""
        won: asyncio.Future[Secured | Dms3Error] = asyncio.get_running_loop().create_future()
        if peer is not None:
            self._waiting.setdefault(peer, []).append(won)
        try:
            async with asyncio.TaskGroup() as group:
                attempts = group.create_task(self._attempt_all(targets, peer, won))
                outcome = await won
                attempts.cancel()
        finally:
            if peer is not None:
                self._waiting[peer].remove(won)
                if not self._waiting[peer]:
                    del self._waiting[peer]
        return outcome

    async def _attempt_all(
        self,
        targets: list[Multiaddr],
        peer: PeerId | None,
        won: asyncio.Future[Secured | Dms3Error],
    ) -> None:
        failures: list[Dms3Error] = []
        async with asyncio.TaskGroup() as group:
            for target in targets:
                failed = asyncio.Event()
                group.create_task(self._attempt(target, peer, won, failures, failed))
                try:
                    async with asyncio.timeout(limits.DIAL_STAGGER_US / limits.SECOND_US):
                        await failed.wait()
                except TimeoutError:
                    continue
        if not won.done():
            won.set_result(failures[0])

    async def _attempt(
        self,
        target: Multiaddr,
        peer: PeerId | None,
        won: asyncio.Future[Secured | Dms3Error],
        failures: list[Dms3Error],
        failed: asyncio.Event,
    ) -> None:
        outcome = await self._dial_one(target, peer)
        if isinstance(outcome, Dms3Error):
            self._backoff.failed(target, self.now_us())
            failures.append(outcome)
            failed.set()
        else:
            self._backoff.worked(target)
            if not won.done():
                won.set_result(outcome)

    async def _dial_circuit(self, target: Multiaddr) -> Secured | Dms3Error:
        assert target.circuit is not None, "a target without TCP address is a circuit"
        address, hop = target.circuit
        wire = None
        try:
            link = await self.dial([address], hop, limits.DIAL_TIMEOUT_US)
            far = target.peer
            assert far is not None, "the target of a circuit is a known peer"
            wire = await self.circuits.connect(link, target.without_peer(), far)
            return await wire.ready
        except Dms3Error as error:
            return error
        finally:
            if wire is not None and wire.link is None:
                wire.abort()

    async def _dial_one(self, target: Multiaddr, peer: PeerId | None) -> Secured | Dms3Error:
        endpoint = target.tcp_endpoint
        if endpoint is None:
            return await self._dial_circuit(target)
        kind, host, port = endpoint
        wire = Wire(self, expected=peer, remote=target)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(
                lambda: wire, host, port, family=_FAMILIES.get(kind, socket.AF_UNSPEC)
            )
            return await wire.ready
        except (OSError, UnicodeError) as error:  # UnicodeError: of a name with a label too long
            reason = getattr(error, "strerror", None) or "no such name"
            return Dms3Error("peer_unreachable", f"{target} does not answer: {reason}.")
        finally:
            if wire.link is None:
                wire.abort()

    # Called by the wires.

    def wire(self, remote: Multiaddr, expected: PeerId | None, *, inbound: bool) -> Wire:
        """A connection over a circuit, before it begins."""
        wire = Wire(self, expected=expected, remote=remote)
        wire.inbound = inbound
        return wire

    def connect(self, wire: Wire, expected: PeerId | None) -> Connection:
        """The Connection of a new socket."""
        return Connection(
            key=self._key,
            dialer=not wire.inbound,
            expected_peer=expected,
            protocols=self._speaks,
            identify=self._describe,
            entropy=self._entropy,
            now_us=self.now_us(),
            remote=wire.remote,
        )

    def _speaks(self, protocol: str) -> bool:
        return self._protocols(protocol) or protocol in self.circuits.protocols()

    def _describe(self) -> IdentifyInfo:
        info = self._identify()
        return replace(info, protocols=(*info.protocols, *self.circuits.protocols()))

    def admit(self, wire: Wire) -> bool:
        """Count a new socket in; False when there are too many or the gate is shut."""
        self._wires[wire] = None
        if not wire.inbound:
            return not self._closing
        self._handshakes += 1
        wire.in_handshake = True
        crowded = (
            self._closing
            or len(self._wires) > limits.CONNECTIONS_MAX
            or self._from_same_host(wire) > limits.CONNECTIONS_PER_ADDRESS_MAX
        )
        if crowded or not self._gate(None, wire.remote, True):
            return False
        if self._handshakes > limits.HANDSHAKES_MAX:
            self._drop_oldest_handshake()
        return True

    def _drop_oldest_handshake(self) -> None:
        """Make room: who stalls in a crowd of handshakes goes, so that the crowd keeps nobody out.

        An honest peer needs a few round trips; refusing newcomers instead would let 64 silent
        sockets shut the node for HANDSHAKE_US_MAX.
        """
        oldest = next(wire for wire in self._wires if wire.in_handshake)
        oldest.close("limit_reached", "too many handshakes are in progress")
        oldest.abort()

    def _from_same_host(self, wire: Wire) -> int:
        host = wire.remote.parts[0]
        if ipaddress.ip_address(host[1]).is_loopback:
            return 0
        return sum(other.inbound and other.remote.parts[0] == host for other in self._wires)

    def secured(self, wire: Wire, peer: PeerId) -> None:
        """A handshake is complete: keep this connection or the one there already is."""
        self._handshakes -= wire.in_handshake
        wire.in_handshake = False
        if not self._gate(peer, wire.remote, wire.inbound):
            self._refuse(wire, Dms3Error("peer_refused", "this node refuses the peer"))
            return
        link = Secured(wire, peer, self.now_us())
        old = self._links.get(peer)
        if old is not None and not self._replaces(link, old):
            self._refuse(wire, old)
            return
        self._links.pop(peer, None)
        self._links[peer] = wire.link = link
        self.handler.on_secured(link)
        if old is not None:
            old.close("replaced by another connection to the same peer")
        self._settle(wire.ready, link)
        for waiting in self._waiting.get(peer, []):
            self._settle(waiting, link)

    def _refuse(self, wire: Wire, outcome: Secured | Dms3Error) -> None:
        self._settle(wire.ready, outcome)
        wire.connection.close("not needed")
        wire.schedule()

    @staticmethod
    def _settle(future: asyncio.Future[Secured | Dms3Error], outcome: Secured | Dms3Error) -> None:
        if not future.done():
            future.set_result(outcome)

    def _replaces(self, new: Secured, old: Secured) -> bool:
        crossed = new.secured_us - old.secured_us < limits.SIMULTANEOUS_DIAL_US_MAX
        if (new.hop is None) != (old.hop is None) and (crossed or new.hop is None):
            return new.hop is None
        if not crossed or new.inbound == old.inbound:
            return True
        return new.inbound == (new.peer < self._key.peer_id)

    def closed(self, wire: Wire, code: str, reason: str) -> None:
        """A connection is over; its socket may still be open for a moment."""
        link = wire.link
        if link is None:
            if wire.in_handshake:
                self._handshakes -= 1
                wire.in_handshake = False
                self.failed[code] = self.failed.get(code, 0) + 1
            self._settle(wire.ready, Dms3Error(code, f"{wire.remote}: {reason}."))
            return
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
        self.handler.on_closed(link, code, reason)

    def forget(self, wire: Wire) -> None:
        """The socket is gone."""
        self._wires.pop(wire, None)
        self._handshakes -= wire.in_handshake
        if not self._wires:
            self._emptied.set()
