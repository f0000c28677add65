"""What all parts of machine "source" stand on: the desk, who this is, keys, chains and their rows.

Source: docs/architecture.md, "The machine". Only construction.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dms3.chain.dna import Dna
from dms3.chain.entry import open_private, seal_private
from dms3.chain.operations_validation import Record
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, PeerId, Root, short
from dms3.core.machine import Entropy, View
from dms3.crypto.keys import GENERATION_MAX, KeyTree
from dms3.source.chains import Chain, Chains
from dms3.source.drafting import Pen
from dms3.source.flows import Flows
from dms3.source.shelf import Shelf


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """This node `peer` on `device` of the person with the keys of `tree`.

    `place`: an opaque word for where the home lies; a home that finds another one than it wrote is
    a copy, or was put back (b"": not known).
    """

    peer: PeerId
    device: bytes
    tree: KeyTree = field(repr=False)
    place: bytes = b""

    @property
    def root(self) -> Root:
        """The person."""
        return self.tree.root_id()


class Grounds:
    """The things that every part uses."""

    def __init__(self, own: Own, entropy: Entropy) -> None:
        self.own = own
        self.entropy = entropy
        self.desk = Desk()
        self.flows = Flows(self.desk)
        self.chains = Chains(own.device, own.tree, self.desk)
        self.shelf = Shelf(self.desk)
        self.root_key = own.tree.root()
        self._sealing = own.tree.private()
        self.copied = False  # this home is a copy, or was put back: see restoring.py
        self.shut_out: dict[OverlayId, frozenset[bytes]] = {}  # agents that are not answered
        self._apps: dict[OverlayId, Dna] = {}

    def load(self, view: View) -> None:
        """Read the chains."""
        self.chains.load(view)
        self.shelf.load(view)

    def pen(self, chain: Chain) -> Pen:
        """Who writes `chain` now."""
        return Pen(chain.signing, self.root_key.public, self._sealing, self.entropy)

    def sealed(self, record: Record) -> bytes | None:
        """The sealed bytes that the `record` op of an own private entry carries, else None."""
        action = record.signed.action
        if action.sealed is None or action.entry is None or record.entry is None:
            return None
        return seal_private(self._sealing, action.entry, record.entry)[1]

    def opened(self, entry: Cid, sealed: bytes) -> bytes:
        """The private entry in `sealed`; raises DecodeError when it is another."""
        return open_private(self._sealing, entry, sealed)

    def first_generation(self, overlay: OverlayId) -> int:
        """Which key of the device begins a chain: the first, in a copy of a home one of its own.

        So what the home that was copied has begun meanwhile is begun by another key.
        """
        if not self.copied:
            return 0
        digest = hashlib.sha256(b"dms3 copied home" + self.own.place + overlay).digest()
        return 1 + int.from_bytes(digest[:4], "big") % (GENERATION_MAX // 2)

    def meet_app(self, dna: Dna) -> None:
        """The rules of an app, for as long as this process runs."""
        self._apps[dna.id] = dna

    def app(self, overlay: OverlayId) -> Dna:
        """The rules of an app whose chain was begun or taken up; raises `not_found`."""
        dna = self._apps.get(overlay)
        if dna is None:
            raise Dms3Error(
                "not_found",
                f"App {short(overlay)} is not running here.",
                hint="Install it: dms3 dapp install.",
            )
        return dna

    def app_or_none(self, overlay: OverlayId) -> Dna | None:
        """The same, None when it was not begun since the start."""
        return self._apps.get(overlay)
