"""Who a name is: the one chain from cards over keys and first-come names to ENS, as steps.

Source: docs/names.md, "Which name means whom". Everything that comes back is checked here: a
profile is believed when the account behind the name has signed it, whoever carried it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.machine import Now
from dms3.core.overlay import PUBLIC, GetContent, Got
from dms3.dm3 import records
from dms3.dm3.lookup import Resolved, Voucher
from dms3.dm3.outside import LookUpName, NameOnChain
from dms3.dm3.profile import fingerprint
from dms3.names import claim, record
from dms3.names.cache import Cache, life_us
from dms3.names.checked import of_record, service_profile, signed_profile
from dms3.names.claim import NameClaim
from dms3.names.forms import (
    AddressName,
    CardName,
    EnsName,
    FirstComeName,
    Form,
    KeyName,
    key_name,
)
from dms3.names.linked import read_text
from dms3.names.pins import Pins, root_text
from dms3.names.steps import Ask, Wanted

Finds = Generator[Wanted, Any, Resolved]
"""Steps to who somebody is."""

TEXTS = (records.PROFILE_KEY, records.SERVICE_KEY)


@dataclass(frozen=True, slots=True)
class Known:
    """A contact: the root on a card of the person, and what they are called there."""

    root: bytes
    name: str


ContactOf = Callable[[Any], Known]
"""What the peer book's answer to `contact_find` says."""


