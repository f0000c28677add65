"""The dm3 reference's own libraries (npm 1.7.1) and ours read each other's everything."""

import base64
import json
import random
import string

import pytest

from dms3.core.errors import DecodeError
from dms3.crypto.keys import address_of, keccak256
from dms3.dm3.canonical import canonical, encode_base64, hash_text, parse, size_of
from dms3.dm3.envelope import (
    decode_envelope,
    enclose,
    is_envelope_by,
    open_delivery,
    open_envelope,
    with_postmark,
)
from dms3.dm3.keys import ProfileKeys, seed_of_wallet_signature, verify_text, wallet_text
from dms3.dm3.link import decode_signed_link, is_link_by
from dms3.dm3.message import Attachment, MessageType, compose, decode_message, is_message_by
from dms3.dm3.naming import conversation_id, namehash, reference_form
from dms3.dm3.postmark import is_postmark_by, open_postmark, stamp
from dms3.dm3.profile import decode_signed_profile, is_signed_by, sign_profile
from dms3.dm3.sealing import open_text, seal_text
from dms3.dm3.token import (
    issue_challenge,
    issue_session,
    read_challenge,
    read_session,
    token_secret,
)
from dms3.dm3.wallet import personal_sign
from interop.dm3_peer import call, calls, with_reference
from unit.dm3_kit import ALICE, BOB, SERVICE, SERVICE_PROFILE, Stream, profile_of

pytestmark = pytest.mark.interop

SEED = 20_261_121
GENERATED = 1_000
WALLET = bytes([0x11]) * 32
ADDRESS = address_of(WALLET)
REFERENCE_HASH = "0x" + "e" * 64


def pair(public: bytes, secret: bytes) -> dict[str, str]:
    return {"publicKey": encode_base64(public), "privateKey": encode_base64(secret)}


def keys_value(keys: ProfileKeys) -> dict[str, dict[str, str]]:
    """The keys as the reference's functions take them."""
    return {
        "encryptionKeyPair": pair(keys.encryption_public, keys.encryption_secret),
        "signingKeyPair": pair(keys.signing_public, keys.signing_secret),
    }


def theirs_envelope_arguments(message) -> list:
    dependencies = {
        "from": {"ensName": "alice.eth"},
        "to": {"ensName": "bob.eth", "profile": profile_of(BOB, "ds.eth").value()},
        "deliverServiceProfile": SERVICE_PROFILE.value(),
        "keys": keys_value(ALICE),
    }
    return [message, {"$exported": ["crypto", "encryptAsymmetric"]}, dependencies]


# What they make, we read.


def test_their_profile_is_ours():
    async def work(js):
        made = await call(
            js, "profile", "createProfile", ADDRESS, ["ds.eth"], None,
            {"signer": {"$signer": "0x" + WALLET.hex()}},
        )  # fmt: skip
        signed = decode_signed_profile(made["signedProfile"])
        assert is_signed_by(signed, ADDRESS)
        text = wallet_text(ADDRESS)
        keys = ProfileKeys.of_seed(seed_of_wallet_signature(personal_sign(WALLET, text)))
        assert keys_value(keys).items() <= made["keys"].items()
        assert sign_profile(WALLET, profile_of(keys, "ds.eth")) == signed

    with_reference(work)


def test_their_messages_and_envelopes_open():
    made = {
        MessageType.NEW: ("createMessage", "Hello Bob 🎉", [[{"name": "a", "data": "data:,x"}]]),
        MessageType.EDIT: ("createEditMessage", "edited", [REFERENCE_HASH]),
        MessageType.REPLY: ("createReplyMessage", "reply", [REFERENCE_HASH, []]),
        MessageType.REACTION: ("createReactionMessage", "👍", [REFERENCE_HASH]),
        MessageType.READ_OPENED: ("createReadOpenMessage", "READ_OPENED", [REFERENCE_HASH]),
        MessageType.READ_RECEIVED: ("createReadReceiveMessage", "", [REFERENCE_HASH]),
        MessageType.DELETE_REQUEST: ("createDeleteRequestMessage", None, [REFERENCE_HASH]),
    }
    secret = keys_value(ALICE)["signingKeyPair"]["privateKey"]

    async def work(js):
        for kind, (function, text, more) in made.items():
            given = [secret, *more] if text is None else [text, secret, *more]
            theirs = await call(js, "messaging", function, "bob.eth", "alice.eth", *given)
            message = decode_message(theirs)
            assert message.type == kind
            assert is_message_by(message, ALICE.signing_public, "ALICE.eth")
            envelope = await their_envelope(js, theirs)
            assert open_envelope(BOB.encryption_secret, envelope) == message
            await their_postmark(js, envelope)

    async def their_envelope(js, message):
        arguments = theirs_envelope_arguments(message)
        built = await call(js, "messaging", "buildEnvelop", *arguments)
        envelope = decode_envelope(built["encryptedEnvelop"])
        assert envelope.legacy
        assert is_envelope_by(envelope, ALICE.signing_public)
        information = open_delivery(SERVICE.encryption_secret, envelope)
        assert (information.sender, information.receiver) == ("alice.eth", "bob.eth")
        assert size_of(envelope.value()) == await call(
            js, "messaging", "getEnvelopSize", envelope.value()
        )
        return envelope

    async def their_postmark(js, envelope):
        stamped = await call(
            js, "messaging", "handleMessageOnDeliveryService",
            envelope.value(), keys_value(SERVICE), profile_of(BOB).value(),
        )  # fmt: skip
        envelope = decode_envelope(stamped["encryptedEnvelop"])
        postmark = open_postmark(BOB.encryption_secret, envelope)
        assert is_postmark_by(postmark, envelope, SERVICE.signing_public)

    with_reference(work)


