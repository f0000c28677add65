from dataclasses import replace

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode
from dms3.core.limits import (
    ADDRESSES_PER_PEER_MAX,
    CLOCK_AHEAD_US_MAX,
    HELD_LIFE_US,
    SECOND_US,
)
from dms3.core.verdict import Abandoned, Invalid, Valid
from dms3.dht.providers import (
    NAME,
    decode_provider,
    issue_provider,
    merge,
    retention,
    validate,
)
from dms3.libp2p.peer_id import NodeKey

WALL = 1_800_000_000 * SECOND_US
KEY, OTHER = NodeKey(b"k" * 32), NodeKey(b"o" * 32)
CID = Cid.of(RAW, b"a public document")
HERE = ("/ip4/192.0.2.1/tcp/4001",)


def test_a_record_is_its_providers_word_for_as_long_as_it_says():
    content = issue_provider(KEY, CID, HERE, WALL)
    assert (content.type, content.key) == (NAME, CID.binary)
    assert content.until_us == WALL + HELD_LIFE_US
    assert validate(content.key, content.value, WALL) == Valid()
    assert validate(content.key, content.value, content.until_us - 1) == Valid()
    assert validate(content.key, content.value, content.until_us) == Abandoned("expired")
    kept = retention(content.key, content.value)
    assert (kept.slot, kept.until_us) == (KEY.peer_id, content.until_us)
    assert decode_provider(content.value).addresses == HERE


def test_clocks_may_differ_and_nobody_is_blamed_for_the_future():
    content = issue_provider(KEY, CID, HERE, WALL)
    assert validate(content.key, content.value, WALL - CLOCK_AHEAD_US_MAX) == Valid()
    early = validate(content.key, content.value, WALL - CLOCK_AHEAD_US_MAX - 1)
    assert early == Abandoned("from the future")


def test_nobody_can_offer_in_the_name_of_another_or_for_another_content():
    content = issue_provider(KEY, CID, HERE, WALL)
    record = decode_provider(content.value)
    for changed in (
        replace(record, peer=OTHER.peer_id),
        replace(record, addresses=("/ip4/198.51.100.1/tcp/1",)),
        replace(record, until_us=record.until_us - 1),
        replace(record, signature=bytes(64)),
        replace(record, signature=b""),
    ):
        verdict = validate(content.key, encode(changed), WALL)
        assert isinstance(verdict, Invalid)
        assert verdict.rule == "signature"
    elsewhere = validate(Cid.of(RAW, b"other").binary, content.value, WALL)
    assert isinstance(elsewhere, Invalid)
    assert elsewhere.rule == "key"


def test_every_changed_byte_is_refused():
    content = issue_provider(KEY, CID, HERE, WALL)
    for place in range(len(content.value)):
        changed = bytearray(content.value)
        changed[place] ^= 1
        assert not isinstance(validate(content.key, bytes(changed), WALL), Valid), place


def test_bounds_of_a_record():
    many = ("/ip4/192.0.2.1/tcp/4001",) * (ADDRESSES_PER_PEER_MAX + 1)
    content = issue_provider(KEY, CID, many, WALL)
    record = decode_provider(content.value)
    assert len(record.addresses) == ADDRESSES_PER_PEER_MAX
    for field, value in (
        ("addresses", many),
        ("addresses", ("a\nb",)),
        ("until_us", record.since_us + HELD_LIFE_US + 1),
        ("v", 2),
        ("peer", b"no peer"),
    ):
        with pytest.raises(ValueError, match=r"."):
            replace(record, **{field: value})


def test_the_later_record_stays_wherever_they_meet():
    one = issue_provider(KEY, CID, HERE, WALL).value
    two = issue_provider(KEY, CID, (), WALL + 1).value
    assert merge(one, two) == merge(two, one) == two
    same = issue_provider(KEY, CID, (), WALL).value
    assert merge(one, same) == merge(same, one)
