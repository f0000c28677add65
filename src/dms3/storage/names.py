"""What conversation storage looks like to whoever keeps it: names that say nothing, sealed bytes.

Source: docs/adr/0008-conversation-storage.md; NIST SP 800-38D. The keys of a generation come from
the label `storage` of the key tree. An object is named by a keyed hash of what it is, and sealed
under a key of its own, made from its name, with a fresh nonce each time it is written; name and
generation are covered by its tag. Its size is padded to a power of two. Dates and how often an
object is written are not hidden.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.codec import need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import STORAGE_OBJECT_BYTES_MAX, STORAGE_OBJECT_BYTES_MIN
from dms3.crypto.seal import KEY_BYTES, NONCE_BYTES, TAG_BYTES, open_sealed, seal

_LENGTH_BYTES = 4
_AROUND = NONCE_BYTES + _LENGTH_BYTES + TAG_BYTES
CONTENT_BYTES_MAX = STORAGE_OBJECT_BYTES_MAX - _AROUND
"""What one object holds."""
_MARK = b"dms3 storage 1"


class StorageKeys:
    """Names, seals and opens the objects of one person.

    Argument: `secret(n)`, the 32 bytes of generation n (`KeyTree.storage`).
    """

    def __init__(self, secret: Callable[[int], bytes]) -> None:
        self._secret = secret
        self._made: dict[int, tuple[bytes, bytes]] = {}

    def name(self, generation: int, what: str, *parts: bytes) -> str:
        """The name of an object, 64 hex characters; `what` and `parts` say which one it is."""
        data = what.encode() + b"\0" + b"".join(bytes([len(part)]) + part for part in parts)
        return hmac.digest(self._keys(generation)[0], data, "sha256").hex()

    def seal(self, generation: int, name: str, content: bytes, nonce: bytes) -> bytes:
        """The object as it is stored; `nonce`: 12 fresh random bytes."""
        assert len(content) <= CONTENT_BYTES_MAX, f"{len(content)} bytes are too many for an object"
        padded = len(content).to_bytes(_LENGTH_BYTES, "big") + content
        padded += bytes(_padded_to(len(content) + _AROUND) - len(content) - _AROUND)
        return nonce + seal(self._key(generation, name), nonce, padded, _about(generation, name))

    def open(self, generation: int, name: str, sealed: bytes) -> bytes:
        """The content of the stored object `name`.

        Raises DecodeError when it is another, altered, or of another generation.
        """
        need_at_most(sealed, STORAGE_OBJECT_BYTES_MAX, "an object")
        nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        padded = open_sealed(self._key(generation, name), nonce, rest, _about(generation, name))
        size = int.from_bytes(padded[:_LENGTH_BYTES], "big")
        content = padded[_LENGTH_BYTES : _LENGTH_BYTES + size]
        if len(content) != size or any(padded[_LENGTH_BYTES + size :]):
            raise DecodeError(0, "its length is wrong")
        return content

    def _key(self, generation: int, name: str) -> bytes:
        return hmac.digest(self._keys(generation)[1], name.encode(), "sha256")

    def _keys(self, generation: int) -> tuple[bytes, bytes]:
        made = self._made.get(generation)
        if made is None:
            secret = self._secret(generation)
            made = (_derived(secret, b"names"), _derived(secret, b"objects"))
            self._made[generation] = made
        return made


def _padded_to(size: int) -> int:
    most = max(STORAGE_OBJECT_BYTES_MIN, 1 << (size - 1).bit_length())
    return min(most, STORAGE_OBJECT_BYTES_MAX)


def _about(generation: int, name: str) -> bytes:
    return _MARK + generation.to_bytes(4, "big") + name.encode()


def _derived(secret: bytes, purpose: bytes) -> bytes:
    info = b"dms3 storage " + purpose
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
