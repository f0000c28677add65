"""How the peer book meets peers: the LAN, other peers, after a sleep; and whom it lets go."""

import pytest

from dms3.core.codec import decode, encode, encode_plain
from dms3.core.errors import Failure
from dms3.core.limits import (
    CONNECTIONS_UNNEEDED_MAX,
    DIAL_BACKOFF_US_MAX,
    EXCHANGE_ASK_US,
    EXCHANGE_ASKED_MAX,
    EXCHANGE_BURST_MAX,
    EXCHANGE_LEAK_US,
    EXCHANGE_RECORD_BYTES_MAX,
    EXCHANGE_RECORDS_MAX,
    FOUND_ATTEMPTS_MAX,
    FOUND_AVOID_US,
    FOUND_DIALS_AT_ONCE_MAX,
    LAN_PEERS_MAX,
    PEERS_WANTED_MIN,
    SECOND_US,
    WAKE_PAUSE_US,
    WAKE_PROBE_US,
)
from dms3.core.machine import (
    Answered,
    Call,
    ClockJumped,
    PeerDown,
    PeerUp,
    Reply,
    Request,
    Requested,
)
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.exchange import PROTOCOL, Ask, Records
from dms3.p2p.known import PUBLIC_PROTOCOL
from dms3.p2p.port import Dialed, Found, HangUp, Keep
from unit.test_peers import GONE, JOIN, OWN, WHERE, Rig, card, denounce, peer
from unit.test_records import NEW, record, told

MISMATCH = Failure("network_mismatch", "other network")
FOREIGN = Failure("protocol_unsupported", "no dms3")


def lan(rig, number, *places: str):
    rig.call("found", Found(peer(number), places or (WHERE,), "lan"))


def found(rig):
    return {row.peer: row.found for row in rig.call("list")}


def connect(rig, number, inbound=False, body=None):
    """The peer is up and has answered its probe."""
    rig.up(number, inbound=inbound)
    rig.probed(number, body)


def hung_up(rig, operation="hang_up"):
    return [call.arguments.peer for call in rig.drain(Call, port=f"transport.{operation}")]


# The local network


def test_a_found_peer_is_dialled_kept_and_shown_as_such():
    rig = Rig()
    lan(rig, 1)
    (dial,) = rig.dials()
    assert (dial.arguments.peer, dial.arguments.addresses) == (peer(1), (WHERE,))
    connect(rig, 1)
    assert found(rig) == {peer(1): "lan"}
    rig.tell(PeerDown(peer(1), "it left"))
    rig.wait(10 * SECOND_US)
    assert len(rig.dials()) == 1


def test_only_so_many_found_peers_are_dialled_and_contacts_go_first():
    rig = Rig()
    for number in range(1, LAN_PEERS_MAX + 10):
        lan(rig, number)
    assert len(rig.dials()) == FOUND_DIALS_AT_ONCE_MAX
    rig.call("contact_add", card(500))
    (dial,) = rig.dials()
    assert dial.arguments.peer == peer(500)
    dialled = set()
    for _ in range(200):
        rig.wait(SECOND_US)
        for dial in rig.dials():
            dialled.add(dial.arguments.peer)
            rig.tell(Answered(dial.token, GONE))
    assert len(dialled - {peer(500)}) <= LAN_PEERS_MAX


def test_a_found_peer_that_does_not_answer_is_left_alone_for_a_while():
    rig = Rig()
    lan(rig, 1)
    tried = 0
    for _ in range(100):
        for dial in rig.dials():
            tried += 1
            rig.tell(Answered(dial.token, GONE))
        rig.wait(SECOND_US)
        lan(rig, 1)
    assert tried == FOUND_ATTEMPTS_MAX
    rig.wait(FOUND_AVOID_US)
    lan(rig, 1)
    assert len(rig.dials()) == 1


@pytest.mark.parametrize("problem", [MISMATCH, FOREIGN])
def test_a_found_peer_that_is_none_of_ours_is_left_alone(problem):
    rig = Rig()
    lan(rig, 1)
    connect(rig, 1, body=problem)
    assert hung_up(rig) == [peer(1)]
    rig.tell(PeerDown(peer(1), "hung up"))
    lan(rig, 1)
    rig.wait(2 * DIAL_BACKOFF_US_MAX)
    assert rig.dials() == []


