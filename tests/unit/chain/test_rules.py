"""The rules of the system: each has its broken action, and what is missing is no crime."""

import dataclasses
from itertools import product

import pytest

from dms3.chain.action import check_signature, encode_signed, sign_action
from dms3.chain.agent import revoke_agent
from dms3.chain.entry import make_entry
from dms3.chain.operations_validation import Record
from dms3.chain.rules import RULES, check_action, is_ahead, needed
from dms3.chain.session import decode_preflight
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.limits import CLOCK_AHEAD_US_MAX, ENTRY_BYTES_MAX, TAG_BYTES_MAX
from dms3.core.verdict import Invalid, Unresolved, Valid, Verdict
from unit.chain import chain_kit
from unit.chain.chain_kit import (
    ALICE,
    ALICE_NEXT,
    ALICE_PHONE,
    ALICE_ROOT,
    BOB,
    BOB_ROOT,
    DNA,
    OTHER_DNA,
    T0,
    Chain,
    acceptance,
    certificate,
    countersigned,
    preflight,
)

ENTRY, DATA = make_entry({"text": "I was here"})
SIGNATURE = {"entry": ENTRY, "entry_kind": "signature"}
OTHER = make_entry({"text": "another"})


def signed_by(key, action, data=None):
    """The action under the signature of somebody else than its author."""
    own = sign_action(ALICE, action)
    return Record(dataclasses.replace(own, signature=key.sign(b"action", own.data)), data)


def state(chain: Chain, kind: str, **fields: object) -> Verdict:
    return chain.judge(chain.draft(kind, **fields))


def breaks_signature(chain):
    return chain.judge(signed_by(BOB, chain.next("create", **SIGNATURE), DATA))


def breaks_dna(chain):
    return state(chain, "create", data=DATA, dna=OTHER_DNA.id, **SIGNATURE)


def breaks_genesis(chain):
    del chain
    return state(Chain(), "create", data=DATA, **SIGNATURE)


def breaks_certificate(chain):
    return state(chain, "agent", certificate=certificate(ALICE_NEXT, BOB_ROOT))


def breaks_revocation(chain):
    theirs = revoke_agent(BOB_ROOT, certificate(BOB, BOB_ROOT), 3, T0)
    return state(chain, "agent", revocation=theirs)


def breaks_entry_size(chain):
    return state(chain, "create", data=bytes(ENTRY_BYTES_MAX + 1), **SIGNATURE)


def breaks_entry_hash(chain):
    return state(chain, "create", data=OTHER[1], **SIGNATURE)


def breaks_entry_form(chain):
    data = b"no entry"
    return state(chain, "create", data=data, entry=Cid.of(DAG_CBOR, data), entry_kind="signature")


def breaks_entry_kind(chain):
    return state(chain, "create", data=DATA, entry=ENTRY, entry_kind="unheard")


def breaks_membrane(chain):
    return state(chain, "create", data=DATA, proof=b"invited", **SIGNATURE)


def breaks_visibility(chain):
    return state(chain, "create", data=DATA, entry=ENTRY, entry_kind="diary")


def breaks_link_kind(chain):
    return state(chain, "link", base=b"b", to=b"t", link_kind="unheard")


def breaks_tag_size(chain):
    return state(chain, "link", base=b"b", to=b"t", link_kind="by", tag=bytes(TAG_BYTES_MAX + 1))


def breaks_warrant(chain):
    return state(chain, "warrant", to=BOB.public, proof=b"he did it")


def breaks_close(chain):
    return state(chain, "close", other_dna=DNA.id, to=ALICE.public)


def breaks_open(chain):
    return state(chain, "open", other_dna=OTHER_DNA.id, target=ENTRY, proof=b"I was there")


def breaks_countersign(chain):
    asked = preflight()
    entry, data = countersigned(asked, [acceptance(chain, decode_preflight(asked).id)])
    fields = {"entry": entry, "entry_kind": "contract", "session": decode_preflight(asked).id}
    return state(chain, "countersign", data=data, **fields)


