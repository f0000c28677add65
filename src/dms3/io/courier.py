"""Carries envelopes to delivery services and asks own ones what waits: the port "courier".

Source: `messaging/operations.py`; dm3, the reference's delivery service (JSON-RPC, REST). Opens no
envelope and verifies nothing: what a service says is material for machine "mailbox". No token, seed
or envelope is written to a log or an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.limits import (
    COURIER_ACKNOWLEDGED_MAX,
    COURIER_ANSWER_BYTES_MAX,
    COURIER_ENVELOPE_BYTES_MAX,
    COURIER_INCOMING_BYTES_MAX,
    COURIER_READ_BYTES_MAX,
    COURIER_TOKEN_CHARS_MAX,
    COURIER_WORDS_CHARS_MAX,
    PUSH_LISTENERS_MAX,
)
from dms3.delivery.rules import RulesAt, SpamRules, decode_rules
from dms3.dm3.keys import ProfileKeys
from dms3.io.courier_http import Allowed, Asked, Door, misbehaved, where
from dms3.messaging.operations import (
    Acknowledge,
    Incoming,
    Limits,
    Listen,
    Login,
    Register,
    Submit,
)

_OLD_SCHEMA = "invalid schema"  # what the reference says to the other form of an envelope
_LATER = (429, 500, 502, 503, 504)
_STRUCTURE = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")


class Courier:
    """The port; `run` keeps the push connections while it runs.

    `allowed`: which addresses services may lie at. `arrived`: told the name of an own service that
    pushed something.
    """

    def __init__(self, allowed: Allowed, arrived: Callable[[str], Awaitable[None]]) -> None:
        self._allowed = allowed
        self._arrived = arrived
        self._door = Door(allowed)
        self._group: asyncio.TaskGroup | None = None
        self._listening: dict[str, tuple[Listen, asyncio.Task[None]]] = {}
        self._operations: dict[str, tuple[type, Callable[[Any], Awaitable[Any]]]] = {
            "submit": (Submit, self._submit),
            "login": (Login, self._login),
            "incoming": (Incoming, self._incoming),
            "acknowledge": (Acknowledge, self._acknowledge),
            "register": (Register, self._register),
            "limits": (str, self._limits),
            "listen": (Listen, self._listen),
            "rules": (RulesAt, self._rules),
        }

    async def run(self) -> None:
        """Hold push connections until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            await self._door.close()

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation of the port; raises as `messaging/operations.py` says."""
        kind, handler = self._operations.get(operation, (object, None))
        if handler is None or not isinstance(arguments, kind):
            return Failure("method_unknown", f"The courier has no operation {operation!r} so.")
        return await handler(arguments)

    async def _submit(self, wanted: Submit) -> None:
        status, body = await self._call(wanted.url, "dm3_submitMessage", [wanted.envelope])
        if status == 400 and wanted.legacy and _words(body) == _OLD_SCHEMA:
            status, body = await self._call(wanted.url, "dm3_submitMessage", [wanted.legacy])
        _check(wanted.url, status, body)

    async def _login(self, wanted: Login) -> str:
        return await self._session(wanted.url, wanted.name, ProfileKeys.of_seed(wanted.seed))

    async def _rules(self, wanted: RulesAt) -> SpamRules:
        """The rules for senders that a service keeps, after `wanted` ones were set."""
        token = await self._session(wanted.url, wanted.name, wanted.keys)
        url = f"{_base(wanted.url)}/rules/{quote(wanted.name, safe='')}"
        if wanted.rules is None:
            asked = Asked("GET", url, token=token)
        else:
            asked = Asked("POST", url, _dumps(wanted.rules.value()), token)
        status, body = await self._door.ask(asked)
        _check(url, status, body)
        try:
            return decode_rules(_value(url, body))
        except DecodeError as error:
            raise misbehaved(url, "answers rules that are none") from error

    async def _session(self, base: str, name: str, keys: ProfileKeys) -> str:
        url = f"{_base(base)}/auth/{quote(name, safe='')}"
        challenge = await self._text(Asked("GET", url))
        signature = keys.sign(challenge)
        body = _dumps({"challenge": challenge, "signature": signature})
        return await self._text(Asked("POST", url, body))

    async def _text(self, asked: Asked) -> str:
        """The JSON string that is answered; some services wrap it in an object."""
        status, body = await self._door.ask(asked)
        _check(asked.url, status, body)
        text = _value(asked.url, body)
        if isinstance(text, dict):
            text = text.get("challenge") or text.get("token")
        if not isinstance(text, str) or not 0 < len(text) <= COURIER_TOKEN_CHARS_MAX:
            raise misbehaved(asked.url, "answers no token")
        if not text.isascii() or not text.isprintable():
            raise misbehaved(asked.url, "answers a token that is none")
        return text

    async def _incoming(self, wanted: Incoming) -> tuple[str, ...]:
        name = quote(wanted.name, safe="")
        url = f"{_base(wanted.url)}/delivery/messages/incoming/{name}"
        found: list[str] = []
        size = 0
        async with self._door.open(Asked("GET", url, token=wanted.token)) as (status, pieces):
            if status != 200:
                _check(url, status, await _beginning(pieces))
                raise misbehaved(url, f"answers {status}")
            async with aclosing(_elements(pieces, url)) as elements:
                async for envelope in elements:
                    size += len(envelope)
                    found.append(envelope)
                    if len(found) >= wanted.limit or size > COURIER_INCOMING_BYTES_MAX:
                        break
        return tuple(found)

    async def _acknowledge(self, wanted: Acknowledge) -> None:
        name = quote(wanted.name, safe="")
        url = f"{_base(wanted.url)}/delivery/messages/{name}/syncAcknowledgements/"
        for start in range(0, len(wanted.messages), COURIER_ACKNOWLEDGED_MAX):
            some = wanted.messages[start : start + COURIER_ACKNOWLEDGED_MAX]
            rows = [{"contactAddress": who, "messageHash": which} for who, which in some]
            body = _dumps({"acknowledgements": rows})
            _check(url, *await self._door.ask(Asked("POST", url, body, wanted.token)))

    async def _register(self, wanted: Register) -> None:
        url = f"{_base(wanted.url)}/profile/{quote(wanted.name, safe='')}"
        body = _dumps(wanted.profile.value())
        _check(url, *await self._door.ask(Asked("POST", url, body)))

    async def _limits(self, url: str) -> Limits:
        status, body = await self._call(url, "dm3_getDeliveryServiceProperties", [])
        _check(url, status, body)
        answer = _value(url, body)
        result = answer.get("result") if isinstance(answer, dict) else None
        said = _value(url, result.encode()) if isinstance(result, str) else result
        if not isinstance(said, dict):
            raise misbehaved(url, "answers no properties")
        size, keep = said.get("sizeLimit"), said.get("messageTTL", 0)
        if type(size) is not int or type(keep) not in (int, float) or size < 0 or keep < 0:
            raise misbehaved(url, "answers properties that are none")
        return Limits(size, int(keep))

    async def _call(self, url: str, method: str, parameters: list[Any]) -> tuple[int, bytes]:
        body = _dumps({"jsonrpc": "2.0", "method": method, "params": parameters})
        return await self._door.ask(Asked("POST", f"{_base(url)}/rpc", body))

    async def _listen(self, wanted: Listen) -> None:
        """Keep a push connection; the same one asked for again goes on, or was refused before."""
        assert self._group is not None, "the courier runs"
        before = self._listening.get(wanted.url)
        if before is not None:
            if before[0] == wanted:
                return
            before[1].cancel()
        elif len(self._listening) >= PUSH_LISTENERS_MAX:
            raise Dms3Error("limit_reached", f"{PUSH_LISTENERS_MAX} push connections are held.")
        from dms3.io.courier_push import listen  # noqa: PLC0415  # 0.3 s of a start; few nodes need it

        task = self._group.create_task(listen(wanted, self._allowed, self._arrived))
        self._listening[wanted.url] = (wanted, task)


def _base(url: str) -> str:
    return url.rstrip("/")


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _value(url: str, body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as cause:
        raise misbehaved(url, "answers something that is not JSON") from cause


def _check(url: str, status: int, body: bytes) -> None:
    """Return for a success; raises what the status means."""
    if 200 <= status < 300:
        return
    said = _words(body)
    why = f": {said}" if said else ""
    if status == 401:
        raise Dms3Error("unauthorized", f"The service {where(url)} wants a new login.")
    if status in _LATER:
        raise Dms3Error("peer_unreachable", f"The service {where(url)} answers {status}{why}.")
    raise Dms3Error("peer_refused", f"The service {where(url)} refused it ({status}){why}.")


def _words(body: bytes) -> str:
    """What a service says of a refusal: a text, or an object with `error` or `message`."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", "replace")
    if isinstance(value, dict):
        value = value.get("error") or value.get("message") or value.get("detail") or ""
    if isinstance(value, dict):  # JSON-RPC
        value = value.get("message") or ""
    if not isinstance(value, str) or value.lstrip().startswith("<"):  # a page for a browser
        return ""
    text = "".join(char if char.isprintable() else " " for char in value)
    return " ".join(text.split())[:COURIER_WORDS_CHARS_MAX].rstrip(".")


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for piece in pieces:
        body += piece
        if len(body) > COURIER_ANSWER_BYTES_MAX:
            return b""
    return body


