"""A body that is spread is heard once by everybody; lost messages and idlers delay it."""

import random

import pytest

from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    GOSSIP_ASK_US,
    GOSSIP_BATCH_US,
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_KEEP_US,
    GOSSIP_PERIOD_US,
    GOSSIP_REST_US,
    GOSSIP_SEEN_US,
    GOSSIP_SILENCES_MAX,
    SECOND_US,
)
from dms3.core.machine import Received, Reply, Request, Send
from dms3.gossip.messages import (
    PROTOCOL,
    Bodies,
    Channel,
    News,
    decode_news,
    decode_question,
    id_of,
    split,
)
from unit.gossip.gossip_kit import DELAY_US, OVERLAY, TOPIC, Net

NAMES = [f"node{number}" for number in range(12)]


def everybody(net, body):
    return [name for name, node in net.nodes.items() if body in node.heard]


def _wants(effect):
    return isinstance(effect, Request) and bool(decode_question(effect.body).want)


def settled(names=NAMES) -> Net:
    net = Net(names)
    net.connect_all()
    net.settle()
    return net


def test_everybody_but_the_author_hears_it_once():
    net = settled()
    assert net["node0"].spread(b"hello") is None
    net.run(SECOND_US)
    assert everybody(net, b"hello") == NAMES[1:]
    assert all(node.heard.count(b"hello") <= 1 for node in net.nodes.values())


def test_bodies_travel_once_to_each_node():
    net = settled()
    for number in range(40):
        net[NAMES[number % 12]].spread(b"body %d" % number)
        net.run(20_000)
    net.run(5 * SECOND_US)
    received = sum(node.figures.received for node in net.nodes.values())
    delivered = sum(node.figures.delivered for node in net.nodes.values())
    assert delivered == 40 * 11
    assert received == delivered


def test_what_comes_alone_goes_at_once():
    net = settled()
    net["node0"].spread(b"alone")
    net.run(3 * DELAY_US + 1)  # told, asked, given
    assert everybody(net, b"alone")


def test_ids_of_a_moment_are_told_together():
    net = settled()
    net["node0"].spread(b"first")
    before = len(net.said)
    for number in range(20):
        net["node0"].spread(b"then %d" % number)
    net.run(GOSSIP_BATCH_US)
    peer = net["node0"].peer
    told = [each for source, _, each in net.said[before:] if source == peer]
    batches = [len(split(decode_news(each.body).ids)) for each in told if isinstance(each, Send)]
    assert batches
    assert all(count == 20 for count in batches)


def test_the_same_body_elsewhere_has_another_id():
    other = OverlayId(bytes(32))
    places = [Channel(OVERLAY, TOPIC), Channel(other, TOPIC), Channel(OVERLAY, "other")]
    assert len({id_of(place, b"x") for place in places}) == 3


@pytest.mark.parametrize("seed", range(3))
def test_three_of_ten_messages_are_lost(seed):
    drawn = random.Random(seed)
    net = Net(NAMES, lost=lambda *_: drawn.random() < 0.3)
    net.connect_all()
    net.settle()
    for number in range(20):
        net[NAMES[number % 12]].spread(b"body %d" % number)
        net.run(100_000)
    net.run(60 * SECOND_US)
    for number in range(20):
        heard = everybody(net, b"body %d" % number)
        assert len(heard) == 11, (seed, number)
    received = sum(node.figures.received for node in net.nodes.values())
    assert received <= 4 * 20 * 11


