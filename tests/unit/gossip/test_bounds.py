"""Floods, liars and slow owners: every queue has a bound, and what goes is counted by reason."""

import hashlib

import pytest

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.gossip import UNJUDGED, Spread
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import (
    GOSSIP_ANSWER_BYTES_MAX,
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_BURST_US,
    GOSSIP_COST_US,
    GOSSIP_JUDGING_MAX,
    GOSSIP_KEPT_BYTES_MAX,
    GOSSIP_NEWS_MAX,
    GOSSIP_OFFERS_MAX,
    GOSSIP_OUTBOX_MAX,
    GOSSIP_RECENT_MAX,
    GOSSIP_SETTLED_US,
    GOSSIP_WANT_MAX,
    GOSSIP_WEIGHED_BYTES,
    SECOND_US,
)
from dms3.core.machine import PeerUp, Received, Request, Requested, Send
from dms3.gossip import memory
from dms3.gossip.grounds import Counts
from dms3.gossip.memory import Memory
from dms3.gossip.messages import (
    ID_BYTES,
    PROTOCOL,
    Bodies,
    Channel,
    News,
    Question,
    Recent,
    decode_bodies,
    decode_news,
    decode_question,
    decode_recent,
    fitting,
    id_of,
    mark_of,
)
from unit.gossip.gossip_kit import OVERLAY, TOPIC, Net

CHANNEL = Channel(OVERLAY, TOPIC)
STRANGER = PeerId(b"a stranger whom nobody has heard of...")


def pair(names=("one", "two")) -> Net:
    net = Net(list(names))
    net.connect_all()
    net.settle()
    return net


def ids(first, count):
    return b"".join(number.to_bytes(ID_BYTES, "big") for number in range(first, first + count))


def tell(node, peer, names, overlay=OVERLAY, topic=TOPIC):
    node.event(Received(peer, PROTOCOL, encode(News(overlay, topic, names))))


# Peers that say too much


def test_a_flood_of_ids_is_listened_to_up_to_the_pace():
    net = pair()
    reader, flooder = net["two"], net["one"].peer
    most = GOSSIP_BURST_US // GOSSIP_COST_US
    messages = most // GOSSIP_NEWS_MAX
    for number in range(messages + 2):
        tell(reader, flooder, ids(number * GOSSIP_NEWS_MAX, GOSSIP_NEWS_MAX))
    dropped = reader.dropped
    assert dropped["too_fast"] in (GOSSIP_NEWS_MAX, 2 * GOSSIP_NEWS_MAX, 3 * GOSSIP_NEWS_MAX)
    wanted, offered = reader.machine._fetching.sizes
    assert offered <= GOSSIP_OFFERS_MAX
    assert wanted <= GOSSIP_OFFERS_MAX + 2 * GOSSIP_WANT_MAX
    assert dropped["offers_full"] >= most - 2 * GOSSIP_NEWS_MAX - GOSSIP_OFFERS_MAX - 500


def asked(net, name, question, times):
    """The answers that node "two" gives to `times` equal questions of `name` at one moment."""
    found = []
    for _ in range(times):
        number = RequestId(net.number())
        net["two"].event(Requested(net[name].peer, PROTOCOL, encode(question), number))
        found.append(net["two"].answers.pop(number))
    return found


def given(answers):
    """The bytes of those that are no refusals."""
    return sum(len(each) for each in answers if isinstance(each, bytes))


def test_small_questions_with_large_answers_cost_what_they_are_answered_with():
    """A comparison of 100 bytes is answered by 64 KB, a wish for bodies of 1 KB by up to 256 KB."""
    net = pair(("one", "two", "three"))
    channel, memory = Channel(OVERLAY, TOPIC), net["two"].machine._memory
    bodies = [number.to_bytes(4, "big") * 250 for number in range(GOSSIP_RECENT_MAX)]
    names = [id_of(channel, body) for body in bodies]
    for name, body in zip(names, bodies, strict=True):
        memory.keep(channel, name, body, net.us)
    most = GOSSIP_BURST_US // GOSSIP_COST_US
    compare = Question(OVERLAY, TOPIC, mark=b"m" * ID_BYTES)
    kept = len(memory.recent(channel)) * ID_BYTES
    answers = asked(net, "one", compare, 300)
    assert kept <= given(answers) <= most * ID_BYTES + 2 * kept
    assert answers[-1].code == "limit_reached"
    want = Question(OVERLAY, TOPIC, want=b"".join(names[-GOSSIP_WANT_MAX:]))
    answers = asked(net, "three", want, 300)
    one = len(answers[0])
    assert one > 50 * len(encode(want))
    assert one <= given(answers) <= most * GOSSIP_WEIGHED_BYTES + 2 * one
    net.run(10 * SECOND_US)
    assert given(asked(net, "one", compare, 1)) >= kept, "a second of its own is enough"


