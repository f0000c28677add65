"""Taking back the key of a device: the root's word that what it writes from now on is not mine.

Source: docs/chains.md, "My chain"; `chain/agent.py` has the revocation. It is written to the chain
of this device, and lies near the root and near the key that is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dms3.chain.agent import AgentPlace, issue_agent, revoke_agent
from dms3.chain.operations import RevokeAgent
from dms3.core.desk import Operation
from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.source.chains import Chain
from dms3.source.drafting import Draft, Known
from dms3.source.grounds import Grounds
from dms3.source.parts import Part
from dms3.source.writing import Job, Records, Writing, committed


class Revoking(Part):
    """Operation "revoke_agent"."""

    def __init__(self, grounds: Grounds, writing: Writing) -> None:
        self._grounds = grounds
        self._writing = writing

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"revoke_agent": self._revoke}

    def _revoke(self, asked: RevokeAgent, request: RequestId) -> None:
        """Take the key of a device back, behind the last action that is known of it."""
        chains = self._grounds.chains
        own = chains.need(asked.overlay)
        lost = chains.need(asked.overlay, asked.device)
        last_seq = lost.row.seq if asked.last_seq is None else asked.last_seq

        def build(draft: Draft, _known: Known) -> None:
            certificate = self._certificate(lost, draft.time_us)
            seq = max(last_seq, draft.seq + 1) if lost is own else last_seq
            root = self._grounds.root_key
            draft.add("agent", revocation=revoke_agent(root, certificate, seq, draft.time_us))

        def written(_records: Records) -> None:
            if lost is own:
                own.change(replace(own.row, standing="closed"))

        def done(result: Records | Failure) -> None:
            answer = result if isinstance(result, Failure) else committed(result)
            self._grounds.desk.reply(request, answer)

        self._writing.write(Job(own, build, written=written), done)

    def _certificate(self, chain: Chain, wall_us: int) -> bytes:
        """The certificate of the key that writes `chain` now; an equal one when it is not here."""
        row = chain.row
        found = b""
        for record in self._grounds.shelf.records(chain.key, -1):
            found = record.signed.action.certificate or found
        if found:
            return found
        place = AgentPlace(row.overlay, row.agent, row.device, row.generation)
        return issue_agent(self._grounds.root_key, place, wall_us)
