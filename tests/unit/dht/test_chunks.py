from dataclasses import replace

import pytest

from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    CHUNK_LIFE_US,
    CHUNK_PART_BYTES,
    CHUNK_VALUE_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    HELD_LIFE_US,
    PERSIST_VALUE_BYTES_MAX,
    SECOND_US,
)
from dms3.core.machine import Now
from dms3.core.overlay import PUBLIC, location
from dms3.core.verdict import Abandoned, Invalid, Valid
from dms3.dht import chunks
from dms3.dht.chunks import chunk_key, chunk_type, decode_chunk, issue_chunk, merge, solve, validate
from dms3.dht.holding import Holding
from dms3.dht.messages import Code, PutValue
from unit.dht.holding_kit import Rows

WALL = 1_800_000_000 * SECOND_US
NAME = "ab" * 32
KEY = chunk_key(b"s" * 32, NAME, 0, 0)
WORK = solve(KEY.public)


def put(data=b"sealed", sequence=1, key=KEY, work=WORK, wall=WALL):
    return issue_chunk(key, data, sequence=sequence, work=work, wall_us=wall)


def test_a_chunk_lies_under_its_own_key_for_sixty_days():
    content = put()
    assert (content.type, content.key) == ("chunk", KEY.public)
    assert validate(content.key, content.value, WALL) == Valid()
    assert validate(content.key, content.value, WALL + CHUNK_LIFE_US - 1) == Valid()
    assert validate(content.key, content.value, WALL + CHUNK_LIFE_US) == Abandoned("expired")
    assert validate(content.key, content.value, WALL - CLOCK_AHEAD_US_MAX - 1) == Abandoned(
        "from the future"
    )
    assert decode_chunk(content.value).data == b"sealed"
    assert "sealed" not in repr(decode_chunk(content.value))


def test_names_parts_and_people_have_keys_of_their_own():
    seeds = (b"s" * 32, b"t" * 32)
    keys = [
        chunk_key(seed, name, sequence, part).public
        for seed in seeds
        for name in (NAME, "cd" * 32)
        for sequence in (0, 1)
        for part in (0, 1)
    ]
    assert len({*keys}) == len(keys)
    assert chunk_key(b"s" * 32, NAME, 0, 0).public == KEY.public, "the same on every device"
    for key in keys:
        assert NAME.encode() not in put(key=chunk_key(seeds[0], NAME, 0, 0)).value
        assert bytes.fromhex(NAME) not in key


def test_nobody_without_the_key_can_write_change_or_shift_it():
    chunk = decode_chunk(put().value)
    for changed in (
        replace(chunk, data=b"forged"),
        replace(chunk, sequence=2),
        replace(chunk, until_us=chunk.until_us - 1),
        replace(chunk, since_us=chunk.since_us + 1),
        replace(chunk, signature=bytes(64)),
        replace(chunk, signature=b""),
    ):
        verdict = validate(KEY.public, encode(changed), WALL)
        assert isinstance(verdict, Invalid)
        assert verdict.rule == "signature"
    stranger = chunk_key(b"t" * 32, NAME, 0, 0)
    elsewhere = validate(KEY.public, put(key=stranger, work=solve(stranger.public)).value, WALL)
    assert isinstance(elsewhere, Invalid)
    assert elsewhere.rule == "key"


def test_a_key_costs_work_once():
    wrong = WORK - 1 if WORK else WORK + 1
    verdict = validate(KEY.public, put(work=wrong).value, WALL)
    assert isinstance(verdict, Invalid)
    assert verdict.rule == "work"
    assert validate(KEY.public, put(b"other", sequence=9).value, WALL) == Valid(), "not again"


def test_every_changed_byte_is_refused():
    value = put(b"x" * 40).value
    for place in range(len(value)):
        changed = bytearray(value)
        changed[place] ^= 1
        assert not isinstance(validate(KEY.public, bytes(changed), WALL), Valid), place


def test_the_greater_sequence_stays_whoever_comes_first():
    old, new, same = put(b"a", 1).value, put(b"b", 2).value, put(b"c", 2).value
    assert merge(old, new) == merge(new, old) == new
    assert merge(new, same) == merge(same, new)
    gone = put(b"", 3).value
    assert merge(new, gone) == gone


def test_bounds_of_a_chunk():
    chunk = decode_chunk(put().value)
    for field, value in (
        ("v", 2),
        ("public", b"short"),
        ("work", -1),
        ("sequence", -1),
        ("until_us", chunk.since_us),
        ("until_us", chunk.since_us + CHUNK_LIFE_US + 1),
        ("signature", b"x"),
    ):
        with pytest.raises(ValueError, match=r"."):
            replace(chunk, **{field: value})
    with pytest.raises(DecodeError):
        decode_chunk(bytes(CHUNK_VALUE_BYTES_MAX + 1))
    largest = put(b"x" * CHUNK_PART_BYTES).value
    assert len(largest) <= CHUNK_VALUE_BYTES_MAX < PERSIST_VALUE_BYTES_MAX
    assert validate(KEY.public, largest, WALL) == Valid()


def test_a_holder_keeps_it_for_its_whole_life_and_the_newest_only():
    table = Rows({})
    holding = Holding(location(b"here"), (chunk_type(),))
    holding.load(table)
    now = Now(0, WALL)

    def offer(content, at=now):
        put_value = PutValue("chunk", content.key, content.value, content.until_us)
        found, effects = holding.admit(PUBLIC, put_value, at)
        table.apply(effects)
        if isinstance(found, Code):
            return found
        table.apply(holding.write(found))
        return Code.WANTED

    assert offer(put(b"a", 1)) is Code.WANTED
    assert offer(put(b"b", 2)) is Code.WANTED
    assert offer(put(b"a", 1)) is Code.HELD
    late = Now(0, WALL + HELD_LIFE_US + 1)
    values, more = holding.values(PUBLIC, chunk_type(), KEY.public, b"", late)
    assert ([decode_chunk(value).data for value in values], more) == ([b"b"], False)
    gone = Now(0, WALL + CHUNK_LIFE_US)
    assert holding.values(PUBLIC, chunk_type(), KEY.public, b"", gone) == ((), False)
    assert chunks.NAME == "chunk"
