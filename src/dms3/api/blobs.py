"""Files in and out: streamed uploads, and files by content identifier with single ranges.

Source: RFC 9110 section 14 (ranges), RFC 6266 (Content-Disposition). It holds no more than a piece
of a file at a time and never names a path.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dms3.api.answers import DisconnectedError, answer, while_connected
from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import BLOB_NAME_CHARS_MAX
from dms3.node.services import Content, NodeServices

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


async def answer_put(node: NodeServices, request: Request) -> Response:
    """PUT /api/v1/blob?name=NAME: the id of the upload, a valid PATH for commands."""
    name = _file_name(request)
    try:
        upload = await node.receive(request.stream())
    except ClientDisconnect:
        raise DisconnectedError from None
    blob = f"{upload.id}/{name}" if name else upload.id
    return answer({"id": blob, "bytes": upload.size}, 201)


async def answer_get(node: NodeServices, request: Request, cid: str) -> Response:
    """GET and HEAD /api/v1/blob/CID."""
    try:
        wanted = Cid.parse(cid)
    except DecodeError as wrong:
        raise Dms3Error(
            "argument_invalid",
            f"{cid[:80]!r} is not a content identifier: {wrong.reason}.",
            hint="dms3 store list shows those of your documents.",
        ) from wrong
    async for _ in request.stream():
        pass  # only the end of the request is waited for
    content = await while_connected(request.receive, node.content(wanted))
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{wanted}"',
        "Content-Disposition": _disposition(content.name or str(wanted)),
        "Content-Security-Policy": "sandbox; default-src 'none'",  # a document is never our page
    }
    part = parse_range(request.headers.get("range", ""), content.size)
    start, end = part or (0, content.size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(None, 206 if part else 200, headers, "application/octet-stream")
    return _Pieces(content, start, end, headers, 206 if part else 200)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a Range header in a file of `size` bytes.

    None when the whole file is meant: no header, another unit, several ranges, or no valid range
    (RFC 9110 lets a server ignore those). Raises `range_invalid` when nothing of it is in the file.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise Dms3Error("range_invalid", f"The file has {size} bytes; {header[:60]} is not in it.")
    return start, end


class _Pieces(Response):
    """A part of a file, streamed; the first piece is there before the answer begins."""

    media_type = "application/octet-stream"

    def __init__(
        self, content: Content, start: int, end: int, headers: dict[str, str], status: int
    ) -> None:
        super().__init__(None, status, headers, self.media_type)
        self._pieces = content.read(start, end)
        self._expected = end - start

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part; a block that is missing in the middle ends the connection early."""
        try:
            await while_connected(receive, self._send(send))
        except DisconnectedError:
            return

    async def _send(self, send: Send) -> None:
        first = await anext(aiter(self._pieces), b"")
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        sent = await _send_piece(send, first)
        try:
            async for piece in _rest(self._pieces, first):
                sent += await _send_piece(send, piece)
        except Dms3Error:
            return  # an answer cut short is all that HTTP has to tell of a block that is missing
        assert sent == self._expected, f"{sent} bytes came of {self._expected}"
        end: Message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(end)


async def _rest(pieces: AsyncIterator[bytes], first: bytes) -> AsyncIterator[bytes]:
    if first:
        async for piece in pieces:
            yield piece


async def _send_piece(send: Send, piece: bytes) -> int:
    await send({"type": "http.response.body", "body": piece, "more_body": True})
    return len(piece)


def _file_name(request: Request) -> str:
    """The name that travels with an upload: one part of a path, or ""."""
    name = request.query_params.get("name", "")
    if len(name) > BLOB_NAME_CHARS_MAX or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise Dms3Error("argument_invalid", f"{name[:80]!r} is not a file name.")
    return "" if name in (".", "..") else name


def _disposition(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
