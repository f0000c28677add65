"""Grants given and received: the tables of the sharing machine, in memory and in the store.

Source: docs/architecture.md, "Private by default". A given grant counts only while it is in the
table: withdrawing is deleting, and a signed copy elsewhere is then worth nothing here. Checks no
signature and talks to nobody: see `search/gate.py` and `search/sharing.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.core.limits import (
    GRANTS_GIVEN_MAX,
    GRANTS_PER_ISSUER_MAX,
    GRANTS_RECEIVED_MAX,
    READER_PEERS_MAX,
    WITHDRAWN_KEPT_MAX,
)
from dms3.core.machine import Delete, Effect, Persist, View, scan
from dms3.crypto.grant import Grant, decode_grant

GIVEN, RECEIVED, WITHDRAWN = "given", "received", "withdrawn"


@dataclass(frozen=True, slots=True)
class GivenRecord:
    """A grant of mine: its bytes, the space's name, its reader's devices and their answers."""

    v: int
    grant: bytes = field(repr=False)
    name: str
    peers: tuple[bytes, ...]
    delivered: tuple[bytes, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedRecord:
    """A grant to me: its bytes, the space's name, the issuer's devices that offered it."""

    v: int
    grant: bytes = field(repr=False)
    name: str
    peers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _WithdrawnRecord:
    v: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Given:
    """A given grant, decoded."""

    grant: Grant
    record: GivenRecord


@dataclass(frozen=True, slots=True)
class Received:
    """A received grant, decoded."""

    grant: Grant
    record: ReceivedRecord


class GivenBook:
    """Grants this person has given and not taken back, by serial."""

    def __init__(self) -> None:
        self._by_serial: dict[bytes, Given] = {}

    def load(self, view: View) -> None:
        """Read the table."""
        for serial, data in scan(view, GIVEN):
            record = decode(GivenRecord, data)
            self._by_serial[serial] = Given(decode_grant(record.grant), record)

    def __iter__(self) -> Iterator[Given]:
        return iter(self._by_serial.values())

    def get(self, serial: bytes) -> Given | None:
        """The given grant with this serial."""
        return self._by_serial.get(serial)

    def find(self, space: SpaceId | None, reader: Root) -> list[Given]:
        """Every grant of `reader` on `space` (None: on every space), oldest first."""
        return [
            given
            for given in self._by_serial.values()
            if given.grant.reader == reader and space in (None, given.grant.space)
        ]

    def put(self, grant: Grant, record: GivenRecord) -> list[Effect]:
        """Keep or update; raises `limit_reached` when the table is full."""
        if grant.serial not in self._by_serial and len(self._by_serial) >= GRANTS_GIVEN_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{GRANTS_GIVEN_MAX} grants are given.",
                hint="Unshare what is no longer needed.",
            )
        self._by_serial[grant.serial] = Given(grant, record)
        return [Persist(GIVEN, grant.serial, encode(record))]

    def remove(self, serial: bytes) -> list[Effect]:
        """Take a grant back."""
        if self._by_serial.pop(serial, None) is None:
            return []
        return [Delete(GIVEN, serial)]

    def prune(self, wall_us: int) -> list[Effect]:
        """Remove what has expired."""
        gone = [serial for serial, given in self._by_serial.items() if _over(given.grant, wall_us)]
        return [effect for serial in gone for effect in self.remove(serial)]


class ReceivedBook:
    """Grants other persons gave to this one, by issuer and serial, and serials withdrawn."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, Received] = {}
        self._per_issuer: dict[bytes, int] = {}
        self._withdrawn: dict[bytes, int] = {}

    def load(self, view: View) -> None:
        """Read the tables."""
        for key, data in scan(view, RECEIVED):
            record = decode(ReceivedRecord, data)
            self._add(key, Received(decode_grant(record.grant), record))
        for key, data in scan(view, WITHDRAWN):
            self._withdrawn[key] = decode(_WithdrawnRecord, data).until_us

    def __iter__(self) -> Iterator[Received]:
        return iter(self._by_key.values())

    def get(self, issuer: bytes, serial: bytes) -> Received | None:
        """The received grant of `issuer` with this serial."""
        return self._by_key.get(issuer + serial)

    def was_withdrawn(self, issuer: bytes, serial: bytes) -> bool:
        """Whether the issuer has taken this grant back."""
        return issuer + serial in self._withdrawn

    def put(self, grant: Grant, name: str, peer: PeerId) -> list[Effect]:
        """Keep an offered grant, or note one more device of its issuer.

        Raises `limit_reached` when the table, or the issuer's share of it, is full.
        """
        key = grant.issuer + grant.serial
        held = self._by_key.get(key)
        if held is None:
            self._check_room(grant)
            peers: tuple[bytes, ...] = (peer,)
        else:
            others = tuple(other for other in held.record.peers if other != peer)
            peers = (*others[-(READER_PEERS_MAX - 1) :], peer)
        record = ReceivedRecord(1, encode(grant), name, peers)
        if held is not None and held.record == record:
            return []
        self._add(key, Received(grant, record))
        return [Persist(RECEIVED, key, encode(record))]

    def withdraw(self, issuer: bytes, serial: bytes, until_us: int) -> list[Effect]:
        """Forget a grant and remember that it was withdrawn, oldest memories going first."""
        key = issuer + serial
        effects: list[Effect] = list(self._remove(key))
        if key in self._withdrawn:
            return effects
        if len(self._withdrawn) >= WITHDRAWN_KEPT_MAX:
            oldest = next(iter(self._withdrawn))
            del self._withdrawn[oldest]
            effects.append(Delete(WITHDRAWN, oldest))
        self._withdrawn[key] = until_us
        effects.append(Persist(WITHDRAWN, key, encode(_WithdrawnRecord(1, until_us))))
        return effects

    def prune(self, wall_us: int) -> list[Effect]:
        """Remove what has expired."""
        gone = [key for key, received in self._by_key.items() if _over(received.grant, wall_us)]
        effects = [effect for key in gone for effect in self._remove(key)]
        past = [key for key, until_us in self._withdrawn.items() if until_us <= wall_us]
        for key in past:
            del self._withdrawn[key]
            effects.append(Delete(WITHDRAWN, key))
        return effects

    def _check_room(self, grant: Grant) -> None:
        of_issuer = self._per_issuer.get(grant.issuer, 0)
        if len(self._by_key) >= GRANTS_RECEIVED_MAX or of_issuer >= GRANTS_PER_ISSUER_MAX:
            raise Dms3Error("limit_reached", "This node holds as many grants as it may.")

    def _add(self, key: bytes, received: Received) -> None:
        if key not in self._by_key:
            issuer = received.grant.issuer
            self._per_issuer[issuer] = self._per_issuer.get(issuer, 0) + 1
        self._by_key[key] = received

    def _remove(self, key: bytes) -> list[Effect]:
        received = self._by_key.pop(key, None)
        if received is None:
            return []
        issuer = received.grant.issuer
        self._per_issuer[issuer] -= 1
        if not self._per_issuer[issuer]:
            del self._per_issuer[issuer]
        return [Delete(RECEIVED, key)]


def merged_peers(known: tuple[bytes, ...], more: tuple[PeerId, ...]) -> tuple[bytes, ...]:
    """The devices of a reader with `more` added; the oldest go beyond the bound."""
    fresh = [peer for peer in dict.fromkeys(more) if peer not in known]
    return (*known, *fresh)[-READER_PEERS_MAX:]


def with_answer(record: GivenRecord, peer: PeerId, refused: str) -> GivenRecord:
    """The record after a device has answered an offer (`refused`: its reason, or "")."""
    if refused:
        return dataclasses.replace(record, refused=refused)
    delivered = (*(other for other in record.delivered if other != peer), peer)
    return dataclasses.replace(record, delivered=delivered[-READER_PEERS_MAX:], refused="")


def _over(grant: Grant, wall_us: int) -> bool:
    return grant.until_us <= wall_us
