"""The HTTP interface of a delivery service, as the dm3 reference has it: JSON-RPC and REST.

Source: dm3 reference, packages/delivery-service; docs/dm3.md, "Delivery service", which lists every
deliberate difference. Answers have the reference's status and body; what it answers with nothing
says here what was wrong. Rules are in `node/delivering.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dms3.api.answers import ENDS_CONNECTION, dumps
from dms3.core.errors import DecodeError, Dms3Error, Retry
from dms3.core.limits import (
    MAIL_ACCOUNT_MESSAGES_MAX,
    MAIL_INTERVAL_SECONDS,
    PUBLIC_BODY_BYTES_MAX,
)
from dms3.delivery.admission import SCHEMA, named
from dms3.dm3.acknowledgement import decode_acknowledgements
from dms3.dm3.canonical import parse
from dms3.dm3.extension import ProfileExtension
from dms3.node.delivering import Delivering
from dms3.node.delivery_accounts import Receiver

PREFIX = "dm3"
JSON = b"application/json; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"
CHANNELS = ("EMAIL", "PUSH")
NEXT = b"dm3-next"
"""Header of a page: the id to ask for what follows."""

# dm3 specification, "Error codes" of the delivery service API.
_RPC_CODES = {
    "not_found": -32001,
    "timed_out": -32002,
    "node_busy": -32002,
    "node_stopping": -32002,
    "disk_full": -32002,
    "unauthorized": -32003,
    "limit_reached": -32005,
    "forbidden": -32010,
    "body_too_large": -32011,
}
_INVALID_INPUT = -32000
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", NEXT),
)
_PREFLIGHT = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET,HEAD,PUT,PATCH,POST,DELETE"),
    (b"vary", b"Access-Control-Request-Headers"),
)

Services = Callable[[], Delivering]
"""The service of the open node; raises `node_busy` or `node_locked` while there is none."""


@dataclass(slots=True)
class Asked:
    """A request: `parts` of its path below /dm3, and what is read of it when it is needed."""

    method: str
    parts: tuple[str, ...]
    headers: Headers
    query: Mapping[str, str]
    _receive: Receive

    async def bytes(self) -> bytes:
        """The body; raises `body_too_large`."""
        pieces = []
        more = True
        while more:
            message = await self._receive()
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(pieces)

    async def json(self) -> Any:
        """The JSON value of the body; {} for none. Raises `body_malformed`, `body_too_large`."""
        body = await self.bytes()
        try:
            return parse(body, PUBLIC_BODY_BYTES_MAX) if body else {}
        except DecodeError as error:
            raise Dms3Error("body_malformed", f"The body is not JSON: {error}.") from error

    @property
    def token(self) -> str:
        """The session in the header Authorization; raises `unauthorized` without one."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        if not kind or not token:
            raise Dms3Error("unauthorized", "There is no session in the header Authorization.")
        return token.strip()


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and content type of an answer."""

    status: int
    body: bytes = b""
    kind: bytes = TEXT
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


Handler = Callable[[Delivering, Asked], Awaitable[Answer]]


class Dm3:
    """ASGI application below /dm3. `push`: what answers socket.io, at /dm3/socket.io.

    `more`: further handlers by method and first parts of the path, for what shares the accounts.
    """

    def __init__(
        self, services: Services, push: ASGIApp, more: Mapping[tuple[str, str], Handler]
    ) -> None:
        self._services = services
        self._push = push
        self._handlers = {**HANDLERS, **more}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        parts = tuple(scope["path"].rstrip("/").split("/")[2:])
        if parts[:1] == ("socket.io",) or scope["type"] == "websocket":
            await self._push(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS":
            await _send(send, _preflight(headers), ())
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        given = parse_qs(scope["query_string"].decode("latin-1"))
        query = {key: values[-1] for key, values in given.items()}
        asked = Asked(method, parts, headers, query, receive)
        try:
            answer = await self._answer(asked)
        except Dms3Error as error:
            answer = refused(error)
        await _send(send, answer, _CORS)

    async def _answer(self, asked: Asked) -> Answer:
        handler = self._handlers.get((asked.method, asked.parts[0] if asked.parts else ""))
        if handler is None:
            raise _no_route(asked)
        return await handler(self._services(), asked)


def said(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, dumps(value), JSON)


def plain(status: int) -> Answer:
    """The name of a status as text, as the reference's `sendStatus` answers."""
    return Answer(status, _STATUS_NAMES[status])


