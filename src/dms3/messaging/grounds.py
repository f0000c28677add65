"""What all parts of machine "mailbox" stand on: the desk, keys, people, carriers, who this is.

Source: docs/architecture.md, "Messages". Only construction, and what other devices are told when
one of them changes.
"""

from __future__ import annotations

from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.machine import View
from dms3.messaging.carriers import Carriers
from dms3.messaging.items import KEYS, PERSON
from dms3.messaging.keyring import Keyring
from dms3.messaging.people import People, Record
from dms3.messaging.ports import DIRECT, Own
from dms3.messaging.selfhood import Selfhood
from dms3.messaging.sharing import Sharing
from dms3.storage.operations import Item


class Grounds:
    """The parts that others use, for the node and person that `own` describes."""

    def __init__(self, own: Own) -> None:
        self.own = own
        self.desk = Desk()
        self.keyring = Keyring(own.seed, self.desk)
        self.sharing = Sharing(self.desk)
        self.people = People(self.desk, self._share_person)
        self.carriers = Carriers(self.desk, self.sharing)
        self.self_ = Selfhood(self.desk, own, self.keyring)
        self.self_.services = self.carriers.listed
        self.self_.on_names = self._named

    def load(self, view: View) -> None:
        """Read the tables."""
        self.keyring.load(view)
        self.people.load(view)
        self.carriers.load(view)
        self.sharing.load(view)

    def share_keys(self) -> None:
        """Tell other devices which keys are current."""
        rows = self.keyring.rows
        self.sharing.item(Item(PERSON, KEYS, encode(rows), self.desk.now_ms))

    def share_all(self) -> None:
        """Tell other devices what is known of people, and who carries."""
        self.share_keys()
        self.carriers.share_all()
        for record in self.people.all():
            self._share_person(record)

    def _share_person(self, record: Record) -> None:
        self.sharing.item(Item(PERSON, record.id, encode(record), record.at_us // 1_000))

    def _named(self) -> None:
        """This node takes messages for its person: directly, or as a service with the role."""
        direct = self.own.service.url.startswith(DIRECT)
        try:
            self.carriers.add(self.self_.service_name, direct=direct)
        except Dms3Error:
            return  # more devices than a profile can list: the services carry