def breaks_previous(chain):
    other = Chain.begun(dna=OTHER_DNA)
    record = chain.draft("create", DATA, prev=other.head.hash, **SIGNATURE)
    chain.records.append(other.records[-1])
    return chain.judge(record)


def breaks_sequence(chain):
    return state(chain, "create", data=DATA, seq=4, **SIGNATURE)


def breaks_author(chain):
    record = Chain.begun(ALICE_PHONE).draft("create", DATA, prev=chain.head.hash, **SIGNATURE)
    return chain.judge(record)


def breaks_time(chain):
    before = chain.head.action.time_us - 1
    return state(chain, "create", data=DATA, time_us=before, **SIGNATURE)


def breaks_closed(chain):
    chain.add("close", other_dna=OTHER_DNA.id, to=ALICE.public)
    return state(chain, "create", data=DATA, **SIGNATURE)


def breaks_update_target(chain):
    target = chain.create({"text": "first"}).signed
    fields = {"target": target.hash, "target_entry": target.action.entry}
    return state(chain, "update", data=DATA, entry=ENTRY, entry_kind="wiki", **fields)


def breaks_delete_target(chain):
    target = chain.create({"text": "first"}).signed
    return state(chain, "delete", target=target.hash, target_entry=OTHER[0])


def breaks_unlink_target(chain):
    target = chain.add("link", base=b"base", to=b"t", link_kind="by").signed
    return state(chain, "unlink", base=b"else", target=target.hash)


def breaks_permission(chain):
    theirs = Chain.begun(BOB, BOB_ROOT).create({"text": "mine"}).signed
    record = chain.draft("delete", target=theirs.hash, target_entry=theirs.action.entry)
    return chain.judge(record, {theirs.hash: theirs})


def breaks_update_membrane(chain):
    del chain
    only_bob = {"scheme": "invite", "by": [BOB_ROOT.public.hex()], "needed": 1}
    dna = dataclasses.replace(DNA, membrane={"outer": "open", "inner": {"wiki": only_bob}})
    theirs = Chain.begun(BOB, BOB_ROOT, dna).create({"text": "mine"}, "wiki").signed
    mine = Chain.begun(dna=dna)
    fields = {"target": theirs.hash, "target_entry": theirs.action.entry}
    record = mine.draft("update", DATA, entry=ENTRY, entry_kind="wiki", **fields)
    return mine.judge(record, {theirs.hash: theirs})


BROKEN = {
    name.removeprefix("breaks_").replace("_", "-"): each
    for name, each in list(globals().items())
    if name.startswith("breaks_")
}


def test_every_rule_has_its_broken_action():
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_broken_action_is_refused_by_its_rule(rule):
    verdict = BROKEN[rule](Chain.begun())
    assert isinstance(verdict, Invalid), verdict
    assert verdict.rule == rule
    assert verdict.line == 0
    assert verdict.detail
    assert not verdict.detail.endswith(".")


# The other side: what keeps the rules


def rotated():
    chain = Chain.begun()
    chain.add("agent", certificate=certificate(ALICE_NEXT, ALICE_ROOT, generation=1))
    chain.signing = ALICE_NEXT
    return chain, chain.draft("create", DATA, **SIGNATURE)


def from_another_app():
    old = Chain.begun(ALICE_PHONE, dna=OTHER_DNA)
    moved, data = make_entry({"points": 5})
    closed = old.add("close", data, other_dna=DNA.id, to=ALICE.public, entry=moved)
    chain = Chain.begun()
    fields = {"target": closed.signed.hash, "proof": encode_signed(closed.signed), "entry": moved}
    return chain, chain.draft("open", data, other_dna=OTHER_DNA.id, **fields)


