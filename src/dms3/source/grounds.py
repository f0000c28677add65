"""What all parts of machine "source" stand on: the desk, who this is, entropy, the own chains.

Source: docs/architecture.md, "The machine". Only construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.desk import Desk
from dms3.core.ids import PeerId, Root
from dms3.core.machine import Entropy, View
from dms3.crypto.keys import KeyTree
from dms3.source.chains import Chains
from dms3.source.flows import Flows


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
        self.view: View | None = None

    def load(self, view: View) -> None:
        """Read the chains."""
        self.view = view
        self.chains.load(view)
