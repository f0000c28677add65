"""Closed overlays: who shows no valid proof is in no table, is told nothing, and is named why."""

import dataclasses

import pytest

from dms3.chain.membership import Link, encode_proof, invite
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import CERTIFICATE_LIFE_US, PRESENCE_LIFE_US, SECOND_US
from dms3.core.overlay import PUBLIC, AskNear, JoinOverlay
from dms3.crypto.certificate import issue_certificate
from dms3.crypto.signing import SigningKey
from dms3.dht import admitting
from dms3.dht.meeting import meeting_point
from dms3.dht.messages import Find, Get, Question
from dms3.dht.presence import Ticket, decode_presence, issue_presence
from dms3.dht.providers import provider_type
from unit.dht.overlay_kit import WALL_US, Node, World, key_of

CLUB = OverlayId(b"c" * 32)
SECRET = b"s" * 32
ADMIN = SigningKey.of_seed(b"a" * 32)
BY = {"scheme": "invite", "by": [ADMIN.public.hex()], "needed": 1}
DAY = 86_400 * SECOND_US
FIND = Find(bytes(32))


def root_of(number: int) -> SigningKey:
    """The person of node `number`; that of node 0 is the admin."""
    return SigningKey.of_seed(bytes([number]) * 32) if number else ADMIN


def proof_of(number: int, until_us: int = WALL_US + DAY, by: SigningKey = ADMIN) -> bytes:
    return encode_proof(invite(by, CLUB, Link(root_of(number).public, WALL_US, until_us)))


def joining(number: int, proof: bytes = b"", **fields: object) -> JoinOverlay:
    until_us = WALL_US + CERTIFICATE_LIFE_US
    made = issue_certificate(root_of(number), key_of(number).peer_id, "home", WALL_US, until_us)
    shown = proof or (proof_of(number) if number else b"")
    plain = {"membrane": BY, "proof": shown, "certificate": encode(made), **fields}
    return JoinOverlay(CLUB, **plain)


def known(node: Node) -> set[bytes]:
    table = node.machine._tables[CLUB]
    return {each.peer for each in table.nearest(bytes(32), len(table))}


def star(count: int) -> tuple[World, list[Node]]:
    """Nodes connected to the first, not in the club."""
    world = World()
    nodes = [world.add(number).start(provider_type()) for number in range(count)]
    for node in nodes[1:]:
        world.connect(node, nodes[0])
    world.go(2)
    return world, nodes


def club(count: int, **fields: object) -> tuple[World, list[Node]]:
    world, nodes = star(count)
    for number, node in enumerate(nodes):
        assert node.ask("join", joining(number, **fields)) is None
    world.go(30)
    return world, nodes


def test_members_find_each_other_and_say_who_they_are():
    world, nodes = club(4)
    everybody = {node.peer for node in nodes}
    assert [known(node) for node in nodes] == [everybody - {node.peer} for node in nodes]
    shown = map(decode_presence, nodes[1].ask("members", CLUB))
    assert {each.agent for each in shown} == {root_of(number).public for number in range(4)}
    assert world.conduct == []


def test_a_stranger_gets_one_named_refusal_and_nothing_else():
    world, nodes = club(2)
    mallory = world.add(9).start(provider_type())
    world.connect(mallory, nodes[0])
    world.go(5)
    for question in (
        Question(CLUB, find=FIND),
        Question(CLUB, get=Get("provider", b"key")),
        Question(CLUB, mallory.presence(overlay=CLUB), find=FIND),
    ):
        refused = mallory.question(nodes[0], question)
        assert isinstance(refused, Failure)
        assert refused.code == "not_admitted"
    assert mallory.peer not in known(nodes[0])
    assert world.conduct == []  # it may have meant well


def shown_by(number: int, **fields: object) -> bytes:
    """A presence of node 9 for person `number`, with what `fields` change."""
    until_us = WALL_US + CERTIFICATE_LIFE_US
    node = key_of(9)
    person = fields.pop("person", root_of(number))
    certificate = issue_certificate(person, node.peer_id, "home", WALL_US, until_us)
    ticket = Ticket(
        fields.pop("root", person.public),
        encode(certificate),
        fields.pop("proof", proof_of(number)),
        fields.pop("until_us", WALL_US + DAY),
    )
    overlay = fields.pop("overlay", CLUB)
    return issue_presence(node, overlay, ("/ip4/10.1.0.9/tcp/4001",), WALL_US, ticket)


