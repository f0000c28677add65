import pytest

from dms3.core.ids import PeerId
from dms3.core.limits import (
    ID_WORK_BITS,
    NODE_FAILURES_MAX,
    PREFIX_NODES_PER_BUCKET_MAX,
    PREFIX_NODES_PER_TABLE_MAX,
    PRESENCE_LIFE_US,
    REPLACEMENTS_MAX,
)
from dms3.core.machine import Delete, Now, Persist
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import PUBLIC, location
from dms3.dht.presence import Proven, Verified, issue_presence, node_location
from dms3.dht.routing import TABLE, Table, warm_rows
from dms3.libp2p.peer_id import NodeKey, id_work
from dms3.p2p.reach import NAMES, prefix_of
from unit.dht.overlay_kit import WALL_US, Rows, key_of, lan_address, worked_key

OWN = key_of(0)
VERIFIED = Verified()
NOW = Now(10, WALL_US)


def at(key: NodeKey) -> int:
    return int.from_bytes(node_location(key.peer_id), "big")


def magnitude(key: NodeKey) -> int:
    return (at(key) ^ at(OWN)).bit_length()


KEYS = [key_of(n) for n in range(1, 200)]
FAR = [key for key in KEYS if magnitude(key) == 256]


def proven(key: NodeKey, address: str = "", wall_us: int = WALL_US) -> Proven:
    where = address or lan_address(1 + KEYS.index(key))
    return VERIFIED.remembered(issue_presence(key, PUBLIC, (where,), wall_us))


def table(size: int = BUCKET_SIZE, work_bits: int = ID_WORK_BITS) -> Table:
    return Table(OWN.peer_id, PUBLIC, size=size, work_bits=work_bits)


def see(into: Table, key: NodeKey, address: str = "", now_us: int = 10):
    shown = proven(key, address)
    return into.seen(shown, address or shown.presence.addresses[0], now_us)


def test_who_answers_is_in_the_table_and_on_disk():
    known = table()
    [written] = see(known, KEYS[0])
    assert written == Persist(TABLE, PUBLIC + KEYS[0].peer_id, proven(KEYS[0]).data)
    assert KEYS[0].peer_id in known
    assert len(known) == 1
    assert see(known, KEYS[0]) == []  # nothing new
    renewed = proven(KEYS[0], wall_us=WALL_US + 1)
    [written] = known.seen(renewed, lan_address(1), 11)
    assert written.value == renewed.data


def test_who_only_asks_is_not_in_the_table_until_it_answers():
    known = table()
    known.introduced(proven(KEYS[0]), lan_address(1), 10)
    assert KEYS[0].peer_id not in known
    [candidate] = known.candidates(8, ())
    assert candidate.peer == KEYS[0].peer_id
    assert known.candidates(8, (candidate.peer,)) == []
    [written] = known.answered(KEYS[0].peer_id, at(KEYS[0]), 11)
    assert isinstance(written, Persist)
    assert KEYS[0].peer_id in known
    assert known.candidates(8, ()) == []


def test_a_candidate_that_does_not_answer_is_forgotten():
    known = table()
    known.introduced(proven(KEYS[0]), lan_address(1), 10)
    assert known.failed(KEYS[0].peer_id, at(KEYS[0])) == []
    assert known.candidates(8, ()) == []
    assert known.answered(KEYS[0].peer_id, at(KEYS[0]), 11) == []
    assert len(known) == 0


def test_a_full_bucket_keeps_those_that_answer_whoever_comes():
    known = table(size=2)
    for key in FAR[:2]:
        see(known, key)
    for key in FAR[2:30]:
        assert see(known, key) == []
    assert [key.peer_id in known for key in FAR[:4]] == [True, True, False, False]
    assert known.candidates(100, ()) == []  # no place is free


def test_the_newest_that_wait_take_the_place_of_one_that_is_gone():
    known = table(size=2)
    for key in FAR[: 2 + REPLACEMENTS_MAX + 3]:
        see(known, key)
    assert known.failed(FAR[0].peer_id, at(FAR[0])) == [Delete(TABLE, PUBLIC + FAR[0].peer_id)]
    waiting = known.candidates(100, ())
    newest = FAR[5 : 2 + REPLACEMENTS_MAX + 3]
    assert [node.peer for node in waiting] == [key.peer_id for key in reversed(newest)]
    known.answered(waiting[0].peer, at(newest[-1]), 12)
    assert waiting[0].peer in known
    assert known.candidates(100, ()) == []


def test_a_failure_counts_only_while_others_answer():
    known = table()
    see(known, KEYS[0])
    see(known, KEYS[1])
    for _ in range(10):  # no network: only the first of these counts
        assert known.failed(KEYS[0].peer_id, at(KEYS[0])) == []
    for _ in range(NODE_FAILURES_MAX - 2):
        see(known, KEYS[1])
        assert known.failed(KEYS[0].peer_id, at(KEYS[0])) == []
    assert KEYS[0].peer_id in known
    see(known, KEYS[1])
    gone = known.failed(KEYS[0].peer_id, at(KEYS[0]))
    assert gone == [Delete(TABLE, PUBLIC + KEYS[0].peer_id)]
    assert KEYS[0].peer_id not in known


