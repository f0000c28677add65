"""What the parts of machine "peers" stand on: whom the node knows, wants, dials, waits for, probes.

Source: docs/architecture.md, "The machine" and "How nodes meet". Only construction, and what
several parts tell the transport or people; what becomes of a connection is decided in the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dms3.core.ids import PeerId, Root, Token
from dms3.core.machine import Call, Effect, Entropy, Now
from dms3.p2p.dialing import Dialing
from dms3.p2p.known import KnownPeers, PeerRow
from dms3.p2p.port import DialRequest, HangUp
from dms3.p2p.probing import Probes
from dms3.p2p.waiting import Waiting
from dms3.p2p.wanted import Wanted


class Grounds:
    """Shared by the parts of one peer book; arguments as those of `PeerBook`."""

    def __init__(self, own: PeerId, root: Root, bootstrap: Sequence[str], entropy: Entropy) -> None:
        self.own = own
        self.known = KnownPeers()
        self.dialing = Dialing(entropy)
        self.wanted = Wanted(own, root, bootstrap, self.dialing)
        self.waiting = Waiting()
        self.probes = Probes(entropy)
        self._count = 0

    def order(self, operation: str, arguments: Any) -> Call:
        """Have the transport carry out `operation`, whose answer nobody waits for."""
        self._count += 1
        return Call(f"transport.{operation}", arguments, Token(f"{operation}/{self._count}"))

    def hang_up(self, peer: PeerId, reason: str) -> Call:
        """Close the connection to `peer`; it is told the `reason`."""
        return self.order("hang_up", HangUp(peer, reason))

    def dial(self, now: Now) -> list[Effect]:
        """Dial the targets that are due, but nobody who is refused."""
        effects: list[Effect] = []
        for target in self.dialing.due(now.mono_us, self.known.up):
            addresses = target.addresses
            if target.peer is not None:
                if self.known.is_refused(target.peer, now.wall_us):
                    self.dialing.ended(target, now.mono_us, good=False)
                    continue
                addresses = (*self.known.addresses(target.peer, addresses), *target.hints)
            request = DialRequest(tuple(dict.fromkeys(addresses)), target.expected)
            effects.append(Call("transport.dial", request, Token(f"dial/{target.key}")))
        return effects

    def rows(self, now: Now) -> tuple[PeerRow, ...]:
        """All known peers, for people."""
        return self.known.rows(now, self.wanted.contacts.of_peer, self.dialing.ways())