class Finding:
    """The steps; `own` gives the record this node would publish for a key, b"" for other keys."""

    def __init__(
        self,
        cache: Cache,
        pins: Pins,
        contact_of: ContactOf,
        own: Callable[[bytes], record.ProfileRecord | None],
        now: Callable[[], Now],
    ) -> None:
        self._cache = cache
        self._pins = pins
        self._contact_of = contact_of
        self._own = own
        self._now = now

    def find(self, form: Form, *, fresh: bool) -> Finds:
        """Who `form` is; `fresh`: nothing from the cache. Raises as `dm3/lookup.py` says."""
        match form:
            case CardName(text):
                return (yield from self._card(text, fresh=fresh))
            case KeyName(name, key):
                steps = self._key(name, key, fresh=fresh)
            case FirstComeName(name):
                steps = self._first_come(name, fresh=fresh)
            case EnsName(name):
                steps = self._ens(name)
            case AddressName(address):
                name, steps = address, self._address(address, fresh=fresh)
        return (yield from self._cached(name, steps, fresh=fresh))

    def _cached(self, name: str, steps: Finds, *, fresh: bool) -> Finds:
        """The answer known of `name`, or what `steps` find, which is then known."""
        known = None if fresh else self._cache.get(name, self._now())
        if known is None:
            try:
                known = yield from steps
                until_us = self._now().wall_us + life_us(known)
                known = replace(known, until_us=until_us)
            except Dms3Error as error:
                known = error
            self._cache.put(name, known, self._now())
        if isinstance(known, Dms3Error):
            raise known
        aliases = {*known.aliases, *self._cache.names_of(known.address, self._now())} - {name}
        return replace(known, aliases=tuple(sorted(aliases)))

    def _card(self, text: str, *, fresh: bool) -> Finds:
        known = yield from self._contact(text)
        if known is None:
            raise Dms3Error(
                "not_found",
                f"None of your contacts is called {text!r}.",
                hint="Give a whole name, such as alice.eth or alice.dms3; see dms3 contact list.",
            )
        name = key_name(known.root)
        try:
            steps = self._key(name, known.root, fresh=fresh)
            found = yield from self._cached(name, steps, fresh=fresh)
        except Dms3Error as error:
            if error.code != "not_found":
                raise
            why = f"Your contact {known.name} has not published a profile yet ({name})."
            raise Dms3Error("not_found", why) from error
        return replace(found, vouched="card")

    def _contact(self, text: str) -> Generator[Wanted, Any, Known | None]:
        """The contact called `text`; raises when several are."""
        answer = yield Ask("peers.contact_find", text)
        if isinstance(answer, Failure):
            if answer.code == "not_found":
                return None
            raise answer.error()
        return self._contact_of(answer)

    def _key(self, name: str, key: bytes, *, fresh: bool) -> Finds:
        own = None if fresh else self._own(key)
        if own is not None:
            return of_record(name, own)
        got = yield from self._get(name, record.NAME, record.record_key(key))
        if not got.values:
            raise Dms3Error("not_found", f"Nobody has published a profile for {name}.")
        found = of_record(name, record.decode_record(got.values[0]))
        contact = yield from self._contact(key.hex())
        return found if contact is None else replace(found, vouched="card")

    def _first_come(self, name: str, *, fresh: bool) -> Finds:
        chosen = yield from self.claimed(name)
        yield from self._pins.keep(name, chosen.root, self._now())
        own_name = key_name(chosen.root)
        try:
            steps = self._key(own_name, chosen.root, fresh=fresh)
            found = yield from self._cached(own_name, steps, fresh=fresh)
        except Dms3Error as error:
            if error.code != "not_found":
                raise
            root = chosen.root.hex()
            return Resolved(name, "", None, None, "dms3", "", root, (own_name,))
        vouched: Voucher = "card" if found.vouched == "card" else "dms3"
        return replace(found, name=name, vouched=vouched, aliases=(own_name,))

    def claimed(self, name: str) -> Generator[Wanted, Any, NameClaim]:
        """The claim to `name` that counts; raises `not_found`, and `content_invalid` for several.

        One that has the key of the day when the name was first seen counts before all others.
        """
        got = yield from self._get(name, claim.NAME, claim.claim_key(name))
        claims = [claim.decode_claim(value) for value in got.values]
        if not claims:
            raise Dms3Error("not_found", f"Nobody has claimed {name}.")
        pinned = self._pins.get(name)
        if pinned is not None:
            for each in claims:
                if each.root == pinned:
                    return each
            raise Dms3Error(
                "content_invalid",
                f"{name} was of the key {root_text(pinned)} when this node first saw it, and "
                f"is now claimed by another, {root_text(claims[0].root)}.",
                hint=f"Ask the person. If it is right: dms3 name forget {name}.",
            )
        if len(claims) > 1 and 2 * got.holders[0] <= sum(got.holders):
            several = " and ".join(root_text(each.root) for each in claims[:4])
            raise Dms3Error(
                "content_invalid",
                f"{name} is claimed by {several}, and no claim is held by most nodes.",
                hint="Ask the person for their contact card, or for the name with their key.",
            )
        return claims[0]

    def _get(self, name: str, kind: str, key: bytes) -> Generator[Wanted, Any, Got]:
        answer = yield Ask("dht.get", GetContent(PUBLIC, kind, key))
        if isinstance(answer, Failure):
            why = f"{name} could not be looked up in the overlay: {answer.message}"
            raise Dms3Error(answer.error().code, why, retry=answer.retry)
        got: Got = answer
        if not got.values and not got.asked:
            why = f"{name} cannot be looked up: no other node of the overlay answers."
            raise Dms3Error("peer_unreachable", why, hint="Is this node connected? dms3 peer list")
        return got

    def _ens(self, name: str) -> Finds:
        answer = yield Ask("ethereum.name", LookUpName(name, TEXTS))
        if isinstance(answer, Failure):
            raise answer.error()
        found: NameOnChain = answer
        profile, service = None, None
        if found.texts[0]:
            value = yield from read_text(name, found.texts[0])
            profile = signed_profile(name, value, found.address)
        if found.texts[1]:
            value = yield from read_text(name, found.texts[1])
            service = service_profile(name, value)
        shown = "" if profile is None else fingerprint(profile.profile)
        return Resolved(name, found.address, profile, service, "ens", shown)

    def _address(self, address: str, *, fresh: bool) -> Finds:
        """An account by itself has no profile; the name its owner has set for it may have one."""
        answer = yield Ask("ethereum.reverse", address)
        bare = Resolved(address, address, None, None, "address", "")
        if isinstance(answer, Failure) or not answer:
            return bare
        name: str = answer
        found = yield from self._cached(name, self._ens(name), fresh=fresh)
        if found.address != address:
            return bare  # anybody may set any name for their own account
        return replace(found, name=address, aliases=(name,))
