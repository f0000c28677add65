"""Machine "validation" moved by hand: rows on a disk, ports and peers that a test answers for.

Answers to calls come at once unless a test holds the port back; every event is one transaction.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from dms3.chain.dna import Dna, EntryKind, LinkKind
from dms3.chain.messages import (
    PROTOCOL,
    ChainQuestion,
    Fetch,
    Fetched,
    FetchedOp,
    OpResult,
    Publish,
    decode_chain_question,
    decode_fetched,
    decode_published,
)
from dms3.chain.operations import Committed, NoteReceipts
from dms3.chain.operations_validation import (
    IssueWarrant,
    JudgeRecords,
    KeepRecords,
    OpenApp,
    OpState,
    Record,
)
from dms3.chain.ops import Op, encode_op, ops_of
from dms3.chain.sandboxing import Judge, Judged
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.gossip import Spread
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import GET_PATIENCE_US
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Notify,
    Now,
    Persist,
    Received,
    Reply,
    Request,
    Requested,
    Send,
    Withdrawn,
)
from dms3.core.overlay import (
    HOLDERS_MIN,
    Asked,
    AskNear,
    AskNodes,
    Neighbours,
    NodeAt,
    Rank,
    distance,
    location,
)
from dms3.core.verdict import Valid
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.p2p.port import Conducted
from dms3.validation.validation import Validation
from unit.chain.chain_kit import DNA, T0, Chain, key

NODE = key(90)
ALICE_PEER, MALLORY_PEER = (PeerId(PEER_ID_PREFIX + key(n).public) for n in (91, 92))
OTHERS = [PeerId(PEER_ID_PREFIX + key(100 + n).public) for n in range(8)]
PLAIN = Dna(
    "plain",
    entries=(EntryKind("note"), EntryKind("secret", private=True),
             EntryKind("wiki", by_anyone=True)),
    links=(LinkKind("by"), LinkKind("topic", by_anyone=True)),
)  # fmt: skip
"""An app without rules of its own: nothing is asked of the sandbox."""


class Disk:
    def __init__(self) -> None:
        self.values: dict[str, dict[bytes, bytes]] = {}
        self._keys: dict[str, list[bytes]] = {}
        self.reads = 0

    def get(self, table, key_):
        return self.values.get(table, {}).get(key_)

    def range(self, table, start, limit):
        keys = self._keys.get(table, [])
        at = bisect_left(keys, start)
        found = keys[at : at + limit]
        self.reads += len(found)
        return [(each, self.values[table][each]) for each in found]

    def apply(self, effect):
        table = self.values.setdefault(effect.table, {})
        keys = self._keys.setdefault(effect.table, [])
        if isinstance(effect, Persist):
            assert len(effect.value) < 64 * 1_024, "a row holds less than 64 KB"
            if effect.key not in table:
                insort(keys, effect.key)
            table[effect.key] = effect.value
        elif table.pop(effect.key, None) is not None:
            del keys[bisect_left(keys, effect.key)]


class Rig:
    """One node. `rules` judges for the sandbox, `network` answers fetches, by question.

    `around`: its live neighbours; `partner` answers what is put to one of them.
    """

    signing = NODE

    def __init__(self, disk: Disk | None = None, *dnas: Dna) -> None:
        self.disk = disk or Disk()
        self.now = Now(5_000_000, T0 + 1_000_000)
        self.rank = 0
        self.rules: Callable[[Judge], Any] = lambda _: Judged(Valid(), 1_000)
        self.network: Callable[[Fetch], Sequence[tuple[PeerId, Fetched | bytes | Failure]]]
        self.network = lambda _: ()
        self.members, self.near = 3, True
        self.around: list[PeerId] = []  # live neighbours
        self.drawn: tuple[PeerId, ...] = ()  # by the peer book, to be compared with
        self.partner: Callable[[PeerId, ChainQuestion], bytes | Failure]
        self.partner = lambda *_: Failure("timed_out", "Nobody answers.")
        self.asked: list[tuple[PeerId, ChainQuestion]] = []
        self.held_back: dict[str, list[Call]] = {}
        self.replies: dict[int, Any] = {}
        self.notes: list[tuple[PeerId, bytes]] = []
        self.told: list[Notify] = []
        self.conduct: list[tuple[PeerId, str]] = []
        self.offers: list[tuple[PeerId, tuple[bytes, ...]]] = []
        self.fetches: list[AskNear] = []
        self.judged: list[Judge] = []
        self.receipts: list[NoteReceipts] = []
        self.own: Chain | None = None  # of this node, to which its warrants are written
        self.warrants: list[IssueWarrant] = []
        self.spread: list[Spread] = []
        self.shown: list[AskNear] = []  # what is published by this machine
        self.shut_out: tuple[bytes, ...] = ()
        self.shunned: tuple[PeerId, ...] = ()
        self.warned: list[OverlayId] = []  # apps whose warrants have changed who may be in
        self.open: dict[str, Any] = {}
        self._count = 0
        self._answers: deque[tuple[str, Any]] = deque()
        self.machine = Validation(self.signing)
        self._absorb(self.machine.on_start(self.disk, self.now))
        for dna in dnas or (DNA, PLAIN):
            self.call("open", OpenApp(dna))

    def restarted(self) -> "Rig":
        return Rig(self.disk)

    # What is put to it

    def call(self, operation: str, arguments: Any) -> Any:
        """The answer, or None as long as there is none."""
        return self.replies.get(self.begin(operation, arguments))

    def begin(self, operation: str, arguments: Any) -> int:
        self._count += 1
        self._tell(Called(operation, arguments, RequestId(self._count)))
        return self._count

    def ask(self, question: ChainQuestion | bytes, peer: PeerId = ALICE_PEER) -> Any:
        self._count += 1
        body = question if isinstance(question, bytes) else encode(question)
        self._tell(Requested(peer, PROTOCOL, body, RequestId(self._count)))
        return self.replies.get(self._count)

    def publish(self, *ops: Op | bytes, peer: PeerId = ALICE_PEER, dna: Dna = PLAIN) -> Any:
        """The results, or None as long as the answer waits."""
        number = self.begin_publish(*ops, peer=peer, dna=dna)
        return self.results(number, len(ops))

    def begin_publish(self, *ops: Op | bytes, peer: PeerId = ALICE_PEER, dna: Dna = PLAIN) -> int:
        data = tuple(op if isinstance(op, bytes) else encode_op(op) for op in ops)
        self.ask(ChainQuestion(dna.id, publish=Publish(data)), peer)
        return self._count

    def results(self, number: int, count: int) -> list[OpResult] | None:
        answer = self.replies.get(number)
        return (
            list(decode_published(answer, count).results) if isinstance(answer, bytes) else answer
        )

    def codes(self, *ops: Op | bytes, **more: Any) -> list[str]:
        """What became of published ops, after the wait that an answer may take."""
        number = self.begin_publish(*ops, **more)
        if number not in self.replies:
            self.go(1.0)
        return [each.code for each in self.results(number, len(ops))]

    def fetch(self, what: str, basis: bytes, dna: Dna = PLAIN, **more: Any) -> Fetched:
        fetch = Fetch(what, basis, more.pop("limit", 256), **more)
        answer = self.ask(ChainQuestion(dna.id, fetch=fetch), OTHERS[0])
        assert isinstance(answer, bytes), answer
        return decode_fetched(answer, fetch.limit)

    def receive(self, body: bytes, peer: PeerId = ALICE_PEER) -> None:
        self._tell(Received(peer, PROTOCOL, body))

    def withdraw(self, number: int) -> None:
        self._tell(Withdrawn(RequestId(number)))

    def keep(self, *records: Record, dna: Dna = PLAIN) -> Any:
        return self.call("keep", KeepRecords(dna.id, records))

    def judge(self, *records: Record, dna: Dna = PLAIN, patience_us: int = GET_PATIENCE_US) -> Any:
        return self.call("judge", JudgeRecords(dna.id, records, patience_us))

    # Time and answers

    def go(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now.mono_us + int(seconds * 1_000_000)
        while (due := self.machine.next_timer()) is not None and due <= end:
            self._pass(max(due, self.now.mono_us))
            self._absorb(self.machine.on_timer(self.now))
        self._pass(end)

    def hold(self, port: str) -> None:
        """Do not answer calls to `port` until `release`."""
        self.held_back.setdefault(port, [])

    def release(self, port: str) -> None:
        for call in self.held_back.pop(port):
            self._answers.append((call.token, self._port(call)))
        self._settle()

    def _pass(self, mono_us: int) -> None:
        passed = mono_us - self.now.mono_us
        self.now = Now(mono_us, self.now.wall_us + passed)

    def _tell(self, event: Any) -> None:
        self._absorb(self.machine.on_event(event, self.now))

    def _absorb(self, effects: list[Any]) -> None:
        for effect in effects:
            self._perform(effect)
        self._settle()

    def _settle(self) -> None:
        while self._answers:
            token, body = self._answers.popleft()
            if token in self.open:
                del self.open[token]
                for effect in self.machine.on_event(Answered(token, body), self.now):
                    self._perform(effect)

    def _perform(self, effect: Any) -> None:
        match effect:
            case Persist() | Delete():
                self.disk.apply(effect)
            case Reply(request, body):
                assert request not in self.replies, "answered twice"
                self.replies[request] = body
            case Notify():
                self.told.append(effect)
            case Send(peer, _, body):
                self.notes.append((peer, body))
            case Cancel(token):
                self.open.pop(token, None)
            case Request(peer, _, body, token):
                question = decode_chain_question(body)
                assert question.publish is not None, "only offers are put to a peer directly"
                self.offers.append((peer, question.publish.ops))
                self.open[token] = effect
            case Call():
                self.open[effect.token] = effect
                if effect.port in self.held_back:
                    self.held_back[effect.port].append(effect)
                else:
                    self._answers.append((effect.token, self._port(effect)))
            case _:
                raise AssertionError(effect)

    def _port(self, call: Call) -> Any:
        if call.port.startswith("dht."):
            return self._dht(call)
        match call.port:
            case "sandbox.judge":
                self.judged.append(call.arguments)
                return self.rules(call.arguments)
            case "source.receipts" | "gossip.spread":
                lists = {"source.receipts": self.receipts, "gossip.spread": self.spread}
                lists[call.port].append(call.arguments)
                return None
            case "source.shut_out":
                self.shut_out = call.arguments.agents
                return None
            case "source.warrant" | "peers.partners":
                is_warrant = call.port == "source.warrant"
                return self._warrant(call.arguments) if is_warrant else self.drawn
            case "peers.conduct":
                assert isinstance(call.arguments, Conducted)
                self.conduct.append((call.arguments.peer, call.arguments.code))
                return None
        raise AssertionError(call.port)

    def _dht(self, call: Call) -> Any:
        match call.port:
            case "dht.join" | "dht.leave" | "dht.warned":
                if call.port == "dht.warned":
                    self.warned.append(call.arguments)
                return None
            case "dht.rank":
                return (Rank(self.rank, HOLDERS_MIN),) * len(call.arguments.targets)
            case "dht.neighbours":
                return self._neighbours()
            case "dht.ask":
                return self._ask(call.arguments)
            case "dht.ask_near":
                self.fetches.append(call.arguments)
                return self._near(call.arguments)
            case "dht.shun":
                self.shunned = call.arguments.peers
                return None
        raise AssertionError(call.port)

    def _warrant(self, asked: IssueWarrant) -> Committed | Failure:
        """What machine "source" does: the warrant is written, judged and kept."""
        self.warrants.append(asked)
        if self.own is None:
            return Failure("not_found", "This node has no chain in that app.")
        record = self.own.add("warrant", to=asked.agent, proof=asked.evidence)
        assert self.judge(record, dna=self.own.dna) == Valid()
        self.keep(record, dna=self.own.dna)
        return Committed((record.signed.hash,), (None,))

    def _neighbours(self) -> Neighbours:
        own = location(PEER_ID_PREFIX + self.signing.public)
        near = sorted(self.around, key=lambda peer: distance(location(peer), own))
        return Neighbours(own, tuple((NodeAt(peer, ()), location(peer), 1.0) for peer in near))

    def _ask(self, asked: AskNodes) -> Asked:
        question = decode_chain_question(asked.body)
        pairs = [(node.peer, self.partner(node.peer, question)) for node in asked.nodes]
        self.asked += [(peer, question) for peer, _ in pairs]
        return Asked(tuple(pairs), members=len(pairs))

    def _near(self, asked: AskNear) -> Asked:
        fetch = decode_chain_question(asked.body).fetch
        if fetch is None:
            self.shown.append(asked)
            return Asked((), self.near, self.members)
        answers = [
            (peer, encode(body) if isinstance(body, Fetched) else body)
            for peer, body in self.network(fetch)
        ]
        return Asked(tuple(answers[: asked.count]), self.near, self.members)

    # What it shows

    def state(self, record: Record) -> str:
        """The state of an action's ops; "" when nothing of it is here."""
        states = {each.state for each in self.trace(record)}
        assert len(states) <= 1, "one verdict serves all ops"
        return states.pop() if states else ""

    def trace(self, record: Record) -> tuple[OpState, ...]:
        return self.call("trace", record.signed.hash)

    def topics(self, topic: str) -> list[dict[str, Any]]:
        return [each.data for each in self.told if each.topic == topic]


