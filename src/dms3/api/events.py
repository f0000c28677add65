"""The event stream, as server-sent events and WebSocket: gap-free ids, or a gap is announced.

Source: WHATWG HTML, "Server-sent events"; docs/api.md, "Events". Events are stored and numbered by
the driver; this module only reads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from dms3.api.answers import DisconnectedError, dumps, error_data, while_connected
from dms3.api.running import Running
from dms3.core.database import StoredEvent
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    EVENTS_PAGE_MAX,
    EVENTS_QUERY_CHARS_MAX,
    EVENTS_QUIET_SECONDS_MAX,
    EVENTS_TOPICS_MAX,
    SECOND_US,
)
from dms3.node.services import EventGap, NodeServices

RUNNING = "running"  # asked for as a topic: notices of what runs (`api/running.py`)
SIGNAL = "chain.signal"  # topic of what an app tells its page
GAP = "gap"  # topic of the notice that events are missing; its data says which


@dataclass(frozen=True, slots=True)
class EventsQuery:
    """What a reader asks for: events after id `since` (None: from now on) of `topics` (): all.

    `dapp`: only signals of this app, as its page may hear them ("": not so).
    """

    since: int | None = None
    topics: tuple[str, ...] = ()
    dapp: str = ""

    def wants(self, topic: str) -> bool:
        """Whether `topic` was asked for: itself, or a part before a dot ("store" for "store.x")."""
        return not self.topics or any(
            topic == wanted or topic.startswith(wanted + ".") for wanted in self.topics
        )


def parse_events_query(text: str, last_event_id: str = "") -> EventsQuery:
    """The query of an event request, without its "?"; raises `argument_invalid`.

    `last_event_id`: what a reconnecting EventSource sends; it counts when it is further than since.
    """
    if len(text) > EVENTS_QUERY_CHARS_MAX:
        raise Dms3Error("argument_invalid", "The query for events is too long.")
    since: int | None = None
    topics: tuple[str, ...] = ()
    for key, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        if key == "since":
            since = _event_id(value)
        elif key == "topics":
            topics = tuple(topic for topic in value.split(",") if topic)
        else:
            raise Dms3Error(
                "argument_invalid",
                f"Events have no parameter {key[:40]!r}.",
                hint="Known: since, topics.",
            )
    if len(topics) > EVENTS_TOPICS_MAX:
        raise Dms3Error("argument_invalid", f"At most {EVENTS_TOPICS_MAX} topics can be named.")
    if last_event_id:
        since = max(since or 0, _event_id(last_event_id))
    return EventsQuery(since, topics)


async def follow(
    node: NodeServices, query: EventsQuery, quiet_s: float = EVENTS_QUIET_SECONDS_MAX
) -> AsyncGenerator[dict[str, Any] | None]:
    """Events as JSON values, stored ones first, then live; None after `quiet_s` of silence.

    The first thing yielded is None: from there on no event is missed.
    """
    with node.subscribe() as live:
        yield None
        last = query.since
        if last is not None:
            async for event in _stored(node, last, None):
                last = max(last, event.id)
                if (shown := _shown(event, query)) is not None:
                    yield shown
        while True:
            try:
                async with asyncio.timeout(quiet_s):
                    arrived = await anext(live)
            except TimeoutError:
                yield None
                continue
            except StopAsyncIteration:
                return
            async for event in _missed(node, last, arrived):
                last = event.id
                if (shown := _shown(event, query)) is not None:
                    yield shown


async def _stored(node: NodeServices, last: int, until: int | None) -> AsyncIterator[StoredEvent]:
    """Stored events after id `last`, up to `until`; what is no longer stored becomes a gap."""
    while page := await node.events(last, EVENTS_PAGE_MAX):
        for event in page:
            if until is not None and event.id > until:
                return
            if event.id > last + 1:
                yield _gap(last + 1, event.id - 1, event.wall_us)
            last = event.id
            yield event
        if len(page) < EVENTS_PAGE_MAX:
            return


async def _missed(
    node: NodeServices, last: int | None, arrived: StoredEvent | EventGap
) -> AsyncIterator[StoredEvent]:
    """The events after `last` up to what arrived live, in order; none for one seen before."""
    live = arrived if isinstance(arrived, StoredEvent) else None
    number = live.id if live else arrived.last  # type: ignore[union-attr]  # a gap, then
    if last is None:
        last = live.id - 1 if live else arrived.first - 1  # type: ignore[union-attr]  # likewise
    if number <= last:
        return
    if live is None or live.id > last + 1:
        until = number - 1 if live else number
        async for event in _stored(node, last, until):
            last = event.id
            yield event
        if last < until:
            yield _gap(last + 1, until, live.wall_us if live else 0)
    if live is not None:
        yield live


def _gap(first: int, last: int, wall_us: int) -> StoredEvent:
    """A notice in the shape of an event; its id is the last missing one: reading goes on there."""
    return StoredEvent(last, GAP, {"first": first, "last": last}, wall_us)


def _shown(event: StoredEvent, query: EventsQuery) -> dict[str, Any] | None:
    if event.topic != GAP and not query.wants(event.topic):
        return None
    if query.dapp and event.topic != GAP and not _is_signal_of(event, query.dapp):
        return None
    seconds, micros = divmod(event.wall_us, SECOND_US)
    when = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    return {
        "id": event.id,
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "topic": event.topic,
        "data": event.data,
    }


def _is_signal_of(event: StoredEvent, dapp: str) -> bool:
    return event.topic == SIGNAL and event.data.get("dapp") == dapp


def _event_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Dms3Error("argument_invalid", f"{text[:40]!r} is not the id of an event.")
    return int(text)


class EventStream(Response):
    """Server-sent events until the client goes away or the node stops."""

    media_type = "text/event-stream"

    def __init__(
        self, node: NodeServices, query: EventsQuery, running: Running | None = None
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._node = node
        self._query = query
        self._running = running if RUNNING in query.topics else None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come."""
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }

        async def pump() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    await self._pump(start, send, group)
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None

        try:
            await while_connected(receive, pump())
        except DisconnectedError:
            return

    async def _pump(self, start: Message, send: Send, group: asyncio.TaskGroup) -> None:
        telling: asyncio.Task[None] | None = None
        begun = False
        try:
            async with aclosing(follow(self._node, self._query)) as events:
                async for event in events:
                    if not begun:
                        await send(start)
                        begun = True
                        if self._running is not None:
                            telling = group.create_task(_tell(self._running, send))
                    await send(_body(sse_text(event), more=True))
        except Dms3Error as error:
            if not begun:
                raise
            await send(_body(_sse_error(error), more=True))
        if telling is not None:
            telling.cancel()
        await send(_body(b"", more=False))


