"""Nodes on the local network by multicast DNS: says where this one is, hears where others are.

Source: libp2p specification, "Multicast DNS (mDNS)"; RFC 6762, RFC 6763. The one place that knows
the `zeroconf` package, which is loaded when it is needed first and runs on this event loop, without
threads and without a word in the log. What is heard is nobody's proven word.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.limits import (
    MDNS_ANSWER_LEAK_US,
    MDNS_ANSWERS_BURST_MAX,
    MDNS_NAME_CHARS,
    MDNS_NAMES_MAX,
    MDNS_RETRY_US,
    SECOND_US,
)
from dms3.core.machine import Entropy, Now
from dms3.libp2p.mdns import SERVICE, Heard, decode_txt, encode_txt
from dms3.libp2p.multiaddr import Multiaddr
from dms3.p2p.conduct import Bucket


class Clock(Protocol):
    """Where the time comes from (io/clock.py)."""

    def now(self) -> Now:
        """This instant."""
        ...


class Lan:
    """One node's presence on its local networks, while `run` runs.

    `peer`: who this is; `heard`: told what others say, on the event loop; `failed`: told why there
    is no multicast DNS for now.
    """

    def __init__(
        self,
        *,
        peer: PeerId,
        heard: Callable[[Heard], None],
        failed: Callable[[str], None],
        entropy: Entropy,
        clock: Clock,
    ) -> None:
        self._peer = peer
        self._heard = heard
        self._failed = failed
        self._clock = clock
        self._name = entropy.draw(MDNS_NAME_CHARS // 2).hex()  # says nothing about the node
        self._addresses: tuple[Multiaddr, ...] = ()
        self._changed = asyncio.Event()
        self._flooded = False
        self._bucket = Bucket(MDNS_ANSWERS_BURST_MAX, MDNS_ANSWER_LEAK_US)

    def announce(self, addresses: Sequence[Multiaddr]) -> None:
        """Say from now on that the node is at these TCP addresses of this machine; () is silence.

        Their networks are the ones that are spoken to. Repeating it asks everybody anew.
        """
        self._addresses = tuple(addresses)
        self._changed.set()

    async def run(self) -> None:
        """Speak and listen, until cancelled; a network without multicast is tried again later."""
        while True:
            self._changed.clear()
            pause_s: float | None = None
            if self._addresses:
                try:
                    async with self._opened():
                        await self._changed.wait()
                except OSError as error:
                    self._failed(error.strerror or "the network does not allow it")
                    pause_s = MDNS_RETRY_US / SECOND_US
                if self._flooded:
                    self._flooded = False
                    self._failed("somebody floods the local network with answers")
                    pause_s = MDNS_RETRY_US / SECOND_US
            if pause_s is not None or not self._addresses:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._changed.wait()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Sockets are open, our record is announced, others are asked for theirs."""
        zeroconf = await asyncio.to_thread(importlib.import_module, "zeroconf")
        later = await asyncio.to_thread(importlib.import_module, "zeroconf.asyncio")
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL + 1)  # what strangers send
        hosts = self._hosts()
        for host in hosts:
            _check(host)
        service = later.AsyncZeroconf(interfaces=hosts)
        try:
            service.zeroconf.async_add_listener(_listener(zeroconf, self._on_records), None)
            await service.async_register_service(self._info(zeroconf, hosts))
            await service.async_add_service_listener(SERVICE, _nobody(zeroconf))  # it asks
            yield
        except (zeroconf.Error, RuntimeError) as error:  # an interface that is gone again
            raise OSError(None, str(error)) from error
        finally:
            await service.async_close()

    def _hosts(self) -> list[str]:
        """The addresses of the interfaces to speak on: those of IPv4, which every LAN has."""
        ends = [end for end in (one.tcp_endpoint for one in self._addresses) if end is not None]
        four = [host for kind, host, _ in ends if kind == "ip4"]
        return list(dict.fromkeys(four or [host for kind, host, _ in ends if kind == "ip6"]))

    def _info(self, zeroconf: Any, hosts: Sequence[str]) -> Any:
        """Our record: addresses in TXT, as libp2p reads them, and the port for other programs."""
        port = next((end[2] for one in self._addresses if (end := one.tcp_endpoint)), 0)
        return zeroconf.ServiceInfo(
            SERVICE,
            f"{self._name}.{SERVICE}",
            port=port,
            properties=encode_txt(self._peer, self._addresses),
            server=f"{self._name}.local.",
            parsed_addresses=list(hosts),
        )

    def _on_records(self, zeroconf: Any, records: Sequence[Any]) -> None:
        """Records that came in one packet. Must not raise: that would end the socket's reader."""
        if len(zeroconf.cache.names()) > MDNS_NAMES_MAX:
            self._flooded = True
            self._changed.set()
            return
        for update in records:
            record = update.new
            text = getattr(record, "text", None)
            if text is None or record.ttl == 0 or not record.key.endswith("." + SERVICE):
                continue
            if not self._bucket.admit(self._clock.now().mono_us):
                return
            try:
                heard = decode_txt(text)
            except DecodeError:
                continue
            if heard.peer != self._peer:
                self._heard(heard)


def _check(host: str) -> None:
    """Raises OSError when `host` is no address of this machine; the package would leak a socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.bind((host, 0))


def _nobody(zeroconf: Any) -> Any:
    """Who listens to names that come and go: the records themselves say all there is."""

    class Nobody(zeroconf.ServiceListener):  # type: ignore[misc]  # loaded at run time
        def add_service(self, zc: Any, type_: str, name: str) -> None:
            """See ServiceListener."""

        update_service = remove_service = add_service

    return Nobody()


def _listener(zeroconf: Any, told: Callable[[Any, Sequence[Any]], None]) -> Any:
    """A listener to every record; its class cannot be named before the package is loaded."""

    class Listener(zeroconf.RecordUpdateListener):  # type: ignore[misc]  # loaded at run time
        def async_update_records(self, zc: Any, now: float, records: list[Any]) -> None:
            """Records have come; see RecordUpdateListener."""
            del now
            told(zc, records)

    return Listener()
