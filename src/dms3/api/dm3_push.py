"""Push of new envelopes to connected receivers, over socket.io as the dm3 reference has it.

Source: dm3 reference, packages/delivery-service/src/ws and messaging.ts; socket.io protocol 5 by
python-socketio. Every socket of an account gets what arrives. A client that is given the service's
whole URL takes its path for a namespace, so both names of the namespace are served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import socketio
import socketio.packet
from socketio.exceptions import ConnectionRefusedError as RefusedError
from starlette.types import ASGIApp

from dms3.api.dm3 import PREFIX
from dms3.api.dm3_answers import Services
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    DM3_TOKEN_CHARS_MAX,
    MAIL_PUSHES_WAITING_MAX,
    MAIL_SOCKET_LOGIN_SECONDS_MAX,
    MAIL_SOCKETS_PER_ACCOUNT_MAX,
    PUBLIC_BODY_BYTES_MAX,
    PUBLIC_CONNECTIONS_MAX,
    PUBLIC_HOSTS_NOTED_MAX,
    PUBLIC_REQUESTS_BURST_MAX,
    PUBLIC_REQUESTS_PER_SECOND,
    SECOND_US,
)
from dms3.delivery.rates import Rates
from dms3.dm3.canonical import parse
from dms3.node.delivering import Delivering

NAMESPACES = ("/", f"/{PREFIX}")
REFUSED = "check token has failed for WS"
"""What the reference says to whoever has no session."""

_SUBMIT = "submitMessage"
_SEALED = "/sealed"  # ends the name of the room of sockets that want what was sealed, too


class Pushes:
    """The sockets of one service. Serve `app` while `running`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        silent = logging.getLogger("dms3.pushes")
        silent.disabled = True  # the libraries would write a page for each packet that is none
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins="*",
            max_http_buffer_size=PUBLIC_BODY_BYTES_MAX,
            namespaces=list(NAMESPACES),
            serializer=_Packet,
            logger=silent,
            engineio_logger=silent,
        )
        for event in ("connect", "message"):
            self._server.eio.on(event, self._checked(event, self._server.eio.handlers[event]))
        self.app: ASGIApp = socketio.ASGIApp(self._server, socketio_path="")
        self._waiting: asyncio.Queue[tuple[str, Any, str, str]] = asyncio.Queue(
            MAIL_PUSHES_WAITING_MAX
        )
        self._rates = Rates(
            PUBLIC_REQUESTS_PER_SECOND, PUBLIC_REQUESTS_BURST_MAX, PUBLIC_HOSTS_NOTED_MAX
        )
        for namespace in NAMESPACES:
            self._server.on("connect", self._connector(namespace), namespace=namespace)
            self._server.on(_SUBMIT, self._submit, namespace=namespace)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sockets are served during the block and closed at its end."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._send(), self._sweep())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await self._server.shutdown()

    def offer(self, address: str, plain: str, both: str) -> None:
        """Push a new envelope to the sockets of `address`; too many at once are left to a fetch."""
        for room, text in ((address, plain), (address + _SEALED, both)):
            for namespace in NAMESPACES:
                if self._room(namespace, room):
                    with contextlib.suppress(asyncio.QueueFull):
                        self._waiting.put_nowait(("message", json.loads(text), room, namespace))

    def _room(self, namespace: str, room: str) -> list[str]:
        members = self._server.manager.get_participants(namespace, room)
        return [sid for sid, _ in members]

    def _checked(self, event: str, handler: Any) -> Any:
        """`handler` of Engine.IO, bounded: not too many sockets, no packet that is none."""

        async def opened(sid: str, environ: Any) -> Any:
            full = len(self._server.eio.sockets) > PUBLIC_CONNECTIONS_MAX
            return False if full else await handler(sid, environ)

        async def heard(sid: str, data: Any) -> None:
            try:
                await handler(sid, data)
            except (DecodeError, ValueError):
                await self._close(sid)

        return opened if event == "connect" else heard

    async def _sweep(self) -> None:
        """Close sockets that were there at the last look already and have no session yet."""
        before: set[str] = set()
        while True:
            await asyncio.sleep(MAIL_SOCKET_LOGIN_SECONDS_MAX)
            strangers = {sid for sid in self._server.eio.sockets if not self._logged_in(sid)}
            for sid in sorted(strangers & before):
                await self._close(sid)
            before = strangers

    async def _close(self, sid: str) -> None:
        socket = self._server.eio.sockets.pop(sid, None)
        if socket is not None:
            await socket.close(wait=False)
            await socket.queue.put(None)  # the packet alone leaves the end to the other side

    def _logged_in(self, sid: str) -> bool:
        manager = self._server.manager
        return any(manager.sid_from_eio_sid(sid, namespace) for namespace in NAMESPACES)

    async def _send(self) -> None:
        while True:
            event, data, room, namespace = await self._waiting.get()
            await self._server.emit(event, data, room=room, namespace=namespace)

    def _connector(self, namespace: str) -> Any:
        async def connect(sid: str, _environ: Any, auth: Any = None) -> None:
            try:
                service = self._services()
                address, sealed = await _authorised(service, auth)
            except Dms3Error as error:
                raise RefusedError(REFUSED) from error
            rooms = [self._room(namespace, address + end) for end in ("", _SEALED)]
            if sum(len(room) for room in rooms) >= MAIL_SOCKETS_PER_ACCOUNT_MAX:
                raise RefusedError("too many sockets of this account")
            service.push = self.offer
            room = address + _SEALED if sealed else address
            await self._server.enter_room(sid, room, namespace=namespace)
            # Sent after this has returned, and with it the packet that the socket is connected.
            with contextlib.suppress(asyncio.QueueFull):
                self._waiting.put_nowait(("authorized", None, sid, namespace))

        return connect

    async def _submit(self, sid: str, data: Any = None, *_: Any) -> dict[str, str]:
        """An envelope over a socket; the acknowledgement says what became of it."""
        now_us = int(asyncio.get_running_loop().time() * SECOND_US)
        if self._rates.take(sid, now_us):
            return {"error": "too many messages at once"}
        try:
            await self._services().submit(data.get("envelop") if isinstance(data, dict) else None)
        except Dms3Error as error:
            return {"error": error.message}
        return {"response": "success"}


