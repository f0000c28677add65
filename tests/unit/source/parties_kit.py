"""Several people's devices in one app, on one network: agents are found and asked."""

from collections import deque
from itertools import count

from dms3.chain.action import decode_signed
from dms3.chain.operations import Propose
from dms3.chain.operations_validation import Activity, Found, Record
from dms3.chain.whereabouts import NAME, validate
from dms3.core.errors import Failure, Retry
from dms3.core.ids import RequestId
from dms3.core.machine import Answered, Call, Now, Reply, Requested
from dms3.core.overlay import Asked, Got, Placed
from dms3.core.verdict import Valid
from dms3.crypto.keys import KeyTree
from unit.source.chain_kit import OVERLAY, WALL, Device, Overlay

GONE = Failure("peer_unreachable", "It cannot be reached.", Retry.LATER)
SECOND = 1_000_000


class Party(Device):
    """A device whose asks go to other devices of its world."""

    def __init__(self, world, name, device=b"d" * 16) -> None:
        self.world, self.name = world, name
        self.on = True
        self.receives = lambda incoming: {"heard": incoming.body}
        self.countersigns = lambda _session: True
        self.asked_by = {}  # request -> (party, token, peer)
        self.lost = set()  # peers that it cannot reach
        super().__init__(world.overlay, device, KeyTree(name.encode() * 64))
        self.ports |= {
            "dht.put": self._put,
            "dht.get": self._get_value,
            "dapps.receive": self._receive,
            "dapps.countersign": self._countersign,
        }

    @property
    def agent(self):
        chain = self.machine._grounds.chains.find(OVERLAY)
        return None if chain is None else chain.row.agent

    def _port(self, port, arguments):
        return self.failing.get(port) or self.ports[port](arguments)

    def _release(self, effect):
        if isinstance(effect, Reply) and effect.request in self.asked_by:
            asker, token, peer = self.asked_by.pop(effect.request)
            self.world.back.append((asker, asker.boots, token, peer, effect.body))
        elif isinstance(effect, Call) and effect.port == "dht.ask":
            self.world.wire.append((self, self.boots, effect.token, effect.arguments))
        else:
            super()._release(effect)

    def _receive(self, incoming):
        return self.receives(incoming)

    def _countersign(self, session):
        return self.countersigns(session)

    def _put(self, asked):
        for content in asked.contents:
            assert validate(content.key, content.value, self.now.wall_us) == Valid()
            self.world.values[content.key] = content.value
        return Placed((3,), 3)

    def _get_value(self, asked):
        assert asked.type == NAME
        value = self.world.values.get(asked.key)
        return Got(() if value is None else (value,), None, 1, 1)

    def _held(self, *kinds: str):
        ops = {}
        for holder in self.overlay.holders:
            if not holder.down:
                ops |= {name: op for name, op in holder.ops.items() if op.kind in kinds}
        return [ops[name] for name in sorted(ops)]

    def _get(self, asked):
        found = {}
        for op in self._held("record", "entry"):
            if asked.hash in (op.signed.hash, op.signed.action.entry):
                found.setdefault(op.signed.hash, op)
        records = tuple(
            self.world.record(found[hash_]) for hash_ in sorted(found, key=lambda each: each.binary)
        )
        return Found(records, (), (), live=True, verdict=Valid(), holders=3) if records else None

    def _activity(self, asked):
        by_seq = {}
        for op in self._held("activity"):
            if op.signed.action.author == asked.agent:
                by_seq.setdefault(op.signed.action.seq, []).append(op.signed)
        every = [signed for seq in sorted(by_seq) for signed in by_seq[seq]]
        later = [signed for signed in every if signed.action.seq > asked.after][: asked.limit]
        state = "empty" if not every else "valid"
        if any(len(each) > 1 for each in by_seq.values()):
            state = "forked"
        top = max(by_seq, default=-1)
        return Activity(asked.agent, state, tuple(later), top, top, 3, quorum=True)

    def die(self):
        """Killed; what others asked is not answered."""
        self.crashed, self.on = True, False
        for asker, token, peer in self.asked_by.values():
            self.world.back.append((asker, asker.boots, token, peer, GONE))
        self.asked_by = {}

    def live(self):
        """Started again, its app with it."""
        self.on = True
        self.restart()
        self.begin()
        self.world.run()

    def states(self):
        return [each.state for each in self.call("sessions", OVERLAY)]

    @property
    def session(self):
        (one,) = self.call("sessions", OVERLAY)
        return one

    @property
    def chain(self):
        """The own one, without those of the person's other devices."""
        rows = self.rows.of("action")
        found = [decode_signed(rows[key]) for key in sorted(rows)]
        return [each for each in found if each.action.author == self.agent]

    def written(self, kind="countersign"):
        return [each for each in self.chain if each.action.kind == kind]


class World:
    """Parties that are on, and what is on its way between them."""

    def __init__(self, *names: str, holders=3) -> None:
        self.overlay = Overlay(holders)
        self.values = {}
        self.wire, self.back = deque(), deque()
        self.numbers = count(1_000_000)
        self.parties = []
        self.asks = 0
        for name in names:
            self.join(Party(self, name))

    def join(self, party):
        self.parties.append(party)
        party.now = self.parties[0].now
        party.begin()
        self.run()
        self.wait(SECOND)
        return party

    def record(self, op):
        return Record(op.signed, op.entry)

    def run(self):
        """Until nobody has anything to do now."""
        for _ in range(100_000):
            for party in self.parties:
                if party.on:
                    party.run()
                if party.crashed and party.on:
                    party.die()
            if self.wire:
                self._deliver(*self.wire.popleft())
            elif self.back:
                self._bring_back(*self.back.popleft())
            else:
                return
        raise AssertionError("it never ends")

    def _deliver(self, asker, boots, token, asked):
        if not asker.on or asker.boots != boots:
            return
        self.asks += 1
        (node,) = asked.nodes
        other = next((each for each in self.parties if each.peer == node.peer), None)
        reached = other is not None and other.on and other is not asker
        if not reached or node.peer in asker.lost:
            self.back.append((asker, boots, token, node.peer, GONE))
            return
        request = RequestId(next(self.numbers))
        other.asked_by[request] = (asker, token, node.peer)
        other.tell(Requested(asker.peer, asked.protocol, asked.body, request))

    def _bring_back(self, asker, boots, token, peer, body):
        if asker.on and asker.boots == boots:
            asker.tell(Answered(token, Asked(((peer, body),), near=False, members=1)))

    def wait(self, us):
        """Time passes for everybody, whatever is due happens in order."""
        end = self.parties[0].now.mono_us + us
        self.run()
        while True:
            dues = [each.machine.next_timer() for each in self.parties if each.on]
            due = min((one for one in dues if one is not None), default=None)
            now = self.parties[0].now.mono_us
            if due is None or due > end:
                self._pass(end - now)
                return
            self._pass(max(0, due - now))
            self.run()

    def _pass(self, us):
        for party in self.parties:
            party.now = Now(party.now.mono_us + us, party.now.wall_us + us)


def propose(proposer, *others: Party, text="we agree", window_us=60 * SECOND, kind="note"):
    """Ask the machine; what it answers."""
    parties = tuple(each.agent for each in others)
    answer = proposer.call("propose", Propose(OVERLAY, kind, {"text": text}, parties, window_us))
    proposer.world.run()
    return answer


__all__ = ["GONE", "OVERLAY", "SECOND", "WALL", "Party", "World", "propose"]