def begun(dna: Dna = PLAIN, number: int = 1) -> Chain:
    """The chain of somebody; `number` says who."""
    return Chain.begun(key(number), key(number + 40), dna)


def ops(*records: Record) -> list[Op]:
    return [op for record in records for op in ops_of(record.signed, record.entry)]


def op(record: Record, kind: str, place: int = 0) -> Op:
    """The op of that kind; `place`: of several."""
    return [each for each in ops(record) if each.kind == kind][place]


def holding(*records: Record, state: str = "integrated", rule: str = "") -> Callable[[Fetch], Any]:
    """A network in which three holders have all ops of `records`."""

    def answer(fetch: Fetch) -> list[tuple[PeerId, Fetched]]:
        return [(peer, fetched(fetch, *records, state=state, rule=rule)) for peer in OTHERS[:3]]

    return answer


KINDS = {
    "record": ("record",), "entry": ("entry",), "links": ("link", "unlink"),
    "activity": ("activity",), "agents": ("agent",), "changes": ("update", "delete"),
    "warrants": ("warrant",),
}  # fmt: skip


def fetched(fetch: Fetch, *records: Record, state: str = "integrated", rule: str = "") -> Fetched:
    """What an honest holder of `records` answers."""
    found = [
        FetchedOp(encode_op(each), state, rule)
        for each in ops(*records)
        if each.kind in KINDS[fetch.what]
        and each.basis == fetch.basis
        and (fetch.what != "activity" or each.signed.action.seq > fetch.after)
    ]
    places = [record.signed.action.seq for record in records]
    top = max(places, default=-1) if fetch.what == "activity" else -1
    return Fetched(tuple(found[: fetch.limit]), len(found) > fetch.limit, top, top)


def overlay_of(dna: Dna) -> OverlayId:
    return OverlayId(dna.id)
