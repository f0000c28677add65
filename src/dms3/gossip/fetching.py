"""Bodies that others have and this node has not: each is asked of one partner at a time.

Source: docs/gossip.md; the lazy half of Plumtree (Leitao, Pereira, Rodrigues 2007), without the
eager one. Whoever does not give what it has told is passed over, and the next that has told it is
asked. A slow judge slows the asking: no body waits in a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import (
    GOSSIP_ASK_US,
    GOSSIP_ASKS_MAX,
    GOSSIP_JUDGING_MAX,
    GOSSIP_OFFERS_MAX,
    GOSSIP_SILENCES_MAX,
    GOSSIP_WANT_MAX,
)
from dms3.gossip.grounds import LIED, MALFORMED, Grounds
from dms3.gossip.messages import PROTOCOL, Channel, Question, decode_bodies, id_of

Brought = Callable[[Channel, bytes, PeerId, bytes], None]
"""Told of a body: where, its id, who gave it. `Fetching.judged` is called once for each."""

Missed = Callable[[Channel], None]


@dataclass(slots=True)
class _Want:
    """An id whose body is not here: who has told it, who is asked now, `silences` met so far."""

    silences: int = 0
    sources: dict[PeerId, None] = field(default_factory=dict)
    asked: PeerId | None = None


@dataclass(slots=True)
class _Offers:
    """What one peer has told and was not asked for yet, and how many questions to it are open."""

    ids: dict[Channel, dict[bytes, None]] = field(default_factory=dict)
    count: int = 0
    open: int = 0

    def add(self, channel: Channel, name: bytes) -> None:
        of_channel = self.ids.setdefault(channel, {})
        self.count += name not in of_channel
        of_channel[name] = None

    def remove(self, channel: Channel, name: bytes) -> None:
        of_channel = self.ids.get(channel, {})
        if name in of_channel:
            del of_channel[name]
            self.count -= 1
            if not of_channel:
                del self.ids[channel]

    def oldest(self) -> tuple[Channel, bytes]:
        """Of the channel that has most."""
        channel = max(self.ids, key=lambda each: len(self.ids[each]))
        return channel, next(iter(self.ids[channel]))


class Fetching:
    """`brought` is told of every body that comes, `missed` of a channel in which one does not."""

    def __init__(self, grounds: Grounds, brought: Brought, missed: Missed) -> None:
        self._missed = missed
        self._grounds = grounds
        self._desk = grounds.desk
        self._brought = brought
        self._wants: dict[tuple[Channel, bytes], _Want] = {}  # who tells one elsewhere lies alone
        self._offers: dict[PeerId, _Offers] = {}
        self._busy: dict[Channel, int] = {}  # asked for or judged
        self._held_up: set[Channel] = set()

    @property
    def sizes(self) -> tuple[int, int]:
        """Ids wanted, and ids told that are to be asked for."""
        return len(self._wants), sum(each.count for each in self._offers.values())

    def offered(self, peer: PeerId, channel: Channel, names: Sequence[bytes]) -> None:
        """`peer` has these bodies, which are not here."""
        offers = self._offers.setdefault(peer, _Offers())
        for name in names:
            want = self._wants.get((channel, name))
            if want is None:
                want = self._wants[channel, name] = _Want()
            want.sources[peer] = None
            offers.add(channel, name)
            if offers.count > GOSSIP_OFFERS_MAX:
                oldest = offers.oldest()
                offers.remove(*oldest)
                self._not_from(peer, *oldest, "offers_full")
        self._ask(peer)

    def judged(self, channel: Channel) -> None:
        """The owner has said what a body is worth: there is room for another."""
        self._free(channel, 1)
        self._resume(channel)

    def gone(self, peer: PeerId) -> None:
        """The connection has closed; what it was asked is answered by a Failure."""
        offers = self._offers.pop(peer, None)
        if offers is None:
            return
        for channel, names in offers.ids.items():
            for name in names:
                self._not_from(peer, channel, name, "not_given")

    def leave(self, channel: Channel) -> None:
        """Nothing of it is wanted any more."""
        for key in [key for key in self._wants if key[0] == channel]:
            del self._wants[key]
        for offers in self._offers.values():
            offers.count -= len(offers.ids.pop(channel, ()))

    # Asking

    def _ask(self, peer: PeerId) -> None:
        """Put as many questions to `peer` as it may be asked now."""
        offers = self._offers.get(peer)
        while offers is not None and offers.ids and offers.open < GOSSIP_ASKS_MAX:
            group = next((each for each in self._groups(offers) if each[1]), None)
            if group is None:
                return
            self._request(peer, offers, *group)

    def _groups(self, offers: _Offers) -> Iterator[tuple[Channel, list[bytes]]]:
        """Of each channel as much as one question takes; what others are asked for is left out."""
        for channel in list(offers.ids):
            room = min(GOSSIP_WANT_MAX, self._room(channel))
            if room <= 0:
                self._held_up.add(channel)
                continue
            names: list[bytes] = []
            for name in list(offers.ids.get(channel, ())):
                want = self._wants.get((channel, name))
                if want is None or want.asked is not None:
                    offers.remove(channel, name)  # its peer stays a source
                    continue
                names.append(name)
                if len(names) == room:
                    break
            yield channel, names

    def _request(self, peer: PeerId, offers: _Offers, channel: Channel, names: list[bytes]) -> None:
        for name in names:
            offers.remove(channel, name)
            self._wants[channel, name].asked = peer
        offers.open += 1
        self._busy[channel] = self._busy.get(channel, 0) + len(names)
        self._grounds.counts.asked += len(names)
        body = encode(Question(channel.overlay, channel.topic, want=b"".join(names)))

        def answered(answer: Any) -> None:
            offers.open -= 1
            self._answered(peer, channel, names, answer)
            self._ask(peer)
            self._resume(channel)

        self._desk.request(peer, PROTOCOL, body, GOSSIP_ASK_US, answered)

    # Answers

    def _answered(self, peer: PeerId, channel: Channel, names: list[bytes], answer: Any) -> None:
        left = dict.fromkeys(names)
        bodies: tuple[bytes, ...] = ()
        cut = False
        if not isinstance(answer, Failure):
            try:
                read = decode_bodies(answer)
                bodies, cut = read.bodies, read.cut and bool(read.bodies)
            except DecodeError:
                self._grounds.blame(peer, MALFORMED)
        for body in bodies:
            self._grounds.counts.received += 1
            name = id_of(channel, body)
            if name not in left:
                self._grounds.blame(peer, LIED)
                cut = False
                break
            del left[name]
            if self._wants.pop((channel, name), None) is None:
                self._free(channel, 1)
                self._grounds.counts.duplicates += 1
            else:
                self._brought(channel, name, peer, body)
        self._free(channel, len(left))
        silent = isinstance(answer, Failure) and answer.code == "timed_out"
        for name in left:
            self._not_given(peer, channel, name, again=cut, silent=silent)

    def _not_given(
        self, peer: PeerId, channel: Channel, name: bytes, *, again: bool, silent: bool
    ) -> None:
        """Ask the next for it; the same peer when its answer was full, or alone but silent."""
        want = self._wants.get((channel, name))
        if want is None:
            return
        want.asked = None
        want.silences += silent
        if again and peer in self._offers:
            self._offers[peer].add(channel, name)
            return
        if silent and want.silences < GOSSIP_SILENCES_MAX:
            del want.sources[peer]
            want.sources[peer] = None  # the others first
            peer = PeerId(b"")
        self._not_from(peer, channel, name, "not_given")

    def _not_from(self, peer: PeerId, channel: Channel, name: bytes, why: str) -> None:
        """`peer` does not give it: the next that has told it is asked, if there is one."""
        want = self._wants.get((channel, name))
        if want is None:
            return
        want.sources.pop(peer, None)
        if want.asked is not None:
            return
        after = next((each for each in want.sources if each in self._offers), None)
        if after is None:
            del self._wants[channel, name]
            self._grounds.counts.dropped(why)
            self._missed(channel)
        else:
            self._offers[after].add(channel, name)
            self._ask(after)

    # Room

    def _resume(self, channel: Channel) -> None:
        """Ask further, if that was held up and there is room for a whole question."""
        if channel in self._held_up and self._room(channel) >= GOSSIP_WANT_MAX:
            self._held_up.discard(channel)
            for peer in list(self._offers):
                self._ask(peer)

    def _room(self, channel: Channel) -> int:
        return GOSSIP_JUDGING_MAX - self._busy.get(channel, 0)

    def _free(self, channel: Channel, count: int) -> None:
        left = self._busy.get(channel, 0) - count
        if left > 0:
            self._busy[channel] = left
        else:
            self._busy.pop(channel, None)
