"""The fetch machine driven by hand: order, windows, liars, disconnects, restarts, endless DAGs."""

import pytest

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, RequestId, SpaceId
from dms3.core.limits import (
    DAG_DEPTH_MAX,
    FETCH_BUSY_US,
    FETCH_PATIENCE_US,
    FETCH_STRIKES_MAX,
    FETCH_WINDOW_BLOCKS_MAX,
    FETCH_WINDOW_BYTES_MAX,
    FETCHES_MAX,
)
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
    Withdrawn,
)
from dms3.search.fetch import Fetching
from dms3.search.messages import decode_block_question
from dms3.search.operations import AwaitBlock, Fetch, Fetched, Source

A, B = (PeerId(bytes.fromhex("002408011220") + letter * 32) for letter in (b"A", b"B"))
SPACE = SpaceId(b"s" * 32)
SOURCE_A, SOURCE_B = (Source(peer, SPACE, b"grant", b"certificate") for peer in (A, B))
LEAF = bytes(262_144)
MISSING = Failure("not_found", "This space holds no such block.")


class Tree:
    """A file of `leaves` leaves of 256 KiB under inner nodes of `width` links."""

    def __init__(self, leaves, width=174) -> None:
        self.blocks = {}
        self.order = [self.put(RAW, b"%08d" % n + LEAF[8:]) for n in range(leaves)]
        level = [(cid, len(LEAF)) for cid in self.order]
        while len(level) > 1:
            groups = [level[at : at + width] for at in range(0, len(level), width)]
            level = [self.inner(group) for group in groups]
        self.root = level[0][0]

    def put(self, codec, data):
        cid = Cid.of(codec, data)
        self.blocks[cid] = data
        return cid

    def inner(self, group):
        data = encode_node(Node(tuple(Link(cid, "", size) for cid, size in group), None))
        return self.put(DAG_PB, data), sum(size for _, size in group) + len(data)


class Node2:
    """The machine with a library and a store; peers are answered by the test."""

    def __init__(self, sources=(SOURCE_A,)) -> None:
        self.sources, self.library, self.tables = sources, {}, {}
        self.now = Now(10, 10)
        self.asked, self.said, self.kept, self.complete = [], [], [], False
        self.holding = False  # the library does not answer `keep` yet
        self.count = 0
        self.restart()

    def restart(self):
        self.machine, self.asked = Fetching(), []
        self.take(self.machine.on_start(self, self.now))

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]

    @property
    def rows(self):
        """What is durable of unfinished fetches."""
        return self.tables.get("jobs", {})

    def take(self, effects):
        """Carry out effects; answers of local parts come at once, requests wait in `asked`."""
        pending = list(effects)
        self.said = []
        while pending:
            effect = pending.pop(0)
            self.said.append(effect)
            if isinstance(effect, Persist):
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)
            elif isinstance(effect, Request):
                self.asked.append(effect)
            elif isinstance(effect, Cancel):
                self.asked = [each for each in self.asked if each.token != effect.token]
            elif isinstance(effect, Call):
                answered, body = self.local(effect.port, effect.arguments)
                if answered:
                    event = Answered(effect.token, body)
                    pending += self.machine.on_event(event, self.now)
        return self.said

    def local(self, port, arguments):
        if port == "sharing.sources":
            return True, tuple(self.sources)
        if port == "library.has":
            return True, tuple(cid in self.library for cid in arguments)
        if port == "library.load":
            return True, self.library.get(arguments)
        if port == "library.keep":
            if self.holding:
                return False, None
            self.library.update(arguments.blocks)
            self.kept += [cid for cid, _ in arguments.blocks]
            self.complete = self.complete or arguments.complete
        return True, None

    def event(self, event):
        return self.take(self.machine.on_event(event, self.now))

    def call(self, operation, arguments):
        self.count += 1
        self.event(Called(operation, arguments, RequestId(self.count)))
        return RequestId(self.count)

    def later(self, us):
        self.now = Now(self.now.mono_us + us, self.now.wall_us + us)
        due = self.machine.next_timer()
        return self.take(self.machine.on_timer(self.now) if due <= self.now.mono_us else [])

    def wanted(self):
        return [decode_block_question(each.body).cid for each in self.asked]

    def answer(self, body, place=0):
        return self.event(Answered(self.asked.pop(place).token, body))

    def serve(self, blocks, count=1 << 30):
        """Answer questions in order, from `blocks`."""
        served = []
        while self.asked and len(served) < count:
            served += [self.wanted()[0]]
            self.answer(blocks[served[-1]])
        return served

    def of(self, kind):
        return [effect for effect in self.said if isinstance(effect, kind)]

    def reply(self):
        (effect,) = self.of(Reply)
        return effect.body