# What we make, they read.


# The schema of the published packages knows neither the specification's receipt nor bare text.
THEIR_TYPES = [kind for kind in MessageType if kind is not MessageType.READ_RECEIPT]


def test_our_messages_and_envelopes_open():
    async def work(js):
        for kind in THEIR_TYPES:
            message = our_message(kind)
            assert await fits(js, "MessageSchema", message.value())
            identity = await call(js, "messaging", "getId", {"message": message.value()})
            assert identity == "0x" + keccak256(canonical(message.value()).encode()).hex()
            await they_open(js, message)
        current = enclose(message, ALICE, profile_of(BOB), SERVICE_PROFILE, Stream(1))
        assert not await fits(js, "EncryptionEnvelopeSchema", current.value())  # it is newer

    with_reference(work)


def our_message(kind):
    return compose(
        ALICE,
        sender="alice.eth",
        receiver="bob.eth",
        sent_ms=1_700_000_000_000,
        type=kind,
        text="Grüße 🎉\n" + "x" * 3_000,
        attachments=(Attachment("a.txt", "data:text/plain,hello"), Attachment(None, "data:,")),
        reference=REFERENCE_HASH,
    )


async def fits(js, schema, value):
    given = {"$exported": ["messaging", "schema", schema]}
    return await call(js, "shared", "validateSchema", given, value)


async def they_open(js, message):
    entropy = Stream(SEED)
    envelope = enclose(message, ALICE, profile_of(BOB), SERVICE_PROFILE, entropy, legacy=True)
    assert await fits(js, "EncryptionEnvelopeSchema", envelope.value())
    information = open_delivery(SERVICE.encryption_secret, envelope)
    assert information.value() == await call(
        js, "delivery", "decryptDeliveryInformation",
        envelope.value(), keys_value(SERVICE)["encryptionKeyPair"],
    )  # fmt: skip
    sealed = stamp(SERVICE, envelope, BOB.encryption_public, 1_700_000_000_123, entropy)
    kept = with_postmark(envelope, sealed, information)
    opened = await call(
        js, "messaging", "decryptEnvelop", kept.value(), keys_value(BOB)["encryptionKeyPair"]
    )
    assert opened["message"] == message.value()
    assert opened["postmark"]["incommingTimestamp"] == 1_700_000_000_123
    signing = keys_value(ALICE)["signingKeyPair"]["publicKey"]
    for name, expected in (("ALICE.eth", True), ("mallory.eth", False)):
        assert expected is await call(
            js, "messaging", "checkMessageSignature", opened["message"], signing, name
        )
    assert await call(
        js, "crypto", "checkSignature", signing, envelope.signed_text(), envelope.signature
    )


def test_our_profile_and_link_verify():
    signed = sign_profile(WALLET, profile_of(ALICE, "ds.eth", "other.eth"))

    async def work(js):
        value = signed.value()
        check = "checkUserProfileWithAddress"
        assert await call(js, "profile", check, value, ADDRESS)
        assert not await call(js, "profile", check, value, address_of(bytes([0x22]) * 32))
        assert await call(js, "profile", "validateSignedUserProfile", value)
        link = await call(
            js, "profile", "createProfileLink", ADDRESS, "a.eth", "https://app.example", {"ttl": 60}
        )
        theirs = await call(
            js, "profile", "signProfileLink", link, {"$signer": "0x" + WALLET.hex()}
        )
        assert is_link_by(decode_signed_link(theirs), None, theirs["profileLink"]["issuedAt"])

    with_reference(work)


def test_tokens_go_both_ways():
    secret = token_secret(SERVICE)

    async def work(js):
        assert secret == await call(
            js, "server-side", "getServerSecret",
            {"SIGNING_PUBLIC_KEY": keys_value(SERVICE)["signingKeyPair"]["publicKey"],
             "SIGNING_PRIVATE_KEY": keys_value(SERVICE)["signingKeyPair"]["privateKey"],
             "ENCRYPTION_PUBLIC_KEY": keys_value(SERVICE)["encryptionKeyPair"]["publicKey"],
             "ENCRYPTION_PRIVATE_KEY": keys_value(SERVICE)["encryptionKeyPair"]["privateKey"]},
        )  # fmt: skip
        theirs = await call(js, "server-side", "generateAuthJWT", "Alice.ETH", secret)
        claims = json.loads(_unpadded(theirs.split(".")[1]))
        session = read_session(secret, theirs, claims["iat"])
        assert (session.account, session.until_s) == ("alice.eth", claims["iat"] + 3_600)
        ours = issue_session(secret, "alice.eth", claims["iat"])
        assert await call(
            js, "server-side", "checkToken", None, {"$returns": True}, "alice.eth", ours, secret
        )  # fmt: skip
        challenge = issue_challenge(secret, "alice.eth", claims["iat"], Stream(1))
        signature = await call(
            js, "crypto", "sign", keys_value(ALICE)["signingKeyPair"]["privateKey"], challenge
        )
        assert verify_text(ALICE.signing_public, challenge, signature)
        assert read_challenge(secret, challenge, claims["iat"]).account == "alice.eth"

    with_reference(work)


