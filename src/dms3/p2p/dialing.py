"""Whom the node wants to be connected to, and when it tries next: back-off with jitter, bounded.

Source: docs/architecture.md, "Identity" and "The machine". Plain state that `p2p/peers.py` drives;
it dials nothing itself: `node/transport_port.py` carries out a `DialRequest`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import (
    DIAL_BACKOFF_US_MAX,
    DIAL_BACKOFF_US_MIN,
    DIALS_AT_ONCE_MAX,
    FOUND_DIALS_AT_ONCE_MAX,
)
from dms3.core.machine import Entropy
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import parse_peer_id

_JITTER_PARTS = 1 << 16
_DOUBLINGS_MAX = 16


def parse_place(text: str) -> tuple[tuple[str, ...], PeerId | None]:
    """The addresses and the peer in `text`: a multiaddr, or the id of a peer (no address).

    Raises `argument_invalid`.
    """
    try:
        if not text.startswith("/"):
            return (), parse_peer_id(text)
        return (text,), Multiaddr.parse(text).peer
    except DecodeError as error:
        why = f"{text[:64]!r} is not the address of a peer: {error.reason}."
        hint = "An address looks like /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW..."
        raise Dms3Error("argument_invalid", why, hint=hint) from error


@dataclass(slots=True)
class Target:
    """A peer (or an address whose peer is not known yet) that is to stay connected."""

    key: str
    expected: PeerId | None  # who must answer
    addresses: tuple[str, ...]
    peer: PeerId | None = None  # who it is, as far as known
    attempts: int = 0
    due_us: int | None = None  # None: connected, being dialled, or paused
    dialing: bool = False
    paused: bool = False  # a person has disconnected it
    found: bool = False  # nobody asked for it: those who were asked for come first
    hints: tuple[str, ...] = ()  # where it was found of late, tried after its own addresses

    @property
    def how(self) -> str:
        """How it came to be a target: "contact", "bootstrap", "lan" or "exchange"."""
        return self.key.partition("/")[0]


@dataclass(slots=True)
class Dialing:
    """All targets, by key, in the order in which they were added."""

    entropy: Entropy
    targets: dict[str, Target] = field(default_factory=dict)
    timer: int | None = None  # the earliest due instant, or an earlier one

    def want(self, key: str, peer: PeerId | None, addresses: tuple[str, ...], now_us: int) -> None:
        """Keep `peer` connected from now on; new addresses are tried at once."""
        target = self.targets.get(key)
        if target is None:
            target = self.targets[key] = Target(key, peer, addresses)
        target.expected = peer
        target.peer = peer or target.peer
        target.addresses = addresses
        target.paused = False
        if not target.dialing:
            target.attempts = 0
            self._set(target, now_us)

    def unwant(self, key: str) -> None:
        """Let the connection go when it goes."""
        self.targets.pop(key, None)

    def of_peer(self, peer: PeerId) -> list[Target]:
        """The targets that are this peer."""
        return [target for target in self.targets.values() if target.peer == peer]

    def ways(self) -> dict[PeerId, str]:
        """Why each peer is a target."""
        return {target.peer: target.how for target in self.targets.values() if target.peer}

    def due(self, now_us: int, connected: dict[PeerId, int]) -> list[Target]:
        """The targets to dial now, marked as being dialled; `connected`: peers not to dial."""
        ready = []
        busy = sum(target.dialing for target in self.targets.values())
        strange = sum(target.dialing and target.found for target in self.targets.values())
        under_way = {target.peer for target in self.targets.values() if target.dialing}
        self.timer = None
        for target in self.targets.values():
            if target.due_us is None:
                continue
            if target.peer is not None and target.peer in connected:
                target.due_us = None
                continue
            if target.due_us > now_us:
                self._wake(target.due_us)
            elif (
                busy >= DIALS_AT_ONCE_MAX
                or (target.found and strange >= FOUND_DIALS_AT_ONCE_MAX)
                or (target.peer and target.peer in under_way)
            ):
                self._wake(now_us + DIAL_BACKOFF_US_MIN)  # or earlier, when one has ended
            else:
                target.dialing, target.due_us = True, None
                busy += 1
                strange += target.found
                under_way.add(target.peer)
                ready.append(target)
        return ready

    def ended(self, target: Target, now_us: int, *, good: bool) -> None:
        """An attempt, or a connection that it gave, has ended."""
        target.dialing = False
        target.attempts = 0 if good else target.attempts + 1
        if not target.paused:
            self._set(target, now_us + self.backoff_us(target.attempts))

    def settled(self, target: Target, peer: PeerId) -> None:
        """The attempt has connected to `peer`."""
        target.dialing, target.due_us = False, None
        target.peer = peer

    def pause(self, target: Target) -> None:
        """Do not try until it is wanted anew."""
        target.paused, target.due_us = True, None

    def hint(self, target: Target, addresses: tuple[str, ...], now_us: int) -> None:
        """Somebody says that a wanted peer is at `addresses`; when that is new, they are tried."""
        if set(addresses) - set(target.hints) and target.due_us is not None:
            self._set(target, now_us)
        target.hints = addresses

    def wake(self, now_us: int) -> None:
        """Whatever waits is due now: the world may have changed while nobody looked."""
        for target in self.targets.values():
            if not target.paused:
                target.attempts = 0
                if target.due_us is not None:
                    self._set(target, now_us)

    def backoff_us(self, attempts: int) -> int:
        """How long to wait after `attempts` failures: doubling, bounded, a quarter either way."""
        least = DIAL_BACKOFF_US_MIN << min(max(0, attempts - 1), _DOUBLINGS_MAX)
        wait = min(DIAL_BACKOFF_US_MAX, least)
        drawn = int.from_bytes(self.entropy.draw(2), "big")
        return wait * 3 // 4 + wait // 2 * drawn // _JITTER_PARTS

    def _set(self, target: Target, at_us: int) -> None:
        target.due_us = at_us
        self._wake(at_us)

    def _wake(self, at_us: int) -> None:
        if self.timer is None or at_us < self.timer:
            self.timer = at_us
