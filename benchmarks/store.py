"""Speed of the store, each figure beside the plain write and fsync of the same bytes in one run.

    python benchmarks/store.py [FOLDER]

FOLDER lies on the disk to be measured; the default is the folder for temporary files.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dms3.core.cid import RAW, Cid
from dms3.core.machine import Persist
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store

ROUNDS = 3
COMMITS = 200
SMALL, SMALL_COUNT, SMALL_GROUP = 1_024, 10_000, 1_000
LARGE, LARGE_COUNT, LARGE_GROUP = 262_144, 256, 32
Block = tuple[Cid, bytes]


def blocks(size: int, count: int) -> list[Block]:
    return [(Cid.of(RAW, data), data) for data in (os.urandom(size) for _ in range(count))]


def groups(items: list[Block], size: int) -> Iterator[list[Block]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_plainly(path: Path, items: list[Block], group: int) -> None:
    with path.open("wb", buffering=0) as file:
        for some in groups(items, group):
            for _, data in some:
                file.write(data)
            os.fsync(file.fileno())


def put(store: Store, packs: Packs, items: list[Block], group: int) -> None:
    for some in groups(items, group):
        staged = packs.stage(some)
        packs.sync()
        store.transact(lambda connection, staged=staged: packs.attach(connection, staged)).result()


def commits(store: Store, folder: Path) -> None:
    def commit(number: int) -> None:
        store.commit([Persist("bench", b"%d" % number, bytes(200))], []).result()

    with (folder / "plain").open("wb", buffering=0) as file:

        def write(_: int) -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        ours, floor = [], []
        for number in range(COMMITS):  # side by side, so that both meet the same disk
            ours.append(seconds(lambda number=number: commit(number)))
            floor.append(seconds(lambda: write(0)))
    mine, plain = statistics.median(ours) * 1000, statistics.median(floor) * 1000
    worst = sorted(ours)[int(COMMITS * 0.99)] * 1000
    print(
        f"durable commit of one value: p50 {mine:.2f} ms, p99 {worst:.2f} ms; "
        f"4 KiB write+fsync p50 {plain:.2f} ms; ratio {mine / plain:.2f}"
    )


def measure(store: Store, packs: Packs, folder: Path) -> None:
    small, large = blocks(SMALL, SMALL_COUNT), blocks(LARGE, LARGE_COUNT)
    plain = seconds(lambda: write_plainly(folder / "plain", small, SMALL_GROUP))
    ours = seconds(lambda: put(store, packs, small, SMALL_GROUP))
    print(
        f"blocks of 1 KiB, groups of {SMALL_GROUP}: {SMALL_COUNT / ours:,.0f} put/s; "
        f"plain {SMALL_COUNT / plain:,.0f}; ratio {plain / ours:.2f}"
    )
    got = seconds(lambda: [packs.get(cid) for cid, _ in small[:2_000]])
    print(f"blocks of 1 KiB: {2_000 / got:,.0f} get/s")
    mib = LARGE * LARGE_COUNT / 2**20
    plain = seconds(lambda: write_plainly(folder / "plain", large, LARGE_GROUP))
    ours = seconds(lambda: put(store, packs, large, LARGE_GROUP))
    got = seconds(lambda: [packs.get(cid) for cid, _ in large])
    print(
        f"blocks of 256 KiB, stage+sync+attach, groups of {LARGE_GROUP}: {mib / ours:,.0f} MiB/s; "
        f"plain write+fsync {mib / plain:,.0f}; ratio {plain / ours:.2f}"
    )
    print(f"blocks of 256 KiB: get {mib / got:,.0f} MiB/s")


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    key = os.urandom(32)
    store = Store.open(folder / "store.db", key, MIGRATIONS)
    packs = Packs(folder / "packs", key, store, SystemEntropy())
    try:
        for number in range(ROUNDS):
            print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}")
            commits(store, folder)
            measure(store, packs, folder)
    finally:
        packs.close()
        store.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
