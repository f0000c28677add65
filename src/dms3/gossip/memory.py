"""What was heard of late: ids that count once, and the bodies that are still given out.

Source: docs/gossip.md, "Bounds". Windows by age and by count; of all channels together, the one
that has most loses first, so that a flood in one overlay costs no other one. Nothing is kept over
a restart: partners are compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.limits import (
    GOSSIP_KEEP_US,
    GOSSIP_KEPT_ALL_BYTES_MAX,
    GOSSIP_KEPT_BYTES_MAX,
    GOSSIP_KEPT_MAX,
    GOSSIP_RECENT_MAX,
    GOSSIP_SEEN_ALL_MAX,
    GOSSIP_SEEN_MAX,
    GOSSIP_SEEN_US,
    GOSSIP_SETTLED_US,
)
from dms3.gossip.messages import Channel, mark_of

Dropped = Callable[[str], None]
"""Told why something had to go before its time."""


@dataclass(slots=True)
class _Window:
    """Of one channel: id -> when it was heard, id -> (body, when), both the oldest first.

    `mark`: of the newest ids, b"" since they have changed.
    """

    seen: dict[bytes, int] = field(default_factory=dict)
    kept: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    size: int = 0
    mark: bytes = b""


class Memory:
    """Of all channels. Every `now_us` is monotonic."""

    def __init__(self, dropped: Dropped) -> None:
        self._dropped = dropped
        self._windows: dict[Channel, _Window] = {}
        self._seen = 0
        self._size = 0

    def knows(self, channel: Channel, name: bytes) -> bool:
        """Whether the body of that id was heard."""
        window = self._windows.get(channel)
        return window is not None and name in window.seen

    def body(self, channel: Channel, name: bytes) -> bytes | None:
        """The body of that id, if it is still given out."""
        window = self._windows.get(channel)
        found = None if window is None else window.kept.get(name)
        return None if found is None else found[0]

    def recent(self, channel: Channel) -> list[bytes]:
        """The newest ids whose bodies are given out, the oldest first."""
        window = self._windows.get(channel)
        return [] if window is None else list(window.kept)[-GOSSIP_RECENT_MAX:]

    def mark(self, channel: Channel) -> bytes:
        """What these ids have in common with no other ones; reckoned once, whoever asks."""
        window = self._windows.get(channel)
        if window is None:
            return mark_of(())
        window.mark = window.mark or mark_of(self.recent(channel))
        return window.mark

    def sizes(self, channel: Channel) -> tuple[int, int, int]:
        """Ids known, bodies given out, and their bytes."""
        window = self._windows.get(channel)
        return (0, 0, 0) if window is None else (len(window.seen), len(window.kept), window.size)

    # Changes

    def hear(self, channel: Channel, name: bytes, now_us: int) -> None:
        """The body of that id is known from now on."""
        window = self._windows.setdefault(channel, _Window())
        if name not in window.seen:
            window.seen[name] = now_us
            self._seen += 1
        while len(window.seen) > GOSSIP_SEEN_MAX:
            self._unsee(window)
        while self._seen > GOSSIP_SEEN_ALL_MAX:
            self._unsee(max(self._windows.values(), key=lambda each: len(each.seen)))

    def forget(self, channel: Channel, name: bytes) -> None:
        """The body of that id could not be judged: it may be heard again."""
        window = self._windows.get(channel)
        if window is not None and window.seen.pop(name, None) is not None:
            self._seen -= 1

    def keep(self, channel: Channel, name: bytes, body: bytes, now_us: int) -> None:
        """Give out `body` from now on."""
        window = self._windows.setdefault(channel, _Window())
        if name in window.kept:
            return
        window.kept[name] = (body, now_us)
        window.mark = b""
        window.size += len(body)
        self._size += len(body)
        while len(window.kept) > GOSSIP_KEPT_MAX or window.size > GOSSIP_KEPT_BYTES_MAX:
            self._unkeep(window, now_us)
        while self._size > GOSSIP_KEPT_ALL_BYTES_MAX:
            self._unkeep(max(self._windows.values(), key=lambda each: each.size), now_us)

    def expire(self, now_us: int) -> None:
        """Let go of what is old."""
        for channel, window in list(self._windows.items()):
            while window.kept and next(iter(window.kept.values()))[1] + GOSSIP_KEEP_US <= now_us:
                self._unkeep(window, now_us)
            while window.seen and next(iter(window.seen.values())) + GOSSIP_SEEN_US <= now_us:
                self._unsee(window, early=False)
            if not window.seen and not window.kept:
                del self._windows[channel]

    def drop(self, channel: Channel) -> None:
        """This node is there no more."""
        window = self._windows.pop(channel, None)
        if window is not None:
            self._seen -= len(window.seen)
            self._size -= window.size

    def _unsee(self, window: _Window, *, early: bool = True) -> None:
        del window.seen[next(iter(window.seen))]
        self._seen -= 1
        if early:
            self._dropped("seen_full")

    def _unkeep(self, window: _Window, now_us: int) -> None:
        name = next(iter(window.kept))
        body, at_us = window.kept.pop(name)
        window.mark = b""
        window.size -= len(body)
        self._size -= len(body)
        if now_us - at_us < GOSSIP_SETTLED_US:
            self._dropped("kept_full")
