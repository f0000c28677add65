"""Voices: who warns of an agent by a warrant that this node has judged true, each person once.

Source: docs/networks.md, "Put out"; IPS paper, membranes (immune system). One warrant convicts in
an app; a network whose members put somebody out asks for several. What a person has pardoned counts
no more. Who is let in is for `dht/admitting.py`, which asks here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dms3.chain.action import SignedAction
from dms3.chain.membrane import Who
from dms3.core.admission import Admission
from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.limits import VOICES_ALL_MAX, VOICES_MAX, VOICES_TOLD_MAX
from dms3.validation.holders import Holders
from dms3.validation.holding import Holding
from dms3.validation.people import People, Told

VOICES = "voices"
_VERSION = 1
_KEY = 32


@dataclass(frozen=True, slots=True)
class _Row:
    """A warrant: `root`, the person that its issuer names."""

    v: int
    root: bytes


@dataclass(frozen=True, slots=True)
class _Voice:
    """The warrant of `issuer`, an agent that names `root`, against `agent`."""

    agent: bytes
    issuer: bytes
    root: bytes


class Voices:
    """The table; `admission` says whose warrants count for the overlays of this node."""

    def __init__(
        self, desk: Desk, holding: Holding, holders: Holders, admission: Admission
    ) -> None:
        self._desk = desk
        self._rows = holding.rows
        self._admission = admission
        self._people = People(desk, holding, holders, Told(self._weigh, self._named))
        self._against: dict[OverlayId, dict[bytes, frozenset[bytes]]] = {}  # root -> by whom
        self._counts: dict[OverlayId, int] = {}

    # Looking

    def against(self, apps: tuple[bytes, ...], who: Who, by: tuple[bytes, ...]) -> int:
        """How many of the people `by` have warned of an agent of `who.root`; see Admission."""
        found: set[bytes] = set()
        for app in apps:
            found |= self._against.get(OverlayId(app), {}).get(who.root, frozenset())
        return len(found.intersection(by))

    def all(self, apps: tuple[bytes, ...], by: tuple[bytes, ...]) -> list[tuple[bytes, int]]:
        """Of whom any of the people `by` have warned, and how many of them, in order of roots."""
        found: dict[bytes, set[bytes]] = {}
        for app in apps:
            for root, voices in self._against.get(OverlayId(app), {}).items():
                found.setdefault(root, set()).update(voices.intersection(by))
        return [(root, len(found[root])) for root in sorted(found) if found[root]]

    def has(self, overlay: OverlayId, warrant: SignedAction) -> bool:
        """Whether what its issuer says of that agent is kept."""
        action = warrant.action
        return self._rows.get(VOICES, overlay + action.to + action.author) is not None

    def wants(self, overlay: OverlayId, warrant: SignedAction) -> bool:
        """Whether a further warrant against an agent is worth judging and handing on.

        That of a person whose word counts always is, until it is known to have come.
        """
        action = warrant.action
        if self.has(overlay, warrant):
            return False
        voices = list(self._of(overlay, action.to))
        if len(voices) < VOICES_TOLD_MAX or not self._admission.counts(overlay, action.root):
            return len(voices) < VOICES_TOLD_MAX
        return not any(each.root == action.root and self._is_true(overlay, each) for each in voices)

    def lacks_own(self, overlay: OverlayId, agent: bytes) -> bool:
        """Whether a warrant of this node's person would count, and there is none."""
        own = self._admission.asked(overlay)
        voices = self._of(overlay, agent)
        return bool(own) and not any(
            each.root == own and self._is_true(overlay, each) for each in voices
        )

    # Changes

    def open(self, overlay: OverlayId) -> None:
        """The app is judged from now on."""
        self._counts[overlay] = sum(1 for _ in self._of(overlay))
        self.heed(overlay)

    def shut(self, overlay: OverlayId) -> None:
        """The app is judged no more: nobody is put out for what happens there."""
        self._people.shut(overlay)
        self._counts.pop(overlay, None)
        if self._against.pop(overlay, None):
            self._tell(overlay)

    def heed(self, overlay: OverlayId) -> None:
        """What was said there may count for another overlay from now on."""
        for each in list(self._of(overlay)):
            if self._admission.counts(overlay, each.root):
                self._look(overlay, each)
        self._weigh(overlay)

    def heard(self, overlay: OverlayId, warrant: SignedAction) -> None:
        """A warrant is valid, and what it shows was not pardoned."""
        action = warrant.action
        one = _Voice(action.to, action.author, action.root)
        if self.has(overlay, warrant) or not self._has_room(overlay, one):
            return
        row = encode(_Row(_VERSION, one.root))
        self._rows.put(VOICES, overlay + one.agent + one.issuer, row)
        self._counts[overlay] = self._counts.get(overlay, 0) + 1
        if self._admission.counts(overlay, one.root):
            self._look(overlay, one)
            self._weigh(overlay)

    def pardoned(self, overlay: OverlayId, agent: bytes) -> None:
        """The person looks over what was said of an agent so far."""
        for each in list(self._of(overlay, agent)):
            self._drop(overlay, each)
        self._weigh(overlay)

    # Small parts

    def _of(self, overlay: OverlayId, agent: bytes = b"") -> Iterator[_Voice]:
        """Against one agent, or against all."""
        for key, data in self._rows.under(VOICES, overlay + agent):
            row, names = decode(_Row, data), key[len(overlay) :]
            yield _Voice(names[:_KEY], names[_KEY:], row.root)

    def _named(self, overlay: OverlayId) -> set[bytes]:
        """Who warns, and of whom."""
        return {agent for each in self._of(overlay) for agent in (each.issuer, each.agent)}

    def _is_true(self, overlay: OverlayId, one: _Voice) -> bool:
        """Whether the person whom the issuer names is known to be behind it."""
        return one.root in self._people.behind(overlay, one.issuer)

    def _weighs(self, overlay: OverlayId, one: _Voice) -> bool:
        return self._admission.counts(overlay, one.root) and self._is_true(overlay, one)

    def _look(self, overlay: OverlayId, one: _Voice) -> None:
        self._people.look(overlay, one.issuer)
        self._people.look(overlay, one.agent)

    def _weigh(self, overlay: OverlayId) -> None:
        """Count again what counts, and have it looked at who is in when that has changed."""
        found: dict[bytes, set[bytes]] = {}
        for each in self._of(overlay):
            if self._weighs(overlay, each):
                for root in self._people.behind(overlay, each.agent):
                    found.setdefault(root, set()).add(each.root)
        weighed = {root: frozenset(by) for root, by in found.items()}
        if weighed != self._against.get(overlay, {}):
            self._against[overlay] = weighed
            self._tell(overlay)

    def _tell(self, overlay: OverlayId) -> None:
        self._desk.call("dht.warned", overlay, _nothing)

    def _has_room(self, overlay: OverlayId, one: _Voice) -> bool:
        """Make room, at the cost of what counts for no overlay of this node.

        Anybody may name a member as the person behind them, so only who is known to be it is safe.
        """
        counts = self._admission.counts(overlay, one.root)
        of_one = list(self._of(overlay, one.agent))
        if len(of_one) < VOICES_MAX and self._counts.get(overlay, 0) < VOICES_ALL_MAX:
            return True
        among = of_one if len(of_one) >= VOICES_MAX else self._of(overlay)
        idle = (each for each in among if not self._weighs(overlay, each))
        gone = next(idle, None) if counts else None
        if gone is not None:
            self._drop(overlay, gone)
        return gone is not None

    def _drop(self, overlay: OverlayId, one: _Voice) -> None:
        self._rows.drop(VOICES, overlay + one.agent + one.issuer)
        self._counts[overlay] = max(0, self._counts.get(overlay, 0) - 1)


def _nothing(_: Any) -> None:
    """What is done with an answer that nobody waits for."""
