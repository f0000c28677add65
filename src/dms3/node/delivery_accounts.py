"""The receivers of a delivery service: who registers, who logs in, whose token is good.

Source: dm3 reference, lib/server-side; docs/dm3.md, "Delivery service". An account is an address:
whatever names lead to it, its messages lie together. What waits for it is not looked at here.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Any

from dms3.core.database import Database
from dms3.core.errors import DecodeError, Dms3Error, Retry
from dms3.core.limits import DM3_RECORD_BYTES_MAX, MAIL_ACCOUNTS_CACHED_MAX
from dms3.core.machine import Entropy
from dms3.delivery.admission import SCHEMA, named
from dms3.delivery.challenges import Challenges
from dms3.delivery.rules import SpamRules, decode_rules
from dms3.dm3.canonical import canonical, parse
from dms3.dm3.keys import ProfileKeys, verify_text
from dms3.dm3.lookup import Resolved
from dms3.dm3.naming import reference_form, same_name
from dms3.dm3.profile import SignedProfile, decode_signed_profile, is_signed_by
from dms3.dm3.token import issue_session, read_session, token_secret
from dms3.io.mailroom_accounts import MailAccount, MailAccounts, profile_mark
from dms3.node.delivery_names import Clock, Names

US_PER_S = 1_000_000
US_PER_MS = 1_000
_VOID_BYTES = 32


@dataclass(frozen=True, slots=True)
class Receiver:
    """An account, decoded: `address` in lower case, its profile, the rules it sets."""

    id: int
    address: str
    signed: SignedProfile = field(repr=False)
    rules: SpamRules
    account: MailAccount = field(repr=False)


class Accounts:
    """The accounts in `store`, whose tokens are signed by `keys`."""

    def __init__(
        self, store: Database, keys: ProfileKeys, names: Names, clock: Clock, entropy: Entropy
    ) -> None:
        self._kept = MailAccounts(store)
        self._names = names
        self._clock = clock
        self._secret = token_secret(keys)
        self._void = entropy.draw(_VOID_BYTES).hex()  # no token signed with it is ever good
        self._challenges = Challenges(self._secret, entropy)
        self._cached: dict[str, Receiver] = {}  # by address, the longest unused first

    async def of_name(self, name: str) -> Receiver | None:
        """The account of whoever the normalised `name` is, None: has none here.

        Raises `timed_out` when the name cannot be resolved now.
        """
        try:
            resolved = await self._names.resolve(name)
        except Dms3Error as error:
            if error.retry is Retry.NEVER:
                return None
            raise
        return await self.of_address(resolved.address) if resolved.address else None

    async def of_address(self, address: str) -> Receiver | None:
        """The account of `address`, None: has none here."""
        address = address.lower()
        found = self._cached.pop(address, None)
        if found is None:
            account = await asyncio.to_thread(self._kept.account, address)
            if account is None:
                return None
            found = _receiver(account)
            found = self._cached.pop(address, None) or found  # it changed meanwhile
        return self._cache(found)

    async def register(self, name: str, value: Any) -> str:
        """Make the signed profile in `value` (JSON) that of the account behind `name`.

        Returns a token as the reference does, which opens nothing: a signed profile is public, so
        whoever hands it in may be anybody. Raises `argument_invalid` (no profile, or no such
        name), `content_invalid` (not signed by the account, or replaced before: it comes back only
        with the present keys, when the name leads to it), `limit_reached`, `timed_out`.
        """
        try:
            signed = decode_signed_profile(value)
        except DecodeError as error:
            raise Dms3Error("argument_invalid", SCHEMA, hint=f"{error.reason}.") from error
        resolved = await self._names.resolve(named(name))
        if not resolved.address or not is_signed_by(signed, resolved.address):
            raise Dms3Error(
                "content_invalid",
                f"The profile is not signed by the account of {name[:64]}.",
                hint="Sign it with the wallet that the name belongs to.",
            )
        address = resolved.address.lower()
        known = await self.of_address(address)
        if (
            known is not None
            and profile_mark(signed.text()) in known.account.earlier
            and not known.account.was_replaced(signed.text())
        ):
            fresh = await self._names.again(named(name)) or resolved
            if fresh.profile != signed:
                raise Dms3Error(
                    "content_invalid",
                    "This profile was replaced by a later one.",
                    hint="Publish it under the name first to go back to it.",
                )
        now_ms = self._clock.now().wall_us // US_PER_MS
        account = await asyncio.wrap_future(self._kept.register(address, signed.text(), now_ms))
        self._cache(_receiver(account))
        return issue_session(self._void, address, self._wall_s())

    async def challenge(self, name: str) -> str:
        """A challenge for `name`; raises `not_found` when it has no account here."""
        if await self.of_name(named(name)) is None:
            raise _no_account(name)
        return self._challenges.issue(session_name(name), self._wall_s())

    async def session(self, name: str, challenge: str, signature: str) -> str:
        """A session for `name`, whose profile key made `signature` over `challenge`, once.

        A profile that the account has replaced opens nothing, whatever name leads to it.
        Raises `not_found`, `unauthorized`, `timed_out`.
        """
        normal = named(name)
        receiver = await self.of_name(normal)
        if receiver is None:
            raise _no_account(name)
        wall_s = self._wall_s()
        issued = self._challenges.read(challenge, session_name(name), wall_s)
        resolved = await self._names.resolve(normal)
        signed = _present(resolved, receiver) or receiver.signed
        if not verify_text(signed.profile.signing, challenge, signature):
            fresh = await self._names.again(normal)
            receiver = await self.of_address(receiver.address) or receiver
            changed = _present(fresh, receiver) if fresh is not None else None
            if changed is None or not verify_text(changed.profile.signing, challenge, signature):
                raise Dms3Error("unauthorized", "Signature invalid")
        # Nothing was awaited since the last look, or somebody else may have used it meanwhile.
        issued = self._challenges.read(challenge, session_name(name), wall_s)
        self._challenges.spend(issued, wall_s)
        return issue_session(self._secret_of(receiver), session_name(name), wall_s)

    async def authorised(self, name: str, token: str) -> Receiver:
        """The account behind `name`, when `token` is a session of it; raises `unauthorized`.

        A session of the account's address is one of every name that leads there. It ends when the
        name leads to another account, or the account's keys are replaced.
        """
        receiver = await self.of_name(named(name))
        if receiver is None:
            raise Dms3Error("unauthorized", f"{name[:64]} has no account here.")
        try:
            session = read_session(self._secret_of(receiver), token, self._wall_s())
        except DecodeError as error:
            raise Dms3Error("unauthorized", f"No session: {error.reason}.") from error
        if session.account != receiver.address and not same_name(session.account, name):
            raise Dms3Error("unauthorized", "The session is of another name.")
        return receiver

    async def keep_rules(self, receiver: Receiver, rules: SpamRules) -> None:
        """Keep `rules` as those of `receiver`."""
        await asyncio.wrap_future(self._kept.set_rules(receiver.id, canonical(rules.value())))
        self._cached.pop(receiver.address, None)

    def _secret_of(self, receiver: Receiver) -> str:
        """What sessions of `receiver` are signed with: another one for each account and its keys.

        Claims are the reference's and have a name, which may lead to somebody else tomorrow.
        """
        whose = "\0".join((receiver.address, *receiver.account.replaced))
        return hmac.digest(self._secret.encode(), whose.encode(), "sha256").hex()

    def _cache(self, receiver: Receiver) -> Receiver:
        self._cached.pop(receiver.address, None)
        self._cached[receiver.address] = receiver
        if len(self._cached) > MAIL_ACCOUNTS_CACHED_MAX:
            del self._cached[next(iter(self._cached))]
        return receiver

    def _wall_s(self) -> int:
        return self._clock.now().wall_us // US_PER_S


def session_name(name: str) -> str:
    """How a session names `name`: as the reference does, or by ENSIP-15.

    The latter where the reference has no form, or one that is another name, maybe of somebody else.
    """
    try:
        form = reference_form(name)
    except DecodeError:
        return named(name)
    return form if same_name(form, name) else named(name)


def rules_in(value: Any) -> SpamRules:
    """The spam rules in `value` (JSON); raises `argument_invalid`."""
    try:
        return decode_rules(value)
    except DecodeError as error:
        raise Dms3Error("argument_invalid", f"No spam rules: {error.reason}.") from error


def _receiver(account: MailAccount) -> Receiver:
    signed = decode_signed_profile(parse(account.profile, DM3_RECORD_BYTES_MAX))
    rules = decode_rules(parse(account.rules, DM3_RECORD_BYTES_MAX))
    return Receiver(account.id, account.address, signed, rules, account)


def _present(resolved: Resolved, receiver: Receiver) -> SignedProfile | None:
    """The profile that a name leads to, unless it is another's or one that `receiver` replaced."""
    signed = resolved.profile
    if signed is None or resolved.address.lower() != receiver.address:
        return None
    return None if receiver.account.was_replaced(signed.text()) else signed


def _no_account(name: str) -> Dms3Error:
    return Dms3Error(
        "not_found",
        f"{name[:64]} has no account at this service.",
        hint="Register with POST /profile/NAME first.",
    )
