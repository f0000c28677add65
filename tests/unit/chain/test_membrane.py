"""Membranes: each scheme with a valid, expired, forged, replayed, stolen and foreign proof."""

import dataclasses

import pytest

from dms3.chain.membership import (
    Invited,
    Link,
    Worked,
    cosign,
    decode_proof,
    encode_proof,
    end_us,
    invite,
    prove_seed,
    prove_work,
    work_bits,
)
from dms3.chain.membrane import (
    Immune,
    Invite,
    Member,
    Open,
    Ports,
    Seed,
    Stake,
    Who,
    Work,
    check,
    membrane_of,
    membrane_values,
    proof_end_us,
    words,
)
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ADMINS_MAX,
    CLOCK_AHEAD_US_MAX,
    INVITATION_LIFE_US_MAX,
    INVITATION_LINKS_MAX,
    INVITATION_SIGNERS_MAX,
    MEMBERSHIP_LIFE_US_MAX,
    MEMBERSHIP_WORK_BITS_MAX,
    MEMBRANE_PROOF_BYTES_MAX,
)
from dms3.core.verdict import Invalid, Valid
from unit.chain.chain_kit import key

NOW = 1_800_000_000_000_000
DAY = 86_400_000_000
HERE, ELSEWHERE = b"h" * 32, b"e" * 32
SEED, ADMIN, SECOND, THIRD = key(1), key(2), key(3), key(4)
BOB, MALLORY = key(5), key(6)
ADMINS = tuple(sorted(each.public for each in (ADMIN, SECOND, THIRD)))
WHO = Who(BOB.public)
BITS = 8


def link(to=BOB, since_us=NOW, until_us=NOW + DAY):
    return Link(to.public, since_us, until_us)


def of_two(overlay=HERE, to=BOB, since_us=NOW, until_us=NOW + DAY, signers=(ADMIN, SECOND)):
    first, *others = signers
    proof = invite(first, overlay, link(to, since_us, until_us))
    for each in others:
        proof = cosign(each, proof)
    return proof


def by_member(overlay=HERE, to=BOB, since_us=NOW, until_us=NOW + DAY, root=ADMIN):
    carol = invite(root, overlay, link(key(9), since_us, until_us))
    return invite(key(9), overlay, link(to, since_us, until_us), carol)


def by_seed(overlay=HERE, to=BOB, since_us=NOW, seed=SEED):
    return prove_seed(seed, overlay, to.public, since_us)


def by_work(overlay=HERE, to=BOB, since_us=NOW):
    return prove_work(overlay, to.public, since_us, BITS)


def lazy():
    proof = by_work()
    while work_bits(proof) >= BITS:
        proof = dataclasses.replace(proof, nonce=proof.nonce + 1)
    return proof


SCHEMES = {
    "admin": (
        Invite((ADMIN.public,)),
        lambda **given: of_two(signers=(ADMIN,), **given),
        lambda: of_two(signers=(MALLORY,)),
    ),
    "two of three": (
        Invite(ADMINS, 2),
        of_two,
        lambda: of_two(signers=(ADMIN, MALLORY)),
    ),
    "member": (Member((ADMIN.public,)), by_member, lambda: by_member(root=MALLORY)),
    "seed": (Seed(SEED.public), by_seed, lambda: by_seed(seed=MALLORY)),
    "work": (Work(BITS), by_work, lazy),
}
SCHEME = pytest.mark.parametrize("scheme", SCHEMES)


def verdict(scheme, proof, *, who=WHO, overlay=HERE, at_us=NOW):
    data = proof if isinstance(proof, bytes) else encode_proof(proof)
    return check(SCHEMES[scheme][0], overlay, who, data, at_us)


def broken(scheme, proof, *, who=WHO, overlay=HERE, at_us=NOW):
    found = verdict(scheme, proof, who=who, overlay=overlay, at_us=at_us)
    assert isinstance(found, Invalid)
    return found.rule


@SCHEME
def test_a_proof_opens_its_overlay_to_its_member(scheme):
    proof = SCHEMES[scheme][1]()
    assert verdict(scheme, proof) == Valid()
    assert verdict(scheme, proof, who=Who(b"r" * 32, BOB.public)) == Valid()  # of one device
    assert decode_proof(encode_proof(proof)) == proof
    assert proof_end_us(encode_proof(proof)) == end_us(proof)
    assert len(encode_proof(proof)) <= MEMBRANE_PROOF_BYTES_MAX


@SCHEME
def test_it_opens_nothing_to_anybody_else_and_nothing_elsewhere(scheme):
    _, make, forge = SCHEMES[scheme]
    assert broken(scheme, b"") == "membrane-missing"
    assert broken(scheme, b"not a proof") == "membrane-form"
    assert broken(scheme, make(), who=Who(MALLORY.public)) == "membrane-member"
    assert broken(scheme, make(), overlay=ELSEWHERE) == "membrane-overlay"
    assert broken(scheme, make(overlay=ELSEWHERE)) == "membrane-overlay"
    forged = {"work": "membrane-work", "member": "membrane-chain"}
    assert broken(scheme, forge()) == forged.get(scheme, "membrane-admin")