def refused(error: Dms3Error) -> Answer:
    """What went wrong, for a person, with the status of its code."""
    told = said({"error": error.message, "hint": error.hint}, _status(error))
    if error.code not in ENDS_CONNECTION:
        return told
    return Answer(told.status, told.body, told.kind, ((b"connection", b"close"),))


def _status(error: Dms3Error) -> int:
    """The status of `error`; names that do not answer are no gateway of ours."""
    return 503 if error.code == "timed_out" else error.http_status


async def authorised(service: Delivering, asked: Asked, name: str) -> Receiver | Answer:
    """The account behind `name` when the request has a session of it, else the answer to give."""
    try:
        return await service.accounts.authorised(name, asked.token)
    except Dms3Error as error:
        if error.code in ("unauthorized", "argument_invalid"):
            return plain(401)
        raise


async def _hello(_service: Delivering, asked: Asked) -> Answer:
    _one_part(asked, 1)
    return Answer(200, b"Hello DM3")


async def _metrics(service: Delivering, asked: Asked) -> Answer:
    _one_part(asked, 1)
    rows = await service.intervals()
    if not rows:
        return Answer(204)
    lines = ["timestampStart,durationSeconds,messageCount,messageSizeBytes,notificationCount"]
    lines += [f"{start},{MAIL_INTERVAL_SECONDS},{count},{size},0" for start, count, size in rows]
    return Answer(200, "\n".join(lines).encode(), b"text/csv; charset=utf-8")


async def _get_profile(service: Delivering, asked: Asked) -> Answer:
    receiver = await service.accounts.of_name(named(_name(asked, 2)))
    return plain(404) if receiver is None else said(receiver.signed.value())


async def _post_profile(service: Delivering, asked: Asked) -> Answer:
    name = _name(asked, 2)
    try:
        return said(await service.accounts.register(name, await asked.json()))
    except Dms3Error as error:
        match error.code:
            case "argument_invalid" if error.message == SCHEMA:
                return said({"error": SCHEMA, "hint": error.hint}, 400)
            case "content_invalid" if "not signed" in error.message:
                return said({"message": "Couldn't store profile", "error": "{}"}, 400)
            case "not_found" | "content_invalid" | "argument_invalid":
                error_said = {"message": "Couldn't store profile", "error": str(error)}
                return said(error_said, 400)
        raise


async def _get_auth(service: Delivering, asked: Asked) -> Answer:
    return said(await service.accounts.challenge(_name(asked, 2)))


async def _post_auth(service: Delivering, asked: Asked) -> Answer:
    name = _name(asked, 2)
    body = await asked.json()
    texts = ("challenge", "signature")
    if not isinstance(body, dict) or set(body) != set(texts):
        return plain(400)
    if not all(isinstance(body[key], str) for key in texts):
        return plain(400)
    try:
        return said(await service.accounts.session(name, body["challenge"], body["signature"]))
    except Dms3Error as error:
        if error.code in ("unauthorized", "not_found"):
            return said({"error": error.message}, 400)
        raise


async def _get_delivery(service: Delivering, asked: Asked) -> Answer:
    match asked.parts:
        case (_, "messages", "incoming", name):
            sender = None
        case (_, "messages", name, "contact", contact):
            sender = contact
        case _:
            raise _no_route(asked)
    receiver = await authorised(service, asked, name)
    if isinstance(receiver, Answer):
        return receiver
    if sender is not None:
        found = await service.conversation(receiver, sender)
        return Answer(200, _array(waiting.text for waiting in found), JSON)
    page = _page(asked.query)
    sealed = asked.query.get("sealed") == "true"
    found = await service.incoming(receiver, sealed=sealed, page=page)
    headers = ((NEXT, str(found[-1].id).encode()),) if page and found else ()
    return Answer(200, _array(waiting.text for waiting in found), JSON, headers)


