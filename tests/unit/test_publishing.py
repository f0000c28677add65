"""Machine "publishing" driven by hand: what it puts and in which order, what survives a kill, what
it serves to whom, and how a space becomes private again."""

import dataclasses

import pytest

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, RequestId, SpaceId
from dms3.core.limits import (
    BLOCK_BURST_US,
    BLOCK_COST_US,
    PUBLISH_AGAIN_US,
    PUBLISH_LOOK_US,
    PUBLISH_LOOKS_MIN,
    PUBLISH_SHORT_US,
    PUBLISH_WAIT_US,
    PUBLISHED_SPACES_MAX,
    PUT_CONTENTS_MAX,
    SERVED_PER_PEER_MAX,
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
    Requested,
    Withdrawn,
)
from dms3.core.overlay import PUBLIC, Content, NodeAt, OverlayFigures, Placed, location
from dms3.core.verdict import Valid
from dms3.crypto.signing import SigningKey
from dms3.search.indexing import Built
from dms3.search.manifest import decode_manifest, validate
from dms3.search.operations import Penalty
from dms3.search.operations_public import BlockAt, IndexBuilt, Publication, Publish, RootAt
from dms3.search.publicblock import NOT_FOUND, PROTOCOL, PublicQuestion
from dms3.search.publishing import Publishing

START = Now(1_000, 1_800_000_000_000_000)
KEY = SigningKey.of_seed(b"a" * 32)
PEER, OTHER = (PeerId(bytes.fromhex("002408011220") + letter * 32) for letter in (b"A", b"B"))
SPACE, SECOND = SpaceId(b"s" * 32), SpaceId(b"t" * 32)
INDEX = Cid.of(DAG_CBOR, b"index")
HOME = ("/ip4/192.0.2.1/tcp/7700",)


def issue(cid, addresses, wall_us):
    return Content("provider", cid.binary, b"at " + addresses[0].encode(), wall_us)


