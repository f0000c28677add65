"""What a validated write and its read cost in a store that holds many ops already.

The store is filled between two runs of the node, with copies of one action's rows under other keys:
as large as real ones, in the same tables, below the same prefix.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from chain_nodes import spent
from nodes import Running

from dms3.core.database import Connection
from dms3.io.clock import SystemEntropy
from dms3.io.keyfile import KeyFile
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.home import Home

OPS_OF_ONE = 3  # record, entry, activity
ROUNDS, LOOPS = 5, 20
PAUSE_SECONDS, REST_SECONDS_MAX = 0.5, 60.0
TABLES = {"actions": 1, "entries": 1, "ops": OPS_OF_ONE, "index": OPS_OF_ONE - 1}
_COPY = """
WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < ?)
INSERT INTO state (tbl, key, value)
SELECT one.tbl,
       CAST(substr(one.key, 1, 33) || randomblob(length(one.key) - 34) || substr(one.key, -1)
            AS BLOB),
       one.value
FROM number CROSS JOIN (SELECT tbl, key, value FROM state WHERE tbl = ? LIMIT ?) AS one
"""

Start = Callable[[], AbstractContextManager[Running]]
Loop = Callable[[Running, int], None]
"""Writes and reads back so many."""


def costs(home: Path, sizes: tuple[int, ...], start: Start, loop: Loop) -> list[tuple[int, float]]:
    """(ops that are held, milliseconds of processor of a write with its read), by size."""
    found = []
    held = 0
    for size in sizes:
        fill(home, max(0, size - held))
        held = size
        with start() as running:
            loop(running, LOOPS)
            rest(running)
            found.append((size, 1_000 * statistics.median(rounds(running, loop)) / LOOPS))
    return found


def rest(running: Running) -> None:
    """Wait until the node has made from its rows what it keeps in memory, and has nothing to do."""
    for _ in range(int(REST_SECONDS_MAX / PAUSE_SECONDS)):
        before = spent(running.process.pid).total
        time.sleep(PAUSE_SECONDS)
        if spent(running.process.pid).total - before < PAUSE_SECONDS / 10:
            return


def rounds(running: Running, loop: Loop) -> list[float]:
    """Seconds of processor of LOOPS, a few times."""
    times = []
    for _ in range(ROUNDS):
        before = spent(running.process.pid).total
        loop(running, LOOPS)
        times.append(spent(running.process.pid).total - before)
        time.sleep(0.1)
    return times


def fill(home: Path, ops: int) -> None:
    """Put about `ops` more into the store of a node that does not run."""
    where = Home(home)
    store = Store.open(where.database, KeyFile(where.key, SystemEntropy()).open(), MIGRATIONS)

    def copy(connection: Connection) -> None:
        for table, of_one in TABLES.items():
            connection.execute(_COPY, (ops // OPS_OF_ONE, f"validation/{table}", of_one))

    try:
        store.transact(copy).result()
    finally:
        store.close()
