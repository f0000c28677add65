"""Scenario "mail": people write to each other, over services and directly, through every fault.

Source: docs/simulator.md, "The scenario of messages". What was answered as durable arrives once,
and what one sender said is shown in the order in which it was said; in the end no service holds
anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US
from dms3.core.machine import Entropy
from dms3.messaging.mailbox import NAME, PROTOCOL, Mailbox
from dms3.messaging.operations import SendMessage, Sent, State
from dms3.messaging.order import arranged
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.scenario import Scenario
from dms3.sim.scenarios.mail_person import account_address, own_of
from dms3.sim.scenarios.mail_world import Names, Service, Tables, person_name
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.world import Build, Port, SimNode, World
from dms3.storage.operations import Durable

SENDS_PER_NODE = 12
SERVICES_PER_PERSON = 2
DOWN_US_MAX = 20 * SECOND_US


class MailScenario(Scenario):
    """Everybody has two services of a few, and a node that others can ask while it is connected."""

    name = "mail"
    minutes_default = 2.0

    def __init__(self) -> None:
        self.names = Names()
        self.tables: dict[int, Tables] = {}
        self.services: dict[str, Service] = {}
        self.promised: list[tuple[int, int, str]] = []  # sender, receiver, hash
        self.refused = 0
        self._carried: set[tuple[int, str]] = set()

    def build(self) -> Build:
        """A mailbox for each node."""

        def machines(index: int, peers: Sequence[PeerId], entropy: Entropy) -> Sequence[Hosted]:
            mailbox = Mailbox(own_of(index, peers), entropy)
            return [Hosted(NAME, mailbox, {PROTOCOL: Overflow.DROP_OLDEST})]

        return machines

    def checkers(self) -> Sequence[Checker]:
        """Everything once, in order, and nothing left behind."""
        return [_Everything(self)]

    def ports(self) -> Mapping[str, Port]:
        """Names, services, tables, storage, and the peer book."""
        return {
            "names": self._names,
            "courier": self._courier,
            "messages": lambda node, operation, asked: self.tables[node.index].answer(
                operation, asked
            ),
            "storage": lambda *_: Durable(shared=True),
            "peers": _peers,
        }

    def prepare(self, world: World) -> None:
        """Services, and empty tables."""
        self.tables = {node.index: Tables() for node in world.nodes}
        for number in range(max(SERVICES_PER_PERSON, len(world.nodes) // 2)):
            name = f"service-{number}.dms3"
            entropy = SeededEntropy(stream(world.seed, "service", number))
            service = Service(name, entropy, partial(self._push, world))
            self.services[name] = service
            self.names.add_service(name, service.profile)

    def begin(self, world: World, until_us: int) -> None:
        """Spread messages, and times at which services are away."""
        random = stream(world.seed, "work")
        count = len(world.nodes)
        for number in range(SENDS_PER_NODE * count):
            sender = random.randrange(count)
            receiver = (sender + 1 + random.randrange(count - 1)) % count
            at = SECOND_US + random.randrange(max(1, until_us - SECOND_US))
            world.at(at, self._send, world, sender, receiver, f"message {number}")
        for service in self.services.values():
            for _ in range(3):
                at = random.randrange(until_us)
                world.at(at, self._away, service, True)
                ends = min(until_us, at + random.randrange(DOWN_US_MAX))
                world.at(ends, self._away, service, False)

    def started(self, node: SimNode) -> None:
        """Whoever has no services yet takes some."""
        node.world.at(node.world.time_us + SECOND_US // 10, self._carry, node)

    def finished(self, world: World) -> bool:
        """Whether every message has arrived, and was picked up everywhere."""
        if any(node.driver is None for node in world.nodes):
            return False
        there = all(key in self.tables[receiver].kept for _, receiver, key in self.promised)
        return there and not self.waiting

    @property
    def waiting(self) -> int:
        """Envelopes at services."""
        return sum(len(mine) for one in self.services.values() for mine in one.waiting.values())

    def figures(self, world: World) -> dict[str, Any]:
        """How many were promised, how many are kept, and how far they got."""
        states = [
            self.tables[sender].kept[key].state
            for sender, _, key in self.promised
            if key in self.tables[sender].kept
        ]
        return {
            "nodes": len(world.nodes),
            "services": len(self.services),
            "promised": len(self.promised),
            "delivered": sum(each in (State.DELIVERED, State.READ) for each in states),
            "refused": self.refused,
            "waiting": self.waiting,
        }

    def _send(self, world: World, sender: int, receiver: int, text: str) -> None:
        def done(body: Any) -> None:
            if isinstance(body, Sent):
                self.promised.append((sender, receiver, body.hash))
            else:
                self.refused += 1

        try:
            wanted = SendMessage(person_name(receiver), text)
            world.nodes[sender].call("mailbox.send", wanted, done)
        except Dms3Error:
            self.refused += 1  # the node is down

    def _carry(self, node: SimNode) -> None:
        """Two services; asked again until they have taken the profile."""
        names = sorted(self.services)
        again = False
        for number in range(SERVICES_PER_PERSON):
            name = names[(node.index + number) % len(names)]
            if (node.index, name) in self._carried:
                continue
            again = True

            def done(body: Any, name: str = name) -> None:
                if not isinstance(body, Failure):
                    self._carried.add((node.index, name))

            if node.driver is not None:
                node.call("mailbox.carry", name, done)
        if again:
            node.world.at(node.world.time_us + SECOND_US, self._carry, node)

    def _away(self, service: Service, is_down: bool) -> None:
        service.is_down = is_down

    def _push(self, world: World, receiver: str, service: str) -> None:
        index = next(n.index for n in world.nodes if person_name(n.index) == receiver)
        world.at(world.time_us, self._tell, world.nodes[index], service)

    def _tell(self, node: SimNode, service: str) -> None:
        if node.driver is not None:
            node.call("mailbox.arrived", service, lambda _: None)

    def _names(self, node: SimNode, operation: str, asked: Any) -> Any:
        return self.names.answer(node.index, account_address(node.index), operation, asked)

    def _courier(self, node: SimNode, operation: str, asked: Any) -> Any:
        name = asked.url.removeprefix("https://")
        return self.services[name].answer(operation, asked, node.now().wall_us // 1_000)


def _peers(_node: SimNode, operation: str, _asked: Any) -> Any:
    if operation == "connect":
        return Failure("peer_unreachable", "It is not connected now.", Retry.LATER)
    return None


class _Everything(Checker):
    """Looks at the tables when all is quiet."""

    def __init__(self, scenario: MailScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Each promised message once, in the sender's order; nobody has what nobody said."""
        tables = self._scenario.tables
        said = {key: one for index in tables for key, one in tables[index].kept.items() if one.mine}
        for index in sorted(tables):
            mine = tables[index]
            if len(mine.arrivals) != len(set(mine.arrivals)):
                raise ViolationError(f"node {index}: a message came twice")
            others = [one for one in mine.kept.values() if not one.mine]
            for one in others:
                if one.hash not in said:
                    raise ViolationError(f"node {index}: {one.hash} was never said")
            for name in sorted({one.sender for one in others}):
                line = [one.sent_ms for one in arranged(others) if one.sender == name]
                if line != sorted(line):
                    raise ViolationError(f"node {index}: messages of {name} are out of order")
        for sender, receiver, key in self._scenario.promised:
            if key not in tables[receiver].kept:
                raise ViolationError(f"node {sender}: {key} never reached node {receiver}")
            if tables[sender].kept[key].state in (State.FAILED, State.HALTED):
                raise ViolationError(f"node {sender}: {key} is {tables[sender].kept[key].state}")
        if self._scenario.waiting:
            raise ViolationError(f"{self._scenario.waiting} envelopes wait at services")
        del world
