"""The first and the last actions of an own chain: genesis, the next key, close and open.

Source: docs/chains.md, "My chain". All of them go through the queue of their chain. What the
membrane asks is for machine "validation".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from dms3.chain.action import encode_signed
from dms3.chain.agent import AgentPlace, issue_agent
from dms3.chain.operations import Begin, Close
from dms3.chain.operations_validation import Record
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, RequestId
from dms3.core.limits import CHAINS_MAX
from dms3.source.chains import Chain, ChainRow
from dms3.source.drafting import Draft, Known, genesis, state_entry
from dms3.source.grounds import Grounds
from dms3.source.parts import Part
from dms3.source.publishing import Publishing
from dms3.source.writing import Job, Records, Writing, committed


class Beginning(Part):
    """Operations "begin", "rotate" and "close"."""

    def __init__(self, grounds: Grounds, writing: Writing, publishing: Publishing) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._writing = writing
        self._publishing = publishing
        self._beginning: dict[OverlayId, list[RequestId]] = {}
        self.taken_up: tuple[Callable[[Chain], None], ...] = ()  # told that an app runs

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"begin": self._begin, "rotate": self._rotate, "close": self._close}

    # Genesis

    def _begin(self, begin: Begin, request: RequestId) -> None:
        """Write the first three actions; a chain that was begun is taken up."""
        overlay = begin.dna.id
        self._grounds.meet_app(begin.dna)
        if overlay in self._beginning:
            self._beginning[overlay].append(request)
            return
        chain = self._grounds.chains.find(overlay)
        if chain is not None:
            self._take_up(chain)
            self._desk.reply(request, chain.shown)
            return
        if len(self._grounds.chains.own()) >= CHAINS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"This node writes {CHAINS_MAX} chains, the most that it can.",
                hint="Begin no more apps on this device.",
            )
        self._beginning[overlay] = [request]

        def ended(result: Records | Failure) -> None:
            begun = self._grounds.chains.find(overlay)
            if not isinstance(result, Failure):
                assert begun is not None, "it was written"
                self._take_up(begun)
            answer = result if isinstance(result, Failure) or begun is None else begun.shown
            for each in self._beginning.pop(overlay):
                self._desk.reply(each, answer)

        self._write_genesis(begin, ended)

    def _first(self, overlay: OverlayId) -> Chain:
        """The chain before its first action."""
        grounds = self._grounds
        device, generation = grounds.own.device, grounds.first_generation(overlay)
        key = grounds.own.tree.agent(device, overlay, generation)
        row = ChainRow(1, overlay, device, key.public, generation)
        return Chain(row, grounds.own.tree, grounds.desk)

    def _write_genesis(self, begin: Begin, ended: Callable[[Records | Failure], None]) -> None:
        chain = self._first(begin.dna.id)
        row = chain.row
        place = AgentPlace(row.overlay, row.agent, row.device, row.generation)
        closed = self._closed_for(chain)
        self._publishing.activate(chain.overlay)

        def build(draft: Draft, _known: Known) -> None:
            genesis(draft, begin.proof, place, self._grounds.root_key)
            if closed is not None:
                _open(draft, closed)

        def written(_records: Records) -> None:
            self._grounds.chains.put(chain)

        self._writing.write(Job(chain, build, written=written), ended)

    def _take_up(self, chain: Chain) -> None:
        """The app runs: go on with what was under way in its chains."""
        self._publishing.activate(chain.overlay)
        for each in (chain, *self._grounds.chains.foreign(chain.overlay)):
            self._publishing.resume(each)
        for told in self.taken_up:
            told(chain)
        self._open_here(chain)

    # Migration

    def _close(self, close: Close, request: RequestId) -> None:
        """End the chain; what moves along is opened by the chain in the other app."""
        chain = self._grounds.chains.need(close.overlay)
        chain.check_writable()
        if len(close.to) != len(close.overlay) or close.to == close.overlay:
            raise Dms3Error("argument_invalid", "A chain goes on in another app, named by its id.")
        other = OverlayId(close.to)
        successor = self._first(other).signing.public
        found = self._grounds.chains.find(other)
        if found is not None:
            successor = found.row.agent

        def build(draft: Draft, _known: Known) -> None:
            fields, data = state_entry(close.state)
            draft.add("close", data, other_dna=close.to, to=successor, **fields)

        def written(_records: Records) -> None:
            chain.change(replace(chain.row, standing="closed"))

        def done(result: Records | Failure) -> None:
            if isinstance(result, Failure):
                self._desk.reply(request, result)
                return
            self._desk.reply(request, committed(result))
            if found is not None and self._grounds.app_or_none(other) is not None:
                self._open_here(found)

        self._writing.write(Job(chain, build, written=written), done)

    def _closed_for(self, chain: Chain) -> Record | None:
        """The last action of an own chain that goes on in `chain`, not opened by it yet."""
        for each in self._grounds.chains.own():
            if each.row.standing != "closed" or each.row.head is None:
                continue
            record = self._grounds.shelf.record(each.row.head)
            if record is None or record.signed.action.other_dna != chain.overlay:
                continue
            own = self._grounds.shelf.records(chain.key, -1)
            opened = any(one.signed.action.target == each.row.head for one in own)
            if record.signed.action.to == chain.row.agent and not opened:
                return record
        return None

    def _open_here(self, chain: Chain) -> None:
        """Take over what another own chain left for this one."""
        closed = self._closed_for(chain)
        if closed is None or chain.row.standing != "writable":
            return

        def build(draft: Draft, _known: Known) -> None:
            _open(draft, closed)

        self._writing.write(Job(chain, build), lambda _: None)

    # The next key

    def _rotate(self, overlay: OverlayId, request: RequestId) -> None:
        """Let the next key of this device write the chain from now on."""
        chain = self._grounds.chains.need(overlay)
        chain.check_writable()

        def build(draft: Draft, _known: Known) -> None:
            place = self._next(chain.row)
            draft.add(
                "agent", certificate=issue_agent(self._grounds.root_key, place, draft.time_us)
            )

        def written(_records: Records) -> None:
            place = self._next(chain.row)
            chain.change(replace(chain.row, agent=place.agent, generation=place.generation))

        def done(result: Records | Failure) -> None:
            if isinstance(result, Failure):
                self._desk.reply(request, result)
                return
            for told in self.taken_up:
                told(chain)
            self._desk.reply(request, chain.shown)

        self._writing.write(Job(chain, build, written=written), done)

    def _next(self, row: ChainRow) -> AgentPlace:
        generation = row.generation + 1
        key = self._grounds.own.tree.agent(row.device, row.overlay, generation)
        return AgentPlace(row.overlay, key.public, row.device, generation)


def _open(draft: Draft, closed: Record) -> None:
    action = closed.signed.action
    fields = {} if action.entry is None else {"entry": action.entry}
    draft.add(
        "open",
        closed.entry,
        other_dna=action.dna,
        target=closed.signed.hash,
        proof=encode_signed(closed.signed),
        **fields,
    )
