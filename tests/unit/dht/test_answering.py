"""Questions of others: answered once, from what is known and held, at a bounded pace."""

import dataclasses
import hashlib

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, Token
from dms3.core.limits import (
    DHT_ITEMS_MAX,
    MIB,
    QUESTION_BURST_US,
    QUESTION_COST_US,
    SECOND_US,
)
from dms3.core.machine import Request
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import (
    PUBLIC,
    Content,
    ContentType,
    DropContent,
    GetContent,
    Got,
    Placed,
    PutContent,
    Retention,
    location,
)
from dms3.core.verdict import Invalid, Valid
from dms3.dht import answering
from dms3.dht.blocks import block_type
from dms3.dht.messages import (
    PROTOCOL,
    Code,
    Find,
    Get,
    Offered,
    PutValue,
    Question,
    decode_codes,
    decode_nodes,
    decode_values,
)
from dms3.dht.pace import weight_of
from dms3.dht.presence import decode_presence
from unit.dht.overlay_kit import World, fill_tables, nearest

UNTIL = 1_800_010_000 * SECOND_US
FIND = Question(PUBLIC, find=Find(bytes(32)))


def named(key: bytes, value: bytes, wall_us: int):
    del wall_us
    return Valid() if value.startswith(key) else Invalid("key", "of another key")


def slot(key: bytes, value: bytes) -> Retention:
    return Retention(value[len(key) :][:1], None)


NOTE = ContentType("note", named, max, slot, 64, 1, MIB)
MANY = ContentType("many", named, max, slot, 64, 8, MIB)
TYPES = (NOTE, MANY, block_type())


def world_of(count: int = 30):
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    for node in nodes:
        node.start(*TYPES)
    world.go(1)
    stranger = world.add(900)
    world.connect(stranger, nodes[0])
    return world, nodes, stranger


def block(number: int) -> tuple[Cid, bytes]:
    data = b"block %d" % number
    return Cid.of(RAW, data), data


def hold(node, *puts: PutValue) -> None:
    """Let `node` hold values, as if it had been asked to."""
    node.perform(node.machine._taking.puts(PUBLIC, puts, node.world.now, lambda *_: []))
    node.world.go(0.1)


def test_find_names_the_nearest_without_who_asks():
    world, nodes, stranger = world_of()
    told = decode_nodes(stranger.question(nodes[0], FIND))
    wanted = [node.peer for node in nearest(nodes[1:], bytes(32), BUCKET_SIZE)]
    assert [decode_presence(data).peer for data in told.nodes] == wanted
    assert decode_presence(told.presence).peer == nodes[0].peer
    again = decode_nodes(stranger.question(nodes[0], FIND))
    assert again.presence == b""  # shown on this connection
    asker = nearest(nodes[1:], bytes(32), 1)[0]
    world.connect(asker, nodes[0])
    told = decode_nodes(asker.question(nodes[0], FIND))
    assert asker.peer not in [decode_presence(data).peer for data in told.nodes]


