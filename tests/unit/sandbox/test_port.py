"""The sandbox in worker processes: the same answers, and a node that goes on whatever they do."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from dms3.chain.sandboxing import CallFunction, Judge, Judged
from dms3.core.errors import Dms3Error, Failure
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from dms3.io import sandbox_callers, sandbox_judges
from dms3.io.runner_cache import RunnerCache
from dms3.io.sandbox import Sandbox
from unit.sandbox.kit import ACTION, HEAD, program, ruled

FUNCTIONS = program(
    """
    from dapp import Failure, commit, expose, get

    @expose()
    def add(a, b):
        return a + b

    @expose()
    def ask(name):
        try:
            return get(name)
        except Failure as error:
            return [error.code, str(error)]

    @expose()
    def loop():
        while True: pass
    """,
    part="functions",
)
SHORT = ruled("return len(note['text']) <= 5")


def with_sandbox(runner, use):
    """What `use(sandbox)` returns while the sandbox runs."""
    assert runner

    async def main():
        sandbox = Sandbox(RunnerCache(), callers=1)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(sandbox.run())
            await asyncio.sleep(0)
            try:
                return await asyncio.wait_for(use(sandbox), 120)
            finally:
                serving.cancel()

    return asyncio.run(main())


@pytest.fixture(scope="module")
def shared(runner):
    """One sandbox for the tests that leave it as it was: `shared(use)` as `with_sandbox`."""
    assert runner
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(RunnerCache(), callers=2)
    serving = asyncio.run_coroutine_threadsafe(sandbox.run(), loop)
    yield lambda use: asyncio.run_coroutine_threadsafe(use(sandbox), loop).result(120)
    serving.cancel()
    while not serving.done() or asyncio.all_tasks(loop):
        threading.Event().wait(0.01)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def note(text, rules=SHORT):
    return Judge(rules, ACTION, {"text": text})


async def nobody(_name, _arguments):
    raise AssertionError("nothing is asked")


def add(a, b):
    return CallFunction(FUNCTIONS, "add", {"a": a, "b": b})


def test_rules_judge_and_functions_answer(shared):
    async def use(sandbox):
        loaded = await sandbox.serve("load", SHORT)
        assert [name for name, _, _ in loaded.rules] == ["r"]
        assert (await sandbox.serve("judge", note("short"))).verdict == Valid()
        broken = await sandbox.serve("judge", note("longer"))
        assert broken.verdict == Invalid("r", "It is so.", 7)
        assert broken.fuel > 0
        assert (await sandbox.call(add(1, 2), nobody)).value == 3
        assert isinstance(await sandbox.serve("fly", None), Failure)

    shared(use)


def test_many_at_once_are_answered_each_with_its_own(shared):
    async def use(sandbox):
        many = [note("a" * (n % 10)) for n in range(100)]
        found = await asyncio.gather(*map(sandbox.judge, many))
        assert [isinstance(each.verdict, Valid) for each in found] == [
            n % 10 <= 5 for n in range(100)
        ]
        others = [ruled(f"return {n % 2 == 0}  # {n}") for n in range(10)]
        found = await asyncio.gather(*(sandbox.judge(note("a", each)) for each in others))
        assert [isinstance(each.verdict, Valid) for each in found] == [
            n % 2 == 0 for n in range(10)
        ]
        sums = await asyncio.gather(*(sandbox.call(add(n, 1), nobody) for n in range(20)))
        assert [each.value for each in sums] == list(range(1, 21))

    shared(use)


def test_the_node_is_asked_while_a_function_waits(shared):
    async def use(sandbox):
        release = asyncio.Event()

        async def host(name, arguments):
            if arguments["hash"] == "gone":
                raise Dms3Error("content_unavailable", "nobody has it")
            if arguments["hash"] == "no":
                return Failure("forbidden", "not for you")
            if arguments["hash"] == "slow":
                await release.wait()
            return [name, arguments["hash"]]

        async def ask(name):
            return (await sandbox.call(CallFunction(FUNCTIONS, "ask", {"name": name}), host)).value

        assert await ask("x") == ["get", "x"]
        assert await ask("gone") == ["content_unavailable", "nobody has it"]
        assert await ask("no") == ["forbidden", "not for you"]
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(ask("slow"))
            assert await ask("y") == ["get", "y"]  # by another worker
            assert (await sandbox.judge(note("a"))).verdict == Valid()
            release.set()
        assert slow.result() == ["get", "slow"]

    shared(use)


def test_a_call_ends_when_its_time_is_over(runner):
    async def use(sandbox):
        async def never(_name, _arguments):
            await asyncio.get_running_loop().create_future()

        await sandbox.call(add(1, 2), nobody)
        call = CallFunction(FUNCTIONS, "ask", {"name": "x"}, seconds=0.05)
        with pytest.raises(Dms3Error, match="took longer than") as caught:
            await sandbox.call(call, never)
        assert caught.value.code == "timed_out"
        assert (await sandbox.call(add(1, 2), nobody)).value == 3

    with_sandbox(runner, use)


def test_calls_inside_calls_need_no_place_of_those_that_wait(runner):
    async def use(sandbox):
        async def host(_name, arguments):
            depth = arguments["hash"]
            if depth == 2:
                return depth
            deeper = CallFunction(FUNCTIONS, "ask", {"name": depth + 1})
            return (await sandbox.call(deeper, host)).value

        call = CallFunction(FUNCTIONS, "ask", {"name": 0})
        assert (await sandbox.call(call, host)).value == 2  # one place, three calls

        async def endless(_name, _arguments):
            return (await sandbox.call(call, endless)).value

        code, said = (await sandbox.call(call, endless)).value
        assert (code, said) == ("node_busy", "3 calls wait for other calls.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox_callers, "SANDBOX_NESTED_MAX", 3)
        with_sandbox(runner, use)


def test_an_app_that_waits_leaves_a_place_to_others(shared):
    async def use(sandbox):
        asked, told = asyncio.Event(), asyncio.Event()

        async def late(_name, _arguments):
            asked.set()
            await told.wait()

        waiting = program("# another\n" + FUNCTIONS.source.decode(), part="functions")
        call = CallFunction(waiting, "ask", {"name": "x"})
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(sandbox.call(call, late)) for _ in range(3)]
            await asked.wait()
            assert (await sandbox.call(add(2, 3), nobody)).value == 5
            told.set()
        assert [found.result().value for found in calls] == [None] * 3

    shared(use)


def test_a_stopped_function_costs_itself_alone(shared):
    async def use(sandbox):
        with pytest.raises(Dms3Error, match="fuel") as caught:
            await sandbox.call(CallFunction(FUNCTIONS, "loop"), nobody)
        assert caught.value.code == "function_stopped"
        assert (await sandbox.call(add(1, 2), nobody)).value == 3

    shared(use)


def test_a_worker_that_dies_is_replaced_and_its_work_done_again(runner):
    async def use(sandbox):
        assert (await sandbox.judge(note("a"))).verdict == Valid()
        process = sandbox._judges._channel._process
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(sandbox.judge(note("a"))) for _ in range(3)]
            await asyncio.sleep(0)
            os.kill(process.pid, signal.SIGKILL)
        assert [each.result().verdict for each in waiting] == [Valid()] * 3
        await sandbox.call(add(1, 2), nobody)
        lost = asyncio.Event()
        (caller,) = sandbox._callers._idle
        caller.on_lost = lost.set
        os.kill(caller._process.pid, signal.SIGKILL)
        await lost.wait()
        assert (await sandbox.call(add(1, 2), nobody)).value == 3

    with_sandbox(runner, use)


def test_what_kills_its_worker_twice_is_given_up_and_the_rest_is_not(runner, monkeypatch):
    async def use(sandbox):
        judges = sandbox._judges
        push = judges._push

        def deadly():
            push()
            if any("deadly" in job.text for job in judges._sent):
                judges._channel.kill()

        await sandbox.judge(note("a"))
        monkeypatch.setattr(type(judges), "_push", lambda _self: deadly())
        texts = ("a", "deadly", "b")
        found = await asyncio.gather(*(sandbox.judge(note(text)) for text in texts))
        assert found[0].verdict == found[2].verdict == Valid()
        assert found[1] == Judged(Abandoned("it ended the sandbox's process"), 0)

    with_sandbox(runner, use)


def test_a_worker_that_takes_too_long_is_ended(runner, monkeypatch):
    monkeypatch.setattr(sandbox_judges, "SANDBOX_JOB_SECONDS_MAX", 0.2)

    async def use(sandbox):
        await sandbox.judge(note("a"))
        endless = ruled("while True: pass", fuel=2_000_000_000_000)
        assert isinstance((await sandbox.judge(note("a", endless))).verdict, Abandoned)

    with_sandbox(runner, use)


def test_programs_that_cannot_be_loaded_are_said_or_given_up(shared):
    wrong = program("import os")

    async def use(sandbox):
        with pytest.raises(Dms3Error, match="os cannot be imported") as caught:
            await sandbox.load(wrong)
        assert caught.value.code == "rules_invalid"
        found = await sandbox.judge(note("a", wrong))
        assert isinstance(found.verdict, Abandoned)
        assert "os cannot be imported" in found.verdict.reason
        with pytest.raises(Dms3Error, match="os cannot be imported"):
            await sandbox.call(CallFunction(wrong, "f"), nobody)
        assert (await sandbox.call(add(1, 2), nobody)).value == 3

    shared(use)


def test_workers_have_no_settings_and_end_with_the_sandbox(runner, monkeypatch):
    monkeypatch.setenv("DMS3_PASSPHRASE", "secret")
    channels = []

    async def use(sandbox):
        await sandbox.judge(note("a"))
        await sandbox.call(add(1, 2), nobody)
        channels.extend([sandbox._judges._channel, *sandbox._callers._all])
        for channel in channels if sys.platform == "linux" else ():
            environment = Path(f"/proc/{channel._process.pid}/environ").read_bytes()
            assert b"DMS3_PASSPHRASE" not in environment

    with_sandbox(runner, use)
    assert len(channels) == 2
    assert all(channel._process.poll() is not None for channel in channels)


def test_while_the_runner_is_made_a_call_says_so(tmp_path, monkeypatch):
    cache = RunnerCache(tmp_path)
    phases = []

    async def main():
        sandbox = Sandbox(cache, on_making=phases.append)
        begun = asyncio.Event()

        async def make():
            sandbox._runner._said("building")
            begun.set()
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(sandbox._runner, "_make", make)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(sandbox.run())
            await begun.wait()
            assert sandbox.making.phase == "building"
            for ask in (sandbox.judge(note("a")), sandbox.call(add(1, 2), nobody)):
                with pytest.raises(Dms3Error, match="being made here, once: building") as caught:
                    await ask
                assert caught.value.code == "not_ready"
            serving.cancel()

    asyncio.run(main())
    assert phases == ["building"]


def test_a_runner_that_cannot_be_made_is_said_to_whoever_asks(tmp_path, monkeypatch):
    async def main():
        sandbox = Sandbox(RunnerCache(tmp_path))

        async def make():
            raise Dms3Error("runner_missing", "no memory")

        monkeypatch.setattr(sandbox._runner, "_make", make)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(sandbox.run())
            await asyncio.sleep(0)
            with pytest.raises(Dms3Error, match="no memory") as caught:
                await sandbox.judge(note("a"))
            assert caught.value.code == "runner_missing"
            serving.cancel()

    asyncio.run(main())


def test_more_than_wait_are_refused(shared, monkeypatch):
    monkeypatch.setattr(sandbox_judges, "SANDBOX_WAITING_MAX", 2)

    async def use(sandbox):
        await sandbox.judge(note("a"))
        found = await asyncio.gather(
            *(sandbox.judge(note("a")) for _ in range(5)), return_exceptions=True
        )
        refused = [each for each in found if isinstance(each, Dms3Error)]
        assert len(refused) == 2  # one was sent at once, two wait
        assert {error.code for error in refused} == {"node_busy"}

    shared(use)


def test_what_is_too_long_is_not_sent(shared):
    async def use(sandbox):
        text = "x" * (5 * 1024 * 1024)
        assert isinstance((await sandbox.judge(note(text))).verdict, Abandoned)
        with pytest.raises(Dms3Error, match="too long"):
            await sandbox.call(add(text, text), nobody)

        async def host(_name, _arguments):
            return text

        ask = CallFunction(FUNCTIONS, "ask", {"name": "x"})
        assert (await sandbox.call(ask, host)).value[0] == "body_too_large"

    shared(use)


def test_what_a_rule_waits_for_is_named(shared):
    rules = program(f"{HEAD}\n@rule()\ndef r(entry): return must_get_entry('h') == 1")

    async def use(sandbox):
        assert (await sandbox.judge(note("a", rules))).verdict == Unresolved((b"entry:h",))
        known = Judge(rules, ACTION, {}, (("entry:h", 1),))
        assert (await sandbox.judge(known)).verdict == Valid()

    shared(use)