MALLORY = root_of(9)
REFUSED = {
    "somebody else's": (lambda: shown_by(9, proof=proof_of(1)), "membrane-member"),
    "forged": (lambda: shown_by(9, proof=proof_of(9, by=MALLORY)), "membrane-admin"),
    "without": (lambda: shown_by(9, proof=b""), "membrane-missing"),
    "expired": (lambda: shown_by(9, proof=proof_of(9, until_us=WALL_US + 1)), "membrane-form"),
    "another member's name": (lambda: shown_by(9, root=root_of(1).public), "does not hold"),
    "replayed from elsewhere": (lambda: shown_by(9, overlay=PUBLIC), "does not hold"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_proof_that_opens_nothing_is_refused_by_its_rule(how):
    make, said = REFUSED[how]
    world, nodes = club(2)
    mallory = world.add(9)
    mallory.start(provider_type())
    world.connect(mallory, nodes[0])
    refused = mallory.question(nodes[0], Question(CLUB, make(), find=FIND))
    assert isinstance(refused, Failure)
    assert said in refused.message
    assert mallory.peer not in known(nodes[0])


def test_a_member_s_presence_shown_by_another_node_is_a_lie():
    world, nodes = club(2)
    mallory = world.add(9).start(provider_type())
    world.connect(mallory, nodes[0])
    stolen = nodes[1].machine._standing.presence(CLUB, world.now.wall_us)
    refused = mallory.question(nodes[0], Question(CLUB, stolen, find=FIND))
    assert refused.code == "peer_misbehaved"
    assert world.conduct == [(nodes[0].peer, mallory.peer, "presence_forged")]


def test_who_may_not_be_in_does_not_join():
    _, nodes = star(2)
    refused = nodes[1].ask("join", joining(1, proof_of(2)))
    assert isinstance(refused, Failure)
    assert refused.code == "not_admitted"
    assert "membrane-member" in refused.message
    assert CLUB not in nodes[1].machine._tables
    assert nodes[1].ask("join", joining(1)) is None


def test_a_membership_ends_with_its_proof_and_goes_on_with_a_newer_one():
    world, nodes = star(2)
    soon = WALL_US + 100 * SECOND_US
    assert nodes[0].ask("join", joining(0)) is None
    assert nodes[1].ask("join", joining(1, proof_of(1, until_us=soon))) is None
    world.go(30)
    assert known(nodes[0]) == {nodes[1].peer}
    world.go(200)
    shown = [decode_presence(each).peer for each in nodes[0].ask("members", CLUB)]
    assert shown == [nodes[0].peer]
    assert known(nodes[0]) == set()
    assert nodes[1].ask("join", joining(1)) is None
    world.go(120)
    assert known(nodes[0]) == {nodes[1].peer}


def test_members_of_a_hidden_overlay_show_themselves_to_no_stranger():
    world, nodes = star(3)
    heard = []
    stranger = nodes[2]
    stranger.liar = lambda _node, peer, question: heard.append((peer, question.overlay))
    for number in (0, 1):
        assert nodes[number].ask("join", joining(number, secret=SECRET)) is None
    world.go(60)
    assert known(nodes[0]) == {nodes[1].peer}  # they met at a point that only they know
    assert [each for each in heard if each[1] == CLUB] == []
    assert meeting_point(CLUB, SECRET) != meeting_point(CLUB)
    assert meeting_point(CLUB, SECRET) == meeting_point(OverlayId(b"x" * 32), SECRET)


def test_invited_nodes_are_asked_first_where_there_is_no_meeting_point():
    world = World()
    nodes = [world.add(number).start() for number in range(2)]  # no provider type: no meetings
    assert nodes[0].ask("join", joining(0, secret=SECRET)) is None
    assert nodes[1].ask("join", joining(1, secret=SECRET, nodes=(nodes[0].at,))) is None
    world.go(10)
    assert [known(node) for node in nodes] == [{nodes[1].peer}, {nodes[0].peer}]


def test_a_local_overlay_names_local_addresses_and_answers_local_connections():
    world = World()
    near = [world.add(number).start() for number in range(2)]
    far = world.add(2, address="/ip4/8.8.4.4/tcp/4001").start()
    world.connect(near[1], near[0])
    world.connect(far, near[0])
    for number, node in enumerate([*near, far]):
        assert node.ask("join", joining(number, local=True, secret=SECRET)) is None
    world.go(30)
    assert known(near[0]) == {near[1].peer}
    assert known(far) == set()
    own = far.machine._standing.presence(CLUB, world.now.wall_us)
    assert decode_presence(own).addresses == ()
    refused = far.question(near[0], Question(CLUB, own, find=FIND))
    assert refused.code == "not_admitted"
    assert "local network" in refused.message


def test_a_node_that_cannot_be_reached_asks_as_a_member_and_is_in_no_table():
    world = World()
    alice = world.add(0).start()
    hidden = world.add(1).start(listen=False)
    world.connect(hidden, alice)
    for number, node in enumerate((alice, hidden)):
        assert node.ask("join", joining(number)) is None
    world.go(10)
    assert known(hidden) == {alice.peer}
    assert known(alice) == set()


def test_a_question_of_another_machine_shows_who_asks_when_it_has_to():
    world, nodes = club(2)
    alice, bob = nodes
    alice.foreign = lambda _peer, body: (
        body
        if alice.machine.admission.admits(CLUB, bob.peer, world.now.wall_us)
        else Failure("not_admitted", "show yourself")
    )
    world.disconnect(bob, alice)
    world.go(1)
    assert not alice.machine.admission.admits(CLUB, bob.peer, world.now.wall_us)
    asked = bob.ask("ask_near", AskNear(CLUB, bytes(32), 8, "/dms3/x/1", b"hello"))
    assert [body for _, body in asked.answers] == [b"hello"]


def test_who_is_admitted_is_so_on_its_connection_and_while_its_presence_lasts():
    world, nodes = club(2)
    admission = nodes[0].machine.admission
    bob = nodes[1].peer
    assert admission.admits(CLUB, bob, world.now.wall_us)
    assert not admission.admits(CLUB, bob, world.now.wall_us + PRESENCE_LIFE_US)
    assert admission.admits(PUBLIC, b"anybody", world.now.wall_us)
    nodes[0].ask("leave", CLUB)
    assert admission.admits(CLUB, b"anybody", world.now.wall_us)  # nobody asks it there any more
    refused = nodes[1].question(nodes[0], Question(CLUB, find=FIND))
    assert refused.code == "not_found"


def test_a_presence_has_one_form_in_each_version():
    data = shown_by(9)
    presence = decode_presence(data)
    assert (presence.v, presence.agent) == (2, root_of(9).public)
    plain = decode_presence(issue_presence(key_of(1), PUBLIC, ("/ip4/1.2.3.4/tcp/1",), WALL_US))
    assert (plain.v, plain.certificate, plain.proof) == (1, b"", b"")
    for change in ({"v": 1}, {"certificate": b""}, {"agent": b""}, {"v": 3}):
        with pytest.raises(ValueError, match=r"\w"):
            dataclasses.replace(presence, **change)
    with pytest.raises(ValueError, match="proof"):
        dataclasses.replace(plain, proof=b"x")


APP = OverlayId(b"a" * 32)
IMMUNE = {
    "scheme": "immune",
    "by": sorted(root_of(number).public.hex() for number in (0, 1)),
    "needed": 2,
    "apps": [APP.hex()],
}


def warned(nodes: list[Node], number: int, count: int) -> None:
    """So many members have warned of the person of node `number`, as every node knows."""
    root = root_of(number).public
    for node in nodes:
        node.machine.admission.warrants = lambda apps, who, by: (
            count if apps == (APP,) and who.root == root and len(by) == 2 else 0
        )
        assert node.ask("warned", APP) is None


def test_whom_enough_members_have_warned_of_is_put_out_and_told_so():
    world, nodes = club(3, membrane=IMMUNE, proof=b"")
    others = nodes[:2]
    assert nodes[0].calls.count("validation.heed") == 1
    assert nodes[0].calls.count("validation.recall") == 2, "one for each that came"
    warned(nodes, 2, 1)
    world.go(5)
    assert known(nodes[0]) == {nodes[1].peer, nodes[2].peer}, "one is too few"
    assert nodes[2].ask("standing", CLUB) == ""
    assert nodes[0].ask("join", joining(0, membrane=IMMUNE)) is None, "its proof is made anew"
    warned(nodes, 2, 2)
    for node in others:
        assert known(node) == {each.peer for each in others} - {node.peer}
        assert not node.machine.admission.admits(CLUB, nodes[2].peer, world.now.wall_us)
    world.go(600)
    assert known(nodes[0]) == {nodes[1].peer}, "it does not come back"
    own = nodes[2].machine._standing.presence(CLUB, world.now.wall_us)
    for question in (Question(CLUB, find=FIND), Question(CLUB, own, find=FIND)):
        refused = nodes[2].question(nodes[0], question)
        assert (refused.code, "membrane-warranted" in refused.message) == ("not_admitted", True)
    assert "of its admins have warned" in nodes[2].ask("standing", CLUB)
    nodes[2].machine.admission.warrants = lambda *_: 0
    told = nodes[2].ask("standing", CLUB)
    assert told == "2 nodes there say that you may not be in it any more (membrane-warranted)."
    assert nodes[1].ask("standing", CLUB) == ""
    nodes[0].machine._door.turned_away(CLUB, nodes[2].peer, "membrane-warranted")
    assert nodes[0].ask("standing", CLUB) == "", "one of two may lie"
    assert world.conduct == [], "others may know less"
    warned(nodes, 2, 0)
    world.disconnect(nodes[2], nodes[0])
    world.connect(nodes[2], nodes[0])
    world.go(600)
    assert nodes[2].peer in known(nodes[0]), "a pardon lets it in again"
    assert nodes[2].ask("standing", CLUB) == ""


def test_a_crowd_that_shows_itself_keeps_nobody_in_whom_members_warn_of(monkeypatch):
    """Whose node it is, is forgotten for later ones: it is not admitted without that."""
    world, nodes = club(4, membrane=IMMUNE, proof=b"")
    door, admission = nodes[0].machine._door, nodes[0].machine.admission
    monkeypatch.setattr(admitting, "MEMBERS_ADMITTED_MAX", 1)
    closed = door._closed[CLUB]
    shown = closed.shown
    first = next(iter(shown))
    assert admission.admits(CLUB, first, world.now.wall_us)
    door._meets(CLUB, closed, key_of(9).peer_id, root_of(9).public)
    assert first not in shown
    assert not admission.admits(CLUB, first, world.now.wall_us)


def test_whom_members_have_warned_of_does_not_join():
    _, nodes = star(2)
    nodes[1].machine.admission.warrants = lambda *_: 2
    refused = nodes[1].ask("join", joining(1, membrane=IMMUNE))
    assert isinstance(refused, Failure)
    assert "membrane-warranted" in refused.message


STAKE = {"scheme": "stake", "amount": 5}


def test_who_has_locked_enough_by_the_ledger_is_in_until_it_has_not():
    """No ledger is there yet: what it would say is set by hand."""
    world, nodes = star(3)
    refused = nodes[0].ask("join", joining(0, membrane=STAKE, proof=b""))
    assert isinstance(refused, Failure)
    assert "stake needs the ledger" in refused.message
    locked = {root_of(number).public: 5 for number in range(3)}
    for number, node in enumerate(nodes):
        node.machine.admission.stake = lambda _overlay, who, _proof: locked[who.root]
        assert node.ask("join", joining(number, membrane=STAKE, proof=b"")) is None
    world.go(30)
    assert known(nodes[0]) == {nodes[1].peer, nodes[2].peer}
    locked[root_of(2).public] = 4
    world.disconnect(nodes[2], nodes[0])
    world.connect(nodes[2], nodes[0])
    own = nodes[2].machine._standing.presence(CLUB, world.now.wall_us)
    told = nodes[2].question(nodes[0], Question(CLUB, own, find=FIND))
    stranger = world.add(9).start(provider_type())
    world.connect(stranger, nodes[0])
    asked = stranger.question(nodes[0], Question(CLUB, find=FIND))
    assert asked.code == "not_admitted", "of somebody unknown no ledger is asked"
    assert (told.code, "membrane-stake" in told.message) == ("not_admitted", True)
    assert world.conduct == [], "another node may know less of the ledger"