def test_a_partner_that_tells_and_does_not_give_is_passed_over():
    net = settled(["honest", "liar", "reader"])
    peer = net["liar"].peer
    net.lost = lambda source, _, effect: source.peer == peer and isinstance(effect, Reply)
    net["honest"].spread(b"news")
    net.run(DELAY_US // 2)
    net["liar"].spread(b"news")  # it says that it has it, too, and gives nothing
    net.run(3 * GOSSIP_ASK_US)
    assert b"news" in net["reader"].heard
    assert net["reader"].blamed == []


def test_who_tells_an_id_under_another_topic_keeps_nobody_from_the_body():
    net = settled(["honest", "liar", "reader"])
    reader, liar = net["reader"], net["liar"].peer
    reader.machine._topics["other"] = "owner"
    net.lost = lambda source, _, effect: source.peer == liar and isinstance(effect, Reply)
    name = id_of(Channel(OVERLAY, TOPIC), b"news")
    reader.event(Received(liar, PROTOCOL, encode(News(OVERLAY, "other", name))))
    net["honest"].spread(b"news")
    net.run(GOSSIP_ASK_US // 2)
    assert b"news" in reader.heard


def test_silence_is_passed_over_after_its_time():
    net = settled(["one", "two", "reader"])
    silent = net["one"].peer

    def lost(_source, target, effect):
        return target.peer == silent and isinstance(effect, Request)

    net.lost = lost
    net["one"].spread(b"news")
    net.run(DELAY_US + 1)
    net["two"].spread(b"news")
    net.run(GOSSIP_ASK_US + 4 * DELAY_US)
    assert b"news" in net["reader"].heard


def test_nobody_else_has_it_so_it_is_given_up_and_counted():
    net = settled(["one", "reader"])
    net.lost = lambda _source, _target, effect: isinstance(effect, Request)
    net["one"].spread(b"news")
    net.run(GOSSIP_SILENCES_MAX * GOSSIP_ASK_US + SECOND_US)
    assert net["reader"].dropped == {"not_given": 1}
    asked = sum(_wants(each) for _, _, each in net.said)
    assert asked == GOSSIP_SILENCES_MAX
    net.lost = lambda *_: False
    net.run(2 * GOSSIP_REST_US)
    assert b"news" in net["reader"].heard, "comparing heals it"


def test_a_new_partner_hears_what_was_spread_before_it_came():
    net = Net(["one", "two"])
    net.settle()
    net.cut("one", "two")
    net.lost = lambda *_: True
    net["one"].spread(b"early")
    net.run(5 * SECOND_US)
    net.cut("one", "two")
    net.lost = lambda *_: False
    net.connect("one", "two")
    net.run(SECOND_US)
    assert net["two"].heard == [b"early"]


def test_a_body_is_given_out_for_a_while_and_then_forgotten():
    net = settled(["one", "two"])
    net["one"].spread(b"old")
    net.run(GOSSIP_KEEP_US + 20 * SECOND_US)
    assert sum(each.kept for each in net["one"].figures.overlays) == 0
    net["one"].spread(b"old")  # its id is still known
    assert net["one"].figures.spread == 1
    net.run(GOSSIP_SEEN_US)
    net["one"].spread(b"old")
    assert net["one"].figures.spread == 2


def test_comparing_rests_while_nothing_differs():
    net = settled(["one", "two"])
    net.run(10 * GOSSIP_REST_US)
    before = len(net.said)
    net.run(4 * GOSSIP_REST_US)
    rounds = sum(isinstance(each, Request) for _, _, each in net.said[before:])
    assert 0 < rounds <= 2 * 8  # two nodes, at least half the rest between two rounds
    net["one"].spread(b"new")
    net.run(SECOND_US)
    assert net["two"].heard == [b"new"]
    assert GOSSIP_PERIOD_US < GOSSIP_REST_US


def test_whom_to_compare_with_the_peer_book_draws_every_other_time():
    """Who keeps news pushes them to whom it knows to be there; who has none pulls."""
    net = Net(NAMES[:6])
    reader, drawn = net["node0"], net["node3"].peer
    net.draw = lambda asked: (drawn,) if drawn in asked.candidates else ()
    net.connect_all()
    net.run(30 * GOSSIP_REST_US)
    assert {(each.of, each.count) for each in reader.drawn} == {("pull", 1)}
    partners = {node.peer for node in net.nodes.values()} - {reader.peer}
    assert {peer for each in reader.drawn for peer in each.candidates} == partners
    since = len(net.said)
    net.run(60 * GOSSIP_REST_US)
    asked = [to for by, to, said in net.said[since:] if by == reader.peer and is_question(said)]
    assert set(asked) == partners, "whom the book would never draw is compared with, too"
    assert asked.count(drawn) > len(asked) / 2
    before = len(reader.drawn)
    for number in range(8):
        reader.spread(f"news {number}".encode())
        net.run(GOSSIP_KEEP_US // 2)
    assert "push" in {each.of for each in reader.drawn[before:]}


def is_question(said):
    return isinstance(said, Request) and bool(decode_question(said.body).mark)


def test_what_is_spread_where_this_node_is_not_is_refused():
    net = Net(["one"], members=["one"])
    answer = net["one"].spread(b"x", overlay=OverlayId(bytes(32)))
    assert isinstance(answer, Failure)
    assert answer.code == "not_found"


@pytest.mark.parametrize(
    ("body", "topic"), [(b"", TOPIC), (bytes(GOSSIP_BODY_BYTES_MAX + 1), TOPIC), (b"x", "other")]
)
def test_what_cannot_be_spread_is_refused(body, topic):
    net = settled(["one"])
    answer = net["one"].spread(body, topic=topic)
    assert isinstance(answer, Failure)
    assert answer.code == "argument_invalid"


def test_the_greatest_body_travels():
    net = settled(["one", "two"])
    body = bytes(GOSSIP_BODY_BYTES_MAX)
    net["one"].spread(body)
    net.run(SECOND_US)
    assert net["two"].heard == [body]


def test_more_than_one_answer_holds_is_asked_for_again():
    net = settled(["one", "two"])
    bodies = [bytes([number]) * GOSSIP_BODY_BYTES_MAX for number in range(12)]
    for body in bodies:
        net["one"].spread(body)
    net.run(2 * SECOND_US)
    assert sorted(net["two"].heard) == bodies
    answers = [each.body for _, _, each in net.said if isinstance(each, Reply)]
    assert any(isinstance(each, bytes) and len(each) > GOSSIP_BODY_BYTES_MAX for each in answers)
    assert net["two"].dropped == {}


def test_who_gives_what_was_not_asked_for_is_blamed():
    net = settled(["liar", "reader"])
    liar = net["liar"]
    net["liar"].spread(b"news")
    arrive = net._arrive

    def forged(node, target, effect, answer):
        if target is liar and decode_question(effect.body).want:
            net.at(net.us, answer, encode(Bodies((b"something else",))))
        else:
            arrive(node, target, effect, answer)

    net._arrive = forged
    net.run(SECOND_US)
    assert net["reader"].heard == []
    assert set(net["reader"].blamed) == {(liar.peer, "content_invalid")}