def test_ids_that_nobody_can_give_are_given_up_and_do_not_stay():
    net = pair()
    tell(net["two"], net["one"].peer, ids(1, 300))
    net.run(30 * SECOND_US)
    assert net["two"].machine._fetching.sizes == (0, 0)
    assert net["two"].dropped == {"not_given": 300}


def test_a_flood_does_not_keep_others_from_being_heard():
    net = pair(("flooder", "honest", "reader"))
    reader = net["reader"]
    for number in range(10):
        tell(reader, net["flooder"].peer, ids(number * GOSSIP_NEWS_MAX, GOSSIP_NEWS_MAX))
    net["honest"].spread(b"news")
    net.run(SECOND_US)
    assert b"news" in reader.heard


def test_what_cannot_be_read_is_blamed():
    net = pair()
    peer = net["one"].peer
    net["two"].event(Received(peer, PROTOCOL, b"no message"))
    net["two"].event(Requested(peer, PROTOCOL, b"no question", 99))
    assert net["two"].blamed == [(peer, "body_malformed")] * 2
    assert net["two"].answers[99].code == "body_malformed"


@pytest.mark.parametrize(
    ("overlay", "topic", "why"),
    [(OverlayId(bytes(32)), TOPIC, "overlay_unknown"), (OVERLAY, "other", "topic_unknown")],
)
def test_what_this_node_does_not_know_is_no_fault(overlay, topic, why):
    net = pair()
    peer = net["one"].peer
    tell(net["two"], peer, ids(1, 3), overlay, topic)
    net["two"].event(
        Requested(peer, PROTOCOL, encode(Question(overlay, topic, want=ids(1, 1))), 99)
    )
    assert net["two"].dropped == {why: 3, f"question_{why}": 1}
    assert net["two"].answers[99].retry == Retry.OTHER_PEER
    assert net["two"].blamed == []


def test_more_guests_than_there_is_room_for_are_told_to_choose_another(monkeypatch):
    monkeypatch.setattr("dms3.gossip.links.GOSSIP_GUESTS_MAX", 2)
    net = pair()
    node = net["one"]
    for number in range(3):
        guest = PeerId(b"guest %d" % number + bytes(31))
        node.event(PeerUp(guest, "/memory", True))
        body = encode(Question(OVERLAY, TOPIC, mark=mark_of([])))
        node.event(Requested(guest, PROTOCOL, body, 100 + number))
    assert [isinstance(node.answers[100 + number], bytes) for number in range(3)] == [
        True,
        True,
        False,
    ]
    assert node.answers[102].code == "limit_reached"
    assert node.dropped == {"question_partners_full": 1}


def test_whoever_is_full_is_left_for_another():
    net = pair(("full", "other", "node"))
    links = net["node"].machine._links
    full = net["full"].peer
    assert full in links.chosen(OVERLAY)
    links.full(OVERLAY, full)
    assert full not in links.chosen(OVERLAY)
    net.run(20 * SECOND_US)
    assert full not in links.chosen(OVERLAY)
    net.run(70 * SECOND_US)
    assert full in links.chosen(OVERLAY)


def test_who_does_not_speak_gossip_is_no_partner_and_let_go():
    net = pair()
    node, other = net["one"], net["two"].peer
    node.machine._links.unfit(other)
    assert node.machine._links.of(OVERLAY) == []
    net.cut("one", "two")
    net.connect("one", "two")
    assert node.machine._links.of(OVERLAY) == [other]


# Closed overlays


def test_a_stranger_of_a_closed_overlay_is_told_nothing():
    net = pair(("member", "stranger"))
    member, stranger = net["member"], net["stranger"]
    member.admission.close(OVERLAY)
    member.spread(b"secret")
    body = encode(Question(OVERLAY, TOPIC, mark=mark_of([])))
    member.event(Requested(stranger.peer, PROTOCOL, body, 99))
    tell(member, stranger.peer, ids(1, 1))
    net.run(90 * SECOND_US)
    assert stranger.heard == []
    assert member.answers[99].code == "not_admitted"
    assert member.dropped["not_admitted"] == 1
    assert member.peer in stranger.introduced, "it was refused, so the dht shows who it is"


def test_whoever_is_admitted_hears_what_was_spread_before():
    net = pair(("member", "newcomer"))
    member, newcomer = net["member"], net["newcomer"]
    member.admission.close(OVERLAY)
    member.spread(b"secret")
    member.admission.admit(OVERLAY, newcomer.peer, net.now.wall_us + 1_000 * SECOND_US)
    net.run(90 * SECOND_US)
    assert newcomer.heard == [b"secret"]


# Owners


