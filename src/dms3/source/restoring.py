"""The chains of the person's other devices and older homes: found by the root, taken up, read only.

Source: docs/chains.md, "Restore". The certificates of all agents lie near the root in each overlay;
an empty home with the words brings everything by them. Nothing is ever written to such a chain: its
key is of another device, and who has the words is still no more than one device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dms3.chain.agent import AgentCertificate, check_agent, decode_agent
from dms3.chain.messages import Fetch
from dms3.chain.operations import ChainHead
from dms3.chain.ops import Op, op_id
from dms3.core.desk import Operation
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, RequestId
from dms3.core.limits import (
    AGENTS_MAX,
    CHAIN_ASK_US_MAX,
    CHAIN_ASK_US_MIN,
    CHAIN_FETCH_MAX,
    CHAINS_MAX,
)
from dms3.source.bringing import Bringing, ops_in
from dms3.source.chains import Chain, ChainRow
from dms3.source.confirming import Confirming, following
from dms3.source.flows import Flow, Rest
from dms3.source.grounds import Grounds
from dms3.source.parts import Part

Heads = tuple[ChainHead, ...]


class Restoring(Part):
    """Operation "restore"; the same after each start of an app."""

    def __init__(self, grounds: Grounds, confirming: Confirming, bringing: Bringing) -> None:
        self._grounds = grounds
        self._confirming = confirming
        self._bringing = bringing
        self._looked: set[OverlayId] = set()
        self._waiting: dict[OverlayId, list[Callable[[Heads | Failure], None]]] = {}

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"restore": self._restore}

    def taken_up(self, chain: Chain) -> None:
        """An app runs: confirm its chain, then look for the others of the person."""
        overlay = chain.overlay
        self._confirming.confirm(chain)
        if overlay not in self._looked:
            self._looked.add(overlay)
            self._grounds.flows.start(self._until_answered(overlay), lambda _: None)

    def _until_answered(self, overlay: OverlayId) -> Flow[None]:
        """Look for other chains until somebody answered."""
        pause_us = CHAIN_ASK_US_MIN
        while True:
            found = yield from self._find(overlay)
            if found is not None:
                yield from self._bring_all(overlay, found)
                return
            yield Rest(pause_us)
            pause_us = min(2 * pause_us, CHAIN_ASK_US_MAX)

    def _restore(self, overlay: OverlayId, request: RequestId) -> None:
        def done(heads: Heads | Failure) -> None:
            self._grounds.desk.reply(request, heads)

        waiting = self._waiting.setdefault(overlay, [])
        waiting.append(done)
        if len(waiting) > 1:
            return

        def ended(heads: Heads | Failure) -> None:
            for each in self._waiting.pop(overlay):
                each(heads)

        self._grounds.flows.start(self._once(overlay), ended)

    def _once(self, overlay: OverlayId) -> Flow[Heads]:
        found = yield from self._find(overlay)
        yield from self._bring_all(overlay, found or {})
        chains = self._grounds.chains
        own = chains.find(overlay)
        both = (*(() if own is None else (own,)), *chains.foreign(overlay))
        return tuple(chain.shown for chain in both)

    # Finding

    def _find(self, overlay: OverlayId) -> Flow[dict[bytes, AgentCertificate] | None]:
        """The first key of each device of the person in this app; None when nobody answered."""
        root = self._grounds.root_key.public
        first: dict[bytes, AgentCertificate] = {}
        cursor, heard = b"", False
        for _ in range(AGENTS_MAX // CHAIN_FETCH_MAX + 1):
            fetch = Fetch("agents", root, CHAIN_FETCH_MAX, cursor=cursor)
            asked = yield from self._bringing.fetch(overlay, fetch)
            heard = heard or any(isinstance(body, bytes) for _, body in asked.answers)
            ops = list(ops_in(asked))
            for op in ops:
                certificate = self._certificate(overlay, op)
                if certificate is not None and certificate.agent == op.signed.action.author:
                    first.setdefault(certificate.device, certificate)
            last = max(map(op_id, ops), default=b"")
            if last <= cursor or len(ops) < CHAIN_FETCH_MAX:
                break
            cursor = last
        return first if heard else None

    def _certificate(self, overlay: OverlayId, op: Op) -> AgentCertificate | None:
        try:
            found = decode_agent(op.signed.action.certificate)
        except DecodeError:
            return None
        mine = found.root == self._grounds.root_key.public and found.dna == overlay
        return found if mine and check_agent(found) else None

    # Taking up

    def _bring_all(self, overlay: OverlayId, found: dict[bytes, AgentCertificate]) -> Flow[None]:
        own = self._grounds.own.device
        for device in sorted(found):
            if device != own:
                self._meet(overlay, found[device])
        for chain in self._grounds.chains.foreign(overlay):
            yield from self._follow(chain)

    def _meet(self, overlay: OverlayId, certificate: AgentCertificate) -> None:
        """A chain of another device, of which nothing lies here yet."""
        chains = self._grounds.chains
        known = any(each.row.device == certificate.device for each in chains.foreign(overlay))
        if known or len(chains.foreign()) >= CHAINS_MAX:
            return
        row = ChainRow(
            1,
            overlay,
            certificate.device,
            certificate.agent,
            certificate.generation,
            standing="foreign",
        )
        chain = Chain(row, self._grounds.own.tree, self._grounds.desk)
        chains.put(chain)
        chain.change(row)

    def _follow(self, chain: Chain) -> Flow[None]:
        """Everything behind its head that holders have."""
        while True:
            activity = yield from self._confirming.activity(chain)
            if activity is None:
                return
            row = chain.row
            head = self._grounds.shelf.action(chain.key, row.seq)
            news = following(row.agent, row.seq, head, activity.actions)
            if not news:
                return
            yield from self._confirming.take_up(chain, news)
