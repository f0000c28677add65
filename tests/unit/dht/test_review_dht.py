"""What an attacker found in the dht: inputs that ended the node, and what a question may cost."""

import hashlib

import pytest

from dms3.core.codec import encode, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import DHT_SMALL_BYTES_MAX, DHT_VALUES_MAX
from dms3.core.machine import Reply, Requested
from dms3.core.overlay import PUBLIC, ContentType, distance, location
from dms3.dht import messages
from dms3.dht.gathering import Gathering
from dms3.dht.holding import Holding, mark_of, prefix
from dms3.dht.lookup import Nearest
from dms3.dht.messages import (
    PROTOCOL,
    Code,
    Find,
    Get,
    Offered,
    PutValue,
    Question,
    Values,
    decode_codes,
    decode_question,
    decode_values,
)
from dms3.dht.taking import Taking
from unit.dht.holding_kit import LATER, NOTE, NOW, OWN
from unit.dht.holding_kit import Rows as DictRows
from unit.dht.overlay_kit import World, fill_tables, nearest

FIND = Question(PUBLIC, find=Find(bytes(32)))


def started(count: int = 3):
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    for node in nodes:
        node.start(NOTE)
    world.go(1)
    return world, nodes


def test_a_forged_presence_of_a_peer_with_another_kind_of_key_ends_nothing():
    world, nodes = started()
    rsa = PeerId(b"\x12\x20" + hashlib.sha256(b"an RSA key").digest())
    for presence in (b"junk", nodes[1].presence()):
        body = encode(Question(PUBLIC, presence, find=Find(bytes(32))))
        event = Requested(rsa, PROTOCOL, body, RequestId(7))
        effects = nodes[0].machine.on_event(event, world.now)
        replies = [effect for effect in effects if isinstance(effect, Reply)]
        assert [reply.body.code for reply in replies] == ["peer_misbehaved"]


def test_who_drops_the_rest_when_one_question_is_refused_hears_nothing_of_the_rest():
    world, nodes = started()
    asking = nodes[0].machine._asking
    told: list[str] = []

    def done(name: str):
        def hear(failure, _):
            told.append(f"{name} {failure.code}")
            return asking.drop(-5)

        return hear

    for name in ("first", "second"):
        assert asking.ask(nodes[0].at, FIND, world.now, done(name), group=-5) == []
    assert asking.ask(nodes[0].at, FIND, world.now, done("other"), group=-6) == []
    asking.on_timer(world.now)
    assert told == ["first protocol_unsupported", "other protocol_unsupported"]
    assert asking.open == 0


def test_one_question_does_not_remove_the_same_value_twice():
    rows = DictRows({})
    holding = Holding(OWN, (NOTE,))
    holding.load(rows)
    taking = Taking(holding, lambda *_: True)
    codes: list[tuple[Code, ...]] = []

    def put(*keys: bytes) -> None:
        puts = [PutValue("note", key, key + b"/a/" + b"x" * (97 - len(key)), LATER) for key in keys]
        rows.apply(taking.puts(PUBLIC, puts, NOW, lambda told, _: codes.append(told) or []))

    keys = sorted((b"%d" % n for n in range(12)), key=lambda key: -far(key))
    put(*keys[:4])
    put(*keys[4:])
    assert codes[1] == (Code.WANTED,) + (Code.BUSY,) * 7
    held = holding.page(b"", 100)
    assert holding.counts(PUBLIC, NOTE).values == len(held) == 4
    assert holding.counts(PUBLIC, NOTE).bytes == sum(row.size for _, row in held)


def far(key: bytes) -> int:
    return distance(location(key), OWN)


WIDE = ContentType("wide", NOTE.validate, max, NOTE.retention, 100, 200, 1_000_000)


class CountingRows(DictRows):
    """Rows that count how many of them are read."""

    read = 0

    def get(self, table, key):
        self.read += 1
        return super().get(table, key)

    def range(self, table, start, limit):
        found = super().range(table, start, limit)
        self.read += len(found)
        return found


def wide(rows: dict) -> tuple[CountingRows, Holding]:
    view = CountingRows(rows)
    holding = Holding(OWN, (WIDE,))
    holding.load(view)
    return view, holding


