"""Sharing and fetching under crashes, loss and partitions: exactly the granted find and fetch.

Alice shares a space with bob and dave and takes dave's grant back. Carol is a contact of hers
without a grant. Whatever happens on the way, in the end bob searches and holds everything, dave's
grant is gone, and no byte of the space was ever said to carol, nor to dave after the withdrawal.
"""

from dataclasses import dataclass, replace

import pytest

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import Failure
from dms3.core.ids import Root, SpaceId
from dms3.core.machine import Called, Persist, Reply
from dms3.crypto.signing import SigningKey
from dms3.node.inbox import Hosted, Overflow
from dms3.search.fetch import Fetching
from dms3.search.operations import (
    Fetch,
    Fetched,
    Found,
    FoundHit,
    PeersFound,
    SearchPeers,
    Share,
    Shared,
    Unshare,
    Unshared,
)
from dms3.search.sharing import PROTOCOLS, Sharing
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import CALM, FaultPlan, draw_plan
from dms3.sim.scenario import Scenario, Setting, run
from dms3.sim.seeds import stream

SECOND = 1_000_000
ALICE, BOB, CAROL, DAVE = range(4)
KEYS = [SigningKey.of_seed(bytes([65 + index]) * 32) for index in range(4)]
ROOTS = [Root(key.public) for key in KEYS]
SPACE = SpaceId(b"s" * 32)
MARKER = b"the marker sentence"


def make_tree():
    blocks = {}

    def put(codec, data):
        cid = Cid.of(codec, data)
        blocks[cid] = data
        return cid

    inner = []
    for branch in range(3):
        leaves = [put(RAW, MARKER + b"%d/%d" % (branch, leaf) * 40) for leaf in range(5)]
        links = [Link(cid, "", len(blocks[cid])) for cid in leaves]
        inner.append(put(DAG_PB, encode_node(Node(tuple(links), None))))
    root = put(DAG_PB, encode_node(Node(tuple(Link(cid, "", 3000) for cid in inner), MARKER)))
    return root, blocks


ROOT, BLOCKS = make_tree()
HIT = FoundHit(ROOT, "a title", MARKER.decode(), "text", 7_000_000)


class Library:
    """Alice's has the space; the others keep what they are given."""

    def __init__(self, index) -> None:
        self.own = dict(BLOCKS) if index == ALICE else {}

    def on_start(self, view, _now):
        self.view = view
        return []

    def on_event(self, event, _now):
        if not isinstance(event, Called):
            return []
        effects, body = getattr(self, event.operation)(event.arguments)
        return [*effects, Reply(event.request, body)]

    def on_timer(self, _now):
        return []

    def next_timer(self):
        return None

    def search(self, asked):
        return [], Found((HIT,) if self.own and asked.space == SPACE else (), len(self.own), 1, 0)

    def block(self, asked):
        missing = Failure("not_found", "no")
        return [], self.own.get(asked.cid, missing) if asked.space == SPACE else missing

    def has(self, cids):
        return [], tuple(self.load(cid)[1] is not None for cid in cids)

    def load(self, cid):
        return [], self.own.get(cid) or self.view.get("kept", cid.binary)

    def keep(self, keep):
        return [Persist("kept", cid.binary, data) for cid, data in keep.blocks], None


@dataclass(frozen=True)
class Contact:
    root: Root


class Peers:
    """Everybody knows everybody."""

    def on_start(self, _view, _now):
        return []

    def on_event(self, event, _now):
        if not isinstance(event, Called):
            return []
        if event.operation == "conduct":
            raise AssertionError(f"{event.arguments}: nobody misbehaves here")
        if event.operation == "introduced":
            return [Reply(event.request, None)]
        return [Reply(event.request, Contact(Root(bytes.fromhex(event.arguments))))]

    def on_timer(self, _now):
        return []

    def next_timer(self):
        return None


class OnlyTheGranted(Checker):
    """Hears everything that any node says."""

    def __init__(self) -> None:
        self.withdrawn = False
        self.served = {BOB: 0, DAVE: 0}

    def said(self, node, action):
        body, peer = getattr(action, "body", None), getattr(action, "peer", None)
        if peer is None or not isinstance(body, bytes):
            return
        if MARKER not in body and body not in BLOCKS.values():
            return
        target = node.world.by_peer[peer].index
        if node.index != ALICE or target not in self.served:
            raise ViolationError(f"node {node.index} told node {target} about the space")
        if target == DAVE and self.withdrawn:
            raise ViolationError("dave was served after the withdrawal")
        self.served[target] += 1