class Hand:
    """The machine with a library, a store and an overlay that answer at once, when they may."""

    def __init__(self, documents=3, nodes=9) -> None:
        self.documents = {number: b"document %d" % number for number in range(1, documents + 1)}
        self.index_row = 0
        self.nodes, self.holders, self.now = nodes, 8, START
        self.tables, self.put, self.dropped, self.answers, self.told = {}, [], [], {}, []
        self.failing, self.patience, self.count = False, 1_000_000, 0
        self.cancelled, self.forgotten = set(), False
        self.restart()

    def restart(self):
        self.queue = []
        self.machine = Publishing(KEY, PEER, issue)
        self.take(self.machine.on_start(self, self.now))
        self.call("listening", HOME)

    # the store

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]

    # moving

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)
            elif isinstance(effect, Call):
                self.queue.append(effect)
            elif isinstance(effect, Cancel):
                self.queue = [each for each in self.queue if each.token != effect.token]
            elif isinstance(effect, Reply):
                self.answers[effect.request] = effect.body
            elif isinstance(effect, Notify):
                self.told.append(effect)

    def run(self, steps=1_000_000):
        """Answer at most `steps` calls, and let no time pass; how many there were."""
        done = 0
        while self.queue and done < steps:
            call = self.queue.pop(0)
            body = self.local(call.port, call.arguments)
            self.take(self.machine.on_event(Answered(call.token, body), self.now))
            done += 1
        return done

    def later(self, us):
        self.now = Now(self.now.mono_us + us, self.now.wall_us + us)
        self.take(self.machine.on_timer(self.now))

    def wait(self):
        """Until it is clear that nobody is there."""
        for _ in range(PUBLISH_LOOKS_MIN):
            self.later(PUBLISH_WAIT_US // PUBLISH_LOOKS_MIN)
            self.run()

    def call(self, operation, arguments=None):
        self.count += 1
        event = Called(operation, arguments, RequestId(self.count))
        self.take(self.machine.on_event(event, self.now))
        return self.count

    def publish(self, space=SPACE):
        request = self.call("publish", Publish(space, "letters"))
        self.run()
        return self.answers.get(request)

    # what answers

    def blocks(self, since):
        rows = {
            Cid.of(RAW, data): data for number, data in self.documents.items() if number > since
        }
        if self.index_row > since:
            rows[INDEX] = b"index"
        return rows

    def local(self, port, asked):
        if port == "dht.figures":
            nodes = (NodeAt(OTHER, HOME),) * self.nodes
            return (OverlayFigures(PUBLIC, True, nodes, 0, ()),)
        if port == "dht.put":
            if self.failing:
                return Failure("limit_reached", "too much at once", Retry.LATER)
            assert len(asked.contents) <= PUT_CONTENTS_MAX
            self.put += asked.contents
            return Placed((self.holders,) * len(asked.contents), min(8, self.nodes + 1))
        if port == "dht.drop":
            self.dropped.append((asked.type, asked.key))
            return 1
        return self.library(port, asked)

    def library(self, port, asked):  # noqa: PLR0911 - a table of answers
        if port == "published.build":
            self.index_row = max([self.index_row, *self.documents]) + 1
            built = Built(INDEX, len(self.documents), 30, 4, ("text",), b"\x01\xff")
            return IndexBuilt(built, self.index_row, self.mark())
        if port == "published.marks":
            return tuple(self.mark() for _ in asked)
        if port == "published.blocks":
            rows = [
                BlockAt(location(cid.binary), cid, len(data))
                for cid, data in self.blocks(asked.since).items()
                if location(cid.binary) > asked.after
            ]
            return tuple(sorted(rows, key=lambda at: at.location)[: asked.limit])
        if port == "published.roots":
            rows = sorted(number for number in self.documents if number > asked.since)
            return tuple(
                RootAt(number, Cid.of(RAW, self.documents[number]))
                for number in rows[: asked.limit]
            )
        if port == "published.load":
            held = self.blocks(0)
            return tuple(held.get(cid) for cid in asked)
        if port == "published.forget":
            self.forgotten = True
            return True
        if port == "published.block":
            held = self.blocks(0).get(asked.cid) if asked.spaces else None
            return held or Failure("not_found", "No such public block.")
        assert port == "peers.conduct"
        return None

    def mark(self):
        return (len(self.documents), sum(self.documents))

    # what was put

    def types(self):
        return [content.type for content in self.put]

    def manifests(self):
        found = [content for content in self.put if content.type == "manifest"]
        for content in found:
            assert validate(content.key, content.value, self.now.wall_us) == Valid()
        return [decode_manifest(content.value) for content in found]


def test_blocks_go_first_then_providers_and_the_manifest_last() -> None:
    hand = Hand(documents=3)
    answer = hand.publish()
    assert isinstance(answer, Publication)
    assert (answer.stage, answer.documents, answer.blocks, answer.providers) == ("done", 3, 4, 3)
    assert (answer.least, answer.wanted, answer.waiting) == (8, 8, "")
    assert hand.types() == ["block"] * 4 + ["provider"] * 3 + ["manifest"]
    places = [location(content.key) for content in hand.put[:4]]
    assert places == sorted(places)
    (manifest,) = hand.manifests()
    assert (manifest.space, manifest.root, manifest.peer) == (SPACE, KEY.public, PEER)
    assert (manifest.index, manifest.documents, manifest.withdrawn) == (INDEX, 3, False)
    assert [notice.topic for notice in hand.told][-1] == "publish.done"


def test_nothing_is_done_for_a_space_that_nobody_published() -> None:
    hand = Hand()
    hand.later(PUBLISH_LOOK_US)
    assert hand.run() == 0
    assert hand.put == []
    assert hand.machine.next_timer() is None


@pytest.mark.parametrize("documents", [3, 600])
def test_a_kill_at_any_moment_costs_no_part(documents: int) -> None:
    whole = Hand(documents)
    whole.publish()
    steps = 0
    everything = {(content.type, content.key) for content in whole.put}
    for steps in range(200):
        hand = Hand(documents)
        hand.call("publish", Publish(SPACE, "letters"))
        if hand.run(steps) < steps:
            break
        hand.restart()  # killed: only what is durable is left
        hand.run()
        found = {(content.type, content.key) for content in hand.put}
        assert found == everything, f"killed after {steps} answers"
        assert hand.types()[-1] == "manifest"
    assert steps > 5


def test_a_batch_that_is_done_is_not_put_again_after_a_restart() -> None:
    hand = Hand(documents=600)
    hand.call("publish", Publish(SPACE, "letters"))
    while len(hand.put) < PUT_CONTENTS_MAX:
        hand.run(1)
    hand.restart()
    hand.run()
    blocks = [content.key for content in hand.put if content.type == "block"]
    assert len(blocks) == len(set(blocks)) == 601


def test_alone_it_waits_says_so_and_goes_on_when_nodes_come() -> None:
    hand = Hand(nodes=0)
    assert hand.publish() is None, "a node that has just started knows nobody yet"
    hand.wait()
    answer = hand.answers[hand.count]
    assert isinstance(answer, Publication)
    assert (answer.stage, answer.waiting) == ("blocks", "no other node is there to hold it")
    assert hand.put == []
    hand.later(PUBLISH_WAIT_US)
    hand.run()
    assert hand.put == []
    hand.nodes = 2
    hand.later(PUBLISH_WAIT_US)
    hand.run()
    assert hand.types()[-1] == "manifest"
    (row,) = hand.answers[hand.call("spaces")]
    assert (row.stage, row.wanted, row.waiting) == ("done", 3, "")


def test_while_somebody_is_connected_it_looks_longer_before_it_says_so() -> None:
    hand = Hand(nodes=0)
    hand.take(hand.machine.on_event(PeerUp(OTHER, HOME[0], False), hand.now))
    request = hand.call("publish", Publish(SPACE, "letters"))
    hand.run()
    hand.wait()
    assert request not in hand.answers
    hand.nodes = 1
    hand.wait()
    assert hand.answers[request].stage == "done"


def test_a_put_that_fails_is_tried_again_and_said() -> None:
    hand = Hand()
    hand.failing = True
    request = hand.call("publish", Publish(SPACE, "letters"))
    hand.run()
    assert request not in hand.answers
    hand.later(PUBLISH_WAIT_US)
    hand.run()
    assert hand.answers[request].waiting == "too much at once"
    hand.failing = False
    hand.later(4 * PUBLISH_WAIT_US)
    hand.run()
    assert hand.types().count("block") == 4
    assert hand.types()[-1] == "manifest"


def test_later_documents_follow_by_themselves_and_alone() -> None:
    hand = Hand()
    hand.publish()
    before = len(hand.put)
    hand.documents[9] = b"late"
    hand.call("changed")
    hand.later(PUBLISH_LOOK_US)
    hand.run()
    new = hand.put[before:]
    keys = {content.key for content in new if content.type == "block"}
    assert keys == {Cid.of(RAW, b"late").binary, INDEX.binary}
    assert [content.type for content in new].count("provider") == 1
    assert [manifest.documents for manifest in hand.manifests()] == [3, 4]
    hand.later(PUBLISH_LOOK_US)
    hand.run()
    assert len(hand.put) == before + len(new), "nothing has changed since"


def test_everything_is_put_again_before_it_expires_and_sooner_when_held_by_few() -> None:
    hand = Hand()
    hand.publish()
    hand.later(PUBLISH_AGAIN_US - PUBLISH_LOOK_US)
    hand.run()
    assert hand.types().count("manifest") == 1
    hand.later(2 * PUBLISH_LOOK_US)
    hand.run()
    assert hand.types().count("manifest") == 2
    assert hand.types().count("block") == 8
    small = Hand(nodes=1)
    small.holders = 2
    small.publish()
    small.later(PUBLISH_SHORT_US + PUBLISH_LOOK_US)
    small.run()
    assert small.types().count("manifest") == 1, "no more nodes came"
    small.nodes = 3
    small.later(PUBLISH_LOOK_US)
    small.run()
    assert small.types().count("manifest") == 2


def test_unpublished_it_is_served_no_more_and_the_overlay_is_told() -> None:
    hand = Hand()
    hand.publish()
    assert ask(hand, Cid.of(RAW, b"document 1")) == b"document 1"
    request = hand.call("unpublish", SPACE)
    assert ask(hand, Cid.of(RAW, b"document 1")) == NOT_FOUND  # before anybody was told
    hand.run()
    assert hand.answers[request].was_public
    assert hand.answers[request].told == 8
    last = hand.manifests()[-1]
    assert (last.withdrawn, last.documents, last.name, last.kinds) == (True, 0, "-", ())
    assert last.created_us > hand.manifests()[0].created_us
    assert len(hand.dropped) == 4
    assert hand.forgotten
    assert hand.tables["spaces"] == {}
    again = hand.call("unpublish", SPACE)
    assert not hand.answers[again].was_public
    before = len(hand.put)
    hand.later(PUBLISH_AGAIN_US)
    hand.run()
    assert len(hand.put) == before


def test_unpublishing_survives_a_kill_and_publishing_again_undoes_it() -> None:
    for steps in range(12):
        hand = Hand()
        hand.publish()
        hand.call("unpublish", SPACE)
        hand.run(steps)
        hand.restart()
        hand.run()
        assert hand.manifests()[-1].withdrawn
        assert hand.tables["spaces"] == {}
        hand.later(10)
        hand.publish()
        assert not hand.manifests()[-1].withdrawn
        assert hand.manifests()[-1].created_us > hand.manifests()[-2].created_us


def test_a_space_that_was_never_announced_is_withdrawn_without_a_word() -> None:
    hand = Hand(nodes=0)
    hand.publish()
    hand.wait()
    request = hand.call("unpublish", SPACE)
    hand.run()
    assert hand.answers[request].was_public
    assert hand.put == []
    assert hand.tables["spaces"] == {}


def test_several_spaces_and_their_bound() -> None:
    hand = Hand()
    for number in range(4):
        hand.call("publish", Publish(SpaceId(bytes([number + 1]) * 32), f"space {number}"))
    hand.run()
    assert hand.types().count("manifest") == 4
    for number in range(PUBLISHED_SPACES_MAX - 4):
        hand.call("publish", Publish(SpaceId(number.to_bytes(32, "big")[::-1][:31] + b"\7"), "n"))
    refused = hand.call("publish", Publish(SECOND, "one too many"))
    assert hand.answers[refused].code == "limit_reached"


def test_what_cannot_be_published() -> None:
    hand = Hand()
    for wanted in (Publish(SpaceId(bytes(32)), "fetched"), Publish(SPACE, "two\nlines")):
        assert hand.answers[hand.call("publish", wanted)].code == "argument_invalid"
    assert hand.answers[hand.call("nonsense")].code == "method_unknown"


def test_an_index_that_cannot_be_built_is_told() -> None:
    hand = Hand()
    hand.call("publish", Publish(SPACE, "letters"))
    (build,) = hand.queue
    hand.queue = []
    failure = Failure("limit_reached", "too many documents")
    hand.take(hand.machine.on_event(Answered(build.token, failure), hand.now))
    assert hand.answers[hand.count] == failure


def test_without_an_address_nobody_is_told_to_come_here() -> None:
    hand = Hand()
    hand.call("listening", ())
    assert hand.publish().providers == 0
    assert "provider" not in hand.types()


# serving


def ask(hand, cid, peer=OTHER):
    hand.count += 1
    event = Requested(peer, PROTOCOL, encode(PublicQuestion(cid)), RequestId(hand.count))
    hand.take(hand.machine.on_event(event, hand.now))
    waiting = [call for call in hand.queue if call.port == "published.block"]
    for call in waiting:
        hand.queue.remove(call)
        body = hand.local(call.port, call.arguments)
        hand.take(hand.machine.on_event(Answered(call.token, body), hand.now))
    return hand.answers.get(hand.count)


def test_only_public_spaces_are_named_to_the_library() -> None:
    hand = Hand()
    cid = Cid.of(RAW, b"document 1")
    assert ask(hand, cid) == NOT_FOUND
    hand.publish()
    assert ask(hand, cid) == b"document 1"
    assert ask(hand, Cid.of(RAW, b"something else")) == NOT_FOUND


def test_a_question_of_another_form_costs_its_sender() -> None:
    hand = Hand()
    event = Requested(OTHER, PROTOCOL, b"\xa0", RequestId(77))
    hand.take(hand.machine.on_event(event, hand.now))
    assert hand.answers[77].code == "decode_failed"
    (call,) = hand.queue
    assert call.arguments == Penalty(OTHER, "body_malformed")


def test_questions_are_paced_and_bounded_per_peer() -> None:
    hand = Hand()
    hand.publish()
    body = encode(PublicQuestion(INDEX))
    for number in range(SERVED_PER_PEER_MAX + 1):
        event = Requested(OTHER, PROTOCOL, body, RequestId(10_000 + number))
        hand.take(hand.machine.on_event(event, hand.now))
    assert len(hand.queue) == SERVED_PER_PEER_MAX
    assert hand.answers[10_000 + SERVED_PER_PEER_MAX].code == "limit_reached"
    hand.take(hand.machine.on_event(Withdrawn(RequestId(10_000)), hand.now))
    assert len(hand.queue) == SERVED_PER_PEER_MAX - 1
    hand.run()
    fast = Hand()
    fast.publish()
    for number in range(BLOCK_BURST_US // BLOCK_COST_US + 1):
        event = Requested(OTHER, PROTOCOL, body, RequestId(10_000 + number))
        fast.take(fast.machine.on_event(event, fast.now))
        fast.run()
    assert fast.answers[10_000 + BLOCK_BURST_US // BLOCK_COST_US].code == "limit_reached"
    fast.take(fast.machine.on_event(PeerDown(OTHER, "gone"), fast.now))
    assert ask(fast, INDEX) == b"index"


def test_a_record_is_smaller_than_what_the_store_takes() -> None:
    hand = Hand()
    hand.publish()
    assert all(len(value) < 16_384 for value in hand.tables["spaces"].values())
    assert dataclasses.is_dataclass(Publication)
