"""Membranes of an app: the outer one at action 1, inner ones at each entry of their kind."""

import dataclasses

import pytest

from dms3.chain.dna import Dna, EntryKind, decode_dna, encode_dna
from dms3.chain.entry import make_entry
from dms3.chain.membership import Link, encode_proof, invite
from dms3.chain.membrane import Immune, Invite, Open, gates_of
from dms3.chain.rules import check_action
from dms3.core.errors import DecodeError
from dms3.core.verdict import Invalid, Valid
from unit.chain.chain_kit import ALICE, ALICE_ROOT, BOB, BOB_ROOT, T0, Chain, certificate, key

ADMIN = key(9)
DAY = 86_400_000_000
ONE = {"by": [ADMIN.public.hex()], "needed": 1}
BY = {"scheme": "invite", **ONE}
CLUB = Dna(name="club", entries=(EntryKind("line"),), membrane=BY)
NEWS = Dna(
    name="news",
    entries=(EntryKind("line"), EntryKind("notice")),
    membrane={"outer": "open", "inner": {"notice": BY}},
)
WIKI = Dna(
    name="wiki",
    entries=(EntryKind("line", by_anyone=True), EntryKind("page", by_anyone=True)),
    membrane={"outer": "open", "inner": {"page": BY}},
)
ENTRY, DATA = make_entry({"text": "I was here"})


def invitation(dna=CLUB, to=ALICE_ROOT, by=ADMIN, until_us=T0 + DAY):
    return encode_proof(invite(by, dna.id, Link(to.public, T0, until_us)))


def second(dna, proof, *, signing=ALICE, root=ALICE_ROOT, time_us=T0 + 1):
    """The verdict on action 1 with this proof."""
    chain = Chain(signing, root, dna)
    chain.add("dna")
    return chain.judge(chain.draft("proof", proof=proof, time_us=time_us))


def begun(dna, signing=ALICE, root=ALICE_ROOT):
    chain = Chain(signing, root, dna)
    chain.add("dna")
    chain.add("proof", proof=b"")
    chain.add("agent", certificate=certificate(signing, root, dna))
    return chain


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        (b"", "membrane-missing"),
        (b"let me in", "membrane-form"),
        (invitation(to=BOB_ROOT), "membrane-member"),
        (invitation(by=BOB), "membrane-admin"),
        (invitation(dna=NEWS), "membrane-overlay"),
        (invitation(until_us=T0 + 1), "membrane-expired"),
    ],
)
def test_who_shows_no_invitation_begins_no_chain(proof, said):
    verdict = second(CLUB, proof)
    assert isinstance(verdict, Invalid)
    assert verdict.rule == "membrane"
    assert said in verdict.detail


def test_an_invitation_is_for_a_person_or_one_device():
    assert second(CLUB, invitation()) == Valid()
    assert second(CLUB, invitation(to=ALICE)) == Valid()
    assert second(CLUB, b"", signing=BOB, root=ADMIN) == Valid()  # named as admin


def test_an_action_is_judged_by_its_own_time():
    proof = invitation(until_us=T0 + 5)
    assert second(CLUB, proof, time_us=T0 + 4) == Valid()
    assert isinstance(second(CLUB, proof, time_us=T0 + 5), Invalid)


def test_entries_of_one_kind_ask_for_more_than_being_in():
    chain = begun(NEWS)
    assert chain.judge(chain.draft("create", DATA, entry=ENTRY, entry_kind="line")) == Valid()
    notice = {"entry": ENTRY, "entry_kind": "notice"}
    refused = chain.judge(chain.draft("create", DATA, **notice))
    assert isinstance(refused, Invalid)
    assert "membrane-missing" in refused.detail
    assert chain.judge(chain.draft("create", DATA, proof=invitation(NEWS), **notice)) == Valid()
    stolen = chain.judge(chain.draft("create", DATA, proof=invitation(NEWS, BOB_ROOT), **notice))
    assert isinstance(stolen, Invalid)
    admin = begun(NEWS, BOB, ADMIN)
    assert admin.judge(admin.draft("create", DATA, **notice)) == Valid()