def test_what_the_owner_finds_good_for_nothing_goes_no_further():
    net = Net(["one", "two", "three"], judge=lambda *_: False)
    net.connect("one", "two")
    net.connect("two", "three")
    net.members[OVERLAY] = ["one", "two", "three"]
    net.settle()
    net.cut("one", "three")
    net["one"].spread(b"old news")
    net.run(SECOND_US)
    assert net["two"].heard == [b"old news"]
    assert net["two"].figures.refused == 1
    told = [each for source, _, each in net.said if source == net["two"].peer]
    assert not any(isinstance(each, Send) for each in told)


def test_what_the_owner_finds_false_is_the_givers_fault():
    net = Net(["one", "two"], judge=lambda *_: Failure("content_invalid", "a lie"))
    net.connect_all()
    net.settle()
    net["one"].spread(b"lie")
    net.run(SECOND_US)
    assert net["two"].blamed == [(net["one"].peer, "content_invalid")]
    assert net["two"].dropped == {"false": 1}


@pytest.mark.parametrize("code", UNJUDGED)
def test_what_the_owner_cannot_judge_now_comes_again_and_blames_nobody(code):
    verdicts = [Failure(code, "not now"), True]
    net = Net(["one", "two"], judge=lambda *_: verdicts.pop(0))
    net.connect_all()
    net.settle()
    net["one"].spread(b"news")
    net.run(90 * SECOND_US)
    assert net["two"].heard == [b"news"] * 2
    assert net["two"].blamed == []
    assert net["two"].dropped == {"unjudged": 1}
    assert net["two"].figures.delivered == 1


def test_a_slow_owner_slows_the_asking():
    net = Net(["one", "two"], judge=lambda *_: None)
    net.connect_all()
    net.settle()
    for number in range(GOSSIP_JUDGING_MAX + 100):
        net["one"].spread(b"body %d" % number)
    net.run(10 * SECOND_US)
    reader = net["two"]
    assert len(reader.heard) == GOSSIP_JUDGING_MAX
    net.judge = lambda *_: True
    for token in reader.pending:
        net.tell(reader, token, True)
    net.run(10 * SECOND_US)
    assert len(set(reader.heard)) == len(reader.heard) == GOSSIP_JUDGING_MAX + 100


# What this node spreads itself


def test_own_bodies_are_refused_while_partners_have_too_much_to_hear():
    net = pair()
    node, peer = net["one"], net["two"].peer
    node.spread(b"first")  # told at once: now a batch gathers
    names = [number.to_bytes(ID_BYTES, "big") for number in range(GOSSIP_OUTBOX_MAX)]
    node.machine._telling.tell([peer], CHANNEL, names[1:])
    assert node.machine._take(Spread(OVERLAY, TOPIC, b"second")) is None
    refused = node.machine._take(Spread(OVERLAY, TOPIC, b"third"))
    assert refused.code == "limit_reached"
    assert node.dropped == {}
    node.machine._telling.tell([peer], CHANNEL, names[:1])
    assert node.dropped == {"outbox_full": 1}


# Memory


def test_bodies_of_whoever_has_most_go_first(monkeypatch):
    monkeypatch.setattr(memory, "GOSSIP_KEPT_ALL_BYTES_MAX", 100)
    counts = Counts()
    kept = Memory(counts.dropped)
    quiet, loud = Channel(OVERLAY, "quiet"), Channel(OVERLAY, "loud")
    kept.keep(quiet, b"q", bytes(20), 0)
    for number in range(10):
        kept.keep(loud, b"%d" % number, bytes(20), number)
    assert kept.sizes(quiet)[1:] == (1, 20)
    assert kept.sizes(loud)[1:] == (4, 80)
    assert counts.why == {"kept_full": 6}


def test_old_bodies_go_without_being_counted():
    counts = Counts()
    kept = Memory(counts.dropped)
    half = GOSSIP_KEPT_BYTES_MAX // 2
    kept.keep(CHANNEL, b"1", bytes(half), 0)
    kept.keep(CHANNEL, b"2", bytes(half), 0)
    kept.keep(CHANNEL, b"3", bytes(1), GOSSIP_SETTLED_US)
    assert kept.body(CHANNEL, b"1") is None
    assert kept.body(CHANNEL, b"2") is not None
    assert counts.why == {}
    kept.keep(CHANNEL, b"4", bytes(half), GOSSIP_SETTLED_US - 1)
    assert counts.why == {"kept_full": 1}


def test_ids_are_known_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(memory, "GOSSIP_SEEN_MAX", 3)
    monkeypatch.setattr(memory, "GOSSIP_SEEN_ALL_MAX", 4)
    counts = Counts()
    kept = Memory(counts.dropped)
    for number in range(4):
        kept.hear(CHANNEL, b"%d" % number, number)
    assert [kept.knows(CHANNEL, b"%d" % number) for number in range(4)] == [False, True, True, True]
    other = Channel(OVERLAY, "other")
    kept.hear(other, b"x", 4)
    kept.hear(other, b"y", 4)
    assert kept.sizes(CHANNEL)[0] == 2
    assert counts.why == {"seen_full": 2}
    kept.drop(CHANNEL)
    kept.drop(other)
    assert kept.sizes(CHANNEL) == (0, 0, 0)