def test_everything_comes_once_in_reading_order_and_the_record_goes():
    tree, node = Tree(20, width=6), Node2()
    node.call("fetch", Fetch(tree.root, SPACE))
    assert list(node.rows) == [tree.root.binary]
    served = node.serve(tree.blocks)
    assert sorted(served) == sorted(tree.blocks)
    assert [cid for cid in served if cid.codec == RAW] == tree.order
    size = sum(len(data) for data in tree.blocks.values())
    assert node.reply() == Fetched(tree.root, len(tree.blocks), size)
    assert node.of(Notify)[-1].topic == "fetch.done"
    assert node.library == tree.blocks
    assert node.complete
    assert node.rows == {}
    assert node.machine.next_timer() is None


def test_a_single_block_and_a_block_that_is_here():
    node, cid = Node2(), Cid.of(RAW, b"x")
    node.call("fetch", Fetch(cid))
    node.serve({cid: b"x"})
    assert node.reply() == Fetched(cid, 1, 1)
    node.call("fetch", Fetch(cid))
    assert node.reply() == Fetched(cid, 0, 0)


def test_the_window_is_bounded_in_blocks_and_bytes_and_waits_for_the_library():
    tree, node = Tree(80), Node2()
    node.holding = True
    node.call("fetch", Fetch(tree.root))
    node.answer(tree.blocks[tree.root])
    assert 16 < len(node.asked) <= FETCH_WINDOW_BLOCKS_MAX
    assert len(node.asked) * len(LEAF) <= FETCH_WINDOW_BYTES_MAX
    served = len(node.serve(tree.blocks))
    assert served <= FETCH_WINDOW_BLOCKS_MAX  # the rest waits until these are kept
    assert len(served * LEAF) <= FETCH_WINDOW_BYTES_MAX


def test_resumed_after_a_restart_without_asking_for_what_is_here():
    tree, node = Tree(20, width=6), Node2()
    node.call("fetch", Fetch(tree.root, SPACE))
    before = node.serve(tree.blocks, 9)
    node.restart()
    after = node.serve(tree.blocks)
    assert not set(before) & set(after)
    assert node.library == tree.blocks
    assert node.of(Notify)[-1].topic == "fetch.done"
    assert node.rows == {}


def test_a_disconnect_in_the_middle_waits_for_the_peer():
    tree, node = Tree(20), Node2()
    node.call("fetch", Fetch(tree.root))
    node.serve(tree.blocks, 5)
    node.sources = ()
    gone, node.asked = node.asked, []
    node.event(PeerDown(A, "gone"))
    for request in gone:
        node.event(Answered(request.token, Failure("peer_unreachable", "", Retry.LATER)))
    assert not node.of(Reply)
    node.sources = (SOURCE_A,)
    node.event(PeerUp(A, "", False))
    node.serve(tree.blocks)
    assert isinstance(node.reply(), Fetched)


def test_patience_ends_and_says_what_to_do():
    tree, node = Tree(20), Node2()
    node.call("fetch", Fetch(tree.root))
    node.serve(tree.blocks, 5)
    node.asked = []  # the peer says nothing more
    node.later(FETCH_PATIENCE_US - 1)
    assert not node.of(Reply)
    node.later(1)
    assert node.reply().code == "content_unavailable"
    assert "connected" in node.reply().message
    assert node.rows == {}


def test_nobody_to_ask_is_said_at_once():
    node = Node2(sources=())
    node.call("fetch", Fetch(Tree(2).root))
    assert node.reply().code == "content_unavailable"
    assert node.rows == {}


def test_a_peer_without_the_block_is_not_asked_again_and_another_is():
    tree, node = Tree(2), Node2(sources=(SOURCE_A, SOURCE_B))
    node.call("fetch", Fetch(tree.root))
    first = node.asked[0].peer
    node.answer(MISSING)
    assert node.asked[0].peer != first
    node.answer(MISSING)
    assert node.reply().code == "content_unavailable"


def test_a_wrong_block_is_never_kept_and_its_sender_scored_and_left_alone():
    tree, node = Tree(3), Node2(sources=(SOURCE_A, SOURCE_B))
    node.call("fetch", Fetch(tree.root))
    liar = node.asked[0].peer
    node.answer(b"something else")
    (penalty,) = [call for call in node.of(Call) if call.port == "peers.conduct"]
    assert (penalty.arguments.peer, penalty.arguments.code) == (liar, "content_invalid")
    assert {request.peer for request in node.asked} == {B if liar == A else A}
    node.serve(tree.blocks)
    assert isinstance(node.reply(), Fetched)
    assert set(node.kept) == set(tree.blocks)
    node.call("fetch", Fetch(Tree(4).root))
    assert liar not in {request.peer for request in node.asked}


