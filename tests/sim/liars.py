"""A node of the overlay that lies to whoever asks it: one way after another, but for pings."""

from dms3.core.codec import encode
from dms3.core.machine import Reply, Requested
from dms3.core.overlay import PUBLIC, location
from dms3.dht.messages import PROTOCOL, Nodes, Values, decode_question
from dms3.dht.presence import issue_presence, node_location
from dms3.libp2p.peer_id import NodeKey
from dms3.sim.places import address_of
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.world import WALL_START_US

INVENTED = 6


class Liar:
    """Wraps an honest Dht, so that it joins, asks and shows itself as others do."""

    def __init__(self, honest, scenario, index) -> None:
        self.honest = honest
        self.scenario = scenario
        self.index = index
        self.random = stream(index, "lies")

    def on_start(self, view, now):
        return self.honest.on_start(view, now)

    def on_timer(self, now):
        return self.honest.on_timer(now)

    def next_timer(self):
        return self.honest.next_timer()

    def on_event(self, event, now):
        if not (isinstance(event, Requested) and event.protocol == PROTOCOL):
            return self.honest.on_event(event, now)
        question = decode_question(event.body)
        if question.find is not None:
            target, kind = question.find.target, Nodes
        elif question.get is not None:
            target, kind = location(question.get.key), Values
        else:
            return self.honest.on_event(event, now)
        lie = LIES[self.random.randrange(len(LIES))]
        nodes, values = lie(self, target)
        self.scenario.liars[self.index] += 1
        answer = Nodes(nodes) if kind is Nodes else Values(values, bool(values), nodes)
        return [Reply(event.request, encode(answer))]

    def of_world(self, count, key):
        world = self.scenario.world
        indexes = sorted(range(len(world.nodes)), key=key)[:count]
        return tuple(
            issue_presence(world.nodes[i].key, PUBLIC, (address_of(i),), WALL_START_US)
            for i in indexes
        )

    def far(self, target):
        """True nodes, and those farthest from what was asked."""
        at = int.from_bytes(target, "big")
        nodes = self.scenario.world.nodes
        return self.of_world(
            8, lambda i: -(int.from_bytes(node_location(nodes[i].peer), "big") ^ at)
        ), ()

    def friends(self, target):
        """Liars only."""
        del target
        liars = self.scenario.liars
        return self.of_world(min(8, len(liars)), lambda i: i not in liars), ()

    def endless(self, target):
        """Nodes that do not exist, always new ones, each nearer than the last."""
        at = int.from_bytes(target, "big")
        drawn = [NodeKey.generate(SeededEntropy(self.random)) for _ in range(4 * INVENTED)]
        drawn.sort(key=lambda key: int.from_bytes(node_location(key.peer_id), "big") ^ at)
        where = len(self.scenario.world.nodes) + 9
        return tuple(
            issue_presence(key, PUBLIC, (address_of(where),), WALL_START_US)
            for key in drawn[:INVENTED]
        ), ()

    def forged_nodes(self, target):
        """A presence that its node has not signed."""
        (true,) = self.far(target)[0][:1]
        return (true[:-1] + bytes([true[-1] ^ 1]),), ()

    def forged_value(self, target):
        """Something else under the key that was asked for."""
        del target
        return (), (self.random.randbytes(64),)

    def nothing(self, target):
        """As if there were nobody and nothing."""
        del target
        return (), ()


LIES = (Liar.far, Liar.friends, Liar.endless, Liar.forged_nodes, Liar.forged_value, Liar.nothing)
