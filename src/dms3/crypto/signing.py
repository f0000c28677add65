"""Ed25519 signatures over domain-separated bytes: one key never signs two meanings alike.

Source: RFC 8032; docs/architecture.md, "Identity". What is signed is `b"dms3 " + domain + NUL +
message`, so a signature made for one kind of object says nothing about another. Does not keep keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nacl.bindings import crypto_sign_BYTES, crypto_sign_PUBLICKEYBYTES, crypto_sign_SEEDBYTES
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as _Ed25519
from nacl.signing import VerifyKey

PUBLIC_BYTES = crypto_sign_PUBLICKEYBYTES
SIGNATURE_BYTES = crypto_sign_BYTES
SEED_BYTES = crypto_sign_SEEDBYTES


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """An Ed25519 private key; `public` is its 32-byte public key."""

    public: bytes
    _secret: _Ed25519 = field(repr=False)

    @classmethod
    def of_seed(cls, seed: bytes) -> SigningKey:
        """The key whose RFC 8032 private key is the 32 bytes `seed`."""
        assert len(seed) == SEED_BYTES, f"an Ed25519 seed has 32 bytes, not {len(seed)}"
        secret = _Ed25519(seed)
        return cls(bytes(secret.verify_key), secret)

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """The 64-byte signature of `message` in `domain` (a short ASCII name without NUL)."""
        return bytes(self._secret.sign(_bound(domain, message)).signature)


def verify(public: bytes, domain: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over `message` in `domain` was made by the holder of `public`.

    Malformed keys and signatures are simply false.
    """
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public).verify(_bound(domain, message), signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _bound(domain: bytes, message: bytes) -> bytes:
    assert domain, "a signature needs a domain"
    assert b"\0" not in domain, "NUL ends the domain"
    return b"dms3 " + domain + b"\0" + message
