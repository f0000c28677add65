"""Two or more mailboxes driven by hand: names, services, tables and storage that answer at once."""

import hashlib
import heapq
from dataclasses import dataclass, replace

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Request,
    Requested,
)
from dms3.crypto.keys import address_of
from dms3.dm3.envelope import decode_envelope, open_delivery, with_postmark
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import OwnNames, Published, Resolved
from dms3.dm3.postmark import stamp
from dms3.dm3.profile import ServiceProfile, fingerprint, sign_profile
from dms3.messaging.mailbox import PROTOCOL, Mailbox
from dms3.messaging.operations import Mark, SendMessage, State
from dms3.messaging.ports import DIRECT, Own
from dms3.storage.operations import Durable

START_US = 1_800_000_000_000_000
SECOND = 1_000_000
_RANKS = {
    State.HELD: 0, State.HALTED: 1, State.QUEUED: 1, State.RECEIVED: 1, State.FAILED: 2,
    State.SENT: 3, State.DELIVERED: 4, State.READ: 5,
}  # fmt: skip


class Drawn:
    def __init__(self, name) -> None:
        self.name, self.count = name, 0

    def draw(self, count):
        self.count += 1
        seed = f"{self.name}/{self.count}".encode()
        return hashlib.shake_256(seed).digest(count)


class Service:
    """A delivery service of the world: takes anything that is sealed to it, and can be unkind."""

    def __init__(self, world, name) -> None:
        self.world, self.name = world, name
        seed = hashlib.sha256(name.encode()).digest()
        self.keys = ProfileKeys.of_seed(seed)
        self.url = f"https://{name}/dm3"
        self.profile = ServiceProfile(
            self.keys.encryption_public, self.keys.signing_public, self.url
        )
        self.down = False
        self.refusing = ""
        self.profiles, self.waiting, self.submitted, self.acknowledged = {}, {}, [], []
        self.tokens = set()
        self.logins = 0

    def submit(self, asked):
        if self.refusing:
            return Failure("peer_refused", self.refusing, Retry.OTHER_PEER)
        envelope = decode_envelope(asked.envelope)
        told = open_delivery(self.keys.encryption_secret, envelope)
        if told.receiver not in self.profiles:
            return Failure("peer_refused", f"No account of {told.receiver}.", Retry.OTHER_PEER)
        self.submitted.append(envelope.message_hash)
        self.store(told, envelope)
        return None

    def store(self, told, envelope, wall_ms=None, keys=None):
        """Keep an envelope for its receiver, stamped; whatever it is."""
        to = self.profiles[told.receiver].profile
        wall_ms = self.world.now.wall_us // 1_000 if wall_ms is None else wall_ms
        sealed = stamp(keys or self.keys, envelope, to.encryption, wall_ms, self.world.entropy)
        text = with_postmark(envelope, sealed, told).text()
        self.waiting.setdefault(told.receiver, []).append(text)
        for node in self.world.nodes:
            if node.names.primary == told.receiver and self.name in node.listening:
                node.call("arrived", self.name)

    def answer(self, operation, asked):  # noqa: PLR0911 - a table of answers
        if self.down:
            return Failure("timed_out", f"{self.name} did not answer (timed out after 5 s).")
        if operation == "submit":
            return self.submit(asked)
        if operation == "register":
            self.profiles[asked.name] = asked.profile
            return None
        if operation == "login":
            keys = ProfileKeys.of_seed(asked.seed)
            known = self.profiles.get(asked.name)
            if known is None or known.profile.signing != keys.signing_public:
                return Failure("peer_refused", "Who are you?")
            self.logins += 1
            token = f"token {self.name} {self.logins}"
            self.tokens.add(token)
            return token
        if asked.token not in self.tokens:
            return Failure("unauthorized", "The token is not valid.")
        if operation == "incoming":
            return tuple(self.waiting.get(asked.name, ())[: asked.limit])
        if operation == "acknowledge":
            hashes = {each for _, each in asked.messages}
            self.acknowledged += asked.messages
            left = self.waiting.get(asked.name, [])
            self.waiting[asked.name] = [
                text for text in left if decode_envelope(text).message_hash not in hashes
            ]
            return None
        assert operation == "listen", operation
        return None


