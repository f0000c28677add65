"""Nodes with machine "gossip", moved by hand on one clock: everything they say arrives a bit later.

What the other machines of a node would answer, the net answers: who is there, what a body is
worth, who can be dialled, whom to compare with. `lost` says of each message whether it is lost.
"""

import hashlib
import heapq
from dataclasses import dataclass, field

from dms3.core.admission import Admission
from dms3.core.errors import Failure
from dms3.core.gossip import Spread
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import SECOND_US
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Now,
    PeerDown,
    PeerUp,
    Received,
    Reply,
    Request,
    Requested,
    Send,
)
from dms3.core.overlay import Asked, Neighbours, NodeAt, location
from dms3.gossip.gossip import Gossip
from dms3.p2p.port import Dialed

OVERLAY = OverlayId(hashlib.sha256(b"a place").digest())
TOPIC = "talk"
WALL = 1_800_000_000 * SECOND_US
DELAY_US = 10_000


class Drawn:
    def __init__(self, name) -> None:
        self.name, self.count = name, 0

    def draw(self, count):
        self.count += 1
        return hashlib.shake_256(f"{self.name}/{self.count}".encode()).digest(count)


@dataclass
class Node:
    net: "Net"
    peer: PeerId
    machine: Gossip
    up: dict = field(default_factory=dict)
    heard: list = field(default_factory=list)  # bodies
    blamed: list = field(default_factory=list)  # (peer, code)
    released: list = field(default_factory=list)
    drawn: list = field(default_factory=list)  # what the peer book was asked to draw
    answers: dict = field(default_factory=dict)  # request -> body
    looks: int = 0  # how often it asked which overlays there are

    def event(self, event):
        self.net.take(self, self.machine.on_event(event, self.net.now))

    def spread(self, body, overlay=OVERLAY, topic=TOPIC):
        """What the machine answers."""
        return self.call("spread", Spread(overlay, topic, body))

    def call(self, operation, arguments=None):
        number = RequestId(self.net.number())
        self.event(Called(operation, arguments, number))
        self.net.run(0)
        return self.answers.get(number, "none yet")

    @property
    def figures(self):
        return self.call("figures")

    @property
    def dropped(self):
        return dict(self.figures.dropped)


