"""The queue of actions that wait for a verdict: how much of it each peer and author may fill.

Source: docs/attacks.md, "Somebody in an app's overlay". Whoever has waited long in vain gives way
when there is no room: its author publishes it again. Decides nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from dms3.core.cid import Cid
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    PENDING_ACTIONS_MAX,
    PENDING_BYTES_MAX,
    PENDING_OLD_US,
    PENDING_PER_AUTHOR_MAX,
    PENDING_PER_PEER_MAX,
)
from dms3.core.machine import Now
from dms3.validation.judging import Case

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class _Place:
    """A case in the queue, and the bytes that it takes on disk."""

    case: Case
    size: int


class Queue:
    """The cases of actions that are held, oldest first."""

    def __init__(self) -> None:
        self._places: dict[tuple[OverlayId, Cid], _Place] = {}
        self._peers: dict[bytes, int] = {}
        self._authors: dict[tuple[OverlayId, bytes], int] = {}
        self._overlays: dict[OverlayId, dict[Cid, None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def find(self, overlay: OverlayId, hash_: Cid) -> Case | None:
        """The case of that action."""
        place = self._places.get((overlay, hash_))
        return None if place is None else place.case

    def of(self, overlay: OverlayId) -> list[Case]:
        """All of an overlay, oldest first."""
        return [self._places[overlay, hash_].case for hash_ in self._overlays.get(overlay, ())]

    def refuses(self, overlay: OverlayId, author: bytes, peer: bytes, size: int) -> str:
        """Why one more of `size` bytes is not taken; "" when it is."""
        if peer and self._peers.get(peer, 0) >= PENDING_PER_PEER_MAX:
            return f"{PENDING_PER_PEER_MAX} actions that you brought are not judged yet"
        if self._authors.get((overlay, author), 0) >= PENDING_PER_AUTHOR_MAX:
            return f"{PENDING_PER_AUTHOR_MAX} actions of its author are not judged yet"
        if len(self._overlays.get(overlay, ())) >= PENDING_ACTIONS_MAX:
            return f"{PENDING_ACTIONS_MAX} actions of this app are not judged yet"
        if self._bytes + size > PENDING_BYTES_MAX:
            return f"{PENDING_BYTES_MAX} bytes are not judged yet"
        return ""

    def grow(self, overlay: OverlayId, hash_: Cid, size: int) -> str:
        """More bytes come for an action that waits: why they are not taken; "" when they are."""
        place = self._places.get((overlay, hash_))
        if place is None or not size:
            return ""
        if self._bytes + size > PENDING_BYTES_MAX:
            return f"{PENDING_BYTES_MAX} bytes are not judged yet"
        self._places[overlay, hash_] = _Place(place.case, place.size + size)
        self._bytes += size
        return ""

    def old(self, overlay: OverlayId, now: Now) -> Case | None:
        """The one that may give way: it has waited longest, for something that nobody has."""
        before_us = now.mono_us - PENDING_OLD_US
        hash_ = next(iter(self._overlays.get(overlay, ())), None)
        if hash_ is None:
            return None
        case = self._places[overlay, hash_].case
        return case if case.needs and case.since_us <= before_us else None

    def add(self, case: Case, size: int) -> None:
        """One more."""
        overlay, hash_, author = case.overlay, case.signed.hash, case.signed.action.author
        self._places[overlay, hash_] = _Place(case, size)
        self._overlays.setdefault(overlay, {})[hash_] = None
        self._authors[overlay, author] = self._authors.get((overlay, author), 0) + 1
        if case.peer:
            self._peers[case.peer] = self._peers.get(case.peer, 0) + 1
        self._bytes += size

    def remove(self, case: Case) -> None:
        """It waits no more."""
        overlay, hash_ = case.overlay, case.signed.hash
        place = self._places.pop((overlay, hash_))
        hashes = self._overlays[overlay]
        del hashes[hash_]
        if not hashes:
            del self._overlays[overlay]
        _less(self._authors, (overlay, case.signed.action.author))
        if case.peer:
            _less(self._peers, case.peer)
        self._bytes -= place.size


def _less(counts: dict[K, int], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
