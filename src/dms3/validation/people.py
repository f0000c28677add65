"""Who is behind an agent: the people who have certified it, and whom it names itself.

Source: docs/networks.md, "Put out". Both sides have to say so: anybody may certify a key that is
not theirs, and anybody may name a person who is not behind them. Signatures prove it, so holders
can hide it and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from dms3.chain.action import SignedAction
from dms3.chain.agent import check_agent, decode_agent
from dms3.chain.messages import Fetch
from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    CHAIN_FETCH_MAX,
    PEOPLE_MAX,
    VOICE_ASKS_MAX,
    VOICE_ROOTS_MAX,
    WARRANT_RETRY_US,
    WARRANT_TRIES_MAX,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.validation.holders import Heard, Holders, Reach
from dms3.validation.holding import Holding
from dms3.validation.serving import Serving

PEOPLE = "people"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class _Row:
    """The roots behind an agent, sorted."""

    v: int
    roots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Who uses it: `found` is told of an overlay in which somebody has become known.

    `needed`: the agents of an overlay who have to be known.
    """

    found: Callable[[OverlayId], None]
    needed: Callable[[OverlayId], set[bytes]]


class People:
    """The table; `told` uses it."""

    def __init__(
        self,
        desk: Desk,
        holding: Holding,
        holders: Holders,
        told: Told,
    ) -> None:
        self._desk = desk
        self._rows = holding.rows
        self._serving = Serving(holding)
        self._holders = holders
        self._told = told
        self._counts: dict[OverlayId, int] = {}
        self._asking: dict[tuple[OverlayId, bytes], int] = {}  # -> how often

    def behind(self, overlay: OverlayId, agent: bytes) -> tuple[bytes, ...]:
        """The people behind an agent, as far as they are known."""
        data = self._rows.get(PEOPLE, overlay + agent)
        return () if data is None else decode(_Row, data).roots

    def look(self, overlay: OverlayId, agent: bytes) -> None:
        """Find out who is behind an agent, if that is not known: here, then from who holds it."""
        key = (overlay, agent)
        if key in self._asking or self._rows.get(PEOPLE, overlay + agent) is not None:
            return
        rows = self._serving.rows(overlay, _fetch(agent))
        if self._keep(key, [row.held.signed for row in islice(rows, CHAIN_FETCH_MAX)]):
            return
        if len(self._asking) < VOICE_ASKS_MAX:
            self._asking[key] = 0
            self._ask(key)

    def shut(self, overlay: OverlayId) -> None:
        """Nothing is judged there any more."""
        self._counts.pop(overlay, None)
        for key in [key for key in self._asking if key[0] == overlay]:
            self._desk.no_alarm(_alarm(key))
            del self._asking[key]

    def _ask(self, key: tuple[OverlayId, bytes]) -> None:
        self._holders.fetch(
            key[0], _fetch(key[1]), Reach(HOLDERS_MIN), lambda heard: self._heard(key, heard)
        )

    def _heard(self, key: tuple[OverlayId, bytes], heard: Heard) -> None:
        if key not in self._asking:
            return  # the app was shut meanwhile
        if self._keep(key, [told.op.signed for each in heard.answers for told in each.ops]):
            del self._asking[key]
            return
        self._asking[key] += 1
        if self._asking[key] >= WARRANT_TRIES_MAX:
            del self._asking[key]
            return
        self._desk.after(_alarm(key), WARRANT_RETRY_US, lambda: self._ask(key))

    def _keep(self, key: tuple[OverlayId, bytes], signed: Iterable[SignedAction]) -> bool:
        roots = _behind(*key, list(signed))
        if roots:
            self._make_room(key[0])
            self._rows.put(PEOPLE, key[0] + key[1], encode(_Row(_VERSION, roots)))
            self._counts[key[0]] += 1
            self._told.found(key[0])
        return bool(roots)

    def _make_room(self, overlay: OverlayId) -> None:
        """Forget those for whom nobody asks any more, when there are many."""
        if self._counts.get(overlay, PEOPLE_MAX) < PEOPLE_MAX:
            return
        agents = [key[len(overlay) :] for key, _ in self._rows.under(PEOPLE, overlay)]
        self._counts[overlay] = len(agents)
        if len(agents) < PEOPLE_MAX:
            return
        needed = self._told.needed(overlay)
        gone = [agent for agent in agents if agent not in needed]
        for agent in gone:
            self._rows.drop(PEOPLE, overlay + agent)
        self._counts[overlay] -= len(gone)


def _fetch(agent: bytes) -> Fetch:
    return Fetch("activity", agent, CHAIN_FETCH_MAX)


def _behind(overlay: OverlayId, agent: bytes, signed: list[SignedAction]) -> tuple[bytes, ...]:
    """Whom actions of `agent`, whose signatures are good, name, and who have certified it."""
    named = {each.action.root for each in signed if each.action.author == agent}
    certified = {_certifier(overlay, agent, each.action.certificate) for each in signed}
    return tuple(sorted(named & certified)[:VOICE_ROOTS_MAX])


def _certifier(overlay: OverlayId, agent: bytes, data: bytes) -> bytes:
    """Who has signed that certificate of `agent`; b"" when it is none."""
    try:
        found = decode_agent(data)
    except DecodeError:
        return b""
    fits = (found.dna, found.agent) == (overlay, agent)
    return found.root if fits and check_agent(found) else b""


def _alarm(key: tuple[OverlayId, bytes]) -> str:
    return f"people:{key[0].hex()}:{key[1].hex()}"