@dataclass
class Person:
    """Who somebody is, on all devices."""

    name: str

    def __post_init__(self) -> None:
        seed = self.name.encode()
        self.secret = hashlib.sha256(b"account" + seed).digest()
        self.address = address_of(self.secret)
        self.root = hashlib.sha256(b"root" + seed).hexdigest()

    def seed(self, generation):
        return hashlib.sha256(f"{self.name} {generation}".encode()).digest()


class Node:
    """A mailbox with its tables, moved by hand."""

    def __init__(self, world, person, device="1", primary=None) -> None:
        self.world, self.person, self.device = world, person, device
        label = f"{person.name}-{device}"
        digest = hashlib.sha256(label.encode()).digest()
        self.peer = PeerId(bytes.fromhex("002408011220") + digest)
        self.service_keys = ProfileKeys.of_seed(digest)
        service = ServiceProfile(
            self.service_keys.encryption_public,
            self.service_keys.signing_public,
            DIRECT + label,
        )
        primary = primary or f"{person.name}.dms3"
        self.names = OwnNames(primary, f"key-{person.name}.dms3", f"{label}.dms3", (
            primary, f"key-{person.name}.dms3"))  # fmt: skip
        self.own = Own(
            peer=self.peer,
            address=person.address,
            root=person.root,
            seed=person.seed,
            sign=lambda profile: sign_profile(person.secret, profile),
            service=service,
            service_keys=self.service_keys,
            show=lambda peer: next(n.own.service.url[7:] for n in world.nodes if n.peer == peer),
            read=lambda text: next(
                n.peer for n in world.nodes if n.own.service.url == DIRECT + text
            ),
        )
        self.entropy = Drawn(label)
        self.tables, self.kept, self.shared = {}, {}, {}
        self.answers, self.told, self.count = {}, [], 0
        self.listening = set()
        self.durable = Durable(shared=True)
        self.keep_failure = None
        self.up = set()
        self.cut = None  # how many effects are released until the node is killed
        self.killed = False
        world.nodes.append(self)

    # running

    def start(self):
        self.killed, self.boot = False, getattr(self, "boot", 0) + 1
        self.world.hung_up(self)
        self.machine = Mailbox(self.own, self.entropy)
        self.listening = set()
        self.take(self.machine.on_start(self, self.world.now))
        for peer in sorted(self.up):
            self.event(PeerUp(peer, "/memory", False))
        return self

    def event(self, event):
        if not self.killed:
            self.take(self.machine.on_event(event, self.world.now))

    def call(self, operation, arguments=None):
        self.count += 1
        self.event(Called(operation, arguments, RequestId(self.count)))
        return self.count

    def ask(self, operation, arguments=None):
        """The answer to a command, after the world came to rest."""
        request = self.call(operation, arguments)
        self.world.run()
        body = self.answers.get(request)
        if isinstance(body, Failure):
            raise body.error()
        return body

    def send(self, to, text="hello", more=None):
        return self.ask("send", SendMessage(to, text, **(more or {})))

    def take(self, effects):
        """All writes of an event are durable before anything of it is released."""
        for effect in effects:
            if isinstance(effect, Persist):
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)
            elif isinstance(effect, Notify):
                self.told.append(effect)
        for effect in effects:
            if isinstance(effect, Persist | Delete | Notify):
                continue
            if self.killed or not self._released():
                return
            if isinstance(effect, Reply):
                self.world.replied(self, effect)
            elif isinstance(effect, Call | Request):
                self.world.queue.append((self, self.boot, effect))
            elif isinstance(effect, Cancel):
                self.world.queue = [
                    each for each in self.world.queue
                    if each[0] is not self or each[2].token != effect.token
                ]  # fmt: skip

    def _released(self):
        if self.cut is None:
            return True
        self.cut -= 1
        if self.cut < 0:
            self.cut, self.killed = None, True
            return False
        return True

    def get(self, table, key):
        return self.tables.get(table, {}).get(key)

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]

    # what is seen

    def conversation(self, who):
        """What was said with somebody, in order, as (mine, text)."""
        record = next(each for each in self.ask("people") if who in each.names)
        rows = [one for one in self.kept.values() if one.person == record.id]
        return [one.hash for one in sorted(rows, key=lambda one: (one.order_ms, one.sender))]

    def state(self, message_hash):
        return self.kept[message_hash].state

    def topics(self, topic):
        return [each.data for each in self.told if each.topic == topic]

    # ports

    def messages(self, operation, asked):  # noqa: PLR0911 - a table of answers
        if operation == "keep":
            if self.keep_failure is not None:
                return self.keep_failure
            return tuple(map(self._keep, asked))
        if operation == "mark":
            self._mark(asked)
            return None
        if operation == "body":
            return self.kept.get(asked)
        if operation == "everything":
            rows = list(enumerate(self.kept.values(), 1))
            return tuple(row for row in rows if row[0] > asked)[:2]
        if operation == "unread":
            return tuple(
                one.hash for one in self.kept.values()
                if one.person == asked and not one.mine and one.state is State.RECEIVED
            )  # fmt: skip
        assert operation == "join", operation
        for one in list(self.kept.values()):
            if one.person == asked.person:
                self.kept[one.hash] = replace(one, person=asked.into)
        return None

    def _keep(self, one):
        before = self.kept.get(one.hash)
        if before is None or (before.state is State.HELD and one.state is not State.HELD):
            self.kept[one.hash] = one
            return True
        self._mark(Mark(one.hash, one.state, one.problem, one.retry_us))
        after = self.kept[one.hash]
        self.kept[one.hash] = replace(after, order_ms=min(after.order_ms, one.order_ms))
        return False

    def _mark(self, mark):
        before = self.kept.get(mark.hash)
        if before is not None and not before.mine and mark.state is State.FAILED:
            if before.state is State.HELD:
                del self.kept[mark.hash]
        elif before is not None and _RANKS[mark.state] >= _RANKS[before.state]:
            self.kept[mark.hash] = replace(
                before, state=mark.state, problem=mark.problem, retry_us=mark.retry_us
            )