@SCHEME
def test_it_holds_from_its_first_to_its_last_instant(scheme):
    proof = SCHEMES[scheme][1]()
    last = end_us(proof)
    assert verdict(scheme, proof, at_us=last - 1) == Valid()
    assert broken(scheme, proof, at_us=last) == "membrane-expired"
    assert verdict(scheme, proof, at_us=NOW - CLOCK_AHEAD_US_MAX) == Valid()
    assert broken(scheme, proof, at_us=NOW - CLOCK_AHEAD_US_MAX - 1) == "membrane-early"


@SCHEME
def test_what_was_said_of_one_is_not_made_another_s_or_made_to_last(scheme):
    """A proof that was seen and is shown again with another member, overlay or date."""
    proof = SCHEMES[scheme][1]()
    if isinstance(proof, Worked):
        stolen = dataclasses.replace(proof, to=MALLORY.public)
        late = dataclasses.replace(proof, since_us=NOW + 1)
        moved = dataclasses.replace(proof, overlay=ELSEWHERE)
        assert work_bits(late) < BITS  # by this seed of a hash: one in 256 would do
        wrong = "membrane-work"
    else:
        *before, last = proof.links
        stolen = of_links(proof, (*before, dataclasses.replace(last, to=MALLORY.public)))
        late = of_links(proof, (*before, dataclasses.replace(last, until_us=last.until_us - 1)))
        moved = dataclasses.replace(proof, overlay=ELSEWHERE)
        wrong = "membrane-signature"
    assert broken(scheme, stolen, who=Who(MALLORY.public)) == wrong
    assert broken(scheme, late) == wrong
    assert broken(scheme, moved, overlay=ELSEWHERE) == wrong


def of_links(proof, links):
    return dataclasses.replace(proof, links=links)


@SCHEME
def test_a_flipped_byte_never_opens_anything(scheme):
    data = encode_proof(SCHEMES[scheme][1]())
    for at in range(0, len(data), 11):
        changed = bytearray(data)
        changed[at] ^= 1
        assert isinstance(verdict(scheme, bytes(changed)), Invalid)


def test_admins_are_in_by_being_named_and_one_of_two_is_too_few():
    assert check(Invite(ADMINS, 2), HERE, Who(ADMIN.public), b"", NOW) == Valid()
    assert check(Member((ADMIN.public,)), HERE, Who(ADMIN.public), b"", NOW) == Valid()
    assert broken("two of three", of_two(signers=(ADMIN,))) == "membrane-needed"
    twice = cosign(ADMIN, of_two(signers=(ADMIN,)))
    assert broken("two of three", twice) == "membrane-needed"
    assert verdict("two of three", of_two(signers=(ADMIN, SECOND, THIRD))) == Valid()


def test_who_was_invited_by_an_admin_invites_nobody_where_admins_do():
    assert broken("admin", by_member()) == "membrane-chain"
    assert broken("seed", of_two(signers=(ADMIN,))) == "membrane-scheme"
    assert broken("admin", by_seed()) == "membrane-scheme"


def test_a_member_s_invitation_ends_with_that_of_who_invited_them():
    carol = invite(ADMIN, HERE, link(key(9), until_us=NOW + DAY))
    proof = invite(key(9), HERE, link(until_us=NOW + 9 * DAY), carol)
    assert end_us(proof) == NOW + DAY
    assert broken("member", proof, at_us=NOW + DAY) == "membrane-expired"
    other = invite(key(8), HERE, link(), carol)  # who was not invited
    assert broken("member", other) == "membrane-chain"


def test_chains_and_signers_have_an_end():
    keys = [key(number) for number in range(20, 20 + INVITATION_LINKS_MAX + 1)]
    proof, by = None, ADMIN
    for each in keys[:INVITATION_LINKS_MAX]:
        proof = invite(by, HERE, link(each), proof)
        by = each
    who = Who(by.public)
    assert check(Member((ADMIN.public,)), HERE, who, encode_proof(proof), NOW) == Valid()
    with pytest.raises(ValueError, match="links"):
        invite(by, HERE, link(keys[-1]), proof)
    many = tuple(sorted(key(number).public for number in range(40, 40 + INVITATION_SIGNERS_MAX)))
    signers = [key(number) for number in range(40, 40 + INVITATION_SIGNERS_MAX)]
    largest = of_two(signers=signers)
    data = encode_proof(largest)
    assert check(Invite(many, INVITATION_SIGNERS_MAX), HERE, WHO, data, NOW) == Valid()
    with pytest.raises(ValueError, match="signers"):
        cosign(ADMIN, largest)
    assert len(data) <= MEMBRANE_PROOF_BYTES_MAX


def test_proofs_last_no_longer_than_they_may():
    assert invite(ADMIN, HERE, link(until_us=NOW + INVITATION_LIFE_US_MAX))
    with pytest.raises(ValueError, match="too long"):
        invite(ADMIN, HERE, link(until_us=NOW + INVITATION_LIFE_US_MAX + 1))
    seeded = by_seed()
    with pytest.raises(ValueError, match="too long"):
        of_links(
            seeded,
            (dataclasses.replace(seeded.links[0], until_us=NOW + MEMBERSHIP_LIFE_US_MAX + 1),),
        )


