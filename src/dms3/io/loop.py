"""Pumps the driver on asyncio: sockets, timers, the store and the io ports around one `step`.

Source: docs/architecture.md, "The driver" and "One process, one loop". Decides nothing: order and
durability are the driver's, this module only carries its batches out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from dms3.core.database import StoredEvent, Write
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import (
    LAG_PERIOD_US,
    PORT_CALLS_MAX,
    SECOND_US,
    SUBSCRIBER_EVENTS_MAX,
    SUBSCRIBERS_MAX,
)
from dms3.core.machine import Now, Send
from dms3.core.ports import (
    Action,
    AskPeer,
    AskPort,
    Batch,
    DriverPort,
    Finish,
    Forget,
    PeerPort,
    ReplyPeer,
)

Port = Callable[[str, Any], Awaitable[Any]]
"""An io service: `await port(operation, arguments)`; raises Dms3Error for expected failures."""


class Clock(Protocol):
    """Where the time of events comes from (`io/clock.py`)."""

    def now(self) -> Now:
        """This instant."""
        ...


class Journal(Protocol):
    """The part of the store that the pump needs (`io/store.py`)."""

    def commit(
        self, writes: Sequence[Write], events: Sequence[StoredEvent]
    ) -> futures.Future[None]:
        """Write one transaction; the future resolves when it is durable."""
        ...


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first` to `last` were not delivered to a slow reader; the store still has them."""

    first: int
    last: int