def changed(by, target, kind, proof=b""):
    """The verdict on what `by` makes of an entry of somebody, whose kind anybody may change."""
    fields = {"target": target.hash, "target_entry": ENTRY, "entry": ENTRY, "entry_kind": kind}
    record = by.draft("update", DATA, proof=proof, **fields)
    found = {each.signed.hash: each.signed for each in by.records}
    return by.judge(record, found | {target.hash: target})


def test_who_changes_an_entry_of_somebody_else_may_make_entries_of_its_kind():
    alice, bob = begun(WIKI), begun(WIKI, BOB, BOB_ROOT)
    page = {"entry": ENTRY, "entry_kind": "page"}
    made = alice.add("create", DATA, proof=invitation(WIKI), **page).signed
    refused = changed(bob, made, "page")
    assert isinstance(refused, Invalid)
    assert (refused.rule, "membrane-missing" in refused.detail) == ("update-membrane", True)
    stolen = changed(bob, made, "page", invitation(WIKI))
    assert isinstance(stolen, Invalid)
    assert "membrane-member" in stolen.detail
    assert changed(bob, made, "page", invitation(WIKI, BOB_ROOT)) == Valid()
    assert changed(begun(WIKI, BOB, ADMIN), made, "page") == Valid()
    assert changed(alice, made, "page") == Valid(), "what is hers was let in"


def test_a_change_of_a_kind_without_a_membrane_asks_for_no_proof():
    alice, bob = begun(WIKI), begun(WIKI, BOB, BOB_ROOT)
    made = alice.add("create", DATA, entry=ENTRY, entry_kind="line").signed
    assert changed(bob, made, "line") == Valid()
    refused = changed(bob, made, "line", invitation(WIKI, BOB_ROOT))
    assert isinstance(refused, Invalid)
    assert refused.rule == "membrane"


def test_membranes_are_part_of_the_dna_and_have_to_be_some():
    assert decode_dna(encode_dna(NEWS)).gates == NEWS.gates
    assert gates_of("friends") == dataclasses.replace(gates_of("open"), outer=Open("friends"))
    assert NEWS.gates.of_kind("notice") == Invite((ADMIN.public,))
    assert NEWS.gates.of_kind("line") is None
    with pytest.raises(ValueError, match="scheme"):
        Dna(name="x", membrane={"scheme": "invitation"})
    with pytest.raises(ValueError, match="its own warrants"):
        Dna(name="x", membrane={"scheme": "immune", "apps": ["ab" * 32], **ONE})
    assert Dna(name="x", membrane={"scheme": "immune", **ONE}).gates.outer == Immune(
        (ADMIN.public,), 1
    )
    with pytest.raises(ValueError, match="kind 'line'"):
        Dna(name="x", membrane={"outer": "open", "inner": {"line": BY}})
    data = encode_dna(CLUB)
    assert data.count(b"invite") == 1
    with pytest.raises(DecodeError, match="scheme"):
        decode_dna(data.replace(b"invite", b"invito"))


def test_stake_is_asked_for_of_whatever_ledger_there_is():
    dna = dataclasses.replace(CLUB, membrane={"scheme": "stake", "amount": 5})
    chain = Chain(ALICE, ALICE_ROOT, dna)
    chain.add("dna")
    record = chain.draft("proof", proof=b"block 7")
    asked = []

    def verdict(locked):
        def stake(overlay, who, proof):
            asked.append((overlay, who.root, proof))
            return locked

        return check_action(record, dna, chain.head, {}, stake)

    refused = verdict(4)
    assert isinstance(refused, Invalid)
    assert refused.detail == "4 of 5 are at stake (membrane-stake)"
    assert verdict(5) == Valid()
    assert asked == [(dna.id, ALICE_ROOT.public, b"block 7")] * 2
