"""Recalling: warrants against somebody's agents, from who holds them, when that person appears.

Source: docs/networks.md, "Put out". Gossip brings what is said from now on; who comes later asks
for what was said before. Each warrant is judged like one that gossip brings, so holders can hide
one and make none up.
"""

from __future__ import annotations

from collections.abc import Iterator

from dms3.chain.agent import check_agent, decode_agent
from dms3.chain.messages import Fetch
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    RECALL_AGENTS_MAX,
    RECALL_US,
    RECALLS_KEPT_MAX,
    RECALLS_OPEN_MAX,
    VOICES_MAX,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.validation.hearing import Hearing
from dms3.validation.holders import Heard, Holders, Reach

_Key = tuple[OverlayId, bytes]


class Recalling:
    """People by app: who is to be looked up, and who was lately."""

    def __init__(self, desk: Desk, holders: Holders, hearing: Hearing) -> None:
        self._desk = desk
        self._holders = holders
        self._hearing = hearing
        self._open: dict[OverlayId, None] = {}
        self._line: dict[_Key, None] = {}
        self._recent: dict[_Key, int] = {}  # -> until when (monotonic) that is enough
        self._running: dict[_Key, int] = {}  # -> questions that are not answered yet

    def recall(self, overlay: OverlayId, root: bytes) -> None:
        """Look up who has warned of the agents of `root`, unless that was done lately."""
        key = (overlay, root)
        if self._recent.get(key, 0) > self._desk.now.mono_us or key in self._line:
            return
        if len(self._line) >= RECALLS_KEPT_MAX:
            del self._line[next(iter(self._line))]
        self._line[key] = None
        self._go_on()

    def open(self, overlay: OverlayId) -> None:
        """The app is judged from now on: who has come before is looked up."""
        self._open[overlay] = None
        self._go_on()

    def shut(self, overlay: OverlayId) -> None:
        """The app is judged no more."""
        self._open.pop(overlay, None)
        for table in (self._line, self._recent, self._running):
            for key in [key for key in table if key[0] == overlay]:
                del table[key]

    def _go_on(self) -> None:
        for key in [key for key in self._line if key[0] in self._open]:
            if len(self._running) >= RECALLS_OPEN_MAX:
                return
            del self._line[key]
            if len(self._recent) >= RECALLS_KEPT_MAX:
                del self._recent[next(iter(self._recent))]
            self._recent[key] = self._desk.now.mono_us + RECALL_US
            self._running[key] = 1
            self._fetch(key, Fetch("agents", key[1], RECALL_AGENTS_MAX))

    def _fetch(self, key: _Key, fetch: Fetch) -> None:
        reach = Reach(HOLDERS_MIN)
        self._holders.fetch(key[0], fetch, reach, lambda heard: self._heard(key, fetch, heard))

    def _heard(self, key: _Key, fetch: Fetch, heard: Heard) -> None:
        if key not in self._running:
            return  # the app was shut meanwhile
        if fetch.what == "agents":
            agents = sorted(set(_agents(key, heard)))[:RECALL_AGENTS_MAX]
            self._running[key] += len(agents)
            for agent in agents:
                self._fetch(key, Fetch("warrants", agent, VOICES_MAX))
        else:
            for answer in heard.answers:
                for told in answer.ops:
                    self._hearing.shown(key[0], told.op.signed, answer.peer)
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
            self._go_on()


def _agents(key: _Key, heard: Heard) -> Iterator[bytes]:
    """The agents that a person has certified, of what holders show."""
    overlay, root = key
    for answer in heard.answers:
        for told in answer.ops:
            try:
                found = decode_agent(told.op.signed.action.certificate)
            except DecodeError:
                continue
            if (found.dna, found.root) == (overlay, root) and check_agent(found):
                yield found.agent
