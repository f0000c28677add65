"""Conversation storage of a delivery service: lockers, and the storage routes of the reference.

Source: docs/storage.md, "A delivery service"; dm3 reference, packages/backend/src/storage.ts, whose
statuses and bodies are given where it has them (recorded: vectors 16). Everything is sealed by
clients. Who somebody is, the delivery service has found out (`Authorise`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dms3.api.answers import JSON, dumps
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    CLOUD_BATCH_MAX,
    CLOUD_CONTAINER_BYTES_MAX,
    CLOUD_NUMBER_MAX,
    CLOUD_PAGE_MAX,
    CLOUD_TEXT_CHARS_MAX,
    LOCKER_OBJECT_BYTES_MAX,
)
from dms3.io.clock import SystemClock
from dms3.io.lockers import Lockers
from dms3.io.lockers_dm3 import Cloud, DuplicateError, Stored

T = TypeVar("T")

Authorise = Callable[[Request, str], Awaitable[str]]
"""Whose request it is: given it and the name in its path, the account; raises `unauthorized`."""

Handler = Callable[[Request, str], Awaitable[Response]]

_NAME = re.compile(r"[0-9a-f]{64}")
_INTEGER = re.compile(r"\s*([+-]?\d{1,15})")  # as JavaScript's parseInt reads a beginning
_CONVERSATIONS, _MESSAGES = 10, 100  # rows of a page when nothing is asked, as the reference
_BYTES = "application/octet-stream"
_DATE_MS_MAX = 253_402_300_799_999  # the last instant of the year 9999
_INVALID = "invalid schema"


class _RefusedError(Exception):
    """What the reference answers with status 400: `text` is its body."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def storage_routes(lockers: Lockers, cloud: Cloud, authorise: Authorise) -> list[Route]:
    """The routes of both kinds, paths relative to the delivery service's."""
    own, reference = _Own(lockers), _Reference(cloud)
    names = {
        "POST": ("addConversation", "addMessage", "addMessageBatch", "editMessageBatch"),
        "GET": ("getConversations", "getNumberOfConversations", "getHaltedMessages"),
    }
    actions: list[tuple[str, str, Handler]] = [
        (method, action, reference.handlers[action])
        for method, actions in names.items()
        for action in actions
    ]
    actions += [
        ("POST", "clearHaltedMessage", reference.handlers["clearHaltedMessage"]),
        ("POST", "toggleHideConversation", reference.handlers["toggleHideConversation"]),
        ("GET", "getMessages/{contact}", reference.handlers["getMessages"]),
        ("GET", "getNumberOfMessages/{contact}", reference.handlers["getNumberOfMessages"]),
    ]
    routes = [
        Route(f"/storage/new/{{name}}/{path}{slash}", _answered(work, authorise), methods=[method])
        for method, path, work in actions
        for slash in ("", "/")
    ]
    one = "/storage/objects/{name}/{object}"
    routes += [
        Route(one, _answered(own.put, authorise), methods=["PUT"]),
        Route(one, _answered(own.get, authorise), methods=["GET"]),
        Route(one, _answered(own.delete, authorise), methods=["DELETE"]),
        Route("/storage/objects/{name}", _answered(own.names, authorise), methods=["GET"]),
    ]
    return routes


class _Own:
    """Objects of conversation storage as dms3 keeps it."""

    def __init__(self, lockers: Lockers) -> None:
        self._lockers = lockers

    async def put(self, request: Request, account: str) -> Response:
        data = await request.body()
        if len(data) > LOCKER_OBJECT_BYTES_MAX:
            why = f"An object has at most {LOCKER_OBJECT_BYTES_MAX} bytes here."
            raise Dms3Error("body_too_large", why)
        await _done(self._lockers.put(account, _object(request), data))
        return Response(status_code=204)

    async def get(self, request: Request, account: str) -> Response:
        data = await asyncio.to_thread(self._lockers.get, account, _object(request))
        return Response(status_code=404) if data is None else Response(data, media_type=_BYTES)

    async def delete(self, request: Request, account: str) -> Response:
        await _done(self._lockers.delete(account, _object(request)))
        return Response(status_code=204)

    async def names(self, request: Request, account: str) -> Response:
        after = request.query_params.get("after", "")[:64]
        names = await asyncio.to_thread(self._lockers.names, account, after)
        return _json({"names": names})


