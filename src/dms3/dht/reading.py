"""Reading answers of /dms3/dht/1: what a node says of itself and of others, checked.

Source: docs/wire.md, "/dms3/dht/1"; docs/attacks.md, "Somebody in the public overlay". Values are
checked by whoever asked for them; who lied is reported by `asking.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.ids import OverlayId, PeerId
from dms3.core.machine import Now
from dms3.core.overlay import NodeAt
from dms3.core.verdict import Invalid
from dms3.dht.admitting import Door
from dms3.dht.messages import (
    Codes,
    Nodes,
    Question,
    Values,
    decode_codes,
    decode_nodes,
    decode_values,
)
from dms3.dht.presence import Proven
from dms3.p2p.reach import reach_of_text


@dataclass(frozen=True, slots=True)
class Told:
    """The checked answer to find or get.

    `nodes`: (location as a number, node) of those to ask next, in the answerer's order; `values`:
    what it holds, not yet validated; `more`: it holds further slots.
    """

    nodes: tuple[tuple[int, NodeAt], ...]
    values: tuple[bytes, ...] = field(default=(), repr=False)
    more: bool = False


Answer = Told | Codes


class LieError(Exception):
    """An answer that no honest node gives."""


class Reading:
    """Arguments: `own`, this node; `door`: whose presences hold.

    `work_bits`: what the id of a node must cost that can be reached everywhere.
    """

    def __init__(self, own: PeerId, door: Door, work_bits: int) -> None:
        self._own = own
        self._door = door
        self._work_bits = work_bits

    def read(
        self, question: Question, peer: PeerId, body: bytes, address: str, now: Now
    ) -> tuple[Proven | None, Answer]:
        """The presence of `peer`, if it shows one in date, and its answer to `question`.

        `address`: the remote end of the connection. Raises DecodeError and LieError.
        """
        overlay = OverlayId(question.overlay)
        raw: Nodes | Values | Codes
        if question.find is not None:
            raw = decode_nodes(body, question.find.count)
        elif question.get is not None:
            raw = decode_values(body)
        else:
            raw = decode_codes(body, len(question.offers) + len(question.puts))
        presence = None
        if raw.presence:
            shown = self._door.of_peer(raw.presence, peer, overlay, now.wall_us)
            if isinstance(shown, Invalid):
                raise LieError(shown.detail)
            presence = shown if isinstance(shown, Proven) else None
        if isinstance(raw, Codes):
            return presence, raw
        nodes = self._check_nodes(raw.nodes, overlay, address, now)
        if isinstance(raw, Values):
            return presence, Told(nodes, raw.values, raw.more)
        return presence, Told(nodes)

    def _check_nodes(
        self, presences: tuple[bytes, ...], overlay: OverlayId, address: str, now: Now
    ) -> tuple[tuple[int, NodeAt], ...]:
        near = reach_of_text(address)
        seen: dict[PeerId, None] = {}
        nodes: list[tuple[int, NodeAt]] = []
        for data in presences:
            proven = self._door.open(data, overlay, now.wall_us)
            if isinstance(proven, Invalid):
                raise LieError(proven.detail)
            if not isinstance(proven, Proven):
                continue  # over or of the future: one of the three clocks is wrong
            if proven.peer in seen:
                raise LieError("a node is named twice")
            seen[proven.peer] = None
            node = proven.node(near)
            if node is None or proven.owes_work(self._work_bits) or node.peer == self._own:
                continue
            nodes.append((proven.at, node))
        return tuple(nodes)