@pytest.mark.parametrize("code", ["grant_missing", "forbidden", "protocol_unsupported"])
def test_a_peer_that_refuses_is_asked_no_more(code):
    tree, node = Tree(3), Node2(sources=(SOURCE_A, SOURCE_B))
    node.call("fetch", Fetch(tree.root))
    first = node.asked[0].peer
    node.answer(Failure(code, "no"))
    node.serve(tree.blocks)
    assert isinstance(node.reply(), Fetched)
    assert first in (A, B)


def test_a_busy_peer_is_asked_again_in_a_moment():
    tree, node = Tree(3), Node2()
    node.call("fetch", Fetch(tree.root))
    node.answer(Failure("limit_reached", "busy", Retry.LATER))
    assert node.asked == []
    node.later(FETCH_BUSY_US - 1)
    assert node.asked == []
    node.later(1)
    node.serve(tree.blocks)
    assert isinstance(node.reply(), Fetched)


def test_timeouts_in_a_row_end_a_source():
    tree, node = Tree(3), Node2()
    node.call("fetch", Fetch(tree.root))
    for _ in range(FETCH_STRIKES_MAX):
        node.answer(Failure("timed_out", "late", Retry.LATER))
    assert node.reply().code == "content_unavailable"


def test_two_sources_share_the_work():
    tree, node = Tree(30), Node2(sources=(SOURCE_A, SOURCE_B))
    node.call("fetch", Fetch(tree.root))
    node.answer(tree.blocks[tree.root])
    peers = [request.peer for request in node.asked]
    assert abs(peers.count(A) - peers.count(B)) <= 1


def test_readers_stream_while_it_arrives():
    tree, node = Tree(5), Node2()
    node.call("fetch", Fetch(tree.root))
    reader = node.call("block", AwaitBlock(tree.root, tree.order[1]))
    node.serve(tree.blocks, 2)
    assert not node.of(Reply)
    node.serve(tree.blocks, 1)
    assert node.of(Reply) == [Reply(reader, True)]
    held = node.call("block", AwaitBlock(tree.root, tree.order[0]))
    assert node.of(Reply) == [Reply(held, True)]
    waiting = node.call("block", AwaitBlock(tree.root, tree.order[4]))
    node.call("cancel", tree.root)
    bodies = {effect.request: effect.body for effect in node.of(Reply)}
    assert bodies[waiting].code == "cancelled"
    node.call("block", AwaitBlock(tree.root, tree.order[4]))
    assert node.reply().code == "not_found"


def test_the_last_caller_to_leave_ends_the_job():
    tree, node = Tree(5), Node2()
    first, second = (node.call("fetch", Fetch(tree.root)) for _ in range(2))
    node.event(Withdrawn(first))
    assert node.rows
    node.event(Withdrawn(second))
    assert node.of(Cancel)
    assert node.rows == {}
    assert node.asked == []


def test_content_that_is_not_what_its_cid_says():
    block = b"\xff not dag-pb"
    node, cid = Node2(), Cid.of(DAG_PB, block)
    node.call("fetch", Fetch(cid))
    node.serve({cid: block})
    assert node.reply().code == "content_invalid"


def test_a_bomb_of_shared_links_is_walked_once():
    tree = Tree(1)
    cid = tree.order[0]
    for _ in range(DAG_DEPTH_MAX - 1):  # 2**63 paths, 64 blocks
        cid, _ = tree.inner([(cid, 1), (cid, 1)])
    node = Node2()
    node.call("fetch", Fetch(cid))
    assert len(node.serve(tree.blocks)) == len(tree.blocks) == DAG_DEPTH_MAX
    assert isinstance(node.reply(), Fetched)


def test_too_deep():
    tree = Tree(1)
    cid = tree.order[0]
    for _ in range(DAG_DEPTH_MAX + 1):
        cid, _ = tree.inner([(cid, 1)])
    node = Node2()
    node.call("fetch", Fetch(cid))
    node.serve(tree.blocks)
    assert node.reply().code == "content_invalid"


def test_jobs_are_bounded_listed_and_named_when_unknown():
    node = Node2()
    for number in range(FETCHES_MAX):
        node.call("fetch", Fetch(Cid.of(RAW, b"%d" % number)))
    node.call("jobs", None)
    assert len(node.reply()) == FETCHES_MAX
    node.call("fetch", Fetch(Cid.of(RAW, b"one more")))
    assert node.reply().code == "limit_reached"
    node.call("fetch", Fetch(Cid.of(RAW, b"0"), patience_us=0))
    assert node.reply().code == "argument_invalid"
    node.call("steal", None)
    assert node.reply().code == "method_unknown"


def test_a_full_disk_ends_the_job_with_its_own_name():
    tree, node = Tree(2), Node2()
    full = Failure("disk_full", "The disk is full.", Retry.LATER)
    node.local = lambda port, arguments: (
        (True, full) if port == "library.keep" else Node2.local(node, port, arguments)
    )
    node.call("fetch", Fetch(tree.root))
    node.serve(tree.blocks)
    assert node.reply().code == "disk_full"