async def _post_delivery(service: Delivering, asked: Asked) -> Answer:
    match asked.parts:
        case (_, "messages", name, "syncAcknowledgements"):
            receiver = await authorised(service, asked, name)
        case _:
            raise _no_route(asked)
    if isinstance(receiver, Answer):
        return receiver
    try:
        given = decode_acknowledgements(await asked.json())
    except DecodeError:
        return plain(400)
    await service.acknowledge(receiver, [(one.contact, one.message_hash) for one in given])
    return Answer(200, b"", JSON)


async def _get_rules(service: Delivering, asked: Asked) -> Answer:
    receiver = await authorised(service, asked, _name(asked, 2))
    return receiver if isinstance(receiver, Answer) else said(receiver.rules.value())


async def _post_rules(service: Delivering, asked: Asked) -> Answer:
    receiver = await authorised(service, asked, _name(asked, 2))
    if isinstance(receiver, Answer):
        return receiver
    rules = await service.accounts.set_rules(receiver, await asked.json())
    return said(rules.value())


async def _get_notifications(service: Delivering, asked: Asked) -> Answer:
    is_global = asked.parts[1:2] == ("global",)
    receiver = await authorised(service, asked, _name(asked, 3 if is_global else 2))
    if isinstance(receiver, Answer):
        return receiver
    return said({"isEnabled": False} if is_global else {"notificationChannels": []})


async def _change_notifications(service: Delivering, asked: Asked) -> Answer:
    """Nothing is sent by e-mail or push; what is wrong is said in the words of the reference."""
    receiver = await authorised(service, asked, asked.parts[-1])
    if isinstance(receiver, Answer):
        return receiver
    body = await asked.json()
    if not isinstance(body, dict):
        return plain(400)
    if asked.parts[1:2] == ("global",):
        if not isinstance(body.get("isEnabled"), bool):
            return said({"error": "Invalid value"}, 400)
        if body["isEnabled"]:
            return said({"error": "This service sends no notifications"}, 400)
        return Answer(200, b"OK")
    channel = asked.parts[2] if asked.method == "DELETE" else body.get("notificationChannelType")
    problem = _channel_problem(channel, body) if len(asked.parts) == 2 else _kind_problem(channel)
    return said({"error": problem or "Global notifications is off"}, 400)


def _kind_problem(channel: Any) -> str:
    if not channel:
        return "Notification Channel Type is missing"
    return "" if channel in CHANNELS else "Invalid notification channel type"


def _channel_problem(channel: Any, body: Mapping[str, Any]) -> str:
    problem = _kind_problem(channel)
    value = body.get("recipientValue")
    if problem or not value:
        return problem or "Recipient value is missing"
    fits = isinstance(value, str) and (
        "@" in value if channel == "EMAIL" else '"endpoint"' in value
    )
    return "" if fits else f"Invalid {channel.lower()} value"


async def _rpc(service: Delivering, asked: Asked) -> Answer:
    _one_part(asked, 1)
    try:
        body = await asked.json()
    except Dms3Error as error:
        if error.code != "body_malformed":
            raise
        return _rpc_error(None, error)
    if not isinstance(body, dict) or body.get("method") is None:
        return plain(400)
    params = body.get("params")
    first = params[0] if isinstance(params, list) and params else None
    match body["method"]:
        case "dm3_submitMessage":
            return await _submit(service, first, body)
        case "dm3_getDeliveryServiceProperties":
            return _result(body, service.properties.text())
        case "dm3_getProfileExtension":
            return await _extension(service, first, body)
    return said({"error": "Method not allowed"}, 405)


