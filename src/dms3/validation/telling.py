"""Telling others of a warrant: everybody by gossip, and those who are asked for what it accuses.

Source: docs/chains.md, "Convicted". Its own ops are published like those of any action.
"""

from __future__ import annotations

from typing import Any

from dms3.chain.action import SignedAction, encode_signed
from dms3.chain.messages import PROTOCOL, ChainQuestion, Publish
from dms3.chain.ops import Op, bases_of, encode_op
from dms3.chain.warrant import VERSION, WarrantNews, accused_of, encode_news
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.gossip import Spread
from dms3.core.ids import OverlayId
from dms3.core.overlay import HOLDERS_MIN, AskNear
from dms3.validation.holding import Holding

TOPIC = "warrants"


class Telling:
    """`holding` has what is told."""

    def __init__(self, desk: Desk, holding: Holding) -> None:
        self._desk = desk
        self._holding = holding

    def spread(self, overlay: OverlayId, warrant: SignedAction) -> None:
        """Tell everybody, with what is to be judged again if that is not too long."""
        data = encode_signed(warrant)
        ops = [encode_op(op) for op in self._accused(overlay, warrant)[:1]]
        body = b"".join(encode_news(WarrantNews(VERSION, data, op)) for op in ops)
        body = body or encode_news(WarrantNews(VERSION, data))
        self._desk.call("gossip.spread", Spread(overlay, TOPIC, body), _nothing)

    def show(self, overlay: OverlayId, warrant: SignedAction) -> None:
        """Bring what is to be judged again to those whom others ask for it.

        With the warrant, so that nobody takes this node for the one that did it.
        """
        own = Op("record", warrant.hash.binary, warrant)
        for op in self._accused(overlay, warrant):
            publish = Publish((encode_op(own), encode_op(op)))
            body = encode(ChainQuestion(overlay, publish=publish))
            asked = AskNear(overlay, op.location, HOLDERS_MIN, PROTOCOL, body)
            self._desk.call("dht.ask_near", asked, _nothing)

    def _accused(self, overlay: OverlayId, warrant: SignedAction) -> list[Op]:
        """The ops under which the accused action and its entry are looked for."""
        accused = accused_of(warrant.action)
        if accused is None:
            return []
        found = [
            self._holding.remade(overlay, kind, basis, accused)
            for kind, basis in bases_of(accused)
            if kind in ("record", "entry")
        ]
        return [op for op in found if op is not None]


def _nothing(_: Any) -> None:
    """What is done with an answer that nobody waits for."""