class Subscription:
    """Events as they become durable, for one reader: an async iterator of StoredEvent and Gap."""

    def __init__(self) -> None:
        self._events: deque[StoredEvent] = deque()
        self._missed: Gap | None = None
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, event: StoredEvent) -> None:
        """Queue `event`; a reader that is too slow loses the oldest and is told which."""
        if len(self._events) >= SUBSCRIBER_EVENTS_MAX:
            lost = self._events.popleft().id
            self._missed = Gap(self._missed.first if self._missed else lost, lost)
        self._events.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration once what is queued has been read."""
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> StoredEvent | Gap:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        if self._missed is not None:
            gap, self._missed = self._missed, None
            return gap
        return self._events.popleft()


class Loop:
    """One node's pump; implements `core.ports.PeerEvents` for the peer port.

    Arguments: `driver`, not started; `journal`, the store; `clock`; `on_lag`, told ten times a
    second by how many microseconds the event loop was late; `on_fault`, told which operation of an
    io port ("NAME.OPERATION") failed with what nobody expected.
    """

    def __init__(
        self,
        *,
        driver: DriverPort,
        journal: Journal,
        clock: Clock,
        on_lag: Callable[[int], None],
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        self._driver = driver
        self._on_fault = on_fault
        self._journal = journal
        self._clock = clock
        self._on_lag = on_lag
        self._wake = asyncio.Event()
        self._stopping = False
        self._committing: tuple[int, futures.Future[None]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._waiting: dict[RequestId, asyncio.Future[Any]] = {}
        self._subscriptions: list[Subscription] = []

    async def run(self, peers: PeerPort, ports: Mapping[str, Port]) -> None:
        """Run until `stop`; raises the Dms3Error that ended the node, if one did.

        `ports`: io services by name, each called at most `PORT_CALLS_MAX` times at once.
        """
        self._peers = peers
        self._ports = {
            name: (port, asyncio.Semaphore(PORT_CALLS_MAX)) for name, port in ports.items()
        }
        failure: Dms3Error | None = None
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                lag = group.create_task(self._measure_lag())
                try:
                    await self._pump()
                except Dms3Error as error:
                    failure = error
                lag.cancel()
                for task in list(self._calls.values()):
                    task.cancel()
        finally:
            self._wind_up()
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """End `run` after the transaction that is running."""
        self._stopping = True
        self._wake.set()

    async def call(self, port: str, arguments: Any) -> Any:
        """What machine `port` ("NAME.OPERATION") replies; its Failure is raised as Dms3Error.

        When the caller is cancelled, the machine is told (Withdrawn). Raises `limit_reached` when
        the machine is busy and `node_stopping` when the node ends before the answer.
        """
        if self._stopping:
            raise _stopping()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(body: Any) -> None:
            if not answer.done():
                answer.set_result(body)

        request = self._driver.call(port, arguments, done)
        self._waiting[request] = answer
        self._wake.set()
        try:
            body = await answer
        finally:
            del self._waiting[request]
            self._driver.withdraw(request)  # nothing happens when it is answered
            self._wake.set()
        if isinstance(body, Failure):
            raise body.error()
        return body

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """The events that become durable from now on; raises `limit_reached` for one too many."""
        if len(self._subscriptions) >= SUBSCRIBERS_MAX:
            raise Dms3Error("limit_reached", f"{SUBSCRIBERS_MAX} readers of events already")
        subscription = Subscription()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    # PeerEvents: what the peer port and the io ports tell

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        """The first connection to `peer` is open."""
        self._driver.peer_up(peer, address, inbound=inbound)
        self._wake.set()

    def peer_down(self, peer: PeerId, reason: str) -> None:
        """The last connection to `peer` closed."""
        self._driver.peer_down(peer, reason)
        self._wake.set()

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        """A one-way message; False: not taken, offer it again."""
        taken = self._driver.received(peer, protocol, body)
        self._wake.set()
        return taken

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        """A question of a peer."""
        self._driver.requested(peer, protocol, body, wire)
        self._wake.set()

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        """`peer` no longer waits for the answer to `wire`."""
        self._driver.withdrawn(peer, wire)
        self._wake.set()

    def answered(self, handle: int, body: Any) -> None:
        """The answer to an ask of the driver."""
        self._driver.answered(handle, body)
        self._wake.set()

    # The pump

    async def _pump(self) -> None:
        self._perform(self._driver.start(self._clock.now()))
        while not self._stopping:
            self._wake.clear()
            self._finish_commit()
            self._perform(self._driver.step(self._clock.now()))
            if self._driver.busy:
                await asyncio.sleep(0)  # the sockets' turn
            else:
                self._arm()
                await self._wake.wait()
        if self._committing is not None:
            await asyncio.wait([asyncio.wrap_future(self._committing[1])])
            self._finish_commit()

    def _perform(self, batch: Batch) -> None:
        for action in batch.actions:
            self._act(action)
        for event in batch.notices:
            for subscription in self._subscriptions:
                subscription.put(event)
        transaction = batch.transaction
        if transaction is not None:
            future = self._journal.commit(transaction.writes, transaction.events)
            self._committing = (transaction.number, future)
            loop = asyncio.get_running_loop()
            future.add_done_callback(lambda _: _call(loop, self._wake.set))

    def _act(self, action: Action) -> None:
        peers = self._peers
        match action:
            case Send(peer, protocol, body):
                peers.send(peer, protocol, body)
            case AskPeer(peer, protocol, body, handle, deadline_us):
                peers.request(peer, protocol, body, handle, deadline_us)
            case ReplyPeer(peer, wire, body):
                peers.reply(peer, wire, body)
            case AskPort():
                self._start_call(action)
            case Forget(handle):
                task = self._calls.get(handle)
                if task is None:
                    peers.cancel(handle)
                else:
                    task.cancel()
            case Finish(done, body):
                done(body)

    def _start_call(self, ask: AskPort) -> None:
        if ask.port not in self._ports:
            self.answered(ask.handle, Failure("method_unknown", f"There is no {ask.port!r}."))
            return
        task = self._group.create_task(self._serve(ask))
        self._calls[ask.handle] = task
        task.add_done_callback(lambda _: self._calls.pop(ask.handle))

    async def _serve(self, ask: AskPort) -> None:
        """Run one io call; what it returns or the failure it raises is its answer.

        A port keeps no state of a machine, so a bug in it costs this one answer: were it to end the
        node, content or an address from outside could do so again at each start.
        """
        port, slots = self._ports[ask.port]
        body: Any
        try:
            async with slots:
                body = await port(ask.operation, ask.arguments)
        except Dms3Error as error:
            body = Failure.of(error)
        except Exception as error:  # noqa: BLE001 - the boundary of the io ports
            name = f"{ask.port}.{ask.operation}"
            self._on_fault(name, error)
            body = Failure("internal", f"{name} failed in a way nobody expected; see the log.")
        self.answered(ask.handle, body)

    def _finish_commit(self) -> None:
        """Release what waited for the running transaction, if that is durable by now."""
        if self._committing is None or not self._committing[1].done():
            return
        (number, future), self._committing = self._committing, None
        error = future.exception()
        if error is None:
            self._perform(self._driver.committed(number))
        elif isinstance(error, Dms3Error):
            raise self._driver.commit_failed(number, error) from error
        else:
            unknown = Dms3Error("internal", f"{type(error).__name__} in the store")
            raise self._driver.commit_failed(number, unknown) from error

    def _arm(self) -> None:
        """One timer of the event loop for the earliest one of all machines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._driver.next_timer()
        if due is not None:
            delay = max(0, due - self._clock.now().mono_us) / SECOND_US
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(loop.time() + delay, self._wake.set)

    async def _measure_lag(self) -> None:
        while True:
            before = self._clock.now().mono_us
            await asyncio.sleep(LAG_PERIOD_US / SECOND_US)
            self._on_lag(max(0, self._clock.now().mono_us - before - LAG_PERIOD_US))

    def _wind_up(self) -> None:
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_stopping())
        for subscription in self._subscriptions:
            subscription.close()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Run `function` on `loop` from the store's thread."""
    if not loop.is_closed():  # closed: the node was cancelled while its last transaction ran
        loop.call_soon_threadsafe(function)


def _stopping() -> Dms3Error:
    return Dms3Error("node_stopping", "The node is stopping.", hint="Start it again and repeat.")
