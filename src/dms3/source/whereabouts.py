"""Whereabouts: saying at which node own agents can be asked, and finding where others are.

Source: docs/chains.md, "Asking an agent"; `chain/whereabouts.py` has the content type. Each app
whose chain this device writes hears of it anew before the last word ends. What was found is
remembered for a while (bounded). Does not ask the agents: see `agents.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from dms3.chain.whereabouts import (
    NAME,
    decode_whereabouts,
    issue_whereabouts,
    whereabouts_key,
)
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, short
from dms3.core.limits import (
    SECOND_US,
    WHEREABOUTS_AGAIN_US_MAX,
    WHEREABOUTS_AGAIN_US_MIN,
    WHEREABOUTS_KEPT_MAX,
    WHEREABOUTS_LIFE_US,
)
from dms3.core.overlay import GetContent, Got, NodeAt, Placed, PutContent
from dms3.source.chains import Chain
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.parts import Part

_ALARM = "whereabouts:"
_SOON_US = SECOND_US // 100


class Whereabouts(Part):
    """Own announcements, and a memory of where others are."""

    def __init__(self, grounds: Grounds) -> None:
        self._desk = grounds.desk
        self._flows = grounds.flows
        self._chains = grounds.chains
        self._peer = grounds.own.peer
        self._addresses: tuple[str, ...] = ()
        self._running: set[OverlayId] = set()
        self._pauses: dict[OverlayId, int] = {}  # of those that too few nodes know of
        self._found: dict[tuple[OverlayId, bytes], tuple[int, NodeAt]] = {}

    def operations(self) -> Mapping[str, Operation]:
        """listening: tuple of multiaddrs as text, where this node can be reached."""
        return {"listening": self._listening}

    def peer_up(self, peer: PeerId) -> None:
        """Somebody who may hold what too few do."""
        del peer
        for overlay in self._pauses:
            self._later(overlay, SECOND_US)

    def clock_jumped(self) -> None:
        """What was said may be out of date."""
        self._announce_all()

    def taken_up(self, chain: Chain) -> None:
        """An app runs, or its chain has another key: say where its agent is."""
        self._running.add(chain.overlay)
        self._later(chain.overlay, _SOON_US)

    def ended(self, overlay: OverlayId) -> None:
        """Say no more; what was said ends by itself."""
        self._running.discard(overlay)
        self._pauses.pop(overlay, None)
        self._desk.no_alarm(_ALARM + overlay.hex())

    # Finding

    def find(self, overlay: OverlayId, agent: bytes, patience_us: int) -> Flow[NodeAt]:
        """The node at which `agent` can be asked; raises `peer_unreachable`.

        What is remembered may be out of date: `forget` it when the node does not answer.
        """
        until_us, node = self._found.get((overlay, agent), (0, None))
        if node is not None and until_us > self._desk.now.wall_us:
            return node
        wanted = GetContent(overlay, NAME, whereabouts_key(overlay, agent), b"", patience_us)
        got: Got = answer_or_raise((yield Ask("dht.get", wanted)))
        words = [decode_whereabouts(value) for value in got.values]
        if not words:
            raise Dms3Error(
                "peer_unreachable",
                f"No node says that it is the one of agent {short(agent)}.",
                hint="It is asked again when that node is on.",
            )
        word = max(words, key=lambda each: each.since_us)
        node = NodeAt(PeerId(word.peer), word.addresses)
        self._found.pop((overlay, agent), None)
        if len(self._found) >= WHEREABOUTS_KEPT_MAX:
            del self._found[next(iter(self._found))]
        self._found[overlay, agent] = (word.until_us, node)
        return node

    def knows(self, overlay: OverlayId, agent: bytes) -> bool:
        """Whether `find` would answer from memory."""
        return (overlay, agent) in self._found

    def forget(self, overlay: OverlayId, agent: bytes) -> None:
        """The agent is not where it was."""
        self._found.pop((overlay, agent), None)

    # Announcing

    def _listening(self, addresses: tuple[str, ...], request: RequestId) -> None:
        if addresses != self._addresses:
            self._addresses = addresses
            self._announce_all()
        self._desk.reply(request, None)

    def _announce_all(self) -> None:
        """One after the other: a start with many apps is no burst of lookups."""
        for number, overlay in enumerate(sorted(self._running)):
            self._later(overlay, (1 + number) * _SOON_US)

    def _later(self, overlay: OverlayId, wait_us: int) -> None:
        self._desk.after(_ALARM + overlay.hex(), wait_us, lambda: self._announce(overlay))

    def _announce(self, overlay: OverlayId) -> None:
        chain = self._chains.find(overlay)
        if chain is not None and overlay in self._running and chain.row.standing != "closed":
            self._flows.start(self._put(chain), lambda answer: self._placed(overlay, answer))

    def _put(self, chain: Chain) -> Flow[Placed]:
        wall_us = self._desk.now.wall_us
        content = issue_whereabouts(
            chain.signing, chain.overlay, self._peer, self._addresses, wall_us
        )
        placed: Placed = answer_or_raise(
            (yield Ask("dht.put", PutContent(chain.overlay, (content,))))
        )
        return placed

    def _placed(self, overlay: OverlayId, answer: Placed | Failure) -> None:
        if overlay not in self._running:
            return
        if isinstance(answer, Placed) and answer.holders[0] >= answer.wanted > 1:
            self._pauses.pop(overlay, None)
            self._later(overlay, WHEREABOUTS_LIFE_US // 3)
            return
        pause = self._pauses.get(overlay, WHEREABOUTS_AGAIN_US_MIN)
        self._pauses[overlay] = min(2 * pause, WHEREABOUTS_AGAIN_US_MAX)
        self._later(overlay, pause)
