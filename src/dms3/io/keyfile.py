"""`HOME/key`: the 32-byte store key, in the open (0600) or wrapped under a passphrase.

Source: docs/architecture.md, "Identity"; RFC 9106 (Argon2id), NIST SP 800-38D (AES-GCM). Every
change writes a new file, fsyncs it and renames it over the old one, so a crash leaves one of the
two. Honest limit: after `protect` the old plain file is unlinked, not erased; a journaling or
copy-on-write file system, a snapshot, a backup or a worn flash cell may keep its 32 bytes. Whoever
needs more makes a new home on an encrypted disk. Argon2id costs about 0.1 s: call `unlock` and
`protect` off the loop. Says nothing about the twelve words.
"""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    ARGON2_LANES,
    ARGON2_LANES_MAX,
    ARGON2_MEMORY_KIB,
    ARGON2_MEMORY_KIB_MAX,
    ARGON2_PASSES,
    ARGON2_PASSES_MAX,
    KEY_FILE_BYTES_MAX,
    PASSPHRASE_BYTES_MAX,
    PASSPHRASE_CHARS_MIN,
)
from dms3.core.machine import Entropy

KEY_BYTES = 32
_MAGIC = b"dms3 key 1\n"
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Content:
    """What follows the magic: `key` is plain when `salt` is empty, else AES-GCM ciphertext."""

    v: int
    key: bytes = field(repr=False)
    salt: bytes
    nonce: bytes
    memory_kib: int
    passes: int
    lanes: int

    def __post_init__(self) -> None:
        sizes = (len(self.key), len(self.salt), len(self.nonce))
        costs = (self.memory_kib, self.passes, self.lanes)
        plain = sizes == (KEY_BYTES, 0, 0) and costs == (0, 0, 0)
        wrapped = (
            sizes == (KEY_BYTES + _TAG_BYTES, _SALT_BYTES, _NONCE_BYTES)
            and 1 <= self.lanes <= ARGON2_LANES_MAX
            and 1 <= self.passes <= ARGON2_PASSES_MAX
            and 8 * self.lanes <= self.memory_kib <= ARGON2_MEMORY_KIB_MAX
        )
        if self.v != 1 or not (plain or wrapped):
            raise ValueError("not the content of a key file")