def test_a_foreign_peer_that_a_person_asked_for_is_kept():
    rig = Rig()
    lan(rig, 1)
    rig.call("connect", f"{WHERE}/p2p/{peer_id_text(peer(1))}")
    dial = rig.dials()[-1]
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), WHERE)))
    rig.probed(1, FOREIGN)
    assert hung_up(rig) == []


def test_where_a_contact_was_found_is_tried_after_its_own_addresses():
    rig = Rig()
    rig.call("contact_add", card(1))
    (dial,) = rig.dials()
    rig.tell(Answered(dial.token, GONE))
    lan(rig, 1, NEW)
    (dial,) = rig.dials()
    assert dial.arguments.addresses == (WHERE, NEW)
    rig.tell(Answered(dial.token, GONE))
    lan(rig, 1, NEW)
    assert rig.dials() == [], "the same word again is no reason to hurry"
    connect(rig, 1)
    assert found(rig) == {peer(1): "contact"}


def test_one_of_the_lan_that_came_by_itself_is_dialled_when_it_goes():
    rig = Rig()
    rig.up(1, inbound=True)
    lan(rig, 1)
    rig.wait(SECOND_US)
    assert rig.dials() == []
    assert found(rig) == {peer(1): "lan"}
    rig.tell(PeerDown(peer(1), "it left"))
    rig.wait(10 * SECOND_US)
    assert len(rig.dials()) == 1


def test_a_foreign_peer_that_came_by_itself_is_not_wanted():
    rig = Rig()
    connect(rig, 1, inbound=True, body=FOREIGN)
    lan(rig, 1)
    assert hung_up(rig) == []
    rig.tell(PeerDown(peer(1), "it left"))
    rig.wait(10 * SECOND_US)
    assert rig.dials() == []


@pytest.mark.parametrize("number", ["own", "refused", "up"])
def test_who_is_not_to_be_dialled_is_not(number):
    rig = Rig()
    rig.up(1)
    if number == "refused":
        denounce(rig, 1)
        denounce(rig, 1)
        rig.tell(PeerDown(peer(1), "refused"))
    rig.effects = []
    rig.call("found", Found(OWN if number == "own" else peer(1), (WHERE,), "lan"))
    assert rig.dials() == []


def test_an_unknown_way_to_find_is_refused():
    assert Rig().call("found", Found(peer(1), (WHERE,), "rumour")).code == "argument_invalid"


def test_every_way_to_be_known_is_named():
    rig = Rig(join=[JOIN])
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), JOIN)))
    rig.up(2, inbound=True)
    rig.up(3)
    rig.call("connect", WHERE)
    (dial,) = rig.dials()
    rig.up(4)
    rig.tell(Answered(dial.token, Dialed(peer(4), WHERE)))
    rig.call("contact_add", card(2))
    rig.call("contact_remove", "person 2")
    rig.call("contact_add", card(5))
    rig.up(5, inbound=True)
    named = {1: "bootstrap", 2: "inbound", 3: "dht", 4: "person", 5: "contact"}
    assert found(rig) == {peer(number): how for number, how in named.items()}


# The exchange


def asked(rig):
    return rig.drain(Request, protocol=PROTOCOL)


def publish(rig, number, sequence=1, where="/ip4/192.0.2.50/tcp/1"):
    sealed = record(number, sequence, where)
    rig.call("introduced", told(number, sealed, protocols=(PUBLIC_PROTOCOL,)))
    return sealed


def test_a_node_with_few_peers_asks_and_one_with_enough_does_not():
    rig = Rig(public=True)
    connect(rig, 1)
    (question,) = asked(rig)
    assert decode(Ask, question.body).count == PEERS_WANTED_MIN - 1
    rig.wait(EXCHANGE_ASK_US - 1)
    assert asked(rig) == []
    rig.wait(1)
    assert len(asked(rig)) == 1
    for number in range(2, PEERS_WANTED_MIN + 1):
        connect(rig, number)
    rig.effects = []
    rig.wait(10 * EXCHANGE_ASK_US)
    assert {decode(Ask, each.body).count for each in asked(rig)} == {1}  # only for their words
    rig.tell(PeerDown(peer(1), "it left"))
    assert 1 <= len(asked(rig)) <= EXCHANGE_ASKED_MAX


