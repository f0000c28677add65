"""People one writes with: several names of one person, strangers, the blocked, keys that changed.

Source: docs/architecture.md, "Messages". An account address or a root is who somebody is; a name
only says so. A person whose keys became others is marked and told of, loudly, and stays so until
somebody compared the fingerprint. Who is meant by a name is asked of machine "names".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.limits import (
    MAIL_AGAIN_US_MIN,
    MAIL_EARLIER_KEYS_MAX,
    MAIL_NAMES_MAX,
    MAIL_PEOPLE_MAX,
    MAIL_REQUESTS_MAX,
)
from dms3.core.machine import View, scan
from dms3.dm3.lookup import Resolve, Resolved
from dms3.dm3.naming import normalise
from dms3.messaging.operations import Correspondent, Decide, Join

TABLE, JOINS = "people", "joins"
CONTACT, REQUEST, BLOCKED = "contact", "request", "blocked"
_STANDINGS = (REQUEST, CONTACT, BLOCKED)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A signing key that a person had, and until when (wall, milliseconds) as seen here."""

    signing: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class Record:
    """A person as kept: what Correspondent says, the keys seen, and when it was last changed.

    `taken`: messages kept of this person while a stranger. `decided_us`: when (wall) somebody said
    what the person is, 0: never.
    """

    v: int
    id: str
    names: tuple[str, ...]
    address: str
    root: str
    standing: str
    fingerprint: str
    verified: bool
    changed: bool
    vouched: str
    signing: bytes
    earlier: tuple[Earlier, ...]
    taken: int
    at_us: int
    decided_us: int = 0

    def __post_init__(self) -> None:
        if self.standing not in _STANDINGS or not self.id or not self.names:
            raise ValueError("a person has an id, a name and a standing")

    @property
    def shown(self) -> Correspondent:
        """What commands tell."""
        return Correspondent(
            self.id, self.names, self.address, self.root, self.standing,  # type: ignore[arg-type]
            self.fingerprint, self.verified, self.changed, self.vouched,
        )  # fmt: skip


def unproven(resolved: Resolved) -> Resolved:
    """`resolved` without what nobody but its root says: anybody can name the account of another.

    A message that was signed under that name proves it; a look-up does not.
    """
    return replace(resolved, address="") if resolved.root else resolved


def _no_keys(name: str) -> Dms3Error:
    why = f"{name} has no profile yet, so there are no keys to compare."
    return Dms3Error("argument_invalid", why)


def blank(name: str, standing: str, at_us: int) -> Record:
    """A person of whom only a name is known."""
    decided_us = 0 if standing == REQUEST else at_us
    return Record(
        1, name, (name,), "", "", standing, "", False, False, "", b"", (), 0, at_us, decided_us
    )


