"""The HTTP interface of a delivery service, as the dm3 reference has it: JSON-RPC and REST.

Source: dm3 reference, packages/delivery-service; docs/dm3.md, "Delivery service", which lists every
deliberate difference. Answers have the reference's status and body; what it answers with nothing
says here what was wrong. Rules are in `node/delivering.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dms3.api.answers import DisconnectedError
from dms3.api.dm3_answers import (
    JSON,
    TEXT,
    Answer,
    Asked,
    Handler,
    Services,
    authorised,
    check_parts,
    name_in,
    no_route,
    plain,
    refused,
    said,
)
from dms3.api.dm3_notices import answer_notices, change_notices
from dms3.api.dm3_rpc import answer_rpc
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import MAIL_ACCOUNT_MESSAGES_MAX, MAIL_INTERVAL_SECONDS
from dms3.delivery.admission import SCHEMA, named
from dms3.dm3.acknowledgement import decode_acknowledgements
from dms3.node.delivering import Delivering

PREFIX = "dm3"
NEXT = b"dm3-next"
"""Header of a page: the id to ask for what follows."""

_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", NEXT),
)
_PREFLIGHT = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET,HEAD,PUT,PATCH,POST,DELETE"),
    (b"vary", b"Access-Control-Request-Headers"),
)


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
        except DisconnectedError:
            return  # nobody is left to be told
        except Dms3Error as error:
            answer = refused(error)
        await _send(send, answer, _CORS)

    async def _answer(self, asked: Asked) -> Answer:
        handler = self._handlers.get((asked.method, asked.parts[0] if asked.parts else ""))
        if handler is None:
            raise no_route(asked)
        return await handler(self._services(), asked)


async def _hello(_service: Delivering, asked: Asked) -> Answer:
    check_parts(asked, 1)
    return Answer(200, b"Hello DM3")


async def _metrics(service: Delivering, asked: Asked) -> Answer:
    check_parts(asked, 1)
    rows = await service.intervals()
    if not rows:
        return Answer(204)
    lines = ["timestampStart,durationSeconds,messageCount,messageSizeBytes,notificationCount"]
    lines += [f"{start},{MAIL_INTERVAL_SECONDS},{count},{size},0" for start, count, size in rows]
    return Answer(200, "\n".join(lines).encode(), b"text/csv; charset=utf-8")


async def _get_profile(service: Delivering, asked: Asked) -> Answer:
    receiver = await service.accounts.of_name(named(name_in(asked, 2)))
    return plain(404) if receiver is None else said(receiver.signed.value())


async def _post_profile(service: Delivering, asked: Asked) -> Answer:
    name = name_in(asked, 2)
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
    return said(await service.accounts.challenge(name_in(asked, 2)))


async def _post_auth(service: Delivering, asked: Asked) -> Answer:
    name = name_in(asked, 2)
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
            raise no_route(asked)
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
            raise no_route(asked)
    if isinstance(receiver, Answer):
        return receiver
    try:
        given = decode_acknowledgements(await asked.json())
    except DecodeError:
        return plain(400)
    await service.acknowledge(receiver, [(one.contact, one.message_hash) for one in given])
    return Answer(200, b"", JSON)


async def _get_rules(service: Delivering, asked: Asked) -> Answer:
    receiver = await authorised(service, asked, name_in(asked, 2))
    return receiver if isinstance(receiver, Answer) else said(receiver.rules.value())


async def _post_rules(service: Delivering, asked: Asked) -> Answer:
    receiver = await authorised(service, asked, name_in(asked, 2))
    if isinstance(receiver, Answer):
        return receiver
    return said(await service.set_rules(receiver, await asked.json()))


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
    ("GET", "notifications"): answer_notices,
    ("POST", "notifications"): change_notices,
    ("DELETE", "notifications"): change_notices,
    ("POST", "rpc"): answer_rpc,
}
