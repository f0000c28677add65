"""The two key pairs of a dm3 profile, X25519 and Ed25519, and how a wallet's signature makes them.

Source: the dm3 reference (dm3-lib-crypto, dm3-lib-profile), libsodium's crypto_kx_seed_keypair and
crypto_sign_seed_keypair. Signatures here carry no dms3 domain: the bytes signed are the protocol's.
Does not keep keys; `crypto/keys.py` has the seed of a person's own generation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from nacl.bindings import (
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError

from dms3.core.errors import DecodeError
from dms3.crypto.keys import checksum_address
from dms3.dm3.canonical import decode_base64, encode_base64, hash_text
from dms3.dm3.wallet import address_bytes

KEY_BYTES = 32
SEED_BYTES = 32
DEFAULT_NONCE = hash_text("dm3_default_nonce")
"""The nonce of the reference's libraries; every app chooses its own, and with it other keys."""

_WALLET_TEXT = """\
dm3.chat wants you to sign in with your Ethereum account:
{address}

Connect the DM3 MESSENGER with your wallet. Keys for secure communication are derived from this \
signature.

(There is no paid transaction initiated. The signature is used off-chain only.)

URI: https://dm3.chat
Version: 1
Nonce: {nonce}"""


@dataclass(frozen=True, slots=True, eq=False)
class ProfileKeys:
    """The keys behind one profile: what is sealed to it is opened, and what it says is signed.

    `encryption_public`, `encryption_secret`: X25519, 32 bytes. `signing_public`: Ed25519, 32 bytes;
    `signing_secret`: 64 bytes, seed and public key, as libsodium has it.
    """

    encryption_public: bytes
    signing_public: bytes
    encryption_secret: bytes = field(repr=False)
    signing_secret: bytes = field(repr=False)

    @classmethod
    def of_seed(cls, seed: bytes) -> ProfileKeys:
        """Both pairs from the same 32 bytes, as the reference makes those of a person."""
        return cls.of_seeds(seed, seed)

    @classmethod
    def of_seeds(cls, encryption: bytes, signing: bytes) -> ProfileKeys:
        """One pair from each seed of 32 bytes, as the reference makes those of a service."""
        assert len(encryption) == SEED_BYTES, f"a seed has 32 bytes, not {len(encryption)}"
        assert len(signing) == SEED_BYTES, f"a seed has 32 bytes, not {len(signing)}"
        secret = hashlib.blake2b(encryption, digest_size=KEY_BYTES).digest()
        signing_public, signing_secret = crypto_sign_seed_keypair(signing)
        return cls(crypto_scalarmult_base(secret), signing_public, secret, signing_secret)

    def sign(self, text: str) -> str:
        """The Ed25519 signature of the UTF-8 bytes of `text`, in base64."""
        signed: bytes = crypto_sign(text.encode(), self.signing_secret)
        return encode_base64(signed[:crypto_sign_BYTES])


def verify_text(public: bytes, text: str, signature: str) -> bool:
    """Whether `signature` (base64) over `text` was made by the holder of the Ed25519 key `public`.

    Malformed keys, signatures and text are simply false.
    """
    if len(public) != KEY_BYTES:
        return False
    try:
        crypto_sign_open(decode_base64(signature, crypto_sign_BYTES) + text.encode(), public)
    except (BadSignatureError, DecodeError, UnicodeError):
        return False
    return True


def wallet_text(address: str, nonce: str = DEFAULT_NONCE) -> str:
    """What the wallet at `address` signs (EIP-191) so that its messaging keys can be made.

    `nonce`: as the app that made the keys first has it. Raises DecodeError when `address` is none.
    """
    return _WALLET_TEXT.format(address=checksum_address(address_bytes(address)), nonce=nonce)


def seed_of_wallet_signature(signature: str) -> bytes:
    """The 32-byte seed of the keys, from the wallet's `signature` ("0x" and 130 hex digits).

    The reference hashes the text of the signature as the wallet wrote it, so its case counts.
    """
    return hashlib.sha256(signature.encode()).digest()