class _Packet(socketio.packet.Packet):  # type: ignore[misc]  # untyped
    """A packet of the protocol: JSON within bounds. What is none raises DecodeError, or ValueError.

    Without attachments: the library keeps as many as a packet announces, however many that are.
    """

    json = SimpleNamespace(dumps=json.dumps, loads=lambda text: parse(text, PUBLIC_BODY_BYTES_MAX))

    def decode(self, encoded_packet: Any) -> int:
        """As the library, then looked at."""
        if not isinstance(encoded_packet, str):
            raise DecodeError(0, "a packet is text")
        attachments: int = super().decode(encoded_packet)
        given = self.data
        is_list = isinstance(given, list) and bool(given)
        if self.packet_type == socketio.packet.EVENT:
            fits = is_list and given[0] == _SUBMIT  # "connect" would be taken for a connection
        else:
            fits = self.packet_type in (socketio.packet.CONNECT, socketio.packet.DISCONNECT)
        if attachments or not fits:
            raise DecodeError(0, "no packet of this protocol")
        return attachments


async def _authorised(service: Delivering, auth: Any) -> tuple[str, bool]:
    """The address that `auth` has a session of, and whether it asks for what was sealed."""
    try:
        name, token = auth["account"]["ensName"], auth["token"]
        if not isinstance(token, str) or len(token) > DM3_TOKEN_CHARS_MAX:
            raise DecodeError(0, "expected a token")
        return (await service.accounts.authorised(name, token)).address, auth.get("sealed") is True
    except (TypeError, KeyError) as cause:
        raise DecodeError(0, "expected account.ensName and token") from cause
