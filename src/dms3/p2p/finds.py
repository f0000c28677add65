"""Peers that were found and not asked for: on the local network, or named by another peer.

Source: docs/architecture.md, "How nodes meet". Decides which of them are dialled, and how many;
the dialling itself is `p2p/dialing.py`. A found peer that does not answer, or is not of our
network, is left alone for a while.
"""

from __future__ import annotations

from dms3.core.ids import PeerId
from dms3.core.limits import (
    FOUND_ATTEMPTS_MAX,
    FOUND_AVOID_US,
    FOUND_AVOIDED_MAX,
    FOUND_HINTS_MAX,
    LAN_PEERS_MAX,
    PEERS_WANTED_MIN,
)
from dms3.p2p.dialing import Dialing, Target

LAN, EXCHANGE = "lan", "exchange"
KEPT_MAX = {LAN: LAN_PEERS_MAX, EXCHANGE: PEERS_WANTED_MIN}
"""How many found peers are dialled or kept connected at once, by how they were found."""


class Finds:
    """The found peers among the targets of `dialing`; their keys begin with how they were found."""

    def __init__(self, dialing: Dialing) -> None:
        self._dialing = dialing
        self._counts = dict.fromkeys(KEPT_MAX, 0)
        self._avoided: dict[PeerId, int] = {}  # until this monotonic instant, oldest first

    def offer(self, peer: PeerId, addresses: tuple[str, ...], how: str, now_us: int) -> bool:
        """Whether `peer` is new and will be dialled; of one that is wanted it is a hint."""
        if not addresses or now_us < self._avoided.get(peer, 0):
            return False
        wanted = self._dialing.of_peer(peer)
        for target in wanted:
            self._dialing.hint(target, addresses[:FOUND_HINTS_MAX], now_us)
        if wanted or self._counts[how] >= KEPT_MAX[how]:
            return False
        self._counts[how] += 1
        key = f"{how}/{peer.hex()}"
        self._dialing.want(key, peer, addresses, now_us)
        self._dialing.targets[key].found = True
        return True

    def up(self, target: Target) -> None:
        """The dial of `target` has connected. One of the LAN stays wanted, others are let be."""
        if target.found and target.how == EXCHANGE:
            self._drop(target)

    def failed(self, target: Target, now_us: int) -> None:
        """A dial of `target`, or its connection, has ended; after some in a row it rests."""
        if target.found and target.peer is not None and target.attempts >= FOUND_ATTEMPTS_MAX:
            self.avoid(target.peer, now_us)

    def avoid(self, peer: PeerId, now_us: int) -> None:
        """Leave a found peer alone: it does not answer, or is none of ours."""
        for target in self._dialing.of_peer(peer):
            if target.found:
                self._drop(target)
        self._avoided.pop(peer, None)
        self._avoided[peer] = now_us + FOUND_AVOID_US
        if len(self._avoided) > FOUND_AVOIDED_MAX:
            del self._avoided[next(iter(self._avoided))]

    def wake(self) -> None:
        """Another network perhaps: those that rested may be tried again."""
        self._avoided.clear()

    def _drop(self, target: Target) -> None:
        if self._dialing.targets.get(target.key) is target:
            self._dialing.unwant(target.key)
            self._counts[target.how] -= 1