# Messages


def test_sizes_of_messages():
    name = bytes(ID_BYTES)
    for good, wrong, decoder in (
        (News(OVERLAY, TOPIC, name * GOSSIP_NEWS_MAX), GOSSIP_NEWS_MAX, decode_news),
        (Question(OVERLAY, TOPIC, want=name * GOSSIP_WANT_MAX), GOSSIP_WANT_MAX, decode_question),
        (Recent(name * GOSSIP_RECENT_MAX), GOSSIP_RECENT_MAX, decode_recent),
    ):
        assert decoder(encode(good)) == good
        with pytest.raises(ValueError, match=f"1 to {wrong}"):
            type(good)(*_with_more(good, name))
    with pytest.raises(ValueError, match="too long"):
        Bodies((bytes(GOSSIP_BODY_BYTES_MAX + 1),))
    with pytest.raises(DecodeError):
        decode_bodies(bytes(GOSSIP_ANSWER_BYTES_MAX + 257))


def _with_more(message, name):
    if isinstance(message, Recent):
        return (message.ids + name,)
    ids = message.ids if isinstance(message, News) else message.want
    return (message.overlay, message.topic, ids + name)


def test_an_answer_holds_what_fits_and_says_so():
    three = [bytes(GOSSIP_BODY_BYTES_MAX)] * 3
    assert fitting(three) == Bodies(tuple(three))
    many = [bytes(GOSSIP_BODY_BYTES_MAX)] * 8
    cut = fitting(many)
    assert cut.cut
    assert len(cut.bodies) == 3
    assert decode_bodies(encode(cut)) == cut


def test_a_liar_that_says_cut_and_gives_nothing_is_passed_over():
    net = pair(("liar", "reader"))
    liar = net["liar"]
    arrive = net._arrive

    def forged(node, target, effect, answer):
        if target is liar and decode_question(effect.body).want:
            net.at(net.us + 1, answer, encode(Bodies((), cut=True)))
        else:
            arrive(node, target, effect, answer)

    net._arrive = forged
    liar.spread(b"news")
    net.run(SECOND_US)
    reader = net["reader"]
    asked = [each for source, _, each in net.said if source == reader.peer]
    wanted = [each for each in asked if isinstance(each, Request) and _wants(each)]
    assert len(wanted) < 5
    assert reader.dropped["not_given"] == len(wanted)


def _wants(effect):
    return bool(decode_question(effect.body).want)


# Marks, and overlays that nobody knows


def test_two_sets_have_one_mark_only_when_they_are_the_same():
    one, two = (hashlib.sha256(name).digest()[:ID_BYTES] for name in (b"one", b"two"))
    assert mark_of([one, two]) == mark_of([two, one])
    both = bytes(a ^ b for a, b in zip(one, two, strict=True))
    assert mark_of([one, two]) != mark_of([both]), "a sum of them could be made to fit"
    assert len({mark_of(each) for each in ([], [one], [two], [one, two])}) == 4


def test_a_peer_that_names_unknown_overlays_without_end_is_looked_for_ever_more_rarely():
    net = pair()
    reader, flooder = net["two"], net["one"].peer
    net.run(60 * SECOND_US)

    def looks(seconds: int, *, named: bool) -> int:
        before = reader.looks
        for number in range(2 * seconds):
            if named:
                unknown = OverlayId(hashlib.sha256(b"%d" % number).digest())
                tell(reader, flooder, ids(number, 1), overlay=unknown)
            net.run(SECOND_US // 2)
        return reader.looks - before

    quiet = looks(1_200, named=False)
    looks(600, named=True)
    assert looks(1_200, named=True) <= quiet + 12, "a few looks more than without it"


def test_what_is_kept_is_hashed_once_however_many_compare(monkeypatch):
    reckoned = []

    def counted(names):
        reckoned.append(len(names))
        return mark_of(names)

    monkeypatch.setattr(memory, "mark_of", counted)
    kept, channel = Memory(lambda _: None), Channel(OVERLAY, TOPIC)
    for number in range(3):
        kept.keep(channel, bytes([number]) * 16, b"body", number)
    marks = {kept.mark(channel) for _ in range(9)}
    assert (marks, reckoned) == ({mark_of(kept.recent(channel))}, [3])
    kept.keep(channel, b"n" * 16, b"body", 4)
    assert kept.mark(channel) not in marks
    kept.expire(10**12)
    assert kept.mark(channel) == mark_of([])
