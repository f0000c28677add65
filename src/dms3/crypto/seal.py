"""Sealing of records and of streams, so that nothing on disk can be read or changed unnoticed.

Source: NIST SP 800-38D (AES-GCM); the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar
(CRYPTO 2015) for chunks with a final flag. It draws no randomness and hides neither sizes nor
counts.

The nonce rule: AES-GCM loses both secrecy and integrity when one key meets the same nonce twice.
- A *record* takes its nonce as an argument: 12 random bytes from the injected Entropy, at most
  2**32 of them under one key. A pack holds some thousands, so a collision is out of reach, also
  when a record is written again at the place of a torn one.
- A *stream* takes no nonce: its key is used for one stream only, and the nonce of a chunk is its
  number and its final flag. Whoever seals a second stream under the key of the first breaks both.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dms3.core.errors import DecodeError
from dms3.core.limits import SEAL_CHUNK_BYTES

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SEALED_CHUNK_BYTES = SEAL_CHUNK_BYTES + TAG_BYTES


def seal(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """`data` encrypted, followed by a 16-byte tag that also covers `associated`.

    `key`: 32 bytes. `nonce`: 12 bytes never used with this key before (the nonce rule above); the
    caller keeps it beside the result.
    """
    assert len(nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}"
    return AESGCM(key).encrypt(nonce, data, associated)


def open_sealed(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """What `seal` was given; raises DecodeError when anything differs from then."""
    if len(nonce) != NONCE_BYTES:
        raise DecodeError(0, f"a nonce has {NONCE_BYTES} bytes")
    if len(sealed) < TAG_BYTES:
        raise DecodeError(len(sealed), "sealed bytes are cut off")
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated)
    except InvalidTag:
        raise DecodeError(0, "sealed bytes do not match their tag") from None


class StreamSealer:
    """Seals one stream of any length in chunks of 64 KiB; `key` is for this stream alone."""

    def __init__(self, key: bytes, identity: bytes) -> None:
        """`identity`: names the stream; a chunk of another stream is refused on opening."""
        self._cipher = AESGCM(key)
        self._identity = identity
        self._number = 0
        self._waiting = bytearray()
        self._finished = False

    def update(self, data: bytes) -> bytes:
        """The sealed chunks that `data` completes; the last chunk waits for `finish`."""
        assert not self._finished, "the stream is finished"
        self._waiting += data
        out = []
        offset = 0
        while len(self._waiting) - offset > SEAL_CHUNK_BYTES:
            out.append(self._chunk(self._waiting[offset : offset + SEAL_CHUNK_BYTES], final=False))
            offset += SEAL_CHUNK_BYTES
        del self._waiting[:offset]
        return b"".join(out)

    def finish(self) -> bytes:
        """The final chunk, which may be empty; nothing can follow."""
        assert not self._finished, "the stream is finished"
        self._finished = True
        return self._chunk(self._waiting, final=True)

    def _chunk(self, data: bytearray, *, final: bool) -> bytes:
        nonce, associated = _place(self._identity, self._number, final=final)
        self._number += 1
        return self._cipher.encrypt(nonce, bytes(data), associated)


class StreamOpener:
    """Opens what a StreamSealer with the same key and identity made, in pieces of any size."""

    def __init__(self, key: bytes, identity: bytes) -> None:
        self._cipher = AESGCM(key)
        self._identity = identity
        self._number = 0
        self._waiting = bytearray()

    def update(self, sealed: bytes) -> bytes:
        """The data of the chunks that `sealed` completes; raises DecodeError for a changed one."""
        self._waiting += sealed
        out = []
        offset = 0
        while len(self._waiting) - offset > SEALED_CHUNK_BYTES:
            piece = self._waiting[offset : offset + SEALED_CHUNK_BYTES]
            out.append(self._chunk(piece, final=False))
            offset += SEALED_CHUNK_BYTES
        del self._waiting[:offset]
        return b"".join(out)

    def finish(self) -> bytes:
        """The data of the final chunk; raises DecodeError when the stream was cut off before."""
        if len(self._waiting) < TAG_BYTES:
            raise DecodeError(self._number * SEALED_CHUNK_BYTES, "sealed stream is cut off")
        return self._chunk(self._waiting, final=True)

    def _chunk(self, sealed: bytearray, *, final: bool) -> bytes:
        nonce, associated = _place(self._identity, self._number, final=final)
        try:
            data = self._cipher.decrypt(nonce, bytes(sealed), associated)
        except InvalidTag:
            offset = self._number * SEALED_CHUNK_BYTES
            raise DecodeError(offset, f"chunk {self._number} does not match its tag") from None
        self._number += 1
        return data


def _place(identity: bytes, number: int, *, final: bool) -> tuple[bytes, bytes]:
    """Nonce and associated data of a chunk: its number and final flag are in both."""
    place = number.to_bytes(8, "big") + bytes([final])
    return b"\0\0\0" + place, place + identity
