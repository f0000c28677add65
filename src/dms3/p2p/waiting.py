"""Commands that wait for a peer: for a dial, then for the probe of who answered.

Source: docs/architecture.md, "The machine" (Call). Plain state that `p2p/peers.py` drives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.limits import CALLS_WAITING_MAX
from dms3.core.machine import Cancel, Effect, Reply
from dms3.p2p.port import Dialed


@dataclass(slots=True)
class Asked:
    """A command that waits; `ping`: it wants the round trip, not the connection."""

    request: RequestId
    peer: PeerId | None
    ping: bool


class Waiting:
    """The waiting commands by token, bounded."""

    def __init__(self) -> None:
        self._asked: dict[Token, Asked] = {}
        self._count = 0

    def add(self, request: RequestId, peer: PeerId | None, *, ping: bool) -> Token:
        """The token of a new one; raises `limit_reached`."""
        if len(self._asked) >= CALLS_WAITING_MAX:
            raise Dms3Error("limit_reached", "Too many commands wait for peers.")
        self._count += 1
        token = Token(f"wait/{self._count}")
        self._asked[token] = Asked(request, peer, ping)
        return token

    def get(self, token: Token) -> Asked | None:
        """The command that waits with `token`."""
        return self._asked.get(token)

    def end(self, token: Token, body: Any) -> Effect:
        """The answer to one command."""
        return Reply(self._asked.pop(token).request, body)

    def finish(
        self, peer: PeerId, address: str, failure: Failure | None, rtt_us: int = 0
    ) -> list[Effect]:
        """The answers to all that wait for `peer`, which is at `address`, or failed."""
        effects: list[Effect] = []
        for token, asked in list(self._asked.items()):
            if asked.peer == peer:
                good = rtt_us if asked.ping else Dialed(peer, address)
                effects.append(self.end(token, good if failure is None else failure))
        return effects

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """Whoever asked waits no longer; a dial that only it wanted is forgotten."""
        for token, asked in list(self._asked.items()):
            if asked.request == request:
                del self._asked[token]
                return [Cancel(token)] if asked.peer is None else []
        return []
