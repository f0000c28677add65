"""Giving and taking back: a grant is signed, kept, and delivered to every device of its reader.

Source: docs/architecture.md, "Private by default"; docs/wire.md, "/dms3/grant/1". Taking back
counts here at once, whether or not the reader's node can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, Root, SpaceId, Token
from dms3.core.limits import READER_PEERS_MAX, SPACE_NAME_CHARS_MAX
from dms3.core.machine import Effect, Entropy, Notify, Now
from dms3.crypto.certificate import is_node_peer_id
from dms3.crypto.grant import FOREVER_US, SERIAL_BYTES, SPACE_BYTES, issue_grant
from dms3.crypto.signing import SigningKey
from dms3.search.delivery import Entry, Outbox
from dms3.search.grants import Given, GivenBook, GivenRecord, merged_peers, with_answer
from dms3.search.operations import GivenGrant, Share, Shared, Unshare, Unshared


class Giving:
    """The issuer's side of grants."""

    def __init__(self, key: SigningKey, entropy: Entropy, given: GivenBook, outbox: Outbox) -> None:
        self._key = key
        self._entropy = entropy
        self._given = given
        self._outbox = outbox

    def share(self, share: Share, now: Now) -> tuple[Shared, list[Effect]]:
        """Give a grant, or deliver the equal one that stands to further devices.

        A grant with another end or other rights replaces the one that stands, also by less. Raises
        `argument_invalid` or `limit_reached`.
        """
        until_us = FOREVER_US if share.until_us is None else share.until_us
        self._check(share, until_us, now)
        effects: list[Effect] = []
        before = self._given.find(share.space, share.reader)
        for given in before:
            grant = given.grant
            if (grant.rights, grant.until_us) == (tuple(sorted(set(share.rights))), until_us):
                others = [other for other in before if other is not given]
                effects += self._withdraw(others, now) + self._deliver(given, share, now)
                return Shared(grant.serial, until_us, fresh=False), effects
        try:
            grant = issue_grant(
                self._key,
                share.space,
                share.reader,
                share.rights,
                (now.wall_us, until_us),
                self._entropy.draw(SERIAL_BYTES),
            )
        except ValueError as cause:
            raise Dms3Error("argument_invalid", f"This cannot be granted: {cause}.") from cause
        effects += self._withdraw(before, now)
        devices = dict.fromkeys(peer for old in before for peer in old.record.peers)
        known = tuple(devices)[-READER_PEERS_MAX:]
        given = Given(grant, GivenRecord(1, encode(grant), share.name, known))
        effects += self._given.put(grant, given.record)
        effects += self._deliver(given, share, now)
        data = {"space": share.space.hex(), "name": share.name, "reader": share.reader.hex()}
        effects.append(Notify("space.shared", data | {"until_us": until_us}))
        return Shared(grant.serial, until_us, fresh=True), effects

    def unshare(self, unshare: Unshare, now: Now) -> tuple[Unshared, list[Effect]]:
        """Take back every grant of a reader, on one space or all; refused from this instant on."""
        gone = self._given.find(unshare.space, unshare.reader)
        effects = self._withdraw(gone, now)
        names = {given.grant.space: given.record.name for given in gone}
        for space, name in names.items():
            data = {"space": space.hex(), "reader": unshare.reader.hex(), "name": name}
            effects.append(Notify("space.unshared", data))
        return Unshared(len(gone)), effects

    def offer_again(self, now: Now) -> list[Effect]:
        """Offer every grant from this node too: readers ask where they were offered it."""
        effects: list[Effect] = []
        for given in list(self._given):
            grant, record = given.grant, replace(given.record, delivered=(), refused="")
            effects += self._given.put(grant, record)
            for peer in record.peers:
                effects += self._outbox.offer(
                    grant.serial, PeerId(peer), record.grant, record.name, grant.until_us, now
                )
        return effects

    def delivered(self, token: Token, body: bytes | Failure, now: Now) -> list[Effect]:
        """What a device answered to an offer or a withdrawal."""
        entry = self._outbox.answered(token)
        if entry is None:
            return []
        if isinstance(body, Failure) and body.retry is not Retry.NEVER:
            self._outbox.again(entry, now)
            return []
        return self._outbox.done(entry) + self._note(entry, body)

    def listed(self, wall_us: int) -> tuple[GivenGrant, ...]:
        """The grants in date, by space and reader."""
        rows = [
            GivenGrant(
                space=SpaceId(given.grant.space),
                name=given.record.name,
                reader=Root(given.grant.reader),
                rights=given.grant.rights,
                created_us=given.grant.created_us,
                until_us=given.grant.until_us,
                delivered=tuple(PeerId(peer) for peer in given.record.delivered),
                refused=given.record.refused,
            )
            for given in self._given
            if given.grant.until_us > wall_us
        ]
        return tuple(sorted(rows, key=lambda row: (row.space, row.reader, row.created_us)))

    def _withdraw(self, gone: Sequence[Given], now: Now) -> list[Effect]:
        """Take grants back and tell the devices that may have them."""
        effects: list[Effect] = []
        for given in gone:
            serial, until_us = given.grant.serial, given.grant.until_us
            effects += self._given.remove(serial)
            for peer in given.record.peers:
                effects += self._outbox.withdraw(serial, PeerId(peer), until_us, now)
        return effects

    def _deliver(self, given: Given, share: Share, now: Now) -> list[Effect]:
        """Queue the offer for every device of the reader that does not have it yet."""
        grant, record = given.grant, given.record
        peers = merged_peers(record.peers, share.peers)
        effects: list[Effect] = []
        if peers != record.peers or share.name != record.name:
            record = GivenRecord(1, record.grant, share.name, peers, record.delivered)
            effects += self._given.put(grant, record)
        for peer in peers:
            if peer not in record.delivered:
                effects += self._outbox.offer(
                    grant.serial, PeerId(peer), record.grant, record.name, grant.until_us, now
                )
        return effects

    def _note(self, entry: Entry, body: bytes | Failure) -> list[Effect]:
        given = self._given.get(entry.serial)
        if given is None or not entry.offer:
            return []
        refused = body.message if isinstance(body, Failure) else ""
        effects = self._given.put(given.grant, with_answer(given.record, entry.peer, refused))
        data = {
            "space": given.grant.space.hex(),
            "name": given.record.name,
            "reader": given.grant.reader.hex(),
        }
        if refused:
            return [*effects, Notify("grant.refused", data | {"reason": refused})]
        return [*effects, Notify("grant.delivered", data)]

    def _check(self, share: Share, until_us: int, now: Now) -> None:
        if share.reader == self._key.public:
            raise Dms3Error("argument_invalid", "A space is not shared with its own owner.")
        if share.space == bytes(SPACE_BYTES):
            raise Dms3Error(
                "argument_invalid", "What was fetched from others is theirs to share, not yours."
            )
        if not 1 <= len(share.peers) <= READER_PEERS_MAX:
            raise Dms3Error(
                "argument_invalid", f"A reader has 1 to {READER_PEERS_MAX} devices to deliver to."
            )
        if not all(is_node_peer_id(peer) for peer in share.peers):
            raise Dms3Error("argument_invalid", "A peer id of the reader is not that of a node.")
        if len(share.name) > SPACE_NAME_CHARS_MAX:
            raise Dms3Error(
                "argument_invalid", f"The space's name exceeds {SPACE_NAME_CHARS_MAX} characters."
            )
        # Offers to the devices of the reader, and withdrawals of what this may replace.
        self._outbox.check_room(2 * READER_PEERS_MAX)
        if until_us <= now.wall_us:
            raise Dms3Error("argument_invalid", "The grant would have expired already.")
