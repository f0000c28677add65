"""Identities of peers: public keys, the peer ids made from them, and the node's own key.

Source: libp2p peer-ids specification. Signs with Ed25519 only; verifies Ed25519, secp256k1, RSA
and ECDSA. Does not store keys.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import coincurve
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as NaclValueError
from nacl.signing import SigningKey, VerifyKey

from dms3.core import limits
from dms3.core.codec import need_at_most
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.machine import Entropy
from dms3.core.multibase import decode_base32, decode_base58, encode_base32, encode_base58
from dms3.libp2p.protobuf import Message, bytes_field, uint_field

RSA, ED25519, SECP256K1, ECDSA = 0, 1, 2, 3  # peer-ids specification, enum KeyType
_IDENTITY_MAX = 42  # peer-ids specification: a longer key is hashed
_SHA2_256 = b"\x12\x20"
_CID_PREFIX = b"\x01\x72"  # CIDv1, multicodec libp2p-key
_TEXT_CHARS_MAX = 128
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A peer's public key: `kind` is one of the four key types, `data` its own encoding."""

    kind: int
    data: bytes

    @classmethod
    def decode(cls, encoded: bytes) -> PublicKey:
        """The key in a libp2p PublicKey message; raises DecodeError unless it is canonical."""
        if len(encoded) > limits.PUBLIC_KEY_BYTES_MAX:
            raise DecodeError(limits.PUBLIC_KEY_BYTES_MAX, "public key is too long")
        message = Message(encoded)
        kind, data = message.uint(1), message.bytes_of(2)
        if kind is None or data is None or message.numbers != [1, 2]:
            raise DecodeError(0, "a public key is a type and data, in this order")
        if kind == ED25519 and len(data) != 32:
            raise DecodeError(0, "an Ed25519 public key has 32 bytes")
        if kind == SECP256K1 and len(data) != 33:
            raise DecodeError(0, "a secp256k1 public key has 33 bytes")
        if kind not in {RSA, ED25519, SECP256K1, ECDSA}:
            raise DecodeError(0, f"key type {kind} is unknown")
        return cls(kind, data)

    def encode(self) -> bytes:
        """The libp2p PublicKey message."""
        return uint_field(1, self.kind) + bytes_field(2, self.data)

    @property
    def peer_id(self) -> PeerId:
        """The peer id: the encoded key itself when short, else its SHA-256, as a multihash."""
        encoded = self.encode()
        if len(encoded) <= _IDENTITY_MAX:
            return PeerId(bytes((0, len(encoded))) + encoded)
        return PeerId(_SHA2_256 + hashlib.sha256(encoded).digest())

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` over `message` was made with this key; False for an unusable key."""
        try:
            if self.kind == ED25519:
                VerifyKey(self.data).verify(message, signature)
                return True
            if self.kind == SECP256K1:
                return bool(coincurve.PublicKey(self.data).verify(signature, message))
            return self._verify_der(message, signature)
        except (BadSignatureError, InvalidSignature, NaclValueError, ValueError, TypeError):
            return False
        except UnsupportedAlgorithm:
            return False

    def _verify_der(self, message: bytes, signature: bytes) -> bool:
        key = serialization.load_der_public_key(self.data)
        if self.kind == RSA and isinstance(key, rsa.RSAPublicKey):
            if not limits.RSA_BITS_MIN <= key.key_size <= limits.RSA_BITS_MAX:
                return False
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            return True
        if self.kind == ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            if not isinstance(key.curve, _CURVES):
                return False
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            return True
        return False


class NodeKey:
    """The Ed25519 private key of a node; its secret is in no repr."""

    __slots__ = ("_signing", "peer_id", "public", "public_bytes")

    def __init__(self, seed: bytes) -> None:
        """The key made from a 32-byte secret `seed`."""
        assert len(seed) == 32, "an Ed25519 seed has 32 bytes"
        self._signing = SigningKey(seed)
        self.public = PublicKey(ED25519, bytes(self._signing.verify_key))
        self.public_bytes = self.public.encode()
        self.peer_id = self.public.peer_id

    @classmethod
    def generate(cls, entropy: Entropy) -> NodeKey:
        """A fresh key."""
        return cls(entropy.draw(32))

    @classmethod
    def decode(cls, encoded: bytes) -> NodeKey:
        """The key in a libp2p PrivateKey message (Ed25519, 64 bytes); raises DecodeError."""
        message = Message(encoded)
        data = message.bytes_of(2)
        if message.uint(1) != ED25519 or data is None or len(data) != 64:
            raise DecodeError(0, "not an Ed25519 private key")
        key = cls(data[:32])
        if key.public.data != data[32:]:
            raise DecodeError(0, "the public half of the private key does not belong to it")
        return key

    def encode(self) -> bytes:
        """The libp2p PrivateKey message, a secret."""
        return uint_field(1, ED25519) + bytes_field(2, self.seed + self.public.data)

    @property
    def seed(self) -> bytes:
        """The 32-byte secret."""
        return bytes(self._signing)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `message`."""
        return self._signing.sign(message).signature

    def __repr__(self) -> str:
        return f"NodeKey({peer_id_text(self.peer_id)})"


def id_work(public_key: bytes) -> int:
    """The leading zero bits of SHA-256(SHA-256(`public_key`)): the work that a key has cost.

    `public_key`: the 32 raw bytes. Source: S/Kademlia (2007), section 4.1, the static puzzle.
    """
    digest = hashlib.sha256(hashlib.sha256(public_key).digest()).digest()
    return 8 * len(digest) - int.from_bytes(digest, "big").bit_length()


def decode_peer_id(data: bytes) -> PeerId:
    """The peer id whose binary form is exactly `data`; raises DecodeError otherwise."""
    if len(data) == 34 and data[:2] == _SHA2_256:
        return PeerId(bytes(data))
    if 2 <= len(data) <= _IDENTITY_MAX + 2 and data[0] == 0 and data[1] == len(data) - 2:
        PublicKey.decode(bytes(data[2:]))
        return PeerId(bytes(data))
    raise DecodeError(0, "not a peer id (a multihash of a public key)")


def public_key_in(peer: PeerId) -> PublicKey | None:
    """The public key that an identity peer id holds; None for a hashed one."""
    return PublicKey.decode(peer[2:]) if peer[:1] == b"\0" else None


def peer_id_text(peer: PeerId) -> str:
    """The base58 text of a peer id (`12D3KooW...`, `Qm...`), the form shown to people."""
    return encode_base58(peer)


def peer_id_cid(peer: PeerId) -> str:
    """The peer id as a base32 CIDv1 with multicodec libp2p-key (`bafz...`)."""
    return "b" + encode_base32(_CID_PREFIX + peer)


def parse_peer_id(text: str) -> PeerId:
    """The peer id written as `text`, in either form; raises DecodeError."""
    need_at_most(text, _TEXT_CHARS_MAX, "a peer id")
    if text.startswith(("1", "Qm")):
        return decode_peer_id(decode_base58(text))
    if text.startswith("b"):
        data = decode_base32(text[1:])
        if data[:2] != _CID_PREFIX:
            raise DecodeError(0, "not a content identifier of a libp2p key")
        return decode_peer_id(data[2:])
    raise DecodeError(0, f"{text[:16]!r} is not a peer id (12D3KooW..., Qm... or bafz...)")
