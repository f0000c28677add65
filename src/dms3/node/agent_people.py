"""Who is behind an agent, by the names that the person of this node gave them.

Source: docs/chains.md, "My chain". An action that holds names its person truly, for its chain
begins with a certificate; of an agent that may have lied, the certificate itself is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dms3.chain.agent import check_agent, decode_agent
from dms3.chain.operations_validation import Activity, GetActivity
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    AGENTS_KNOWN_MAX,
    AGENTS_NAMED_AGAIN_US,
    AGENTS_NAMED_MAX,
    AGENTS_NAMED_PATIENCE_US,
)
from dms3.node.dapps_running import Call
from dms3.node.library import Clock

if TYPE_CHECKING:
    from dms3.node.node import Node

_CERTIFIED_AT = 2  # the place in every chain at which its agent is certified


@dataclass(frozen=True, slots=True)
class People:
    """Names of people by their roots; `own`: the root of this node's person."""

    names: Mapping[bytes, str]
    own: bytes

    def row(self, root: bytes | None) -> dict[str, Any] | None:
        """The person as commands show them; None for one that is not known."""
        if root is None:
            return None
        return {"root": root.hex(), "name": self.names.get(root, ""), "you": root == self.own}


async def people_of(node: Node) -> People:
    """The contacts of a node, and its own person."""
    contacts: Sequence[Any] = await node.call("peers.contact_list")  # p2p Contact
    own = node.identity
    return People({each.root: each.name for each in contacts} | {own.root: own.name}, own.root)


class Behind:
    """The people behind agents: looked up once, and those who are not found once more later."""

    def __init__(self, call: Call, clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._known: dict[bytes, tuple[bytes | None, int]] = {}  # agent -> root, when it was asked

    async def of(self, agents: Iterable[tuple[OverlayId, bytes]]) -> dict[bytes, bytes]:
        """Agent -> the root that has certified it and that it names itself; others are left out."""
        asked = sorted(set(agents))
        now_us = self._clock.now().mono_us
        wanted = [each for each in asked if self._is_due(each[1], now_us)][:AGENTS_NAMED_MAX]
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(self._root(*each)) for each in wanted]
        if len(self._known) > AGENTS_KNOWN_MAX:
            self._known.clear()
        for (_, agent), look in zip(wanted, looks, strict=True):
            self._known[agent] = (look.result(), now_us)
        found = ((agent, self._known.get(agent, (None, 0))[0]) for _, agent in asked)
        return {agent: root for agent, root in found if root is not None}

    def _is_due(self, agent: bytes, now_us: int) -> bool:
        root, at_us = self._known.get(agent, (None, -AGENTS_NAMED_AGAIN_US))
        return root is None and now_us - at_us >= AGENTS_NAMED_AGAIN_US

    async def _root(self, overlay: OverlayId, agent: bytes) -> bytes | None:
        asked = GetActivity(
            overlay, agent, _CERTIFIED_AT - 1, limit=1, patience_us=AGENTS_NAMED_PATIENCE_US
        )
        try:
            found: Activity = await self._call("validation.activity", asked)
            actions = [each.action for each in found.actions if each.action.seq == _CERTIFIED_AT]
            certificates = [(one.root, decode_agent(one.certificate)) for one in actions]
        except (Dms3Error, DecodeError):
            return None
        for root, certificate in certificates:
            fits = (certificate.dna, certificate.agent, certificate.root) == (overlay, agent, root)
            if fits and check_agent(certificate):
                return root
        return None
