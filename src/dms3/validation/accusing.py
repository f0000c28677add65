"""Accused actions: judged for who is warned of them, and whether that verdict is this node's own.

Source: docs/chains.md, "Convicted". A rule that asks whether a record holds may have been told so
by two holders that lie; a verdict that rests on it convicts neither the author nor who accuses it.
"""

from __future__ import annotations

from dms3.chain.action import SignedAction
from dms3.chain.operations_validation import Record
from dms3.core.cid import Cid
from dms3.core.ids import OverlayId
from dms3.core.limits import ACCUSED_KEPT_MAX, ACCUSED_OPEN_MAX
from dms3.core.verdict import Abandoned, Verdict
from dms3.validation.deciding import Deciding
from dms3.validation.doubts import Doubts
from dms3.validation.holding import Holding
from dms3.validation.judging import Case, Judging

_HEARSAY = Abandoned("what its rules read is known only by what others say")
_CROWDED = Abandoned("too many actions that others are warned of wait to be judged")


class Accusing:
    """Verdicts on actions that warrants are about."""

    def __init__(self, deciding: Deciding, judging: Judging, holding: Holding) -> None:
        self._deciding = deciding
        self._judging = judging
        self._doubts = Doubts(holding)
        self._verdicts: dict[tuple[OverlayId, Cid], Verdict] = {}
        self._running: dict[tuple[OverlayId, Cid], Case | None] = {}

    def verdict(self, overlay: OverlayId, accused: SignedAction) -> Verdict | None:
        """What this node has found `accused` to be; None: whoever waits for it is woken."""
        key = (overlay, accused.hash)
        held = self._deciding.find(overlay, accused.hash)
        if held is not None and held.verdict is not None:
            return self._own(overlay, accused.hash, held.verdict)
        if key not in self._verdicts and key not in self._running:
            self._begin(key, accused)
        return self._verdicts.get(key)

    def doubt(self, overlay: OverlayId, hash_: Cid) -> None:
        """The verdict on that action rests on what others say."""
        self._doubts.add(overlay, hash_)

    def lean(self, overlay: OverlayId, signed: SignedAction) -> None:
        """An action is valid, as far as what stands before it is."""
        self._doubts.lean(overlay, signed)

    def is_doubted(self, overlay: OverlayId, hash_: Cid) -> bool:
        """Whether the verdict on an action rests on what others say."""
        return self._doubts.has(overlay, hash_)

    def is_hearsay(self, overlay: OverlayId, hash_: Cid) -> bool:
        """The same, or that of an action before it: who reads it reads what others say."""
        return self._doubts.is_hearsay(overlay, hash_)

    def shut(self, overlay: OverlayId) -> None:
        """Nothing is judged there any more."""
        for key in [key for key in self._verdicts if key[0] == overlay]:
            del self._verdicts[key]
        for key in [key for key in self._running if key[0] == overlay]:
            self._leave(key)

    def _begin(self, key: tuple[OverlayId, Cid], accused: SignedAction) -> None:
        """Judge it; of those that wait for what nobody may have, the oldest gives way."""
        if len(self._running) >= ACCUSED_OPEN_MAX:
            oldest = next(iter(self._running))
            self._leave(oldest)
            self._judging.soon(lambda: self._give_up(oldest))
        self._running[key] = None
        case = self._deciding.borrow(
            key[0], Record(accused), lambda found: self._judged(key, found)
        )
        if key in self._running:
            self._running[key] = case

    def _leave(self, key: tuple[OverlayId, Cid]) -> None:
        case = self._running.pop(key)
        if case is not None:
            self._judging.cancel(case)

    def _give_up(self, key: tuple[OverlayId, Cid]) -> None:
        """Nothing is said of the warrants that wait for it, and nothing is remembered."""
        for case in self._judging.waiters(*key):
            if any(need.of == "accused" and need.hash == key[1] for need in case.needs):
                self._judging.finish(case, _CROWDED)

    def _judged(self, key: tuple[OverlayId, Cid], verdict: Verdict) -> None:
        self._running.pop(key, None)
        if len(self._verdicts) >= ACCUSED_KEPT_MAX:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[key] = self._own(*key, verdict)
        self._judging.wake(*key)

    def _own(self, overlay: OverlayId, hash_: Cid, verdict: Verdict) -> Verdict:
        return _HEARSAY if self._doubts.has(overlay, hash_) else verdict
