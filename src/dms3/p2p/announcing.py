"""What this node says about where it is: its own record's addresses, and a number that only rises.

Source: libp2p RFC 0003 (routing records), `seq`. The number is durable before a record with it is
signed: a node whose clock was set back is believed all the same. Does not sign anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.machine import Effect, Now, Persist, View
from dms3.p2p.port import Announce

TABLE = "own"
_KEY = b"record"


@dataclass(frozen=True, slots=True)
class Own:
    """The last announcement; `sequence` 0 before there was one."""

    sequence: int
    addresses: tuple[str, ...]


class Announcing:
    """The node's own row."""

    def __init__(self) -> None:
        self._own = Own(0, ())
        self._said = False  # since the start

    def load(self, view: View) -> None:
        """Read the committed row."""
        data = view.get(TABLE, _KEY)
        if data is not None:
            self._own = decode(Own, data)

    def listening(
        self, addresses: tuple[str, ...], now: Now
    ) -> tuple[bool, list[Effect], Announce | None]:
        """Whether this node moved while it ran, what to write, what to say; None: nothing new.

        A circuit that comes or goes is news, and no move.
        """
        if self._said and addresses == self._own.addresses:
            return False, [], None
        moved = self._said and _direct(addresses) != _direct(self._own.addresses)
        effects: list[Effect] = []
        if addresses != self._own.addresses or not self._own.sequence:
            self._own = Own(max(self._own.sequence + 1, now.wall_us), addresses)
            effects.append(Persist(TABLE, _KEY, encode(self._own)))
        self._said = True
        return moved, effects, Announce(self._own.sequence, addresses)


def _direct(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in addresses if not one.endswith("/p2p-circuit"))
