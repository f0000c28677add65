"""The pump: what the driver asks for happens on asyncio, and its end is orderly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import PORT_CALLS_MAX, SUBSCRIBER_EVENTS_MAX, SUBSCRIBERS_MAX
from dms3.core.machine import (
    Answered,
    Call,
    Cancel,
    Notify,
    Persist,
    Received,
    Reply,
    Request,
    Send,
    Withdrawn,
)
from dms3.core.ports import Transaction
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.loop import Gap, Loop
from dms3.node.driver import Driver
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.disk import Disk
from unit.driver_kit import ASK, GOSSIP, PEER, Script, token


class Peers:
    """A peer port that notes what it is asked."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.arrived = asyncio.Event()

    def _note(self, *what: Any) -> None:
        self.sent.append(what)
        self.arrived.set()

    def send(self, peer, protocol, body):
        self._note("send", peer, protocol, body)

    def request(self, peer, protocol, body, handle, deadline_us):
        del deadline_us
        self._note("request", peer, protocol, body, handle)

    def reply(self, peer, wire, body):
        self._note("reply", peer, wire, body)

    def cancel(self, handle):
        self._note("cancel", handle)

    async def next(self) -> tuple[Any, ...]:
        while not self.sent:
            self.arrived.clear()
            await self.arrived.wait()
        return self.sent.pop(0)


