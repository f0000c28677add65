"""Certificates, revocations, receipts, whereabouts, sessions: signed, bounded, one byte form."""

import dataclasses

import pytest

from dms3.chain.agent import (
    AgentPlace,
    check_agent,
    check_revocation,
    decode_agent,
    decode_revocation,
    issue_agent,
    revoke_agent,
)
from dms3.chain.entry import decode_entry
from dms3.chain.receipt import check_receipt, decode_receipt, issue_receipt
from dms3.chain.session import (
    accept_session,
    check_acceptance,
    check_preflight,
    decode_acceptance,
    decode_agreed,
    decode_preflight,
)
from dms3.chain.warrant import Evidence, decode_evidence, encode_evidence
from dms3.chain.whereabouts import (
    decode_whereabouts,
    issue_whereabouts,
    whereabouts_key,
    whereabouts_type,
)
from dms3.core.cid import RAW, Cid
from dms3.core.codec import decode_plain, encode, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.limits import (
    ACCEPTANCE_BYTES_MAX,
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    CERTIFICATE_AGENT_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    COUNTERSIGNERS_MAX,
    EVIDENCE_BYTES_MAX,
    PREFLIGHT_BYTES_MAX,
    RECEIPT_BYTES_MAX,
    REVOCATION_BYTES_MAX,
    SESSION_BYTES_MAX,
    SESSION_WINDOW_US_MAX,
    SESSION_WINDOW_US_MIN,
    WHEREABOUTS_BYTES_MAX,
    WHEREABOUTS_LIFE_US,
)
from dms3.core.verdict import Abandoned, Invalid, Valid
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SIGNATURE_BYTES
from unit.chain.chain_kit import (
    ALICE,
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
    key,
    preflight,
)

OP = b"o" * 32
PEER = PeerId(PEER_ID_PREFIX + BOB.public)
CERTIFICATE = certificate(ALICE, ALICE_ROOT)
REVOCATION = revoke_agent(ALICE_ROOT, CERTIFICATE, 7, T0)
RECEIPT = issue_receipt(BOB, DNA.id, OP, T0)
ACCEPTANCE = acceptance(Chain.begun(), decode_preflight(preflight()).id)
PLACED = issue_whereabouts(ALICE, DNA.id, PEER, ("/ip4/10.0.0.1/tcp/1",), T0)
WHERE = whereabouts_type()

