"""Standing: whether somebody has a chain in an app, so that what they did is worth a warrant.

Source: docs/chains.md, "Convicted". Anybody can make keys without end; only who was let in counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from dms3.chain.action import GENESIS, Action, SignedAction
from dms3.chain.rules import next_author
from dms3.core.ids import OverlayId
from dms3.core.limits import READ_ENOUGH
from dms3.validation.holding import Held, Holding
from dms3.validation.needs import NO_BUNDLE, Known
from dms3.validation.rows import REFUSED


class Standing:
    """As `holding` has it, and what was brought (`known`)."""

    def __init__(self, holding: Holding, known: Known) -> None:
        self._holding = holding
        self._known = known

    def was_let_in(self, overlay: OverlayId, signed: SignedAction) -> bool:
        """Whether the author of an action has a chain in this app."""
        action = signed.action
        if action.seq < len(GENESIS) or action.prev is None:
            return False
        if self._holding.author(overlay, action.author).highest >= len(GENESIS) - 1:
            return True
        before = self._known.before(overlay, action.prev, NO_BUNDLE)
        return isinstance(before, SignedAction) and next_author(before.action) == action.author

    def refused_before(self, overlay: OverlayId, begun: Action) -> Iterator[Held]:
        """Some of what was refused of the agent whose chain `begun` (an agent action) begins."""
        agent = next_author(begun)
        for _, held in islice(self._holding.listed(overlay, REFUSED, agent), READ_ENOUGH):
            yield held
