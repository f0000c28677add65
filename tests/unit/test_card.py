"""Contact cards: both forms, every bound from both sides, and what is refused with which words."""

import dataclasses

import pytest

from dms3.core.codec import decode_plain, encode, encode_plain
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    CARD_BYTES_MAX,
    CERTIFICATE_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    NAME_CHARS_MAX,
)
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey
from dms3.p2p.card import (
    TEXT_CHARS_MAX,
    card_text,
    check_card,
    decode_card,
    encode_card,
    issue_card,
    parse_card,
    read_card,
)

KEY = SigningKey.of_seed(bytes(range(32)))
OTHER = SigningKey.of_seed(bytes(32))
PEER = PeerId(PEER_ID_PREFIX + KEY.public)
SINCE, UNTIL = 1_000_000_000, 2_000_000_000


def issue(**changes: object):
    fields = {
        "name": "Alice",
        "peer": PEER,
        "addresses": ["/ip4/127.0.0.1/tcp/4001", "/dns/alice.example/tcp/4001"],
        "certificate": b"certificate bytes",
        "since_us": SINCE,
        "until_us": UNTIL,
    }
    return issue_card(KEY, **{**fields, **changes})


def test_a_card_comes_back_from_both_forms():
    card = issue()
    assert decode_card(encode_card(card)) == card
    assert read_card(card_text(card), SINCE) == card
    assert "\n" not in card_text(card)
    assert card_text(card).startswith("dms3:")


def test_what_mail_does_to_a_line_is_tolerated():
    text = card_text(issue())
    folded = "\r\n ".join(text[at : at + 60] for at in range(0, len(text), 60))
    assert parse_card(f"  {folded}\n") == issue()
    assert parse_card(text.upper()) == issue()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Mallory"},
        {"addresses": ("/ip4/10.0.0.1/tcp/1",)},
        {"certificate": b""},
        {"until_us": UNTIL + 1},
        {"root": OTHER.public},
        {"peer": PEER_ID_PREFIX + OTHER.public},
    ],
)
def test_an_altered_card_is_refused(change):
    altered = dataclasses.replace(issue(), **change)
    with pytest.raises(Dms3Error, match="altered") as caught:
        read_card(card_text(altered), SINCE)
    assert caught.value.code == "card_invalid"


def test_every_changed_byte_is_noticed():
    data = encode_card(issue())
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(Dms3Error):
            check_card(decode_card(bytes(changed)), SINCE)


def test_dates_are_checked_on_both_sides():
    card = issue()
    check_card(card, UNTIL - 1)
    with pytest.raises(Dms3Error) as caught:
        check_card(card, UNTIL)
    assert caught.value.code == "card_expired"
    check_card(card, SINCE - CLOCK_AHEAD_US_MAX)
    with pytest.raises(Dms3Error) as caught:
        check_card(card, SINCE - CLOCK_AHEAD_US_MAX - 1)
    assert caught.value.code == "not_yet_valid"


def test_another_version_is_named():
    plain = decode_plain(encode(issue()))
    plain["v"] = 2
    with pytest.raises(DecodeError, match="newer dms3"):
        decode_card(encode_plain(plain))


def test_an_unknown_field_in_a_signed_object_is_refused():
    plain = decode_plain(encode(issue()))
    plain["more"] = 1
    with pytest.raises(DecodeError, match="more"):
        decode_card(encode_plain(plain))


def test_an_unsigned_card_is_refused():
    with pytest.raises(DecodeError, match="not signed"):
        decode_card(encode(dataclasses.replace(issue(), signature=b"")))


@pytest.mark.parametrize(
    "text",
    ["", "hello", "dms3:", "dms3:!!!!", "dms3:aaaa", "https://example.org", "dms3:" + "é" * 8],
)
def test_what_is_no_card_is_refused_with_the_next_step(text):
    with pytest.raises(DecodeError):
        parse_card(text)
    with pytest.raises(Dms3Error, match="copy the whole line") as caught:
        read_card(text, SINCE)
    assert caught.value.code == "card_invalid"


def test_a_card_that_would_be_too_large_to_read_is_not_made():
    with pytest.raises(Dms3Error, match="fewer addresses"):
        issue(addresses=["/" + "a" * 250] * 8, certificate=bytes(CERTIFICATE_BYTES_MAX))


def test_sizes_are_bounded():
    with pytest.raises(DecodeError, match="too long"):
        decode_card(bytes(CARD_BYTES_MAX + 1))
    with pytest.raises(DecodeError, match="dag-cbor"):
        decode_card(bytes(CARD_BYTES_MAX))
    with pytest.raises(DecodeError, match="too long"):
        parse_card("x" * (TEXT_CHARS_MAX + 1))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"name": "x" * NAME_CHARS_MAX}, {"name": "x" * (NAME_CHARS_MAX + 1)}),
        ({"name": "x"}, {"name": ""}),
        ({"name": "Zoë 李"}, {"name": "two\nlines"}),
        ({"name": "a b"}, {"name": " a"}),
        ({"addresses": ["/a"] * ADDRESSES_PER_PEER_MAX}, {"addresses": ["/a"] * 9}),
        ({"addresses": []}, {"addresses": [""]}),
        ({"addresses": ["/" + "a" * (ADDRESS_CHARS_MAX - 1)]}, {"addresses": ["a" * 257]}),
        ({"certificate": bytes(CERTIFICATE_BYTES_MAX)}, {"certificate": bytes(1025)}),
        ({"until_us": SINCE + 1}, {"until_us": SINCE}),
        ({"since_us": 0}, {"since_us": -1}),
        ({"peer": PEER}, {"peer": PeerId(PEER[:-1])}),
    ],
)
def test_each_field_has_a_bound(good, bad):
    card = issue(**good)
    assert decode_card(encode_card(card)) == card
    with pytest.raises(Dms3Error) as caught:
        issue(**bad)
    assert caught.value.code == "argument_invalid"
