"""The blocking client of a node's API, for scripts and the command line.

Source: docs/api.md. The same methods as the asynchronous client.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from dms3.core.limits import MIB
from dms3.sdk import wire
from dms3.sdk.client import unreadable
from dms3.sdk.where import find_node


class SyncClient:
    """Talks to one node: `with SyncClient() as client: client.call("status")`.

    Arguments and errors as those of `Client`.
    """

    def __init__(
        self,
        home: Path | None = None,
        api: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.where = find_node(home, api)
        self._http = httpx.Client(
            base_url=self.where.url,
            headers=wire.headers(self.where),
            timeout=wire.TIMEOUT,
            verify=wire.is_secure(self.where),
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, noun: str, verb: str = "", /, **arguments: Any) -> dict[str, Any]:
        """The result of a command, waited for."""
        request = self._http.build_request("POST", wire.command_path(noun, verb), json=arguments)
        data: dict[str, Any] = wire.data_of(self._whole(request))
        return data

    def stream(self, noun: str, verb: str = "", /, **arguments: Any) -> Generator[dict[str, Any]]:
        """Steps of a command: {"progress": ...}, {"item": ...}, and {"data": ...} at the end."""
        request = self._http.build_request(
            "POST",
            wire.command_path(noun, verb),
            json=arguments,
            headers={"Accept": wire.NDJSON},
        )
        ended = False
        with self._open(request) as response:
            for line in response.iter_lines():
                document = wire.line_of(line)
                ended = "data" in document
                yield document
        if not ended:
            raise wire.unreachable(self.where, EOFError())

    def events(
        self, since: int | None = None, topics: tuple[str, ...] = ()
    ) -> Generator[dict[str, Any]]:
        """Events {id, time, topic, data} after id `since` (None: from now on), for ever."""
        request = self._http.build_request(
            "GET", "/api/v1/events", params=wire.event_params(since, topics)
        )
        lines = wire.EventLines()
        with self._open(request) as response:
            for line in response.iter_lines():
                yield from lines.feed(line)
        raise wire.unreachable(self.where, EOFError())

    def upload(self, path: Path) -> dict[str, Any]:
        """{id, bytes} of the file `path`, streamed to the node; the id is a PATH for commands."""
        request = self._http.build_request(
            "PUT", "/api/v1/blob", params={"name": path.name}, content=_pieces(path)
        )
        data: dict[str, Any] = wire.data_of(self._whole(request))
        return data

    def login_url(self) -> str:
        """A link that opens the node's page in a browser, once and within a minute."""
        return wire.login_url(self.where, self.call("login"))

    def download(self, cid: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes `start` to `end` (exclusive) of the file `cid`, held in memory."""
        return b"".join(self.pieces(cid, start, end))

    def pieces(self, cid: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        """The same in pieces, for files larger than memory."""
        request = self._http.build_request(
            "GET", f"/api/v1/blob/{cid}", headers=wire.range_header(start, end)
        )
        with self._open(request) as response:
            yield from response.iter_bytes()

    def _whole(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except (httpx.TransportError, httpx.StreamError) as cause:
            raise wire.unreachable(self.where, cause) from cause

    @contextmanager
    def _open(self, request: httpx.Request) -> Iterator[httpx.Response]:
        try:
            response = self._http.send(request, stream=True)
            try:
                if response.is_error:
                    raise wire.error_of(response.status_code, response.read())
                yield response
            finally:
                response.close()
        except (httpx.TransportError, httpx.StreamError) as cause:
            raise wire.unreachable(self.where, cause) from cause


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(MIB):
                yield piece
    except OSError as cause:
        raise unreadable(path, cause) from cause
