"""What a backup looks like to whoever has no key: names that say nothing, and sealed bytes.

Source: docs/adr/0006-backups.md; RFC 5869 (HKDF). All keys come from the label `backup` of the key
tree, so the twelve words alone open a backup. An object is named by a keyed hash of its content:
the same content has the same name for the same person, and its name tells nobody else what it is.
Each object is sealed under a key of its own, made from its name: a fixed nonce meets one content.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError
from dms3.core.limits import BACKUP_MANIFEST_BYTES_MAX
from dms3.crypto.keys import KeyTree
from dms3.crypto.seal import KEY_BYTES, NONCE_BYTES, open_sealed, seal

NAME_BYTES = 32
PERSON_BYTES = 16
VERSION = 1
_MARK = b"dms3 backup "
_MARK_END = b"\n"
_VERSION_BYTES_MAX = 4
_ONCE = bytes(NONCE_BYTES)  # the key is of this content alone


class NewerError(DecodeError):
    """A manifest of a version that this program does not know."""


class ForeignError(DecodeError):
    """A manifest of another person's backup."""


@dataclass(frozen=True, slots=True)
class SavedTable:
    """A table: `sql` makes it when no migration does; `columns` of a row; its pieces in order."""

    name: str
    sql: str
    columns: int
    pieces: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SavedPack:
    """A pack file: its row number, name, key and bytes that count; its parts in order."""

    number: int
    name: bytes
    key: bytes = field(repr=False)
    end: int
    parts: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation of a backup: everything that a home needs, by the names of its objects.

    `made_us`: wall clock of the snapshot. `device`: which home it is of. `schema`: version of the
    database. `documents`, `size` (bytes): what people are told is in it.
    """

    v: int
    generation: int
    made_us: int
    name: str
    device: bytes
    schema: int
    documents: int
    size: int
    tables: tuple[SavedTable, ...]
    packs: tuple[SavedPack, ...]

    def __post_init__(self) -> None:
        names = [name for table in self.tables for name in table.pieces]
        names += [name for pack in self.packs for name in pack.parts]
        numbers = (self.generation, self.made_us, self.schema, self.documents, self.size)
        sound = (
            self.v == VERSION
            and min(numbers) >= 0
            and all(len(name) == NAME_BYTES for name in names)
            and all(table.columns > 0 and table.name.isidentifier() for table in self.tables)
            and all(pack.number > 0 and pack.end > 0 for pack in self.packs)
            and all(len(pack.key) == KEY_BYTES for pack in self.packs)
        )
        if not sound:
            raise ValueError("not the manifest of a backup")

    def objects(self) -> set[bytes]:
        """The names of all objects it needs."""
        found = {name for table in self.tables for name in table.pieces}
        return found.union(name for pack in self.packs for name in pack.parts)


class BackupKeys:
    """Names, seals and opens what lies in the backups of one person."""

    def __init__(self, tree: KeyTree) -> None:
        key = tree.backup()
        self._names = _derived(key, b"names")
        self._objects = _derived(key, b"objects")
        self._manifests = _derived(key, b"manifests")
        self.person = _derived(key, b"person")[:PERSON_BYTES]
        """Says that two backups are of one person, and nothing else of who that is."""

    def name(self, content: bytes) -> bytes:
        """The name of the object with this content, before it is sealed."""
        return hmac.digest(self._names, content, "sha256")

    def seal(self, name: bytes, content: bytes) -> bytes:
        """The object as it is stored."""
        return seal(hmac.digest(self._objects, name, "sha256"), _ONCE, content, name)

    def open(self, name: bytes, sealed: bytes) -> bytes:
        """The content of the stored object `name`; raises DecodeError when it is another."""
        content = open_sealed(hmac.digest(self._objects, name, "sha256"), _ONCE, sealed, name)
        self.check(name, content)
        return content

    def check(self, name: bytes, content: bytes) -> None:
        """Raise DecodeError unless `name` is the name of `content`."""
        if not hmac.compare_digest(self.name(content), name):
            raise DecodeError(0, "it has another hash")

    def seal_manifest(self, manifest: Manifest, nonce: bytes) -> bytes:
        """The manifest as a file; `nonce`: 12 fresh random bytes."""
        head = _MARK + str(VERSION).encode() + _MARK_END + self.person
        key, place = self._manifests, manifest.generation.to_bytes(8, "big")
        return head + nonce + seal(key, nonce, encode(manifest), head + place)

    def open_manifest(self, generation: int, data: bytes) -> Manifest:
        """The manifest in the file of number `generation`.

        Raises DecodeError, and nothing else: NewerError for a later version, ForeignError for that
        of another person.
        """
        start = check_head(data)
        head, rest = data[: start + PERSON_BYTES], data[start + PERSON_BYTES :]
        if head[start:] != self.person:
            raise ForeignError(start, "it is the backup of another person")
        place = generation.to_bytes(8, "big")
        nonce, sealed = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        manifest = decode(
            Manifest, open_sealed(self._manifests, nonce, sealed, head + place), strict=True
        )
        if manifest.generation != generation:
            raise DecodeError(0, f"it is generation {manifest.generation}")
        return manifest


def check_head(data: bytes) -> int:
    """Where a manifest goes on behind its mark; raises DecodeError, NewerError."""
    if len(data) > BACKUP_MANIFEST_BYTES_MAX or not data.startswith(_MARK):
        raise DecodeError(0, "it is no manifest of a backup")
    text, end, _ = data[len(_MARK) : len(_MARK) + _VERSION_BYTES_MAX + 1].partition(_MARK_END)
    if not end or not text.isdigit() or text.startswith(b"0"):
        raise DecodeError(len(_MARK), "its version is no number")
    if int(text) > VERSION:
        raise NewerError(len(_MARK), f"it has version {int(text)}, this program knows {VERSION}")
    if len(data) < len(_MARK) + len(text) + 1 + PERSON_BYTES + NONCE_BYTES:
        raise DecodeError(len(data), "it is cut off")
    return len(_MARK) + len(text) + 1


def _derived(key: bytes, purpose: bytes) -> bytes:
    info = b"dms3 backup " + purpose
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)
