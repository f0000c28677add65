"""Nodes that lie in their answers: dropped, reported, and unable to hide the honest ones."""

import dataclasses
import hashlib

import pytest

from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import CLOCK_AHEAD_US_MAX, LOOKUP_NODES_MAX, MIB, PRESENCE_LIFE_US
from dms3.core.overlay import PUBLIC, ContentType, GetContent, Got, Retention, location
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict
from dms3.dht.messages import Codes, Nodes, PutValue, Question, Values
from dms3.dht.presence import decode_presence, issue_presence
from unit.dht.overlay_kit import World, fill_tables, key_of, lan_address, nearest, worked_key

FORGED = "presence_forged"
TARGET = location(b"target")


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    del wall_us
    if value == b"of tomorrow":
        return Abandoned("from the future")
    right = hashlib.sha256(value).digest() == key
    return Valid() if right else Invalid("hash", "the value is not that of its key")


NOTE = ContentType(
    "note", validate, lambda held, _: held, lambda *_: Retention(b"", None), 64, 1, MIB
)


def overlay(count: int = 40, liars: int = 1, lie=None) -> tuple[World, list, list]:
    """A world where the `liars` nodes nearest to TARGET answer with `lie`; asker is the first."""
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    lying = nearest(nodes[1:], TARGET, liars)
    for node in nodes:
        node.start(NOTE)
    world.go(1)
    for node in lying:
        node.liar = lie
    return world, nodes, lying


def honest_near(nodes, lying, count: int = 20) -> list:
    honest = [node for node in nodes[1:] if node not in lying]
    return [node.peer for node in nearest(honest, TARGET, count)]


def answer(*presences: bytes) -> bytes:
    return encode(Nodes(presences))


def altered(node) -> bytes:
    presence = decode_presence(node.presence())
    return encode(dataclasses.replace(presence, addresses=("/ip4/10.9.9.9/tcp/1",)))


def as_me(node, asker, _) -> bytes:
    """The presence of whoever asks, moved to where the liar is."""
    mine = decode_presence(node.world.nodes[asker].presence())
    return answer(encode(dataclasses.replace(mine, addresses=(node.address,))))


def twenty(node, *_: object) -> bytes:
    """As many presences of one node as an answer has room for."""
    return answer(*[node.presence(node.world.now.wall_us - number) for number in range(20)])