def put_wide(view: CountingRows, holding: Holding, value: bytes) -> Code:
    found, effects = holding.admit(PUBLIC, PutValue("wide", b"k", value, LATER), NOW)
    view.apply(effects)
    if isinstance(found, Code):
        return found
    view.apply(holding.write(found))
    return Code.WANTED


def test_an_offer_or_a_put_under_a_crowded_key_does_not_read_what_lies_there():
    view, holding = wide({})
    for number in range(200):
        assert put_wide(view, holding, b"k/%d/1" % number) is Code.WANTED
    view, holding = wide(view.rows)  # so it is after a restart
    view.read = 0
    assert put_wide(view, holding, b"k/200") is Code.BUSY
    assert put_wide(view, holding, b"k/7/2") is Code.WANTED  # a newer one in its own slot
    for value, code in ((b"k/7/1", Code.WANTED), (b"k/7/2", Code.HELD), (b"k/9/1", Code.HELD)):
        offer = Offered("wide", b"k", mark_of(value), LATER)
        assert holding.offered(PUBLIC, offer, NOW)[0] is code
    assert view.read < 12
    for place, row in holding.under(PUBLIC, WIDE, b"k"):
        view.apply(holding.remove(place, row))
    assert view.rows.keys() == {("counts", prefix(PUBLIC, WIDE))}
    assert put_wide(view, holding, b"k/200") is Code.WANTED


CROWD = b"\x9a\x00\x1f\xff\x00" + b"\x80" * 0x1FFF00  # two million empty lists


def test_a_message_of_too_many_items_or_too_long_for_its_kind_is_not_decoded(monkeypatch):
    values = Values(tuple(b"%d" % n for n in range(DHT_VALUES_MAX)), True, ())
    assert decode_values(encode(values)) == values
    asked = encode_plain({"find": {"target": bytes(33)}, "overlay": b"\0" + PUBLIC, "x": b""})
    assert decode_question(asked).find == Find(bytes(32))
    long = encode_plain(
        {"find": {"target": bytes(33)}, "overlay": b"\0" + PUBLIC, "x": bytes(DHT_SMALL_BYTES_MAX)}
    )
    with pytest.raises(DecodeError, match="without values"):
        decode_question(long)
    monkeypatch.setattr(messages, "decode", lambda *_: pytest.fail("it was decoded"))
    for read in (decode_question, decode_values):
        with pytest.raises(DecodeError, match="more than 1024 items"):
            read(CROWD)


def test_an_answer_holds_so_many_values_and_says_that_there_are_more():
    view, holding = wide({})
    many = ContentType("many", NOTE.validate, max, NOTE.retention, 100, 1_000, 1_000_000)
    holding = Holding(OWN, (many,))
    holding.load(view)
    for number in range(DHT_VALUES_MAX + 1):
        put = PutValue("many", b"k", b"k/%03d" % number, LATER)
        found, _ = holding.admit(PUBLIC, put, NOW)
        view.apply(holding.write(found))
    values, more = holding.values(PUBLIC, many, b"k", b"", NOW)
    assert (len(values), more) == (DHT_VALUES_MAX, True)
    gathering = Gathering(many, Get("many", b"k"))
    gathering.take(PeerId(b"peer"), 1, values, more=more, wall_us=NOW.wall_us)
    assert gathering.result(Nearest((), True, 1, 1)).more == b"%03d" % (DHT_VALUES_MAX - 1)
    rest, more = holding.values(PUBLIC, many, b"k", b"%03d" % (DHT_VALUES_MAX - 1), NOW)
    assert (rest, more) == ((b"k/%03d" % DHT_VALUES_MAX,), False)


def test_a_strangers_offers_do_not_keep_a_holder_from_putting_again():
    world, nodes = started(30)
    holder = nodes[0]
    key = next(
        b"%d" % n for n in range(1_000) if nearest(nodes, location(b"%d" % n), 1)[0] is holder
    )
    near, far = nearest(nodes, location(key), 30)[1], nearest(nodes, location(key), 30)[-1]
    stranger = world.add(900)
    offer = Question(PUBLIC, offers=(Offered("note", key, bytes(16), LATER),))
    heard = holder.machine._upkeep._heard
    for one in (stranger, far, near):
        world.connect(one, holder)
        assert decode_codes(one.question(holder, offer), 1).codes == (Code.WANTED,)
        assert list(heard) == ([(PUBLIC, "note", key)] if one is near else [])
