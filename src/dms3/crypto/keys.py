"""The key tree: every key of a person from the twelve words, one HKDF label per purpose.

Source: docs/adr/0001-key-tree.md (labels and vectors), RFC 5869 (HKDF), BIP-32 and BIP-44 (the
account), EIP-55 (its address). The node key (libp2p peer id) is *not* in the tree: it is random
per home and never restored. Does not store or wrap keys: see `io/keyfile.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from coincurve import PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.errors import Dms3Error
from dms3.core.ids import Root
from dms3.crypto.signing import SigningKey
from dms3.crypto.words import SEED_BYTES, seed_of_words

DEVICE_BYTES = 16  # random per home, so that two devices never share an agent key
DNA_BYTES = 32
GENERATION_MAX = (1 << 32) - 1
_SALT = b"dms3 key tree 1"
_PART_BYTES_MAX = 255
_HARDENED = 1 << 31  # BIP-32
_ACCOUNT_PATH = (_HARDENED + 44, _HARDENED + 60, _HARDENED, 0, 0)  # BIP-44: m/44'/60'/0'/0/0


def label(purpose: str, parts: Sequence[bytes] = (), generation: int = 0) -> bytes:
    """The HKDF info bytes of one key; different arguments never give the same bytes.

    `purpose`: ASCII without NUL. `parts`: at most 255 bytes each (a device, a DNA). `generation`:
    counts replacements of the key.
    """
    assert purpose.isascii(), "a purpose is ASCII"
    assert purpose, "a purpose has a name"
    assert "\0" not in purpose, "NUL ends the purpose"
    assert 0 <= generation <= GENERATION_MAX, f"generation out of range: {generation}"
    out = bytearray(b"dms3 " + purpose.encode() + b"\0")
    for part in parts:
        assert 0 < len(part) <= _PART_BYTES_MAX, f"a part has 1 to 255 bytes, not {len(part)}"
        out += bytes([len(part)]) + part
    return bytes(out + b"\0" + generation.to_bytes(4, "big"))


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """A ledger account: its secp256k1 key (never shown) and its EIP-55 `address`."""

    address: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class KeyTree:
    """All keys of one person, made on demand from the 64-byte BIP-39 `seed`."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.seed) == SEED_BYTES, "a BIP-39 seed has 64 bytes"

    @classmethod
    def of_words(cls, words: str) -> KeyTree:
        """The tree of the twelve `words`; raises `words_invalid`."""
        return cls(seed_of_words(words))

    def root(self, generation: int = 0) -> SigningKey:
        """The key that certifies devices and signs grants: the person."""
        return SigningKey.of_seed(self._derive("root", (), generation))

    def root_id(self, generation: int = 0) -> Root:
        """The public key of `root(generation)`: how other people's nodes name this person."""
        return Root(self.root(generation).public)

    def device(self, device: bytes, generation: int = 0) -> SigningKey:
        """The key of one device (`device`: 16 random bytes per home) outside any app."""
        return SigningKey.of_seed(self._derive("device", (_device(device),), generation))

    def agent(self, device: bytes, dna: bytes, generation: int = 0) -> SigningKey:
        """The key with which one device writes its source chain in the app with id `dna`."""
        assert len(dna) == DNA_BYTES, f"a DNA id has 32 bytes, not {len(dna)}"
        return SigningKey.of_seed(self._derive("agent", (_device(device), dna), generation))

    def store(self, generation: int = 0) -> bytes:
        """32 bytes that would wrap store keys; backups hold none (docs/adr/0006-backups.md)."""
        return self._derive("store", (), generation)

    def backup(self, generation: int = 0) -> bytes:
        """32 bytes from which the keys of backups are made, so that the words alone open them."""
        return self._derive("backup", (), generation)

    def dm3(self, generation: int = 0) -> bytes:
        """32 bytes from which the messaging keys of a dm3 profile are made."""
        return self._derive("dm3", (), generation)

    def storage(self, generation: int = 0) -> bytes:
        """32 bytes from which names and keys of conversation storage are made."""
        return self._derive("storage", (), generation)

    def private(self, generation: int = 0) -> bytes:
        """32 bytes from which the keys of private entries are made, for their backup at others."""
        return self._derive("private", (), generation)

    def account(self) -> Account:
        """The account at BIP-44 path m/44'/60'/0'/0/0: the one every Ethereum wallet shows."""
        secret = derive_bip32(self.seed, _ACCOUNT_PATH)
        return Account(address_of(secret), secret)

    def _derive(self, purpose: str, parts: Sequence[bytes], generation: int) -> bytes:
        info = label(purpose, parts, generation)
        return HKDF(algorithm=SHA256(), length=32, salt=_SALT, info=info).derive(self.seed)


def derive_bip32(seed: bytes, path: Sequence[int]) -> bytes:
    """The 32-byte secp256k1 private key at BIP-32 `path` (2**31 and above = hardened) of `seed`.

    Raises `words_invalid` for the one seed in 2**127 whose path meets an invalid key (BIP-32).
    """
    key, chain = _split(hmac.digest(b"Bitcoin seed", seed, hashlib.sha512))
    try:
        for index in path:
            if index >= _HARDENED:
                data = b"\0" + key
            else:
                data = PrivateKey(key).public_key.format(compressed=True)
            tweak, chain = _split(hmac.digest(chain, data + index.to_bytes(4, "big"), "sha512"))
            key = PrivateKey(key).add(tweak).secret
    except ValueError as cause:
        raise Dms3Error("words_invalid", "These words give no account.") from cause
    return key


def address_of(secret: bytes) -> str:
    """The EIP-55 checksummed Ethereum address of the secp256k1 private key `secret`."""
    point = PrivateKey(secret).public_key.format(compressed=False)[1:]
    return checksum_address(keccak256(point)[-20:])


def checksum_address(address: bytes) -> str:
    """The 20 bytes `address` as text with the EIP-55 checksum in its upper and lower case."""
    assert len(address) == 20, f"an Ethereum address has 20 bytes, not {len(address)}"
    text = address.hex()
    digest = keccak256(text.encode()).hex()
    return "0x" + "".join(
        char.upper() if int(nibble, 16) >= 8 else char
        for char, nibble in zip(text, digest, strict=False)
    )


def keccak256(data: bytes) -> bytes:
    """The 32-byte keccak-256 digest of `data`, as Ethereum hashes (not NIST SHA-3)."""
    # 50 ms, for a C parser it brings along: a twentieth of a node's start that few nodes need.
    from Crypto.Hash import keccak  # noqa: PLC0415

    return bytes(keccak.new(digest_bits=256, data=data).digest())


def _split(digest: bytes) -> tuple[bytes, bytes]:
    return digest[:32], digest[32:]


def _device(device: bytes) -> bytes:
    assert len(device) == DEVICE_BYTES, f"a device id has 16 bytes, not {len(device)}"
    return device
