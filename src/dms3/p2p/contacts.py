"""Contacts: people whose card this node has been given, found by name, root or peer.

Source: docs/architecture.md, "Identity". Plain state over the table "contact" of the peer book.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, Root
from dms3.core.limits import CONTACTS_MAX
from dms3.core.machine import Delete, Effect, Notify, Persist, View, scan
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.card import Card

TABLE = "contact"
ROOT_HEX_CHARS_MIN = 8  # a root may be written by its beginning, down to this many digits


@dataclass(frozen=True, slots=True)
class Contact:
    """A person of whom this node has a card; `added_us` is wall time, `certificate` encoded."""

    root: bytes
    name: str
    peer: bytes
    addresses: tuple[str, ...]
    certificate: bytes
    added_us: int


class Contacts:
    """All contacts in memory; changes are returned as effects."""

    def __init__(self) -> None:
        self._by_root: dict[Root, Contact] = {}
        self._by_peer: dict[PeerId, Contact] = {}

    def load(self, view: View) -> None:
        """Read the committed contacts."""
        for _, value in scan(view, TABLE):
            self._put(decode(Contact, value))

    def all(self) -> list[Contact]:
        """Every contact, by name and then root."""
        return sorted(self._by_root.values(), key=lambda one: (one.name, one.root))

    def of_peer(self, peer: PeerId) -> Contact | None:
        """The contact whose node is `peer`."""
        return self._by_peer.get(peer)

    def add(self, card: Card, wall_us: int) -> tuple[Contact, Contact | None, list[Effect]]:
        """The contact a checked `card` makes, and the one it replaces; raises `limit_reached`."""
        root = Root(card.root)
        before = self._by_root.get(root)
        if before is None and len(self._by_root) >= CONTACTS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"There are {CONTACTS_MAX} contacts already.",
                hint="Remove one first: dms3 contact remove NAME.",
            )
        other = self._by_peer.get(PeerId(card.peer))
        if other is not None and other.root != root:
            raise Dms3Error(
                "card_invalid",
                f"The card of {card.name} names the node of your contact {other.name}.",
                hint="Ask which of the two is right and remove the other contact.",
            )
        added_us = before.added_us if before is not None else wall_us
        contact = Contact(
            card.root, card.name, card.peer, card.addresses, card.certificate, added_us
        )
        if before is not None:
            del self._by_peer[PeerId(before.peer)]
        self._put(contact)
        data = {"name": contact.name, "root": contact.root.hex(), "new": before is None}
        return (
            contact,
            before,
            [Persist(TABLE, root, encode(contact)), Notify("contact.added", data)],
        )

    def remove(self, contact: Contact) -> list[Effect]:
        """Forget a contact."""
        del self._by_root[Root(contact.root)]
        del self._by_peer[PeerId(contact.peer)]
        data = {"name": contact.name, "root": contact.root.hex()}
        return [Delete(TABLE, contact.root), Notify("contact.removed", data)]

    def find(self, text: str) -> Contact:
        """The contact called `text`: a name, a root in hex (or its beginning), or a peer id.

        A whole root or peer id means its owner, whatever others call themselves. Raises
        `not_found`, and `argument_invalid` when several are meant.
        """
        wanted = text.strip()
        every = self.all()
        found = [one for one in every if wanted.lower() == one.root.hex()]
        found = found or [one for one in every if peer_id_text(PeerId(one.peer)) == wanted]
        if not found:
            found = [one for one in every if _is_called(one, wanted)]
        if not found:
            raise Dms3Error(
                "not_found", f"There is no contact {wanted!r}.", hint="See dms3 contact list."
            )
        if len(found) > 1:
            raise Dms3Error(
                "argument_invalid",
                f"{len(found)} contacts are called {wanted!r}.",
                hint="Give the root: " + " or ".join(one.root.hex() for one in found[:4]),
            )
        return found[0]

    def _put(self, contact: Contact) -> None:
        self._by_root[Root(contact.root)] = contact
        self._by_peer[PeerId(contact.peer)] = contact


def _is_called(contact: Contact, wanted: str) -> bool:
    """Whether `wanted` is the contact's name, as it looks to people, or begins its root."""
    begins = len(wanted) >= ROOT_HEX_CHARS_MIN and contact.root.hex().startswith(wanted.lower())
    return begins or _folded(contact.name) == _folded(wanted)


def _folded(name: str) -> str:
    """`name` without what people do not see: case, and how a letter was put together."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
