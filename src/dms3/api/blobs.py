"""Files in and out: streamed uploads, and files by content identifier with single ranges.

Source: RFC 9110 section 14 (ranges), RFC 6266 (Content-Disposition). It holds no more than a piece
of a file at a time and never names a path.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dms3.api.answers import DisconnectedError, answer, while_connected
from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import BLOB_NAME_CHARS_MAX, BLOB_PATH_CHARS_MAX, INLINE_IMAGE_BYTES_MAX
from dms3.node.car_export import CAR_ENDING
from dms3.node.services import NodeServices
from dms3.node.services_content import Content
from dms3.node.table import BlobOrPath

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_ATTACHMENT = re.compile(r"(0x[0-9a-f]{64})-(\d{1,3})", re.ASCII)
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


async def answer_put(node: NodeServices, request: Request) -> Response:
    """PUT /api/v1/blob?name=NAME or ?path=FOLDER/NAME: its id, a valid PATH for commands."""
    name = _file_path(request)
    try:
        upload = await node.receive(request.stream())
    except ClientDisconnect:
        raise DisconnectedError from None
    blob = f"{upload.id}/{name}" if name else upload.id
    return answer({"id": blob, "bytes": upload.size}, 201)


async def answer_delete(node: NodeServices, upload: str) -> Response:
    """DELETE /api/v1/blob/ID: forget an upload that is not imported."""
    found = BlobOrPath(upload).blob
    if found is None:
        raise Dms3Error("argument_invalid", f"{upload[:80]!r} is not the id of an upload.")
    await node.discard(found)
    return answer({"id": found})


async def answer_get(node: NodeServices, request: Request, cid: str) -> Response:
    """GET and HEAD /api/v1/blob/CID; with ?inline a picture comes as one.

    In place of a CID: HASH-N, a file in a message, the id of an upload, or CID.car.
    """
    found = _content(node, cid)
    async for _ in request.stream():
        pass  # only the end of the request is waited for
    content = await while_connected(request.receive, found)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{cid}"',
        "Content-Disposition": _disposition(content.name or cid),
        "Content-Security-Policy": "sandbox; default-src 'none'",  # a document is never our page
    }
    media_type = "application/octet-stream"
    if "inline" in request.query_params:
        media_type = await _picture_type(content)
        headers["Content-Disposition"] = "inline"
    part = parse_range(request.headers.get("range", ""), content.size)
    start, end = part or (0, content.size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(None, 206 if part else 200, headers, media_type)
    headers["Content-Type"] = media_type
    return _Pieces(content, start, end, headers, 206 if part else 200)


def _content(node: NodeServices, name: str) -> Awaitable[Content]:
    """What is asked for by `name`; raises `argument_invalid`."""
    inside = _ATTACHMENT.fullmatch(name)
    if inside is not None:
        return node.messages.content(inside[1], int(inside[2]))
    if _UPLOAD.fullmatch(name):
        return node.upload(name)
    try:
        if name.endswith(CAR_ENDING):
            return node.documents.car(Cid.parse(name.removesuffix(CAR_ENDING)))
        return node.content(Cid.parse(name))
    except DecodeError as wrong:
        raise Dms3Error(
            "argument_invalid",
            f"{name[:80]!r} is not a content identifier: {wrong.reason}.",
            hint="dms3 store list shows those of your documents.",
        ) from wrong


def picture_type(head: bytes) -> str | None:
    """The media type of a picture by its first 16 bytes; None for anything else.

    Only formats of pixels: SVG is a document, with links and script in it.
    """
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in _PICTURES if head.startswith(mark)), None)


async def _picture_type(content: Content) -> str:
    if content.size > INLINE_IMAGE_BYTES_MAX:
        raise Dms3Error(
            "argument_invalid",
            f"The file has {content.size} bytes; up to {INLINE_IMAGE_BYTES_MAX} are shown inline.",
            hint="Download it, without ?inline.",
        )
    pieces = content.read(0, min(16, content.size))
    found = picture_type(b"".join([piece async for piece in pieces]))
    if found is None:
        raise Dms3Error(
            "argument_invalid",
            "The file is not a picture that can be shown: PNG, JPEG, GIF, WebP, AVIF or BMP.",
            hint="Download it, without ?inline.",
        )
    return found


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

    def __init__(
        self, content: Content, start: int, end: int, headers: dict[str, str], status: int
    ) -> None:
        super().__init__(None, status, headers)
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


def _file_path(request: Request) -> str:
    """The name that travels with an upload, after the folders it lay in; "" for none."""
    path = request.query_params.get("path")
    if path is None:
        name = request.query_params.get("name", "")
        return "" if name in (".", "..") else _checked(name, name)
    if len(path) > BLOB_PATH_CHARS_MAX:
        raise Dms3Error("argument_invalid", f"The path {path[:80]!r}... is too long.")
    for name in path.split("/"):
        if name in ("", ".", ".."):
            raise Dms3Error("argument_invalid", f"{path[:80]!r} is not a path inside a folder.")
        _checked(name, path)
    return path


def _checked(name: str, given: str) -> str:
    if len(name) > BLOB_NAME_CHARS_MAX or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise Dms3Error("argument_invalid", f"{given[:80]!r} is not a file name.")
    return name


def _disposition(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
