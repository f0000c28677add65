"""Worker processes: results, errors, crashes, bounds, and that none outlives its parent."""

from __future__ import annotations

import asyncio
import math
import operator
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.varint import decode_varint
from dms3.io.pool import Pool, default_workers


def with_pool(use, workers: int | None = None, jobs: int = 64, seconds: float = 60) -> object:
    async def main() -> object:
        pool = Pool(workers, jobs=jobs, seconds=seconds)
        try:
            return await use(pool)
        finally:
            await pool.close()
            assert all(worker is None or not worker.alive for worker in list(pool._idle.queue))

    return asyncio.run(main())


def gone(process: int) -> bool:
    """Whether the process has ended; waits, at most 10 s, for the kernel to say so."""
    try:
        number = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(number)
    ended = bool(poll.poll(10_000))
    os.close(number)
    return ended


def test_results_come_from_other_processes() -> None:
    async def use(pool: Pool) -> None:
        assert await pool.run(math.sqrt, 4.0) == 2.0
        assert await pool.run(operator.add, b"a" * 300_000, b"b") == b"a" * 300_000 + b"b"
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.run(os.getpid)) for _ in range(20)]
        processes = {task.result() for task in tasks}
        assert os.getpid() not in processes
        assert 1 <= len(processes) <= 2
        assert pool._running == []

    with_pool(use, workers=2)


def test_nothing_starts_before_the_first_job() -> None:
    async def use(pool: Pool) -> None:
        assert list(pool._idle.queue) == [None] * default_workers()

    with_pool(use)
    assert 2 <= default_workers() <= 8


def test_errors_arrive_as_they_were_and_without_content() -> None:
    async def use(pool: Pool) -> None:
        with pytest.raises(DecodeError) as undecodable:
            await pool.run(decode_varint, b"\x80\x80")
        assert (undecodable.value.offset, undecodable.value.code) == (2, "decode_failed")
        with pytest.raises(DecodeError):
            await pool.run(Cid.parse, "nonsense")
        with pytest.raises(Dms3Error) as other:
            await pool.run(int, "the secret text of a document")
        assert other.value.code == "internal"
        assert "ValueError" in other.value.message
        assert "secret" not in str(other.value)
        with pytest.raises(Dms3Error) as unpicklable:
            await pool.run(open, "/dev/null")
        assert unpicklable.value.code == "internal"
        assert await pool.run(math.sqrt, 4.0) == 2.0

    with_pool(use, workers=1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_crash_costs_one_job_and_the_pool_recovers(number: int) -> None:
    async def use(pool: Pool) -> None:
        before = await pool.run(os.getpid)
        with pytest.raises(Dms3Error) as caught:
            await pool.run(signal.raise_signal, number)
        assert caught.value.code == "content_invalid"
        assert gone(before)
        assert await pool.run(os.getpid) != before

    with_pool(use, workers=1)


def test_other_jobs_do_not_notice_a_crash() -> None:
    async def use(pool: Pool) -> None:
        async with asyncio.TaskGroup() as group:
            good = [group.create_task(pool.run(math.sqrt, float(n * n))) for n in range(20)]
            bad = group.create_task(crash(pool))
        assert [task.result() for task in good] == [float(n) for n in range(20)]
        assert bad.result() == "content_invalid"

    async def crash(pool: Pool) -> str:
        try:
            await pool.run(os._exit, 0)
        except Dms3Error as error:
            return error.code
        return "no error"

    with_pool(use, workers=2)


def test_a_worker_that_died_while_idle_is_replaced_unnoticed() -> None:
    async def use(pool: Pool) -> None:
        first = await pool.run(os.getpid)
        os.kill(first, signal.SIGKILL)
        assert gone(first)
        assert await pool.run(math.sqrt, 9.0) == 3.0

    with_pool(use, workers=1)


def test_ctrl_c_is_the_parents_business() -> None:
    async def use(pool: Pool) -> None:
        first = await pool.run(os.getpid)
        os.kill(first, signal.SIGINT)
        assert await pool.run(os.getpid) == first
        with pytest.raises(Dms3Error):
            await pool.run(signal.raise_signal, 99)  # no such signal: an error, no crash
        await pool.run(signal.raise_signal, signal.SIGINT)
        assert await pool.run(os.getpid) == first

    with_pool(use, workers=1)


def test_a_job_that_takes_too_long_is_stopped() -> None:
    async def use(pool: Pool) -> None:
        first = await pool.run(os.getpid)
        with pytest.raises(Dms3Error) as caught:
            await pool.run(time.sleep, 100)
        assert caught.value.code == "timed_out"
        assert gone(first)
        assert await pool.run(math.sqrt, 4.0) == 2.0

    with_pool(use, workers=1, seconds=1)


def test_a_memory_bomb_ends_as_an_error() -> None:
    async def use(pool: Pool) -> None:
        with pytest.raises(Dms3Error) as caught:
            await pool.run(bytes, 1 << 40)
        assert caught.value.code == "content_invalid"
        assert await pool.run(resource.getrlimit, resource.RLIMIT_CORE) == (0, 0)

    with_pool(use, workers=1)


def test_the_queue_is_bounded() -> None:
    async def use(pool: Pool) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.run(math.sqrt, 4.0)) for _ in range(3)]
            await asyncio.sleep(0)  # the tasks have put their jobs in
            with pytest.raises(Dms3Error) as caught:
                await pool.run(math.sqrt, 4.0)
            assert caught.value.code == "node_busy"
        assert [task.result() for task in tasks] == [2.0] * 3
        assert await pool.run(math.sqrt, 9.0) == 3.0

    with_pool(use, workers=1, jobs=3)


