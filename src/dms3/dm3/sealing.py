"""Sealing of text to a key of X25519 or under a shared key, as dm3 has it on the wire.

Source: the dm3 reference (dm3-lib-crypto): crypto_kx session keys, ISO/IEC 7816-4 padding,
ChaCha20-Poly1305 (RFC 8439) without associated data. The sender is not authenticated and the
receiver's key has no forward secrecy: that is the protocol; what is sealed is signed inside.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_ENVELOPE_BYTES_MAX
from dms3.core.machine import Entropy
from dms3.dm3.canonical import canonical, decode_base64, encode_base64, parse

SCHEME = "x25519-chacha20-poly1305"
PADDING = 2_048  # the reference's block: texts up to 2,047 bytes have the same size
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_PAD_FIRST = b"\x80"  # ISO/IEC 7816-4: this, then zeros to the end of the block
_HEAD = '{"ciphertext":"'
_TAIL = re.compile(r'","ephemPublicKey":"([A-Za-z0-9+/=]{44})","nonce":"(0x[0-9a-f]{24})"\}')
_TAIL_CHARS = len('","ephemPublicKey":"","nonce":"0x"}') + 44 + 24
_NONCE = re.compile(r"0x[0-9a-fA-F]{24}")


def seal_text(public: bytes, text: str, entropy: Entropy) -> str:
    """`text` for the holder of the X25519 key `public` (32 bytes): the payload, canonical JSON.

    Raises DecodeError when `public` is no key (of low order): its profile is at fault.
    """
    secret = entropy.draw(KEY_BYTES)
    ephemeral = crypto_scalarmult_base(secret)
    key = _session_key(secret, public, ephemeral, public)
    nonce = entropy.draw(NONCE_BYTES)
    ciphertext = encode_base64(_encrypt(key, nonce, text, PADDING))
    # Written out: the three texts are ASCII without anything to escape, and already in order.
    return (
        f'{{"ciphertext":"{ciphertext}","ephemPublicKey":"{encode_base64(ephemeral)}",'
        f'"nonce":"0x{nonce.hex()}"}}'
    )


def open_text(secret: bytes, payload: str, public: bytes | None = None) -> str:
    """The text that was sealed to the X25519 key whose secret is `secret` (32 bytes).

    `public`: of that secret, when it is at hand; None makes it, a third of the time. Raises
    DecodeError when `payload` is no payload, was sealed to another key, or was changed.
    """
    found = _members_of(payload)
    ephemeral = decode_base64(found.get("ephemPublicKey"), KEY_BYTES)
    own = crypto_scalarmult_base(secret) if public is None else public
    key = _session_key(secret, ephemeral, ephemeral, own)
    return _decrypt(key, found, PADDING)


def seal_symmetric(key: bytes, nonce: bytes, text: str, padding: int = PADDING) -> str:
    """`text` under `key` (32 bytes) with `nonce` (12 bytes, never twice under one key).

    Canonical JSON with the members ciphertext and nonce. `padding`: the block, 1 for no hiding.
    """
    ciphertext = encode_base64(_encrypt(key, nonce, text, padding))
    return canonical({"ciphertext": ciphertext, "nonce": f"0x{nonce.hex()}"})


def open_symmetric(key: bytes, payload: str, padding: int = PADDING) -> str:
    """What `seal_symmetric` was given; raises DecodeError when anything differs from then."""
    return _decrypt(key, _members_of(payload), padding)


def _members_of(payload: str) -> dict[str, Any]:
    """The members of a payload; what both implementations write is cut, anything else parsed."""
    end = len(payload) - _TAIL_CHARS
    if payload.startswith(_HEAD) and (tail := _TAIL.fullmatch(payload, max(end, 0))):
        ciphertext = payload[len(_HEAD) : end]  # if there is a quote in it, it is no base64
        return {"ciphertext": ciphertext, "ephemPublicKey": tail[1], "nonce": tail[2]}
    found = parse(payload, DM3_ENVELOPE_BYTES_MAX)
    if type(found) is not dict:
        raise DecodeError(0, "expected a sealed payload")
    return found


def _session_key(secret: bytes, other: bytes, client: bytes, server: bytes) -> bytes:
    """crypto_kx: what the client (here always the ephemeral key) sends with."""
    try:
        shared = crypto_scalarmult(secret, other)
    except CryptoError as cause:
        raise DecodeError(0, "not a key of X25519: its order is low") from cause
    return hashlib.blake2b(shared + client + server).digest()[KEY_BYTES:]


def _encrypt(key: bytes, nonce: bytes, text: str, padding: int) -> bytes:
    assert len(nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}"
    data = text.encode() + _PAD_FIRST
    padded = data + bytes(-len(data) % padding)
    return bytes(crypto_aead_chacha20poly1305_ietf_encrypt(padded, None, nonce, key))


def _decrypt(key: bytes, found: dict[str, Any], padding: int) -> str:
    nonce = found.get("nonce")
    if type(nonce) is not str or not _NONCE.fullmatch(nonce):
        raise DecodeError(0, "expected a nonce: 0x and 24 hex digits")
    sealed = decode_base64(found.get("ciphertext"))
    if len(sealed) < TAG_BYTES + padding:
        raise DecodeError(len(sealed), "a ciphertext is cut off")
    try:
        padded = crypto_aead_chacha20poly1305_ietf_decrypt(
            sealed, None, bytes.fromhex(nonce[2:]), key
        )
        return _unpadded(padded, padding).decode()
    except CryptoError as cause:
        raise DecodeError(0, "cannot be opened with this key, or was changed") from cause
    except UnicodeError as cause:
        raise DecodeError(0, "what was sealed is not text") from cause


def _unpadded(padded: bytes, padding: int) -> bytes:
    end = padded.rfind(_PAD_FIRST, max(0, len(padded) - padding))
    if end < 0 or padded.count(b"\0", end) != len(padded) - end - 1:
        raise DecodeError(max(end, 0), "what was sealed is not padded")
    return padded[:end]
