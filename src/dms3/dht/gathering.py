"""The values that a lookup gathers: validated, merged by slot, until enough holders were heard.

Source: docs/architecture.md, "Overlays"; `core/overlay.py`, ContentType. What the type refuses
speaks against its sender; what cannot be judged is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.ids import PeerId
from dms3.core.limits import DHT_ANSWER_BYTES_MAX, DHT_VALUES_MAX
from dms3.core.overlay import HOLDERS_MIN, ContentType, NodeAt
from dms3.core.verdict import Invalid, Valid
from dms3.dht.lookup import Nearest
from dms3.dht.messages import Get

HOLDERS_HEARD = 3  # holders with values whose slots are joined; one may be behind, hardly three
CONTESTED_HEARD = 5  # of HOLDERS_MIN: a false value has to lie with most of them


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a lookup for values ended.

    `values`: (slot, valid value) in order of slot, contested ones of most holders first; `more`:
    the slot behind which a holder has further ones, else None; `hops`: depth of the node that gave
    the first. `nearest`: as of any lookup. `without`: those of the HOLDERS_MIN nearest that
    answered and hold nothing there.
    `holders`: of each value of a contested type.
    """

    values: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    more: bytes | None
    hops: int
    nearest: Nearest
    without: tuple[NodeAt, ...]
    holders: tuple[int, ...] = ()


class Gathering:
    """The values of type `kind` that `get` asks for."""

    def __init__(self, kind: ContentType, get: Get) -> None:
        self._kind = kind
        self.get = get
        self._values: dict[bytes, bytes] = {}
        self._cuts: list[bytes] = []  # last slots of holders that have more
        self._hops = 0
        self._with: dict[PeerId, None] = {}
        self._rivals: list[tuple[int, bytes]] = []  # how many holders have it; of a contested type

    def take(
        self, peer: PeerId, depth: int, values: tuple[bytes, ...], *, more: bool, wall_us: int
    ) -> bool:
        """The values of a holder at `depth`; False when one of them is a lie."""
        taken: dict[bytes, bytes] = {}
        for value in values:
            if len(value) > self._kind.value_bytes_max:
                return False
            verdict = self._kind.validate(self.get.key, value, wall_us)
            if isinstance(verdict, Invalid):
                return False
            kept = self._kind.retention(self.get.key, value)
            over = kept.until_us is not None and kept.until_us <= wall_us
            if isinstance(verdict, Valid) and not over and kept.slot >= self.get.after:
                taken[kept.slot] = value
        if self.get.after:
            taken.pop(self.get.after, None)
        if not taken:
            return True
        self._join(taken, depth)
        self._with[peer] = None
        if more and self._is_full(values):
            self._cuts.append(max(taken))
        return True

    @property
    def enough(self) -> bool:
        """Whether no further holder needs to be heard."""
        wanted = 1 if self._kind.slots_max == 1 else HOLDERS_HEARD
        wanted = CONTESTED_HEARD if self._kind.contested else wanted
        return len(self._with) >= wanted

    def result(self, nearest: Nearest) -> Fetched:
        """What was gathered by a lookup that ended with `nearest`."""
        if self._kind.contested:
            return self._weighed(nearest)
        cut = min(self._cuts, default=None)
        values = sorted(self._values.items())
        kept = tuple(pair for pair in values if cut is None or pair[0] <= cut)
        near = nearest.nodes[:HOLDERS_MIN]
        without = tuple(node for node in near if node.peer not in self._with)
        return Fetched(kept, cut, self._hops, nearest, without)

    def _join(self, taken: dict[bytes, bytes], depth: int) -> None:
        if not self._with:
            self._hops = depth
        if self._kind.contested:
            self._weigh(min(taken.values()))
            return
        for slot, value in sorted(taken.items()):
            held = self._values.get(slot)
            if held is not None:
                self._values[slot] = self._kind.merge(held, value)
            elif len(self._values) < self._kind.slots_max:
                self._values[slot] = value

    def _weigh(self, value: bytes) -> None:
        """Count what one holder has. Two values of one owner merge alike in either order."""
        merge = self._kind.merge
        for number, (holders, known) in enumerate(self._rivals):
            merged = merge(known, value)
            if merged == merge(value, known):
                self._rivals[number] = (holders + 1, merged)
                return
        self._rivals.append((1, value))

    def _weighed(self, nearest: Nearest) -> Fetched:
        """Rivals, most holders first; where there are several, none of them is spread further."""
        rivals = sorted(self._rivals, key=lambda one: (-one[0], one[1]))
        near = nearest.nodes[:HOLDERS_MIN] if len(rivals) == 1 else ()
        without = tuple(node for node in near if node.peer not in self._with)
        values = tuple((b"", value) for _, value in rivals)
        holders = tuple(count for count, _ in rivals)
        return Fetched(values, None, self._hops, nearest, without, holders)

    def _is_full(self, values: tuple[bytes, ...]) -> bool:
        """Whether another value might not have fitted: else there is no reason to ask again."""
        size = sum(map(len, values))
        if len(values) >= DHT_VALUES_MAX:
            return True
        return size + self._kind.value_bytes_max > DHT_ANSWER_BYTES_MAX
