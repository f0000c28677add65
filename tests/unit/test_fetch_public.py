"""Fetching what is public: who is asked, in which order, and what is never asked for in public."""

import pytest

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.codec import encode
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, RequestId, SpaceId
from dms3.core.limits import (
    FETCH_WINDOW_BLOCKS_MAX,
    PRIVATE_CIDS_MAX,
    PROVIDER_WAIT_US_MAX,
    PROVIDERS_ASKED_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Request,
)
from dms3.core.overlay import Got, NodeAt
from dms3.node.opening import fit_provider
from dms3.search.fetch import Fetching
from dms3.search.messages import BLOCK_PROTOCOL
from dms3.search.operations import Fetch, Fetched, Penalty, Source
from dms3.search.publicblock import PROTOCOL, PublicQuestion, decode_public_question
from dms3.search.publicways import PublicPorts

OWN, ALICE, BOB, EVE = (
    PeerId(bytes.fromhex("002408011220") + letter * 32) for letter in (b"O", b"A", b"B", b"E")
)
MACHINE = "/ip4/127.0.0.1/tcp/1"
SPACE = SpaceId(b"s" * 32)
SOURCE = Source(BOB, SPACE, b"grant", b"certificate")
LEAVES = [b"leaf %d" % number * 100 for number in range(60)]
LINKS = tuple(Link(Cid.of(RAW, leaf), "", len(leaf)) for leaf in LEAVES)
TREE = encode_node(Node(LINKS, b"\x08\x02"))
ROOT = Cid.of(DAG_PB, TREE)
BLOCKS = {ROOT: TREE} | {Cid.of(RAW, leaf): leaf for leaf in LEAVES}
FOLDER_FILE = Cid.of(RAW, LEAVES[0])
FOLDER = encode_node(Node((Link(FOLDER_FILE, "a.txt", 9),), b"\x08\x01"))


def node_of(value):
    return NodeAt(PeerId(value), ("/ip4/192.0.2.1/tcp/1",))


class Hand:
    """The machine; local parts answer at once, strangers when the test says so."""

    def __init__(self, sources=(), providers=(), overlay=BLOCKS, up=None) -> None:
        self.sources, self.providers, self.overlay = sources, providers, dict(overlay)
        self.up = set(providers) if up is None else set(up)
        self.library, self.tables, self.asked, self.answers = {}, {}, [], {}
        self.said, self.now = [], Now(10, 10)
        self.slow = set()  # ports that do not answer
        self.waiting = []
        self.served = {ALICE: dict(BLOCKS), EVE: dict(BLOCKS)}
        self.count = 0
        self.restart()

    def restart(self):
        self.machine = Fetching(PublicPorts(OWN, node_of, lambda node: node, lambda node, _: node))
        self.take(self.machine.on_start(self, self.now))

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]

    def take(self, effects):
        pending = list(effects)
        while pending:
            effect = pending.pop(0)
            self.said.append(effect)
            if isinstance(effect, Persist):
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)
            elif isinstance(effect, Reply):
                self.answers[effect.request] = effect.body
            elif isinstance(effect, Request):
                self.asked.append(effect)
            elif isinstance(effect, Cancel):
                self.asked = [each for each in self.asked if each.token != effect.token]
            elif isinstance(effect, Call):
                if effect.port in self.slow:
                    self.waiting.append(effect)
                    continue
                body = self.local(effect.port, effect.arguments)
                pending += self.machine.on_event(Answered(effect.token, body), self.now)

    def local(self, port, asked):  # noqa: PLR0911 - a table of answers
        if port == "sharing.sources":
            return tuple(self.sources)
        if port == "library.has":
            return tuple(cid in self.library for cid in asked)
        if port == "library.load":
            return self.library.get(asked)
        if port == "library.keep":
            self.library |= dict(asked.blocks)
            return None
        if port == "transport.dial":
            return asked if asked.peer in self.up else Failure("peer_unreachable", "gone")
        if port == "dht.get" and asked.type == "provider":
            return Got(tuple(self.providers), None, 1, 8)
        if port == "dht.get":
            block = self.overlay.get(Cid(asked.key))
            return Got(() if block is None else (block,), None, 1, 8)
        assert port == "peers.conduct"
        return None

    def fetch(self, root=ROOT, space=None):
        self.count += 1
        event = Called("fetch", Fetch(root, space), RequestId(self.count))
        self.take(self.machine.on_event(event, self.now))
        return self.count

    def answer(self, limit=1_000):
        """Providers answer what they were asked."""
        while self.asked and limit:
            limit -= 1
            request = self.asked.pop(0)
            if request.protocol == PROTOCOL:
                cid = decode_public_question(request.body).cid
                body = self.served[request.peer].get(cid) or Failure("not_found", "no")
            else:
                body = Failure("not_found", "not in that space")
            self.take(self.machine.on_event(Answered(request.token, body), self.now))

    def later(self, us):
        self.now = Now(self.now.mono_us + us, self.now.wall_us + us)
        self.take(self.machine.on_timer(self.now))

    def gets(self, kind):
        calls = [each for each in self.said if isinstance(each, Call) and each.port == "dht.get"]
        return [Cid(call.arguments.key) for call in calls if call.arguments.type == kind]