class Sharings(Scenario):
    name = "sharing"

    def __init__(self) -> None:
        self.checker = OnlyTheGranted()
        self.acknowledged = {"bob": None, "dave": None, "gone": None}
        self.until_us = 0
        self.final = None
        self.world = None

    def build(self):
        protocols = dict.fromkeys(PROTOCOLS, Overflow.HOLD)

        def machines(index, peers, entropy):
            sharing = Sharing(KEYS[index], peers[index], f"node {index}", entropy)
            return [
                Hosted("sharing", sharing, protocols),
                Hosted("fetch", Fetching()),
                Hosted("library", Library(index)),
                Hosted("peers", Peers()),
            ]

        return machines

    def checkers(self):
        return [self.checker]

    def begin(self, world, until_us):
        self.world, self.until_us = world, until_us
        self.random = stream(world.seed, "work")
        world.at(1, self.owner)
        for index in (BOB, CAROL, DAVE):
            world.at(2 + index, self.reader, index)

    def call(self, index, port, arguments, done=lambda _body: None):
        node = self.world.nodes[index]
        if node.driver is not None:
            node.call(port, arguments, done)

    def owner(self):
        """Alice repeats each command until it is acknowledged, as a person would."""
        done, peers = self.acknowledged, self.world.peers

        def note(name, kind):
            def said(body):
                assert isinstance(body, kind | Failure), body
                done[name] = body
                if name == "gone":
                    self.checker.withdrawn = True

            return said

        if done["bob"] is None:
            share = Share(SPACE, "papers", ROOTS[BOB], (peers[BOB],))
            self.call(ALICE, "sharing.share", share, note("bob", Shared))
        elif done["dave"] is None:
            share = Share(SPACE, "papers", ROOTS[DAVE], (peers[DAVE],))
            self.call(ALICE, "sharing.share", share, note("dave", Shared))
        elif done["gone"] is None and self.world.time_us > self.until_us // 2:
            unshare = Unshare(SPACE, ROOTS[DAVE])
            self.call(ALICE, "sharing.unshare", unshare, note("gone", Unshared))
        if done["gone"] is None:
            pause = self.random.randrange(1, SECOND // 2)
            self.world.at(self.world.time_us + pause, self.owner)

    def reader(self, index):
        if self.world.time_us > self.until_us:
            return
        if self.random.randrange(2):
            self.call(index, "sharing.search", SearchPeers("x", 10, timeout_us=SECOND))
        else:
            self.call(index, "fetch.fetch", Fetch(ROOT, patience_us=SECOND))
        pause = self.random.randrange(1, SECOND // 2)
        self.world.at(self.world.time_us + pause, self.reader, index)

    def finished(self, world):
        """Faults are healed: the outboxes drain, then everybody searches and fetches once more."""
        if None in self.acknowledged.values():
            return False
        alice, bob, dave = (world.nodes[index].disk for index in (ALICE, BOB, DAVE))
        if alice.table("sharing/outbox") or not bob.table("sharing/received"):
            return False
        if dave.table("sharing/received"):
            return False
        if self.final is None:
            self.final = {}
            for index in (BOB, CAROL, DAVE):
                self.ask_finally(index)
        if (BOB, "fetch") in self.final and (BOB, "search") in self.final and not self.content():
            self.ask_finally(BOB)  # its connection was not up again
        return len(self.final) == 6

    def ask_finally(self, index):
        for machine, operation, asked in (
            ("sharing", "search", SearchPeers("x", 10)),
            ("fetch", "fetch", Fetch(ROOT)),
        ):
            self.final.pop((index, operation), None)

            def done(body, key=(index, operation)):
                self.final[key] = body

            self.call(index, f"{machine}.{operation}", asked, done)

    def content(self):
        """Whether bob found and holds everything."""
        found, fetched = self.final[BOB, "search"], self.final[BOB, "fetch"]
        return bool(found.hits) and isinstance(fetched, Fetched)

    def figures(self, world):
        kept = {node.index: len(node.disk.table("library/kept")) for node in world.nodes}
        return {"kept": kept, "served": self.checker.served}


def check(scenario, outcome, seed):
    lines = [f"seed {seed}: {outcome.violation}", f"faults {outcome.faults}", *outcome.last_events]
    assert outcome.ok, "\n".join(lines)
    final = scenario.final
    found = final[BOB, "search"]
    assert isinstance(found, PeersFound)
    assert [hit.hit for hit in found.hits] == [HIT]
    assert isinstance(final[BOB, "fetch"], Fetched)
    assert outcome.figures["kept"][BOB] == len(BLOCKS)
    for index in (CAROL, DAVE):
        assert final[index, "search"].hits == ()
        assert outcome.figures["kept"][index] < len(BLOCKS) or index == DAVE
    assert final[CAROL, "fetch"].code == "content_unavailable"
    assert outcome.figures["kept"][CAROL] == 0


def run_once(seed, plan=None, work_us=6 * SECOND):
    plan = replace(draw_plan(seed), clock_jump_every_us=0) if plan is None else plan
    scenario = Sharings()
    outcome = run(scenario, Setting(4, seed, work_us, plan))
    check(scenario, outcome, seed)
    return outcome


def test_in_calm_weather():
    outcome = run_once(1, CALM)
    assert outcome.figures["served"][BOB] >= len(BLOCKS)


def test_each_block_is_served_once_when_nothing_goes_wrong():
    outcome = run_once(2, CALM, work_us=SECOND)
    searches = outcome.figures["served"][BOB] - len(BLOCKS)
    assert searches >= 1


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_under_faults(start):
    crashes = 0
    for seed in range(start, start + 20):
        crashes += run_once(seed).figures["crashes"]
    assert crashes > 0, "the faults were off"


def test_every_message_may_be_lost_or_doubled_and_nodes_die_all_the_time():
    plan = FaultPlan(
        loss_per_million=200_000,
        copies_per_million=100_000,
        reorder=True,
        partition_every_us=2 * SECOND,
        crash_every_us=SECOND // 4,
    )
    for seed in range(10):
        assert run_once(seed, plan).figures["crashes"] > 5
