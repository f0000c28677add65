"""Two Connections joined in memory, driven by hand, with seeded entropy."""

import hashlib

from dms3.core.ids import PeerId
from dms3.libp2p.connection import Connection
from dms3.libp2p.events import Closed, ConnectionEvent
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.peer_id import NodeKey

ECHO = "/test/echo/1"


class SeededEntropy:
    """Reproducible bytes: SHA-256 of the seed and a counter."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def draw(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            self._count += 1
            out += hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()
        return out[:count]


def key(seed: int) -> NodeKey:
    return NodeKey(hashlib.sha256(f"key {seed}".encode()).digest())


def describe() -> IdentifyInfo:
    return IdentifyInfo(protocol_version="test/1", agent="kit", protocols=(ECHO,))


def connection(
    seed: int, *, dialer: bool, expected: PeerId | None = None, now_us: int = 0
) -> Connection:
    return Connection(
        key=key(seed),
        dialer=dialer,
        expected_peer=expected,
        protocols=lambda name: name == ECHO,
        identify=describe,
        entropy=SeededEntropy(seed),
        now_us=now_us,
    )


class Pair:
    """A dialer `a` and a listener `b`; `run` carries bytes until both are silent."""

    def __init__(self, *, piece: int = 0, expected: PeerId | None = None) -> None:
        self.a = connection(1, dialer=True, expected=expected)
        self.b = connection(2, dialer=False)
        self.now_us = 0
        self._piece = piece
        self.events_a: list[ConnectionEvent] = []
        self.events_b: list[ConnectionEvent] = []

    def run(self) -> None:
        while True:
            to_b, to_a = self.a.data_to_send(), self.b.data_to_send()
            if not to_a and not to_b:
                break
            for part in self._cut(to_b):
                self.events_b += self.b.receive_data(part, self.now_us)
            for part in self._cut(to_a):
                self.events_a += self.a.receive_data(part, self.now_us)
        self.events_a += self.a.on_timer(self.now_us)
        self.events_b += self.b.on_timer(self.now_us)

    def _cut(self, data: bytes) -> list[bytes]:
        size = self._piece or max(1, len(data))
        return [data[start : start + size] for start in range(0, len(data), size)]

    def take_a(self) -> list[ConnectionEvent]:
        events, self.events_a = self.events_a, []
        return events

    def take_b(self) -> list[ConnectionEvent]:
        events, self.events_b = self.events_b, []
        return events


def secured_pair() -> Pair:
    pair = Pair()
    pair.run()
    pair.take_a()
    pair.take_b()
    return pair


def closed(events: list[ConnectionEvent]) -> Closed | None:
    """The Closed event, which must be the last and only one."""
    found = [event for event in events if isinstance(event, Closed)]
    assert len(found) <= 1
    assert not found or events[-1] is found[0]
    return found[0] if found else None
