"""The world model: what this node thinks of other nodes, and with whom it gossips for that.

Source: seed 004, II.D: of each metric ((value, confidence) of its own, (value, confidence) of
others), and partners drawn by weight. The metric is uptime. What it has seen itself is in the rows
of `p2p/known.py`, what others say in `p2p/hearsay.py`; `p2p/faults.py` says whose fault a failure
is. Plain state that `p2p/peers.py` drives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import (
    FAULT_PROBES_MAX,
    HEARSAY_SURE_MIN_PPM,
    LOOK_US,
    PARTNERS_MAX,
    PEERS_KNOWN_MAX,
)
from dms3.core.machine import Effect, Entropy, Now, Reply, View
from dms3.core.overlay import distance, location
from dms3.libp2p.peer_id import public_key_in
from dms3.p2p.hearsay import Hearsay, Word
from dms3.p2p.known import KnownPeers, PeerRow
from dms3.p2p.port import Partners, Thought
from dms3.p2p.probing import Probes
from dms3.p2p.reach import prefix_of
from dms3.p2p.uptime import WHOLE, share, together

_WEIGHT_MIN = 1e-6  # nobody is never drawn
_DRAW_BYTES = 7  # as many bits as a float holds exactly

Rows = Callable[[Now], tuple[PeerRow, ...]]


class World:
    """Arguments: `own`, this node; `known` peers; `probes`; `rows` of all peers, for people."""

    def __init__(
        self, own: PeerId, known: KnownPeers, probes: Probes, entropy: Entropy, rows: Rows
    ) -> None:
        self._own = own
        self._known = known
        self._probes = probes
        self._entropy = entropy
        self._rows = rows
        self._hearsay = Hearsay()
        self._look_us = 0  # when it is written down again who is there
        self.operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "uptime": self._uptime,
            "partners": self._partners,
            "world": self._world,
            "missed": self._missed,
        }

    def load(self, view: View, now: Now) -> list[Effect]:
        """Read the committed words; what happened while this node did not run says nothing."""
        self._known.faults.slept(now)
        self._look_us = now.mono_us + LOOK_US
        return self._hearsay.load(view)

    # What is seen

    @property
    def timer(self) -> int | None:
        """When failures are judged, or it is written down who is there."""
        looks = (self._known.faults.timer, self._look_us if self._known.up else None)
        return min((us for us in looks if us is not None), default=None)

    def slept(self, now: Now) -> None:
        """This node slept, or is in another network."""
        self._known.faults.slept(now)

    def heard_of(self, peer: PeerId) -> None:
        """`peer` is there."""
        self._known.faults.heard(peer)

    def failed(self, peer: PeerId, now: Now) -> list[Effect]:
        """`peer` cannot be reached: some others are probed, for it may be this node's fault."""
        if peer in self._known.up:
            return []
        fresh = not self._known.is_away(peer)
        if not self._known.faults.failed(peer, now, fresh=fresh):
            return []
        others = self._draw(dict.fromkeys(sorted(self._known.up), 1.0), FAULT_PROBES_MAX)
        return [self._probes.ask(other, now) for other in others]

    def judge(self, now: Now) -> list[Effect]:
        """Write down who was away and who is there, when it is time."""
        effects: list[Effect] = []
        if now.mono_us >= self._look_us:
            self._look_us = now.mono_us + LOOK_US
            effects += self._known.are_there(now)
        for peer in self._known.faults.due(now):
            effects += self._known.was_away(peer, now)
        return effects

    # What is told

    def words(self, asker: PeerId, count: int, now: Now) -> tuple[Word, ...]:
        """At most `count` words for `asker`, on public nodes only: half on those nearest to it.

        The others are drawn, so that whoever asks again and again learns slowly whom this node
        knows.
        """
        sure: dict[PeerId, Word] = {}
        for peer in self._known.public() if count else ():
            metric = self._known.metric(peer, now)
            if peer not in (asker, self._own) and metric.sure >= HEARSAY_SURE_MIN_PPM:
                sure[peer] = Word(peer, metric.value, metric.sure)
        place = _place(asker)
        near = sorted(sure, key=lambda peer: (distance(_place(peer), place), peer))[: count // 2]
        rest = dict.fromkeys((peer for peer in sorted(sure) if peer not in near), 1.0)
        drawn = self._draw(rest, count - len(near))
        return tuple(sure[peer] for peer in (*near, *drawn))

    def told(self, reporter: PeerId, words: Iterable[Word], now: Now) -> list[Effect]:
        """What `reporter` says; of itself and of this node its word is nothing."""
        source = prefix_of(self._known.address(reporter)) or reporter.hex()
        others = [word for word in words if word.peer not in (reporter, self._own)]
        return self._hearsay.take(source, others, now)

    # With whom

    def draw(self, asked: Partners, now: Now) -> tuple[PeerId, ...]:
        """The partners, in the order in which they were drawn; nobody who is refused."""
        if asked.of not in ("pull", "push") or len(asked.candidates) > PARTNERS_MAX:
            why = f"Partners are drawn of {PARTNERS_MAX} candidates at most, to pull or to push."
            raise Dms3Error("argument_invalid", why)
        weights: dict[PeerId, float] = {}
        for peer in sorted(set(asked.candidates) - {self._own}):
            if not self._known.is_refused(peer, now.wall_us):
                sure = share(self._known.metric(peer, now).sure)
                weight = 1 - sure if asked.of == "pull" else sure
                weights[peer] = self.uptime(peer, now) * weight + _WEIGHT_MIN
        return self._draw(weights, asked.count)

    def uptime(self, peer: PeerId, now: Now) -> float:
        """How much of the time `peer` is there, seen and heard together."""
        own = self._known.metric(peer, now)
        return share(together(own, self._hearsay.of(peer, now)))

    def _draw(self, weights: dict[PeerId, float], count: int) -> tuple[PeerId, ...]:
        """At most `count` of them, without repetition, by weight (Efraimidis, Spirakis 2006)."""
        if count <= 0:
            return ()
        keys = {peer: self._key(weight) for peer, weight in weights.items()}
        return tuple(sorted(keys, key=lambda peer: (keys[peer], peer))[:count])

    def _key(self, weight: float) -> float:
        drawn = int.from_bytes(self._entropy.draw(_DRAW_BYTES), "big")
        part = (drawn + 1) / (1 << 8 * _DRAW_BYTES)  # above nothing, one at most
        return -math.log(part) / weight

    # Operations

    def _uptime(self, peers: tuple[PeerId, ...], request: RequestId, now: Now) -> list[Effect]:
        return [Reply(request, tuple(self.uptime(peer, now) for peer in peers))]

    def _partners(self, asked: Partners, request: RequestId, now: Now) -> list[Effect]:
        return [Reply(request, self.draw(asked, now))]

    def _missed(self, peer: PeerId, request: RequestId, now: Now) -> list[Effect]:
        """Another part of the node could not reach `peer`."""
        return [Reply(request, None), *self.failed(peer, now)]

    def _world(self, _arguments: Any, request: RequestId, now: Now) -> list[Effect]:
        return [Reply(request, tuple(self._thought(row, now) for row in self._rows(now)))]

    def _thought(self, row: PeerRow, now: Now) -> Thought:
        own = self._known.metric(row.peer, now)
        heard = self._hearsay.of(row.peer, now)
        looked_us, away = self._known.looked(row.peer)
        return Thought(
            row.peer,
            row.name,
            row.connected,
            self.uptime(row.peer, now),
            (share(own.value), share(own.sure)),
            None if heard is None else (share(heard.value), share(heard.sure)),
            self._hearsay.reporters(row.peer, now),
            now.wall_us if row.connected else looked_us,
            away,
            row.points,
            row.refused_until_us if self._known.is_refused(row.peer, now.wall_us) else 0,
        )


@lru_cache(maxsize=PEERS_KNOWN_MAX)
def _place(peer: PeerId) -> bytes:
    """Where a node lies among all; that of another program, whose key is hashed, anywhere."""
    key = public_key_in(peer)
    return hashlib.sha256(peer).digest() if key is None else location(key.data)


assert WHOLE > HEARSAY_SURE_MIN_PPM, "somebody may be sure"