SIGNED = {
    "certificate": (CERTIFICATE, decode_agent, check_agent, CERTIFICATE_AGENT_BYTES_MAX),
    "revocation": (REVOCATION, decode_revocation, check_revocation, REVOCATION_BYTES_MAX),
    "receipt": (
        RECEIPT,
        decode_receipt,
        lambda found: check_receipt(found, DNA.id, OP),
        RECEIPT_BYTES_MAX,
    ),
    "preflight": (preflight(), decode_preflight, check_preflight, PREFLIGHT_BYTES_MAX),
    "acceptance": (ACCEPTANCE, decode_acceptance, check_acceptance, ACCEPTANCE_BYTES_MAX),
    "whereabouts": (
        PLACED.value,
        decode_whereabouts,
        lambda found: isinstance(WHERE.validate(PLACED.key, encode(found), T0), Valid),
        WHEREABOUTS_BYTES_MAX,
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_what_is_signed_holds_and_nothing_of_it_can_change(name):
    data, decoder, check, limit = SIGNED[name]
    assert check(decoder(data))
    assert encode(decoder(data)) == data
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1
        try:
            found = decoder(bytes(spoilt))
        except DecodeError:
            continue
        assert not check(found), place
    with pytest.raises(DecodeError, match="too long"):
        decoder(bytes(limit + 1))


@pytest.mark.parametrize("name", SIGNED)
def test_signed_objects_have_all_their_keys_and_no_other(name):
    data, decoder, check, _ = SIGNED[name]
    raw = decode_plain(data)
    with pytest.raises(DecodeError, match="no field"):
        decoder(encode_plain({**raw, "more": 1}))
    with pytest.raises(DecodeError, match="lacks"):
        decoder(encode_plain({each: raw[each] for each in raw if each != "v"}))
    with pytest.raises(DecodeError, match="version 2"):
        decoder(encode_plain({**raw, "v": 2}))
    unsigned = encode_plain({**raw, "signature": b"\0"})
    if name == "whereabouts":  # as all content types: it is its validate that refuses
        assert not check(decoder(unsigned))
    else:
        with pytest.raises(DecodeError, match="not signed"):
            decoder(unsigned)


def test_an_agent_is_of_one_device_in_one_app():
    found = decode_agent(CERTIFICATE)
    assert (found.root, found.agent, found.dna) == (ALICE_ROOT.public, ALICE.public, DNA.id)
    with pytest.raises(ValueError, match="a device has 16 bytes"):
        issue_agent(ALICE_ROOT, AgentPlace(DNA.id, ALICE.public, b"short"), T0)
    last = AgentPlace(DNA.id, ALICE.public, b"d" * 16, (1 << 32) - 1)
    assert len(issue_agent(ALICE_ROOT, last, (1 << 64) - 1)) <= CERTIFICATE_AGENT_BYTES_MAX
    with pytest.raises(ValueError, match="generation"):
        issue_agent(ALICE_ROOT, dataclasses.replace(last, generation=1 << 32), T0)


def test_a_certificate_is_taken_back_by_its_own_root():
    assert check_revocation(decode_revocation(REVOCATION)) == decode_agent(CERTIFICATE)
    with pytest.raises(AssertionError):
        revoke_agent(BOB_ROOT, CERTIFICATE, 7, T0)
    theirs = decode_revocation(revoke_agent(BOB_ROOT, certificate(BOB, BOB_ROOT), 7, T0))
    assert check_revocation(dataclasses.replace(theirs, certificate=CERTIFICATE)) is None
    assert check_revocation(dataclasses.replace(theirs, certificate=b"none")) is None
    assert revoke_agent(ALICE_ROOT, CERTIFICATE, -1, T0)
    with pytest.raises(ValueError, match="place"):
        revoke_agent(ALICE_ROOT, CERTIFICATE, -2, T0)
    bare = decode_revocation(REVOCATION)
    assert dataclasses.replace(bare, certificate=bytes(CERTIFICATE_AGENT_BYTES_MAX))
    with pytest.raises(ValueError, match="too long"):
        dataclasses.replace(bare, certificate=bytes(CERTIFICATE_AGENT_BYTES_MAX + 1))


def test_a_receipt_is_of_one_op_in_one_overlay_by_one_peer():
    found = decode_receipt(RECEIPT)
    assert found.peer == PEER
    assert not check_receipt(found, OTHER_DNA.id, OP)
    assert not check_receipt(found, DNA.id, b"p" * 32)
    assert not check_receipt(
        dataclasses.replace(found, peer=PEER_ID_PREFIX + ALICE.public), DNA.id, OP
    )
    with pytest.raises(ValueError, match="of what is valid"):
        dataclasses.replace(found, verdict="invalid")


# Whereabouts, a content type


def test_whereabouts_lie_where_who_knows_the_agent_looks():
    assert PLACED.key == whereabouts_key(DNA.id, ALICE.public)
    assert PLACED.until_us == T0 + WHEREABOUTS_LIFE_US
    assert WHERE.retention(PLACED.key, PLACED.value) == dataclasses.replace(
        WHERE.retention(PLACED.key, PLACED.value), slot=b"", until_us=PLACED.until_us
    )
    assert isinstance(WHERE.validate(PLACED.key, PLACED.value, T0), Valid)


@pytest.mark.parametrize("other", [(OTHER_DNA.id, ALICE.public), (DNA.id, BOB.public)])
def test_whereabouts_of_another_agent_or_app_are_refused(other):
    assert WHERE.validate(whereabouts_key(*other), PLACED.value, T0).rule == "key"


def test_whereabouts_hold_for_their_time():
    late, early = T0 + WHEREABOUTS_LIFE_US, T0 - CLOCK_AHEAD_US_MAX - 1
    assert isinstance(WHERE.validate(PLACED.key, PLACED.value, late - 1), Valid)
    assert isinstance(WHERE.validate(PLACED.key, PLACED.value, late), Abandoned)
    assert isinstance(WHERE.validate(PLACED.key, PLACED.value, early), Abandoned)
    assert isinstance(WHERE.validate(PLACED.key, PLACED.value, early + 1), Valid)
    assert isinstance(WHERE.validate(PLACED.key, b"", T0), Invalid)
    found = decode_whereabouts(PLACED.value)
    with pytest.raises(ValueError, match="too long a life"):
        dataclasses.replace(found, until_us=found.until_us + 1)


def test_the_newest_whereabouts_stay_everywhere():
    newer = issue_whereabouts(ALICE, DNA.id, PEER, (), T0 + 1).value
    same = issue_whereabouts(ALICE, DNA.id, PEER, (), T0).value
    assert WHERE.merge(PLACED.value, newer) == WHERE.merge(newer, PLACED.value) == newer
    assert WHERE.merge(PLACED.value, same) == WHERE.merge(same, PLACED.value)


def test_the_longest_whereabouts():
    longest = "/dns/" + "a" * 75
    found = issue_whereabouts(ALICE, DNA.id, PEER, (longest,) * 20, T0)
    assert len(decode_whereabouts(found.value).addresses) == ADDRESSES_PER_PEER_MAX
    bare = decode_whereabouts(PLACED.value)
    for wrong in (("",), ("a\nb",), ("x" * (ADDRESS_CHARS_MAX + 1),), ("x",) * 9):
        with pytest.raises(ValueError, match="address"):
            dataclasses.replace(bare, addresses=wrong)


# Sessions


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"parties": (ALICE.public,)}, "2 to 8 parties"),
        ({"parties": tuple(sorted(key(n).public for n in range(1, 10)))}, "2 to 8 parties"),
        ({"parties": (ALICE.public, ALICE.public)}, "once, sorted"),
        ({"parties": tuple(sorted((BOB.public, ALICE.public), reverse=True))}, "once, sorted"),
        ({"parties": (b"short", ALICE.public)}, "32 bytes"),
        ({"parties": tuple(sorted((BOB.public, BOB_ROOT.public)))}, "proposer is one of"),
        ({"overlay": b"short"}, "overlay has 32 bytes"),
        ({"kind": ""}, "name of an entry kind"),
        ({"entry": Cid.of(RAW, b"")}, "dag-cbor"),
        ({"until_us": T0}, "out of order"),
        ({"until_us": T0 + SESSION_WINDOW_US_MIN - 1}, "window"),
        ({"until_us": T0 + SESSION_WINDOW_US_MAX + 1}, "window"),
    ],
    ids=range(12),
)
def test_what_is_no_preflight(wrong, says):
    with pytest.raises(ValueError, match=says):
        preflight(**wrong)


