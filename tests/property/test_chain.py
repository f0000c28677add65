"""What holds for every action and entry there can be: one byte form, no byte that may change."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.chain.action import (
    KINDS,
    Action,
    check_signature,
    decode_signed,
    encode_signed,
    plain,
    sign_action,
)
from dms3.chain.entry import (
    decode_entry,
    entry_hash,
    make_entry,
    open_private,
    seal_private,
)
from dms3.chain.judging import shown_to_rules
from dms3.chain.operations_validation import Record
from dms3.chain.ops import bases_of, decode_op, encode_op, op_id, ops_of
from dms3.chain.rules import check_action, needed
from dms3.chain.values import WHOLE_MAX, WHOLE_MIN
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.limits import ACTION_BYTES_MAX, OPS_PER_ACTION_MAX
from dms3.core.verdict import Valid
from unit.chain.chain_kit import ALICE, DNA, PRIVATE_KEY, Chain

FEW = settings(max_examples=60)

CIDS = st.binary(min_size=32, max_size=32).map(lambda digest: Cid.of_digest(DAG_CBOR, digest))
SEALED = st.binary(min_size=32, max_size=32).map(lambda digest: Cid.of_digest(RAW, digest))
KEYS = st.binary(min_size=32, max_size=32)
SHORT = st.binary(min_size=1, max_size=64)
# what a free bytes field must survive: bytes that parse as a CID of whatever kind
TRICKY = SHORT | CIDS.map(lambda cid: cid.binary) | st.just(b"\x01\x55\x00\x04abcd")
NAMES = st.text(min_size=1, max_size=64).filter(lambda name: name.isprintable())
TIMES = st.integers(0, (1 << 64) - 1)
FIELDS = {
    "entry": CIDS,
    "entry_kind": NAMES,
    "private": st.booleans(),
    "sealed": st.none() | SEALED,
    "target": CIDS,
    "target_entry": CIDS,
    "base": TRICKY,
    "to": KEYS,
    "tag": st.binary(max_size=1_000) | TRICKY,
    "link_kind": NAMES,
    "proof": st.binary(min_size=1, max_size=200) | TRICKY,
    "certificate": TRICKY,
    "revocation": TRICKY,
    "other_dna": KEYS,
    "session": KEYS,
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(WHOLE_MIN, WHOLE_MAX) | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside),
    max_leaves=12,
)


@st.composite
def actions(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    must, may = KINDS[kind]
    fields = {name: draw(FIELDS[name]) for name in sorted(must)}
    chosen = [draw(st.sampled_from(sorted(may)))] if kind == "agent" else sorted(may)
    fields |= {name: draw(FIELDS[name]) for name in chosen}
    if not fields.get("private"):
        fields.pop("sealed", None)
    first = draw(st.booleans())
    return Action(
        v=1,
        dna=draw(KEYS),
        author=ALICE.public,
        root=draw(KEYS),
        seq=0 if first else draw(st.integers(1, (1 << 64) - 1)),
        prev=None if first else draw(CIDS),
        time_us=draw(TIMES),
        kind=kind,
        **fields,
    )


@FEW
@given(actions())
def test_every_action_comes_back_and_has_one_byte_form(action):
    signed = sign_action(ALICE, action)
    data = encode_signed(signed)
    assert decode_signed(data) == signed
    assert encode_signed(decode_signed(data)) == data
    assert signed.hash == Cid.of(DAG_CBOR, encode(action))
    assert len(signed.data) <= ACTION_BYTES_MAX
    assert plain(signed)["hash"] == str(signed.hash)


@FEW
@given(actions())
def test_every_action_has_its_ops(action):
    signed = sign_action(ALICE, action)
    bases = bases_of(signed)
    assert bases == bases_of(decode_signed(encode_signed(signed)))
    assert bases[0] == ("record", signed.hash.binary)
    assert ("activity", action.author) in bases
    assert 2 <= len(set(bases)) == len(bases) <= OPS_PER_ACTION_MAX
    assert (action.entry is not None and not action.private) == ("entry" in dict(bases))


@FEW
@given(actions(), VALUES)
def test_rules_never_raise_and_what_they_need_is_what_is_missing(action, content):
    signed = sign_action(ALICE, action)
    for entry in (None, make_entry(content)[1], b"", b"\xff"):
        record = Record(signed, entry)
        verdict = check_action(record, DNA, None, {})
        missing = getattr(verdict, "missing", None)
        assert missing is None or missing == tuple(each.binary for each in needed(record))


@FEW
@given(VALUES, st.sampled_from((b"", bytes(range(16)))))
def test_every_content_comes_back_under_one_hash(content, salt):
    cid, data = make_entry(content, salt)
    found = decode_entry(data)
    assert (found.content, found.salt) == (content, salt)
    assert make_entry(found.content, found.salt) == (cid, data)
    if salt:
        _, sealed = seal_private(PRIVATE_KEY, cid, data)
        assert open_private(PRIVATE_KEY, cid, sealed) == data


@FEW
@given(st.binary(max_size=200))
def test_other_bytes_are_no_entry_or_have_one_byte_form(data):
    for given_bytes in (data, b"\xa4" + data):
        try:
            found = decode_entry(given_bytes)
        except DecodeError:
            continue
        assert make_entry(found.content, found.salt, found.session)[1] == given_bytes


# Each byte flipped


def flips(data):
    """`data` with one bit of each byte changed, and with one byte less and more."""
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        yield bytes(spoilt)
    yield data[:-1]
    yield data + b"\0"


def stored():
    """A record and its ops as they are stored and sent."""
    chain = Chain.begun()
    made = chain.create({"text": "I was here"})
    chain.create_private({"text": "dear diary"})
    link = chain.add(
        "link", base=made.signed.hash.binary, to=ALICE.public, link_kind="by", tag=b"t"
    )
    return chain, [made, chain.records[4], link, chain.records[2]]


CHAIN, RECORDS = stored()


@pytest.mark.parametrize("place", range(len(RECORDS)))
def test_each_byte_of_a_signed_action_counts(place):
    data = encode_signed(RECORDS[place].signed)
    assert check_signature(decode_signed(data))
    for spoilt in flips(data):
        try:
            signed = decode_signed(spoilt)
        except DecodeError:
            continue
        assert not check_signature(signed)


def test_each_byte_of_an_entry_counts():
    record = RECORDS[0]
    assert check_action(record, DNA, CHAIN.records[2].signed, {}) == Valid()
    for spoilt in flips(record.entry):
        assert entry_hash(spoilt) != record.signed.action.entry
        verdict = check_action(Record(record.signed, spoilt), DNA, CHAIN.records[2].signed, {})
        assert verdict.rule == "entry-hash"


def test_each_byte_of_an_op_counts():
    """An op that can be read is about the same action, or its signature does not hold."""
    for op in ops_of(RECORDS[0].signed, RECORDS[0].entry):
        for spoilt in flips(encode_op(op)):
            try:
                found = decode_op(spoilt)
            except DecodeError:
                continue
            assert not check_signature(found.signed)


def test_names_of_ops_do_not_depend_on_who_carries_them():
    record = RECORDS[0]
    ours = ops_of(record.signed, record.entry)
    theirs = [decode_op(encode_op(op)) for op in ours]
    assert [op_id(op) for op in ours] == [op_id(op) for op in theirs]
    resigned = dataclasses.replace(record.signed, signature=bytes(64))
    assert [op_id(op) for op in ops_of(resigned, record.entry)] == [op_id(op) for op in ours]


# What rules are shown


def test_rules_are_shown_the_same_by_author_and_holder():
    chain = Chain.begun()
    made = chain.create({"text": "I was here"})
    action, content = shown_to_rules(made)
    assert content == {"text": "I was here"}
    held = decode_op(encode_op(ops_of(made.signed, made.entry)[0]))
    assert shown_to_rules(Record(held.signed, held.entry)) == (action, content)
    secret, sealed = chain.create_private({"text": "dear diary"})
    held = decode_op(encode_op(ops_of(secret.signed, secret.entry, sealed)[0]))
    assert shown_to_rules(secret) == shown_to_rules(Record(held.signed, held.entry))
    assert shown_to_rules(secret)[1] is None
    assert shown_to_rules(chain.records[0])[1] is None
