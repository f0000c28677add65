"""Warrants of this node, written to its own chain; and agents that it answers no more.

Source: docs/chains.md, "Convicted". What convicts, and whether it is worth a warrant, machine
"validation" has found out (`validation/warranting.py`); here it is signed.
"""

from __future__ import annotations

from collections.abc import Mapping

from dms3.chain.operations_validation import IssueWarrant, ShutOut
from dms3.core.desk import Operation
from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.source.drafting import Draft, Known
from dms3.source.grounds import Grounds
from dms3.source.parts import Part
from dms3.source.writing import Job, Records, Writing, committed


class Warranting(Part):
    """Operations "warrant" and "shut_out"."""

    def __init__(self, grounds: Grounds, writing: Writing) -> None:
        self._grounds = grounds
        self._writing = writing

    def operations(self) -> Mapping[str, Operation]:
        """Asked by machine "validation"."""
        return {"warrant": self._warrant, "shut_out": self._shut_out}

    def _warrant(self, asked: IssueWarrant, request: RequestId) -> None:
        """Write that an agent broke rules; raises `not_found` without a chain in that app."""
        chain = self._grounds.chains.need(asked.overlay)
        chain.check_writable()

        def build(draft: Draft, _known: Known) -> None:
            draft.add("warrant", to=asked.agent, proof=asked.evidence)

        def done(result: Records | Failure) -> None:
            answer = result if isinstance(result, Failure) else committed(result)
            self._grounds.desk.reply(request, answer)

        self._writing.write(Job(chain, build), done)

    def _shut_out(self, asked: ShutOut, request: RequestId) -> None:
        """From now on these, and no others, are not answered in that app."""
        self._grounds.shut_out[asked.overlay] = frozenset(asked.agents)
        self._grounds.desk.reply(request, None)
