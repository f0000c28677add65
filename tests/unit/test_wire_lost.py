"""A socket that goes without a word: uvloop does that to dials interrupted at some moment."""

import asyncio
from typing import Any

from dms3.io.clock import SystemEntropy
from dms3.io.transport_wire import Wire
from dms3.libp2p.connection import Connection
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey


class Silent:
    """A socket that is closed and aborted without `connection_lost`."""

    def __init__(self) -> None:
        self.aborted = 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, _name: str) -> None:
        return None

    def write(self, _data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted += 1


class Owner:
    """What a transport is to its wires; notes which are forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[Wire] = []
        self.closed_codes: list[str] = []

    def now_us(self) -> int:
        return 0

    def connect(self, wire: Wire, expected: Any) -> Connection:
        return Connection(
            key=NodeKey(bytes(32)),
            dialer=True,
            expected_peer=expected,
            protocols=lambda _: False,
            identify=lambda: IdentifyInfo("", "", (), ()),
            entropy=SystemEntropy(),
            now_us=0,
            remote=wire.remote,
        )

    def admit(self, _wire: Wire) -> bool:
        return True

    def closed(self, _wire: Wire, code: str, _reason: str) -> None:
        self.closed_codes.append(code)

    def forget(self, wire: Wire) -> None:
        self.forgotten.append(wire)


def test_a_dial_whose_socket_goes_silently_is_forgotten_once_it_is_aborted():
    async def scene() -> Owner:
        owner, socket = Owner(), Silent()
        wire = Wire(owner, expected=None, remote=Multiaddr.parse("/ip4/192.0.2.1/tcp/1"))
        wire.connection_made(socket)
        wire.abort()
        wire.abort()
        assert owner.forgotten == [], "the socket may still say so itself"
        await asyncio.sleep(0)
        assert owner.forgotten == [wire]
        assert socket.aborted == 2
        wire.connection_lost(None)  # late, and harmless
        return owner

    owner = asyncio.run(scene())
    assert len(owner.closed_codes) == 1


class Gone(Silent):
    """A socket of uvloop that was closed without a word: whoever writes to it is told so."""

    def write(self, _data: bytes) -> None:
        raise RuntimeError("the handler is closed")


def test_a_socket_that_went_without_a_word_is_forgotten_at_the_next_write():
    async def scene() -> Owner:
        owner = Owner()
        wire = Wire(owner, expected=None, remote=Multiaddr.parse("/ip4/192.0.2.1/tcp/1"))
        wire.connection_made(Gone())
        wire.flush()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert owner.forgotten == [wire]
        return owner

    owner = asyncio.run(scene())
    assert len(owner.closed_codes) == 1
