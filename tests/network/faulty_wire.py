"""A wire to a server that does to bytes what a test wants: holds, cuts, answers by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

CHUNK = 65_536


class Wire:
    """Carries connections to `port` of this machine.

    `mode`: "pass"; "hold", nothing comes back; "cut up", connections end in the middle of what is
    sent; "cut down", in the middle of what comes back; or an HTTP status line to answer with.
    `after`: how many bytes pass before a cut.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.mode = "pass"
        self.after = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the end of the test
            await self._carry(reader, writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        to = None
        try:
            if self.mode[:1].isdigit():
                await self._answer(reader, writer)
                return
            there, to = await asyncio.open_connection("127.0.0.1", self._port)
            up = "up" if self.mode == "cut up" else ""
            down = "down" if self.mode in ("cut down", "hold") else ""
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, to, up))
                group.create_task(self._pump(there, writer, down))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, to):
                if each is not None:
                    each.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        await reader.readexactly(size)
        writer.write(
            f"HTTP/1.1 {self.mode}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: str
    ) -> None:
        passed = 0
        while data := await reader.read(CHUNK):
            if fault and self.mode == "hold":
                await asyncio.Event().wait()
            if fault and passed + len(data) > self.after:
                writer.write(data[: self.after - passed])
                await writer.drain()
                raise ConnectionResetError("cut, as the test wants")
            passed += len(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
