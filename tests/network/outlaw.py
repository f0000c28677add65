"""dms3 of somebody who breaks rules: his own judge says yes, and he accuses who names him.

Who signs the text "frame me, NAME" is warned of by node NAME, for a rule that is not broken.
"""

import sys
from typing import Any

from dms3.chain.action import SignedAction
from dms3.chain.operations import Committed
from dms3.chain.operations_validation import IssueWarrant, JudgeRecords
from dms3.chain.warrant import rule_evidence
from dms3.cli.main import main
from dms3.core.ids import OverlayId, RequestId
from dms3.core.verdict import Valid, Verdict
from dms3.validation.own import OwnJudging
from dms3.validation.warranting import Warranting

JUDGED = Warranting.judged
NAMES = {word for argument in sys.argv for word in argument.split("/")}


def yes(self: OwnJudging, _asked: JudgeRecords, request: RequestId) -> None:
    """The verdict on whatever this node wants to write."""
    self._desk.reply(request, Valid())


def framing(self: Warranting, overlay: OverlayId, signed: SignedAction, verdict: Verdict) -> None:
    """Judge as others do, and accuse who asks for it."""
    JUDGED(self, overlay, signed, verdict)
    entry = signed.action.entry
    text = b"" if entry is None else self._holding.entry(overlay, entry) or b""
    if not any(f"frame me, {name}".encode() in text for name in NAMES if name):
        return
    evidence = rule_evidence(signed, "an_entry_is_short_text")

    def written(answer: Any) -> None:
        if isinstance(answer, Committed):
            held = self._holding.action(overlay, answer.actions[0])
            assert held is not None
            self.telling.spread(overlay, held.signed)

    asked = IssueWarrant(overlay, signed.action.author, evidence)
    self._desk.call("source.warrant", asked, written)


if __name__ == "__main__":
    OwnJudging.judge = yes  # type: ignore[method-assign]
    Warranting.judged = framing  # type: ignore[method-assign]
    main()
