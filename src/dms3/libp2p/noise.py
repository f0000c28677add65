"""The secure channel: Noise_XX_25519_ChaChaPoly_SHA256 with libp2p's identity payload, sans-I/O.

Source: Noise Protocol Framework revision 34 (sections 5 and 7.5) and libp2p noise specification.
`Handshake` makes and reads the three messages; `Session` seals and opens what follows. Both work
on whole messages with their two-byte length. No other pattern, cipher or rekeying.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.machine import Entropy
from dms3.libp2p.peer_id import NodeKey, PublicKey
from dms3.libp2p.protobuf import Message, bytes_field, text_field

PROTOCOL = "/noise"
_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"  # 32 bytes: is its own initial hash
_SIGNED_PREFIX = b"noise-libp2p-static-key:"
_KEY = 32
_TAG = 16
_PLAIN_BYTES_MAX = limits.NOISE_MESSAGE_BYTES_MAX - _TAG
_pack_nonce = struct.Struct("<4xQ").pack
_pack_length = struct.Struct(">H").pack


@dataclass(frozen=True, slots=True)
class Payload:
    """What each side proves in the handshake: identity key, signature, and its muxer names."""

    key: PublicKey
    signature: bytes
    muxers: tuple[str, ...] = ()

    @classmethod
    def decode(cls, data: bytes) -> Payload:
        """The NoiseHandshakePayload in `data`; unknown extensions are ignored; DecodeError."""
        message = Message(data)
        key, signature = message.bytes_of(1), message.bytes_of(2)
        if key is None or signature is None:
            raise DecodeError(0, "the handshake payload names no identity")
        extensions = message.bytes_of(4)
        muxers = Message(extensions).all_texts(2) if extensions is not None else []
        if len(muxers) > limits.NOISE_MUXERS_MAX:
            raise DecodeError(0, "the handshake payload names too many multiplexers")
        return cls(PublicKey.decode(key), signature, tuple(muxers))

    def encode(self) -> bytes:
        """The NoiseHandshakePayload message."""
        names = b"".join(text_field(2, name) for name in self.muxers)
        extensions = bytes_field(4, names) if names else b""
        return bytes_field(1, self.key.encode()) + bytes_field(2, self.signature) + extensions


class Cipher:
    """One direction of a channel: ChaCha20-Poly1305 with a counter that never repeats."""

    __slots__ = ("_aead", "nonce")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self.nonce = 0

    def seal(self, plain: bytes | memoryview, aad: bytes | None = None) -> bytes:
        """The ciphertext and tag of `plain`; raises `limit_reached` when the counter is used up."""
        nonce = self._next()
        return self._aead.encrypt(nonce, plain, aad)

    def open(self, sealed: bytes | memoryview, aad: bytes | None = None) -> bytes:
        """The plain text of `sealed`; raises DecodeError when it is forged or out of order."""
        nonce = self._next()
        try:
            return self._aead.decrypt(nonce, sealed, aad)
        except (InvalidTag, ValueError) as cause:  # ValueError: shorter than a tag
            raise DecodeError(0, "Noise message is forged, replayed or damaged") from cause

    def _next(self) -> bytes:
        nonce = self.nonce
        if nonce > limits.NOISE_NONCE_MAX:
            raise Dms3Error("limit_reached", "the Noise message counter is used up")
        self.nonce = nonce + 1
        return _pack_nonce(nonce)


class Handshake:
    """The XX pattern of one side: `write` and `read` alternate, three messages, then `split`.

    `static` and `ephemeral` are X25519 secrets of 32 bytes, `prologue` is empty in libp2p.
    """

    __slots__ = (
        "_chaining",
        "_cipher",
        "_ephemeral",
        "_initiator",
        "_remote_ephemeral",
        "_static",
        "hash",
        "remote_static",
        "step",
    )

    def __init__(
        self, *, initiator: bool, static: bytes, ephemeral: bytes, prologue: bytes = b""
    ) -> None:
        self._initiator = initiator
        self._static = X25519PrivateKey.from_private_bytes(static)
        self._ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self._remote_ephemeral: X25519PublicKey | None = None
        self._cipher: Cipher | None = None
        self._chaining = _NAME
        self.hash = _NAME
        self.remote_static = b""
        self.step = 0
        self._mix_hash(prologue)

    @property
    def static_public(self) -> bytes:
        """Our static X25519 public key, which the identity key signs."""
        return self._static.public_key().public_bytes_raw()

    def write(self, payload: bytes) -> bytes:
        """The next message of ours: e; or e, ee, s, es; or s, se - and `payload`."""
        assert self.step < 3, "the handshake is complete"
        assert (self.step % 2 == 0) == self._initiator, "it is the peer's turn"
        out = b""
        if self.step < 2:
            public = self._ephemeral.public_key().public_bytes_raw()
            self._mix_hash(public)
            out = public
        if self.step == 1:
            self._mix_shared(self._ephemeral, self._remote_ephemeral)
        if self.step > 0:
            out += self._seal(self.static_public)
            self._mix_shared(self._static, self._remote_ephemeral)
        self.step += 1
        return out + self._seal(payload)

    def read(self, message: bytes) -> bytes:
        """The payload of the peer's next message; raises DecodeError when it is not one."""
        assert self.step < 3, "the handshake is complete"
        assert (self.step % 2 == 0) != self._initiator, "it is our turn"
        offset = 0
        if self.step < 2:
            if len(message) < _KEY:
                raise DecodeError(len(message), "Noise message is cut off")
            offset = _KEY
            self._remote_ephemeral = X25519PublicKey.from_public_bytes(message[:_KEY])
            self._mix_hash(message[:_KEY])
        if self.step == 1:
            self._mix_shared(self._ephemeral, self._remote_ephemeral)
        if self.step > 0:
            if len(message) < offset + _KEY + _TAG:
                raise DecodeError(len(message), "Noise message is cut off")
            self.remote_static = self._open(message[offset : offset + _KEY + _TAG])
            offset += _KEY + _TAG
            self._mix_shared(self._ephemeral, X25519PublicKey.from_public_bytes(self.remote_static))
        self.step += 1
        return self._open(message[offset:])

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers of the finished handshake: (for what we send, for what we receive)."""
        assert self.step == 3, "the handshake is not complete"
        first, second = _hkdf(self._chaining, b"")
        if self._initiator:
            return Cipher(first), Cipher(second)
        return Cipher(second), Cipher(first)

    def _mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def _mix_shared(self, ours: X25519PrivateKey, theirs: X25519PublicKey | None) -> None:
        assert theirs is not None, "the peer's key comes first"
        try:
            shared = ours.exchange(theirs)
        except ValueError as cause:  # an all-zero result: the peer sent a point of small order
            raise DecodeError(0, "Noise key is a point of small order") from cause
        self._chaining, key = _hkdf(self._chaining, shared)
        self._cipher = Cipher(key)

    def _seal(self, plain: bytes) -> bytes:
        sealed = self._cipher.seal(plain, self.hash) if self._cipher else plain
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        plain = self._cipher.open(sealed, self.hash) if self._cipher else sealed
        self._mix_hash(sealed)
        return plain


def _hkdf(chaining: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise section 4.3, HKDF with two outputs."""
    secret = hmac.digest(chaining, material, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    return first, hmac.digest(secret, first + b"\x02", "sha256")


class Session:
    """An open channel: seals plain text into length-prefixed messages, and opens those."""

    __slots__ = ("_receiving", "_sending")

    def __init__(self, sending: Cipher, receiving: Cipher) -> None:
        self._sending = sending
        self._receiving = receiving

    def seal(self, plain: bytes) -> list[bytes]:
        """Pieces to send in this order: lengths and messages of at most 65,535 bytes."""
        seal = self._sending.seal
        size = len(plain)
        if size <= _PLAIN_BYTES_MAX:
            return [_pack_length(size + _TAG), seal(plain)]
        view = memoryview(plain)
        out: list[bytes] = []
        for start in range(0, size, _PLAIN_BYTES_MAX):
            part = view[start : start + _PLAIN_BYTES_MAX]
            out += (_pack_length(len(part) + _TAG), seal(part))
        return out

    def open(self, message: bytes | memoryview) -> bytes:
        """The plain text of one message; raises DecodeError when it is not the next one."""
        return self._receiving.open(message)


class Frames:
    """Cuts a byte stream into Noise messages; keeps at most one unfinished message."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes, handle: Callable[[memoryview], None]) -> None:
        """Call `handle` with each whole message in the stream that `data` continues."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < 2 or len(buffer) - 2 < (buffer[0] << 8 | buffer[1]):
                return
            data = bytes(buffer)
            buffer.clear()
        view = memoryview(data)
        size = len(data)
        offset = 0
        while size - offset >= 2:
            end = offset + 2 + (data[offset] << 8 | data[offset + 1])
            if end > size:
                break
            handle(view[offset + 2 : end])
            offset = end
        if offset < size:
            buffer += view[offset:]


class Securing:
    """The handshake of one connection with libp2p payloads; `session` and `peer` when done.

    `muxers` are the names we offer for early agreement; the peer's end in `remote_muxers`.
    `admit` sees the proven peer before we prove ourselves to it, and raises to refuse it.
    """

    __slots__ = (
        "_admit",
        "_handshake",
        "_key",
        "dialer",
        "muxers",
        "peer",
        "remote_muxers",
        "session",
    )

    def __init__(
        self,
        *,
        dialer: bool,
        key: NodeKey,
        entropy: Entropy,
        muxers: Sequence[str],
        admit: Callable[[PeerId], None],
    ) -> None:
        self.dialer = dialer
        self._admit = admit
        self._key = key
        self.muxers = tuple(muxers)
        self._handshake = Handshake(
            initiator=dialer, static=entropy.draw(_KEY), ephemeral=entropy.draw(_KEY)
        )
        self.session: Session | None = None
        self.peer: PeerId | None = None
        self.remote_muxers: tuple[str, ...] = ()

    def first(self) -> bytes:
        """The dialer's first message, with its length."""
        return _framed(self._handshake.write(b""))

    def receive(self, message: bytes) -> bytes:
        """What to send after the peer's next handshake message; raises DecodeError."""
        payload = self._handshake.read(message)
        if self._handshake.step == 1:
            return _framed(self._handshake.write(self._payload()))
        self._identify(payload)
        reply = _framed(self._handshake.write(self._payload())) if self.dialer else b""
        self.session = Session(*self._handshake.split())
        return reply

    def _payload(self) -> bytes:
        signature = self._key.sign(_SIGNED_PREFIX + self._handshake.static_public)
        return Payload(self._key.public, signature, self.muxers).encode()

    def _identify(self, data: bytes) -> None:
        payload = Payload.decode(data)
        if not payload.key.verify(
            _SIGNED_PREFIX + self._handshake.remote_static, payload.signature
        ):
            raise DecodeError(0, "the peer's identity signature is not valid")
        peer = payload.key.peer_id
        self._admit(peer)
        self.peer = peer
        self.remote_muxers = payload.muxers


def _framed(message: bytes) -> bytes:
    return _pack_length(len(message)) + message