def test_cancelling_kills_a_running_job_and_drops_a_waiting_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def use(pool: Pool) -> None:
        first = await pool.run(os.getpid)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(pool.run(Path.read_bytes, pipe))
            writer = await asyncio.to_thread(pipe.open, "wb")  # the worker has opened it, too
            waiting = group.create_task(pool.run(os.mkdir, str(tmp_path / "never")))
            await asyncio.sleep(0)
            waiting.cancel()
            running.cancel()
        writer.close()
        assert await asyncio.to_thread(gone, first)
        assert await pool.run(math.sqrt, 4.0) == 2.0
        assert not (tmp_path / "never").exists()

    with_pool(use, workers=1)


def test_closing_stops_running_jobs_and_refuses_new_ones(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def main() -> None:
        pool = Pool(1)
        process = await pool.run(os.getpid)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ends(pool))
            writer = await asyncio.to_thread(pipe.open, "wb")  # the worker has opened it, too
            await pool.close()
            writer.close()
        assert task.result() == "cancelled"
        assert gone(process)
        with pytest.raises(Dms3Error) as caught:
            await pool.run(math.sqrt, 4.0)
        assert caught.value.code == "node_stopping"

    async def ends(pool: Pool) -> str:
        try:
            await pool.run(Path.read_bytes, pipe)
        except Dms3Error as error:
            return error.code
        return "no error"

    asyncio.run(main())


def test_a_worker_that_does_not_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(pool: Pool) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            with pytest.raises(Dms3Error) as caught:
                await pool.run(math.sqrt, 4.0)
        assert caught.value.code == "home_unusable"
        assert await pool.run(math.sqrt, 4.0) == 2.0

    with_pool(use, workers=1)


def test_neither_settings_nor_secrets_reach_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMS3_TOKEN", "secret-token")

    async def use(pool: Pool) -> None:
        process = await pool.run(os.getpid)
        for name in ("environ", "cmdline"):
            assert b"secret-token" not in Path(f"/proc/{process}/{name}").read_bytes()
        assert await pool.run(os.getenv, "DMS3_TOKEN") is None
        opened = {link.name for link in Path(f"/proc/{process}/fd").iterdir()}
        assert len(opened) <= 5  # three standard ones, the socket, the folder being listed

    with_pool(use, workers=1)


PARENT = """
import asyncio, os, time
from dms3.io.pool import Pool
async def main():
    pool = Pool(2)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pool.run(time.sleep, 0.2)) for _ in range(2)]
    print(*[worker.process.pid for worker in pool._idle.queue], flush=True)
    await pool.run(time.sleep, 1000)
asyncio.run(main())
"""


def test_no_worker_outlives_a_parent_killed_without_warning() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(number) for number in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert [gone(worker) for worker in workers] == [True, True]


def test_the_loop_keeps_running_while_a_worker_computes() -> None:
    ticks = 0

    async def use(pool: Pool) -> None:
        nonlocal ticks
        async with asyncio.TaskGroup() as group:
            task = group.create_task(pool.run(sum, range(3_000_000)))
            while not task.done():
                ticks += 1
                await asyncio.sleep(0)
        assert task.result() == sum(range(3_000_000))

    with_pool(use, workers=1)
    assert ticks > 100
