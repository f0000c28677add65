"""What the machine "mailbox" is given by the composition root: whose node it is, its keys.

Source: docs/architecture.md, "Messages". Functions and values only; secrets are in no repr.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.ids import PeerId
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.profile import ServiceProfile, SignedProfile, UserProfile

DIRECT = "dms3://"
"""How the URL of a delivery service begins that is a node: then its peer id, asked directly."""


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """This node and its person.

    `address`: of the person's account, EIP-55; `root`: hex. `seed(n)`: the 32 bytes of the
    messaging keys of generation n. `sign`: the profile signed by the account. `service`: this node
    as a delivery service, whose keys are `service_keys`; its URL begins with DIRECT unless the
    node has the role. `show`/`read`: a peer id as text, and back (DecodeError).
    """

    peer: PeerId
    address: str
    root: str
    seed: Callable[[int], bytes] = field(repr=False)
    sign: Callable[[UserProfile], SignedProfile] = field(repr=False)
    service: ServiceProfile
    service_keys: ProfileKeys = field(repr=False)
    show: Callable[[PeerId], str]
    read: Callable[[str], PeerId]

    def peer_of(self, url: str) -> PeerId:
        """The node behind a URL that begins with DIRECT; raises DecodeError."""
        return self.read(url.removeprefix(DIRECT))


@dataclass(frozen=True, slots=True)
class Misconduct:
    """Arguments of "peers.conduct": `peer` did what `code` names."""

    peer: PeerId
    code: str
