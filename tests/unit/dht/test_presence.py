import dataclasses

import pytest

from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    ADDRESSES_PER_PEER_MAX,
    CLOCK_AHEAD_US_MAX,
    ID_WORK_BITS,
    PRESENCE_BYTES_MAX,
    PRESENCE_CLOSED_BYTES_MAX,
    PRESENCE_LIFE_US,
)
from dms3.core.overlay import PUBLIC, location
from dms3.core.verdict import Abandoned, Invalid, Valid
from dms3.dht import presence as module
from dms3.dht.presence import (
    Presence,
    Proven,
    Standing,
    Verified,
    check_dates,
    check_signature,
    decode_presence,
    issue_presence,
    node_location,
)
from dms3.libp2p.peer_id import id_work
from dms3.p2p.reach import Reach
from unit.dht.overlay_kit import WALL_US, key_of, worked_key

KEY = key_of(1)
LAN, FAR, HERE = "/ip4/192.168.1.7/tcp/1", "/ip4/8.8.4.4/tcp/1", "/ip4/127.0.0.1/tcp/1"
OTHER = OverlayId(bytes(32))


def issued(*addresses: str, key=KEY) -> bytes:
    return issue_presence(key, PUBLIC, addresses or (FAR,), WALL_US)


def test_what_a_node_issues_holds_and_says_where_it_is():
    presence = decode_presence(issued(FAR, LAN))
    assert check_signature(presence)
    assert presence.addresses == (FAR, LAN)
    assert presence.peer == KEY.peer_id
    assert node_location(KEY.peer_id) == location(KEY.public.data)
    assert Verified().open(issued(), PUBLIC, WALL_US).peer == KEY.peer_id


@pytest.mark.parametrize(
    "change",
    [
        {"overlay": OTHER},
        {"agent": bytes(32)},
        {"peer": key_of(2).peer_id},
        {"addresses": (LAN,)},
        {"since_us": WALL_US + 1},
        {"until_us": WALL_US + 1},
    ],
)
def test_a_changed_presence_does_not_hold(change):
    forged = dataclasses.replace(decode_presence(issued()), **change)
    assert not check_signature(forged)
    verdict = Verified().open(encode(forged), OverlayId(forged.overlay), WALL_US)
    assert isinstance(verdict, Invalid)


def test_dates_are_looked_at_and_never_blamed():
    presence = decode_presence(issued())
    assert check_dates(presence, WALL_US - CLOCK_AHEAD_US_MAX) == Valid()
    assert isinstance(check_dates(presence, WALL_US - CLOCK_AHEAD_US_MAX - 1), Abandoned)
    assert check_dates(presence, presence.until_us - 1) == Valid()
    assert isinstance(check_dates(presence, presence.until_us), Abandoned)


def test_a_presence_is_of_one_overlay_and_one_node():
    verified = Verified()
    assert isinstance(verified.open(issued(), OTHER, WALL_US), Invalid)
    assert isinstance(verified.of_peer(issued(), key_of(2).peer_id, PUBLIC, WALL_US), Invalid)
    assert isinstance(verified.of_peer(issued(), KEY.peer_id, PUBLIC, WALL_US), Proven)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"overlay": bytes(31)},
        {"agent": bytes(31)},
        {"peer": b"\x12\x20" + bytes(32)},
        {"addresses": ()},
        {"addresses": (FAR,) * (ADDRESSES_PER_PEER_MAX + 1)},
        {"addresses": ("/" * 257,)},
        {"since_us": -1},
        {"until_us": WALL_US},
        {"until_us": WALL_US + PRESENCE_LIFE_US + 1},
        {"signature": bytes(63)},
    ],
)
def test_what_is_out_of_bounds_is_not_a_presence(change):
    with pytest.raises(ValueError, match=r"."):
        dataclasses.replace(decode_presence(issued()), **change)


