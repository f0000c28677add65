"""Conversation storage of a delivery service: lockers, and the storage routes of the reference.

Source: docs/storage.md, "A delivery service"; dm3 reference, packages/backend/src/storage.ts, whose
statuses and bodies are given where it has them (recorded: vectors 16). Everything is sealed by
clients. Accounts and sessions are those of the delivery service (`api/dm3.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from dms3.api.answers import dumps
from dms3.api.dm3_answers import JSON, Answer, Asked, Handler, authorised, said
from dms3.core.database import Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    CLOUD_BATCH_MAX,
    CLOUD_CONTAINER_BYTES_MAX,
    CLOUD_NUMBER_MAX,
    CLOUD_PAGE_MAX,
    CLOUD_TEXT_CHARS_MAX,
    LOCKER_OBJECT_BYTES_MAX,
    MAIL_TOTAL_BYTES,
)
from dms3.core.machine import Now
from dms3.delivery.admission import named
from dms3.io.lockers import Bounds, Lockers
from dms3.io.lockers_dm3 import Cloud, DuplicateError, Stored, key_of
from dms3.node.delivering import Delivering

T = TypeVar("T")

NAME = "storage"
_NAME = re.compile(r"[0-9a-f]{64}")
_INTEGER = re.compile(r"\s*([+-]?\d{1,15})")  # as JavaScript's parseInt reads a beginning
_CONVERSATIONS, _MESSAGES = 10, 100  # rows of a page when nothing is asked, as the reference
_BYTES = b"application/octet-stream"
_DATE_MS_MAX = 253_402_300_799_999  # the last instant of the year 9999
_INVALID = "invalid schema"


class _RefusedError(Exception):
    """What the reference answers with status 400: `text` is its body."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose request it is: the account (an address), and the name by which it came."""

    account: str
    name: str


Action = Callable[[Asked, _Owner], Awaitable[Answer]]


def storage_handlers(
    database: Callable[[], Database], now: Callable[[], Now], total: int = MAIL_TOTAL_BYTES
) -> Mapping[tuple[str, str], Handler]:
    """Handlers for `api/dm3.py` (`Dm3(more=...)`).

    `database`: that of the open node; raises as `Services` does while there is none.
    `total`: bytes of mail and lockers of all people together.
    """
    bounds = Bounds(total=total)
    routes = _Routes(database, bounds, _Reference(database, bounds, now))
    return {(method, NAME): routes.handle for method in ("GET", "PUT", "POST", "DELETE")}


class _Routes:
    """Which request is for what."""

    def __init__(
        self, database: Callable[[], Database], bounds: Bounds, reference: _Reference
    ) -> None:
        self._database = database
        self._bounds = bounds
        self._reference = reference

    async def handle(self, service: Delivering, asked: Asked) -> Answer:
        """Answer one request below /dm3/storage."""
        match asked.parts:
            case (_, "objects", name, *rest):
                action = self._own(asked.method, rest)
            case (_, "new", name, verb, *rest):
                asked_for = (asked.method, verb, bool(rest))
                action = self._reference.action(asked_for, "/".join(rest))
            case _:
                action = None
        if action is None:
            path = "/".join(asked.parts)[:80]
            raise Dms3Error("method_unknown", f"There is no {asked.method} /{path}.")
        receiver = await authorised(service, asked, name)
        if isinstance(receiver, Answer):
            return receiver
        try:
            return await action(asked, _Owner(receiver.address, named(name)))
        except _RefusedError as refused:
            return Answer(400, refused.text.encode())

    def _own(self, method: str, rest: list[str]) -> Action | None:
        """Objects of conversation storage as dms3 keeps it."""
        lockers = Lockers(self._database(), self._bounds)
        if not rest:
            return _names(lockers) if method == "GET" else None
        if len(rest) > 1 or not _NAME.fullmatch(rest[0]):
            raise Dms3Error("argument_invalid", "A name of an object is 64 characters of hex.")
        makers = {"PUT": _put, "GET": _get, "DELETE": _delete}
        return makers[method](lockers, rest[0]) if method in makers else None


