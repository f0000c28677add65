"""A person's device with machine "source", moved by hand: rows on a disk, ports that answer.

Every event's writes are one transaction; what it asked for is released after it. `crash_at` counts
released effects and transactions: at that point the process is gone, its rows stay.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field

from dms3.chain.action import check_signature, decode_signed
from dms3.chain.dna import Dna, EntryKind, LinkKind
from dms3.chain.messages import (
    Fetched,
    FetchedOp,
    OpResult,
    Published,
    decode_chain_question,
)
from dms3.chain.operations import Begin, Change, Commit
from dms3.chain.operations_validation import (
    Activity,
    Found,
    GetRecord,
    JudgeRecords,
    KeepRecords,
)
from dms3.chain.ops import decode_op, encode_op, op_id
from dms3.chain.receipt import issue_receipt
from dms3.chain.rules import check_action
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, RequestId
from dms3.core.limits import SECOND_US
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Notify,
    Now,
    PeerUp,
    Persist,
    Reply,
    Request,
)
from dms3.core.overlay import Asked, location
from dms3.core.verdict import Invalid, Valid
from dms3.crypto.keys import KeyTree
from dms3.crypto.signing import SigningKey
from dms3.libp2p.peer_id import NodeKey
from dms3.source.grounds import Own
from dms3.source.source import Source

WALL = 1_800_000_000 * SECOND_US
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
TREE = KeyTree.of_words(WORDS)
DNA = Dna(
    "kit",
    source=b"# rules",
    entries=(EntryKind("note"), EntryKind("secret", private=True)),
    links=(LinkKind("all"),),
)
OTHER = Dna("next", source=b"# rules", entries=DNA.entries)


class Drawn:
    def __init__(self, name) -> None:
        self.name, self.count = name, 0

    def draw(self, count):
        self.count += 1
        return hashlib.shake_256(f"{self.name}/{self.count}".encode()).digest(count)


@dataclass
class Rows:
    """Committed rows; a View."""

    rows: dict = field(default_factory=dict)

    def get(self, table, key):
        return self.rows.get((table, key))

    def range(self, table, start, limit):
        keys = sorted(key for name, key in self.rows if name == table and key >= start)
        return [(key, self.rows[table, key]) for key in keys[:limit]]

    def apply(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                assert len(effect.value) < 64 * 1024, "a row holds less than 64 KB"
                self.rows[effect.table, effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.rows.pop((effect.table, effect.key), None)

    def of(self, table):
        return {key: value for (name, key), value in self.rows.items() if name == table}


class Holder:
    """Another node of the overlay: takes ops, signs for them unless told otherwise."""

    def __init__(self, number) -> None:
        self.key = NodeKey(hashlib.sha256(f"holder {number}".encode()).digest())
        self.signing = SigningKey.of_seed(self.key.seed)
        self.peer = self.key.peer_id
        self.ops = {}
        self.code = "held"
        self.down = False
        self.takes = None  # ops that it takes before it is asked too much; None: any

    def answer(self, body, wall_us):
        question = decode_chain_question(body)
        if question.fetch is not None:
            return self.fetched(question.fetch)
        if self.takes is not None:
            self.takes -= len(question.publish.ops)
            if self.takes < 0:
                return Failure("limit_reached", "You ask too often.")
        results = []
        for data in question.publish.ops:
            op = decode_op(data)
            assert check_signature(op.signed)
            self.ops[op_id(op)] = op
            if self.code == "held":
                receipt = issue_receipt(self.signing, question.overlay, op_id(op), wall_us)
                results.append(OpResult("held", receipt))
            elif self.code == "forged":
                receipt = issue_receipt(self.signing, question.overlay, bytes(32), wall_us)
                results.append(OpResult("held", receipt))
            else:
                results.append(OpResult(self.code, rule="x" if self.code == "refused" else ""))
        return encode(Published(tuple(results)))

    def fetched(self, fetch):
        kind = {"agents": "agent", "record": "record"}[fetch.what]
        ids = [
            name
            for name, op in sorted(self.ops.items())
            if op.kind == kind and op.basis == fetch.basis and name > fetch.cursor
        ]
        found = [FetchedOp(encode_op(self.ops[name])) for name in ids[: fetch.limit]]
        return encode(Fetched(tuple(found), more=len(ids) > fetch.limit))

    def activity(self, agent):
        ops = [op for op in self.ops.values() if op.kind == "activity" and op.basis == agent]
        return {op.signed.hash: op.signed for op in ops}


class Overlay:
    """What the device's network is: holders, the activity that they report."""

    def __init__(self, count=3) -> None:
        self.holders = [Holder(number) for number in range(count)]
        self.asks, self.fetches = [], []
        self.uptime = 0.2
        self.seen = {}  # every signed action that left a device, by (chain author, seq)

    def ask_near(self, asked, wall_us):
        published = decode_chain_question(asked.body).publish
        (self.fetches if published is None else self.asks).append(asked)
        target = int.from_bytes(asked.target, "big")
        near = sorted(
            self.holders,
            key=lambda each: int.from_bytes(location(each.peer[6:]), "big") ^ target,
        )[: asked.count]
        gone = Failure("peer_unreachable", "It is gone.")
        for data in () if published is None else published.ops:
            signed = decode_op(data).signed
            self.seen.setdefault((signed.action.author, signed.action.seq), set()).add(signed.hash)
        answers = tuple(
            (each.peer, gone if each.down else each.answer(asked.body, wall_us)) for each in near
        )
        members = sum(not each.down for each in near)
        return Asked(answers, near=True, members=members)

    def activity(self, asked):
        """What a quorum of the holders says, as machine "validation" answers."""
        up = [each for each in self.holders if not each.down]
        held = {}
        for each in up:
            held |= each.activity(asked.agent)
        actions = sorted(held.values(), key=lambda signed: (signed.action.seq, signed.hash))
        seqs = [signed.action.seq for signed in actions]
        state = "valid" if len(seqs) == len(set(seqs)) else "forked"
        head = max(seqs, default=-1)
        later = tuple(each for each in actions if each.action.seq > asked.after)[: asked.limit]
        quorum = 2 * len(up) > len(self.holders)
        return Activity(asked.agent, state, later, head, head, len(up), quorum)


