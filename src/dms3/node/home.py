"""The home folder: where each thing lies in it, and the lock that lets one node at a time use it.

    HOME/key         how the store key is kept (0600; wrapped after `dms3 id protect`)
    HOME/store.db    everything mutable, encrypted
    HOME/packs/      blocks of 64 KiB and more, encrypted one by one
    HOME/conversations/  sealed objects of conversation storage of this node alone
    HOME/restored/   what a restoration has brought so far; taken over when it is whole
    HOME/spool/      uploads that nobody has imported yet, encrypted
    HOME/api.token   what a program presents to the API (0600)
    HOME/node.json   where the running node listens; gone when none runs
    HOME/lock        held by the running node
    HOME/config.toml optional

The kernel releases the lock of a node that was killed, so a stale file never keeps a home shut.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dms3.core.errors import Dms3Error, first_error
from dms3.io.disk import flush_folder

_MACHINE = Path("/etc/machine-id")  # machine-id(5); not everywhere
TOKEN_BYTES = 32  # of entropy in api.token


@dataclass(frozen=True, slots=True)
class Home:
    """The folder `path` that holds all state of one node."""

    path: Path

    @property
    def key(self) -> Path:
        """The key file."""
        return self.path / "key"

    @property
    def database(self) -> Path:
        """The database file."""
        return self.path / "store.db"

    @property
    def packs(self) -> Path:
        """The folder of pack files."""
        return self.path / "packs"

    @property
    def conversations(self) -> Path:
        """The folder of conversation storage that is this node's alone."""
        return self.path / "conversations"

    @property
    def staged(self) -> Path:
        """Where a restoration puts what will become database and packs."""
        return self.path / "restored"

    @property
    def staged_packs(self) -> Path:
        """The packs of a restoration."""
        return self.staged / self.packs.name

    @property
    def staged_ready(self) -> Path:
        """Says that a restoration is whole and checked."""
        return self.staged / "ready"

    @property
    def spool(self) -> Path:
        """The folder of uploads not imported yet."""
        return self.path / "spool"

    @property
    def token_file(self) -> Path:
        """The file that holds the API token."""
        return self.path / "api.token"

    @property
    def node_file(self) -> Path:
        """The file that says where the running node listens."""
        return self.path / "node.json"

    def place(self) -> bytes:
        """An opaque word for where the database lies: another one in a copy, whoever made it.

        b"" when there is no database yet.
        """
        machine = b""
        with contextlib.suppress(OSError):
            machine = _MACHINE.read_bytes()[:64].strip()
        try:
            number = self.database.stat().st_ino
        except OSError:
            return b""
        return b"%d %s" % (number, machine)

    def create(self) -> None:
        """Make the folder, readable by its owner only, when it is not there."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as cause:
            raise Dms3Error(
                "home_unusable",
                f"The home folder {self.path} cannot be made: {cause.strerror}.",
                hint="Choose another one with --home.",
            ) from cause

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for one node; raises `home_in_use` when another one does.

        What the file system refuses while the block runs becomes `home_unusable` or `disk_full`.
        """
        try:
            with self._held():
                yield
        except* OSError as failures:  # a file of the home that is not what it should be
            raise self._unusable(first_error(failures)) from None

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                raise Dms3Error(
                    "home_in_use",
                    f"A node already runs on {self.path}{self._who(descriptor)}.",
                    hint="Use or stop that one, or choose another folder with --home.",
                ) from cause
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            yield
        finally:
            os.close(descriptor)

    def token(self) -> str:
        """The API token, made at first use and kept in a file only its owner can read.

        One that others could read, or that can be guessed, is replaced.
        """
        unreadable = (FileNotFoundError, UnicodeDecodeError)
        with contextlib.suppress(*unreadable), self.token_file.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read().strip()
            if len(token) >= TOKEN_BYTES and not (os.name == "posix" and mode & 0o077):
                return token
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write_private(self.token_file, token.encode() + b"\n")
        return token

    def adopt(self) -> bool:
        """Put a restoration that is whole in the place of database and packs; whether one was.

        For the holder of the lock, while no store is open. Killed at any moment, it is finished by
        the next call.
        """
        if not self.staged_ready.exists():
            return False
        if self.staged_packs.exists():
            shutil.rmtree(self.packs, ignore_errors=True)
            self.staged_packs.rename(self.packs)
        database = self.staged / self.database.name
        if database.exists():
            for ending in ("", "-wal", "-shm"):
                self.database.with_name(self.database.name + ending).unlink(missing_ok=True)
            database.rename(self.database)
        flush_folder(self.path)
        shutil.rmtree(self.staged)
        return True

    def check_store(self) -> None:
        """Raise `home_unusable` when the database of a home that was used before is gone.

        The folder of packs is made after the database holds the identity. A node that began anew
        beside it would be another person, and would sweep the packs.
        """
        lost = not self.database.exists() or self.database.stat().st_size == 0
        if lost and self.staged.exists():
            raise Dms3Error(
                "home_unusable",
                f"A restoration into {self.path} was interrupted.",
                hint="Run the same dms3 store restore again; it goes on where it was.",
            )
        if lost and self.packs.exists():
            raise Dms3Error(
                "home_unusable",
                f"{self.database} is missing or empty, but this home was used before.",
                hint="Put the file back from a copy of the home, or begin anew elsewhere (--home).",
            )

    def _unusable(self, cause: OSError) -> Dms3Error:
        """What people are told when the file system refuses a file of the home."""
        what = cause.filename or self.path
        if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Dms3Error(
                "disk_full",
                f"No space is left for {what}.",
                hint="Free some space; nothing that was confirmed is lost.",
            )
        return Dms3Error(
            "home_unusable",
            f"{what} cannot be used: {cause.strerror}.",
            hint="Check the disk and the permissions of the home folder.",
        )

    @contextlib.contextmanager
    def announced(self, where: dict[str, Any]) -> Iterator[None]:
        """Say in `node.json` where the node listens, for as long as it does."""
        write_private(self.node_file, json.dumps(where).encode() + b"\n")
        try:
            yield
        finally:
            self.node_file.unlink(missing_ok=True)

    @staticmethod
    def _who(descriptor: int) -> str:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return f" (process {text})" if text.isdigit() else ""


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all, readable by its owner only."""
    draft = path.with_name(path.name + ".draft")
    draft.unlink(missing_ok=True)  # left by a crash: it may have another mode
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