def _put(lockers: Lockers, name: str) -> Action:
    async def act(asked: Asked, owner: _Owner) -> Answer:
        data = await asked.bytes()
        if len(data) > LOCKER_OBJECT_BYTES_MAX:
            why = f"An object has at most {LOCKER_OBJECT_BYTES_MAX} bytes here."
            raise Dms3Error("body_too_large", why)
        await _done(lockers.put(owner.account, name, data))
        return Answer(204)

    return act


def _get(lockers: Lockers, name: str) -> Action:
    async def act(_: Asked, owner: _Owner) -> Answer:
        data = await asyncio.to_thread(lockers.get, owner.account, name)
        return Answer(404) if data is None else Answer(200, data, _BYTES)

    return act


def _delete(lockers: Lockers, name: str) -> Action:
    async def act(_: Asked, owner: _Owner) -> Answer:
        await _done(lockers.delete(owner.account, name))
        return Answer(204)

    return act


def _names(lockers: Lockers) -> Action:
    async def act(asked: Asked, owner: _Owner) -> Answer:
        after = asked.query.get("after", "")[:64]
        names = await asyncio.to_thread(lockers.names, owner.account, after)
        return said({"names": names})

    return act


class _Reference:
    """What the reference's client asks for."""

    def __init__(
        self, database: Callable[[], Database], bounds: Bounds, now: Callable[[], Now]
    ) -> None:
        self._database = database
        self._bounds = bounds
        self._now = now
        self._actions: dict[tuple[str, str, bool], Callable[..., Awaitable[Answer]]] = {
            ("POST", "addConversation", False): self._add_conversation,
            ("POST", "addMessage", False): self._add_message,
            ("POST", "addMessageBatch", False): self._add_batch,
            ("POST", "editMessageBatch", False): self._edit_batch,
            ("POST", "clearHaltedMessage", False): self._clear_halted,
            ("POST", "toggleHideConversation", False): self._hide,
            ("GET", "getConversations", False): self._conversations,
            ("GET", "getNumberOfConversations", False): self._conversation_count,
            ("GET", "getHaltedMessages", False): self._halted,
            ("GET", "getMessages", True): self._messages,
            ("GET", "getNumberOfMessages", True): self._message_count,
        }

    def action(self, asked_for: tuple[str, str, bool], contact: str) -> Action | None:
        """What answers a request; the contact's name, sealed, may have slashes."""
        action = self._actions.get(asked_for)
        if action is None:
            return None
        more = (contact,) if asked_for[2] else ()
        return lambda asked, owner: action(asked, owner, *more)

    @property
    def _cloud(self) -> Cloud:
        return Cloud(self._database(), self._bounds)

    async def _add_conversation(self, asked: Asked, owner: _Owner) -> Answer:
        body = await _body(asked)
        contact = _text(body, "encryptedContactName")
        location = body.get("encryptedProfileLocation") or ""
        if not isinstance(location, str) or len(location) > CLOUD_TEXT_CHARS_MAX:
            raise _RefusedError("unable to add conversation")
        work = self._cloud.add_conversation(owner.account, contact, location, self._now_ms())
        await _done(work)
        return _ok()

    async def _add_message(self, asked: Asked, owner: _Owner) -> Answer:
        body = await _body(asked)
        contact = _contact(body.pop("encryptedContactName", None))
        stored = _stored(body, owner)
        try:
            await _done(self._cloud.add(owner.account, contact, [stored], self._now_ms()))
        except DuplicateError as error:
            raise _RefusedError("unable to add message") from error
        return _ok()

    async def _add_batch(self, asked: Asked, owner: _Owner) -> Answer:
        contact, batch = _batch(await _body(asked), "messageBatch", owner)
        try:
            await _done(self._cloud.add(owner.account, contact, batch, self._now_ms()))
        except DuplicateError:
            return _ok()  # as the reference, which stores nothing of such a batch either
        return _ok()

    async def _edit_batch(self, asked: Asked, owner: _Owner) -> Answer:
        contact, batch = _batch(await _body(asked), "editMessageBatchPayload", owner)
        await _done(self._cloud.edit(owner.account, contact, batch, self._now_ms()))
        return _ok()

    async def _conversations(self, asked: Asked, owner: _Owner) -> Answer:
        limit, skip = _page(asked, _CONVERSATIONS)
        found = await asyncio.to_thread(self._cloud.conversations, owner.account, limit, skip)
        return said(found)

    async def _conversation_count(self, _: Asked, owner: _Owner) -> Answer:
        return said(await asyncio.to_thread(self._cloud.conversation_count, owner.account))

    async def _messages(self, asked: Asked, owner: _Owner, contact: str) -> Answer:
        limit, skip = _page(asked, _MESSAGES)
        rows = await asyncio.to_thread(self._cloud.messages, owner.account, contact, limit, skip)
        texts = [dumps({**row, "ownerId": owner.name}).decode() for row in rows]
        return Answer(200, dumps(texts), JSON)  # JSON texts in a JSON array, as the reference

    async def _message_count(self, _: Asked, owner: _Owner, contact: str) -> Answer:
        return said(await asyncio.to_thread(self._cloud.message_count, owner.account, contact))

    async def _halted(self, _: Asked, owner: _Owner) -> Answer:
        return said(await asyncio.to_thread(self._cloud.halted, owner.account, CLOUD_PAGE_MAX))

    async def _clear_halted(self, asked: Asked, owner: _Owner) -> Answer:
        body = await _body(asked)
        key, alias = _text(body, "messageId"), body.get("aliasName")
        if not isinstance(alias, str) or len(alias) > CLOUD_TEXT_CHARS_MAX:
            alias = None
        if not await _done(self._cloud.clear_halted(owner.account, key, alias)):
            raise _RefusedError("unable to clear halted message")
        return _ok()

    async def _hide(self, asked: Asked, owner: _Owner) -> Answer:
        body = await _body(asked)
        contact, hidden = _text(body, "encryptedContactName"), body.get("hide")
        if not isinstance(hidden, bool):
            raise _RefusedError("unable to toggle hide-conversation")
        await _done(self._cloud.hide(owner.account, contact, hidden=hidden))
        return _ok()

    def _now_ms(self) -> int:
        return self._now().wall_us // 1_000


