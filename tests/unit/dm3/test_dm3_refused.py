"""What is forged, changed, for somebody else or of another kind is refused, wherever one signs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_ATTACHMENTS_MAX, DM3_NAME_CHARS_MAX, DM3_SERVICES_MAX
from dms3.crypto.keys import address_of
from dms3.dm3.canonical import canonical, encode_base64, hash_text
from dms3.dm3.envelope import (
    DeliveryInformation,
    decode_delivered,
    decode_envelope,
    enclose,
    is_delivered_by,
    is_envelope_by,
    open_delivery,
    open_envelope,
    with_postmark,
)
from dms3.dm3.link import ProfileLink, SignedLink, decode_signed_link, is_link_by
from dms3.dm3.message import Attachment, MessageType, compose, decode_message, is_message_by
from dms3.dm3.postmark import is_postmark_by, open_postmark, stamp
from dms3.dm3.profile import (
    decode_service_profile,
    decode_signed_profile,
    decode_user_profile,
    is_signed_by,
    sign_profile,
)
from dms3.dm3.sealing import open_symmetric, open_text, seal_symmetric, seal_text
from dms3.dm3.token import (
    CHALLENGE_SECONDS,
    SESSION_SECONDS,
    issue_challenge,
    issue_session,
    read_challenge,
    read_session,
    token_secret,
)
from dms3.dm3.wallet import personal_sign, personal_signer
from unit.dm3_kit import ALICE, BOB, SERVICE, SERVICE_PROFILE, Stream, profile_of

NOW_MS = 1_700_000_000_000
NOW_S = NOW_MS // 1_000
WALLET = bytes([0x11]) * 32
SECRET = token_secret(SERVICE)
LOW_ORDER = bytes(32)


def message(**changed: Any):
    given = {"sender": "alice.eth", "receiver": "bob.eth", "sent_ms": NOW_MS, "text": "hello"}
    return compose(ALICE, **{**given, **changed})


def envelope(legacy=False, given=None):
    sent = message() if given is None else given
    return enclose(sent, ALICE, profile_of(BOB), SERVICE_PROFILE, Stream(5), legacy=legacy)


def without(value, *path: str):
    """A copy of the JSON `value` without the member at `path`."""
    head, *rest = path
    if not rest:
        return {key: item for key, item in value.items() if key != head}
    return {**value, head: without(value[head], *rest)}


def having(value, changed, *path: str):
    """A copy of the JSON `value` with `changed` at `path`."""
    head, *rest = path
    return {**value, head: having(value[head], changed, *rest) if rest else changed}


# The signing points: profile, message, metadata, postmark, challenge, link.


def test_a_profile_signed_by_another_account():
    profile = profile_of(ALICE, "ds.eth")
    signed = sign_profile(WALLET, profile)
    address = address_of(WALLET)
    assert is_signed_by(signed, address)
    assert is_signed_by(signed, address.lower())
    assert not is_signed_by(signed, address_of(bytes([0x22]) * 32))
    assert not is_signed_by(replace(signed, profile=profile_of(BOB, "ds.eth")), address)
    assert not is_signed_by(replace(signed, profile=profile_of(ALICE, "evil.eth")), address)
    assert not is_signed_by(signed, "alice.eth")


@pytest.mark.parametrize("last", ["1b", "1c", "00", "01", "1d", "ff"])
def test_the_last_byte_of_a_wallets_signature(last):
    text = "some text"
    signature = personal_sign(WALLET, text)
    names = {27: {"1b", "00"}, 28: {"1c", "01"}}[int(signature[-2:], 16)]
    changed = signature[:-2] + last
    if last in ("1d", "ff"):
        with pytest.raises(DecodeError, match="ends in 27 or 28"):
            personal_signer(text, changed)
    else:
        assert (personal_signer(text, changed) == address_of(WALLET)) is (last in names)


@pytest.mark.parametrize(
    "signature", ["", "0x", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "g" * 130]
)
def test_what_is_no_signature_of_a_wallet(signature):
    with pytest.raises(DecodeError):
        personal_signer("text", signature)


def test_a_message_of_another_person():
    sent = message()
    assert is_message_by(sent, ALICE.signing_public, "alice.eth")
    assert not is_message_by(sent, BOB.signing_public, "alice.eth")
    assert not is_message_by(sent, ALICE.signing_public, "bob.eth")
    for changed in (
        {"text": "hello!"},
        {"text": None},
        {"sender": "Alice.eth"},
        {"receiver": "carol.eth"},
        {"sent_ms": NOW_MS + 1},
        {"type": MessageType.REPLY},
        {"attachments": ()},
        {"attachments": (Attachment(None, "data:,"),)},
        {"reference": hash_text("")},
        {"reply_instruction": ""},
        {"signature": ""},
    ):
        other = replace(sent, **changed)
        assert not is_message_by(other, ALICE.signing_public, "alice.eth"), changed
        assert other.hash != sent.hash


def test_metadata_of_another_person():
    sent = envelope()
    assert is_envelope_by(sent, ALICE.signing_public)
    assert not is_envelope_by(sent, BOB.signing_public)
    for changed in (
        {"delivery": envelope(given=message(text="other")).message},
        {"message_hash": hash_text("")},
        {"legacy": True},
        {"signature": BOB.sign(sent.signed_text())},
        {"delivery": DeliveryInformation("alice.eth", "bob.eth")},  # nothing signed is left
    ):
        assert not is_envelope_by(replace(sent, **changed), ALICE.signing_public), changed


def test_a_postmark_of_another_service_or_envelope():
    sent, other = envelope(), envelope(given=message(text="other"))
    sealed = stamp(SERVICE, sent, BOB.encryption_public, NOW_MS, Stream(6))
    stamped = with_postmark(sent, sealed, None)
    assert is_envelope_by(stamped, ALICE.signing_public)  # the sealed information is still there
    postmark = open_postmark(BOB.encryption_secret, stamped)
    assert postmark.incoming_ms == NOW_MS
    assert is_postmark_by(postmark, stamped, SERVICE.signing_public)
    assert not is_postmark_by(postmark, stamped, ALICE.signing_public)
    assert not is_postmark_by(postmark, other, SERVICE.signing_public)
    moved = replace(postmark, incoming_ms=NOW_MS - 1)
    assert not is_postmark_by(moved, stamped, SERVICE.signing_public)
    with pytest.raises(DecodeError, match="cannot be opened"):
        open_postmark(ALICE.encryption_secret, stamped)
    with pytest.raises(DecodeError, match="no postmark"):
        open_postmark(BOB.encryption_secret, sent)


def test_tokens():
    challenge = issue_challenge(SECRET, "alice.eth", NOW_S, Stream(7))
    assert challenge != issue_challenge(SECRET, "alice.eth", NOW_S, Stream(8))
    found = read_challenge(SECRET, challenge, NOW_S + CHALLENGE_SECONDS - 1)
    assert (found.account, found.until_s) == ("alice.eth", NOW_S + CHALLENGE_SECONDS)
    assert found.id[14] == "4"
    session = issue_session(SECRET, "alice.eth", NOW_S)
    assert read_session(SECRET, session, NOW_S + SESSION_SECONDS - 1).account == "alice.eth"
    for token, at, says in (
        (session, NOW_S + SESSION_SECONDS, "over"),
        (session, NOW_S - 61, "not valid yet"),
        (session[:-2] + "AA", NOW_S, "no token"),
        (challenge, NOW_S, "unknown"),
        ("", NOW_S, "no token"),
        ("x" * 3_000, NOW_S, "too long"),
        (unsigned(session), NOW_S, "no token"),
    ):
        with pytest.raises(DecodeError, match=says):
            read_session(SECRET, token, at)
    with pytest.raises(DecodeError, match="no token"):
        read_session(token_secret(ALICE), session, NOW_S)
    with pytest.raises(DecodeError, match="missing"):
        read_challenge(SECRET, session, NOW_S)
    with pytest.raises(DecodeError, match="over"):
        read_challenge(SECRET, challenge, NOW_S + CHALLENGE_SECONDS)
    assert read_session(SECRET, session, NOW_S - 60)  # a clock may be a minute off


def unsigned(token):
    """The same claims under the algorithm "none"."""
    header = encode_base64(b'{"alg":"none","typ":"JWT"}').rstrip("=")
    return f"{header}.{token.split('.')[1]}."


def test_links():
    link = ProfileLink("ProfileLink", "alice.eth", "a.eth", "https://app", NOW_S, nonce=2)
    signed = SignedLink(link, ALICE.sign(link.text()))
    assert is_link_by(signed, ALICE.signing_public, 1 << 50)
    assert decode_signed_link(signed.value()) == signed
    assert not is_link_by(signed, None, NOW_S)
    assert not is_link_by(signed, BOB.signing_public, NOW_S)
    other = replace(link, kind="EthAddressLink", main=address_of(WALLET))
    assert is_link_by(SignedLink(other, personal_sign(WALLET, other.text())), None, NOW_S)
    assert not is_link_by(SignedLink(other, personal_sign(bytes([9]) * 32, other.text())), None, 0)
    assert not is_link_by(SignedLink(other, "0x"), None, NOW_S)
    for changed, *path in (
        ("Other", "profileLink", "type"),
        ("a\nNonce: 9", "profileLink", "mainId"),
        (-1, "profileLink", "nonce"),
        (1.5, "profileLink", "issuedAt"),
        (None, "profileLink", "issuedAt"),
        ("x" * 133, "signature"),
    ):
        with pytest.raises(DecodeError):
            decode_signed_link(having(signed.value(), changed, *path))


# Envelopes: altered, for somebody else, of another kind.


@pytest.mark.parametrize("legacy", [False, True])
def test_only_the_receiver_opens_it_and_only_the_named_message(legacy):
    sent, other = envelope(legacy), envelope(legacy, message(text="other"))
    assert open_envelope(BOB.encryption_secret, sent) == message()
    with pytest.raises(DecodeError, match="cannot be opened"):
        open_envelope(ALICE.encryption_secret, sent)
    with pytest.raises(DecodeError, match="not the one that the envelope names"):
        open_envelope(BOB.encryption_secret, replace(sent, message_hash=other.message_hash))
    with pytest.raises(DecodeError, match="not the one that the envelope names"):
        open_envelope(BOB.encryption_secret, replace(sent, message=other.message))
    with pytest.raises(DecodeError, match="cannot be opened"):
        open_delivery(BOB.encryption_secret, sent)
    assert open_delivery(SERVICE.encryption_secret, sent).receiver == "bob.eth"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (having(envelope().value(), "v2", "metadata", "version"), "version"),
        (having(envelope().value(), "x25519", "metadata", "encryptionScheme"), "encryptionScheme"),
        (having(envelope().value(), "0x00", "metadata", "messageHash"), "a hash"),
        (having(envelope().value(), "0X" + "A" * 64, "metadata", "messageHash"), "a hash"),
        (having(envelope().value(), hash_text(""), "metadata", "encryptedMessageHash"), "one of"),
        (without(envelope().value(), "metadata", "messageHash"), "one of"),
        (without(envelope().value(), "metadata", "signature"), "missing"),
        (without(envelope().value(), "metadata"), "missing"),
        (without(envelope().value(), "message"), "missing"),
        (having(envelope().value(), 1, "more"), "unknown"),
        (having(envelope().value(), 1, "metadata", "more"), "unknown"),
        (having(envelope().value(), "AA==", "metadata", "signature"), "64 bytes"),
        (having(envelope().value(), 7, "message"), "expected text"),
        (having(envelope().value(), 7, "metadata", "deliveryInformation"), "expected an object"),
        (having(envelope().value(), {"from": "a"}, "metadata", "deliveryInformation"), "missing"),
        ([], "expected an object"),
        ("[]", "expected an object"),
        ("", "not JSON"),
        ("{", "not JSON"),
    ],
)
def test_what_is_no_envelope(value, says):
    with pytest.raises(DecodeError, match=says):
        decode_envelope(value)


def test_both_forms_of_delivery_information():
    sent = envelope()
    opened = open_delivery(SERVICE.encryption_secret, sent)
    kept = with_postmark(sent, "{}", opened)
    assert decode_envelope(kept.text()) == decode_envelope(kept.value()) == kept
    assert open_delivery(b"", kept) == opened  # it is open already
    told = DeliveryInformation("alice.eth", "bob.eth", "through the gate")
    asked = enclose(
        message(),
        ALICE,
        profile_of(BOB),
        SERVICE_PROFILE,
        Stream(5),
        instruction=told.instruction,
    )
    assert open_delivery(SERVICE.encryption_secret, asked) == told


def test_what_was_signed_may_lie_beside_what_was_opened_for_a_receiver_only():
    sent = envelope()
    opened = open_delivery(SERVICE.encryption_secret, sent)
    kept = replace(with_postmark(sent, "{}", opened), sealed=sent.delivery)
    assert decode_delivered(kept.text()) == kept
    assert decode_delivered(sent.value()) == sent
    assert is_delivered_by(kept, ALICE.signing_public)
    assert is_delivered_by(sent, ALICE.signing_public)
    assert not is_delivered_by(replace(kept, sealed=sent.message), ALICE.signing_public)
    assert not is_delivered_by(replace(kept, sealed=None), ALICE.signing_public)
    assert not is_envelope_by(kept, ALICE.signing_public)
    with pytest.raises(DecodeError, match="unknown"):  # a sender may not say what it signed
        decode_envelope(kept.value())
    with pytest.raises(DecodeError, match="expected text"):
        decode_delivered({**kept.value(), "sealedDeliveryInformation": None})


def test_a_profile_whose_key_is_none_is_not_sealed_to():
    broken = replace(profile_of(BOB), encryption=LOW_ORDER)
    with pytest.raises(DecodeError, match="order is low"):
        enclose(message(), ALICE, broken, SERVICE_PROFILE, Stream(5))


# Messages and profiles: each member.


@pytest.mark.parametrize(
    ("changed", "path", "says"),
    [
        ("READ", ("metadata", "type"), "unknown kind"),
        (None, ("metadata", "type"), "unknown kind"),
        ([], ("metadata", "type"), "unknown kind"),
        ("", ("metadata", "from"), "empty"),
        (None, ("metadata", "to"), "expected text"),
        ("x" * (DM3_NAME_CHARS_MAX + 1), ("metadata", "to"), "longer"),
        (-1, ("metadata", "timestamp"), "whole number"),
        (1 << 53, ("metadata", "timestamp"), "whole number"),
        (1.5, ("metadata", "timestamp"), "whole number"),
        (True, ("metadata", "timestamp"), "whole number"),
        ("1", ("metadata", "timestamp"), "whole number"),
        (None, ("metadata", "referenceMessageHash"), "expected text"),
        (1, ("metadata", "replyDeliveryInstruction"), "expected text"),
        ("x", ("metadata", "more"), "unknown"),
        ("x", ("more",), "unknown"),
        (None, ("message",), "expected text"),
        (None, ("attachments",), "expected a list"),
        ([{}], ("attachments",), "missing"),
        ([{"data": 1}], ("attachments",), "expected text"),
        ([{"data": "", "name": None}], ("attachments",), "expected text"),
        ([{"data": "", "more": 1}], ("attachments",), "unknown"),
        ([1], ("attachments",), "expected an object"),
        ([""] * (DM3_ATTACHMENTS_MAX + 1), ("attachments",), "more than"),
        ("", ("signature",), "64 bytes"),
        ("A" * 86, ("signature",), "base64"),
    ],
)
def test_what_is_no_message(changed, path, says):
    with pytest.raises(DecodeError, match=says):
        decode_message(having(message().value(), changed, *path))


def test_what_is_a_message_keeps_its_hash():
    for given in (
        message(text=None),
        message(text=""),
        message(attachments=()),
        message(
            attachments=(Attachment("n", "d"), Attachment(None, "d"), Attachment(None, "", True))
        ),
        message(type=MessageType.READ_RECEIPT),
        message(reply_instruction="x", reference=hash_text("")),
        message(text="x" * 100_000),
    ):
        again = decode_message(given.value())
        assert again == given
        assert again.hash == given.hash
        assert is_message_by(again, ALICE.signing_public, "alice.eth")


def test_receipts_and_reactions_are_as_the_reference_writes_them():
    receipt = message(type=MessageType.READ_OPENED, text=None)
    assert (receipt.text, receipt.attachments) == ("READ_OPENED", ())
    assert message(type=MessageType.REACTION, text="x").attachments == ()
    assert "attachments" not in message(type=MessageType.DELETE_REQUEST, text=None).value()


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ("x", ("profile", "deliveryServices")),
        ([1], ("profile", "deliveryServices")),
        (["x"] * (DM3_SERVICES_MAX + 1), ("profile", "deliveryServices")),
        (encode_base64(bytes(31)), ("profile", "publicEncryptionKey")),
        (encode_base64(bytes(33)), ("profile", "publicSigningKey")),
        (None, ("profile", "publicSigningKey")),
        (1, ("profile", "more")),
        (1, ("more",)),
        ("0x" + "0" * 128, ("signature",)),
        (None, ("signature",)),
        ([], ("profile",)),
    ],
)
def test_what_is_no_profile(changed, path):
    value = sign_profile(WALLET, profile_of(ALICE, *["x"] * DM3_SERVICES_MAX)).value()
    assert decode_signed_profile(value).value() == value
    with pytest.raises(DecodeError):
        decode_signed_profile(having(value, changed, *path))


def test_what_is_no_profile_of_a_service():
    value = SERVICE_PROFILE.value()
    for changed in (
        having(value, 1, "url"),
        without(value, "url"),
        having(value, "x" * 2_049, "url"),
    ):
        with pytest.raises(DecodeError):
            decode_service_profile(changed)
    with pytest.raises(DecodeError):
        decode_user_profile(value)


# Payloads: each way to be wrong.


def payloads():
    sealed = seal_text(BOB.encryption_public, "text", Stream(9))
    value = json.loads(sealed)
    cut = encode_base64(bytes(16 + 2_047))
    for changed, name in (
        (value["ciphertext"].rstrip("=") + "A", "ciphertext"),
        (value["ciphertext"][:-4], "ciphertext"),
        (value["ciphertext"].replace("+", "-"), "ciphertext"),
        (value["ciphertext"] + "\n", "ciphertext"),
        (cut, "ciphertext"),
        ("", "ciphertext"),
        (None, "ciphertext"),
        ("0x" + "0" * 23, "nonce"),
        (value["nonce"][2:], "nonce"),
        ("0x" + "0" * 24, "nonce"),
        (None, "nonce"),
        (encode_base64(LOW_ORDER), "ephemPublicKey"),
        (encode_base64(bytes(31)), "ephemPublicKey"),
        (encode_base64(BOB.encryption_public), "ephemPublicKey"),
    ):
        yield canonical(having(value, changed, name))
    yield "[]"
    yield ""


@pytest.mark.parametrize("payload", list(payloads()), ids=lambda payload: payload[-24:])
def test_a_payload_that_was_changed(payload):
    with pytest.raises(DecodeError):
        open_text(BOB.encryption_secret, payload)


def test_padding_is_a_block_and_hides_the_length():
    key, nonce = bytes(range(32)), bytes(12)
    sizes = {}
    for length in (0, 1, 2_047, 2_048, 4_095):
        sealed = seal_symmetric(key, nonce, "x" * length)
        assert open_symmetric(key, sealed) == "x" * length
        sizes[length] = len(sealed)
    assert sizes[0] == sizes[1] == sizes[2_047] < sizes[2_048] == sizes[4_095]
    with pytest.raises(DecodeError):  # padded by less than a block
        open_symmetric(key, seal_symmetric(key, nonce, "x", 1))
    with pytest.raises(DecodeError):
        open_symmetric(key, seal_symmetric(key, nonce, ""), 1)  # ends in zeros, not in 0x80
    with pytest.raises(DecodeError):
        open_symmetric(bytes(32), seal_symmetric(key, nonce, "x"))
