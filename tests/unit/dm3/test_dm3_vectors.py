"""Every value in the vectors 01 to 09 and 13 to 15 of the reference, from our own functions."""

import json

import pytest

from dms3.core.errors import DecodeError
from dms3.crypto.keys import address_of, keccak256
from dms3.dm3.canonical import canonical, hash_text, parse, size_of
from dms3.dm3.envelope import (
    decode_envelope,
    is_envelope_by,
    open_delivery,
    open_envelope,
    with_postmark,
)
from dms3.dm3.keys import (
    DEFAULT_NONCE,
    ProfileKeys,
    seed_of_wallet_signature,
    verify_text,
    wallet_text,
)
from dms3.dm3.message import compose, decode_message, is_message_by
from dms3.dm3.naming import conversation_id, namehash, reference_form
from dms3.dm3.postmark import is_postmark_by, open_postmark
from dms3.dm3.profile import (
    decode_service_profile,
    decode_signed_profile,
    decode_user_profile,
    is_signed_by,
    profile_text,
    sign_profile,
)
from dms3.dm3.sealing import _session_key, open_symmetric, open_text, seal_symmetric, seal_text
from dms3.dm3.wallet import personal_hash, personal_sign, personal_signer
from unit.dm3_kit import ALICE, SERVICE, Stream, keys_of, load, unbase


def vectors(number):
    return load(number)["vectors"]


@pytest.mark.parametrize("case", vectors("01"), ids=lambda case: case["out"][:24])
def test_canonical_json_and_hashes(case):
    if "input_js" in case:  # undefined: a member that is not there, or null in a list
        assert canonical({"a": None, "arr": [None, 1]}) == case["out"]
        return
    text = canonical(case["input"])
    assert text == case["out"]
    assert canonical(parse(text, 1_000)) == text
    assert hash_text(text) == case["sha256"]
    assert size_of(case["input"]) == case["size"]
    assert "0x" + keccak256(text.encode()).hex() == case["keccak_id"]
    assert "0x" + personal_hash(text).hex() == case["eip191_hashMessage"]


@pytest.mark.parametrize("case", vectors("02"), ids=lambda case: case["nonce"][:14])
def test_keys_from_a_wallet(case):
    assert load("02")["default_nonce"] == DEFAULT_NONCE
    secret = bytes.fromhex(case["wallet_private_key"][2:])
    assert address_of(secret) == case["address"]
    text = wallet_text(case["address"].lower(), case["nonce"])
    assert text == case["storage_key_creation_message"]
    signature = personal_sign(secret, text)
    assert signature == case["personal_sign_signature"]
    assert personal_signer(text, signature) == case["address"]
    seed = seed_of_wallet_signature(signature)
    assert seed == unbase(case["storage_key_b64"])
    keys, expected = ProfileKeys.of_seed(seed), keys_of(case["profile_keys"])
    assert keys.encryption_public == expected.encryption_public
    assert keys.encryption_secret == expected.encryption_secret
    assert keys.signing_public == expected.signing_public
    assert keys.signing_secret == expected.signing_secret
    assert seed == unbase(case["profile_keys"]["storageEncryptionKey"])


def test_signed_user_profile():
    (case,) = vectors("03")
    secret = bytes.fromhex(case["wallet_private_key"][2:])
    profile = decode_user_profile(case["profile"])
    assert profile.text() == case["profile_canonical"]
    assert profile_text(case["address"], profile) == case["profile_creation_message"]
    signed = sign_profile(secret, profile)
    assert signed == decode_signed_profile(case["signed_profile"])
    assert signed.value() == case["signed_profile"]
    assert is_signed_by(signed, case["address"]) is case["check"]
    assert hash_text(signed.text()) == case["dm3Hash"]
    keys = keys_of(case["keys"])
    assert (profile.encryption, profile.signing) == (keys.encryption_public, keys.signing_public)


def test_service_profile():
    case = load("04")
    keys = ProfileKeys.of_seeds(
        unbase(case["seed_encryption_b64"]), unbase(case["seed_signing_b64"])
    )
    expected = keys_of(case["keys"])
    for name in ("encryption_public", "encryption_secret", "signing_public", "signing_secret"):
        assert getattr(keys, name) == getattr(expected, name)
    profile = decode_service_profile(case["profile"])
    assert profile.value() == case["profile"]
    assert hash_text(profile.text()) == case["dm3Hash"]


def test_session_keys():
    session = load("05")["session"]
    ephemeral, receiver = session["ephemeral"], session["receiver"]
    ours, theirs = unbase(ephemeral["publicKey"]), unbase(receiver["publicKey"])
    sent = _session_key(unbase(ephemeral["privateKey"]), theirs, ours, theirs)
    received = _session_key(unbase(receiver["privateKey"]), ours, ours, theirs)
    assert sent == received == unbase(session["sender_session"]["sharedTx"])
    assert received == unbase(session["receiver_session"]["sharedRx"])