async def _tell(running: Running, send: Send) -> None:
    """What is running, between the events: without an id, so that a reader's place stays."""
    async with aclosing(running.changes()) as changes:
        async for shown in changes:
            await send(_body(b"event: running\ndata: %s\n\n" % dumps(shown), more=True))


def sse_text(event: dict[str, Any] | None) -> bytes:
    """One event in the text/event-stream format; a comment for None."""
    if event is None:
        return b": quiet\n\n"
    return b"id: %d\nevent: message\ndata: %s\n\n" % (event["id"], dumps(event))


def _sse_error(error: Dms3Error) -> bytes:
    return b"event: error\ndata: %s\n\n" % dumps({"error": error_data(error)})


async def answer_events(node: NodeServices, request: Request, running: Running) -> Response:
    """GET /api/v1/events as server-sent events."""
    text = request.url.query
    query = parse_events_query(text, request.headers.get("last-event-id", ""))
    async for _ in request.stream():
        pass  # a GET has no body; only its end is waited for
    return EventStream(node, query, running)


async def answer_websocket(node: NodeServices, socket: WebSocket) -> None:
    """GET /api/v1/events as a WebSocket: one JSON text message an event."""
    await socket.accept()

    async def pump() -> None:
        query = parse_events_query(socket.url.query)
        async with aclosing(follow(node, query)) as events:
            async for event in events:
                if event is not None:
                    await socket.send_text(dumps(event).decode())
        await socket.close(1001)

    try:
        await while_connected(socket.receive, pump())
    except DisconnectedError:
        return
    except Dms3Error as error:
        await socket.send_text(dumps({"error": error_data(error)}).decode())
        await socket.close(1008, error.code)


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
