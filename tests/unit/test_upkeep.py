"""Deletion made real while a node runs: paced, giving way, gone from the disk."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error
from dms3.core.machine import Called, Notify, Now, Persist, Reply
from dms3.io.clock import SystemEntropy
from dms3.io.packfile import decode_record, unseal_key
from dms3.io.packs import Packs, Swept
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node import upkeep as upkeep_module
from dms3.node.library import Library
from dms3.node.noting import Changed, Compacted, LastBackup, Noting
from dms3.node.upkeep import Upkeep, in_thread
from unit.test_library import FixedClock

LARGE = 90_000


class Kept:
    """A library with its upkeep; `told` is what machines were told."""

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        self.store = Store.open(home / "store.db", b"k" * 32, MIGRATIONS, reserve=0)
        self.packs = Packs(home / "packs", b"p" * 32, self.store, SystemEntropy(), reserve=0)
        self.pool = Pool(1)
        self.library = Library(self.store, self.packs, self.pool, FixedClock(), SystemEntropy())
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.upkeep = Upkeep(self.library, self.packs, self.tell)

    async def tell(self, _operation: str, told: Any) -> None:
        self.told.put_nowait(told)

    async def add(self, *paths: Path) -> None:
        async for _ in self.library.add([str(path) for path in paths]):
            pass

    async def passed(self) -> None:
        """Wait for the end of a pass that was under way or is asked for now."""
        self.upkeep.passed.clear()
        self.library.loosened.set()
        await self.upkeep.passed.wait()

    def records(self) -> Iterator[bytes]:
        """Every record of every pack that a row names, as it lies on the disk."""
        with self.store.read() as connection:
            rows = connection.execute(
                "SELECT block.cid, place, length, pack.name, pack.key FROM block "
                "JOIN pack ON pack.id = block.pack"
            ).fetchall()
        for cid, place, length, name, key in rows:
            path = self.packs._folder / f"{name.hex()}.pack"
            record = path.read_bytes()[place : place + length]
            yield decode_record(unseal_key(b"p" * 32, name, key), name, Cid(cid), record)


@contextlib.asynccontextmanager
async def kept(home: Path) -> AsyncIterator[Kept]:
    one = Kept(home)
    try:
        await one.library.start()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(one.upkeep.run())
            yield one
            running.cancel()
    finally:
        await one.pool.close()
        one.packs.close()
        one.store.close()


def write(folder: Path, count: int) -> list[Path]:
    draw = random.Random(5)
    folder.mkdir()
    paths = []
    for number in range(count):
        words = " ".join(f"word{draw.randrange(9_999)}" for _ in range(LARGE // 8))
        path = folder / f"large-{number}.txt"
        path.write_text(f"large number{number}\n{words}\n")
        paths.append(path)
    return paths


def test_removed_bytes_leave_the_disk_while_others_are_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            paths = write(tmp_path / "docs", 8)
            await one.add(*paths)
            rows = {row.name: row for row in (await one.library.documents()).documents}
            (before,) = (tmp_path / "home" / "packs").iterdir()
            lying = before.read_bytes()
            reading = one.library.get(rows["large-7.txt"].cid)  # opened before, read after
            for path in paths[:5]:
                assert await one.library.remove(rows[path.name].cid) == 1
            told = await one.told.get()
            while told.packs == 0:
                told = await one.told.get()
            assert isinstance(told, Compacted)
            (after,) = (tmp_path / "home" / "packs").iterdir()
            assert after != before
            new = after.read_bytes()
            left = list(one.records())
            assert sorted(left) == sorted(path.read_bytes() for path in paths[5:])
            assert after.stat().st_size < len(lying) / 2
            for start in range(8, len(lying) - 64, 4_096):  # no piece of the old file is there
                assert lying[start : start + 64] not in new
            assert b"".join([piece async for piece in reading]) == paths[7].read_bytes()
            await one.passed()
            figures = one.upkeep.figures
            assert (figures.packs, figures.dead_bytes) == (1, 0)
            assert figures.pack_bytes == after.stat().st_size
            assert figures.removed.packs == 1

    asyncio.run(scenario())


def test_a_pass_that_fails_is_noted_and_the_next_one_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            (path,) = write(tmp_path / "docs", 1)
            await one.add(path)
            (row,) = (await one.library.documents()).documents
            tries = []

            def fails(_: Packs, referenced: str) -> Iterator[Swept]:
                tries.append(referenced)
                raise Dms3Error("node_busy", "1024 changes wait already.")

            with monkeypatch.context() as patch:
                patch.setattr(Packs, "sweeping", fails)
                while not tries:  # the pass that was under way has ended
                    await one.passed()
                assert await one.library.remove(row.cid) == 1
                await one.passed()
            assert one.upkeep.figures.problem == "1024 changes wait already."
            assert one.told.empty()
            one.library.loosened.set()
            told = await one.told.get()
            assert told == Compacted(blocks=0, bytes=0, packs=1, moved=0)
            assert one.upkeep.removed == Swept(1, len(path.read_bytes()), 1)

    asyncio.run(scenario())


def test_upkeep_gives_way_to_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step of one second it rests for one; for nine while something is imported."""
    clock = iter(range(1_000))
    monkeypatch.setattr(upkeep_module.time, "perf_counter", lambda: next(clock))
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def scenario(*, importing: bool) -> set[float]:
        one = Kept(tmp_path / f"home-{importing}")
        rests.clear()
        monkeypatch.setattr(Library, "importing", property(lambda _: importing))
        monkeypatch.setattr(upkeep_module.asyncio, "sleep", rest)
        await one.upkeep._pass()
        monkeypatch.undo()
        await one.pool.close()
        one.packs.close()
        one.store.close()
        return set(rests)

    assert asyncio.run(scenario(importing=False)) == {1}
    clock = iter(range(1_000))
    monkeypatch.setattr(upkeep_module.time, "perf_counter", lambda: next(clock))
    assert asyncio.run(scenario(importing=True)) == {9}


