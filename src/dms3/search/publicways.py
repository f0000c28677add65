"""How a fetch asks in public: providers by the overlay, then the overlay itself, block by block.

Source: plan 0003, "Who holds what"; docs/attacks.md. Asking reveals to strangers what is wanted,
so a fetch comes here last, and never with what is known to be private. Part of `search/job.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId, Token
from dms3.core.limits import (
    PROVIDER_WAIT_US_MAX,
    PROVIDERS_ASKED_MAX,
    PUBLIC_BLOCK_TIMEOUT_US,
)
from dms3.core.machine import Call, Effect, Now, Request
from dms3.core.overlay import PUBLIC, GetContent, Got, NodeAt
from dms3.search.publicblock import PROTOCOL, PublicQuestion
from dms3.search.suppliers import OVERLAY, Key

_PROVIDER, _BLOCK = "provider", "block"  # content types of dht/


@dataclass(frozen=True, slots=True)
class PublicPorts:
    """What the composition root gives.

    `own`: this node's peer id; `provider`: who a valid provider record names; `dial`: the arguments
    of Call "transport.dial" for a node; `fit`: a node with those of its addresses that may be
    dialled when this node is connected to these remote addresses.
    """

    own: PeerId
    provider: Callable[[bytes], NodeAt]
    dial: Callable[[NodeAt], Any]
    fit: Callable[[NodeAt, Iterable[str]], NodeAt]


class PublicWays:
    """The public side of one fetch of `root`; `remotes`: connected peers and where they are.

    `overlay`: whose nodes are asked; in a network there are no providers, and nobody else hears.
    """

    def __init__(
        self,
        root: Cid,
        ports: PublicPorts,
        remotes: Mapping[PeerId, str],
        overlay: OverlayId = PUBLIC,
    ) -> None:
        self.overlay = overlay
        self._root = root
        self._ports = ports
        self._remotes = remotes
        self._nodes: Sequence[NodeAt] = ()
        self._dialing: set[int] = set()
        self._lookup: Token | None = None
        self.begun = False
        self.overlay_from_us = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether nobody is being looked for or dialled any more."""
        return self.begun and self._lookup is None and not self._dialing

    def begin(self, token: Token, now: Now) -> list[Effect]:
        """Ask the overlay who serves the root."""
        if self.overlay != PUBLIC:
            self.begun, self.overlay_from_us = True, now.mono_us
            return []
        self.begun, self._lookup = True, token
        self.overlay_from_us = now.mono_us + PROVIDER_WAIT_US_MAX
        get = GetContent(PUBLIC, _PROVIDER, self._root.binary)
        return [Call("dht.get", get, token)]

    def take(self, body: Got | Failure, now: Now) -> Sequence[NodeAt]:
        """The providers to dial; each is then told of by `dialed` with its index."""
        self._lookup = None
        values = () if isinstance(body, Failure) else body.values
        told = [self._ports.provider(value) for value in values]
        far = self._remotes
        nodes = [node if node.peer in far else self._ports.fit(node, far.values()) for node in told]
        able = [node for node in nodes if node.peer != self._ports.own and node.addresses]
        self._nodes = able[:PROVIDERS_ASKED_MAX]
        self._dialing = set(range(len(self._nodes)))
        if not self._nodes:
            self.overlay_from_us = now.mono_us
        return self._nodes

    def dial(self, node: NodeAt) -> Any:
        """The arguments of "transport.dial"."""
        return self._ports.dial(node)

    def dialed(self, index: int) -> NodeAt:
        """The provider whose dial has ended; when it was the last one the overlay may be asked."""
        self._dialing.discard(index)
        if not self._dialing:
            self.overlay_from_us = 0
        return self._nodes[index]

    def may_ask_overlay(self, now: Now) -> bool:
        """Whether providers had their time; while one of them has the block they go first."""
        return self.begun and self.overlay_from_us <= now.mono_us

    def ask(self, key: Key, cid: Cid, token: Token, now: Now) -> Effect:
        """The question for one block."""
        if key == OVERLAY:
            return Call("dht.get", GetContent(self.overlay, _BLOCK, cid.binary), token)
        deadline_us = now.mono_us + PUBLIC_BLOCK_TIMEOUT_US
        return Request(key[0], PROTOCOL, encode(PublicQuestion(cid)), token, deadline_us)

    def tokens(self) -> list[Token]:
        """What is under way, for Cancel; dials go on and end by themselves."""
        return [] if self._lookup is None else [self._lookup]
