"""Which peers get in: not who is refused, and in a crowd only who is needed.

Source: docs/architecture.md, "How nodes meet"; docs/wire.md, "Conduct". Whom to refuse and whom to
keep is decided by machine "peers" (p2p/peers.py). It closes no connection.
"""

from __future__ import annotations

from collections.abc import Mapping

from dms3.core.ids import PeerId
from dms3.core.limits import INBOUND_UNNEEDED_MAX, REFUSED_PEERS_MAX
from dms3.node.session import Clock, Session


class Door:
    """Who gets in. Arguments: `clock`; `sessions`, those there are now, by peer."""

    def __init__(self, clock: Clock, sessions: Mapping[PeerId, Session]) -> None:
        self._clock = clock
        self._sessions = sessions
        self._refused: dict[PeerId, int] = {}  # until this monotonic instant
        self.kept: frozenset[PeerId] = frozenset()  # these get in, whatever the crowd

    def admits(self, peer: PeerId, *, inbound: bool) -> bool:
        """Whether to have a connection with `peer`: not while it is refused, or one too many.

        Who comes and is not needed finds the door shut in a crowd; contacts get in.
        """
        crowded = inbound and peer not in self.kept and peer not in self._sessions
        if crowded and self._strangers() >= INBOUND_UNNEEDED_MAX:
            return False
        return self._refused.get(peer, 0) <= self._clock.now().mono_us

    def refuse(self, peer: PeerId, for_us: int) -> None:
        """Let `peer` in no more for `for_us` microseconds from now."""
        now_us = self._clock.now().mono_us
        over = [one for one, until_us in self._refused.items() if until_us <= now_us]
        for one in over:
            del self._refused[one]
        if len(self._refused) >= REFUSED_PEERS_MAX:  # the one that was nearest to its end goes
            del self._refused[min(self._refused, key=lambda one: (self._refused[one], one))]
        self._refused[peer] = now_us + for_us

    def _strangers(self) -> int:
        """How many peers have come that are not kept."""
        return sum(
            session.secured.inbound and peer not in self.kept
            for peer, session in self._sessions.items()
        )
