"""What it costs to be the nearest to a key, and whom a routing table admits of one network.

Source: docs/attacks.md, "Somebody in the public overlay". Ids are drawn here and not used;
`eclipse_siege.py` uses such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dms3.core.limits import ID_WORK_BITS, NEIGHBOURS_MAX
from dms3.core.overlay import HOLDERS_MIN, PUBLIC
from dms3.dht.presence import Verified, issue_presence
from dms3.dht.routing import Table
from dms3.sim.bare import BareWorld
from dms3.sim.seeds import stream
from dms3.sim.world import WALL_START_US

PREFIX = "/ip4/8.8.4.{}/tcp/4001"  # one network that somebody has rented


def cost(seed: int, target: int, honest: Sequence[int]) -> dict[str, int]:
    """How many ids are drawn until so many lie nearer to `target` than every honest node.

    Work is asked of each id besides: one of 2**ID_WORK_BITS has it, wherever it lies.
    """
    random = stream(seed, "ids")
    nearest = min(place ^ target for place in honest)
    near = drawn = 0
    figures: dict[str, int] = {"id_work": 1 << ID_WORK_BITS}
    while near < NEIGHBOURS_MAX:
        drawn += 1
        near += random.getrandbits(256) ^ target < nearest
        for name, count in (("q_min", HOLDERS_MIN), ("all", NEIGHBOURS_MAX)):
            if near == count and f"ids_{name}" not in figures:
                figures[f"ids_{name}"] = count
                figures[f"drawn_{name}"] = drawn
                figures[f"keys_{name}"] = drawn << ID_WORK_BITS
    return figures


def admitted(world: BareWorld) -> dict[str, int]:
    """How many of the world's nodes a routing table takes when one rented network has them all.

    Without the work, and as if each id had cost it.
    """
    own, *others = world.nodes
    taken = {}
    for name, work in (("without_work", ID_WORK_BITS - 1), ("with_work", ID_WORK_BITS)):
        table, verified = Table(own.peer, PUBLIC), Verified()
        for number, node in enumerate(others):
            address = PREFIX.format(number % 250 + 1)
            presence = issue_presence(node.key, PUBLIC, (address,), WALL_START_US)
            proven = verified.remembered(presence)
            table.seen(replace(proven, work=work), address, 0)
        taken[f"admitted_{name}"] = len(table)
    return taken
