"""Device certificates: every altered byte, wrong root, wrong peer and wrong time is refused."""

import dataclasses

import pytest

from dms3.core.codec import encode, encode_plain
from dms3.core.errors import DecodeError, Dms3Error, Retry
from dms3.core.ids import PeerId, Root
from dms3.core.limits import CERTIFICATE_BYTES_MAX, CLOCK_AHEAD_US_MAX, DEVICE_NAME_CHARS_MAX
from dms3.crypto.certificate import check_certificate, decode_certificate, issue_certificate
from dms3.crypto.signing import SigningKey

ALICE, EVE = SigningKey.of_seed(b"a" * 32), SigningKey.of_seed(b"e" * 32)
PEER, OTHER = (PeerId(bytes.fromhex("002408011220") + bytes([n]) * 32) for n in (1, 2))
SINCE, UNTIL = 1_000_000_000, 2_000_000_000
GOOD = issue_certificate(ALICE, PEER, "laptop", SINCE, UNTIL)
ROOT = Root(ALICE.public)


def refusal(certificate, root=ROOT, peer=PEER, wall_us=SINCE):
    with pytest.raises(Dms3Error) as caught:
        check_certificate(certificate, root, peer, wall_us)
    return caught.value


def test_a_certificate_travels_and_is_accepted():
    again = decode_certificate(encode(GOOD))
    assert again == GOOD
    check_certificate(again, ROOT, PEER, SINCE)
    check_certificate(again, ROOT, PEER, UNTIL - 1)
    assert len(encode(GOOD)) <= CERTIFICATE_BYTES_MAX


def test_wrong_root_and_wrong_peer():
    assert refusal(GOOD, root=Root(EVE.public)).code == "certificate_invalid"
    assert refusal(GOOD, peer=OTHER).code == "certificate_invalid"


def test_signed_by_somebody_else_for_the_root():
    forged = dataclasses.replace(
        issue_certificate(EVE, PEER, "laptop", SINCE, UNTIL), root=ALICE.public
    )
    assert refusal(forged).code == "certificate_invalid"


@pytest.mark.parametrize(
    "change",
    [{"device": "desktop"}, {"since_us": SINCE - 1}, {"until_us": UNTIL + 1}, {"signature": b""}],
    ids=lambda change: next(iter(change)),
)
def test_every_field_is_covered_by_the_signature(change):
    assert refusal(dataclasses.replace(GOOD, **change)).code == "certificate_invalid"


def test_dates_both_sides_of_each_limit():
    assert refusal(GOOD, wall_us=UNTIL).code == "certificate_expired"
    check_certificate(GOOD, ROOT, PEER, SINCE - CLOCK_AHEAD_US_MAX)
    early = refusal(GOOD, wall_us=SINCE - CLOCK_AHEAD_US_MAX - 1)
    assert early.code == "not_yet_valid"
    assert early.retry is Retry.LATER  # parked, not judged


def test_every_single_byte_matters():
    data = encode(GOOD)
    for place in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            altered = bytearray(data)
            altered[place] ^= flip
            try:
                certificate = decode_certificate(bytes(altered))
            except DecodeError:
                continue
            refusal(certificate)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_truncated(cut):
    with pytest.raises(DecodeError):
        decode_certificate(encode(GOOD)[:cut])


def test_unknown_and_missing_keys_are_refused():
    plain = {
        name: b"\0" + value if isinstance(value, bytes) else value
        for name, value in dataclasses.asdict(GOOD).items()
    }
    assert decode_certificate(encode_plain(plain)) == GOOD
    with pytest.raises(DecodeError, match="no field"):
        decode_certificate(encode_plain(plain | {"extra": 1}))
    for name in plain:
        with pytest.raises(DecodeError, match="lacks field"):
            decode_certificate(encode_plain({k: v for k, v in plain.items() if k != name}))
    with pytest.raises(DecodeError, match="version 2"):
        decode_certificate(encode_plain(plain | {"v": 2}))
    with pytest.raises(DecodeError, match="not signed"):
        decode_certificate(encode_plain(plain | {"signature": b"\0"}))


def test_bounds_of_the_fields():
    issue_certificate(ALICE, PEER, "x" * DEVICE_NAME_CHARS_MAX, SINCE, UNTIL)
    for arguments in (
        (PEER, "x" * (DEVICE_NAME_CHARS_MAX + 1), SINCE, UNTIL),
        (PeerId(PEER[:-1]), "x", SINCE, UNTIL),
        (PeerId(b"\1" + PEER[1:]), "x", SINCE, UNTIL),
        (PEER, "x", SINCE, SINCE),
        (PEER, "x", -1, UNTIL),
    ):
        with pytest.raises(ValueError, match=r".+"):
            issue_certificate(ALICE, *arguments)


def test_oversized_input_is_refused_before_it_is_read():
    with pytest.raises(DecodeError, match="too long"):
        decode_certificate(bytes(CERTIFICATE_BYTES_MAX + 1))