def test_a_private_node_asks_nobody():
    rig = Rig()
    connect(rig, 1)
    rig.wait(10 * EXCHANGE_ASK_US)
    assert asked(rig) == []


def test_who_does_not_speak_it_is_not_asked_again():
    rig = Rig(public=True)
    connect(rig, 1)
    (question,) = asked(rig)
    rig.tell(Answered(question.token, FOREIGN))
    rig.wait(10 * EXCHANGE_ASK_US)
    assert asked(rig) == []


def test_named_peers_are_dialled_and_shown_as_such():
    rig = Rig(public=True)
    connect(rig, 1)
    (question,) = asked(rig)
    answer = Records(tuple(record(n, 1, f"/ip4/192.0.2.{n}/tcp/1") for n in (1, 2, 3)))
    rig.tell(Answered(question.token, encode(answer)))
    dials = rig.dials()
    assert {dial.arguments.peer for dial in dials} == {peer(2), peer(3)}, "1 is connected"
    rig.up(2)
    rig.tell(Answered(dials[0].token, Dialed(peer(2), WHERE)))
    rig.probed(2)
    assert found(rig)[peer(2)] == "exchange"
    rig.tell(PeerDown(peer(2), "it left"))
    rig.effects = []
    rig.wait(DIAL_BACKOFF_US_MAX)
    assert all(dial.arguments.peer != peer(2) for dial in rig.dials()), "others will do"


def test_named_addresses_do_not_point_into_a_network_that_the_namer_is_not_in():
    rig = Rig(public=True)
    rig.tell(PeerUp(peer(1), "/ip4/1.1.1.1/tcp/1", inbound=False))
    rig.probed(1)
    (question,) = asked(rig)
    inward = [record(2, 1, "/ip4/10.0.0.1/tcp/22"), record(3, 1, "/ip4/127.0.0.1/tcp/22")]
    rig.tell(Answered(question.token, encode(Records(tuple(inward)))))
    assert rig.dials() == []


@pytest.mark.parametrize("kind", ["forged", "garbage", "many", "long"])
def test_a_lying_answer_costs_and_names_nobody(kind):
    rig = Rig(public=True)
    connect(rig, 1)
    (question,) = asked(rig)
    good = record(2, 1, WHERE)
    bodies = {
        "forged": encode(Records((good, good[:-1] + bytes((good[-1] ^ 1,))))),
        "garbage": b"junk",
        "many": encode_plain({"records": [b"\0" + good] * (EXCHANGE_RECORDS_MAX + 1)}),
        "long": bytes(1 << 16),
    }
    rig.tell(Answered(question.token, bodies[kind]))
    assert rig.dials() == []
    (row,) = rig.call("list")
    cost = "record_forged" if kind == "forged" else "body_malformed"
    assert row.points == CONDUCT[cost][0]


def question_of(rig, number, count=EXCHANGE_RECORDS_MAX):
    body = encode(Ask(count))
    effects = rig.tell(Requested(peer(number), PROTOCOL, body, 9))
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    return reply.body


def records_in(body):
    return set(decode(Records, body).records)


def test_only_signed_records_of_connected_public_peers_are_passed_on():
    rig = Rig()
    rig.call("contact_add", card(2))
    for number in range(1, 7):
        rig.up(number)
    public = {publish(rig, 3), publish(rig, 4), publish(rig, 5)}
    rig.call("introduced", told(2, record(2, 1, WHERE)))  # a contact that is not public
    rig.call("introduced", told(6, b"", WHERE, protocols=(PUBLIC_PROTOCOL,)))  # unsigned
    assert records_in(question_of(rig, 1)) == public
    assert record(3, 1, "/ip4/192.0.2.50/tcp/1") not in records_in(question_of(rig, 3))
    assert len(records_in(question_of(rig, 1, 2))) == 2
    rig.tell(PeerDown(peer(4), "it left"))
    assert len(records_in(question_of(rig, 1))) == 2
    rig.call("introduced", told(5, record(5, 2, WHERE)))  # it takes part no more
    assert len(records_in(question_of(rig, 6))) == 1