def test_the_beginning_of_a_chain_is_valid():
    whole, chain = Chain.begun(), Chain()
    for record in whole.records:
        assert chain.judge(record) == Valid()
        chain.records.append(record)


@pytest.mark.parametrize("kind", ["create", "update", "delete", "link", "unlink", "close"])
def test_what_keeps_the_rules_is_valid(kind):
    chain = Chain.begun()
    made = chain.create({"text": "first"}).signed
    link = chain.add("link", base=made.hash.binary, to=ALICE.public, link_kind="by").signed
    about = {"target": made.hash, "target_entry": made.action.entry}
    fields = {
        "create": SIGNATURE,
        "update": SIGNATURE | about,
        "delete": about,
        "link": {"base": b"b", "to": b"t", "link_kind": "by", "tag": bytes(TAG_BYTES_MAX)},
        "unlink": {"base": made.hash.binary, "target": link.hash},
        "close": {"other_dna": OTHER_DNA.id, "to": ALICE_NEXT.public},
    }[kind]
    data = DATA if kind in ("create", "update") else None
    assert chain.judge(chain.draft(kind, data, **fields)) == Valid()


def test_a_private_entry_is_valid_with_and_without_its_bytes():
    chain = Chain.begun()
    record, _ = chain.create_private({"text": "dear diary"})
    chain.records.pop()
    assert chain.judge(record) == Valid()
    assert chain.judge(Record(record.signed)) == Valid()


def test_a_private_entry_without_salt_and_a_public_one_with_it_are_refused():
    chain = Chain.begun()
    fields = {"entry": ENTRY, "entry_kind": "diary", "private": True}
    assert chain.judge(chain.draft("create", DATA, **fields)).rule == "visibility"
    entry, data = make_entry({"text": "x"}, b"s" * 16)
    fields = {"entry": entry, "entry_kind": "signature"}
    assert chain.judge(chain.draft("create", data, **fields)).rule == "visibility"
    fields = {"entry": ENTRY, "entry_kind": "signature", "private": True}
    assert chain.judge(Record(chain.draft("create", **fields).signed)).rule == "visibility"


def test_the_next_key_writes_when_a_certificate_says_so():
    chain, record = rotated()
    assert check_action(chain.records[-1], DNA, chain.records[-2].signed, {}) == Valid()
    assert chain.judge(record) == Valid()


def test_the_old_key_writes_no_more_after_a_rotation():
    chain, _ = rotated()
    chain.signing = ALICE
    assert chain.judge(chain.draft("create", DATA, **SIGNATURE)).rule == "author"


def test_a_chain_does_not_go_over_to_another_person():
    chain = Chain.begun()
    chain.root = BOB_ROOT
    assert chain.judge(chain.draft("create", DATA, **SIGNATURE)).rule == "author"


@pytest.mark.parametrize(
    "made",
    [
        lambda: certificate(ALICE_NEXT, ALICE_ROOT, OTHER_DNA),  # for another app
        lambda: certificate(ALICE, ALICE_ROOT, generation=1),  # of the key in use
        lambda: certificate(ALICE_NEXT, ALICE_ROOT)[:-1] + b"!",  # signature altered
        lambda: b"certificate",
    ],
)
def test_a_certificate_that_does_not_fit_rotates_nothing(made):
    assert state(Chain.begun(), "agent", certificate=made()).rule == "certificate"


def test_the_first_certificate_is_of_the_author():
    chain = Chain()
    chain.add("dna")
    chain.add("proof")
    record = chain.draft("agent", certificate=certificate(ALICE_PHONE, ALICE_ROOT))
    assert chain.judge(record).rule == "certificate"
    theirs = revoke_agent(ALICE_ROOT, certificate(ALICE_PHONE, ALICE_ROOT), 3, T0)
    assert chain.judge(chain.draft("agent", revocation=theirs)).rule == "genesis"


@pytest.mark.parametrize("kind", ["dna", "proof"])
def test_a_chain_begins_once(kind):
    assert state(Chain.begun(), kind).rule == "genesis"


