"""A process killed in mid-write, again and again: nothing it had confirmed is lost."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from dms3.core.cid import Cid
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store

KEY = bytes(range(32))
MARKER = b"the quick brown marker sentence nobody may read "

MISSING = "SELECT count(*) FROM state WHERE tbl = 'name' AND key NOT IN (SELECT cid FROM block)"

# Three threads add blocks of all sizes with a state row that names each (as the document service
# does), one commits numbered events (as the driver does), one sweeps; what is durable is printed.
WRITER = """
import pathlib, random, sys, threading
from dms3.core.cid import RAW, Cid
from dms3.core.database import StoredEvent
from dms3.core.machine import Persist
from dms3.io import packfile
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store

packfile.PACK_BYTES_MAX = 1 << 20
folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
marker = sys.argv[3].encode()
store = Store.open(folder / "store.db", bytes(range(32)), MIGRATIONS, reserve=0)
packs = Packs(folder / "packs", bytes(range(32)), store, SystemEntropy(), reserve=0)
out = threading.Lock()

def say(text):
    with out:
        print(text, flush=True)

def import_blocks(thread):
    rng = random.Random(seed * 10 + thread)
    while True:
        blocks = []
        for _ in range(rng.randint(1, 5)):
            size = rng.choice([100, 3000, 70_000, 262_144])
            data = (rng.randbytes(16) + marker * (size // len(marker) + 1))[:size]
            blocks.append((Cid.of(RAW, data), data))
        staged = packs.stage(blocks)
        packs.sync()
        def work(connection):
            packs.attach(connection, staged)
            connection.executemany(
                "INSERT INTO state (tbl, key, value) VALUES ('name', ?, x'')",
                [(cid.binary,) for cid, _ in blocks],
            )
        store.transact(work).result()
        say("block " + " ".join(str(cid) for cid, _ in blocks))
        if rng.random() < 0.7:  # most are removed again, so that the sweep rewrites packs
            say("gone " + " ".join(str(cid) for cid, _ in blocks))
            store.transact(
                lambda c: c.executemany(
                    "DELETE FROM state WHERE tbl = 'name' AND key = ?",
                    [(cid.binary,) for cid, _ in blocks],
                )
            ).result()

def commit_events():
    number = store.last_event()
    while True:
        number += 1
        write = Persist("driver", b"last", number.to_bytes(8, "big"))
        store.commit([write], [StoredEvent(number, "tick", {"n": number}, number)]).result()
        say(f"event {number}")

def sweep():
    while True:
        packs.sweep("SELECT key FROM state WHERE tbl = 'name'")

for number in range(3):
    threading.Thread(target=import_blocks, args=(number,), daemon=True).start()
threading.Thread(target=commit_events, daemon=True).start()
threading.Thread(target=sweep, daemon=True).start()
threading.Event().wait()
"""


def run_and_kill(folder: Path, seed: int, lines: int) -> list[str]:
    """What the writer said until it was killed, some time after `lines` lines."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(seed), MARKER.decode()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(lines)]
    writer.kill()
    rest = writer.stdout.read()  # what it could still say before it was gone
    writer.stdout.close()
    assert writer.wait() == -9
    return [line for line in [*said, *rest.splitlines(keepends=True)] if line.endswith("\n")]


def check(folder: Path, confirmed: set[str], last_event: int) -> None:
    """Everything confirmed is there, everything there is whole, nothing is left over."""
    for path in sorted(folder.rglob("*")):
        assert not path.is_file() or MARKER not in path.read_bytes(), path
    store = Store.open(folder / "store.db", KEY, MIGRATIONS, reserve=0)
    packs = Packs(folder / "packs", KEY, store, SystemEntropy(), reserve=0)
    assert store.check() == []
    assert list(packs.verify()) == []
    assert [text for text in sorted(confirmed) if not packs.has(Cid.parse(text))] == []
    with store.read() as connection:
        missing = connection.execute(MISSING).fetchone()
    assert missing == (0,)  # one transaction: the block and its name, or none of them
    last = store.last_event()
    assert last >= last_event
    kept = store.events(0, 100_000)
    assert [event.id for event in kept] == list(range(last - len(kept) + 1, last + 1))
    assert store.view().get("driver", b"last") == (last.to_bytes(8, "big") if last else None)
    packs.sweep("SELECT key FROM state WHERE tbl = 'name'")
    assert all(use.dead_bytes <= use.bytes / 2 for use in packs.use())
    assert list(packs.verify()) == []
    packs.close()
    store.close()


def campaign(folder: Path, rounds: int, seed: int) -> int:
    """Kill `rounds` times on one home; the number of blocks confirmed."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    confirmed: set[str] = set()
    last_event = count = 0
    for number in range(rounds):
        for line in run_and_kill(folder, seed + number, chance.randint(1, 60)):
            kind, *values = line.split()
            if kind == "block":
                confirmed.update(values)
                count += len(values)
            elif kind == "gone":
                confirmed.difference_update(values)  # its removal may have happened
            else:
                last_event = int(values[0])
        check(folder, confirmed, last_event)
    return count


def test_nothing_confirmed_is_lost_by_kill_9(tmp_path: Path) -> None:
    assert campaign(tmp_path, rounds=4, seed=1) > 10


@pytest.mark.long
def test_nothing_confirmed_is_lost_by_fifty_kills(tmp_path: Path) -> None:
    assert campaign(tmp_path, rounds=50, seed=1000) > 500