async def _submit(service: Delivering, given: Any, body: Mapping[str, Any]) -> Answer:
    if not given:
        return Answer(400, b"Envelop missing")
    try:
        await service.submit(given)
    except Dms3Error as error:
        match error.code:
            case "body_malformed":
                return Answer(400, b"Error parsing envelop")
            case "content_invalid" if error.message == SCHEMA:
                return said({"error": SCHEMA, "hint": error.hint}, 400)
        return _rpc_error(body.get("id"), error)
    return Answer(200, b"OK")


async def _extension(service: Delivering, name: Any, body: Mapping[str, Any]) -> Answer:
    try:
        receiver = await service.accounts.of_name(named(name))
    except Dms3Error as error:
        if error.code != "argument_invalid":
            return _rpc_error(body.get("id"), error)
        receiver = None
    if receiver is None:
        return said({"error": "unknown user"}, 400)
    return _result(body, ProfileExtension().text())


def _result(body: Mapping[str, Any], result: str) -> Answer:
    echoed = {"id": body["id"]} if "id" in body else {}
    return said({"jsonrpc": "2.0", "result": result, **echoed})


def _rpc_error(identifier: Any, error: Dms3Error) -> Answer:
    """A JSON-RPC error; the status is 400 as the reference's unless trying again can help."""
    status = _status(error) if error.retry is not Retry.NEVER else 400
    told = {
        "code": _RPC_CODES.get(error.code, _INVALID_INPUT),
        "message": error.message,
        "data": {"code": error.code, "hint": error.hint, "retry": error.retry.value},
    }
    return said({"jsonrpc": "2.0", "id": identifier, "error": told}, status)


def _name(asked: Asked, parts: int) -> str:
    _one_part(asked, parts)
    return asked.parts[-1]


def _one_part(asked: Asked, parts: int) -> None:
    if len(asked.parts) != parts:
        raise _no_route(asked)


def _no_route(asked: Asked) -> Dms3Error:
    path = "/".join(asked.parts)[:80]
    return Dms3Error("method_unknown", f"There is no {asked.method} /{path}.")


def _page(query: Mapping[str, str]) -> tuple[int, int] | None:
    """`after` and `limit` of a page; None when none was asked for. Raises `argument_invalid`."""
    if "limit" not in query:
        return None
    after, limit = query.get("after", "0"), query["limit"]
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in (after, limit)):
        raise Dms3Error("argument_invalid", "after and limit are whole numbers.")
    return int(after), min(int(limit), MAIL_ACCOUNT_MESSAGES_MAX)


def _array(texts: Any) -> bytes:
    return f"[{','.join(texts)}]".encode()


def _preflight(headers: Headers) -> Answer:
    wanted = headers.get("access-control-request-headers")
    allowed = ((b"access-control-allow-headers", wanted.encode("latin-1")),) if wanted else ()
    return Answer(204, b"", TEXT, (*_PREFLIGHT, *allowed))


async def _send(send: Send, answer: Answer, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    found = [(b"content-length", str(len(answer.body)).encode()), *headers, *answer.headers]
    if answer.body or answer.kind is not TEXT:
        found.append((b"content-type", answer.kind))
    if answer.status == 204:
        del found[0]
    await send({"type": "http.response.start", "status": answer.status, "headers": found})
    await send({"type": "http.response.body", "body": answer.body})


_STATUS_NAMES = {400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found"}

HANDLERS: Mapping[tuple[str, str], Handler] = {
    ("GET", "hello"): _hello,
    ("GET", "metrics"): _metrics,
    ("GET", "profile"): _get_profile,
    ("POST", "profile"): _post_profile,
    ("GET", "auth"): _get_auth,
    ("POST", "auth"): _post_auth,
    ("GET", "delivery"): _get_delivery,
    ("POST", "delivery"): _post_delivery,
    ("GET", "rules"): _get_rules,
    ("POST", "rules"): _post_rules,
    ("GET", "notifications"): _get_notifications,
    ("POST", "notifications"): _change_notifications,
    ("DELETE", "notifications"): _change_notifications,
    ("POST", "rpc"): _rpc,
}