def test_nothing_follows_when_a_chain_has_taken_back_its_own_key():
    chain = Chain.begun()
    own = revoke_agent(ALICE_ROOT, chain.records[2].signed.action.certificate, 3, T0)
    record = chain.draft("agent", revocation=own)
    assert chain.judge(record) == Valid()
    chain.records.append(record)
    assert chain.judge(chain.draft("create", DATA, **SIGNATURE)).rule == "closed"


def test_a_chain_goes_on_when_it_has_taken_back_another_devices_key():
    chain = Chain.begun()
    chain.add("agent", revocation=revoke_agent(
        ALICE_ROOT, certificate(ALICE_PHONE, ALICE_ROOT), 9, T0))  # fmt: skip
    assert chain.judge(chain.draft("create", DATA, **SIGNATURE)) == Valid()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-1],
        lambda _data: b"no revocation",
    ],
)
def test_a_revocation_is_signed_by_the_root(spoil):
    data = revoke_agent(ALICE_ROOT, certificate(ALICE_PHONE, ALICE_ROOT), 9, T0)
    assert state(Chain.begun(), "agent", revocation=spoil(data)).rule == "revocation"


def test_the_greatest_entry_keeps_the_rules():
    room = (
        ENTRY_BYTES_MAX - len(make_entry("")[1]) - 4
    )  # the length of a long text takes five bytes
    entry, data = make_entry("x" * room)
    assert len(data) == ENTRY_BYTES_MAX
    chain = Chain.begun()
    assert chain.judge(chain.draft("create", data, entry=entry, entry_kind="signature")) == Valid()


def test_who_may_change_what():
    phone, bob = Chain.begun(ALICE_PHONE), Chain.begun(BOB, BOB_ROOT)
    chain = Chain.begun()
    cases = [
        (phone, "signature", Valid),  # another device of the same person
        (bob, "wiki", Valid),  # the app lets everybody
        (bob, "signature", Invalid),
    ]
    for other, kind, expected in cases:
        target = other.create({"text": kind}, kind).signed
        record = chain.draft("delete", target=target.hash, target_entry=target.action.entry)
        assert isinstance(chain.judge(record, {target.hash: target}), expected)
    for kind, expected in (("topic", Valid), ("by", Invalid)):
        target = bob.add("link", base=b"b", to=b"t", link_kind=kind).signed
        record = chain.draft("unlink", base=b"b", target=target.hash)
        assert isinstance(chain.judge(record, {target.hash: target}), expected)


def test_what_makes_no_entry_is_neither_updated_nor_deleted():
    chain = Chain.begun()
    for target in (chain.records[0].signed, Chain.begun(dna=OTHER_DNA).create({}).signed):
        about = {"target": target.hash, "target_entry": target.action.entry or ENTRY}
        known = {target.hash: target}
        delete = chain.draft("delete", **about)
        update = chain.draft("update", DATA, **SIGNATURE, **about)
        assert chain.judge(delete, known).rule == "delete-target"
        assert chain.judge(update, known).rule == "update-target"
        unlink = chain.draft("unlink", base=b"b", target=target.hash)
        assert chain.judge(unlink, known).rule == "unlink-target"


# Closing and opening


def test_a_chain_goes_on_in_another_app():
    chain, record = from_another_app()
    assert chain.judge(record) == Valid()