class KeyFile:
    """The key file at `path`; one instance per home, used under the home's lock."""

    def __init__(self, path: Path, entropy: Entropy) -> None:
        self._path = path
        self._entropy = entropy

    def exists(self) -> bool:
        """Whether there is a key file."""
        return self._path.exists()

    def create(self) -> bytes:
        """A new random store key, written in the open; `already_exists` when there is a file."""
        if self.exists():
            raise Dms3Error("already_exists", f"{self._path} already holds a key.")
        key = self._entropy.draw(KEY_BYTES)
        self._write(_Content(1, key, b"", b"", 0, 0, 0))
        return key

    def protected(self) -> bool:
        """Whether a passphrase is needed; raises `home_unusable` when the file is unfit."""
        return bool(self._read().salt)

    def open(self) -> bytes:
        """The store key of an unprotected file; raises `node_locked` when it is protected."""
        content = self._read()
        if content.salt:
            raise Dms3Error(
                "node_locked",
                "This home is protected by a passphrase.",
                hint="Unlock it on the page, with `dms3 unlock`, or start with --passphrase-file.",
            )
        return content.key

    def unlock(self, passphrase: str) -> bytes:
        """The store key under `passphrase`; raises `passphrase_wrong`.

        On an unprotected file every passphrase is wrong: nobody is to believe it is protected.
        """
        content = self._read()
        if not content.salt:
            raise Dms3Error("passphrase_wrong", "This home has no passphrase.")
        return _unwrap(content, passphrase)

    def protect(self, passphrase: str, current: str | None = None) -> None:
        """Wrap the key under `passphrase`; `current` is the old one when there is one.

        From then on the plain key is never written. Raises `passphrase_wrong`, `node_locked` (it is
        protected and `current` is missing) or `argument_invalid` (too short or too long).
        """
        wrapping = _passphrase_bytes(passphrase)
        if len(wrapping.decode(errors="surrogatepass")) < PASSPHRASE_CHARS_MIN:
            raise Dms3Error(
                "argument_invalid",
                f"The passphrase has fewer than {PASSPHRASE_CHARS_MIN} characters.",
                hint="Four random words are easy to keep in mind and hard to guess.",
            )
        key = self.open() if current is None else self.unlock(current)
        self._write(_wrap(key, wrapping, self._entropy))

    def unprotect(self, passphrase: str) -> None:
        """Write the key in the open again; raises `passphrase_wrong`."""
        key = self.unlock(passphrase)
        self._write(_Content(1, key, b"", b"", 0, 0, 0))

    def _read(self) -> _Content:
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe never waits
            descriptor = os.open(self._path, flags)
        except FileNotFoundError as cause:
            raise Dms3Error(
                "home_unusable",
                f"{self._path} is missing; without it the store cannot be opened.",
                hint="Put the file back from your copy of the home, or restore from your words.",
            ) from cause
        except OSError as cause:
            raise Dms3Error(
                "home_unusable", f"{self._path} cannot be opened: {cause.strerror}."
            ) from cause
        try:
            self._check_mode(os.fstat(descriptor))
            data = os.read(descriptor, KEY_FILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
        try:
            return decode_key_file(data)
        except DecodeError as cause:
            raise Dms3Error(
                "home_unusable",
                f"{self._path} is damaged or not a key file of this program.",
                hint="Put the file back from your copy of the home.",
            ) from cause

    def _check_mode(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise Dms3Error("home_unusable", f"{self._path} is not a regular file.")
        mode = stat.S_IMODE(status.st_mode)
        if os.name == "posix" and mode & 0o077:
            raise Dms3Error(
                "home_unusable",
                f"{self._path} can be read by others (mode {mode:04o}).",
                hint=f"Run: chmod 600 '{self._path}'. Others may have seen the key by now.",
            )

    def _write(self, content: _Content) -> None:
        """Replace the file: fsync of the new one, rename, fsync of the folder."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()  # left by a crash before its rename
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(_MAGIC + encode(content))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as cause:
            code = "disk_full" if cause.errno == 28 else "home_unusable"  # 28: ENOSPC
            raise Dms3Error(code, f"{self._path} cannot be written: {cause.strerror}.") from cause


def decode_key_file(data: bytes) -> _Content:
    """The content of a key file; raises DecodeError, and nothing else."""
    if len(data) > KEY_FILE_BYTES_MAX or not data.startswith(_MAGIC):
        raise DecodeError(0, "not a key file")
    return decode(_Content, data[len(_MAGIC) :], strict=True)


def _wrap(key: bytes, passphrase: bytes, entropy: Entropy) -> _Content:
    salt, nonce = entropy.draw(_SALT_BYTES), entropy.draw(_NONCE_BYTES)
    bare = _Content(
        v=1,
        key=bytes(KEY_BYTES + _TAG_BYTES),
        salt=salt,
        nonce=nonce,
        memory_kib=ARGON2_MEMORY_KIB,
        passes=ARGON2_PASSES,
        lanes=ARGON2_LANES,
    )
    sealed = AESGCM(_stretch(bare, passphrase)).encrypt(nonce, key, _header(bare))
    return _Content(1, sealed, salt, nonce, bare.memory_kib, bare.passes, bare.lanes)


def _unwrap(content: _Content, passphrase: str) -> bytes:
    cipher = AESGCM(_stretch(content, _passphrase_bytes(passphrase)))
    try:
        return cipher.decrypt(content.nonce, content.key, _header(content))
    except InvalidTag as cause:
        raise Dms3Error("passphrase_wrong", "The passphrase does not open this home.") from cause


def _stretch(content: _Content, passphrase: bytes) -> bytes:
    return Argon2id(
        salt=content.salt,
        length=KEY_BYTES,
        iterations=content.passes,
        lanes=content.lanes,
        memory_cost=content.memory_kib,
    ).derive(passphrase)


def _header(content: _Content) -> bytes:
    """The associated data: the parameters cannot be weakened without breaking the seal."""
    costs = (content.v, content.memory_kib, content.passes, content.lanes)
    return _MAGIC + b"".join(cost.to_bytes(4, "big") for cost in costs)


def _passphrase_bytes(passphrase: str) -> bytes:
    data = unicodedata.normalize("NFKC", passphrase).encode(errors="surrogatepass")
    if len(data) > PASSPHRASE_BYTES_MAX:
        raise Dms3Error(
            "argument_invalid", f"The passphrase has more than {PASSPHRASE_BYTES_MAX} bytes."
        )
    return data