async def _done(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)


async def _body(asked: Asked) -> dict[str, Any]:
    found = await asked.json()
    if not isinstance(found, dict):
        raise _RefusedError(_INVALID)
    return dict(found)


def _batch(body: dict[str, Any], key: str, owner: _Owner) -> tuple[str, list[Stored]]:
    given = body.pop(key, None)
    contact = _contact(body.pop("encryptedContactName", None))
    if body or not isinstance(given, list) or len(given) > CLOUD_BATCH_MAX:
        raise _RefusedError(_INVALID)
    members = [dict(each) if isinstance(each, dict) else {} for each in given]
    return contact, [_stored(each, owner) for each in members]


def _stored(given: dict[str, Any], owner: _Owner) -> Stored:
    """The message in `given`, which has these members and no others, as the reference's schema."""
    message, container = given.pop("messageId", None), given.pop("encryptedEnvelopContainer", None)
    created, halted = given.pop("createdAt", None), given.pop("isHalted", None)
    fits = (
        isinstance(message, str)
        and 0 < len(message) <= CLOUD_TEXT_CHARS_MAX
        and isinstance(container, str)
        and len(container) <= CLOUD_CONTAINER_BYTES_MAX
        and type(created) in (int, float)
        and 0 <= created <= _DATE_MS_MAX
        and isinstance(halted, bool)
    )
    if given or not fits:
        raise _RefusedError(_INVALID)
    return Stored(key_of(owner.name, str(message)), int(created), str(container), bool(halted))


def _contact(given: Any) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= CLOUD_TEXT_CHARS_MAX:
        raise _RefusedError(_INVALID)
    return given


def _text(body: dict[str, Any], key: str) -> str:
    return _contact(body.get(key))


def _page(asked: Asked, usual: int) -> tuple[int, int]:
    """How many rows are asked for, and how many are skipped; `offset` counts pages."""
    size = _number(asked, "pageSize") or usual
    pages = _number(asked, "offset")
    if not 0 < size <= CLOUD_PAGE_MAX or not 0 <= pages * size <= CLOUD_NUMBER_MAX:
        raise _RefusedError(_INVALID)
    return size, pages * size


def _number(asked: Asked, key: str) -> int:
    match = _INTEGER.match(asked.query.get(key, ""))
    return int(match[1]) if match else 0


def _ok() -> Answer:
    return Answer(200, b"OK")
