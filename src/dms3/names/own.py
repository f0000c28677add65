"""The names of this node's person: keeping them, claiming new ones, putting their records.

Source: docs/names.md. Records are put again long before they expire, and soon while few nodes hold
them. Another device of the same person may have published later: its profile is put again then, and
not the older one of this device.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    NAME_RECORD_LIFE_US,
    NAME_WORK_SLICE_TRIES_MAX,
    NAME_WORK_TRIES_MAX,
    NAMES_OWN_MAX,
)
from dms3.core.machine import Effect, Now, Persist, View
from dms3.core.overlay import PUBLIC, Content, GetContent, Got, Placed, PutContent
from dms3.crypto.signing import SigningKey
from dms3.dm3.lookup import OwnNames, Published, PublishProfile, Resolved
from dms3.names import claim, record
from dms3.names.finding import Finding
from dms3.names.forms import EnsName, FirstComeName, form_of, key_name
from dms3.names.pins import root_text
from dms3.names.steps import Ask, Rest, Wanted

TABLE = "own"
_ROW = b"own"


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """A claimed name with the solution of its puzzle; `lost`: most nodes hold another's claim."""

    name: str
    work: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class OwnRow:
    """What is durable. `profile`, `service`: as in a ProfileRecord; `address`: who signed it.

    `primary` "": the self-certifying name. `ens`: names whose address is the person's account.
    """

    v: int
    primary: str = ""
    claims: tuple[OwnClaim, ...] = ()
    ens: tuple[str, ...] = ()
    sequence: int = 0
    address: str = ""
    profile: bytes = field(default=b"", repr=False)
    service: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose names these are: `root` and `node` sign, `account` is the address of their wallet."""

    root: SigningKey
    node: SigningKey
    account: str


class Own:
    """The steps of own names, over one row of table `own`."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.row = OwnRow(1)

    def load(self, view: View) -> None:
        """Read the committed row."""
        data = view.get(TABLE, _ROW)
        self.row = OwnRow(1) if data is None else decode(OwnRow, data)

    @property
    def names(self) -> OwnNames:
        """All names, the primary one first."""
        mine, service = key_name(self._owner.root.public), key_name(self._owner.node.public)
        claimed = tuple(each.name for each in self.row.claims if not each.lost)
        every = (*self.row.ens, *claimed, mine)
        primary = self.row.primary if self.row.primary in every else mine
        rest = tuple(name for name in every if name != primary)
        return OwnNames(primary, mine, service, (primary, *rest))

    @property
    def has_records(self) -> bool:
        """Whether there is anything to put."""
        return bool(self.row.profile or self.row.service or self.row.claims)

    def record_of(self, key: bytes) -> record.ProfileRecord | None:
        """The unsigned record that this node publishes for `key`; None: it does not."""
        row, owner = self.row, self._owner
        if key == owner.root.public and row.profile:
            return self._record(key, row.profile, b"", 0)
        if key == owner.node.public and row.service:
            return self._record(key, b"", row.service, 0)
        return None

    def keep(self, wanted: PublishProfile) -> list[Effect]:
        """Note what is to be published from now on."""
        service = "" if wanted.service is None else wanted.service.text()
        self.row = replace(
            self.row,
            address=wanted.address or self._owner.account,
            profile=wanted.profile.text().encode(),
            service=service.encode(),
        )
        return [self._persist()]

    def put(self, now: Now, *, renew: bool) -> Generator[Wanted, Any, Published]:
        """Put every record; `renew`: a later profile of another device is kept."""
        newest = yield from self._newest()
        if renew and newest is not None and newest.sequence > self.row.sequence and newest.profile:
            self.row = replace(self.row, profile=newest.profile, address=newest.address)
        found = 0 if newest is None else newest.sequence
        sequence = max(self.row.sequence + 1, found + 1, now.wall_us)
        self.row = replace(self.row, sequence=sequence)
        yield self._persist()
        holders = yield from self._place(self._contents(now))
        return Published(min(holders, default=0))

    def look_after(self, finding: Finding) -> Generator[Wanted, Any, None]:
        """Note which claimed names have been lost, or won again."""
        for each in self.row.claims:
            try:
                held = yield from finding.claimed(each.name)
                lost = held.root != self._owner.root.public
            except Dms3Error as error:
                if error.code != "content_invalid":
                    continue
                lost = True
            if lost != each.lost:
                rest = (replace(one, lost=lost) if one == each else one for one in self.row.claims)
                self.row = replace(self.row, claims=tuple(rest))
                yield self._persist()

    def claim(self, text: str, finding: Finding, now: Now) -> Generator[Wanted, Any, Resolved]:
        """Make the first-come name `text` the person's; raises `already_exists`."""
        form = form_of(text)
        if not isinstance(form, FirstComeName):
            why = f"{text!r} cannot be claimed: a name to claim is one such as alice.dms3."
            raise Dms3Error("argument_invalid", why)
        name = form.name
        if all(each.name != name for each in self.row.claims):
            self._check_room()
            yield from self._check_free(name, finding)
            work = yield from self._work(name)
            yield from self._place([self._claim(OwnClaim(name, work), now)])
            yield from self._check_free(name, finding)
            row = replace(self.row, claims=(*self.row.claims, OwnClaim(name, work)))
            self.row = replace(row, primary=row.primary or name)
            yield self._persist()
        return (yield from finding.find(form, fresh=True))

    def add(self, text: str, finding: Finding) -> Generator[Wanted, Any, Resolved]:
        """Count the ENS name `text` among the person's; raises `forbidden` when it is not."""
        form = form_of(text)
        if not isinstance(form, EnsName):
            why = f"{text!r} is no name of ENS; one of dms3 is claimed: dms3 name claim NAME."
            raise Dms3Error("argument_invalid", why)
        found = yield from finding.find(form, fresh=True)
        profile = b"" if found.profile is None else found.profile.text().encode()
        addresses = (self._owner.account, self.row.address)
        if found.address not in addresses and (not profile or profile != self.row.profile):
            owner = found.address or "no account"
            raise Dms3Error(
                "forbidden",
                f"{form.name} belongs to {owner}; your account is {self._owner.account}.",
                hint="Set the address of the name to your account with your wallet.",
            )
        if form.name not in self.row.ens:
            self._check_room()
            self.row = replace(self.row, ens=(*self.row.ens, form.name))
            yield self._persist()
        return found

    def use(self, text: str) -> list[Effect]:
        """Make one of the person's names the primary one; raises `not_found`."""
        name = self._mine(text)
        self.row = replace(self.row, primary="" if name == self.names.key_name else name)
        return [self._persist()]

    def drop(self, text: str) -> list[Effect]:
        """Have a name no longer; a claim lapses, since nobody renews it. Raises `not_found`."""
        name = self._mine(text)
        if name == self.names.key_name:
            raise Dms3Error(
                "argument_invalid", f"{name} is your key itself; it cannot be given up."
            )
        row = self.row
        self.row = replace(
            row,
            primary="" if row.primary == name else row.primary,
            claims=tuple(each for each in row.claims if each.name != name),
            ens=tuple(each for each in row.ens if each != name),
        )
        return [self._persist()]

    # Parts

    def _mine(self, text: str) -> str:
        known = {*self.names.names, *(each.name for each in self.row.claims)}
        name = text.strip().lower()
        if name not in known:
            raise Dms3Error(
                "not_found", f"{text!r} is none of your names.", hint="See dms3 name list."
            )
        return name

    def _check_room(self) -> None:
        if len(self.row.claims) + len(self.row.ens) >= NAMES_OWN_MAX:
            raise Dms3Error(
                "limit_reached",
                f"You have {NAMES_OWN_MAX} names already.",
                hint="Give one up first: dms3 name drop NAME.",
            )

    def _check_free(self, name: str, finding: Finding) -> Generator[Wanted, Any, None]:
        """Return when nobody else's claim to `name` counts."""
        try:
            held = yield from finding.claimed(name)
        except Dms3Error as error:
            if error.code == "not_found":
                return
            raise
        if held.root != self._owner.root.public:
            raise Dms3Error(
                "already_exists",
                f"{name} is taken: it is of the key {root_text(held.root)}.",
                hint="Choose another name.",
            )

    def _work(self, name: str) -> Generator[Wanted, Any, int]:
        for start in range(0, NAME_WORK_TRIES_MAX, NAME_WORK_SLICE_TRIES_MAX):
            root = self._owner.root.public
            found = claim.find_work(name, root, start, NAME_WORK_SLICE_TRIES_MAX)
            if found is not None:
                return found
            yield Rest()
        raise Dms3Error("internal", f"None of {NAME_WORK_TRIES_MAX} numbers solves the puzzle.")

    def _newest(self) -> Generator[Wanted, Any, record.ProfileRecord | None]:
        """The record of the person that the overlay has."""
        key = record.record_key(self._owner.root.public)
        answer = yield Ask("dht.get", GetContent(PUBLIC, record.NAME, key))
        if isinstance(answer, Failure):
            return None
        got: Got = answer
        return record.decode_record(got.values[0]) if got.values else None

    def _place(self, contents: Sequence[Content]) -> Generator[Wanted, Any, tuple[int, ...]]:
        answer = yield Ask("dht.put", PutContent(PUBLIC, tuple(contents)))
        if isinstance(answer, Failure):
            raise answer.error()
        placed: Placed = answer
        return placed.holders

    def _contents(self, now: Now) -> list[Content]:
        row, owner = self.row, self._owner
        contents: list[Content] = []
        if row.profile:
            made = self._record(owner.root.public, row.profile, b"", now.wall_us)
            contents.append(record.sign_record(owner.root, made))
        if row.service:
            made = self._record(owner.node.public, b"", row.service, now.wall_us)
            contents.append(record.sign_record(owner.node, made))
        return contents + [self._claim(each, now) for each in row.claims]

    def _record(
        self, key: bytes, profile: bytes, service: bytes, wall_us: int
    ) -> record.ProfileRecord:
        until_us = wall_us + NAME_RECORD_LIFE_US
        row = self.row
        address = row.address
        return record.ProfileRecord(
            record.VERSION, key, address, profile, service, row.sequence, wall_us, until_us, b""
        )

    def _claim(self, mine: OwnClaim, now: Now) -> Content:
        until_us = now.wall_us + NAME_RECORD_LIFE_US
        root = self._owner.root
        bare = claim.NameClaim(
            claim.VERSION, mine.name, root.public, mine.work, now.wall_us, until_us, b""
        )
        return claim.sign_claim(root, bare)

    def _persist(self) -> Persist:
        return Persist(TABLE, _ROW, encode(self.row))
