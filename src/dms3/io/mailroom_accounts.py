"""Whose mail waits at a delivery service: accounts, their rules, and the keys that they replaced.

Source: docs/delivery.md, "What lies here"; table `mail_account` of `io/schema.py`. A key that was
replaced never comes back. It checks no signature, and what waits for an account is in
`io/mailroom.py`, which counts it in the same row.
"""

# ruff: noqa: S608 - the column list is a constant of this file, everything else is bound
from __future__ import annotations

import hmac
import json
from concurrent.futures import Future
from dataclasses import dataclass

from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    DM3_RECORD_BYTES_MAX,
    MAIL_ACCOUNTS_MAX,
    MAIL_KEYS_NOTED_MAX,
    MAIL_PROFILES_NOTED_MAX,
)
from dms3.dm3.canonical import parse
from dms3.dm3.profile import decode_signed_profile

MARK_BYTES = 16  # of a short hash: nobody finds another key or profile with the same
_KEY = "key:"  # how the mark of a key begins, and no mark of a profile
_ACCOUNT = "id, address, profile, earlier, rules"


@dataclass(frozen=True, slots=True)
class MailAccount:
    """A receiver. `address`: lower case. `profile`: canonical JSON of the signed profile.

    `earlier`: short hashes of profiles that this one replaced, `replaced`: of keys, each of which
    was in one of them and has been the account's for the last time. `rules`: canonical JSON.
    """

    id: int
    address: str
    profile: str
    earlier: tuple[str, ...]
    replaced: tuple[str, ...]
    rules: str

    def was_replaced(self, profile: str) -> bool:
        """Whether a key in `profile` (JSON of a signed one) was the account's and is no longer."""
        keys = _key_marks(profile)
        if keys == _key_marks(self.profile):
            return False
        return profile_mark(profile) in self.earlier or not set(keys).isdisjoint(self.replaced)


class MailAccounts:
    """The accounts of one service, in the store `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def account(self, address: str) -> MailAccount | None:
        """The account of `address` (lower case), or None."""
        with self._database.read() as connection:
            return _account(connection, address)

    def register(self, address: str, profile: str, now_ms: int) -> Future[MailAccount]:
        """The account of `address`, new or with another profile; what waits there stays.

        The future raises `limit_reached` when the service has all the accounts it takes, or the
        account all the keys, and `content_invalid` for keys that were replaced.
        """

        def work(connection: Connection) -> MailAccount:
            known = _account(connection, address)
            if known is None:
                row = connection.execute("SELECT count(*) FROM mail_account").fetchone()
                if row is not None and row[0] >= MAIL_ACCOUNTS_MAX:
                    raise Dms3Error(
                        "limit_reached",
                        f"This service has {MAIL_ACCOUNTS_MAX} accounts and takes no more.",
                        hint="Choose another delivery service.",
                    )
                connection.execute(
                    "INSERT INTO mail_account "
                    "(address, profile, earlier, rules, created_ms, messages, bytes) "
                    "VALUES (?, ?, '[]', '{}', ?, 0, 0)",
                    (address, profile, now_ms),
                )
            elif known.profile != profile:
                connection.execute(
                    "UPDATE mail_account SET profile = ?, earlier = ? WHERE id = ?",
                    (profile, _replacing(known, profile), known.id),
                )
            found = _account(connection, address)
            assert found is not None, "it was just written"
            return found

        return self._database.transact(work)

    def set_rules(self, account: int, rules: str) -> Future[None]:
        """Keep `rules` (canonical JSON) as the spam rules of `account`."""

        def work(connection: Connection) -> None:
            connection.execute("UPDATE mail_account SET rules = ? WHERE id = ?", (rules, account))

        return self._database.transact(work)


def profile_mark(profile: str) -> str:
    """How a replaced profile is remembered: a short hash of its text."""
    return hmac.digest(b"dms3 profile", profile.encode(), "sha256")[:MARK_BYTES].hex()


def _key_marks(profile: str) -> tuple[str, ...]:
    """How the two keys in `profile` (JSON of a signed one) are remembered when they go."""
    found = decode_signed_profile(parse(profile, DM3_RECORD_BYTES_MAX)).profile
    return tuple(
        _KEY + hmac.digest(purpose, key, "sha256")[:MARK_BYTES].hex()
        for purpose, key in (
            (b"dms3 encryption", found.encryption),
            (b"dms3 signing", found.signing),
        )
    )


def _replacing(known: MailAccount, profile: str) -> str:
    """What is remembered of `known` when `profile` replaces its own; raises as `register`."""
    if known.was_replaced(profile):
        raise Dms3Error(
            "content_invalid",
            "The keys in this profile were replaced by later ones.",
            hint="A node made of the twelve words begins with the first keys again: give it your "
            "conversation storage or restore your backup, where the present ones are known. "
            "Otherwise change to keys that were never used.",
        )
    kept = _key_marks(profile)
    gone = [mark for mark in _key_marks(known.profile) if mark not in kept]
    replaced = [*known.replaced, *gone]
    if len(replaced) > MAIL_KEYS_NOTED_MAX:
        # Forgetting one would let it come back.
        raise Dms3Error(
            "limit_reached",
            f"This account has replaced {len(known.replaced)} keys and changes no more here.",
            hint="Choose another delivery service.",
        )
    earlier = [*known.earlier, profile_mark(known.profile)][-MAIL_PROFILES_NOTED_MAX:]
    return json.dumps([*earlier, *replaced])


def _account(connection: Connection, address: str) -> MailAccount | None:
    row = connection.execute(
        f"SELECT {_ACCOUNT} FROM mail_account WHERE address = ?", (address,)
    ).fetchone()
    if row is None:
        return None
    marks: list[str] = json.loads(row[3])
    earlier = tuple(mark for mark in marks if not mark.startswith(_KEY))
    replaced = tuple(mark for mark in marks if mark.startswith(_KEY))
    return MailAccount(row[0], row[1], row[2], earlier, replaced, row[4])
