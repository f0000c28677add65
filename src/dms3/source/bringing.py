"""Bringing own records from holders: the entry, and of a private one what the words open.

Source: docs/chains.md, "Restore"; docs/wire.md, "/dms3/chain/1". What comes is checked against the
hash of its action; who gives something else has given nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from dms3.chain.action import SignedAction, check_signature
from dms3.chain.messages import PROTOCOL, ChainQuestion, Fetch, decode_fetched
from dms3.chain.operations_validation import Record
from dms3.chain.ops import Op, decode_op
from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.overlay import HOLDERS_MIN, Asked, AskNear, location
from dms3.source.flows import Ask, Flow
from dms3.source.grounds import Grounds


class Bringing:
    """Questions to the holders of what this person wrote."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds

    def bring(self, overlay: OverlayId, signed: SignedAction) -> Flow[Record]:
        """The record of an own action; without its entry when nobody gave that."""
        action = signed.action
        if action.entry is None:
            return Record(signed)
        held = self._grounds.shelf.entry(action.entry, private=action.private)
        if held is not None:
            return Record(signed, held)
        fetch = Fetch("record", signed.hash.binary, 1)
        for enough in (1, 0):
            asked = yield from self.fetch(overlay, fetch, enough)
            for op in ops_in(asked):
                entry = self._entry(op, signed)
                if entry is not None:
                    return Record(signed, entry)
        return Record(signed)

    def fetch(self, overlay: OverlayId, fetch: Fetch, enough: int = 0) -> Flow[Asked]:
        """What the holders of `fetch.basis` answer; nobody when none can be asked."""
        body = encode(ChainQuestion(overlay, fetch=fetch))
        target = location(fetch.basis)
        asked = yield Ask(
            "dht.ask_near", AskNear(overlay, target, HOLDERS_MIN, PROTOCOL, body, enough)
        )
        return asked if isinstance(asked, Asked) else Asked(())

    def _entry(self, op: Op, signed: SignedAction) -> bytes | None:
        if op.signed.hash != signed.hash or op.kind != "record":
            return None
        entry = signed.action.entry
        if op.sealed is None or entry is None:
            return op.entry
        try:
            return self._grounds.opened(entry, op.sealed)
        except DecodeError:
            return None  # of other words, or of nobody


def ops_in(asked: Asked) -> Iterator[Op]:
    """The ops in the answers to a fetch, signed by their authors, each holder's in its order."""
    for _, body in asked.answers:
        if not isinstance(body, bytes):
            continue
        try:
            found = decode_fetched(body)
        except DecodeError:
            continue
        for each in found.ops:
            try:
                op = decode_op(each.op)
            except DecodeError:
                continue
            if check_signature(op.signed):
                yield op