class Net:
    """`judge(node, heard)`: what the owner of the topic answers; None: later, by `tell`."""

    def __init__(self, names, judge=None, lost=None, members=None) -> None:
        self.judge = judge or (lambda _node, _heard: True)
        self.lost = lost or (lambda _source, _target, _effect: False)
        self.draw = lambda _asked: Failure("timed_out", "The peer book says nothing.")
        self.us = 0
        self._count = 0
        self._heap = []
        self.nodes = {}
        self.said = []  # (source, target, effect) of everything that was sent
        for name in names:
            peer = PeerId(hashlib.sha256(name.encode()).digest() + b"123456")
            admission = Admission()
            machine = Gossip(Drawn(name), {TOPIC: "owner"}, admission=admission)
            self.nodes[name] = Node(self, peer, machine)
            self.nodes[name].admission = admission
        self.by_peer = {node.peer: node for node in self.nodes.values()}
        self.members = {OVERLAY: list(names) if members is None else members}
        for node in self.nodes.values():
            self.take(node, node.machine.on_start(None, self.now))

    @property
    def now(self):
        return Now(self.us, WALL + self.us)

    def number(self):
        self._count += 1
        return self._count

    def __getitem__(self, name) -> Node:
        return self.nodes[name]

    def at(self, us, action, *arguments: object):
        heapq.heappush(self._heap, (us, self.number(), action, arguments))

    def connect(self, one, two):
        one, two = self.nodes[one], self.nodes[two]
        if two.peer not in one.up:
            one.up[two.peer] = two.up[one.peer] = None
            one.event(PeerUp(two.peer, "/memory", False))
            two.event(PeerUp(one.peer, "/memory", True))

    def connect_all(self):
        names = list(self.nodes)
        for at, one in enumerate(names):
            for two in names[at + 1 :]:
                self.connect(one, two)

    def cut(self, one, two):
        one, two = self.nodes[one], self.nodes[two]
        if one.up.pop(two.peer, 1) is None:
            two.up.pop(one.peer, None)
            one.event(PeerDown(two.peer, "cut"))
            two.event(PeerDown(one.peer, "cut"))

    def run(self, for_us):
        """Let everything up to then happen."""
        until = self.us + for_us
        while True:
            timers = [
                (due, name)
                for name, node in self.nodes.items()
                if (due := node.machine.next_timer()) is not None and due <= until
            ]
            next_timer = min(timers, default=(until + 1, ""))
            if self._heap and self._heap[0][0] <= min(until, next_timer[0]):
                at, _, action, arguments = heapq.heappop(self._heap)
                self.us = max(self.us, at)
                action(*arguments)
            elif timers:
                self.us = max(self.us, next_timer[0])
                node = self.nodes[next_timer[1]]
                self.take(node, node.machine.on_timer(self.now))
            else:
                self.us = until
                return

    def settle(self):
        """Until partners have found and compared with each other."""
        self.run(3 * SECOND_US)

    def take(self, node, effects):
        for effect in effects:
            if isinstance(effect, Call):
                self._call(node, effect)
            elif isinstance(effect, Reply):
                node.answers[effect.request] = effect.body
            elif isinstance(effect, Send):
                self.deliver(node, effect.peer, effect)
            elif isinstance(effect, Request):
                self.ask(node, effect)

    def deliver(self, node, peer, effect):
        self.said.append((node.peer, peer, effect))
        target = self.by_peer.get(peer)
        if target is None or peer not in node.up or self.lost(node, target, effect):
            return
        event = Received(node.peer, effect.protocol, effect.body)
        self.at(self.us + DELAY_US, target.event, event)

    def ask(self, node, effect):
        self.said.append((node.peer, effect.peer, effect))
        target = self.by_peer.get(effect.peer)
        done = []

        def answer(body):
            if not done:
                done.append(body)
                node.event(Answered(effect.token, body))

        if target is None or effect.peer not in node.up:
            self.at(self.us, answer, Failure("peer_unreachable", "gone"))
            return
        self.at(effect.deadline_us, answer, Failure("timed_out", "silence"))
        if not self.lost(node, target, effect):
            self.at(self.us + DELAY_US, self._arrive, node, target, effect, answer)

    def _arrive(self, node, target, effect, answer):
        number = RequestId(self.number())
        target.event(Requested(node.peer, effect.protocol, effect.body, number))
        body = target.answers.pop(number, None)
        reply = Reply(number, body)
        self.said.append((target.peer, node.peer, reply))
        if body is not None and not self.lost(target, node, reply):
            self.at(self.us + DELAY_US, answer, body)

    def _call(self, node, call):
        body = None
        match call.port:
            case "dht.overlays":
                node.looks += 1
                body = tuple(self.members)
            case "dht.neighbours":
                body = self.neighbours(node, call.arguments)
            case "dht.ask":
                node.introduced = [each.peer for each in call.arguments.nodes]
                body = Asked(())
            case "peers.conduct":
                node.blamed.append((call.arguments.peer, call.arguments.code))
            case "peers.partners":
                node.drawn.append(call.arguments)
                body = self.draw(call.arguments)
            case "peers.release":
                node.released.append(call.arguments)
            case "transport.dial":
                return self.at(self.us + DELAY_US, self._dialed, node, call)
            case "owner.heard":
                node.heard.append(call.arguments.body)
                body = self.judge(node, call.arguments)
                if body is None:
                    node.pending = [*getattr(node, "pending", []), call.token]
                    return None
        return self.at(self.us, node.event, Answered(call.token, body))

    def tell(self, node, token, verdict):
        """The owner's late answer."""
        node.event(Answered(token, verdict))

    def _dialed(self, node, call):
        target = self.by_peer[call.arguments.peer]
        names = {each.peer: name for name, each in self.nodes.items()}
        self.connect(names[node.peer], names[target.peer])
        node.event(Answered(call.token, Dialed(target.peer, "/memory")))

    def neighbours(self, node, overlay):
        names = self.members.get(overlay)
        if names is None:
            return Failure("not_found", "This node is not there.")
        peers = [self.nodes[name].peer for name in names]
        at = int.from_bytes(location(node.peer), "big")
        others = [peer for peer in peers if peer != node.peer]
        others.sort(key=lambda peer: int.from_bytes(location(peer), "big") ^ at)
        return Neighbours(
            location(node.peer),
            tuple((NodeAt(peer, ("/memory",)), location(peer), 1.0) for peer in others),
        )
