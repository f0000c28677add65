"""Requests and answers of a delivery service's HTTP: what its routes have in common.

Source: dm3 reference, packages/delivery-service (Express); docs/dm3.md, "Delivery service". What a
route answers is in `dm3.py`, `dm3_rpc.py`, `dm3_notices.py` and `dm3_storage.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Receive

from dms3.api.answers import ENDS_CONNECTION, DisconnectedError, dumps
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PUBLIC_BODY_BYTES_MAX
from dms3.dm3.canonical import parse
from dms3.node.delivering import Delivering
from dms3.node.delivery_accounts import Receiver

JSON = b"application/json; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"

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
        """The body, whole; raises `body_too_large`, DisconnectedError when the rest never comes."""
        pieces = []
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError  # what came is a part, and must not be taken for all of it
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


def said(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, dumps(value), JSON)


def plain(status: int) -> Answer:
    """The name of a status as text, as the reference's `sendStatus` answers."""
    return Answer(status, _STATUS_NAMES[status])


def refused(error: Dms3Error) -> Answer:
    """What went wrong, for a person, with the status of its code."""
    told = said({"error": error.message, "hint": error.hint}, status_of(error))
    if error.code not in ENDS_CONNECTION:
        return told
    return Answer(told.status, told.body, told.kind, ((b"connection", b"close"),))


def status_of(error: Dms3Error) -> int:
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


def name_in(asked: Asked, parts: int) -> str:
    """The name at the end of a path of `parts` parts; raises `method_unknown` for another path."""
    check_parts(asked, parts)
    return asked.parts[-1]


def check_parts(asked: Asked, parts: int) -> None:
    """Raise `method_unknown` unless the path has `parts` parts."""
    if len(asked.parts) != parts:
        raise no_route(asked)


def no_route(asked: Asked) -> Dms3Error:
    """The refusal of a path that leads nowhere."""
    path = "/".join(asked.parts)[:80]
    return Dms3Error("method_unknown", f"There is no {asked.method} /{path}.")


_STATUS_NAMES = {400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found"}
