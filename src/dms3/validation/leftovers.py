"""Entries that nothing held here needs any more: found by a slow walk over actions, and let go.

Source: docs/chains.md, "Repaired". Several actions may have made one entry, and there is no list of
them; so an entry whose op or action has gone is only doubted until all actions here were looked at.
"""

from __future__ import annotations

from dms3.chain.action import decode_signed
from dms3.chain.ops import WITH_ENTRY
from dms3.core.cid import Cid
from dms3.core.codec import decode
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.limits import DOUBT_SLICE_ROWS, DOUBTED_MAX, LOCATED_PAUSE_US
from dms3.validation.holding import Holding
from dms3.validation.rows import ACTIONS, ActionRow


class Leftovers:
    """The entries of `holding` that are doubted; a restart forgets the doubt, and they stay."""

    def __init__(self, desk: Desk, holding: Holding) -> None:
        self._desk = desk
        self._holding = holding
        self._at: dict[OverlayId, bytes] = {}  # where the walk goes on
        self._late: dict[tuple[OverlayId, Cid], None] = {}  # doubted behind the start of a walk

    def doubt(self, overlay: OverlayId, entries: tuple[Cid, ...]) -> None:
        """Nothing of the action that brought these needs them."""
        doubted = self._holding.doubted
        for cid in entries:
            if len(doubted) < DOUBTED_MAX and self._holding.has_entry(overlay, cid):
                doubted[overlay, cid] = None
                if overlay in self._at:
                    self._late[overlay, cid] = None
        if entries and overlay not in self._at:
            self._begin(overlay)

    def shut(self, overlay: OverlayId) -> None:
        """The walk ends."""
        self._at.pop(overlay, None)
        self._desk.no_alarm(_alarm(overlay))
        for key in [key for key in self._holding.doubted if key[0] == overlay]:
            del self._holding.doubted[key]
            self._late.pop(key, None)

    def _begin(self, overlay: OverlayId) -> None:
        for key in [key for key in self._late if key[0] == overlay]:
            del self._late[key]
        self._at[overlay] = overlay
        self._later(overlay)

    def _later(self, overlay: OverlayId) -> None:
        self._desk.after(_alarm(overlay), LOCATED_PAUSE_US, lambda: self._step(overlay))

    def _step(self, overlay: OverlayId) -> None:
        """Look at some actions; whatever is doubted since before the first one goes then."""
        rows = self._holding.rows.range(ACTIONS, self._at[overlay], DOUBT_SLICE_ROWS)
        mine = [data for key, data in rows if key.startswith(overlay)]
        for data in mine:
            self._clear(overlay, decode(ActionRow, data))
        if len(mine) == DOUBT_SLICE_ROWS:
            self._at[overlay] = rows[-1][0] + b"\0"
            self._later(overlay)
            return
        del self._at[overlay]
        doubted = [key for key in self._holding.doubted if key[0] == overlay]
        late = [key for key in doubted if key in self._late]
        for key in doubted:
            if key not in self._late:
                del self._holding.doubted[key]
                self._holding.drop_entry(*key)
        if late:
            self._begin(overlay)

    def _clear(self, overlay: OverlayId, row: ActionRow) -> None:
        """What an action needs here is not doubted."""
        signed = decode_signed(row.signed)
        entries = [
            cid
            for cid in (signed.action.entry, signed.action.sealed)
            if cid is not None and (overlay, cid) in self._holding.doubted
        ]
        if not entries:
            return
        kinds = [kind for kind, _ in self._holding.ops(overlay, signed)]
        if row.own or row.state == "rejected" or any(kind in WITH_ENTRY for kind in kinds):
            for cid in entries:
                del self._holding.doubted[overlay, cid]


def _alarm(overlay: OverlayId) -> str:
    return f"leftovers:{overlay.hex()}"
