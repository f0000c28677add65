"""Comparing: now and then a partner is asked what it keeps, so that nothing stays unheard.

Source: docs/gossip.md; anti-entropy (Demers et al. 1987); seed 004, II.D, for whom it is. A new
partner is compared with at once, then one of them, every few seconds while something differs and
every minute while nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dms3.core.admission import NOT_ADMITTED
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import GOSSIP_ASK_US, GOSSIP_PERIOD_US, GOSSIP_REST_US
from dms3.core.overlay import Asked, AskNodes
from dms3.gossip.grounds import MALFORMED, Grounds
from dms3.gossip.links import Links
from dms3.gossip.memory import Memory
from dms3.gossip.messages import (
    PROTOCOL,
    Channel,
    Question,
    Recent,
    decode_recent,
    split,
)
from dms3.p2p.port import Partners

FULL = Failure("limit_reached", "This node has partners enough there.", Retry.OTHER_PEER)
_PARTS = 1 << 16
_UNFIT = ("protocol_unsupported", "network_mismatch")

Heard = Callable[[PeerId, Channel, Sequence[bytes]], bool]
"""Told which bodies a peer keeps; whether one of them is unknown here."""

Tell = Callable[[PeerId, Channel, Sequence[bytes]], None]
"""Told which bodies a peer is to hear of."""


@dataclass(frozen=True, slots=True)
class Means:
    """What comparing is done with."""

    grounds: Grounds
    links: Links
    memory: Memory
    topics: tuple[str, ...]
    heard: Heard
    tell: Tell


class Comparing:
    """Of all overlays."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._desk = means.grounds.desk
        self._rest_us: dict[OverlayId, int] = {}

    def begin(self, overlay: OverlayId) -> None:
        """This node is there: compare from now on."""
        if overlay not in self._rest_us:
            self._rest_us[overlay] = GOSSIP_PERIOD_US
            self._later(overlay)

    def leave(self, overlay: OverlayId) -> None:
        """No more."""
        self._rest_us.pop(overlay, None)
        self._desk.no_alarm(_alarm(overlay))

    def differs(self, overlay: OverlayId) -> None:
        """Something came that others had long ago, or a partner is new: compare soon again."""
        if self._rest_us.get(overlay, 0) > GOSSIP_PERIOD_US:
            self._rest_us[overlay] = GOSSIP_PERIOD_US
            self._later(overlay)

    def with_peer(self, overlay: OverlayId, peer: PeerId) -> None:
        """Compare with `peer` now, in every topic."""
        for topic in self._means.topics:
            self._compare(Channel(overlay, topic), peer)

    def answer(self, channel: Channel, mark: bytes) -> bytes:
        """What this node keeps, for a partner whose newest ids have that mark."""
        memory = self._means.memory
        if memory.mark(channel) == mark:
            return encode(Recent(same=True))
        return encode(Recent(b"".join(memory.recent(channel))))

    def _later(self, overlay: OverlayId) -> None:
        rest_us = self._rest_us[overlay]
        drawn = int.from_bytes(self._means.grounds.entropy.draw(2), "big")
        wait_us = rest_us // 2 + rest_us * drawn // _PARTS
        self._desk.after(_alarm(overlay), wait_us, lambda: self._round(overlay))

    def _round(self, overlay: OverlayId) -> None:
        self._rest_us[overlay] = min(2 * self._rest_us[overlay], GOSSIP_REST_US)
        self._later(overlay)
        partners = self._partners(overlay)
        if not partners:
            return
        drawn = int.from_bytes(self._means.grounds.entropy.draw(2), "big")
        anybody = partners[drawn // 2 % len(partners)]
        if drawn % 2:
            self._draw(overlay, partners, anybody)
        else:
            self.with_peer(overlay, anybody)

    def _partners(self, overlay: OverlayId) -> list[PeerId]:
        links = self._means.links
        return list(dict.fromkeys([*links.chosen(overlay), *links.of(overlay)]))

    def _draw(self, overlay: OverlayId, partners: Sequence[PeerId], anybody: PeerId) -> None:
        """Compare with one whom the peer book draws: to push news, or to pull what others have.

        Every other round only: whoever is always there must not be all that this node ever asks.
        """

        def drawn(body: Any) -> None:
            if overlay not in self._rest_us:
                return
            peer = body[0] if isinstance(body, tuple) and body else anybody
            self.with_peer(overlay, peer if peer in self._partners(overlay) else anybody)

        channels = (Channel(overlay, topic) for topic in self._means.topics)
        news = any(self._means.memory.sizes(channel)[1] for channel in channels)
        wanted = Partners(tuple(partners), "push" if news else "pull", 1)
        self._desk.call("peers.partners", wanted, drawn)

    def _compare(self, channel: Channel, peer: PeerId) -> None:
        memory = self._means.memory
        mine = memory.recent(channel)
        body = encode(Question(channel.overlay, channel.topic, mark=memory.mark(channel)))

        def answered(answer: Any) -> None:
            if isinstance(answer, Failure) and answer.code == NOT_ADMITTED:
                self._introduced(channel, peer, mine, body)
            else:
                self._answered(channel, peer, mine, answer)

        self._desk.request(peer, PROTOCOL, body, GOSSIP_ASK_US, answered)

    def _introduced(self, channel: Channel, peer: PeerId, mine: list[bytes], body: bytes) -> None:
        """The overlay is closed: machine "dht" shows who this node is, and asks again."""

        def asked(answer: Any) -> None:
            if isinstance(answer, Asked):
                for _, each in answer.answers:
                    self._answered(channel, peer, mine, each)

        nodes = (self._means.links.node(channel.overlay, peer),)
        question = AskNodes(nodes, PROTOCOL, body, 0, GOSSIP_ASK_US, channel.overlay)
        self._desk.call("dht.ask", question, asked)

    def _answered(self, channel: Channel, peer: PeerId, mine: list[bytes], answer: Any) -> None:
        means = self._means
        if isinstance(answer, Failure):
            if answer.code in _UNFIT:
                means.links.unfit(peer)
            elif answer.code == FULL.code and answer.retry == FULL.retry:
                means.links.full(channel.overlay, peer)
            else:
                self.differs(channel.overlay)  # it may be late, or not be there yet
            return
        try:
            recent = decode_recent(answer)
        except DecodeError:
            means.grounds.blame(peer, MALFORMED)
            return
        if recent.same or not means.links.has(channel.overlay):
            return
        theirs = dict.fromkeys(split(recent.ids))
        lacked = [name for name in mine if name not in theirs]
        if lacked:
            means.tell(peer, channel, lacked)
        if means.heard(peer, channel, list(theirs)) or lacked:
            self.differs(channel.overlay)


def _alarm(overlay: OverlayId) -> str:
    return f"compare:{overlay.hex()}"