def test_who_is_cancelled_waits_for_the_step_under_way() -> None:
    async def scenario() -> list[str]:
        order: list[str] = []
        begun, go_on = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go_on.wait()
            order.append("worked")

        async def asks() -> None:
            try:
                await in_thread(work)
            finally:
                order.append("left")

        async with asyncio.TaskGroup() as group:
            task = group.create_task(asks())
            await asyncio.to_thread(begun.wait)
            task.cancel()
            await asyncio.sleep(0)
            assert order == []
            go_on.set()
        return order

    assert asyncio.run(scenario()) == ["worked", "left"]


def test_what_is_noted_is_told_and_the_last_backup_is_kept() -> None:
    class Empty:
        def __init__(self) -> None:
            self.rows: dict[tuple[str, bytes], bytes] = {}

        def get(self, table: str, key: bytes) -> bytes | None:
            return self.rows.get((table, key))

        def range(self, _table: str, _start: bytes, _limit: int) -> list[tuple[bytes, bytes]]:
            return []

    view, now = Empty(), Now(1, 2)
    machine = Noting()
    assert machine.on_start(view, now) == []
    last = LastBackup(1, 2, "/backups", 3, 4)
    kept_row, told, reply = machine.on_event(Called("backed_up", last, 7), now)
    assert isinstance(kept_row, Persist)
    assert isinstance(told, Notify)
    assert told.topic == "store.backed_up"
    assert isinstance(reply, Reply)
    view.rows[kept_row.table, kept_row.key] = kept_row.value
    again = Noting()
    again.on_start(view, now)
    assert again.on_event(Called("last", None, 8), now) == [Reply(8, last)]
    for what in ("added", "removed"):
        changed, done = again.on_event(Called("changed", Changed(what, "letters", 3), 10), now)
        assert changed == Notify(f"store.{what}", {"space": "letters", "documents": 3})
        assert done == Reply(10, None)
    (refused,) = again.on_event(Called("nothing", None, 9), now)
    assert isinstance(refused, Reply)
    assert refused.body.code == "method_unknown"