class _Reference:
    """What the reference's client asks for."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.handlers: dict[str, Handler] = {
            "addConversation": self._add_conversation,
            "addMessage": self._add_message,
            "addMessageBatch": self._add_batch,
            "editMessageBatch": self._edit_batch,
            "getConversations": self._conversations,
            "getNumberOfConversations": self._conversation_count,
            "getMessages": self._messages,
            "getNumberOfMessages": self._message_count,
            "getHaltedMessages": self._halted,
            "clearHaltedMessage": self._clear_halted,
            "toggleHideConversation": self._hide,
        }

    async def _add_conversation(self, request: Request, account: str) -> Response:
        body = await _body(request)
        contact = _text(body, "encryptedContactName")
        location = body.get("encryptedProfileLocation") or ""
        if not isinstance(location, str) or len(location) > CLOUD_TEXT_CHARS_MAX:
            raise _RefusedError("unable to add conversation")
        await _done(self._cloud.add_conversation(account, contact, location, _now_ms()))
        return _ok()

    async def _add_message(self, request: Request, account: str) -> Response:
        body = await _body(request)
        contact = body.pop("encryptedContactName", None)
        stored = _stored(body)
        try:
            await _done(self._cloud.add(account, _contact(contact), [stored], _now_ms()))
        except DuplicateError as error:
            raise _RefusedError("unable to add message") from error
        return _ok()

    async def _add_batch(self, request: Request, account: str) -> Response:
        body = await _body(request)
        contact, batch = _batch(body, "messageBatch")
        try:
            await _done(self._cloud.add(account, contact, batch, _now_ms()))
        except DuplicateError:
            return _ok()  # as the reference, which stores nothing of such a batch either
        return _ok()

    async def _edit_batch(self, request: Request, account: str) -> Response:
        body = await _body(request)
        contact, batch = _batch(body, "editMessageBatchPayload")
        await _done(self._cloud.edit(account, contact, batch, _now_ms()))
        return _ok()

    async def _conversations(self, request: Request, account: str) -> Response:
        limit, skip = _page(request, _CONVERSATIONS)
        return _json(await asyncio.to_thread(self._cloud.conversations, account, limit, skip))

    async def _conversation_count(self, _: Request, account: str) -> Response:
        return _json(await asyncio.to_thread(self._cloud.conversation_count, account))

    async def _messages(self, request: Request, account: str) -> Response:
        limit, skip = _page(request, _MESSAGES)
        contact = request.path_params["contact"]
        rows = await asyncio.to_thread(self._cloud.messages, account, contact, limit, skip)
        return _json([dumps(row).decode() for row in rows])  # each a JSON text in the JSON array

    async def _message_count(self, request: Request, account: str) -> Response:
        contact = request.path_params["contact"]
        return _json(await asyncio.to_thread(self._cloud.message_count, account, contact))

    async def _halted(self, _: Request, account: str) -> Response:
        return _json(await asyncio.to_thread(self._cloud.halted, account, CLOUD_PAGE_MAX))

    async def _clear_halted(self, request: Request, account: str) -> Response:
        body = await _body(request)
        key, alias = _text(body, "messageId"), body.get("aliasName")
        if not isinstance(alias, str) or len(alias) > CLOUD_TEXT_CHARS_MAX:
            alias = None
        if not await _done(self._cloud.clear_halted(account, key, alias)):
            raise _RefusedError("unable to clear halted message")
        return _ok()

    async def _hide(self, request: Request, account: str) -> Response:
        body = await _body(request)
        contact, hidden = _text(body, "encryptedContactName"), body.get("hide")
        if not isinstance(hidden, bool):
            raise _RefusedError("unable to toggle hide-conversation")
        await _done(self._cloud.hide(account, contact, hidden=hidden))
        return _ok()


def _answered(work: Handler, authorise: Authorise) -> Callable[[Request], Awaitable[Response]]:
    """`work` behind the check of who asks; refusals as the reference words them."""

    async def handle(request: Request) -> Response:
        try:
            account = await authorise(request, request.path_params["name"])
            return await work(request, account)
        except _RefusedError as refused:
            return _plain(refused.text, 400)
        except Dms3Error as error:
            if error.code == "unauthorized":
                return _plain("Unauthorized", 401)
            said = {"error": error.message, "code": error.code, "hint": error.hint}
            return Response(dumps(said), error.http_status, media_type=JSON)

    return handle


async def _done(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _RefusedError(_INVALID)
    return found


def _batch(body: dict[str, Any], key: str) -> tuple[str, list[Stored]]:
    given = body.pop(key, None)
    contact = _contact(body.pop("encryptedContactName", None))
    if body or not isinstance(given, list) or len(given) > CLOUD_BATCH_MAX:
        raise _RefusedError(_INVALID)
    return contact, [_stored(dict(each) if isinstance(each, dict) else {}) for each in given]


def _stored(given: dict[str, Any]) -> Stored:
    """The message in `given`, which has these members and no others, as the reference's schema."""
    message, container = given.pop("messageId", None), given.pop("encryptedEnvelopContainer", None)
    created, halted = given.pop("createdAt", None), given.pop("isHalted", None)
    fits = (
        isinstance(message, str)
        and 0 < len(message) <= CLOUD_TEXT_CHARS_MAX
        and isinstance(container, str)
        and len(container) <= CLOUD_CONTAINER_BYTES_MAX
        and isinstance(created, int | float)
        and not isinstance(created, bool)
        and 0 <= created <= _DATE_MS_MAX
        and isinstance(halted, bool)
    )
    if given or not fits:
        raise _RefusedError(_INVALID)
    return Stored(str(message), int(created), str(container), bool(halted))


def _contact(given: Any) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= CLOUD_TEXT_CHARS_MAX:
        raise _RefusedError(_INVALID)
    return given


def _text(body: dict[str, Any], key: str) -> str:
    return _contact(body.get(key))


def _page(request: Request, usual: int) -> tuple[int, int]:
    """How many rows are asked for, and how many are skipped; `offset` counts pages."""
    size = _number(request, "pageSize") or usual
    pages = _number(request, "offset")
    if not 0 < size <= CLOUD_PAGE_MAX or not 0 <= pages * size <= CLOUD_NUMBER_MAX:
        raise _RefusedError(_INVALID)
    return size, pages * size


def _number(request: Request, key: str) -> int:
    match = _INTEGER.match(request.query_params.get(key, ""))
    return int(match[1]) if match else 0


def _object(request: Request) -> str:
    name = str(request.path_params["object"])
    if not _NAME.fullmatch(name):
        raise Dms3Error("argument_invalid", "A name of an object is 64 characters of hex.")
    return name


def _now_ms() -> int:
    return SystemClock().now().wall_us // 1_000


def _ok() -> Response:
    return _plain("OK", 200)


def _plain(text: str, status: int) -> Response:
    return Response(text, status, media_type="text/plain")


def _json(value: Any) -> Response:
    return Response(dumps(value), media_type=JSON)