class World:
    """All nodes and services; nothing moves but by `run` and `later`."""

    def __init__(self) -> None:
        self.now = Now(1_000, START_US)
        self.nodes, self.services, self.queue = [], {}, []
        self.entropy = Drawn("world")
        self.records = {}  # name -> Resolved
        self.lost = {}  # name -> the Failure of looking it up
        self.stale = {}  # name -> what is answered unless asked afresh
        self.asked = []  # calls as they are answered
        self.requests, self.number = {}, 0

    def service(self, name):
        found = Service(self, name)
        self.services[name] = found
        self.records[name] = Resolved(name, "", None, found.profile, "dms3", "")
        return found

    def node(self, person, device="1", primary=None):
        node = Node(self, person, device, primary)
        label = node.names.service_name
        self.records[label] = Resolved(label, "", None, node.own.service, "address", "")
        return node

    def connect(self, one, other):
        for left, right in ((one, other), (other, one)):
            left.up.add(right.peer)
            left.event(PeerUp(right.peer, "/memory", False))

    def disconnect(self, one, other):
        for left, right in ((one, other), (other, one)):
            left.up.discard(right.peer)
            left.event(PeerDown(right.peer, "cut"))

    def run(self, steps=100_000):
        while self.queue and steps:
            steps -= 1
            self.step()

    def step(self, at=0):
        node, boot, effect = self.queue.pop(at)
        if node.killed or boot != node.boot:
            return
        if isinstance(effect, Request):
            self.request(node, boot, effect)
            return
        self.asked.append((node, effect))
        try:
            body = self.answer(node, effect)
        except Dms3Error as error:
            body = Failure.of(error)
        if body is not None or effect.port != "wait":
            node.event(Answered(effect.token, body))

    def request(self, node, boot, effect):
        other = next(each for each in self.nodes if each.peer == effect.peer)
        if effect.peer not in node.up or other.killed:
            gone = Failure("peer_unreachable", "The connection has closed.", Retry.LATER)
            node.event(Answered(effect.token, gone))
            return
        assert effect.protocol == PROTOCOL
        self.number += 1
        request = RequestId(1_000_000 + self.number)
        self.requests[request] = (node, boot, effect.token, other)
        other.event(Requested(node.peer, effect.protocol, effect.body, request))

    def replied(self, node, reply):
        found = self.requests.pop(reply.request, None)
        if found is None:
            node.answers[reply.request] = reply.body
            return
        asker, boot, token, _ = found
        if asker.boot == boot:
            asker.event(Answered(token, reply.body))

    def hung_up(self, node):
        """What a node was asked before it was killed is answered by its connection's end."""
        for request, (asker, boot, token, other) in list(self.requests.items()):
            if other is node:
                del self.requests[request]
                gone = Failure("peer_unreachable", "The connection has closed.", Retry.LATER)
                if asker.boot == boot:
                    asker.event(Answered(token, gone))

    def answer(self, node, effect):
        port, _, operation = effect.port.partition(".")
        asked = effect.arguments
        if port == "names":
            return self.named(node, operation, asked)
        if port == "messages":
            return node.messages(operation, asked)
        if port == "storage":
            if isinstance(node.durable, Durable):
                node.shared |= {(item.kind, item.key): item for item in asked}
            return node.durable
        if port == "courier":
            return self.courier(node, operation, asked)
        if port == "peers":
            return self.peers(node, operation, asked)
        raise AssertionError(effect.port)

    def named(self, node, operation, asked):
        if operation == "own":
            return node.names
        if operation == "publish":
            for name in node.names.names:
                self.records[name] = Resolved(
                    name, node.person.address, asked.profile, None, "dms3",
                    fingerprint(asked.profile.profile), node.person.root, node.names.names,
                )  # fmt: skip
            return Published(8)
        assert operation == "resolve", operation
        if asked.name in self.lost:
            return self.lost[asked.name]
        if asked.fresh:
            self.stale.pop(asked.name, None)
        if asked.name in self.stale:
            return self.stale[asked.name]
        found = self.records.get(asked.name)
        return found or Failure("not_found", f"Nobody has the name {asked.name}.")

    def courier(self, node, operation, asked):
        service = next(each for each in self.services.values() if each.url == asked.url)
        body = service.answer(operation, asked)
        if operation == "listen" and body is None:
            node.listening.add(service.name)
        return body

    def peers(self, node, operation, asked):
        if operation != "connect":
            return None
        other = next(each for each in self.nodes if each.own.service.url == DIRECT + asked)
        if other.peer not in node.up:
            return Failure("peer_unreachable", "Nobody answers.", Retry.LATER)
        return other.peer

    def later(self, us):
        """Let time pass, alarm by alarm."""
        until = self.now.mono_us + us
        while True:
            self.run()
            due = [
                (at, index) for index, node in enumerate(self.nodes)
                if not node.killed and (at := node.machine.next_timer()) is not None and at <= until
            ]  # fmt: skip
            if not due:
                break
            at, index = heapq.nsmallest(1, due)[0]
            self._to(max(at, self.now.mono_us))
            node = self.nodes[index]
            node.take(node.machine.on_timer(self.now))
        self._to(until)

    def leap(self, us):
        """Everybody sleeps meanwhile; then what is due is done once."""
        self._to(self.now.mono_us + us)
        self.later(0)

    def _to(self, mono_us):
        self.now = Now(mono_us, self.now.wall_us + mono_us - self.now.mono_us)


ALICE, BOB, EVE = Person("alice"), Person("bob"), Person("eve")


def pair():
    """A world with Alice and Bob, started and published."""
    world = World()
    alice, bob = world.node(ALICE).start(), world.node(BOB).start()
    world.run()
    return world, alice, bob


def carried(names, people=(ALICE, BOB)):
    """A world of `people` who are not connected, each with a service for each of `names`."""
    world = World()
    nodes = [world.node(person).start() for person in people]
    world.run()
    for node in nodes:
        for name in names:
            service = world.service(f"{name}.{node.person.name}.dms3")
            node.ask("carry", service.name)
    world.run()
    return (world, *nodes)
