"""Actions: which fields each kind has, one byte form, hash and signature, and as JSON values."""

import dataclasses
import json

import pytest

from dms3.chain.action import (
    BASE_BYTES_MAX,
    KINDS,
    VERSION,
    Action,
    check_signature,
    decode_action,
    decode_signed,
    encode_signed,
    name_of,
    plain,
    sign_action,
)
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import decode_plain, encode, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ACTION_BYTES_MAX,
    EVIDENCE_BYTES_MAX,
    MEMBRANE_PROOF_BYTES_MAX,
    WARRANT_BYTES_MAX,
)
from dms3.core.multibase import encode_base32
from unit.chain.chain_kit import ALICE, BOB, DNA, Chain

HASH = Cid.of(DAG_CBOR, b"block")
SEALED = Cid.of(RAW, b"sealed")
VALUES = {
    "entry": HASH,
    "entry_kind": "signature",
    "private": True,
    "sealed": SEALED,
    "target": HASH,
    "target_entry": HASH,
    "base": b"base",
    "to": b"t" * 32,
    "tag": b"tag",
    "link_kind": "by",
    "proof": b"proof",
    "certificate": b"certificate",
    "revocation": b"revocation",
    "other_dna": b"o" * 32,
    "session": b"s" * 32,
}
CHOICES = {"agent": ("certificate",)}  # one of the two that it may have


def fields_of(kind: str) -> dict[str, object]:
    """The fields of `kind`, all that it may have."""
    must, may = KINDS[kind]
    chosen = must | set(CHOICES.get(kind, may))
    return {name: VALUES[name] for name in sorted(chosen)}


def action(kind: str, **fields: object) -> Action:
    return Chain.begun().next(kind, **{**fields_of(kind), **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_its_fields_and_no_other(kind):
    must, may = KINDS[kind]
    whole = fields_of(kind)
    signed = sign_action(ALICE, action(kind))
    assert decode_signed(encode_signed(signed)) == signed
    for name, value in VALUES.items():
        if name in must:
            with pytest.raises(ValueError, match=f"{kind} lacks {name}"):
                action(kind, **{name: None if isinstance(value, Cid) else type(value)()})
        elif name not in may:
            with pytest.raises(ValueError, match=f"{kind} has no {name}"):
                action(kind, **{name: value})
    assert set(whole) <= must | may


def test_agent_has_one_of_certificate_and_revocation():
    with pytest.raises(ValueError, match="either"):
        action("agent", revocation=b"r")
    with pytest.raises(ValueError, match="either"):
        action("agent", certificate=b"")
    assert action("agent", certificate=b"", revocation=b"r").revocation


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("create", {"v": 2}),
        ("create", {"dna": b"short"}),
        ("create", {"author": bytes(33)}),
        ("create", {"root": b""}),
        ("create", {"seq": -1}),
        ("create", {"seq": 0}),
        ("create", {"prev": None}),
        ("create", {"prev": SEALED}),
        ("create", {"time_us": -1}),
        ("create", {"time_us": 1 << 64}),
        ("create", {"entry": SEALED}),
        ("create", {"sealed": HASH}),
        ("create", {"private": False}),
        ("create", {"entry_kind": "k" * 65}),
        ("update", {"target": SEALED}),
        ("update", {"target_entry": SEALED}),
        ("link", {"base": bytes(BASE_BYTES_MAX + 1)}),
        ("link", {"to": bytes(BASE_BYTES_MAX + 1)}),
        ("close", {"other_dna": b"short"}),
        ("close", {"to": b"short"}),
        ("warrant", {"to": b"short"}),
        ("warrant", {"proof": bytes(EVIDENCE_BYTES_MAX + 1)}),
        ("proof", {"proof": bytes(MEMBRANE_PROOF_BYTES_MAX + 1)}),
        ("countersign", {"session": b"short"}),
    ],
)
def test_a_field_out_of_bounds_makes_no_action(kind, wrong):
    with pytest.raises(ValueError):  # noqa: PT011  each has its own words
        action(kind, **wrong)


def test_an_unknown_kind_makes_no_action():
    with pytest.raises(ValueError, match="no kind"):
        Chain().next("vote")


