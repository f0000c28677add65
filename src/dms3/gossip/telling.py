"""Ids that partners are told: those of a moment together, none to whom has told it himself.

Source: docs/gossip.md. What comes alone goes at once; after that a batch gathers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dms3.core.codec import encode
from dms3.core.ids import PeerId
from dms3.core.limits import GOSSIP_BATCH_US, GOSSIP_NEWS_MAX, GOSSIP_OUTBOX_MAX
from dms3.gossip.grounds import Grounds
from dms3.gossip.messages import PROTOCOL, Channel, News

_ALARM = "tell"


class Telling:
    """What each partner is still to be told."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._boxes: dict[PeerId, dict[Channel, dict[bytes, None]]] = {}
        self._last_us: int | None = None

    @property
    def waiting(self) -> int:
        """The ids that wait, of the partner for whom most do."""
        return max((sum(map(len, box.values())) for box in self._boxes.values()), default=0)

    def tell(self, peers: Iterable[PeerId], channel: Channel, names: Sequence[bytes]) -> None:
        """Tell `peers` that this node has these bodies."""
        for peer in peers:
            ids = self._boxes.setdefault(peer, {}).setdefault(channel, {})
            for name in names:
                ids[name] = None
                if len(ids) > GOSSIP_OUTBOX_MAX:
                    del ids[next(iter(ids))]
                    self._grounds.counts.dropped("outbox_full")
        if self._boxes and not self._desk.has_alarm(_ALARM):
            self._desk.after(_ALARM, self._pause_us(), self._flush)

    def knows(self, peer: PeerId, channel: Channel, names: Iterable[bytes]) -> None:
        """`peer` has said that it has these bodies."""
        ids = self._boxes.get(peer, {}).get(channel)
        if ids:
            for name in names:
                ids.pop(name, None)

    def gone(self, peer: PeerId) -> None:
        """The connection has closed: it is compared with when it comes back."""
        self._boxes.pop(peer, None)

    def leave(self, channel: Channel) -> None:
        """Nothing of it is told any more."""
        for box in self._boxes.values():
            box.pop(channel, None)

    def _pause_us(self) -> int:
        if self._last_us is None:
            return 0
        return max(0, self._last_us + GOSSIP_BATCH_US - self._desk.now.mono_us)

    def _flush(self) -> None:
        self._last_us = self._desk.now.mono_us
        boxes, self._boxes = self._boxes, {}
        for peer, box in boxes.items():
            for channel, ids in box.items():
                self._send(peer, channel, list(ids))

    def _send(self, peer: PeerId, channel: Channel, names: list[bytes]) -> None:
        self._grounds.counts.told += len(names)
        for at in range(0, len(names), GOSSIP_NEWS_MAX):
            ids = b"".join(names[at : at + GOSSIP_NEWS_MAX])
            self._desk.send(peer, PROTOCOL, encode(News(channel.overlay, channel.topic, ids)))