def _unpadded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


# Equal on generated inputs.


def test_canonical_json_and_hashes_are_equal():
    chosen = random.Random(SEED)
    values = [json_value(chosen, 4) for _ in range(GENERATED)]

    async def work(js):
        texts = await calls(js, "shared", "stringify", [[value] for value in values])
        assert [canonical(value) for value in values] == texts
        assert [canonical(parse(text, 1 << 20)) for text in texts] == texts
        hashes = await calls(js, "shared", "sha256", [[text] for text in texts])
        assert [hash_text(text) for text in texts] == hashes
        sizes = await calls(js, "shared", "getSize", [[value] for value in values])
        assert [size_of(value) for value in values] == sizes

    with_reference(work)


def test_numbers_are_printed_as_they_print_them():
    chosen = random.Random(SEED)
    numbers = [
        0.0,
        -0.0,
        1e21,
        1e20,
        123456789012345680000,
        1e-6,
        1e-7,
        5e-324,
        1.7976931348623157e308,
    ]
    numbers += [chosen.random() * 10.0 ** chosen.randint(-30, 30) for _ in range(GENERATED)]
    numbers += [float(chosen.randrange(-(10**22), 10**22)) for _ in range(GENERATED)]

    async def work(js):
        texts = await calls(js, "shared", "stringify", [[number] for number in numbers])
        assert [canonical(number) for number in numbers] == texts

    with_reference(work)


def test_names_are_equal():
    chosen = random.Random(SEED)
    letters = (
        "abzAZ09-.éßÄİŞſﬁⅧǅΣς\u00ad\u200d\u0301\ufe0f\u0130\u3000一あアｱ한"
        "\u0627\u0644\u0639\u05d0\ufdfa😀🅰ⓐ℀½①\u2028ŉ"
    )
    names = ["".join(chosen.choices(letters, k=chosen.randint(1, 8))) for _ in range(3 * GENERATED)]
    names += ["".join(chosen.choices(string.ascii_letters + "-.", k=9)) for _ in range(GENERATED)]

    async def work(js):
        theirs = await calls(js, "profile", "normalizeEnsName", [[name] for name in names])
        assert [ours(name) for name in names] == theirs
        plain = sorted({name for name in theirs if name and name.isascii() and ".." not in name})
        hashes = await calls(js, "utils", "namehash", [[name] for name in plain])
        for name, found in zip(plain, hashes, strict=True):
            assert found in (None, "0x" + namehash(name).hex()), name
        assert sum(found is not None for found in hashes) > GENERATED // 10
        ids = await calls(js, "delivery", "getConversationId", [[ADDRESS, "Bob.ETH"]])
        assert ids == [conversation_id(ADDRESS, "Bob.ETH")]

    def ours(name):
        try:
            return reference_form(name)
        except DecodeError:
            return None

    with_reference(work)


def test_sealed_text_goes_both_ways():
    texts = ["", "a", "ü" * 1_023, "x" * 2_047, "x" * 2_048, "🎉" * 10_000]
    theirs_pair = keys_value(BOB)["encryptionKeyPair"]
    entropy = Stream(SEED)

    async def work(js):
        sealed = [[theirs_pair["publicKey"], text] for text in texts]
        payloads = await calls(js, "crypto", "encryptAsymmetric", sealed)
        opened = [open_text(BOB.encryption_secret, canonical(payload)) for payload in payloads]
        assert opened == texts
        ours = [json.loads(seal_text(BOB.encryption_public, text, entropy)) for text in texts]
        again = [[theirs_pair, payload] for payload in ours]
        assert await calls(js, "crypto", "decryptAsymmetric", again) == texts

    with_reference(work)


def json_value(chosen: random.Random, depth: int):
    kind = chosen.randrange(8 if depth else 5)
    if kind == 0:
        return chosen.choice([None, True, False])
    if kind == 1:
        return chosen.randint(-(2**53) + 1, 2**53 - 1)
    if kind <= 4:
        return json_text(chosen)
    if kind == 5:
        return [json_value(chosen, depth - 1) for _ in range(chosen.randrange(4))]
    return {json_text(chosen): json_value(chosen, depth - 1) for _ in range(chosen.randrange(5))}


def json_text(chosen: random.Random) -> str:
    letters = 'abc012"\\/\n\r\t\b\f\0\x1f\x7f é\u2028\ue000\uffff😀𐀀{}[],:'
    return "".join(chosen.choices(letters, k=chosen.randrange(6)))
