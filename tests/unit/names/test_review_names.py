"""What somebody outside can do to machine names: found by attacking it."""

from __future__ import annotations

from dms3.core.errors import Failure
from dms3.core.limits import NAMES_LOOKUPS_MAX
from dms3.core.machine import Answered
from dms3.dm3.lookup import Resolve
from unit.names.names_kit import World

_CROWD = 600


def test_a_crowd_of_known_names_behind_slow_ones_ends_nothing() -> None:
    """A hostile service names slow senders, then hundreds known already: once a RecursionError."""
    world = World()
    world.ports["ethereum.name"] = lambda _: Failure("not_found", "nobody")
    for number in range(_CROWD):
        world.resolve(f"known{number}.eth")
    world.held_back = []
    for number in range(NAMES_LOOKUPS_MAX):
        world.ask("resolve", Resolve(f"slow{number}.eth"))
    waiting = [world.ask("resolve", Resolve(f"known{number}.eth")) for number in range(_CROWD)]
    assert not any(request in world.replies for request in waiting)
    world.event(Answered(world.held_back[0].token, Failure("not_found", "nobody")))
    assert all(isinstance(world.replies[request], Failure) for request in waiting)
