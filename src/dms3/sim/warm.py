"""Routing tables on simulated disks, as nodes that have run for a while would find them.

Source: Kademlia (Maymounkov, Mazieres 2002), section 2.2: of each magnitude of distance at most k
random nodes. Rows are in the dht's own format (`dht.routing.warm_rows`), each object made once, so
that ten thousand tables fit in memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from random import Random

from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES, PUBLIC
from dms3.dht.presence import Verified, issue_presence, node_location
from dms3.dht.routing import warm_rows
from dms3.sim.places import address_of
from dms3.sim.seeds import stream
from dms3.sim.world import WALL_START_US, World

MACHINE = "dht"
_BITS = 8 * LOCATION_BYTES


def warm(world: World, verified: Verified) -> None:
    """Let every node know k nodes of each magnitude of distance, and so all its neighbours.

    `verified`: where the nodes of this world look for presences that were checked before.
    """
    random = stream(world.seed, "tables")
    rows = []
    for node in world.nodes:
        presence = issue_presence(node.key, PUBLIC, (address_of(node.index),), WALL_START_US)
        verified.open(presence, PUBLIC, WALL_START_US)
        ((table, key, value),) = warm_rows(PUBLIC, [(node.peer, presence)])
        rows.append((key, value))
    places = [int.from_bytes(node_location(node.peer), "big") for node in world.nodes]
    order = sorted(range(len(places)), key=places.__getitem__)
    ring = [places[index] for index in order]
    for node, at in zip(world.nodes, places, strict=True):
        known = sorted(order[position] for position in known_to(at, ring, random))
        node.disk.fill(f"{MACHINE}/{table}", dict(rows[index] for index in known))


def known_to(at: int, ring: Sequence[int], random: Random) -> list[int]:
    """Positions in `ring` (sorted locations) of nodes that one at location `at` knows."""
    found: list[int] = []
    for magnitude in range(_BITS, 0, -1):
        low = (at >> (magnitude - 1) ^ 1) << (magnitude - 1)
        first, end = bisect_left(ring, low), bisect_left(ring, low + (1 << (magnitude - 1)))
        if end - first <= BUCKET_SIZE:
            found += range(first, end)
        else:
            found += random.sample(range(first, end), BUCKET_SIZE)
        mine = at >> (magnitude - 1) << (magnitude - 1)
        if bisect_left(ring, mine + (1 << (magnitude - 1))) - bisect_left(ring, mine) <= 1:
            break  # nobody is nearer
    return found