def test_a_provider_serves_the_whole_file_and_the_overlay_is_left_alone() -> None:
    hand = Hand(providers=(ALICE,))
    request = hand.fetch()
    hand.answer()
    assert hand.answers[request] == Fetched(ROOT, 61, sum(map(len, BLOCKS.values())))
    assert hand.library == BLOCKS
    assert hand.gets("provider") == [ROOT]
    assert hand.gets("block") == []


def test_without_a_provider_the_overlay_gives_it_block_by_block() -> None:
    for hand in (Hand(), Hand(providers=(ALICE,), up=())):
        request = hand.fetch()
        assert isinstance(hand.answers[request], Fetched)
        assert hand.library == BLOCKS
        assert len(hand.gets("block")) == 61


def test_the_overlay_is_asked_for_many_blocks_at_once() -> None:
    hand = Hand()
    hand.library[ROOT] = TREE
    hand.slow = {"dht.get"}
    hand.fetch()
    (providers,) = hand.waiting
    hand.waiting = []
    hand.take(hand.machine.on_event(Answered(providers.token, Got((), None, 1, 8)), hand.now))
    assert len(hand.waiting) == FETCH_WINDOW_BLOCKS_MAX


def test_who_let_me_read_is_asked_first_and_strangers_only_for_what_they_lack() -> None:
    hand = Hand(sources=(SOURCE,), providers=(ALICE,))
    request = hand.fetch()
    assert [each.protocol for each in hand.asked] == [BLOCK_PROTOCOL]
    assert hand.gets("provider") == []
    hand.answer()
    assert isinstance(hand.answers[request], Fetched)
    assert hand.gets("provider") == [ROOT]


def test_slow_providers_do_not_hold_up_the_overlay() -> None:
    hand = Hand(providers=(ALICE,))
    hand.slow = {"transport.dial"}
    request = hand.fetch()
    assert request not in hand.answers
    assert hand.gets("block") == []
    assert hand.machine.next_timer() == hand.now.mono_us + PROVIDER_WAIT_US_MAX
    hand.later(PROVIDER_WAIT_US_MAX)
    assert isinstance(hand.answers[request], Fetched)


def test_a_provider_that_leaves_in_the_middle_is_replaced_by_the_overlay() -> None:
    hand = Hand(providers=(ALICE,))
    request = hand.fetch()
    hand.answer(limit=20)
    gone, hand.asked = hand.asked, []
    hand.take(hand.machine.on_event(PeerDown(ALICE, "killed"), hand.now))
    for each in gone:
        lost = Failure("peer_unreachable", "gone", Retry.LATER)
        hand.take(hand.machine.on_event(Answered(each.token, lost), hand.now))
    assert isinstance(hand.answers[request], Fetched)
    assert 0 < len(hand.gets("block")) < 61


def test_a_provider_that_lies_is_asked_no_more_and_the_file_is_right() -> None:
    hand = Hand(providers=(EVE, ALICE))
    hand.served[EVE] = dict.fromkeys(BLOCKS, b"something else")
    request = hand.fetch()
    hand.answer()
    assert isinstance(hand.answers[request], Fetched)
    assert hand.library == BLOCKS
    penalties = [each for each in hand.said if isinstance(each, Call) and "conduct" in each.port]
    assert [each.arguments for each in penalties] == [Penalty(EVE, "content_invalid")]


def test_a_provider_without_it_is_passed_over() -> None:
    hand = Hand(providers=(EVE,))
    hand.served[EVE] = {}
    request = hand.fetch()
    hand.answer()
    assert isinstance(hand.answers[request], Fetched)
    assert len(hand.gets("block")) == 61


def test_what_nobody_has_is_said_to_be_nowhere() -> None:
    hand = Hand(overlay={})
    assert hand.answers[hand.fetch()].code == "content_unavailable"
    assert "Nobody has block" in hand.answers[1].message


def test_no_more_providers_than_a_few_are_dialled_and_never_this_node() -> None:
    many = [PeerId(bytes.fromhex("002408011220") + bytes([n]) * 32) for n in range(30)]
    hand = Hand(providers=(OWN, *many), up=())
    hand.fetch()
    dials = [each for each in hand.said if isinstance(each, Call) and "dial" in each.port]
    assert len(dials) == PROVIDERS_ASKED_MAX
    assert OWN not in {each.arguments.peer for each in dials}


# what is private