class People:
    """Everybody, in memory and in the table; `share` tells other devices of a changed record."""

    def __init__(self, desk: Desk, share: Callable[[Record], None]) -> None:
        self._desk = desk
        self._share = share
        self._by_id: dict[str, Record] = {}
        self._by_name: dict[str, str] = {}
        self._by_key: dict[str, str] = {}  # address in small letters, or root -> id

    def load(self, view: View) -> None:
        """Read the tables."""
        for _, data in scan(view, TABLE):
            self._index(decode(Record, data))
        for key, data in scan(view, JOINS):
            self._move(key.decode(), data.decode())

    def all(self) -> list[Record]:
        """Everybody, by id."""
        return [self._by_id[key] for key in sorted(self._by_id)]

    def get(self, person: str) -> Record | None:
        """The person with this id, if it was not forgotten."""
        return self._by_id.get(person)

    def named(self, name: str) -> Record | None:
        """The person who has this canonical name (or id)."""
        found = self._by_name.get(_canonical(name))
        return self._by_id.get(found if found is not None else name)

    # Meeting

    def meet(self, resolved: Resolved, standing: str) -> Record:
        """The person that `resolved` is, with what is new; one never met gets `standing`.

        Raises `limit_reached` when there are too many people, or strangers.
        """
        before = self._known(resolved)
        if before is None:
            if resolved.vouched == "card":
                standing = CONTACT
            self._check_room(standing)
            before = blank(resolved.name, standing, self._desk.now.wall_us)
        names = dict.fromkeys((*before.names, resolved.name))  # an alias is no word of theirs
        after = replace(
            before,
            names=tuple(names)[:MAIL_NAMES_MAX],
            address=resolved.address or before.address,
            root=resolved.root or before.root,
            vouched=resolved.vouched,
        )
        if resolved.profile is not None:
            after = self._with_keys(after, resolved)
        if after != before or before.id not in self._by_id:
            self._put(replace(after, at_us=self._desk.now.wall_us))
        return self._by_id[after.id]

    def is_stranger(self, resolved: Resolved) -> bool:
        """Whether nothing was decided about this person, and no card tells of it."""
        known = self._known(resolved)
        if known is None:
            return resolved.vouched != "card"
        return known.standing == REQUEST

    def expect(self, name: str) -> Record:
        """The person called `name`, of whom nothing else can be found out now."""
        found = self.named(name)
        if found is None:
            self._check_room(CONTACT)
            found = blank(_canonical(name), CONTACT, self._desk.now.wall_us)
            self._put(found)
        return found

    def took(self, record: Record) -> None:
        """A message of a stranger was kept."""
        self._put(replace(record, taken=record.taken + 1), share=not record.taken)

    def _known(self, resolved: Resolved) -> Record | None:
        """The same account or root is the same person; so is a name whose account is unknown."""
        keys = [resolved.address.lower(), resolved.root]
        ids = [self._by_key[key] for key in keys if key and key in self._by_key]
        same = [self._by_id[each] for each in dict.fromkeys(ids)]
        by_name = self.named(resolved.name)
        if by_name is not None and by_name not in same and (not same or not by_name.address):
            same.append(by_name)
        elif by_name is not None and by_name not in same:
            self._lost_name(by_name, resolved.name)
        if not same:
            return None
        first = min(same, key=lambda one: (one.at_us, one.id)) if len(same) > 1 else same[0]
        for other in same:
            if other.id != first.id:
                first = self._join(other, first)
        return first

    def _lost_name(self, record: Record, name: str) -> None:
        """A name of this person belongs to somebody else now."""
        names = tuple(each for each in record.names if each != _canonical(name)) or record.names
        if not record.changed:
            self._desk.notify("person.changed", person=record.id, name=name)
        self._put(replace(record, names=names, changed=True, verified=False))

    def _join(self, one: Record, into: Record) -> Record:
        """Two that were met under different names turn out to be the same."""
        standing = max(one.standing, into.standing, key=_STANDINGS.index)
        names = tuple(dict.fromkeys((*into.names, *one.names)))[:MAIL_NAMES_MAX]
        self.remove(one)
        joined = replace(into, names=names, standing=standing)
        self._put(joined)
        self._desk.persist(JOINS, one.id.encode(), into.id.encode())
        self._move(one.id, into.id)
        return joined

    def _move(self, person: str, into: str) -> None:
        """What was kept for one of them belongs to the other; asked until it is answered."""

        def moved(body: Any) -> None:
            if isinstance(body, Failure):
                again = partial(self._move, person, into)
                self._desk.after(f"join:{person}", MAIL_AGAIN_US_MIN, again)
            else:
                self._desk.delete(JOINS, person.encode())

        self._desk.call("messages.join", Join(person, into), moved)

    def _with_keys(self, record: Record, resolved: Resolved) -> Record:
        """The keys of the profile; others than before are told of."""
        assert resolved.profile is not None
        signing = resolved.profile.profile.signing
        if resolved.fingerprint == record.fingerprint:
            return replace(record, signing=signing)
        earlier = record.earlier
        changed = bool(record.fingerprint)
        if changed:
            earlier = (Earlier(record.signing, self._desk.now_ms), *earlier)
            name = record.names[0]
            self._desk.notify("person.changed", person=record.id, name=name)
        return replace(
            record,
            fingerprint=resolved.fingerprint,
            signing=signing,
            earlier=earlier[:MAIL_EARLIER_KEYS_MAX],
            verified=False,
            changed=record.changed or changed,
        )

    def _check_room(self, standing: str) -> None:
        if standing == REQUEST:
            strangers = sum(one.standing == REQUEST for one in self._by_id.values())
            if strangers >= MAIL_REQUESTS_MAX:
                raise Dms3Error(
                    "limit_reached",
                    f"{strangers} strangers wait for a decision (dms3 message people); whoever "
                    "comes after them waits at the service.",
                )
        elif len(self._by_id) >= MAIL_PEOPLE_MAX:
            raise Dms3Error(
                "limit_reached",
                f"There are {len(self._by_id)} people already.",
                hint="Forget some: dms3 message forget NAME.",
            )

    # Deciding

    def find(self, name: str, then: Callable[[Record | Failure], None]) -> None:
        """Whoever is called `name` here: by a name or id that is known, else as "names" says."""

        def unknown(_: Resolved) -> Failure:
            return Failure("not_found", f"No message was ever exchanged with {name!r}.")

        self._find(name, unknown, then)

    def find_or_meet(self, name: str, then: Callable[[Record | Failure], None]) -> None:
        """As `find`; who was never met is met: keys may be compared before the first message."""

        def meet(resolved: Resolved) -> Record | Failure:
            if resolved.profile is None:
                return Failure.of(_no_keys(resolved.name))
            try:
                return self.meet(resolved, CONTACT)
            except Dms3Error as error:
                return Failure.of(error)

        self._find(name, meet, then)

    def _find(
        self,
        name: str,
        unknown: Callable[[Resolved], Record | Failure],
        then: Callable[[Record | Failure], None],
    ) -> None:
        found = self.named(name)
        if found is not None:
            then(found)
            return

        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure):
                then(body)
                return
            resolved_name = unproven(body)
            known = self._known(resolved_name)
            then(unknown(resolved_name) if known is None else known)

        self._desk.call("names.resolve", Resolve(name), resolved)

    def decide(self, record: Record, decided: Decide) -> Record:
        """The person after a decision; raises `argument_invalid`."""
        changes: dict[str, dict[str, Any]] = {
            "accept": {"standing": CONTACT},
            "block": {"standing": BLOCKED},
            "unblock": {"standing": CONTACT},
            "verified": {"verified": True, "changed": False},
        }
        if decided.what == "forget":
            self.remove(record)
            return record
        if decided.what not in changes:
            raise Dms3Error("argument_invalid", f"{decided.what!r} is nothing to decide.")
        if decided.what == "verified" and not record.fingerprint:
            raise _no_keys(record.names[0])
        now_us = self._desk.now.wall_us
        after = replace(record, at_us=now_us, decided_us=now_us, **changes[decided.what])
        self._put(after)
        return after

    def accept(self, record: Record) -> Record:
        """I write to this person, so it is no stranger."""
        if record.standing != REQUEST:
            return record
        return self.decide(record, Decide(record.id, "accept"))

    def merge(self, theirs: Record) -> None:
        """What another device says of a person: the newest word counts, names are joined.

        That a device met somebody later is no decision.
        """
        mine = self.named(theirs.id) or self._of_keys(theirs)
        if mine is None:
            try:
                self._check_room(theirs.standing)
            except Dms3Error:
                return
            self._put(theirs, share=False)
            return
        newest = max(mine, theirs, key=lambda one: (one.at_us, one.fingerprint, one.changed))
        decided = max(mine, theirs, key=lambda one: (one.decided_us, one.standing))
        joined = replace(
            newest,
            id=mine.id,
            names=tuple(dict.fromkeys((*mine.names, *theirs.names)))[:MAIL_NAMES_MAX],
            standing=decided.standing,
            decided_us=decided.decided_us,
            taken=max(mine.taken, theirs.taken),
        )
        if joined != mine:
            self._put(joined, share=False)

    # Keeping

    def _of_keys(self, record: Record) -> Record | None:
        """Whoever has the same account or root."""
        for key in (record.address.lower(), record.root):
            if key and key in self._by_key:
                return self._by_id[self._by_key[key]]
        return None

    def remove(self, record: Record) -> None:
        """Forget a person."""
        for table in (self._by_name, self._by_key):
            for key in [key for key, each in table.items() if each == record.id]:
                del table[key]
        del self._by_id[record.id]
        self._desk.delete(TABLE, record.id.encode())

    def _put(self, record: Record, *, share: bool = True) -> None:
        self._index(record)
        self._desk.persist(TABLE, record.id.encode(), encode(record))
        if share:
            self._share(record)

    def _index(self, record: Record) -> None:
        self._by_id[record.id] = record
        for name in record.names:
            self._by_name[name] = record.id
        for key in (record.address.lower(), record.root):
            if key:
                self._by_key[key] = record.id


def _canonical(name: str) -> str:
    try:
        return normalise(name)
    except DecodeError:
        return name