@pytest.mark.parametrize(
    ("body", "code", "blamed"),
    [
        (b"junk", "body_malformed", ["body_malformed"]),
        (Question(OverlayId(bytes(32)), find=Find(bytes(32))), "not_found", []),
        (dataclasses.replace(FIND, presence=b"junk"), "peer_misbehaved", ["presence_forged"]),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(body, code, blamed):
    world, nodes, stranger = world_of(3)
    failure = stranger.question(nodes[0], body)
    assert isinstance(failure, Failure)
    assert failure.code == code
    assert world.conduct == [(nodes[0].peer, stranger.peer, each) for each in blamed]


def test_another_nodes_presence_is_a_forgery_and_an_old_one_is_not():
    world, nodes, stranger = world_of(3)
    borrowed = dataclasses.replace(FIND, presence=nodes[1].presence())
    assert stranger.question(nodes[0], borrowed).code == "peer_misbehaved"
    del world.conduct[:]
    old = dataclasses.replace(FIND, presence=stranger.presence(1))
    assert decode_nodes(stranger.question(nodes[0], old)).nodes
    assert world.conduct == []


def flood(stranger, other, question: Question, count: int) -> list:
    """The answers to `count` questions that are asked in one instant."""
    deadline_us = stranger.world.now.mono_us + SECOND_US
    body = encode(question)
    tokens = [Token(f"hand:flood {number}") for number in range(count)]
    stranger.perform([Request(other.peer, PROTOCOL, body, each, deadline_us) for each in tokens])
    stranger.world.go(0.1)
    return [stranger.heard.pop(each) for each in tokens]


def test_who_asks_too_often_is_refused_until_it_waits():
    world, nodes, stranger = world_of(3)
    burst = QUESTION_BURST_US // QUESTION_COST_US
    answers = flood(stranger, nodes[0], FIND, burst + 3)
    assert [isinstance(answer, bytes) for answer in answers] == [True] * burst + [False] * 3
    assert [answer.code for answer in answers[burst:]] == ["limit_reached"] * 3
    assert world.conduct == [(nodes[0].peer, stranger.peer, "requests_excess")] * 3
    world.go(2 * QUESTION_COST_US / SECOND_US)
    assert isinstance(stranger.question(nodes[0], FIND), bytes)


def test_many_contents_weigh_more_than_one():
    _, nodes, stranger = world_of(3)
    offers = tuple(Offered("note", b"%d" % n, bytes(16), UNTIL) for n in range(DHT_ITEMS_MAX))
    burst = QUESTION_BURST_US // QUESTION_COST_US
    answers = flood(stranger, nodes[0], Question(PUBLIC, offers=offers), burst)
    assert sum(isinstance(answer, bytes) for answer in answers) == burst // weight_of(DHT_ITEMS_MAX)


def test_an_honest_asker_paces_itself_and_is_never_refused():
    world, nodes, _ = world_of(3)
    burst = QUESTION_BURST_US // QUESTION_COST_US
    told = []
    ask = nodes[0].machine._asking.ask
    for _ in range(2 * burst):
        done = lambda answer, _: told.append(answer) or []  # noqa: E731
        nodes[0].perform(ask(nodes[1].at, FIND, world.now, done, patience_us=60 * SECOND_US))
    world.arm(nodes[0])
    world.go(30)
    assert len(told) == 2 * burst
    assert not [answer for answer in told if isinstance(answer, Failure)]
    assert world.conduct == []


def test_get_gives_what_is_held_and_nodes_to_whoever_must_go_on():
    world, nodes, stranger = world_of(30)
    holder = nearest(nodes, location(b"k"), 1)[0]
    hold(holder, PutValue("note", b"k", b"k value", UNTIL))
    if holder is not nodes[0]:
        world.connect(stranger, holder)
    told = decode_values(stranger.question(holder, Question(PUBLIC, get=Get("note", b"k"))))
    assert (told.values, told.more, told.nodes) == ((b"k value",), False, ())
    for get in (Get("note", b"other"), Get("nothing", b"k")):
        told = decode_values(stranger.question(holder, Question(PUBLIC, get=get)))
        assert told.values == ()
        assert len(told.nodes) == BUCKET_SIZE


def test_a_block_is_read_by_the_library_and_a_withdrawn_question_ends(monkeypatch):
    world, nodes, stranger = world_of(5)
    cid, data = block(1)
    hold(nodes[0], PutValue("block", cid.binary, data, UNTIL))
    question = Question(PUBLIC, get=Get("block", cid.binary))
    assert decode_values(stranger.question(nodes[0], question)).values == (data,)
    stranger.question(nodes[0], question, 0.0205)  # it arrives, and is not answered yet
    assert nodes[0].machine._answering.open == 1
    world.disconnect(stranger, nodes[0])
    assert nodes[0].machine._answering.open == 0
    world.connect(stranger, nodes[0])
    monkeypatch.setattr(answering, "QUESTIONS_LOADING_MAX", 0)
    assert stranger.question(nodes[0], question).code == "limit_reached"
    monkeypatch.undo()
    nodes[0].library.clear()  # it says that it has gone: others are named instead
    told = decode_values(stranger.question(nodes[0], question))
    assert told.values == ()
    assert len(told.nodes) == 4


def test_offers_and_puts_are_answered_in_order():
    _, nodes, stranger = world_of(5)
    puts = (
        PutValue("note", b"k", b"k value", UNTIL),
        PutValue("note", b"k", b"wrong", UNTIL),
        PutValue("nothing", b"k", b"k", UNTIL),
    )
    body = stranger.question(nodes[0], Question(PUBLIC, puts=puts))
    assert decode_codes(body, 3).codes == (Code.WANTED, Code.INVALID, Code.UNKNOWN)
    mark = hashlib.sha256(b"k value").digest()[:16]
    offers = (Offered("note", b"k", mark, UNTIL), Offered("note", b"l", mark, UNTIL))
    body = stranger.question(nodes[0], Question(PUBLIC, offers=offers))
    assert decode_codes(body, 2).codes == (Code.HELD, Code.WANTED)


def test_a_guest_holds_nothing_for_others():
    world = World()
    guest, stranger = world.add(1).start(NOTE, member=False), world.add(2)
    world.connect(stranger, guest)
    puts = (PutValue("note", b"k", b"k value", UNTIL),)
    body = stranger.question(guest, Question(PUBLIC, puts=puts))
    assert decode_codes(body, 1).codes == (Code.FAR,)
    assert decode_nodes(stranger.question(guest, FIND)).presence == b""


# What the node itself asks


def test_what_is_held_here_is_found_without_asking():
    _, nodes, _ = world_of(5)
    cid, data = block(2)
    hold(nodes[0], PutValue("note", b"k", b"k value", UNTIL))
    hold(nodes[0], PutValue("block", cid.binary, data, UNTIL))
    assert nodes[0].ask("get", GetContent(PUBLIC, "note", b"k")) == Got((b"k value",), None, 0, 0)
    got = nodes[0].ask("get", GetContent(PUBLIC, "block", cid.binary))
    assert got == Got((data,), None, 0, 0)
    nodes[0].library.clear()
    assert nodes[0].ask("get", GetContent(PUBLIC, "block", cid.binary)).values == ()


def test_what_is_put_is_found_by_everybody_and_dropped_where_it_is_dropped():
    world, nodes, _ = world_of(30)
    content = Content("note", b"k", b"k value")
    placed = nodes[3].ask("put", PutContent(PUBLIC, (content,)))
    assert placed == Placed((8,), 8)
    for node in nodes[:6]:
        got = node.ask("get", GetContent(PUBLIC, "note", b"k"))
        assert got.values == (b"k value",)
        assert got.hops <= 2
    holder = nearest(nodes, location(b"k"), 1)[0]
    assert holder.ask("figures", None)[0].held == (
        ("block", 0, 0), ("many", 0, 0), ("note", 1, 7),
    )  # fmt: skip
    assert holder.ask("drop", DropContent(PUBLIC, "note", b"k")) == 1
    assert holder.ask("figures", None)[0].held[2] == ("note", 0, 0)
    assert holder.ask("get", GetContent(PUBLIC, "note", b"k")).hops == 1
    assert world.conduct == []


def test_slots_of_several_holders_are_joined_newest_first():
    _, nodes, _ = world_of(30)
    near = nearest(nodes, location(b"k"), 3)
    asker = next(node for node in nodes if node not in near)
    hold(near[0], PutValue("many", b"k", b"ka old", UNTIL), PutValue("many", b"k", b"kb", UNTIL))
    hold(near[1], PutValue("many", b"k", b"ka pretty new", UNTIL))
    hold(near[2], PutValue("many", b"k", b"kc", UNTIL))
    got = asker.ask("get", GetContent(PUBLIC, "many", b"k"))
    assert got.values == (b"ka pretty new", b"kb", b"kc")
    assert got.more is None
    got = asker.ask("get", GetContent(PUBLIC, "many", b"k", after=b"a"))
    assert got.values == (b"kb", b"kc")


def test_a_get_gives_the_value_to_near_nodes_that_missed_it():
    world, nodes, _ = world_of(30)
    near = nearest(nodes, location(b"k"), 8)
    asker = next(node for node in nodes if node not in near)
    hold(near[7], PutValue("note", b"k", b"k value", UNTIL))
    assert asker.ask("get", GetContent(PUBLIC, "note", b"k")).values == (b"k value",)
    world.go(2)
    held = [node.ask("figures", None)[0].held[2][1] for node in near]
    assert sum(held) > 1


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("wish", None, "method_unknown"),
        ("get", GetContent(PUBLIC, "nothing", b"k"), "argument_invalid"),
        ("get", GetContent(PUBLIC, "note", b""), "argument_invalid"),
        ("get", GetContent(PUBLIC, "note", bytes(65)), "argument_invalid"),
        ("get", GetContent(OverlayId(bytes(32)), "note", b"k"), "not_found"),
        ("put", PutContent(PUBLIC, (Content("note", b"k", b"wrong"),)), "content_invalid"),
        ("put", PutContent(PUBLIC, (Content("note", b"k", b"k" * 65),)), "content_invalid"),
        ("put", PutContent(PUBLIC, (Content("note", b"k", b"k"),) * 257), "argument_invalid"),
        ("drop", DropContent(OverlayId(bytes(32)), "note", b"k"), "not_found"),
    ],
)
def test_bad_arguments_are_refused(operation, arguments, code):
    _, nodes, _ = world_of(3)
    assert nodes[0].ask(operation, arguments).code == code


def test_figures_say_how_a_node_stands():
    _, nodes, _ = world_of(30)
    [figures] = nodes[0].ask("figures", None)
    assert (figures.overlay, figures.member, figures.neighbours) == (PUBLIC, True, 7)
    own = location(nodes[0].key.public.data)
    wanted = [node.peer for node in nearest(nodes[1:], own, 40)]
    assert [each.peer for each in figures.nodes] == [p for p in wanted if p in peers(figures)]


def peers(figures) -> list[bytes]:
    return [each.peer for each in figures.nodes]


def test_an_unanswered_question_of_a_value_is_withdrawn_with_its_command():
    world, nodes, _ = world_of(30)
    number = nodes[0].call("get", GetContent(PUBLIC, "many", b"k"))
    put = nodes[0].call("put", PutContent(PUBLIC, (Content("note", b"k", b"k value"),)))
    nodes[0].withdraw(number)
    nodes[0].withdraw(put)
    assert nodes[0].machine._commands.open == 0
    world.go(120)
    assert nodes[0].open == {}
