"""A node of the overlay that lies to whoever asks it, one way after another; pings it answers.

Source: docs/attacks.md, "Somebody in the public overlay". It joins, asks and shows itself as others
do: that is the production dht behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from dms3.core.codec import encode
from dms3.core.ids import PeerId
from dms3.core.machine import Effect, Event, Machine, Now, Reply, Requested
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import PUBLIC, location
from dms3.dht.messages import PROTOCOL, Code, Codes, Nodes, Values, decode_question
from dms3.dht.presence import issue_presence, node_location
from dms3.libp2p.peer_id import NodeKey
from dms3.sim.impostor import Impostor
from dms3.sim.places import address_of
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.world import WALL_START_US

INVENTED = 6
FRIENDS = 8
_KEYS_DRAWN = 4 * INVENTED

Told = tuple[tuple[bytes, ...], tuple[bytes, ...]]
"""Presences and values that an answer names."""


class Somebody(Protocol):
    """A node of whatever world."""

    key: NodeKey
    peer: PeerId


class Liar(Impostor):
    """Stands before the `honest` dht of node `index` of `nodes`; `friends` lie as well.

    `lies`: in which ways; `told`: how many it has told.
    """

    def __init__(
        self,
        honest: Machine,
        nodes: Sequence[Somebody],
        friends: Collection[int],
        index: int,
        lies: Sequence[Lie] = (),
    ) -> None:
        super().__init__(honest)
        self._nodes = nodes
        self._friends = sorted(friends)[:FRIENDS]
        self._lies = lies or LIES
        self._random = stream(index, "lies")
        self.told = 0

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """A lie to who looks for nodes or values; what is to be held is taken, and never given."""
        if not (isinstance(event, Requested) and event.protocol == PROTOCOL):
            return self._honest.on_event(event, now)
        question = decode_question(event.body)
        if question.find is not None:
            target = question.find.target
        elif question.get is not None:
            target = location(question.get.key)
        else:
            return self._honest.on_event(event, now)
        lie = self._lies[self._random.randrange(len(self._lies))]
        told = lie(self, target)
        self.told += 1
        if told is None:
            return []
        nodes, values = told
        answer = Nodes(nodes) if question.find is not None else Values(values, bool(values), nodes)
        return [Reply(event.request, encode(answer))]

    # Lies

    def far(self, target: bytes) -> Told:
        """True nodes, and those farthest from what was asked."""
        at = int.from_bytes(target, "big")
        places = [int.from_bytes(node_location(node.peer), "big") ^ at for node in self._nodes]
        farthest = sorted(range(len(places)), key=lambda index: -places[index])[:FRIENDS]
        return self._presences(farthest), ()

    def friends(self, target: bytes) -> Told:
        """Liars only."""
        del target
        return self._presences(self._friends), ()

    def endless(self, target: bytes) -> Told:
        """Nodes that do not exist, always new ones, each nearer than the last."""
        at = int.from_bytes(target, "big")
        drawn = [NodeKey.generate(SeededEntropy(self._random)) for _ in range(_KEYS_DRAWN)]
        drawn.sort(key=lambda key: int.from_bytes(node_location(key.peer_id), "big") ^ at)
        address = address_of(len(self._nodes) + 9)
        presences = (
            issue_presence(key, PUBLIC, (address,), WALL_START_US) for key in drawn[:INVENTED]
        )
        return tuple(presences), ()

    def forged_nodes(self, target: bytes) -> Told:
        """A presence that its node has not signed."""
        true = self.far(target)[0][0]
        return (true[:-1] + bytes([true[-1] ^ 1]),), ()

    def forged_value(self, target: bytes) -> Told:
        """Something else under the key that was asked for."""
        del target
        return (), (self._random.randbytes(64),)

    def nothing(self, target: bytes) -> Told:
        """As if there were nobody and nothing."""
        del target
        return (), ()

    def silence(self, target: bytes) -> None:
        """No answer at all: who asks has to give up waiting."""
        del target

    def _presences(self, indexes: Sequence[int]) -> tuple[bytes, ...]:
        return tuple(
            issue_presence(self._nodes[each].key, PUBLIC, (address_of(each),), WALL_START_US)
            for each in indexes
        )


Lie = Callable[[Liar, bytes], Told | None]
"""What is told to who asks about a location; None: nothing."""

LIES: tuple[Lie, ...] = (
    Liar.far,
    Liar.friends,
    Liar.endless,
    Liar.forged_nodes,
    Liar.forged_value,
    Liar.nothing,
)
"""The ways that are answers."""


class Sybil(Impostor):
    """Stands before a production dht, around `key`; `crowd`: presences of all who do so."""

    def __init__(self, honest: Machine, key: bytes, crowd: Sequence[bytes]) -> None:
        super().__init__(honest)
        self._key = key
        self._crowd = tuple(crowd)[:BUCKET_SIZE]

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """There is nothing, and nobody but us; what is put is held, so it says."""
        if not (isinstance(event, Requested) and event.protocol == PROTOCOL):
            return self._honest.on_event(event, now)
        question = decode_question(event.body)
        if question.find is not None and question.find.target == location(self._key):
            return [Reply(event.request, encode(Nodes(self._crowd)))]
        if question.get is not None and question.get.key == self._key:
            return [Reply(event.request, encode(Values((), False, self._crowd)))]
        keys = [each.key for each in question.offers] + [each.key for each in question.puts]
        if keys == [self._key]:
            return [Reply(event.request, encode(Codes((int(Code.HELD),))))]
        return self._honest.on_event(event, now)
