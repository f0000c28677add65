"""Scenario "lookup": notes are put on their neighbourhoods and got from random nodes.

Source: docs/simulator.md, "The scenarios of the overlay". Everything that was put is found; nothing
but distance stands in the way, unless a test takes nodes away or makes them lie.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.limits import SECOND_US
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.scenarios.notes import Note, new_note
from dms3.sim.scenarios.overlay import OverlayScenario
from dms3.sim.seeds import stream
from dms3.sim.world import World

NOTES_MAX = 200
GETS_MAX = 2_000
HOPS_MEAN_MAX = 4
SETTLING_US = 5 * SECOND_US  # what a put may still take after its time


class LookupScenario(OverlayScenario):
    """The first quarter of the time is for joining, the second for puts, the rest for gets.

    `gets_per_node`: up to GETS_MAX in all; `found_min`: the fraction of gets that must find;
    `placed_min`: that of puts that must have found another holder (others are not asked for).
    """

    name = "lookup"
    gets_per_node = 10

    def __init__(self, *, found_min: float = 1.0, placed_min: float = 1.0) -> None:
        super().__init__()
        self._found_min = found_min
        self._placed_min = placed_min

    def checkers(self) -> Sequence[Checker]:
        """Everything is found."""
        return [_AllFound(self, self._found_min, self._placed_min)]

    def begin(self, world: World, until_us: int) -> None:
        """Spread puts and gets over their time."""
        random = stream(world.seed, "work")
        count = len(world.nodes)
        notes = [new_note(random) for _ in range(min(NOTES_MAX, max(20, count // 2)))]
        quarter = until_us // 4
        settled = 2 * quarter + min(quarter, SETTLING_US)
        for note in notes:
            at = quarter + random.randrange(quarter)
            world.at(at, self._put, note, random.randrange(count))
        for number in range(min(GETS_MAX, self.gets_per_node * count)):
            at = settled + random.randrange(max(1, until_us - settled))
            world.at(at, self._get, random.choice(notes), number, random.randrange(count))

    def _put(self, note: Note, index: int) -> None:
        self.put(self.running_from(index), note)

    def _get(self, note: Note, number: int, index: int) -> None:
        if note.placed_us is not None:
            self.get(self.running_from(index), note, number)


class _AllFound(Checker):
    """Looks at the tally at the end."""

    def __init__(self, scenario: LookupScenario, found_min: float, placed_min: float) -> None:
        self._scenario = scenario
        self._found_min = found_min
        self._placed_min = placed_min

    def quiet(self, world: World) -> None:
        """Enough of the gets have found, and not by a long way."""
        del world
        tally = self._scenario.tally
        if tally.placed < self._placed_min * tally.puts:
            raise ViolationError(
                f"{tally.puts - tally.placed} of {tally.puts} puts found no holder"
            )
        if not tally.gets or tally.found < self._found_min * tally.gets:
            raise ViolationError(f"{tally.found} of {tally.gets} gets found their note")
        if sum(tally.hops) > HOPS_MEAN_MAX * len(tally.hops):
            raise ViolationError(f"more than {HOPS_MEAN_MAX} hops on average")