@pytest.mark.parametrize("case", vectors("05"), ids=lambda case: case["plaintext"][:9])
def test_symmetric_sealing(case):
    key, padding = unbase(case["key_b64"]), case["padding"]
    sealed = seal_symmetric(key, bytes.fromhex(case["nonce"][2:]), case["plaintext"], padding)
    assert json.loads(sealed) == case["result"]
    assert open_symmetric(key, sealed, padding) == case["decrypted"]


@pytest.mark.parametrize("case", vectors("06"), ids=lambda case: case["plaintext"][:9])
def test_sealed_to_a_key(case):
    secret = unbase(case["receiver_key_pair"]["privateKey"])
    assert canonical(case["payload"]) == case["wire_string"]
    assert open_text(secret, case["wire_string"]) == case["plaintext"]
    again = seal_text(unbase(case["receiver_key_pair"]["publicKey"]), case["plaintext"], Stream(1))
    assert canonical(json.loads(again)) == again
    assert len(again) == len(case["wire_string"])
    assert open_text(secret, again) == case["plaintext"]


@pytest.mark.parametrize("case", vectors("07"), ids=lambda case: case["payload"][:9])
def test_signatures(case):
    assert ALICE.signing_secret == unbase(case["signing_key_pair"]["privateKey"])
    assert ALICE.sign(case["payload"]) == case["signature"]
    public = unbase(case["signing_key_pair"]["publicKey"])
    assert verify_text(public, case["payload"], case["signature"])
    assert not verify_text(public, case["payload"] + " ", case["signature"])


@pytest.mark.parametrize("case", vectors("08"), ids=lambda case: case["kind"])
def test_messages(case):
    message = decode_message(case["message"])
    assert message.value() == case["message"]
    assert message.signed_text() == case["canonical_without_signature"]
    assert canonical(message.value()) == message.whole_text() == case["canonical"]
    assert message.hash == case["message_hash"]
    assert "0x" + keccak256(case["canonical"].encode()).hex() == case["storage_id_keccak"]
    assert ALICE.signing_public == unbase(load("08")["signer"]["public"])
    assert is_message_by(message, ALICE.signing_public, "Alice.ETH") is case["valid"]
    again = compose(
        ALICE,
        sender=message.sender,
        receiver=message.receiver,
        sent_ms=load("08")["timestamp"],
        type=message.type,
        text=message.text,
        attachments=message.attachments,
        reference=message.reference,
    )
    assert again == message


@pytest.mark.parametrize("case", vectors("09"), ids=lambda case: case["kind"])
def test_envelopes(case):
    given = load("09")
    secret = unbase(given["receiver_encryption_key_pair"]["privateKey"])
    assert keys_of(given["delivery_service_keys"]).signing_secret == SERVICE.signing_secret
    envelope = decode_envelope(case["encrypted_envelop"])
    assert envelope.value() == case["encrypted_envelop"]
    assert size_of(envelope.value()) == case["envelop_size"]
    assert envelope.signed_text() == case["metadata_signed_string"]
    sender = unbase(given["sender_signing_public"])
    assert is_envelope_by(envelope, sender) is case["metadata_signature_ok"]
    message = open_envelope(secret, envelope)
    assert message.value() == case["message"]
    assert message.hash == envelope.message_hash
    information = open_delivery(SERVICE.encryption_secret, envelope)
    assert information.value() == case["delivery_information"]
    stamped = with_postmark(envelope, case["postmarked_postmark_field"], information)
    assert decode_envelope(stamped.text()) == stamped
    postmark = open_postmark(secret, stamped)
    assert postmark.value() == case["postmark"]
    assert postmark.message_hash == case["postmark_messageHash_expected"]
    assert (
        is_postmark_by(postmark, stamped, SERVICE.signing_public) is case["postmark_signature_ok"]
    )
    unsigned = {k: v for k, v in case["postmark"].items() if k != "signature"}
    assert hash_text(canonical(unsigned)) == case["postmark_signed_string"]
    assert decode_envelope(case["rpc_request"]["params"][0]) == envelope


def test_legacy_envelope():
    given = load("14")
    (case,) = given["vectors"]
    envelope = decode_envelope(case["encrypted_envelop"])
    assert envelope.legacy
    assert envelope.value() == case["encrypted_envelop"]
    assert envelope.message_hash == case["encryptedMessageHash_expected"]
    assert is_envelope_by(envelope, unbase(given["sender_signing_public"]))
    secret = unbase(given["receiver_encryption_key_pair"]["privateKey"])
    message = open_envelope(secret, envelope)
    assert message.value() == case["message"]
    assert is_message_by(message, ALICE.signing_public, "alice.eth")
    assert open_delivery(SERVICE.encryption_secret, envelope).receiver == "bob.eth"


@pytest.mark.parametrize("case", vectors("13"), ids=lambda case: case["in"])
def test_names(case):
    if "error" in case:
        with pytest.raises(DecodeError):
            reference_form(case["in"])
        return
    assert reference_form(case["in"]) == case["out"]
    assert "0x" + namehash(case["out"]).hex() == case["namehash"]


def test_conversation_id():
    case = load("13")["conversation_id"]
    assert conversation_id(*case["in"]) == case["out"]
