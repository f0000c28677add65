"""Grants and proofs: altered, expired, early, replayed for another root, space or peer."""

import dataclasses

import pytest

from dms3.core.codec import encode, encode_plain
from dms3.core.errors import DecodeError, Dms3Error, Retry
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.core.limits import CLOCK_AHEAD_US_MAX, GRANT_BYTES_MAX, RIGHTS_MAX
from dms3.crypto.certificate import issue_certificate
from dms3.crypto.grant import (
    FOREVER_US,
    READ,
    SEARCH,
    Proof,
    check_grant,
    check_proof,
    check_use,
    decode_grant,
    decode_proof,
    issue_grant,
)
from dms3.crypto.signing import SigningKey

ALICE, BOB, EVE = (SigningKey.of_seed(letter * 32) for letter in (b"a", b"b", b"e"))
ISSUER, READER = Root(ALICE.public), Root(BOB.public)
SPACE, OTHER_SPACE = SpaceId(b"s" * 32), SpaceId(b"t" * 32)
PEER, OTHER_PEER = (PeerId(bytes.fromhex("002408011220") + bytes([n]) * 32) for n in (1, 2))
NOW, END = 5_000_000_000, 9_000_000_000
SERIAL = b"#" * 16


def grant_of(key=ALICE, space=SPACE, reader=READER, rights=(READ, SEARCH), dates=(NOW, END)):
    return issue_grant(key, space, reader, rights, dates, SERIAL)


def certificate_of(key=BOB, peer=PEER, since=NOW, until=END):
    return encode(issue_certificate(key, peer, "phone", since, until))


GOOD = grant_of()
PROOF = Proof(encode(GOOD), certificate_of())


def refused(proof, issuer=ISSUER, space=SPACE, peer=PEER, wall_us=NOW):
    with pytest.raises(Dms3Error) as caught:
        check_proof(proof, issuer, space, peer, wall_us)
    return caught.value


def test_a_grant_travels_and_proves():
    assert decode_grant(encode(GOOD)) == GOOD
    assert check_proof(PROOF, ISSUER, SPACE, PEER, NOW)[0] == GOOD
    assert decode_proof(encode(PROOF)) == PROOF
    for right in (READ, SEARCH):
        check_use(GOOD, SPACE, right)


def test_replayed_elsewhere():
    assert refused(PROOF, issuer=Root(EVE.public)).code == "grant_invalid"  # another root's node
    assert refused(PROOF, space=OTHER_SPACE).code == "grant_invalid"
    assert refused(PROOF, peer=OTHER_PEER).code == "certificate_invalid"  # another connection
    stolen = Proof(PROOF.grant, certificate_of(key=EVE, peer=OTHER_PEER))
    assert refused(stolen, peer=OTHER_PEER).code == "certificate_invalid"  # the thief's own device


def test_made_by_somebody_else():
    forged = dataclasses.replace(grant_of(key=EVE), issuer=ALICE.public)
    assert refused(Proof(encode(forged), PROOF.certificate)).code == "grant_invalid"
    assert refused(Proof(encode(grant_of(key=EVE)), PROOF.certificate)).code == "grant_invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"space": OTHER_SPACE},
        {"reader": EVE.public},
        {"rights": (READ,)},
        {"rights": (READ, SEARCH, "write")},
        {"created_us": NOW - 1},
        {"until_us": FOREVER_US},
        {"serial": b"%" * 16},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_is_covered_by_the_signature(change):
    with pytest.raises(Dms3Error) as caught:
        check_grant(dataclasses.replace(GOOD, **change), ISSUER, NOW)
    assert caught.value.code == "grant_invalid"


def test_dates_both_sides_of_each_limit():
    check_grant(GOOD, ISSUER, END - 1)
    with pytest.raises(Dms3Error) as late:
        check_grant(GOOD, ISSUER, END)
    assert late.value.code == "grant_expired"
    check_grant(GOOD, ISSUER, NOW - CLOCK_AHEAD_US_MAX)
    with pytest.raises(Dms3Error) as early:
        check_grant(GOOD, ISSUER, NOW - CLOCK_AHEAD_US_MAX - 1)
    assert early.value.code == "not_yet_valid"
    assert early.value.retry is Retry.LATER


def test_the_dates_of_the_device_count_too():
    old = Proof(PROOF.grant, certificate_of(since=1, until=NOW))
    assert refused(old).code == "certificate_expired"
    early = Proof(PROOF.grant, certificate_of(since=NOW + CLOCK_AHEAD_US_MAX + 1))
    assert refused(early).code == "not_yet_valid"


def test_a_right_that_was_not_given():
    with pytest.raises(Dms3Error) as caught:
        check_use(grant_of(rights=(SEARCH,)), SPACE, READ)
    assert caught.value.code == "grant_missing"


def test_every_single_byte_of_both_parts_matters():
    for name in ("grant", "certificate"):
        data = getattr(PROOF, name)
        for place in range(len(data)):
            for flip in (0x01, 0x80, 0xFF):
                altered = bytearray(data)
                altered[place] ^= flip
                error = refused(dataclasses.replace(PROOF, **{name: bytes(altered)}))
                assert error.code in ("grant_invalid", "certificate_invalid")


def test_strict_reading():
    plain = {
        name: b"\0" + value if isinstance(value, bytes) else value
        for name, value in dataclasses.asdict(GOOD).items()
    }
    plain["rights"] = list(plain["rights"])
    assert decode_grant(encode_plain(plain)) == GOOD
    for change, reason in (
        ({"extra": 1}, "no field"),
        ({"v": 2}, "version 2"),
        ({"rights": [SEARCH, READ]}, "sorted"),
        ({"rights": [READ, READ]}, "distinct"),
        ({"rights": []}, "rights"),
        ({"rights": ["Read"]}, "lower-case"),
        ({"until_us": NOW}, "order"),
        ({"serial": b"\0" + b"#" * 15}, "16 bytes"),
        ({"signature": b"\0"}, "not signed"),
    ):
        with pytest.raises(DecodeError, match=reason):
            decode_grant(encode_plain(plain | change))
    for name in plain:
        with pytest.raises(DecodeError, match="lacks field"):
            decode_grant(encode_plain({key: val for key, val in plain.items() if key != name}))


def test_the_number_of_rights_is_bounded():
    rights = [chr(ord("a") + n) for n in range(RIGHTS_MAX + 1)]
    assert grant_of(rights=rights[:-1]).rights == tuple(rights[:-1])
    with pytest.raises(ValueError, match="rights"):
        grant_of(rights=rights)


def test_oversized_input_is_refused_before_it_is_read():
    with pytest.raises(DecodeError, match="too long"):
        decode_grant(bytes(GRANT_BYTES_MAX + 1))
    with pytest.raises(DecodeError, match="too long"):
        decode_proof(bytes(4 * GRANT_BYTES_MAX))