class Device:
    """One home: its rows outlive its machine."""

    def __init__(self, overlay=None, device=b"d" * 16, tree=TREE, place=b"here") -> None:
        self.overlay = overlay or Overlay()
        self.tree, self.device, self.place = tree, device, place
        seed = tree.root().public + device
        self.peer = NodeKey(hashlib.sha256(seed).digest()).peer_id
        self.rows = Rows()
        self.entropy = Drawn(device.hex())
        self.now = Now(1_000, WALL)
        self.boots = 0
        self.steps = 0
        self.crash_at = None
        self.crashed = False
        self.verdict = None  # what the app says of every bundle; None: valid
        self.judged, self.kept, self.notices, self.conduct = [], [], [], []
        self.records = {}  # what machine "validation" has
        self.found = {}  # records of others that can be brought
        self.silent = set()  # ports that do not answer
        self.failing = {}
        self.answers = {}
        self.ports = {
            "validation.judge": self._judge,
            "validation.keep": self._keep,
            "validation.get": self._get,
            "validation.activity": self.overlay.activity,
            "dht.ask_near": lambda asked: self.overlay.ask_near(asked, self.now.wall_us),
            "peers.uptime": lambda asked: tuple(self.overlay.uptime for _ in asked),
            "peers.conduct": lambda asked: self.conduct.append((asked.peer, asked.code)),
        }
        nobody = Failure("peer_unreachable", "Nobody is there.")
        self.ports |= dict.fromkeys(("dht.put", "dht.get", "dht.ask"), lambda _: nobody)
        self._request = 0
        self.start()

    # The process

    def start(self):
        self.boots += 1
        self.crashed = False
        self.queue = deque()
        self.cancelled = set()
        own = Own(self.peer, self.device, self.tree, self.place)
        self.machine = Source(own, Drawn(f"{self.device.hex()} {self.boots}"))
        self._absorb(self.machine.on_start(self.rows, self.now))
        self.run()

    def restart(self):
        self.crash_at = None
        self.start()

    def _point(self):
        """A point at which the process may end; whether it did."""
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            self.crashed = True
        return self.crashed

    def _absorb(self, effects):
        if self.crashed or self._point():
            return  # nothing of the event was written
        self.rows.apply(effects)
        for effect in effects:
            if isinstance(effect, Persist | Delete):
                continue
            if self._point():
                return
            self._release(effect)

    def _release(self, effect):
        match effect:
            case Call(port, arguments, token):
                self.queue.append((token, port, arguments))
            case Reply(request, body):
                self.answers[request] = body
            case Notify(topic, data):
                self.notices.append((topic, data))
            case Cancel(token):
                self.cancelled.add(token)
            case Request():
                raise AssertionError("nobody is connected")

    def run(self):
        """Answer what was asked, until nothing is left to be done now."""
        for _ in range(100_000):
            if self.crashed:
                return
            if not self.queue:
                due = self.machine.next_timer()
                if due is None or due > self.now.mono_us:
                    return
                self._absorb(self.machine.on_timer(self.now))
                continue
            token, port, arguments = self.queue.popleft()
            if token in self.cancelled or port in self.silent:
                continue
            self._absorb(
                self.machine.on_event(Answered(token, self._port(port, arguments)), self.now)
            )
        raise AssertionError("it never ends")

    def _port(self, port, arguments):
        if port in self.failing:
            return self.failing[port]
        return self.ports[port](arguments)

    def _keep(self, asked):
        assert isinstance(asked, KeepRecords)
        self.kept.append(asked)
        self.records |= {each.signed.hash: each for each in asked.records}

    def _get(self, asked):
        assert isinstance(asked, GetRecord)
        one = self.found.get(asked.hash)
        return None if one is None else Found((one,), (), (), live=True, verdict=Valid(), holders=1)

    def _judge(self, asked):
        assert isinstance(asked, JudgeRecords)
        self.judged.append(asked)
        dna = {DNA.id: DNA, OTHER.id: OTHER}[asked.overlay]
        known = {hash_: each.signed for hash_, each in self.records.items()}
        for record in asked.records:
            previous = known.get(record.signed.action.prev)
            verdict = check_action(record, dna, previous, known)
            if not isinstance(verdict, Valid):
                return verdict
            known[record.signed.hash] = record.signed
        return self.verdict or Valid()

    def wait(self, us):
        """Let time pass, with what is due on the way."""
        end = self.now.mono_us + us
        while not self.crashed:
            due = self.machine.next_timer()
            if due is None or due > end:
                break
            self._pass(max(0, due - self.now.mono_us))
            self._absorb(self.machine.on_timer(self.now))
            self.run()
        self._pass(end - self.now.mono_us)

    def _pass(self, us):
        self.now = Now(self.now.mono_us + us, self.now.wall_us + us)

    # Commands

    def call(self, operation, arguments):
        """The answer, None when there was none yet."""
        return self.answers.get(self.ask(operation, arguments))

    def ask(self, operation, arguments):
        self._request += 1
        request = RequestId(self._request)
        self.tell(Called(operation, arguments, request))
        return request

    def tell(self, event):
        if not self.crashed:
            self._absorb(self.machine.on_event(event, self.now))
            self.run()

    def begin(self, dna=DNA):
        return self.call("begin", Begin(dna))

    def note(self, text="hello", dna=DNA, head=None):
        return self.commit(Change("create", "note", {"text": text}), dna=dna, head=head)

    def commit(self, *changes: Change, dna=DNA, head=None):
        return self.call("commit", Commit(dna.id, changes, head))

    def come(self, holder):
        self.tell(PeerUp(holder.peer, "/ip4/10.0.0.1/tcp/1", inbound=True))

    @property
    def chain(self):
        """Every action as it lies on the disk, in order of its key."""
        rows = self.rows.of("action")
        return [decode_signed(rows[key]) for key in sorted(rows)]


def check_chain(signed):
    """Assert that these are one chain: no gap, no fork, dated in order."""
    for number, each in enumerate(signed):
        assert each.action.seq == number
        assert each.action.prev == (signed[number - 1].hash if number else None)
        assert check_signature(each)
        if number:
            assert each.action.time_us >= signed[number - 1].action.time_us


REFUSAL = Invalid("short", "the note has more than 600 characters", 7)
NOWHERE = Cid.of(0x71, b"nothing")
OVERLAY = OverlayId(DNA.id)
