"""Reading own chains: records in order, heads, all chains of the person that lie here.

Source: docs/chains.md, "My chain". Everything comes from rows of this device; nobody is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from dms3.chain.operations import Query
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, RequestId
from dms3.core.limits import QUERY_RECORDS_MAX
from dms3.source.grounds import Grounds
from dms3.source.parts import Part


class Reading(Part):
    """Operations "query", "head" and "chains"."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._desk = grounds.desk

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"query": self._query, "head": self._head, "chains": self._chains}

    def _query(self, query: Query, request: RequestId) -> None:
        if not 1 <= query.limit <= QUERY_RECORDS_MAX:
            raise Dms3Error("argument_invalid", f"A query brings 1 to {QUERY_RECORDS_MAX} records.")
        chain = self._grounds.chains.need(query.overlay, query.device)
        found = (
            record
            for record in self._grounds.shelf.records(chain.key, query.after)
            if query.kind in ("", record.signed.action.entry_kind)
            and query.of in ("", record.signed.action.kind)
        )
        self._desk.reply(request, tuple(islice(found, query.limit)))

    def _head(self, overlay: OverlayId, request: RequestId) -> None:
        self._desk.reply(request, self._grounds.chains.need(overlay).shown)

    def _chains(self, _: None, request: RequestId) -> None:
        chains = self._grounds.chains
        both = (*chains.own(), *chains.foreign())
        self._desk.reply(request, tuple(chain.shown for chain in both))
