import json
from pathlib import Path

import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.multibase import encode_base32
from dms3.libp2p.peer_id import (
    ECDSA,
    ED25519,
    RSA,
    SECP256K1,
    NodeKey,
    PublicKey,
    decode_peer_id,
    parse_peer_id,
    peer_id_cid,
    peer_id_text,
    public_key_in,
)
from dms3.libp2p.protobuf import bytes_field, uint_field

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "peer_ids.json").read_text())
KINDS = {"rsa": RSA, "ed25519": ED25519, "secp256k1": SECP256K1, "ecdsa": ECDSA}


@pytest.mark.parametrize("name", KINDS)
def test_published_public_keys_are_read_and_written_unchanged(name):
    encoded = bytes.fromhex(VECTORS["public"][name])
    key = PublicKey.decode(encoded)
    assert key.kind == KINDS[name]
    assert key.encode() == encoded
    assert decode_peer_id(key.peer_id) == key.peer_id


def test_published_private_key_gives_the_published_public_key():
    encoded = bytes.fromhex(VECTORS["private"]["ed25519"])
    key = NodeKey.decode(encoded)
    assert key.encode() == encoded
    assert key.public_bytes.hex() == VECTORS["public"]["ed25519"]
    assert public_key_in(key.peer_id) == key.public


def test_private_key_with_a_foreign_public_half_is_refused():
    encoded = bytearray.fromhex(VECTORS["private"]["ed25519"])
    encoded[-1] ^= 1
    with pytest.raises(DecodeError, match="does not belong"):
        NodeKey.decode(bytes(encoded))


def test_published_texts():
    texts = VECTORS["texts"]
    hashed = parse_peer_id(texts["hashed_cid"])
    assert peer_id_cid(hashed) == texts["hashed_cid"]
    assert peer_id_text(hashed) != texts["hashed_cid"]
    for name in ("hashed_base58", "ed25519_base58"):
        peer = parse_peer_id(texts[name])
        assert peer_id_text(peer) == texts[name]
        assert parse_peer_id(peer_id_cid(peer)) == peer


def _signers():
    secret = {name: bytes.fromhex(VECTORS["private"][name]) for name in KINDS}
    rsa_key = serialization.load_der_private_key(secret["rsa"][5:], None)
    ecdsa_key = serialization.load_der_private_key(secret["ecdsa"][4:], None)
    return {
        "ed25519": NodeKey.decode(secret["ed25519"]).sign,
        "secp256k1": PrivateKey(secret["secp256k1"][4:]).sign,
        "rsa": lambda m: rsa_key.sign(m, padding.PKCS1v15(), hashes.SHA256()),
        "ecdsa": lambda m: ecdsa_key.sign(m, ec.ECDSA(hashes.SHA256())),
    }


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_verifies_its_own_signature_and_no_other(name):
    key = PublicKey.decode(bytes.fromhex(VECTORS["public"][name]))
    signature = _signers()[name](b"message")
    assert key.verify(b"message", signature)
    assert not key.verify(b"messagf", signature)
    assert not key.verify(b"message", signature[:-1])
    assert not key.verify(b"message", b"")
    assert not key.verify(b"message", bytes(len(signature)))


def test_a_key_of_one_kind_in_the_envelope_of_another_verifies_nothing():
    ecdsa = PublicKey.decode(bytes.fromhex(VECTORS["public"]["ecdsa"]))
    signature = _signers()["ecdsa"](b"message")
    assert not PublicKey(RSA, ecdsa.data).verify(b"message", signature)
    assert not PublicKey(RSA, b"garbage").verify(b"message", signature)
    assert not PublicKey(ECDSA, b"garbage").verify(b"message", signature)


def test_a_small_rsa_identity_is_refused():
    small = rsa.generate_private_key(65537, 1024)
    der = small.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signature = small.sign(b"m", padding.PKCS1v15(), hashes.SHA256())
    assert limits.RSA_BITS_MIN > 1024
    assert not PublicKey(RSA, der).verify(b"m", signature)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        uint_field(1, ED25519),
        bytes_field(2, bytes(32)) + uint_field(1, ED25519),  # the wrong order
        uint_field(1, ED25519) + bytes_field(2, bytes(31)),
        uint_field(1, SECP256K1) + bytes_field(2, bytes(65)),
        uint_field(1, 4) + bytes_field(2, bytes(32)),
        uint_field(1, ED25519) + bytes_field(2, bytes(32)) + uint_field(3, 1),
        uint_field(1, RSA) + bytes_field(2, bytes(limits.PUBLIC_KEY_BYTES_MAX)),
        b"\x08\x81\x00" + bytes_field(2, bytes(32)),  # a type that is not minimal
    ],
)
def test_public_keys_that_are_not_canonical_are_refused(encoded):
    with pytest.raises(DecodeError):
        PublicKey.decode(encoded)


@pytest.mark.parametrize(
    "text",
    ["", "1", "Qm", "x123", "12D3KooW", "b", "bafz", "1" * 200, "b" + encode_base32(b"\x01\x55ab")],
)
def test_texts_that_name_no_peer_are_refused(text):
    with pytest.raises(DecodeError):
        parse_peer_id(text)


def test_the_secret_is_in_no_repr():
    key = NodeKey(b"\x07" * 32)
    assert "07070707" not in repr(key)
    assert peer_id_text(key.peer_id) in repr(key)
