"""Where this node can be reached, watched while it runs, and said to those who need to know.

Source: docs/architecture.md, "How nodes meet". Looks at the addresses of this machine now and then:
a laptop changes networks without a word. Tells the machines (which sign and push the addresses) and
the local network, and passes on what is heard there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import ADDRESSES_PER_PEER_MAX, INTERFACES_LOOK_US, SECOND_US
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.discovery import Lan
from dms3.libp2p.mdns import Heard
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.interfaces import spelled_out
from dms3.p2p import finds
from dms3.p2p.port import Found
from dms3.p2p.reach import Reach, others_word, reach_of

Call = Callable[[str, Any], Awaitable[Any]]


class Network(Protocol):
    """What listens (node/network.py)."""

    @property
    def woken(self) -> asyncio.Event:
        """Set after a sleep of the machine, and when it is in another network."""
        ...

    @property
    def circuits(self) -> tuple[str, ...]:
        """Addresses of circuits to this node."""
        ...

    @property
    def listening(self) -> tuple[Multiaddr, ...]:
        """Where it does, as it was told."""
        ...

    def tell(self, operation: str, arguments: Any) -> None:
        """Have the peer book told."""
        ...


class Local(Protocol):
    """The local network (io/discovery.py)."""

    def announce(self, addresses: Sequence[Multiaddr]) -> None:
        """Say where the node is from now on."""
        ...


def announced(listening: Sequence[Multiaddr], circuits: Sequence[str] = ()) -> tuple[str, ...]:
    """What to tell others: every address by which one of them may come, circuits last.

    Those of this machine alone only when there is no other: a node of a local network of processes.
    """
    texts = spelled_out(listening)
    wide = tuple(text for text in texts if reach_of(Multiaddr.parse(text)) != Reach.MACHINE)
    direct = (wide or texts)[: ADDRESSES_PER_PEER_MAX - len(circuits)]
    return (*direct, *circuits)


class Reachable:
    """Arguments: `network`; `call`, asks machines; `told`: operations that want the addresses."""

    def __init__(self, network: Network, call: Call, told: Sequence[str]) -> None:
        self._network = network
        self._call = call
        self._told = tuple(told)
        self._last: tuple[str, ...] | None = None

    def heard(self, heard: Heard) -> None:
        """Somebody says on the local network where a peer is: numbers that are not this machine."""
        places = others_word(heard.addresses, Reach.PRIVATE)
        if places:
            self._network.tell("found", Found(heard.peer, places, finds.LAN))

    async def watch(self, local: Local | None) -> None:
        """Look, and tell what has changed, until cancelled or the node stops.

        `local`: the local network, when the node is to be found there; told anew after a sleep.
        """
        while True:
            found = announced(self._network.listening, self._network.circuits)
            moved = found != self._last
            if moved:
                try:
                    for operation in self._told:
                        await self._call(operation, found)
                except Dms3Error as error:
                    if error.code == "node_stopping":
                        return
                    raise
                self._last = found
            if local is not None and (moved or self._network.woken.is_set()):
                local.announce(local_addresses(found))
            self._network.woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERFACES_LOOK_US / SECOND_US):
                    await self._network.woken.wait()


def local_addresses(texts: Sequence[str]) -> list[Multiaddr]:
    """Those that others may use; addresses of this machine alone are nobody's business."""
    addresses = [one for one in map(Multiaddr.parse, texts) if one.circuit is None]
    return [one for one in addresses if (reach_of(one) or Reach.MACHINE) > Reach.MACHINE]


def local_network(peer: PeerId, reachable: Reachable, log: Callable[..., Any]) -> Lan:
    """The local networks of node `peer`; `log` is told when there are none for now."""
    return Lan(
        peer=peer,
        heard=reachable.heard,
        failed=lambda why: log("mdns_unavailable", reason=why),
        entropy=SystemEntropy(),
        clock=SystemClock(),
    )


@contextlib.asynccontextmanager
async def watched(reachable: Reachable, lan: Lan | None) -> AsyncIterator[None]:
    """For as long as the block runs, `reachable` is kept up to date, and `lan` is spoken to."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reachable.watch(lan))]
        if lan is not None:
            tasks.append(group.create_task(lan.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
