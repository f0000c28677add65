"""Routing tables on simulated disks, as nodes that have run for a while would find them.

Source: Kademlia (Maymounkov, Mazieres 2002), section 2.2: of each magnitude of distance at most k
random nodes. Rows are in the dht's own format (`dht.routing.warm_rows`), each object made once, so
that ten thousand tables fit in memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol

from dms3.core.codec import encode
from dms3.core.ids import OverlayId, PeerId
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES, PUBLIC, ContentType, location
from dms3.dht.holding import COUNTS, HELD, Counts, Place, Row, mark_of, prefix
from dms3.dht.presence import Verified, issue_presence, node_location
from dms3.dht.routing import TABLE, warm_rows
from dms3.libp2p.peer_id import NodeKey
from dms3.sim.disk import Disk
from dms3.sim.places import address_of
from dms3.sim.seeds import stream
from dms3.sim.world import WALL_START_US

MACHINE = "dht"
_BITS = 8 * LOCATION_BYTES


class Warmed(Protocol):
    """A node with a disk, of whatever world."""

    index: int
    key: NodeKey
    peer: PeerId
    disk: Disk


def warm(
    seed: int,
    nodes: Sequence[Warmed],
    verified: Verified,
    overlay: OverlayId = PUBLIC,
    newcomers: Sequence[Warmed] = (),
) -> None:
    """Let every node know k nodes of each magnitude of distance, and so all its neighbours.

    `seed`: of the run; `verified`: where nodes look for presences that were checked before;
    `newcomers`: with them, only these are told of `nodes`.
    """
    random = stream(seed, "tables")
    rows = []
    for node in nodes:
        presence = issue_presence(node.key, overlay, (address_of(node.index),), WALL_START_US)
        verified.open(presence, overlay, WALL_START_US)
        ((table, key, value),) = warm_rows(overlay, [(node.peer, presence)])
        rows.append((key, value))
    places = [int.from_bytes(node_location(node.peer), "big") for node in nodes]
    order = sorted(range(len(places)), key=places.__getitem__)
    ring = [places[index] for index in order]
    for node in newcomers or nodes:
        at = int.from_bytes(node_location(node.peer), "big")
        known = sorted(order[position] for position in known_to(at, ring, random))
        node.disk.fill(f"{MACHINE}/{table}", dict(rows[index] for index in known))


def warm_held(
    nodes: Sequence[Warmed],
    kind: ContentType,
    contents: Sequence[tuple[bytes, bytes]],
    holders: Sequence[Sequence[int]],
) -> None:
    """Let `holders` (indexes, for each of `contents`: key, value) hold them, of one slot each."""
    held: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
    size: defaultdict[int, int] = defaultdict(int)
    for (key, value), indexes in zip(contents, holders, strict=True):
        slot = kind.retention(key, value).slot
        place = Place(PUBLIC, kind, location(key), slot)
        until_us = WALL_START_US + kind.life_us
        row = encode(Row(1, key, len(value), until_us, mark_of(value), value))
        for index in indexes:
            held[index][place.key] = row
            size[index] += len(value)
    for index in sorted(held):
        disk, rows = nodes[index].disk, held[index]
        counts = encode(Counts(len(rows), size[index]))
        disk.fill(f"{MACHINE}/{HELD}", rows)
        disk.fill(f"{MACHINE}/{COUNTS}", {prefix(PUBLIC, kind): counts})


def known_by(node: Warmed, index_of: Mapping[PeerId, int]) -> list[int]:
    """The nodes in the table that lies on the disk of `node`, by index."""
    rows = node.disk.table(f"{MACHINE}/{TABLE}")
    return sorted(index_of[PeerId(key[LOCATION_BYTES:])] for key in rows)


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
