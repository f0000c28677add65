"""Ops: which an action has, where they lie, what they carry, and that nobody can exchange it."""

import dataclasses
import hashlib

import pytest

from dms3.chain.agent import revoke_agent
from dms3.chain.entry import make_entry
from dms3.chain.ops import (
    KINDS,
    WITH_ENTRY,
    bases_of,
    decode_op,
    encode_op,
    op_id,
    op_id_of,
    ops_of,
)
from dms3.core.errors import DecodeError
from dms3.core.limits import OPS_PER_ACTION_MAX
from unit.chain.chain_kit import (
    ALICE,
    ALICE_NEXT,
    ALICE_PHONE,
    ALICE_ROOT,
    BOB,
    OTHER_DNA,
    T0,
    Chain,
    certificate,
)


def whole_chain():
    """One record of every kind of action; the private one with its sealed entry."""
    chain = Chain.begun()
    made = chain.create({"text": "first"}).signed
    entry, data = make_entry({"text": "second"})
    about = {"target": made.hash, "target_entry": made.action.entry}
    chain.add("update", data, entry=entry, entry_kind="signature", **about)
    chain.add("delete", **about)
    link = chain.add("link", base=made.action.entry.binary, to=BOB.public, link_kind="by").signed
    chain.add("unlink", base=made.action.entry.binary, target=link.hash)
    fields = {"other_dna": OTHER_DNA.id, "target": made.hash, "proof": b"signed close action"}
    chain.add("open", **fields)
    chain.add("countersign", data, entry=entry, entry_kind="contract", session=b"s" * 32)
    chain.add("warrant", to=BOB.public, proof=b"evidence")
    chain.add("agent", certificate=certificate(ALICE_NEXT, ALICE_ROOT, generation=1))
    chain.add("agent", revocation=revoke_agent(
        ALICE_ROOT, certificate(ALICE_PHONE, ALICE_ROOT), 3, T0))  # fmt: skip
    chain.add("close", data, other_dna=OTHER_DNA.id, to=ALICE.public, entry=entry)
    return chain


CHAIN = whole_chain()
PRIVATE, SEALED = Chain.begun().create_private({"text": "dear diary"})


def ops(record, sealed=None):
    return ops_of(record.signed, record.entry, sealed)


def test_where_each_op_lies():
    found = {}
    for record in CHAIN.records:
        found.setdefault(record.signed.action.kind, bases_of(record.signed))
    made, link = CHAIN.records[3].signed, CHAIN.records[6].signed
    entry = made.action.entry.binary
    author, root = ALICE.public, ALICE_ROOT.public
    rest = {
        "dna": (("activity", author),),
        "proof": (("activity", author),),
        "agent": (("activity", author), ("agent", root)),
        "create": (("entry", entry), ("activity", author)),
        "delete": (("activity", author), ("delete", entry), ("delete", made.hash.binary)),
        "link": (("activity", author), ("link", entry)),
        "unlink": (("activity", author), ("unlink", entry), ("unlink", link.hash.binary)),
        "open": (("activity", author),),
        "warrant": (("activity", author), ("warrant", BOB.public)),
    }
    for kind, expected in rest.items():
        assert found[kind][1:] == expected, kind
    new = CHAIN.records[4].signed
    assert found["update"][1:] == (
        ("entry", new.action.entry.binary),
        ("activity", author),
        ("update", entry),
        ("update", made.hash.binary),
    )
    for kind in ("countersign", "close"):
        assert [op[0] for op in found[kind]] == ["record", "entry", "activity"]
    firsts = {record.signed.action.kind: record.signed for record in reversed(CHAIN.records)}
    assert all(found[kind][0] == ("record", firsts[kind].hash.binary) for kind in found)


def test_holders_of_another_key_hear_of_its_certificate_and_its_end():
    rotated, revoked = CHAIN.records[11].signed, CHAIN.records[12].signed
    assert bases_of(rotated)[-1] == ("activity", ALICE_NEXT.public)
    assert bases_of(revoked)[-1] == ("activity", ALICE_PHONE.public)


def test_an_action_whose_certificate_cannot_be_read_has_its_other_ops():
    chain = Chain.begun()
    record = chain.draft("agent", certificate=b"no certificate")
    assert [kind for kind, _ in bases_of(record.signed)] == ["record", "activity", "agent"]


def test_every_kind_of_op_occurs_and_the_bound_holds():
    found = [bases_of(record.signed) for record in CHAIN.records]
    assert {kind for each in found for kind, _ in each} == set(KINDS)
    assert max(map(len, found)) < OPS_PER_ACTION_MAX
    assert all(len(set(each)) == len(each) for each in found)


def test_a_link_that_is_unlinked_at_its_own_hash_has_one_op_there():
    chain = Chain.begun()
    link = chain.add("link", base=b"b", to=b"t", link_kind="by").signed
    record = chain.draft("unlink", base=link.hash.binary, target=link.hash)
    assert [kind for kind, _ in bases_of(record.signed)] == ["record", "activity", "unlink"]


@pytest.mark.parametrize("place", range(len(CHAIN.records)))
def test_ops_come_back_with_what_they_need(place):
    record = CHAIN.records[place]
    for op in ops(record):
        assert decode_op(encode_op(op)) == op
        assert op.location == hashlib.sha256(op.basis).digest()
        assert op.entry == (record.entry if op.kind in WITH_ENTRY else None)
        assert op.sealed is None


def test_a_private_entry_is_in_no_op():
    found = ops(PRIVATE, SEALED)
    assert [op.kind for op in found] == ["record", "activity"]
    assert [op.sealed for op in found] == [SEALED, None]
    for op in found:
        data = encode_op(op)
        assert PRIVATE.entry not in data
        assert b"diary\x00" not in data
        assert b"dear diary" not in data
        assert decode_op(data) == op


def test_no_two_ops_have_one_name():
    every = [op for record in CHAIN.records for op in ops(record)]
    names = [op_id(op) for op in every]
    assert len(set(names)) == len(names)
    assert all(len(name) == 32 for name in names)
    assert op_id_of(every[0].kind, every[0].basis, every[0].signed) == names[0]


RECORD, ENTRY, ACTIVITY = ops(CHAIN.records[3])
OTHER = CHAIN.records[4].entry


@pytest.mark.parametrize(
    "wrong",
    [
        dataclasses.replace(RECORD, kind="warrant"),
        dataclasses.replace(RECORD, kind="unheard"),
        dataclasses.replace(RECORD, basis=b"elsewhere"),
        dataclasses.replace(RECORD, basis=ALICE.public),
        dataclasses.replace(RECORD, entry=None),
        dataclasses.replace(RECORD, entry=OTHER),
        dataclasses.replace(RECORD, sealed=SEALED),
        dataclasses.replace(ENTRY, entry=None),
        dataclasses.replace(ACTIVITY, entry=RECORD.entry),
        dataclasses.replace(ops(PRIVATE, SEALED)[0], sealed=None),
        dataclasses.replace(ops(PRIVATE, SEALED)[0], sealed=SEALED + b"x"),
        dataclasses.replace(ops(PRIVATE, SEALED)[0], entry=PRIVATE.entry),
        dataclasses.replace(ops(PRIVATE, SEALED)[1], entry=PRIVATE.entry),
        dataclasses.replace(ops(PRIVATE, SEALED)[1], sealed=SEALED),
    ],
    ids=range(14),
)
def test_an_op_is_what_its_action_says(wrong):
    with pytest.raises(DecodeError):
        decode_op(encode_op(wrong))