def test_an_answer_wipes_failures_out():
    known = table()
    for _ in range(3 * NODE_FAILURES_MAX):
        see(known, KEYS[0])
        see(known, KEYS[1])
        assert known.failed(KEYS[0].peer_id, at(KEYS[0])) == []
    assert KEYS[0].peer_id in known


def test_the_doubtful_are_the_last_resort_and_are_not_named_to_others():
    known = table()
    target = location(b"x")
    keys = sorted(KEYS[:3], key=lambda key: at(key) ^ int.from_bytes(target, "big"))
    for key in keys:
        see(known, key)
    known.failed(keys[0].peer_id, at(keys[0]))
    order = [keys[1], keys[2], keys[0]]
    assert [node.peer for node in known.nearest(target, 3)] == [key.peer_id for key in order]
    named = known.presences(target, 20, WALL_US)
    assert named == tuple(proven(key).data for key in order[:2])
    assert known.presences(target, 1, WALL_US) == named[:1]
    assert known.presences(target, 20, WALL_US, keys[1].peer_id) == named[1:]
    assert known.presences(target, 20, WALL_US + PRESENCE_LIFE_US) == ()


def test_work_is_owed_by_who_comes_from_anywhere_and_by_nobody_near():
    cheap = next(key for key in KEYS if id_work(key.public.data) < ID_WORK_BITS)
    dear = worked_key(1)
    known = table()
    for key, address, admitted in (
        (cheap, "/ip4/8.8.4.4/tcp/1", False),
        (dear, "/ip4/8.8.4.4/tcp/1", True),
        (cheap, "/ip4/192.168.0.9/tcp/1", True),
        (cheap, "/ip4/127.0.0.1/tcp/1", True),
        (cheap, "/ip6/fd00::1/tcp/1", True),
        (cheap, "/dns4/node.example.org/tcp/1", False),
        (OWN, "/ip4/127.0.0.1/tcp/1", False),
    ):
        assert known.admit(key.peer_id, id_work(key.public.data), address) is admitted, address


def test_few_nodes_of_one_network_share_a_bucket_and_a_table():
    known = table(work_bits=0)
    for number, key in enumerate(FAR[:10]):
        see(known, key, f"/ip4/8.8.4.{number}/tcp/1")
    assert len(known) == PREFIX_NODES_PER_BUCKET_MAX
    for number, key in enumerate(FAR[10:12]):
        see(known, key, f"/ip4/8.8.{5 + number}.1/tcp/1")
    assert len(known) == PREFIX_NODES_PER_BUCKET_MAX + 2
    others = sorted(KEYS, key=magnitude)
    for key in others:
        see(known, key, "/ip4/8.8.4.77/tcp/1")
    buckets = {magnitude(key) for key in KEYS}
    same = sum(node.addresses[0].startswith("/ip4/8.8.4.") for node in known.nearest(at0(), 99))
    assert same == min(PREFIX_NODES_PER_TABLE_MAX, PREFIX_NODES_PER_BUCKET_MAX * len(buckets))
    for key in KEYS:
        known.drop(key.peer_id, at(key))
    assert len(known) == 0
    see(known, FAR[3], "/ip4/8.8.4.3/tcp/1")  # the room has been given back
    assert len(known) == 1


def at0() -> bytes:
    return node_location(OWN.peer_id)


def test_a_lan_is_not_limited():
    known = table()
    for key in FAR[:10]:
        see(known, key, "/ip4/192.168.0.9/tcp/1")
    assert len(known) == 10


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("/ip4/8.8.4.4/tcp/1", "8.8.4.0/24"),
        ("/ip6/2a00:1450:4001:830::200e/tcp/1", "2a00:1450:4001::/48"),
        ("/ip6/::ffff:8.8.4.4/tcp/1", "8.8.4.0/24"),
        ("/dns/a.example.org/tcp/1", NAMES),
        ("not an address", NAMES),
        ("/ip4/10.1.2.3/tcp/1", None),
        ("/ip4/127.0.0.1/tcp/1", None),
        ("/ip6/::1/tcp/1", None),
    ],
)
def test_prefix_of_an_address(address, prefix):
    assert prefix_of(address) == prefix


def test_who_cannot_be_dialled_again_does_not_enter():
    known = table(work_bits=0)
    shown = proven(KEYS[0], "/ip4/192.168.1.1/tcp/1")
    assert known.seen(shown, "/ip4/8.8.4.4/tcp/50001", 10) == []  # met across the Internet
    known.introduced(shown, "/ip4/8.8.4.4/tcp/50001", 10)
    assert known.candidates(8, ()) == []
    assert len(known) == 0