async def _elements(pieces: AsyncIterator[bytes], url: str) -> AsyncGenerator[str, None]:
    """The elements of the JSON array in `pieces`, each as its text, as soon as it is there.

    One larger than COURIER_ENVELOPE_BYTES_MAX, or no text, is left out. Nothing is parsed but the
    structure: what an element is, whoever takes it finds out.
    """
    cutter = Cutter()
    read = 0
    async for piece in pieces:
        read += len(piece)
        if read > COURIER_READ_BYTES_MAX:
            return
        try:
            for element in cutter.feed(piece):
                yield element
        except ValueError as cause:
            raise misbehaved(url, "answers no list of messages") from cause
    if not cutter.ended:
        raise misbehaved(url, "answers a list that is cut off")


class Cutter:
    """Cuts a JSON array into the texts of its elements, fed in pieces; raises ValueError."""

    def __init__(self) -> None:
        self._rest = bytearray()  # of the array, from the element that is being read on
        self._at = 0  # in `rest`: looked at up to here
        self._depth = 0
        self._quoted = False
        self._skipping = False
        self.ended = False

    def feed(self, piece: bytes) -> list[str]:
        """The elements that are whole now."""
        self._rest += piece
        found: list[str] = []
        start = 0  # of the element that is being read
        while not self.ended and (match := _STRUCTURE.search(self._rest, self._at)):
            self._at = match.end()
            mark = match[0]
            if mark == b'"':
                self._quoted = not self._quoted
            elif self._quoted or mark[:1] == b"\\":
                continue
            elif mark in _OPENING:
                self._depth += 1
                if self._depth == 1:
                    start = self._begin(mark, match.start())
            elif mark in _CLOSING:
                self._depth -= 1
                if self._depth == 0:
                    self._cut(found, start, match.start())
                    self.ended = True
            elif self._depth == 1:
                self._cut(found, start, match.start())
                start = self._at
        self._keep(start)
        return found

    def _begin(self, mark: bytes, place: int) -> int:
        if mark != b"[" or self._rest[:place].strip():
            raise ValueError("no array")
        return place + 1

    def _cut(self, found: list[str], start: int, end: int) -> None:
        element = self._rest[start:end].strip()
        skipping, self._skipping = self._skipping, False
        if skipping or not element or len(element) > COURIER_ENVELOPE_BYTES_MAX:
            return
        with contextlib.suppress(UnicodeDecodeError):
            found.append(element.decode())

    def _keep(self, start: int) -> None:
        """Let go of what was cut, and of an element that is too large."""
        if not self._depth and not self.ended:
            if self._rest.strip():
                raise ValueError("no array")
            return
        half = self._rest.endswith(b"\\")  # it and the next byte are one
        self._at = max(self._at, len(self._rest) - half)
        if len(self._rest) - start > COURIER_ENVELOPE_BYTES_MAX:
            self._skipping, start = True, self._at
        del self._rest[:start]
        self._at -= start
