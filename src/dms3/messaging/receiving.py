"""The receiving half of machine "mailbox" put together: services, peers and devices into the inbox.

Source: docs/architecture.md, "Messages". Only construction, and what follows from a change of the
profile.
"""

from __future__ import annotations

from dms3.core.machine import Entropy, View
from dms3.messaging.carriage import Carriage
from dms3.messaging.direct import Direct
from dms3.messaging.grounds import Grounds
from dms3.messaging.inbox import Inbox
from dms3.messaging.merging import Merging
from dms3.messaging.receipts import Receipts
from dms3.messaging.refusals import Refusals


class Receiving:
    """Inbox, own services, the direct way, and what other devices did."""

    def __init__(self, grounds: Grounds, entropy: Entropy) -> None:
        desk, keyring, people = grounds.desk, grounds.keyring, grounds.people
        self._grounds = grounds
        self.refusals = Refusals(desk)
        self.receipts = Receipts(desk, people, grounds.sharing)
        self.inbox = Inbox(grounds, self.receipts, self.refusals)
        self.direct = Direct(desk, grounds.own, keyring, self.inbox, entropy)
        self.carriage = Carriage(desk, keyring, grounds.self_, self.inbox, grounds.carriers)
        self.merging = Merging(desk, people, grounds.carriers, keyring)
        self.merging.keys_changed = self.profile_changed
        grounds.carriers.changed = self.profile_changed

    def load(self, view: View) -> None:
        """Read the tables."""
        self.refusals.load(view)
        self.inbox.holding.load(view)
        self.merging.load(view)

    def profile_changed(self) -> None:
        """Keys or carriers are others: own services hear of it, then everybody."""
        self.carriage.follow()
        self.carriage.refresh()
        self._grounds.self_.publish()
