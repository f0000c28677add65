"""Scenario "hearsay": a fifth of the nodes says together how much of the time others are there.

Source: docs/attacks.md, "Somebody in an app's overlay" (lies about how much of the time others are
there); docs/chains.md, "Published". Production peer books watch each other for half a day while
nodes come and go. The liars are there a third of the time, say of each other that they always are,
and of honest nodes that they never are. The same half day without lies says what that moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from dms3.core.codec import decode
from dms3.core.errors import Failure
from dms3.core.ids import Root
from dms3.core.limits import SECOND_US
from dms3.core.machine import Entropy
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p import exchange, hearsay
from dms3.p2p.peers import PROTOCOL, PeerBook
from dms3.p2p.port import Thought
from dms3.p2p.uptime import WHOLE
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.measures import mean
from dms3.sim.places import address_of
from dms3.sim.scenarios.eclipse_book import Book
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require

HOSTILE = 5  # one node of so many
SHARES = (0.5, 0.8, 0.95)  # of the time, that an honest node is there
LIARS_SHARE = 0.3
CYCLE_US = 3_600 * SECOND_US  # on and off again, in the mean
HEARD = f"peers/{hearsay.TABLE}"
_ROUNDING = 2e-6


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What an honest node thinks of `peer`, and what it was told."""

    thought: Thought
    honest: tuple[int, ...]  # words of honest reporters, in millionths
    lies: int  # reporters that lied


class _Town:
    """Peer books of `count` nodes, of which those with indexes `liars` lie together."""

    def __init__(self, seed: int, count: int, liars: frozenset[int], *, lying: bool) -> None:
        self._lying = lying
        self._liars = liars
        self._books: list[Book] = []
        self.world = BareWorld(seed, count, self._machines, {"transport": _transport})
        self._places = [
            f"{address_of(node.index)}/p2p/{peer_id_text(node.peer)}" for node in self.world.nodes
        ]
        for node in self.world.nodes:
            random = stream(seed, "share", node.index)
            share = LIARS_SHARE if node.index in liars else random.choice(SHARES)
            self._switch(node, share, random)

    @property
    def told(self) -> int:
        """Lies, in all."""
        return sum(book.told for book in self._books)

    def estimates(self) -> dict[tuple[int, int], _Estimate]:
        """What each honest node that is on thinks of each other one; by their indexes."""
        found: dict[tuple[int, int], _Estimate] = {}
        sources = {self.world.nodes[index].peer.hex() for index in self._liars}
        for node in self.world.living():
            if node.index in self._liars:
                continue
            rows = node.disk.table(HEARD)

            def known(
                thoughts: tuple[Thought, ...] | Failure,
                of: int = node.index,
                rows: Mapping[bytes, bytes] = rows,
            ) -> None:
                assert not isinstance(thoughts, Failure), "the peer book answers"
                for thought in thoughts:
                    data = rows.get(thought.peer)
                    said = () if data is None else decode(hearsay.Row, data).said
                    honest = tuple(each.value for each in said if each.source not in sources)
                    index = self.world.index_of[thought.peer]
                    found[of, index] = _Estimate(thought, honest, len(said) - len(honest))

            self.world.call(node, "peers.world", None, known)
        return found

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        others = [place for place in self._places if place != self._places[node.index]]
        book = PeerBook(node.peer, Root(bytes(32)), others, entropy, public=True)
        lies = self._lying and node.index in self._liars
        friends = [self.world.nodes[each].peer for each in sorted(self._liars - {node.index})]
        self._books.append(Book(book, friends if lies else ()))
        return [("peers", self._books[-1], (PROTOCOL, exchange.PROTOCOL))]

    def _switch(self, node: BareNode, share: float, random: Random) -> None:
        """On or off, for so long that its share comes true."""
        if node.on:
            self.world.kill(node)
        elif self.world.time_us:
            self.world.start(node)
        part = share if node.on else 1 - share
        wait_us = 1 + int(random.expovariate(1 / (part * CYCLE_US)))
        if not self.world.time_us:
            wait_us = 1 + random.randrange(SECOND_US)
        self.world.at(self.world.time_us + wait_us, self._switch, node, share, random)


class HearsayScenario(Statement):
    """Half a day."""

    name = "hearsay"
    minutes_default = 720.0

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """With lies, and the same without."""
        liars = frozenset(stream(seed, "hostile").sample(range(nodes), nodes // HOSTILE))
        lied, true = (_Town(seed, nodes, liars, lying=lying) for lying in (True, False))
        for town in (lied, true):
            town.world.run(work_us)
        self.trace, self.time_us = lied.world.trace, lied.world.time_us
        with_lies, without = lied.estimates(), true.estimates()
        self.figures |= {"hostile": len(liars), "lies": lied.told, **_promised(with_lies)}
        for name, of_liars in (("liars", True), ("honest", False)):
            pairs = [pair for pair in sorted(with_lies) if (pair[1] in liars) == of_liars]
            thought = [with_lies[pair].thought.uptime for pair in pairs]
            else_thought = [without[pair].thought.uptime for pair in pairs if pair in without]
            self.figures[f"thought_of_{name}"] = round(mean(thought), 3)
            self.figures[f"without_lies_of_{name}"] = round(mean(else_thought), 3)
        require(lied.told > 0, "nobody was told a lie")


def _promised(estimates: Mapping[tuple[int, int], _Estimate]) -> dict[str, Any]:
    """What `p2p/world.py` promises of every estimate; raises ViolationError when one is beyond it.

    Hearsay counts half at most; the middle word lies between those of honest reporters as long as
    these are more than the liars.
    """
    heard = [each for each in estimates.values() if each.thought.heard is not None]
    outvoted = 0
    moved = 0.0
    for each in heard:
        assert each.thought.heard is not None, "those were chosen"
        own, told, both = each.thought.own[0], each.thought.heard[0], each.thought.uptime
        moved = max(moved, abs(both - own))
        half = abs(told - own) / 2 + _ROUNDING
        require(abs(both - own) <= half, f"hearsay of {told:.2f} made {both:.2f} of {own:.2f}")
        if each.lies >= len(each.honest):
            outvoted += 1
            continue
        low, high = min(each.honest) / WHOLE, max(each.honest) / WHOLE
        inside = low - _ROUNDING <= told <= high + _ROUNDING
        require(inside, f"heard {told:.2f}, honest nodes said {low:.2f} to {high:.2f}")
    return {
        "estimates": len(estimates),
        "heard_of": len(heard),
        "outvoted": outvoted,
        "moved_max": round(moved, 3),
    }


def _transport(_node: BareNode, _operation: str, _arguments: Any) -> Any:
    """The port of that name, but for dials, which the world carries out."""
    return None
