"""The asynchronous client of a node's API.

Source: docs/api.md. Everything the command line can do; nothing of a node is inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from dms3.core.errors import Dms3Error
from dms3.core.limits import MIB
from dms3.sdk import wire
from dms3.sdk.where import find_node


class Client:
    """Talks to one node: `async with Client() as client: await client.call("status")`.

    Arguments: `home`, the folder of the node (default: the platform's); `api`, its address
    (default: where the node of that home listens). Every method raises Dms3Error:
    `node_unreachable` when no node answers, otherwise what the node says.
    """

    def __init__(
        self,
        home: Path | None = None,
        api: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.where = find_node(home, api)
        self._http = httpx.AsyncClient(
            base_url=self.where.url,
            headers=wire.headers(self.where),
            timeout=wire.TIMEOUT,
            verify=wire.is_secure(self.where),
            trust_env=False,  # a proxy has no business between a person and their own node
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(self, noun: str, verb: str = "", /, **arguments: Any) -> dict[str, Any]:
        """The result of a command, waited for."""
        request = self._http.build_request("POST", wire.command_path(noun, verb), json=arguments)
        data: dict[str, Any] = wire.data_of(await self._whole(request))
        return data

    async def stream(
        self, noun: str, verb: str = "", /, **arguments: Any
    ) -> AsyncGenerator[dict[str, Any]]:
        """Steps of a command: {"progress": ...}, {"item": ...}, and {"data": ...} at the end."""
        request = self._http.build_request(
            "POST",
            wire.command_path(noun, verb),
            json=arguments,
            headers={"Accept": wire.NDJSON},
        )
        ended = False
        async with self._open(request) as response:
            async for line in response.aiter_lines():
                document = wire.line_of(line)
                ended = "data" in document
                yield document
        if not ended:
            raise wire.unreachable(self.where, EOFError())

    async def events(
        self, since: int | None = None, topics: tuple[str, ...] = ()
    ) -> AsyncGenerator[dict[str, Any]]:
        """Events {id, time, topic, data} after id `since` (None: from now on), for ever.

        A gap comes as an event of topic "gap" with data {first, last}.
        """
        request = self._http.build_request(
            "GET", "/api/v1/events", params=wire.event_params(since, topics)
        )
        lines = wire.EventLines()
        async with self._open(request) as response:
            async for line in response.aiter_lines():
                for event in lines.feed(line):
                    yield event
        raise wire.unreachable(self.where, EOFError())

    async def upload(self, path: Path) -> dict[str, Any]:
        """{id, bytes} of the file `path`, streamed to the node; the id is a PATH for commands."""
        request = self._http.build_request(
            "PUT", "/api/v1/blob", params={"name": path.name}, content=_pieces(path)
        )
        data: dict[str, Any] = wire.data_of(await self._whole(request))
        return data

    async def login_url(self) -> str:
        """A link that opens the node's page in a browser, once and within a minute."""
        return wire.login_url(self.where, await self.call("login"))

    async def download(self, cid: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes `start` to `end` (exclusive) of the file `cid`, held in memory."""
        return b"".join([piece async for piece in self.pieces(cid, start, end)])

    async def pieces(
        self, cid: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes]:
        """The same in pieces, for files larger than memory."""
        request = self._http.build_request(
            "GET", f"/api/v1/blob/{cid}", headers=wire.range_header(start, end)
        )
        async with self._open(request) as response:
            async for piece in response.aiter_bytes():
                yield piece

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._http.send(request)
        except (httpx.TransportError, httpx.StreamError) as cause:
            raise wire.unreachable(self.where, cause) from cause

    @asynccontextmanager
    async def _open(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """The answer to `request` while its body comes; raises the error it carries."""
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.is_error:
                    raise wire.error_of(response.status_code, await response.aread())
                yield response
            finally:
                await response.aclose()
        except (httpx.TransportError, httpx.StreamError) as cause:
            raise wire.unreachable(self.where, cause) from cause


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    try:
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, MIB):
                yield piece
    except OSError as cause:
        raise unreadable(path, cause) from cause


def unreadable(path: Path, cause: OSError) -> Dms3Error:
    """The error for a local file that cannot be sent."""
    return Dms3Error("argument_invalid", f"{path} cannot be read: {cause.strerror}.")
