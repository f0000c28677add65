"""What every HTTP answer has in common: the envelope, problem details, the end of a connection.

Source: RFC 9457 (problem details), docs/api.md. It decides neither who may ask nor what is asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Send

from dms3.core.errors import Dms3Error
from dms3.core.limits import WATCHED_AFTER_SECONDS

T = TypeVar("T")

JSON = "application/json"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"
# After these the rest of a body may still be under way: the connection is not used again.
ENDS_CONNECTION = ("body_slow", "body_too_large")


class DisconnectedError(Exception):
    """The client went away before its answer; nobody is left to be told."""


def dumps(value: Any) -> bytes:
    """`value` as compact JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace")


def envelope(data: Mapping[str, Any]) -> dict[str, Any]:
    """The versioned envelope of every result."""
    return {"v": 1, "data": data}


def answer(data: Mapping[str, Any], status: int = 200) -> Response:
    """A result as JSON."""
    return Response(dumps(envelope(data)), status, media_type=JSON)


def error_data(error: Dms3Error) -> dict[str, Any]:
    """What is told of an error inside a stream of lines."""
    data = {"code": error.code, "message": error.message, "hint": error.hint}
    return data if error.about is None else {**data, "about": dict(error.about)}


def problem(error: Dms3Error, status: int | None = None) -> Response:
    """An error as problem details, with its HTTP status from the table of codes or another one."""
    status = status or error.http_status
    body = {
        "type": "about:blank",
        "title": error.code.replace("_", " "),
        "status": status,
        "detail": error.message,
        "code": error.code,
        "hint": error.hint,
        "retry": error.retry.value,
    }
    if error.about is not None:
        body["about"] = dict(error.about)
    headers = {"Connection": "close"} if error.code in ENDS_CONNECTION else {}
    if error.code == "unauthorized":
        headers["WWW-Authenticate"] = 'Bearer realm="dms3"'
    return Response(dumps(body), status, headers, PROBLEM)


def internal() -> Dms3Error:
    """The error for what nobody expected; the details are in the node's log only."""
    return Dms3Error(
        "internal",
        "The node met an error of its own while it answered.",
        hint="Its log says more; please report it with the lines around it.",
    )


def with_headers(send: Send, headers: Sequence[tuple[bytes, bytes]]) -> Send:
    """`send` with these headers (names in lower case) in every answer that has none so called."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message.setdefault("headers", [])
            names = {name.lower() for name, _ in given}
            message["headers"] = [*given, *(each for each in headers if each[0] not in names)]
        await send(message)

    return guarded


def raw_headers(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as `with_headers` takes them."""
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client goes away.

    The request's body has to be read before. Raises what `work` raises, or DisconnectedError. What
    is done within WATCHED_AFTER_SECONDS is done before it is asked whether the client is there.
    """
    watchers: list[asyncio.Task[None]] = []

    async def watch() -> None:
        while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass
        raise DisconnectedError

    try:
        async with asyncio.TaskGroup() as group:
            timer = asyncio.get_running_loop().call_later(
                WATCHED_AFTER_SECONDS, lambda: watchers.append(group.create_task(watch()))
            )
            try:
                result = await work
            finally:
                timer.cancel()
            for watcher in watchers:
                watcher.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return result