LIES = {
    "malformed": (lambda *_: b"junk", "body_malformed"),
    "twenty copies": (twenty, FORGED),
    "twice": (lambda n, *_: answer(n.presence(), n.presence()), FORGED),
    "altered": (lambda n, *_: answer(altered(n)), FORGED),
    "junk inside": (lambda *_: answer(b"junk"), FORGED),
    "of another overlay": (
        lambda n, *_: answer(issue_presence(n.key, OverlayId(bytes(32)), (n.address,), 1)),
        FORGED,
    ),
    "me": (as_me, FORGED),
    "own is another's": (
        lambda n, *_: encode(Nodes((), n.world.nodes[key_of(0).peer_id].presence())), FORGED
    ),
    "codes for nodes": (lambda *_: encode(Codes((0,))), "body_malformed"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIES)
def test_a_lie_is_reported_and_hides_nobody(kind):
    lie, code = LIES[kind]
    world, nodes, [liar] = overlay(lie=lie)
    result = nodes[0].find(TARGET)
    assert [each.peer for each in result.nodes] == honest_near(nodes, [liar])
    assert (nodes[0].peer, liar.peer, code) in world.conduct
    assert {blamed for _, blamed, _ in world.conduct} == {liar.peer}
    assert liar.peer not in nodes[0].machine._tables[PUBLIC]
    assert nodes[0].rows.get("nodes", PUBLIC + liar.peer) is None


IGNORED = {
    "over": lambda n, *_: answer(n.presence(n.world.now.wall_us - PRESENCE_LIFE_US)),
    "of the future": lambda n, *_: answer(
        n.presence(n.world.now.wall_us + CLOCK_AHEAD_US_MAX + 1_000_000)
    ),
    "nobody": lambda *_: answer(),
    "itself": lambda n, *_: answer(n.presence()),
    "who asks": lambda n, asker, _: answer(n.world.nodes[asker].presence()),
    "with a name only": lambda *_: answer(
        issue_presence(key_of(901), PUBLIC, ("/dns4/a.example.org/tcp/1",), 1_800_000_000_000_000)
    ),
}


@pytest.mark.parametrize("kind", IGNORED)
def test_what_an_honest_node_could_say_is_not_blamed(kind):
    world, nodes, [liar] = overlay(lie=IGNORED[kind])
    result = nodes[0].find(TARGET)
    assert [each.peer for each in result.nodes][1:] == honest_near(nodes, [liar], 19)
    assert result.nodes[0].peer == liar.peer
    assert world.conduct == []


def test_far_nodes_are_harmless():
    far = [key_of(n) for n in range(2_000, 2_020)]

    def lie(node, *_: object) -> bytes:
        wall_us = node.world.now.wall_us
        return answer(*(issue_presence(k, PUBLIC, ("/ip4/10.7.7.7/tcp/1",), wall_us) for k in far))

    world, nodes, lying = overlay(liars=3, lie=lie)
    result = nodes[0].find(TARGET)
    honest = [each.peer for each in result.nodes if each.peer not in [n.peer for n in lying]]
    assert honest == honest_near(nodes, lying, len(honest))
    assert len(honest) == 17
    assert world.conduct == []


def test_endless_chains_of_fresh_identities_end_and_do_not_hide_what_is_near():
    """Every false node lives, and names 20 others that are nearer to the target than it is."""
    world, nodes, lying = overlay(count=60, liars=2)
    crowd = [world.add(number) for number in range(3_000, 3_400)]
    near = nearest(crowd, TARGET, len(crowd))
    place = {node.peer: index for index, node in enumerate(near)}

    def lie(node, *_: object) -> bytes:
        index = place.get(node.peer, len(near))
        return answer(*(each.presence() for each in near[max(0, index - 21) : index][:20]))

    for node in [*lying, *crowd]:
        node.liar = lie
    result = nodes[0].find(TARGET)
    assert result.asked <= LOOKUP_NODES_MAX
    honest = honest_near(nodes, lying, 8)
    asked = [node.peer for node in nodes if node.questions and node not in lying]
    assert set(honest) <= set(asked), "an honest path was led astray"


def test_identities_that_cost_nothing_are_not_asked():
    """Named from across the Internet: whoever has not solved the puzzle is nobody."""
    world = World()
    asker = world.add(0, key=worked_key(0), address="/ip4/9.9.1.1/tcp/4001")
    liar = world.add(1, key=worked_key(1), address="/ip4/9.9.2.1/tcp/4001")
    cheap = [world.add(n, address=f"/ip4/9.9.{n}.1/tcp/4001") for n in range(10, 30)]
    inside = [world.add(n, key=worked_key(n), address=lan_address(n)) for n in (40, 41)]
    dear = world.add(50, key=worked_key(50), address="/ip4/9.9.50.1/tcp/4001")
    for node in (asker, liar):
        node.start()
    liar.liar = lambda n, *_: encode(
        Nodes(tuple(each.presence() for each in [*cheap[:16], *inside, dear]), n.presence())
    )
    for node in [*cheap, *inside, dear]:
        node.liar = lambda n, *_: encode(Nodes((), n.presence()))
    world.connect(asker, liar)
    world.go(30)
    assert dear.questions > 0
    assert [node.questions for node in [*cheap, *inside]] == [0] * 22
    table = asker.machine._tables[PUBLIC]
    assert [node.peer in table for node in (liar, dear, *cheap)] == [True, True] + [False] * 20


def test_a_wrong_value_costs_its_sender_and_the_right_one_is_found():
    value = b"the right one"
    key = hashlib.sha256(value).digest()
    world, nodes, _ = overlay()
    lying = nearest(nodes[1:], location(key), 3)
    holder = nearest(nodes[1:], location(key), 4)[3]
    for node, lie in zip(lying, (b"wrong", b"of tomorrow", bytes(65)), strict=True):
        node.liar = lambda *_, lie=lie: encode(Values((lie,), False, ()))
    put = Question(PUBLIC, puts=(PutValue("note", key, value, 1_800_000_900_000_000),))
    nodes[0].perform(nodes[0].machine._asking.ask(holder.at, put, world.now, lambda *_: []))
    world.go(1)
    result = nodes[0].ask("get", GetContent(PUBLIC, "note", key))
    assert isinstance(result, Got)
    assert result.values == (value,)
    blamed = {blamed for asker, blamed, code in world.conduct if code == "content_invalid"}
    assert blamed == {lying[0].peer, lying[2].peer}


def test_silence_is_not_misconduct_and_failures_of_others_are_not_either():
    for lie in (lambda *_: None, lambda *_: Failure("internal", "oh")):
        world, nodes, lying = overlay(liars=3, lie=lie)
        result = nodes[0].find(TARGET)
        assert [each.peer for each in result.nodes][:8] == honest_near(nodes, lying, 8)
        assert world.conduct == []
