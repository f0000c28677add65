"""Ops that were brought and not taken: not brought again for a while, each overlay for itself.

Source: docs/attacks.md, "Somebody in an app's overlay". A flood in one app costs no other one its
place. Of agents that this node blocks only a short name of each op is kept, so that thousands of
them are known for hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from dms3.core.ids import OverlayId
from dms3.core.limits import (
    ASIDE_ALL_MAX,
    ASIDE_MAX,
    BARRED_ALL_MAX,
    BARRED_KEPT_US,
    BARRED_MAX,
    FAR_KEPT_US,
)

_NAME_BYTES = 8

V = TypeVar("V")


class _Shares(Generic[V]):
    """So many values of one overlay, and of all: who has most loses its oldest first."""

    def __init__(self, most: int, most_all: int) -> None:
        self._most = most
        self._most_all = most_all
        self._of: dict[OverlayId, dict[bytes, V]] = {}
        self._size = 0

    def get(self, overlay: OverlayId, key: bytes) -> V | None:
        return self._of.get(overlay, {}).get(key)

    def put(self, overlay: OverlayId, key: bytes, value: V) -> None:
        self.pop(overlay, key)
        own = self._of.setdefault(overlay, {})
        if len(own) >= self._most:
            self.pop(overlay, next(iter(own)))
        elif self._size >= self._most_all:
            where, largest = max(self._of.items(), key=lambda each: len(each[1]))
            self.pop(where, next(iter(largest)))
        own[key] = value
        self._size += 1

    def pop(self, overlay: OverlayId, key: bytes) -> None:
        if self._of.get(overlay, {}).pop(key, None) is not None:
            self._size -= 1

    def leave(self, overlay: OverlayId) -> None:
        self._size -= len(self._of.pop(overlay, ()))


@dataclass(frozen=True, slots=True)
class _Until:
    """Until when (monotonic) an op is not brought again; `far`: where it lies, if that is why."""

    us: int
    far: bytes = b""


class Aside:
    """What is not brought again. Every `now_us` is monotonic."""

    def __init__(self) -> None:
        self._some: _Shares[_Until] = _Shares(ASIDE_MAX, ASIDE_ALL_MAX)
        self._barred: _Shares[int] = _Shares(BARRED_MAX, BARRED_ALL_MAX)

    def has(self, overlay: OverlayId, op_id: bytes, now_us: int) -> bool:
        """Whether the op with that id is not to be brought now."""
        some = self._some.get(overlay, op_id)
        if some is not None and some.us > now_us:
            return True
        return (self._barred.get(overlay, op_id[:_NAME_BYTES]) or 0) > now_us

    def far(self, overlay: OverlayId, op_id: bytes) -> bytes:
        """Where an op lies that was too far to be taken."""
        some = self._some.get(overlay, op_id)
        return b"" if some is None else some.far

    def put_far(self, overlay: OverlayId, op_id: bytes, at: bytes, now_us: int) -> None:
        """It lies at `at`, where others are nearer."""
        self._some.put(overlay, op_id, _Until(now_us + FAR_KEPT_US, at))

    def put(self, overlay: OverlayId, op_id: bytes, until_us: int) -> None:
        """It was not taken for now."""
        self._some.put(overlay, op_id, _Until(until_us))

    def near(self, overlay: OverlayId, op_id: bytes) -> None:
        """It does not lie too far any more."""
        self._some.pop(overlay, op_id)

    def bar(self, overlay: OverlayId, op_id: bytes, now_us: int) -> None:
        """Its author is blocked."""
        self._barred.put(overlay, op_id[:_NAME_BYTES], now_us + BARRED_KEPT_US)

    def pardoned(self, overlay: OverlayId) -> None:
        """Somebody is blocked no more."""
        self._barred.leave(overlay)

    def leave(self, overlay: OverlayId) -> None:
        """The app is judged no more."""
        self._some.leave(overlay)
        self._barred.leave(overlay)