class MemoryStore:
    """Commits at once, when told, or never."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.error: Exception | None = None
        self.manual = False
        self.waiting: list[Callable[[], None]] = []
        self._number = 0

    def commit(self, writes, events):
        future: Future[None] = Future()
        self._number += 1
        transaction = Transaction(self._number, writes, events)

        def finish() -> None:
            if self.error is not None:
                future.set_exception(self.error)
            else:
                self.disk.apply(transaction)
                future.set_result(None)

        if self.manual:
            self.waiting.append(finish)
        else:
            finish()
        return future


class Kit:
    def __init__(self, script: Script, **ports: Any) -> None:
        self.store = MemoryStore()
        self.peers = Peers()
        self.lags: list[int] = []
        protocols = {GOSSIP: Overflow.DROP_OLDEST, ASK: Overflow.HOLD}
        self.driver = Driver(
            [Hosted("one", script, protocols)],
            self.store.disk,
            last_event=0,
            on_bug=lambda *_: None,
        )
        self.faults: list[tuple[str, Exception]] = []
        self.loop = Loop(
            driver=self.driver,
            journal=self.store,
            clock=SystemClock(),
            on_lag=self.lags.append,
            on_fault=lambda name, error: self.faults.append((name, error)),
        )
        self.ports = ports

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.loop.run(self.peers, self.ports))
            await asyncio.sleep(0)
            yield
            self.loop.stop()


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop turn until something has happened; the test's timeout is the bound."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event to wait on
        await asyncio.sleep(0)


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 20))


def test_a_command_is_answered_after_its_commit() -> None:
    async def scenario() -> None:
        script = Script(
            {"put": lambda event: [Persist("t", b"k", b"v"), Reply(event.request, "kept")]}
        )
        kit = Kit(script)
        kit.store.manual = True
        async with kit.running(), AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            answer = group.create_task(kit.loop.call("one.put", None))
            await until(lambda: kit.store.waiting)
            assert not answer.done()
            kit.store.waiting.pop()()
            assert await answer == "kept"
            assert kit.store.disk.get("one/t", b"k") == b"v"

    run(scenario())


def test_a_failure_is_raised_and_an_unknown_command_refused() -> None:
    async def scenario() -> None:
        failure = Failure("not_found", "no such thing")
        kit = Kit(Script({"get": lambda event: [Reply(event.request, failure)]}))
        async with kit.running():
            with pytest.raises(Dms3Error) as caught:
                await kit.loop.call("one.get", None)
            assert (caught.value.code, caught.value.message) == ("not_found", "no such thing")
            with pytest.raises(Dms3Error) as caught:
                await kit.loop.call("two.get", None)
            assert caught.value.code == "method_unknown"

    run(scenario())


def test_a_caller_that_goes_away_withdraws_its_command() -> None:
    async def scenario() -> None:
        script = Script()
        kit = Kit(script)
        async with kit.running():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await kit.loop.call("one.wait", None)
            await until(lambda: len(script.seen) >= 2)
            assert script.seen[1] == Withdrawn(script.seen[0].request)

    run(scenario())


def test_peers_hear_and_are_heard() -> None:
    async def scenario() -> None:
        script = Script(
            {
                b"hi": [Send(PEER, GOSSIP, b"ho"), Request(PEER, ASK, b"q", token("t"), 1)],
                b"stop": [Cancel(token("t"))],
                b"q": lambda event: [Reply(event.request, b"a")],
            }
        )
        kit = Kit(script)
        async with kit.running():
            kit.loop.peer_up(PEER, "/memory/1", inbound=True)
            assert kit.loop.received(PEER, GOSSIP, b"hi")
            assert await kit.peers.next() == ("send", PEER, GOSSIP, b"ho")
            *_, handle = await kit.peers.next()
            kit.loop.received(PEER, GOSSIP, b"stop")
            assert await kit.peers.next() == ("cancel", handle)
            kit.loop.requested(PEER, ASK, b"q", 5)
            assert await kit.peers.next() == ("reply", PEER, 5, b"a")
            kit.loop.requested(PEER, ASK, b"other", 6)
            kit.loop.withdrawn(PEER, 6)
            kit.loop.peer_down(PEER, "gone")
            await until(lambda: len(script.seen) >= 7)

    run(scenario())


def test_io_ports_answer_with_results_and_failures() -> None:
    async def port(operation: str, arguments: Any) -> Any:
        if operation == "fail":
            raise Dms3Error("disk_full", "no room")
        return (operation, arguments)

    async def scenario() -> None:
        calls = [
            Call("library.add", 1, token("a")),
            Call("library.fail", 2, token("b")),
            Call("nothing.x", 3, token("c")),
        ]
        script = Script({b"go": calls})
        kit = Kit(script, library=port)
        async with kit.running():
            kit.loop.received(PEER, GOSSIP, b"go")
            await until(lambda: len(script.seen) >= 4)
        answers = {event.token: event.body for event in script.seen if isinstance(event, Answered)}
        assert answers["a"] == ("add", 1)
        assert answers["b"] == Failure("disk_full", "no room", "later")
        assert answers["c"].code == "method_unknown"

    run(scenario())


def test_calls_of_a_port_are_bounded_and_a_cancelled_one_ends() -> None:
    async def scenario() -> None:
        active: list[int] = []
        ended: list[int] = []
        release = asyncio.Event()

        async def port(_operation: str, number: Any) -> None:
            active.append(number)
            try:
                await release.wait()
            except asyncio.CancelledError:
                ended.append(number)
                raise

        calls = [Call("slow.x", n, token(str(n))) for n in range(PORT_CALLS_MAX + 1)]
        waiting = PORT_CALLS_MAX
        stops = [Cancel(token("0")), Cancel(token(str(waiting)))]
        script = Script({b"go": calls, b"stop": stops})
        kit = Kit(script, slow=port)
        async with kit.running():
            kit.loop.received(PEER, GOSSIP, b"go")
            await until(lambda: len(active) >= PORT_CALLS_MAX)
            await asyncio.sleep(0)
            assert len(active) == PORT_CALLS_MAX
            kit.loop.received(PEER, GOSSIP, b"stop")
            await until(lambda: ended)
            release.set()
            await until(lambda: len(script.seen) >= 2 + PORT_CALLS_MAX - 1)
        assert ended == [0]
        assert waiting not in active, "cancelled while it waited for its turn"

    run(scenario())


def test_a_timer_of_a_machine_wakes_the_loop() -> None:
    async def scenario() -> None:
        script = Script({"timer": [Send(PEER, GOSSIP, b"tick")]})
        script.timer = SystemClock().now().mono_us + 20_000
        due = script.timer
        kit = Kit(script)
        async with kit.running():
            assert await kit.peers.next() == ("send", PEER, GOSSIP, b"tick")
            assert SystemClock().now().mono_us >= due

    run(scenario())


def test_a_failed_commit_ends_the_loop_with_its_message() -> None:
    async def scenario() -> None:
        kit = Kit(Script({Received: [Persist("t", b"k", b"v"), Send(PEER, GOSSIP, b"said")]}))
        kit.store.error = Dms3Error("disk_full", "No space is left.")
        kit.loop.received(PEER, GOSSIP, b"x")
        with pytest.raises(Dms3Error) as caught:
            await kit.loop.run(kit.peers, {})
        assert caught.value.code == "disk_full"
        assert kit.peers.sent == []
        with pytest.raises(Dms3Error) as caught:
            await kit.loop.call("one.x", None)
        assert caught.value.code == "node_stopping"

    run(scenario())


def test_a_bug_ends_the_loop_and_open_commands() -> None:
    async def scenario() -> None:
        kit = Kit(Script({"bad": lambda _: 1 // 0}))
        async with asyncio.TaskGroup() as group:

            async def command(operation: str) -> str:
                try:
                    await kit.loop.call(f"one.{operation}", None)
                except Dms3Error as error:
                    return error.code
                return "answered"

            waiting = group.create_task(command("wait"))
            bad = group.create_task(command("bad"))
            with pytest.raises(Dms3Error) as caught:
                await kit.loop.run(kit.peers, {})
            assert caught.value.code == "internal"
        assert (waiting.result(), bad.result()) == ("node_stopping", "node_stopping")

    run(scenario())


def test_stopping_waits_for_the_running_transaction() -> None:
    async def scenario() -> None:
        kit = Kit(Script({Received: [Persist("t", b"k", b"v"), Send(PEER, GOSSIP, b"said")]}))
        kit.store.manual = True
        async with kit.running():
            kit.loop.received(PEER, GOSSIP, b"x")
            await until(lambda: kit.store.waiting)
            kit.loop.stop()
            for _ in range(5):
                await asyncio.sleep(0)
            kit.store.waiting.pop()()
        assert await kit.peers.next() == ("send", PEER, GOSSIP, b"said")

    run(scenario())


def test_subscribers_hear_what_is_durable_and_slow_ones_of_a_gap() -> None:
    async def scenario() -> None:
        count = SUBSCRIBER_EVENTS_MAX + 10
        notes = [Notify("topic", {"n": n}) for n in range(count)]
        kit = Kit(Script({b"few": notes[:2], b"many": notes}))
        heard: list[Any] = []
        with kit.loop.subscribe() as subscription:
            async with kit.running():
                kit.loop.received(PEER, GOSSIP, b"few")
                first = await anext(subscription)
                second = await anext(subscription)
                assert [first.id, second.id] == [1, 2]
                kit.loop.received(PEER, GOSSIP, b"many")
                await until(lambda: kit.store.disk.last_event >= count + 2)
            heard = [item async for item in subscription]
        assert heard[0] == Gap(3, 12)
        assert [event.id for event in heard[1:]] == list(range(13, count + 3))

    run(scenario())


def test_readers_of_events_are_bounded() -> None:
    async def scenario() -> None:
        kit = Kit(Script())
        readers = [kit.loop.subscribe() for _ in range(SUBSCRIBERS_MAX)]
        for reader in readers:
            reader.__enter__()
        with pytest.raises(Dms3Error) as caught, kit.loop.subscribe():
            pass
        assert caught.value.code == "limit_reached"
        readers.pop().__exit__(None, None, None)
        with kit.loop.subscribe():
            pass
        for reader in readers:
            reader.__exit__(None, None, None)

    run(scenario())


def test_the_lateness_of_the_loop_is_measured() -> None:
    async def scenario() -> None:
        kit = Kit(Script())
        async with kit.running():
            await until(lambda: kit.lags)
        assert kit.lags[0] >= 0

    run(scenario())


def test_the_systems_clock_and_randomness() -> None:
    clock = SystemClock()
    one, two = clock.now(), clock.now()
    assert one.mono_us <= two.mono_us
    assert one.wall_us > 1_700_000_000_000_000
    entropy = SystemEntropy()
    assert len(entropy.draw(32)) == 32
    assert entropy.draw(32) != entropy.draw(32)
