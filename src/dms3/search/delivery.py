"""The outbox: offers and withdrawals of grants, kept until the reader's node has answered.

Source: docs/architecture.md, "Private by default"; docs/wire.md, "/dms3/grant/1". Entries survive
crashes; an entry is sent whenever its peer is connected, at once after PeerUp and then with
back-off. Does not know what an answer means for a grant: `search/sharing.py` decides.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, Token
from dms3.core.limits import (
    DELIVERIES_AT_ONCE_MAX,
    DELIVERY_BACKOFF_US_MAX,
    DELIVERY_BACKOFF_US_MIN,
    DELIVERY_TIMEOUT_US,
    OUTBOX_MAX,
)
from dms3.core.machine import Delete, Effect, Now, Persist, Request, View, scan
from dms3.crypto.grant import SERIAL_BYTES
from dms3.search.messages import GRANT_PROTOCOL, GrantMessage

OUTBOX = "outbox"
PREFIX = "deliver:"
_OFFER, _WITHDRAWAL = b"o", b"w"


@dataclass(frozen=True, slots=True)
class _Record:
    """What is to be said: an offer of `grant`, or a withdrawal; of no use after `until_us`."""

    v: int
    grant: bytes = field(repr=False)
    name: str
    until_us: int


@dataclass(slots=True, eq=False)
class Entry:
    """One delivery to one device; `asked` while a Request is under way."""

    serial: bytes
    peer: PeerId
    offer: bool
    record: _Record
    attempts: int = 0
    due_us: int = 0
    asked: bool = False

    @property
    def key(self) -> bytes:
        """Where the entry is stored: kind, serial, peer."""
        return (_OFFER if self.offer else _WITHDRAWAL) + self.serial + self.peer


class Outbox:
    """Undelivered offers and withdrawals, by key and by peer."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._of_peer: dict[PeerId, dict[bytes, Entry]] = {}
        self._up: set[PeerId] = set()
        self._asked: dict[PeerId, set[bytes]] = {}  # keys of Requests under way, by peer
        self._heap: list[tuple[int, bytes]] = []  # (due, key); entries of absent peers are not in

    def load(self, view: View) -> None:
        """Read the table."""
        for key, data in scan(view, OUTBOX):
            serial = key[1 : 1 + SERIAL_BYTES]
            peer = PeerId(key[1 + SERIAL_BYTES :])
            self._add(Entry(serial, peer, key[:1] == _OFFER, decode(_Record, data)))

    def __len__(self) -> int:
        return len(self._entries)

    def check_room(self, count: int) -> None:
        """Return when `count` further offers fit; else raise `limit_reached`."""
        if len(self._entries) + count > OUTBOX_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{len(self._entries)} grants wait to be delivered.",
                hint="Unshare with contacts whose nodes never come back.",
            )

    def offer(
        self, serial: bytes, peer: PeerId, grant: bytes, name: str, until_us: int, now: Now
    ) -> list[Effect]:
        """Queue the offer of a grant; the caller has asked `check_room`."""
        return self._queue(Entry(serial, peer, True, _Record(1, grant, name, until_us)), now)

    def withdraw(self, serial: bytes, peer: PeerId, until_us: int, now: Now) -> list[Effect]:
        """Queue a withdrawal in place of an offer that is still queued.

        When the outbox is full the reader is not told: the grant is worth nothing here anyway.
        """
        effects: list[Effect] = []
        offer = self._entries.get(_OFFER + serial + peer)
        if offer is not None:
            effects += self.done(offer)
        if len(self._entries) >= OUTBOX_MAX:
            return effects
        entry = Entry(serial, peer, False, _Record(1, b"", "", until_us))
        return effects + self._queue(entry, now)

    def peer_up(self, peer: PeerId, now: Now) -> None:
        """A device is connected: everything for it is due now."""
        self._up.add(peer)
        for entry in self._of_peer.get(peer, {}).values():
            if not entry.asked:
                self._due(entry, now.mono_us)

    def peer_down(self, peer: PeerId) -> None:
        """A device is gone; its Requests fail by themselves."""
        self._up.discard(peer)

    def send_due(self, certificate: bytes, now: Now) -> list[Effect]:
        """Requests for everything that is due at connected peers, within the bounds."""
        effects: list[Effect] = []
        while self._heap and self._heap[0][0] <= now.mono_us:
            due_us, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.asked or entry.due_us != due_us:
                continue  # delivered, under way, or due at another time
            if entry.record.until_us <= now.wall_us:
                effects += self.done(entry)  # the grant has expired: nothing left to say
            elif entry.peer not in self._up:
                continue  # peer_up makes it due again
            elif len(self._asked.get(entry.peer, ())) >= DELIVERIES_AT_ONCE_MAX:
                self._due(entry, now.mono_us + DELIVERY_BACKOFF_US_MIN)
            else:
                effects.append(self._request(entry, certificate, now))
        return effects

    def answered(self, token: Token) -> Entry | None:
        """The entry whose Request is over, or None when it is no longer of interest."""
        key = bytes.fromhex(token.removeprefix(PREFIX))
        peer = PeerId(key[1 + SERIAL_BYTES :])
        asked = self._asked.get(peer, set())
        asked.discard(key)
        if not asked:
            self._asked.pop(peer, None)
        entry = self._entries.get(key)
        if entry is None or not entry.asked:
            return None
        entry.asked = False
        return entry

    def done(self, entry: Entry) -> list[Effect]:
        """The device has answered, or nothing is left to say: forget the entry."""
        del self._entries[entry.key]
        of_peer = self._of_peer[entry.peer]
        del of_peer[entry.key]
        if not of_peer:
            del self._of_peer[entry.peer]
        return [Delete(OUTBOX, entry.key)]

    def again(self, entry: Entry, now: Now) -> None:
        """The device could not answer or said "later": try again after a while."""
        wait_us = min(DELIVERY_BACKOFF_US_MAX, DELIVERY_BACKOFF_US_MIN << min(entry.attempts, 16))
        entry.attempts += 1
        self._due(entry, now.mono_us + wait_us)

    def next_timer(self) -> int | None:
        """When `send_due` may have something to do."""
        return self._heap[0][0] if self._heap else None

    def _queue(self, entry: Entry, now: Now) -> list[Effect]:
        self._add(entry)
        if entry.peer in self._up:
            self._due(entry, now.mono_us)
        return [Persist(OUTBOX, entry.key, encode(entry.record))]

    def _add(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self._of_peer.setdefault(entry.peer, {})[entry.key] = entry

    def _due(self, entry: Entry, due_us: int) -> None:
        entry.due_us = due_us
        heapq.heappush(self._heap, (due_us, entry.key))

    def _request(self, entry: Entry, certificate: bytes, now: Now) -> Effect:
        entry.asked = True
        self._asked.setdefault(entry.peer, set()).add(entry.key)  # asked anew, it counts once
        if entry.offer:
            message = GrantMessage(certificate, entry.record.grant, entry.record.name)
        else:
            message = GrantMessage(certificate, serial=entry.serial)
        deadline_us = now.mono_us + DELIVERY_TIMEOUT_US
        token = Token(PREFIX + entry.key.hex())
        return Request(entry.peer, GRANT_PROTOCOL, encode(message), token, deadline_us)