def test_the_immune_system_counts_warrants():
    asked = []

    def against(count):
        def warrants(apps, who, by):
            asked.append((apps, who, by))
            return count

        return check(Immune(ADMINS, 2, apps), HERE, WHO, b"", NOW, Ports(warrants))

    apps: tuple[bytes, ...] = ()
    assert check(Immune(ADMINS, 2), HERE, WHO, b"", NOW) == Valid()
    assert against(1) == Valid()
    assert against(2).rule == "membrane-warranted"
    assert asked == [((HERE,), WHO, ADMINS)] * 2, "an app heeds its own warrants"
    apps = (b"a" * 32,)
    assert against(1) == Valid()
    assert asked[-1] == (apps, WHO, ADMINS), "a network those of the apps that it names"
    assert check(Open(), HERE, WHO, b"whatever", NOW) == Valid()


def test_stake_is_what_a_ledger_says_by_the_proof():
    asked = []

    def staked(locked):
        def stake(overlay, who, proof):
            asked.append((overlay, who, proof))
            return locked

        return check(Stake(5), HERE, WHO, b"block", NOW, Ports(stake=stake))

    refused = check(Stake(5), HERE, WHO, b"block", NOW)
    assert refused == Invalid("membrane-stake", "stake needs the ledger")
    assert staked(5) == Valid()
    assert staked(4) == Invalid("membrane-stake", "4 of 5 are at stake")
    assert staked(None) == refused
    assert asked == [(HERE, WHO, b"block")] * 3


FORMS = [
    "open",
    "friends of the river",
    {"scheme": "seed", "key": SEED.public.hex()},
    {"scheme": "invite", "by": [each.hex() for each in ADMINS], "needed": 2},
    {"scheme": "member", "by": [ADMIN.public.hex()]},
    {"scheme": "work", "bits": 20},
    {"scheme": "immune", "by": [each.hex() for each in ADMINS], "needed": 3},
    {"scheme": "immune", "by": [ADMIN.public.hex()], "needed": 1, "apps": ["ab" * 32]},
    {"scheme": "stake", "amount": 1},
]


@pytest.mark.parametrize("values", FORMS, ids=str)
def test_a_membrane_has_one_form(values):
    membrane = membrane_of(values)
    assert membrane_values(membrane) == values
    assert words(membrane)


@pytest.mark.parametrize(
    "values",
    [
        None,
        7,
        [],
        {},
        {"scheme": "magic"},
        {"scheme": ["seed"]},
        {"scheme": "open"},
        {"scheme": "seed"},
        {"scheme": "seed", "key": "00"},
        {"scheme": "seed", "key": SEED.public.hex().upper()},
        {"scheme": "seed", "key": SEED.public.hex(), "more": 1},
        {"scheme": "work", "bits": 0},
        {"scheme": "work", "bits": MEMBERSHIP_WORK_BITS_MAX + 1},
        {"scheme": "work", "bits": True},
        {"scheme": "invite", "by": [], "needed": 1},
        {"scheme": "immune", "by": [ADMIN.public.hex()], "needed": 1, "apps": []},
        {"scheme": "immune", "by": [ADMIN.public.hex()], "needed": 1, "apps": ["ab"]},
        {"scheme": "immune", "by": [ADMIN.public.hex()], "needed": 1, "apps": ["ab" * 32] * 2},
        {"scheme": "immune", "by": [ADMIN.public.hex()], "needed": 1, "apps": 7},
        {"scheme": "invite", "by": [ADMIN.public.hex()], "needed": 0},
        {"scheme": "invite", "by": [ADMIN.public.hex()], "needed": 2},
        {"scheme": "invite", "by": [each.hex() for each in reversed(ADMINS)], "needed": 1},
        {"scheme": "member", "by": [ADMIN.public.hex()] * 2},
        {"scheme": "member", "by": ADMIN.public.hex()},
        {"scheme": "stake", "amount": 0},
    ],
    ids=str,
)
def test_what_is_no_membrane_is_refused(values):
    with pytest.raises(ValueError, match=r"\w"):
        membrane_of(values)


def test_a_membrane_names_so_many_keys():
    keys = sorted(key(number).public for number in range(60, 60 + ADMINS_MAX + 1))
    assert Member(tuple(keys[:ADMINS_MAX]))
    with pytest.raises(ValueError, match="keys"):
        Member(tuple(keys))


def test_a_proof_has_one_form_and_an_end():
    with pytest.raises(DecodeError, match="too long"):
        decode_proof(b"\0" * (MEMBRANE_PROOF_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="links"):
        Invited("seed", HERE, (by_seed().links[0],) * 2)
    with pytest.raises(ValueError, match="sorted"):
        dataclasses.replace(link(), signed=tuple(reversed(of_two().links[0].signed)))
    assert proof_end_us(b"") is None
    assert proof_end_us(b"\0") is None