def test_what_a_grant_led_to_is_never_asked_for_in_public() -> None:
    hand = Hand()
    hand.count += 1
    event = Called("private", (ROOT,), RequestId(hand.count))
    hand.take(hand.machine.on_event(event, hand.now))
    for _ in range(2):
        assert hand.answers[hand.fetch()].code == "content_unavailable"
        assert hand.gets("provider") == hand.gets("block") == []
        hand.restart()
    assert hand.answers[hand.fetch(space=SPACE)].code == "content_unavailable"
    assert hand.gets("provider") == []


def test_a_space_that_was_named_is_the_only_place_to_ask() -> None:
    hand = Hand()
    assert hand.answers[hand.fetch(space=SPACE)].code == "content_unavailable"
    assert hand.gets("provider") == hand.gets("block") == []


def test_what_lies_in_a_folder_that_came_through_a_grant_is_private_too() -> None:
    folder = Cid.of(DAG_PB, FOLDER)
    hand = Hand(sources=(SOURCE,))
    hand.fetch(folder)
    (request,) = hand.asked
    hand.asked = []
    hand.take(hand.machine.on_event(Answered(request.token, FOLDER), hand.now))
    hand.sources = ()
    hand.take(hand.machine.on_event(Called("cancel", folder, RequestId(99)), hand.now))
    assert set(hand.tables["private"]) == {folder.binary, FOLDER_FILE.binary}
    assert hand.answers[hand.fetch(FOLDER_FILE)].code == "content_unavailable"
    assert hand.gets("block") == []


def test_what_came_through_a_grant_is_not_asked_for_in_public_when_its_giver_lacks_the_rest():
    hand = Hand(sources=(SOURCE,), providers=(ALICE,))
    number = hand.fetch()
    (request,) = hand.asked
    hand.asked = []
    hand.take(hand.machine.on_event(Answered(request.token, TREE), hand.now))
    asked, hand.asked = hand.asked, []
    assert asked
    gone = Failure("not_found", "Removed meanwhile.")
    for each in asked:
        hand.take(hand.machine.on_event(Answered(each.token, gone), hand.now))
    while hand.asked:
        each = hand.asked.pop()
        hand.take(hand.machine.on_event(Answered(each.token, gone), hand.now))
    assert hand.answers[number].code == "content_unavailable"
    assert hand.gets("provider") == hand.gets("block") == []


def test_what_is_noted_as_private_is_bounded() -> None:
    hand = Hand()
    cids = tuple(Cid.of(RAW, b"%d" % number) for number in range(PRIVATE_CIDS_MAX + 1))
    hand.take(hand.machine.on_event(Called("private", cids, RequestId(1)), hand.now))
    assert len(hand.tables["private"]) == PRIVATE_CIDS_MAX
    assert cids[0].binary not in hand.tables["private"]


def test_without_ports_nothing_is_public() -> None:
    hand = Hand()
    hand.machine = Fetching()
    assert hand.answers[hand.fetch()].code == "content_unavailable"
    assert hand.gets("provider") == []


@pytest.mark.parametrize("cid", [ROOT, FOLDER_FILE])
def test_a_question_says_nothing_but_the_cid(cid: Cid) -> None:
    assert decode_public_question(encode(PublicQuestion(cid))) == PublicQuestion(cid)


@pytest.mark.parametrize(
    ("remotes", "addresses"),
    [
        (("/ip4/127.0.0.1/tcp/9",), ("/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1", MACHINE)),
        (("/ip4/192.168.1.7/tcp/9", MACHINE), ("/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1")),
        (("/ip4/192.168.1.7/tcp/9", "/ip4/9.9.9.9/tcp/9"), ("/ip4/8.8.8.8/tcp/1",)),
        ((), ("/ip4/8.8.8.8/tcp/1",)),
    ],
)
def test_a_provider_record_leads_no_dial_into_a_network_it_may_not_come_from(remotes, addresses):
    told = ("/ip4/8.8.8.8/tcp/1", "/ip4/10.0.0.1/tcp/1", MACHINE, "/dns4/a.example.org/tcp/1", "no")
    assert fit_provider(NodeAt(ALICE, told), remotes) == NodeAt(ALICE, addresses)


def test_where_a_stranger_may_not_lead_is_not_dialled_and_who_is_connected_is_asked():
    hand = Hand(providers=(ALICE, EVE))
    nowhere = PublicPorts(OWN, node_of, lambda node: node, lambda node, _: NodeAt(node.peer, ()))
    hand.machine = Fetching(nowhere)
    hand.take(hand.machine.on_start(hand, hand.now))
    hand.take(hand.machine.on_event(PeerUp(ALICE, "/ip4/192.0.2.1/tcp/1", False), hand.now))
    dialled: list[PeerId] = []
    local = hand.local
    hand.local = lambda port, asked: (
        (dialled.append(asked.peer) if port == "transport.dial" else None) or local(port, asked)
    )
    hand.fetch()
    assert dialled == [ALICE]
