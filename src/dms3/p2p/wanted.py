"""Whom a node wants to be connected to: contacts, bootstrap addresses, and whom a person asked for.

Source: docs/architecture.md, "Identity" and "How nodes meet". Wanted peers are kept connected
(`p2p/dialing.py`), always get in, and are never closed to make room. Plain state that
`p2p/peers.py` drives.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, Root
from dms3.core.machine import Effect, Now, View
from dms3.p2p.card import read_card
from dms3.p2p.contacts import Contact, Contacts
from dms3.p2p.dialing import Dialing, parse_place


class Wanted:
    """Arguments: `own`, this node; `root`, its person; `bootstrap`, addresses to keep."""

    def __init__(self, own: PeerId, root: Root, bootstrap: Sequence[str], dialing: Dialing) -> None:
        self.contacts = Contacts()
        self._own = own
        self._root = root
        self._bootstrap = tuple(bootstrap)
        self._dialing = dialing
        self._asked_for: set[PeerId] = set()  # connected because a person said so
        self._known: tuple[PeerId, ...] = ()  # as it was told last
        self._stale = True  # whether that may have changed

    def load(self, view: View, now: Now) -> None:
        """Read the committed contacts; all that is wanted is due at once."""
        self.contacts.load(view)
        for text in self._bootstrap:
            addresses, peer = parse_place(text)
            if addresses and peer != self._own:
                self._dialing.want(f"bootstrap/{text}", peer, addresses, now.mono_us)
        for contact in self.contacts.all():
            self._keep(contact, now)

    def add(self, text: str, now: Now) -> tuple[Contact, list[Effect]]:
        """The contact that the card `text` makes; raises what `read_card` and `Contacts` do."""
        card = read_card(text, now.wall_us)
        if card.root == self._root:
            raise Dms3Error("card_invalid", "This is your own card.")
        contact, before, effects = self.contacts.add(card, now.wall_us)
        if before is not None and before.peer != contact.peer:
            self._dialing.unwant(_key(before))
        self._keep(contact, now)
        return contact, effects

    def remove(self, text: str) -> tuple[Contact, list[Effect]]:
        """The contact called `text`, which is none any more; raises what `Contacts.find` does."""
        contact = self.contacts.find(text)
        self._dialing.unwant(_key(contact))
        self.changed()
        return contact, self.contacts.remove(contact)

    def ask_for(self, peer: PeerId) -> None:
        """A person wants this connection: it stays until it closes by itself."""
        self._asked_for.add(peer)
        self.changed()

    def gone(self, peer: PeerId) -> None:
        """The connection has closed."""
        if peer in self._asked_for:
            self._asked_for.discard(peer)
            self.changed()

    def changed(self) -> None:
        """Somebody has become wanted, or known by name, or is not any more."""
        self._stale = True

    def news(self) -> tuple[PeerId, ...] | None:
        """All wanted peers, in order of their ids, when they are others than last time."""
        if not self._stale:
            return None
        self._stale = False
        now = tuple(sorted(self.peers()))
        if now == self._known:
            return None
        self._known = now
        return now

    def peers(self) -> set[PeerId]:
        """Contacts, bootstrap, found peers that are kept, whom a person asked for."""
        targets = {target.peer for target in self._dialing.targets.values() if target.peer}
        return targets | self._asked_for

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._asked_for or bool(self._dialing.of_peer(peer))

    def is_important(self, peer: PeerId) -> bool:
        """Whether the row of `peer` may not be evicted."""
        return self.contacts.of_peer(peer) is not None or bool(self._dialing.of_peer(peer))

    def _keep(self, contact: Contact, now: Now) -> None:
        peer = PeerId(contact.peer)
        if peer != self._own:
            self._dialing.want(_key(contact), peer, contact.addresses, now.mono_us)
            self.changed()


def _key(contact: Contact) -> str:
    return f"contact/{contact.root.hex()}"