def test_bounds_from_inside():
    assert action("link", base=bytes(BASE_BYTES_MAX), to=bytes(BASE_BYTES_MAX))
    assert sign_action(ALICE, action("proof", proof=bytes(MEMBRANE_PROOF_BYTES_MAX)))
    whole = sign_action(ALICE, action("warrant", proof=bytes(EVIDENCE_BYTES_MAX)))
    assert len(whole.data) <= WARRANT_BYTES_MAX
    assert decode_signed(encode_signed(whole)) == whole


def test_the_greatest_action():
    room = ACTION_BYTES_MAX - len(encode(action("link", tag=bytes(1_000)))) + 1_000
    assert decode_signed(encode_signed(sign_action(ALICE, action("link", tag=bytes(room)))))
    longer = action("link", tag=bytes(room + 1))
    with pytest.raises(ValueError, match="too long"):
        sign_action(ALICE, longer)
    with pytest.raises(DecodeError, match="too long"):
        decode_action(encode(longer))
    with pytest.raises(DecodeError, match="too long"):
        decode_action(bytes(WARRANT_BYTES_MAX + 1))
    with pytest.raises(DecodeError, match="too long"):
        decode_signed(bytes(WARRANT_BYTES_MAX + 129))


def test_an_action_is_signed_by_its_author():
    signed = sign_action(ALICE, action("create"))
    assert check_signature(signed)
    assert signed.action.dna == DNA.id
    with pytest.raises(AssertionError):
        sign_action(BOB, action("create"))
    other = dataclasses.replace(signed, signature=BOB.sign(b"action", signed.data))
    assert not check_signature(other)
    another_domain = dataclasses.replace(signed, signature=ALICE.sign(b"grant", signed.data))
    assert not check_signature(another_domain)


def test_the_signature_is_no_part_of_the_hash():
    signed = sign_action(ALICE, action("create"))
    assert signed.hash == Cid.of(DAG_CBOR, signed.data) == Cid.of(DAG_CBOR, encode(signed.action))


def test_there_is_one_byte_form():
    """A default that is left out, or a field too many, is refused: it would have another hash."""
    raw = decode_plain(encode(action("create")))
    assert encode_plain(raw) == encode(action("create"))
    for name in ("tag", "target", "link_kind"):
        short = encode_plain({key: value for key, value in raw.items() if key != name})
        with pytest.raises(DecodeError, match="one byte form"):
            decode_action(short)
    with pytest.raises(DecodeError, match="no field"):
        decode_action(encode_plain({**raw, "more": 1}))
    with pytest.raises(DecodeError):
        decode_action(encode_plain({**raw, "seq": True}))
    with pytest.raises(DecodeError):
        decode_signed(encode_plain({"action": b"\0" + encode(action("create"))}))


def test_no_signature_of_another_length():
    data = encode_plain({"action": b"\0" + encode(action("create")), "signature": b"\0short"})
    with pytest.raises(DecodeError, match="64 bytes"):
        decode_signed(data)


@pytest.mark.parametrize("kind", KINDS)
def test_as_json_values_it_has_what_its_kind_has(kind):
    signed = sign_action(ALICE, action(kind))
    shown = plain(signed)
    assert json.loads(json.dumps(shown)) == shown
    must, may = KINDS[kind]
    common = {"hash", "dna", "author", "person", "seq", "prev", "time", "kind"}
    assert set(shown) == common | must | may
    assert shown["hash"] == str(signed.hash)
    assert shown["author"] == encode_base32(ALICE.public)
    assert (shown["kind"], shown["seq"]) == (kind, 3)


def test_names_of_what_is_linked():
    shown = plain(sign_action(ALICE, action("link", base=HASH.binary, to=BOB.public, tag=b"\xff!")))
    assert shown["base"] == name_of(HASH.binary) == str(HASH)
    assert shown["to"] == encode_base32(BOB.public)
    assert shown["tag"] == "\ufffd!"


def test_what_is_long_or_signed_is_not_printed():
    shown = repr(sign_action(ALICE, action("proof", proof=b"an invitation")))
    assert "invitation" not in shown


def test_the_version_is_the_one_that_is_written():
    assert action("create").v == VERSION