@pytest.mark.parametrize(
    "change",
    [
        {"target": ENTRY},
        {"other_dna": b"o" * 32},
        {"entry": OTHER[0]},
        {"author": ALICE_NEXT.public},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_closed_is_opened_as_it_was(change):
    chain, record = from_another_app()
    action = dataclasses.replace(record.signed.action, **change)
    data = OTHER[1] if "entry" in change else record.entry
    signer = ALICE_NEXT if "author" in change else ALICE
    assert chain.judge(Record(sign_action(signer, action), data)).rule == "open"


def test_another_kind_of_action_opens_nothing():
    chain, record = from_another_app()
    other = Chain.begun(ALICE_PHONE, dna=OTHER_DNA).head
    fields = {"target": other.hash, "proof": encode_signed(other), "entry": None}
    action = dataclasses.replace(record.signed.action, **fields)
    assert chain.judge(Record(sign_action(ALICE, action))).rule == "open"


def test_a_close_action_that_nobody_signed_opens_nothing():
    chain, record = from_another_app()
    proof = record.signed.action.proof
    spoilt = proof[:-1] + bytes([proof[-1] ^ 1])
    action = dataclasses.replace(record.signed.action, proof=spoilt)
    assert chain.judge(Record(sign_action(ALICE, action), record.entry)).rule == "open"


# What is missing


def test_what_is_missing_is_named_and_nobody_is_blamed():
    chain = Chain.begun()
    target = chain.create({"text": "first"}).signed
    prev = chain.create({"text": "second"}).signed
    about = {"target": target.hash, "target_entry": target.action.entry}
    signed = chain.draft("update", **SIGNATURE, **about).signed
    assert needed(Record(signed)) == (prev.hash, target.hash, ENTRY)
    assert needed(Record(signed, DATA)) == (prev.hash, target.hash)
    both = {prev.hash: prev, target.hash: target}
    for previous, known, data, missing in (
        (None, {}, None, (prev.hash, target.hash, ENTRY)),
        (prev, {}, DATA, (target.hash,)),
        (None, {target.hash: target}, DATA, (prev.hash,)),
        (prev, {target.hash: target}, None, (ENTRY,)),
    ):
        verdict = check_action(Record(signed, data), DNA, previous, known)
        assert verdict == Unresolved(tuple(each.binary for each in missing))
    assert check_action(Record(signed, DATA), DNA, None, both) == Valid()


def test_what_is_changed_may_be_the_action_before():
    chain = Chain.begun()
    target = chain.create({"text": "first"}).signed
    about = {"target": target.hash, "target_entry": OTHER[0]}
    record = chain.draft("delete", **about)
    assert needed(record) == (target.hash,)
    for previous, known in ((target, {}), (None, {target.hash: target})):
        assert check_action(record, DNA, previous, known).rule == "delete-target"
    late = dataclasses.replace(record.signed.action, time_us=T0)
    assert check_action(Record(sign_action(ALICE, late)), DNA, None,
                        {target.hash: target}).rule == "time"  # fmt: skip


def test_another_action_in_place_of_the_one_before_says_nothing():
    chain, other = Chain.begun(), Chain.begun(BOB, BOB_ROOT)
    record = chain.draft("create", DATA, **SIGNATURE)
    assert check_action(record, DNA, other.head, {}) == Unresolved((chain.head.hash.binary,))


@pytest.mark.parametrize("rule", RULES)
def test_less_at_hand_gives_no_other_verdict(rule, monkeypatch):
    seen = []

    def keep(record, dna, previous, known):
        seen.append((record, dna, previous, known))
        return check_action(record, dna, previous, known)

    monkeypatch.setattr(chain_kit, "check_action", keep)
    BROKEN[rule](Chain.begun())
    ((record, dna, previous, known),) = seen
    for before, others, data in product((previous, None), (known, {}), (record.entry, None)):
        verdict = check_action(Record(record.signed, data), dna, before, others)
        assert isinstance(verdict, Unresolved) or verdict.rule == rule


def test_an_action_from_the_future_is_parked_not_judged():
    action = Chain.begun().head.action
    assert not is_ahead(action, action.time_us - CLOCK_AHEAD_US_MAX)
    assert is_ahead(action, action.time_us - CLOCK_AHEAD_US_MAX - 1)


def test_the_kit_signs_what_it_says():
    assert all(check_signature(record.signed) for record in Chain.begun().records)
