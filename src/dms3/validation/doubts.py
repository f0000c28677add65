"""Doubts: actions whose verdict rests on what other nodes say of another action.

Source: docs/chains.md, "Convicted". They are held and shown like others; only nobody is convicted
by them, since who judged may have been deceived. *Doubted* is what a rule has judged by a record
that is known only by what others say. *Leaning* is what is valid as long as the action is that it
follows or changes, and of that only others say so: a rule that reads it reads hearsay.
"""

from __future__ import annotations

from dms3.chain.action import SignedAction
from dms3.core.cid import Cid
from dms3.core.ids import OverlayId
from dms3.core.limits import LEANING_STEPS_MAX
from dms3.validation.holding import Holding
from dms3.validation.rows import DOUBTS, action_key

_DOUBTED, _LEANING = b"\1", b"\2"


class Doubts:
    """The table."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._rows = holding.rows

    def add(self, overlay: OverlayId, hash_: Cid) -> None:
        """The verdict on this action is not all this node's own."""
        self._rows.put(DOUBTS, action_key(overlay, hash_), _DOUBTED)

    def has(self, overlay: OverlayId, hash_: Cid) -> bool:
        """Whether that is so."""
        return self._rows.get(DOUBTS, action_key(overlay, hash_)) == _DOUBTED

    def lean(self, overlay: OverlayId, signed: SignedAction) -> None:
        """An action is valid: remember it when what stands before it is known by hearsay."""
        key = action_key(overlay, signed.hash)
        if self._rows.get(DOUBTS, key) is None and self._leans(overlay, signed):
            self._rows.put(DOUBTS, key, _LEANING)

    def is_hearsay(self, overlay: OverlayId, hash_: Cid) -> bool:
        """Whether that a valid action holds rests, in the end, on what others say.

        What has come and was judged since is looked at again, so many steps back.
        """
        passed: list[Cid] = []
        line = [hash_]
        while line:
            at = line.pop()
            row = self._rows.get(DOUBTS, action_key(overlay, at))
            if row is None or at in passed:
                continue
            signed = self._find(overlay, at) if row == _LEANING else None
            if signed is None or len(passed) >= LEANING_STEPS_MAX:
                return True
            passed.append(at)
            for before in _before(signed):
                if self._find(overlay, before) is None:
                    return True
                line.append(before)
        for each in passed:
            self._rows.drop(DOUBTS, action_key(overlay, each))
        return False

    def _find(self, overlay: OverlayId, hash_: Cid) -> SignedAction | None:
        """The action with that hash, when this node itself has found it valid."""
        held = self._holding.action(overlay, hash_)
        return held.signed if held is not None and held.state == "integrated" else None

    def _leans(self, overlay: OverlayId, signed: SignedAction) -> bool:
        return any(
            self._find(overlay, before) is None
            or self._rows.get(DOUBTS, action_key(overlay, before)) is not None
            for before in _before(signed)
        )


def _before(signed: SignedAction) -> tuple[Cid, ...]:
    """The actions that have to hold for this one to hold."""
    action = signed.action
    changed = action.target if action.kind in ("update", "delete", "unlink") else None
    return tuple(each for each in (action.prev, changed) if each is not None)
