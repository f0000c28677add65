"""Entries: what actions carry, JSON values with one byte form, named by their hash.

Source: IPS paper, entries; docs/wire.md, "Source chains". A public entry has no salt, so equal
content is one entry; a private one has 16 random bytes, so that its hash, which is public, does not
tell what could be guessed. A countersigned entry also holds its session. Does not know the DNA.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.values import check_values, refuse_values
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import check_items, decode_plain, encode_plain, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ENTRY_BYTES_MAX,
    ENTRY_ITEMS_MAX,
    SEALED_BYTES_MAX,
    SESSION_BYTES_MAX,
)
from dms3.crypto.seal import KEY_BYTES, NONCE_BYTES, open_sealed, seal

VERSION = 1
SALT_BYTES = 16
_FIELDS = {"v", "content", "salt", "session"}
_PAD = 256  # sealed entries are filled up to a multiple of this: their length says less
_ONCE = bytes(NONCE_BYTES)  # the key is of this entry alone
_FREE = b"\0"  # as in core/codec.py: bytes with it are never taken for a link


@dataclass(frozen=True, slots=True)
class Entry:
    """`content`: JSON values without fractions. `salt`: 16 bytes of a private entry, else none.

    `session`: the encoded session of a countersigned entry (see `chain/session.py`), else none.
    """

    content: Any = field(repr=False)
    salt: bytes = field(default=b"", repr=False)
    session: bytes = field(default=b"", repr=False)


def make_entry(content: Any, salt: bytes = b"", session: bytes = b"") -> tuple[Cid, bytes]:
    """The hash and the bytes of an entry; ValueError says where `content` cannot be kept.

    `salt`: 16 fresh random bytes for a private entry; none for a public one.
    """
    check_values(content, "content")
    need(len(salt) in (0, SALT_BYTES), f"a salt has {SALT_BYTES} bytes")
    need(len(session) <= SESSION_BYTES_MAX, "the session is too long")
    data = encode_plain(
        {"v": VERSION, "content": content, "salt": _FREE + salt, "session": _FREE + session}
    )
    if len(data) > ENTRY_BYTES_MAX:
        raise ValueError(
            f"content: {len(data)} bytes are more than {ENTRY_BYTES_MAX}; "
            "keep it as a document and name its content identifier"
        )
    return Cid.of(DAG_CBOR, data), data


def entry_hash(data: bytes) -> Cid:
    """The hash of the entry with bytes `data`."""
    return Cid.of(DAG_CBOR, data)


def decode_entry(data: bytes) -> Entry:
    """The entry in `data`; raises DecodeError, and nothing else."""
    need_at_most(data, ENTRY_BYTES_MAX, "an entry")
    check_items(data, ENTRY_ITEMS_MAX)
    raw = decode_plain(data)
    if type(raw) is not dict or set(raw) != _FIELDS:
        raise DecodeError(0, "an entry has v, content, salt and session")
    if type(raw["v"]) is not int or raw["v"] != VERSION:
        raise DecodeError(0, "this version of entries is not known")
    salt, session = _free(raw["salt"]), _free(raw["session"])
    if len(salt) not in (0, SALT_BYTES):
        raise DecodeError(0, f"a salt has {SALT_BYTES} bytes")
    if len(session) > SESSION_BYTES_MAX:
        raise DecodeError(0, "the session is too long")
    refuse_values(raw["content"], "content")
    return Entry(raw["content"], salt, session)


def seal_private(key: bytes, entry: Cid, data: bytes) -> tuple[Cid, bytes]:
    """A private entry for the backup that its chain's own person reads: CID (raw) and bytes.

    `key`: `KeyTree.private()`. `entry`: hash of the entry with bytes `data`; its salt makes it
    one of a kind, so the key made from it meets one content. Equal arguments give equal bytes.
    """
    assert entry.matches(data), "an entry is sealed under its own hash"
    filled = data + b"\x80"
    filled += bytes(-len(filled) % _PAD)
    sealed = seal(_entry_key(key, entry), _ONCE, filled, entry.binary)
    return Cid.of(RAW, sealed), sealed


def open_private(key: bytes, entry: Cid, sealed: bytes) -> bytes:
    """The bytes of the private entry with hash `entry`; raises DecodeError when it is not that."""
    need_at_most(sealed, SEALED_BYTES_MAX, "a sealed entry")
    filled = open_sealed(_entry_key(key, entry), _ONCE, sealed, entry.binary)
    data, mark, rest = filled.rpartition(b"\x80")
    if not mark or rest.strip(b"\0") or not entry.matches(data):
        raise DecodeError(0, "it is another entry")
    return data


def _entry_key(key: bytes, entry: Cid) -> bytes:
    assert len(key) == KEY_BYTES, f"a key has {KEY_BYTES} bytes, not {len(key)}"
    return hmac.digest(key, b"dms3 private entry " + entry.binary, "sha256")


def _free(raw: Any) -> bytes:
    if type(raw) is not bytes or raw[:1] != _FREE:
        raise DecodeError(0, "expected bytes with a 0x00 prefix")
    return raw[1:]
