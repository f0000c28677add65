"""Who carries my messages: the delivery services of this person, and the nodes of its devices.

Source: docs/architecture.md, "Messages". What the profile lists is the same on all devices: each
change is an item of storage, and the newest word counts. A service that was left is still asked
for a while, as senders may not have heard of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.limits import MAIL_CARRIERS_MAX, MAIL_LEAVING_US
from dms3.core.machine import View, scan
from dms3.messaging.items import CARRIER, PERSON
from dms3.messaging.sharing import Sharing
from dms3.storage.operations import Item

TABLE = "carriers"


@dataclass(frozen=True, slots=True)
class Carrier:
    """A service by name. `direct`: a node of this person; `gone`: left at `at_us` (wall)."""

    v: int
    name: str
    direct: bool
    gone: bool
    at_us: int


class Carriers:
    """The table; `changed` is told when the profile lists others than before."""

    def __init__(self, desk: Desk, sharing: Sharing) -> None:
        self._desk = desk
        self._sharing = sharing
        self._rows: dict[str, Carrier] = {}
        self.changed: Callable[[], None] = lambda: None

    def load(self, view: View) -> None:
        """Read the table."""
        for _, data in scan(view, TABLE):
            row = decode(Carrier, data)
            self._rows[row.name] = row

    def listed(self) -> Sequence[str]:
        """The names in the profile: services first, as software of others knows no nodes."""
        rows = sorted(self._rows.values(), key=lambda row: (row.direct, row.at_us, row.name))
        return [row.name for row in rows if not row.gone]

    def asked(self) -> list[str]:
        """The services to ask for messages: in use, or left not long ago."""
        now_us = self._desk.now.wall_us
        return [
            row.name
            for row in sorted(self._rows.values(), key=lambda row: (row.gone, row.at_us, row.name))
            if not row.direct and (not row.gone or now_us - row.at_us < MAIL_LEAVING_US)
        ]

    def uses(self, name: str) -> bool:
        """Whether the profile lists it."""
        row = self._rows.get(name)
        return row is not None and not row.gone

    def add(self, name: str, *, direct: bool) -> None:
        """List a service from now on; raises `limit_reached`."""
        before = self._rows.get(name)
        if before is not None and not before.gone and before.direct == direct:
            return
        if not self.uses(name) and len(self.listed()) >= MAIL_CARRIERS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{MAIL_CARRIERS_MAX} services carry your messages already.",
                hint="Leave one first: dms3 message uncarry NAME.",
            )
        self._put(Carrier(1, name, direct, False, self._desk.now.wall_us))
        self.changed()

    def remove(self, name: str) -> None:
        """List it no more."""
        row = self._rows.get(name)
        if row is not None and not row.gone:
            self._put(replace(row, gone=True, at_us=self._desk.now.wall_us))
            self.changed()

    def share_all(self) -> None:
        """Tell other devices of all."""
        for name in sorted(self._rows):
            self._share(self._rows[name])

    def merge(self, theirs: Carrier) -> None:
        """What another device says."""
        mine = self._rows.get(theirs.name)
        if mine is not None and (mine.at_us, mine.gone) >= (theirs.at_us, theirs.gone):
            return
        if mine is None and len(self._rows) >= MAIL_CARRIERS_MAX * MAIL_CARRIERS_MAX:
            return
        self._put(theirs, share=False)
        self.changed()

    def _put(self, row: Carrier, *, share: bool = True) -> None:
        self._rows[row.name] = row
        self._desk.persist(TABLE, row.name.encode(), encode(row))
        if share:
            self._share(row)

    def _share(self, row: Carrier) -> None:
        key = CARRIER + hashlib.sha256(row.name.encode()).hexdigest()  # a name may be too long
        self._sharing.item(Item(PERSON, key, encode(row), row.at_us // 1_000))
