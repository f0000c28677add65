"""Push of new envelopes to connected receivers, over socket.io as the dm3 reference has it.

Source: dm3 reference, packages/delivery-service/src/ws and messaging.ts; socket.io protocol 5 by
python-socketio. Every socket of an account gets what arrives. A client that is given the service's
whole URL takes its path for a namespace, so both names of the namespace are served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import socketio
from socketio.exceptions import ConnectionRefusedError as RefusedError
from starlette.types import ASGIApp

from dms3.api.dm3 import PREFIX
from dms3.api.dm3_answers import Services
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    DM3_TOKEN_CHARS_MAX,
    MAIL_PUSHES_WAITING_MAX,
    MAIL_SOCKETS_PER_ACCOUNT_MAX,
    PUBLIC_BODY_BYTES_MAX,
    PUBLIC_HOSTS_NOTED_MAX,
    PUBLIC_REQUESTS_BURST_MAX,
    PUBLIC_REQUESTS_PER_SECOND,
    SECOND_US,
)
from dms3.delivery.rates import Rates
from dms3.node.delivering import Delivering

NAMESPACES = ("/", f"/{PREFIX}")
REFUSED = "check token has failed for WS"
"""What the reference says to whoever has no session."""

_SEALED = "/sealed"  # ends the name of the room of sockets that want what was sealed, too


class Pushes:
    """The sockets of one service. Serve `app` while `running`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins="*",
            max_http_buffer_size=PUBLIC_BODY_BYTES_MAX,
            namespaces=list(NAMESPACES),
            logger=False,
            engineio_logger=False,
        )
        self.app: ASGIApp = socketio.ASGIApp(self._server, socketio_path="")
        self._waiting: asyncio.Queue[tuple[str, Any, str, str]] = asyncio.Queue(
            MAIL_PUSHES_WAITING_MAX
        )
        self._rates = Rates(
            PUBLIC_REQUESTS_PER_SECOND, PUBLIC_REQUESTS_BURST_MAX, PUBLIC_HOSTS_NOTED_MAX
        )
        for namespace in NAMESPACES:
            self._server.on("connect", self._connector(namespace), namespace=namespace)
            self._server.on("submitMessage", self._submit, namespace=namespace)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sockets are served during the block and closed at its end."""
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send())
            try:
                yield
            finally:
                sending.cancel()
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

    async def _submit(self, sid: str, data: Any = None) -> dict[str, str]:
        """An envelope over a socket; the acknowledgement says what became of it."""
        now_us = int(asyncio.get_running_loop().time() * SECOND_US)
        if self._rates.take(sid, now_us):
            return {"error": "too many messages at once"}
        try:
            await self._services().submit(data.get("envelop") if isinstance(data, dict) else None)
        except Dms3Error as error:
            return {"error": error.message}
        return {"response": "success"}


async def _authorised(service: Delivering, auth: Any) -> tuple[str, bool]:
    """The address that `auth` has a session of, and whether it asks for what was sealed."""
    try:
        name, token = auth["account"]["ensName"], auth["token"]
        if not isinstance(token, str) or len(token) > DM3_TOKEN_CHARS_MAX:
            raise DecodeError(0, "expected a token")
        return (await service.accounts.authorised(name, token)).address, auth.get("sealed") is True
    except (TypeError, KeyError) as cause:
        raise DecodeError(0, "expected account.ensName and token") from cause