def test_records_that_are_too_long_or_lead_nowhere_are_not_passed_on():
    rig = Rig()
    for number in (2, 3):
        rig.up(number)
    rig.tell(PeerUp(peer(1), "/ip4/1.1.1.1/tcp/1", inbound=True))
    publish(rig, 2, where="/ip4/10.0.0.1/tcp/1")
    long = record(3, 1, *(f"/dns4/{'a' * 60}.{n}/tcp/1" for n in range(30)), "/ip4/8.8.8.8/tcp/1")
    assert len(long) > EXCHANGE_RECORD_BYTES_MAX
    rig.call("introduced", told(3, long, protocols=(PUBLIC_PROTOCOL,)))
    assert records_in(question_of(rig, 1)) == set()


def test_who_asks_too_often_is_told_to_wait_and_scored():
    rig = Rig()
    rig.up(1)
    answers = [question_of(rig, 1) for _ in range(EXCHANGE_BURST_MAX + 1)]
    assert all(isinstance(answer, bytes) for answer in answers[:-1])
    assert answers[-1].code == "limit_reached"
    (row,) = rig.call("list")
    assert row.points == CONDUCT["requests_excess"][0]
    rig.wait(EXCHANGE_LEAK_US)
    assert isinstance(question_of(rig, 1), bytes)


@pytest.mark.parametrize("body", [b"", b"junk", bytes(65), encode(Ask(1)) + b"\0"])
def test_a_question_that_is_none_costs(body):
    rig = Rig()
    rig.up(1)
    (reply, *_) = rig.tell(Requested(peer(1), PROTOCOL, body, 9))
    assert reply.body.code == "body_malformed"
    (row,) = rig.call("list")
    assert row.points == CONDUCT["body_malformed"][0]


# After a sleep


def vital(rig):
    deadline = rig.now.mono_us + WAKE_PROBE_US
    return [ask for ask in rig.drain(Request) if ask.deadline_us == deadline]


def test_after_a_sleep_waits_are_over_and_connections_prove_themselves():
    rig = Rig(join=[JOIN])
    for _ in range(10):
        (dial,) = rig.dials()
        rig.tell(Answered(dial.token, GONE))
        rig.wait(rig.book.next_timer() - rig.now.mono_us)
    (dial,) = rig.dials()
    rig.tell(Answered(dial.token, GONE))
    connect(rig, 1)
    rig.effects = []
    assert rig.book.next_timer() - rig.now.mono_us > 100 * SECOND_US
    effects = rig.tell(ClockJumped(8 * 3600 * SECOND_US))
    calls = [effect.port for effect in effects if isinstance(effect, Call)]
    assert calls == ["transport.wake", "transport.dial"]
    (probe,) = vital(rig)
    assert probe.peer == peer(1)
    rig.tell(Answered(probe.token, Failure("timed_out", "no answer")))
    assert hung_up(rig) == [peer(1)]


def test_a_dead_connection_is_replaced_at_once():
    rig = Rig()
    rig.call("contact_add", card(1))
    (dial,) = rig.dials()
    connect(rig, 1)
    rig.wait(3600 * SECOND_US)
    rig.effects = []
    rig.tell(ClockJumped(8 * 3600 * SECOND_US))
    (probe,) = vital(rig)
    rig.tell(Answered(probe.token, Failure("timed_out", "no answer")))
    rig.tell(PeerDown(peer(1), "it does not answer any more"))
    rig.effects = []
    rig.wait(2 * SECOND_US)
    (dial,) = rig.dials()
    assert dial.arguments.peer == peer(1)


def test_a_probe_that_is_late_in_daily_life_ends_no_connection():
    rig = Rig()
    connect(rig, 1, body=Failure("timed_out", "no answer"))
    assert hung_up(rig) == []


