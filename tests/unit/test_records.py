"""Signed peer records at the peer book: newer ones replace, older and forged ones do not."""

import pytest

from dms3.core.limits import ADDRESSES_PER_PEER_MAX
from dms3.core.machine import Call, PeerUp, Persist
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.libp2p.peer_record import seal_record
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.port import Announce, Introduced
from dms3.p2p.reach import Reach, others_word, own_word, reach_of, reach_of_text
from unit.test_peers import WALL, WHERE, Rig, peer

OLD, NEW, ELSE = (f"/ip4/192.0.2.{n}/tcp/4001" for n in (11, 12, 13))


def key(number):
    return NodeKey(number.to_bytes(32, "big"))


def record(number, sequence, *addresses: str):
    return seal_record(key(number), sequence, [Multiaddr.parse(text) for text in addresses])


def told(number, sealed, *addresses: str, protocols=()):
    return Introduced(peer(number), addresses, protocols, sealed)


def addresses_of(rig):
    (row,) = rig.call("list")
    return row.addresses


def test_a_newer_record_replaces_what_is_kept_and_an_older_one_changes_nothing():
    rig = Rig()
    rig.up(1, inbound=True)
    rig.call("introduced", told(1, b"", OLD))
    assert addresses_of(rig) == (OLD,)
    rig.call("introduced", told(1, record(1, 5, NEW), OLD))
    assert addresses_of(rig) == (NEW,)
    for sequence in (4, 5):
        rig.effects = []
        rig.call("introduced", told(1, record(1, sequence, ELSE)))
        assert rig.drain(Persist) == []
    assert addresses_of(rig) == (NEW,)
    rig.call("introduced", told(1, record(1, 6, ELSE)))
    assert addresses_of(rig) == (ELSE,)


def test_an_unsigned_list_does_not_count_once_a_record_came_also_after_a_restart():
    rig = Rig()
    rig.up(1, inbound=True)
    rig.call("introduced", told(1, record(1, 5, NEW)))
    rig.call("introduced", told(1, b"", OLD))
    assert addresses_of(rig) == (NEW,)
    again = Rig(state=rig.state)
    again.up(1, inbound=True)
    again.call("introduced", told(1, b"", OLD))
    again.call("introduced", told(1, record(1, 5, OLD)))
    assert addresses_of(again) == (NEW,)


def test_the_address_that_we_reached_it_at_stays_first():
    rig = Rig()
    rig.up(1)
    rig.call("introduced", told(1, record(1, 5, NEW)))
    assert addresses_of(rig) == (WHERE, NEW)


@pytest.mark.parametrize("kind", ["replayed", "altered"])
def test_a_forged_record_changes_nothing_and_costs(kind):
    rig = Rig()
    rig.up(1, inbound=True)
    rig.call("introduced", told(1, record(1, 5, NEW)))
    sealed = record(2, 9, ELSE)
    if kind == "altered":
        sealed = bytearray(record(1, 9, ELSE))
        sealed[-1] ^= 1
    rig.call("introduced", told(1, bytes(sealed), ELSE))
    (row,) = rig.call("list")
    assert row.addresses == (NEW,)
    assert row.points == CONDUCT["record_forged"][0]


def test_a_record_of_an_unknown_kind_is_nobodys_fault():
    rig = Rig()
    rig.up(1, inbound=True)
    rig.call("introduced", told(1, b"\x0a\x00", OLD))
    (row,) = rig.call("list")
    assert (row.addresses, row.points) == ((), 0)


def test_records_are_cut_to_what_is_kept():
    rig = Rig()
    rig.up(1, inbound=True)
    many = [f"/ip4/192.0.2.{n}/tcp/1" for n in range(1, 30)]
    rig.call("introduced", told(1, record(1, 5, *many, "/ip4/0.0.0.0/tcp/1")))
    assert addresses_of(rig) == tuple(many[:ADDRESSES_PER_PEER_MAX])


def test_loopback_counts_on_this_machine_only():
    near, far = Rig(), Rig()
    near.tell(PeerUp(peer(1), "/ip4/127.0.0.1/tcp/9", inbound=True))
    far.up(1, inbound=True)
    for rig in (near, far):
        rig.call("introduced", told(1, record(1, 5, "/ip4/127.0.0.1/tcp/1", NEW)))
    assert addresses_of(near) == ("/ip4/127.0.0.1/tcp/1", NEW)
    assert addresses_of(far) == (NEW,)


# Our own record


def announced(rig):
    return [call.arguments for call in rig.drain(Call, port="transport.announce")]


def test_our_number_rises_with_our_addresses_and_is_durable_before_it_is_said():
    rig = Rig()
    rig.call("listening", (OLD,))
    effects = list(rig.effects)
    (kept,) = [e for e in effects if isinstance(e, Persist)]
    (said,) = [e for e in effects if isinstance(e, Call)]
    assert effects.index(kept) < effects.index(said)
    assert announced(rig) == [Announce(WALL, (OLD,))]
    rig.call("listening", (OLD,))
    assert announced(rig) == []
    rig.call("listening", (NEW,))
    assert announced(rig) == [Announce(WALL + 1, (NEW,))]


def test_after_a_restart_the_same_addresses_are_the_same_record():
    rig = Rig()
    rig.call("listening", (OLD,))
    again = Rig(state=rig.state, at=10**6)
    again.call("listening", (OLD,))
    assert announced(again) == [Announce(WALL, (OLD,))]


def test_our_number_rises_when_the_clock_was_set_back():
    rig = Rig()
    rig.call("listening", (OLD,))
    again = Rig(state=rig.state, at=-(10**9))
    again.call("listening", (NEW,))
    assert announced(again) == [Announce(WALL + 1, (NEW,))]


# Reach


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("/ip4/127.0.0.1/tcp/1", Reach.MACHINE),
        ("/ip6/::1/tcp/1", Reach.MACHINE),
        ("/ip6/::ffff:127.0.0.1/tcp/1", Reach.MACHINE),
        ("/ip4/10.0.0.1/tcp/1", Reach.PRIVATE),
        ("/ip4/100.64.0.1/tcp/1", Reach.PRIVATE),
        ("/ip4/169.254.1.1/tcp/1", Reach.PRIVATE),
        ("/ip6/fd00::1/tcp/1", Reach.PRIVATE),
        ("/ip4/1.1.1.1/tcp/1", Reach.EVERYWHERE),
        ("/ip6/2606:4700::1111/tcp/1", Reach.EVERYWHERE),
        ("/ip6/fe80::1/tcp/1", None),
        ("/ip4/0.0.0.0/tcp/1", None),
        ("/ip4/224.0.0.251/tcp/1", None),
        ("/ip4/255.255.255.255/tcp/1", None),
        ("/dns4/example.org/tcp/1", None),
        ("/ip4/1.1.1.1/udp/1/quic-v1", None),
    ],
)
def test_how_far_an_address_reaches(text, reach):
    assert reach_of(Multiaddr.parse(text)) == reach


def test_a_word_about_others_never_points_inward():
    texts = ("/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/1.1.1.1/tcp/1", "/dns4/a.b/tcp/1")
    addresses = [Multiaddr.parse(text) for text in texts]
    assert others_word(addresses, Reach.MACHINE) == texts[:3]
    assert others_word(addresses, Reach.PRIVATE) == texts[1:3]
    assert others_word(addresses, Reach.EVERYWHERE) == texts[2:3]
    assert own_word(addresses, Reach.EVERYWHERE) == texts[1:]
    assert reach_of_text("nonsense") == Reach.EVERYWHERE