def test_the_greatest_session():
    parties = sorted((key(n) for n in range(1, COUNTERSIGNERS_MAX + 1)), key=lambda one: one.public)
    asked = preflight(
        parties=tuple(one.public for one in parties),
        kind="k" * 64,
        until_us=T0 + SESSION_WINDOW_US_MAX,
    )
    assert len(asked) <= PREFLIGHT_BYTES_MAX
    session, prev = decode_preflight(asked).id, Chain.begun().head.hash
    accepted = [accept_session(one, session, (1 << 64) - 1, prev) for one in parties]
    assert max(map(len, accepted)) <= ACCEPTANCE_BYTES_MAX
    entry, data = countersigned(asked, accepted[::-1])
    assert countersigned(asked, accepted) == (entry, data)
    found, each = decode_agreed(decode_entry(data).session)
    assert found == decode_preflight(asked)
    assert [one.agent for one in each] == [one.public for one in parties]


def test_the_shortest_session():
    shortest = T0 + SESSION_WINDOW_US_MIN
    assert decode_preflight(preflight(until_us=shortest)).until_us == shortest
    assert decode_preflight(preflight(since_us=0, until_us=SESSION_WINDOW_US_MIN)).since_us == 0


def test_what_is_no_session():
    with pytest.raises(DecodeError, match="too long"):
        decode_agreed(bytes(SESSION_BYTES_MAX + 1))
    many = encode_plain({"preflight": b"\0", "acceptances": [b"\0"] * (COUNTERSIGNERS_MAX + 1)})
    with pytest.raises(DecodeError, match="too many"):
        decode_agreed(many)
    with pytest.raises(DecodeError, match="too long"):
        decode_agreed(
            encode_plain({"preflight": bytes(PREFLIGHT_BYTES_MAX + 2), "acceptances": []})
        )
    long = bytes(ACCEPTANCE_BYTES_MAX + 2)
    with pytest.raises(DecodeError, match="too long"):
        decode_agreed(encode_plain({"preflight": b"\0", "acceptances": [long]}))


def test_an_id_is_of_all_that_is_agreed_on_but_the_signature():
    found = decode_preflight(preflight())
    assert found.id == dataclasses.replace(found, signature=bytes(SIGNATURE_BYTES)).id
    assert found.id != decode_preflight(preflight(until_us=T0 + 60_000_001)).id


# Evidence


def test_evidence_comes_back_and_is_bounded():
    signed = b"a signed action"
    for evidence in (Evidence(1, "fork", (signed, signed)), Evidence(1, "rule", (signed,), "time")):
        assert decode_evidence(encode_evidence(evidence)) == evidence
    with pytest.raises(DecodeError, match="too long"):
        decode_evidence(bytes(EVIDENCE_BYTES_MAX + 1))
    raw = decode_plain(encode_evidence(Evidence(1, "fork", (signed, signed))))
    del raw["rule"]
    with pytest.raises(DecodeError, match="one byte form"):
        decode_evidence(encode_plain(raw))


@pytest.mark.parametrize(
    ("of", "actions", "rule"),
    [("fork", 1, ""), ("fork", 2, "time"), ("rule", 1, ""), ("rule", 2, "x"), ("murder", 1, "x"),
     ("rule", 1, "x" * 513)],
)  # fmt: skip
def test_what_is_no_evidence(of, actions, rule):
    with pytest.raises(ValueError):  # noqa: PT011  each has its own words
        Evidence(1, of, (b"action",) * actions, rule)
