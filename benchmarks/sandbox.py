"""Rules and functions of apps: loaded, judged, called, in a worker process, beside the bare guest.

The bare guest is one job in a used copy of the runner, in this process: what WASM and Python in it
take. What comes on top is ours: text, the worker's socket, the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from measure import Row

from dms3.chain.sandboxing import PYTHON, CallFunction, Judge, Program
from dms3.io.runner_cache import RunnerCache
from dms3.io.sandbox import Sandbox
from dms3.io.sandbox_engine import SandboxEngine
from dms3.io.sandbox_instance import Meter, PythonInstance
from dms3.io.sandbox_jobs import call_text, judge_text, key_of

ROUNDS = 200
LOADS = 20
FLOOR = "bare guest"
HASH = "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
ACTION = {
    "hash": HASH,
    "dna": "d" * 52,
    "author": "a" * 52,
    "person": "p" * 52,
    "seq": 7,
    "prev": HASH,
    "time": 1_700_000_000_000_000,
    "kind": "create",
    "entry": HASH,
    "entry_kind": "note",
    "private": False,
    "sealed": None,
}
NOTE = {"text": "x" * 200, "links": ["y" * 64] * 20}
RULES = b'''
from dapp import rule

@rule("note")
def text_is_short(note, action):
    """A note has 1 to 500 characters and at most 20 links of 64."""
    links = note["links"]
    return 0 < len(note["text"]) <= 500 and len(links) <= 20 and all(len(x) == 64 for x in links)
'''
FUNCTIONS = b"""
from dapp import expose

@expose()
def add(a, b):
    return a + b
"""


def program(source: bytes, part: Any) -> Program:
    return Program(hashlib.sha256(source).digest(), PYTHON, source, part=part)


RULED, EXPOSED = program(RULES, "rules"), program(FUNCTIONS, "functions")
JUDGE = Judge(RULED, ACTION, NOTE)
CALL = CallFunction(EXPOSED, "add", {"a": 1, "b": 2})


async def nobody(_name: str, _arguments: Mapping[str, Any]) -> None:
    raise AssertionError("nothing is asked")


def timed(work: Callable[[], object], times: int = ROUNDS) -> float:
    """Milliseconds of one call, median."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1e3


async def awaited(work: Callable[[], Awaitable[object]]) -> float:
    """As above, of what is awaited."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await work()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1e3


async def through_worker() -> tuple[float, float, float]:
    """One judging, one call, one judging of many at once."""
    sandbox = Sandbox()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(sandbox.run())
        await asyncio.sleep(0)
        await sandbox.judge(JUDGE)
        await sandbox.call(CALL, nobody)
        judge = await awaited(lambda: sandbox.judge(JUDGE))
        call = await awaited(lambda: sandbox.call(CALL, nobody))
        started = time.perf_counter()
        await asyncio.gather(*(sandbox.judge(JUDGE) for _ in range(ROUNDS)))
        many = (time.perf_counter() - started) / ROUNDS * 1e3
        serving.cancel()
    return judge, call, many


def bare(instance: PythonInstance, job: str) -> float:
    return timed(lambda: instance.answer(job, RULED.fuel, Meter()))


def rows() -> list[Row]:
    engine = SandboxEngine(RunnerCache().make())
    programs = iter([program(RULES + b"#%d" % n, "rules") for n in range(LOADS)])
    load = timed(lambda: engine.load(next(programs)), LOADS)
    engine.load(RULED)
    engine.load(EXPOSED)
    keys = key_of(RULED), key_of(EXPOSED)
    judging = bare(engine._ready[keys[0]], judge_text(JUDGE, keys[0]))  # noqa: SLF001
    calling = bare(engine._ready[keys[1]], call_text(CALL, keys[1]))  # noqa: SLF001
    broken = Judge(RULED, ACTION, NOTE | {"text": ""})
    fresh = timed(lambda: engine.judge(broken), LOADS)
    judge, call, many = asyncio.run(through_worker())
    return [
        Row("rules: load a program of 10 lines", load, None, "", "ms", 50, "compiled and declared"),
        Row("rules: judge, Valid", judge, judging, FLOOR, "ms", None, "through the worker"),
        Row("rules: judge, Valid, ms", judge, None, "", "ms", 0.3, "goal of the plan"),
        Row("rules: judge, 200 at once, each", many, judging, FLOOR, "ms", None, "in batches"),
        Row("rules: judge, Invalid", fresh, judging, FLOOR, "ms", None, "a used copy, then a new"),
        Row("functions: call", call, calling, FLOOR, "ms", None, "through the worker"),
        Row("functions: call, ms", call, None, "", "ms", 0.4, "goal of the plan"),
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