def test_the_silent_the_doubtful_and_those_of_long_ago_are_to_be_asked():
    known = table()
    for number, key in enumerate(KEYS[:4]):
        see(known, key, now_us=10 * number + 10)
    see(known, KEYS[3], now_us=41)
    quiet = known.silent(21, WALL_US, 9)
    assert [node.peer for node in quiet] == [key.peer_id for key in KEYS[:2]]
    assert known.silent(21, WALL_US, 1) == quiet[:1]
    known.failed(KEYS[3].peer_id, at(KEYS[3]))
    assert [node.peer for node in known.silent(0, WALL_US, 9)] == [KEYS[3].peer_id]
    assert len(known.silent(0, WALL_US + PRESENCE_LIFE_US, 9)) == 4
    assert known.in_date(WALL_US) == 4
    assert known.in_date(WALL_US + PRESENCE_LIFE_US) == 0


def test_rank_counts_who_is_nearer_than_this_node():
    known = table()
    for key in KEYS[:50]:
        see(known, key)
    assert known.rank(at0(), 20) == 0
    target = node_location(KEYS[0].peer_id)
    apart = at(OWN) ^ at(KEYS[0])
    nearer = sum(at(key) ^ at(KEYS[0]) < apart for key in KEYS[:50] if key.peer_id in known)
    assert known.rank(target, 50) == nearer
    assert known.rank(target, 1) == 1


def test_rank_counts_nobody_who_may_be_dead():
    """Neither who is known from the disk alone, nor who did not answer last time."""
    view = Rows()
    for row in warm_rows(PUBLIC, [(key.peer_id, proven(key).data) for key in KEYS[:3]]):
        view.put(*row)
    known = table()
    known.load(view, VERIFIED, NOW)
    target = node_location(KEYS[0].peer_id)
    assert known.rank(target, 20) == 0
    assert {node.peer for node in known.silent(0, WALL_US, 9)} == {key.peer_id for key in KEYS[:3]}
    known.answered(KEYS[0].peer_id, at(KEYS[0]), 20)
    assert known.rank(target, 20) == 1
    assert len(known.silent(0, WALL_US, 9)) == 2
    known.failed(KEYS[0].peer_id, at(KEYS[0]))
    assert known.rank(target, 20) == 0


def test_the_nearest_come_in_order_wherever_the_target_lies():
    known = table()
    for key in KEYS:
        see(known, key)
    doubtful = [key.peer_id for key in KEYS[:40:2] if key.peer_id in known]
    for key in KEYS[:40:2]:
        known.failed(key.peer_id, at(key))
        known.answered(KEYS[1].peer_id, at(KEYS[1]), 20)  # so that the next failure counts
    everybody = [key for key in KEYS if key.peer_id in known]
    assert len(known) == len(everybody) > 60
    for target in (node_location(OWN.peer_id), *(location(b"%d" % n) for n in range(20))):
        to = int.from_bytes(target)
        everybody.sort(key=lambda key: (key.peer_id in doubtful, at(key) ^ to))
        peers = [key.peer_id for key in everybody]
        assert [node.peer for node in known.nearest(target, 20)] == peers[:20]
        assert [node.peer for node in known.nearest(target, 500)] == peers
        told = known.presences(target, 20, WALL_US, peers[0])
        assert [VERIFIED.remembered(data).peer for data in told] == peers[1:21]


def test_sparse_parts_and_locations_in_them():
    known = table(size=2)
    assert known.sparse() == []
    for key in KEYS:
        see(known, key)
    lowest = min(magnitude(key) for key in KEYS)
    full = {each for each in range(1, 257) if sum(magnitude(key) == each for key in KEYS) >= 2}
    assert known.sparse() == [each for each in range(256, lowest - 1, -1) if each not in full]
    for size in (1, 2, 9, 200, 256):
        for drawn in (bytes(32), b"\xff" * 32):
            found = int.from_bytes(known.target_in(size, drawn), "big")
            assert (found ^ at(OWN)).bit_length() == size


def test_a_table_is_read_back_and_what_is_no_node_is_deleted():
    rows = Rows()
    old = proven(KEYS[1], wall_us=WALL_US - 10 * PRESENCE_LIFE_US)
    for name, key, value in warm_rows(
        PUBLIC,
        [
            (KEYS[0].peer_id, proven(KEYS[0]).data),
            (KEYS[1].peer_id, old.data),  # of long ago: it may still be there
            (PeerId(b"junk"), b"junk"),
            (OWN.peer_id, issue_presence(OWN, PUBLIC, (lan_address(0),), WALL_US)),
        ],
    ):
        rows.put(name, key, value)
    known = table()
    gone = known.load(rows, Verified(), NOW)
    assert {effect.key for effect in gone} == {PUBLIC + OWN.peer_id, PUBLIC + b"junk"}
    assert [key.peer_id in known for key in KEYS[:3]] == [True, True, False]
    assert len(known.presences(at0(), 20, WALL_US)) == 1