def test_an_unsigned_or_long_one_is_refused_before_it_is_checked():
    bare = dataclasses.replace(decode_presence(issued()), signature=b"")
    with pytest.raises(DecodeError, match="not signed"):
        decode_presence(encode(bare))
    with pytest.raises(DecodeError, match="too long"):
        decode_presence(bytes(PRESENCE_CLOSED_BYTES_MAX + 1))


def test_of_many_long_addresses_as_many_are_named_as_fit():
    addresses = [f"/dns/{'a' * 200}{n}/tcp/1" for n in range(20)]
    data = issued(*addresses)
    presence = decode_presence(data)
    assert len(data) <= PRESENCE_BYTES_MAX
    assert list(presence.addresses) == addresses[: len(presence.addresses)]
    assert 1 < len(presence.addresses) < ADDRESSES_PER_PEER_MAX


def test_a_signature_is_checked_once_and_memory_is_bounded(monkeypatch):
    checked = []

    def check(presence: Presence) -> bool:
        checked.append(presence.peer)
        return True

    monkeypatch.setattr(module, "check_signature", check)
    verified = Verified(kept_max=2)
    one, two, three = (issued(key=key_of(n)) for n in (1, 2, 3))
    for data in (one, one, two, two, three, three):
        assert isinstance(verified.open(data, PUBLIC, WALL_US), Proven)
    assert len(checked) == 3
    verified.open(one, PUBLIC, WALL_US)  # the oldest had to go
    assert len(checked) == 4


def test_addresses_are_believed_as_far_as_the_connection_reaches():
    name = "/dns4/node.example.org/tcp/1"
    proven = Verified().remembered(issued(name, HERE, LAN, FAR, "/ip4/8.8.4.4/udp/1/quic-v1"))
    assert proven.node(Reach.MACHINE).addresses == (HERE, LAN, FAR)
    assert proven.node(Reach.PRIVATE).addresses == (LAN, FAR)
    assert proven.node(Reach.EVERYWHERE).addresses == (FAR,)
    assert Verified().remembered(issued(LAN)).node(Reach.EVERYWHERE) is None


def test_who_can_be_reached_everywhere_owes_work():
    cheap = next(key_of(n) for n in range(100) if id_work(key_of(n).public.data) == 0)
    assert Verified().remembered(issued(FAR, key=cheap)).owes_work(ID_WORK_BITS)
    assert not Verified().remembered(issued(LAN, HERE, key=cheap)).owes_work(ID_WORK_BITS)
    dear = worked_key(1)
    assert not Verified().remembered(issued(FAR, key=dear)).owes_work(ID_WORK_BITS)


def test_a_node_says_nothing_before_it_can_be_reached_or_when_it_takes_no_part():
    standing = Standing(KEY, member=True)
    assert standing.presence(PUBLIC, WALL_US) == b""
    standing.listening((FAR,))
    assert standing.presence(PUBLIC, WALL_US) == issued()
    assert standing.is_member
    guest = Standing(KEY, member=False)
    guest.listening((FAR,))
    assert guest.presence(PUBLIC, WALL_US) == b""
    assert not guest.is_member


def test_its_word_is_renewed_at_half_its_life_when_it_moves_and_when_the_clock_goes_back():
    standing = Standing(KEY, member=True)
    standing.listening((FAR,))
    first = standing.presence(PUBLIC, WALL_US)
    assert standing.presence(PUBLIC, WALL_US + PRESENCE_LIFE_US // 2 - 1) == first
    assert standing.presence(PUBLIC, WALL_US - 1) != first
    later = standing.presence(PUBLIC, WALL_US + PRESENCE_LIFE_US // 2)
    assert decode_presence(later).since_us == WALL_US + PRESENCE_LIFE_US // 2
    standing.listening((LAN,))
    assert decode_presence(standing.presence(PUBLIC, WALL_US)).addresses == (LAN,)
    standing.listening(())
    assert standing.presence(PUBLIC, WALL_US) == b""