def test_a_clock_that_jumps_all_the_time_wakes_the_node_now_and_then():
    rig = Rig()
    connect(rig, 1)
    rig.effects = []
    wakes = 0
    for _ in range(20):
        rig.tell(ClockJumped(3 * SECOND_US))
        rig.wait(SECOND_US)
        wakes += len(rig.drain(Call, port="transport.wake"))
    assert wakes == 20 * SECOND_US // WAKE_PAUSE_US + 1
    rig.wait(2 * WAKE_PAUSE_US)
    assert len(rig.drain(Call, port="transport.wake")) == 0


def test_another_address_of_this_machine_is_a_wake():
    rig = Rig()
    rig.call("listening", (WHERE,))
    assert rig.drain(Call, port="transport.wake") == []
    rig.call("listening", (NEW,))
    assert len(rig.drain(Call, port="transport.wake")) == 1


def test_a_paused_contact_sleeps_on():
    rig = Rig()
    rig.call("contact_add", card(1))
    rig.up(1)
    rig.call("disconnect", peer(1))
    rig.tell(PeerDown(peer(1), "disconnected by command"))
    rig.effects = []
    rig.tell(ClockJumped(3600 * SECOND_US))
    assert rig.dials() == []


# Room


def kept(rig):
    return [call.arguments for call in rig.drain(Call, port="transport.keep")]


def test_the_transport_hears_who_always_gets_in():
    rig = Rig(join=[f"{JOIN}/p2p/{peer_id_text(peer(9))}"])
    assert kept(rig) == [Keep((peer(9),))]
    rig.call("contact_add", card(1))
    assert kept(rig) == [Keep(tuple(sorted((peer(9), peer(1)))))]
    rig.up(2, inbound=True)
    assert kept(rig) == []
    rig.call("contact_remove", "person 1")
    assert kept(rig) == [Keep((peer(9),))]


def test_who_a_person_asked_for_always_gets_in_while_connected():
    rig = Rig()
    rig.call("connect", WHERE)
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), WHERE)))
    assert kept(rig) == [Keep((peer(1),))]
    rig.tell(PeerDown(peer(1), "it left"))
    assert kept(rig) == [Keep(())]


def test_a_released_peer_is_let_go_unless_somebody_needs_it():
    rig = Rig(join=[JOIN])
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), JOIN)))
    rig.call("contact_add", card(2))
    rig.up(2)
    rig.call("connect", WHERE)
    dial = rig.dials()[-1]
    rig.up(3)
    rig.tell(Answered(dial.token, Dialed(peer(3), WHERE)))
    rig.up(4, inbound=True)
    rig.up(5)
    rig.effects = []
    for number in range(1, 7):
        assert rig.call("release", peer(number)) is None
    assert hung_up(rig, "release") == [peer(5)]


def test_beyond_the_bound_the_least_useful_that_nobody_needs_goes():
    rig = Rig()
    rig.call("contact_add", card(1))
    connect(rig, 1)
    for number in range(2, CONNECTIONS_UNNEEDED_MAX + 2):
        connect(rig, number, inbound=True)
        rig.wait(1)
    assert hung_up(rig, "make_room") == []
    stranger = CONNECTIONS_UNNEEDED_MAX + 2
    rig.up(stranger, inbound=True)
    assert hung_up(rig, "make_room") == [peer(stranger)], "a crowd displaces itself"
    rig.tell(PeerDown(peer(stranger), "enough"))
    connect(rig, stranger + 1, inbound=False)
    gone = hung_up(rig, "make_room")
    assert gone == [peer(stranger - 1)], "whom we dialled is worth more than who came last"
    rig.tell(PeerDown(peer(stranger - 1), "enough"))
    rig.effects = []
    connect(rig, 7, inbound=True, body=FOREIGN)
    assert hung_up(rig, "make_room") == []
    rig.up(stranger + 2)
    assert hung_up(rig, "make_room") == [peer(7)], "a stranger to dms3 goes first"


def test_the_book_hangs_up_with_a_reason():
    rig = Rig()
    connect(rig, 1)
    rig.effects = []
    rig.call("release", peer(1))
    (call,) = rig.drain(Call, port="transport.release")
    assert call.arguments == HangUp(peer(1), "it is not needed any more")
