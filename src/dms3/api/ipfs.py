"""The IPFS gateway on the public listener: /ipfs/CID[/PATH] of public spaces, for anybody.

Source: IPFS path gateway and trustless gateway specifications (specs.ipfs.tech); RFC 9110. Reads
what `node/gateway.py` gives and nothing else; docs/ipfs.md lists every difference. Keeps no token
and sets no cookie.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dms3.api import ipfs_shown as shown
from dms3.api.answers import DisconnectedError, problem, while_connected
from dms3.api.blobs import parse_range
from dms3.api.ipfs_asked import CAR, DAG_CBOR, JSON, RAW_BLOCK, Asked, matches, parse_asked
from dms3.api.public import remote_host
from dms3.core.cid import DAG_CBOR as DAG_CBOR_CODEC
from dms3.core.codec import encode_plain
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    GATEWAY_ANSWERS_MAX,
    GATEWAY_ANSWERS_PER_HOST_MAX,
    GATEWAY_BURST_BYTES,
    GATEWAY_BYTES_PER_SECOND,
    GATEWAY_PIECE_SECONDS_MAX,
)
from dms3.core.varint import encode_varint
from dms3.node.gateway import CarWanted, Found, Gateway

PREFIX = "ipfs"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Range, User-Agent, X-Requested-With",
    "Access-Control-Expose-Headers": (
        "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, "
        "X-Stream-Output"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
}
POLICY = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; font-src 'self'; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script runs and nothing is sent: all content shares one origin, and none of it is ours."""

_FOR_EVER = "public, max-age=29030400, immutable"
_A_WEEK = "public, max-age=604800"  # of pages of folders, which a later version may draw otherwise
_RETRY_SECONDS = "5"
_NOTHING = bytes((1, 0x55, 0, 0))  # the CID "identity, no bytes" of the probe

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is answered at once: `answers` together, `per_host` to one address, and how fast.

    `rate`: bytes per second of one answer after `burst` bytes; `piece_seconds`: for a client to
    take a piece.
    """

    answers: int = GATEWAY_ANSWERS_MAX
    per_host: int = GATEWAY_ANSWERS_PER_HOST_MAX
    rate: int = GATEWAY_BYTES_PER_SECOND
    burst: int = GATEWAY_BURST_BYTES
    piece_seconds: float = GATEWAY_PIECE_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class _Body:
    """What goes out: `pieces` of `length` bytes (None: not known before) after these headers."""

    headers: dict[str, str]
    pieces: AsyncIterator[bytes]
    length: int | None
    status: int = 200


class Ipfs:
    """ASGI application below /ipfs; `gateway` gives the open gateway or raises why not."""

    def __init__(self, gateway: Callable[[], Gateway], bounds: Bounds | None = None) -> None:
        self._gateway = gateway
        self._bounds = bounds or Bounds()
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS":
            await Response(None, 204, CORS)(scope, receive, send)
            return
        try:
            with self._place(remote_host(scope, headers)) as host:
                await self._answer(scope, headers, host, receive, send)
        except DisconnectedError:
            return  # nobody is left to be told
        except Dms3Error as error:
            await refusal(error, headers)(scope, receive, send)

    async def _answer(
        self, scope: Scope, headers: Headers, host: str, receive: Receive, send: Send
    ) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            error = Dms3Error("method_unknown", f"{scope['method'][:16]} is no way to read.")
            answer = refusal(error, headers, 405)
            answer.headers["Allow"] = "GET, HEAD, OPTIONS"
            await answer(scope, receive, send)
            return
        asked = parse_asked(scope["raw_path"], scope["query_string"], headers.get("accept", ""))
        if headers.get("service-worker", "").lower() == "script":
            raise Dms3Error("argument_invalid", "No service worker comes from this gateway.")
        gateway = self._gateway()
        found = None if asked.root is None else await gateway.find(asked.root, asked.names)
        if found is None:
            await Response(*_probe(asked))(scope, receive, send)
            return
        made = await _made(gateway, found, asked, headers, scope["query_string"])
        if isinstance(made, Response):
            await made(scope, receive, send)
            return
        await self._send(made, scope["method"] == "HEAD", host, receive, send)

    @contextmanager
    def _place(self, host: str) -> Iterator[str]:
        """A place for an answer to `host`; raises `limit_reached`."""
        if self._open.total() >= self._bounds.answers or (
            host and self._open[host] >= self._bounds.per_host
        ):
            raise Dms3Error(
                "limit_reached",
                "Too many answers are under way.",
                hint=f"Ask again in {_RETRY_SECONDS} s, a few things at a time.",
            )
        self._open[host] += 1
        try:
            yield host
        finally:
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]

    async def _send(
        self, body: _Body, only_head: bool, host: str, receive: Receive, send: Send
    ) -> None:
        """Send it at the pace of `host`; a block that is missing on the way cuts it short."""
        found = [(key.lower().encode(), value.encode()) for key, value in body.headers.items()]
        if body.length is not None:
            found.append((b"content-length", str(body.length).encode()))
        start = {"type": "http.response.start", "status": body.status, "headers": found}
        if only_head:
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return

        async def pieces() -> None:
            first = await anext(body.pieces, b"")
            await send(start)
            pace = _Pace(self._bounds) if host else None
            piece = first
            while piece:
                async with asyncio.timeout(self._bounds.piece_seconds):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if pace is not None:
                    await pace.sent(len(piece))
                try:
                    piece = await anext(body.pieces, b"")
                except Dms3Error:
                    return  # an answer cut short is all that HTTP has to tell
            await send({"type": "http.response.body", "body": b""})

        try:
            await while_connected(receive, pieces())
        except TimeoutError:
            return  # the client does not read: its connection ends


async def pause(seconds: float) -> None:
    """Let others go on for a while."""
    await asyncio.sleep(seconds)


class _Pace:
    """Keeps one answer at the rate of its bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._clock: Clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._bytes = -bounds.burst

    async def sent(self, count: int) -> None:
        """Wait until more may be sent."""
        self._bytes += count
        ahead = self._bytes / self._bounds.rate - (self._clock() - self._begun)
        if ahead > 0:
            await pause(ahead)


def refusal(error: Dms3Error, headers: Headers, status: int | None = None) -> Response:
    """An error as a reader of the gateway sees it."""
    if error.code == "node_locked":
        error = Dms3Error("node_busy", "The gateway is not open yet.", hint="Ask again later.")
    if error.code == "not_found" and "only-if-cached" in headers.get("cache-control", ""):
        status = 412
    answer = problem(error, status)
    answer.headers.update(CORS)
    answer.headers["Cache-Control"] = "no-store"
    if error.code in ("limit_reached", "node_busy"):
        answer.headers["Retry-After"] = _RETRY_SECONDS
    return answer


def _probe(asked: Asked) -> tuple[bytes, int, dict[str, str], str]:
    headers = CORS | {"Cache-Control": _FOR_EVER, "X-Ipfs-Path": asked.path}
    if asked.form != CAR:
        return b"", 200, headers, "application/vnd.ipld.raw"
    head = encode_plain({"roots": [_NOTHING], "version": 1})
    return encode_varint(len(head)) + head, 200, headers, _car_type(doubled=False)


def _car_type(*, doubled: bool) -> str:
    return f"application/vnd.ipld.car; version=1; order=dfs; dups={'y' if doubled else 'n'}"


async def _made(
    gateway: Gateway, found: Found, asked: Asked, headers: Headers, query: bytes
) -> _Body | Response:
    """The answer: a body still to be read, or a short one (304, 301)."""
    if asked.form == CAR:
        body = _car(gateway, found, asked)
    elif asked.form == RAW_BLOCK or (asked.form == DAG_CBOR and _is_cbor(found)):
        body = _block(found, asked, headers)
    elif found.kind == "folder" and asked.form in ("", JSON):
        if not asked.slash and not asked.form:
            where = f"{asked.path}/" + (f"?{query.decode('latin-1')}" if query else "")
            return Response(None, 301, CORS | {"Location": where, "Cache-Control": _A_WEEK})
        page = None if asked.form else await gateway.index(found)
        if page is None:
            body = await _listing(gateway, found, asked)
        else:
            body = await _file(gateway, page, asked, headers, "index.html")
    elif found.kind == "file" and asked.form in ("", JSON):
        body = await _file(gateway, found, asked, headers, _name(asked))
    else:
        raise Dms3Error(
            "format_unavailable",
            f"{found.cid} is no file or folder that could be given as {asked.form or 'such'}.",
            hint="Take its block with format=raw, or its DAG with format=car.",
        )
    if matches(headers.get("if-none-match", ""), body.headers["ETag"]):
        kept = ("ETag", "Cache-Control", "Content-Location", "X-Ipfs-Path", "X-Ipfs-Roots")
        return Response(
            None, 304, CORS | {key: body.headers[key] for key in kept if key in body.headers}
        )
    return body


def _is_cbor(found: Found) -> bool:
    return found.cid.codec == DAG_CBOR_CODEC


def _headers(found: Found, asked: Asked, etag: str, media_type: str) -> dict[str, str]:
    headers = CORS | {
        "Content-Type": media_type,
        "ETag": f'"{etag}"',
        "Cache-Control": _FOR_EVER,
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept",
        "X-Ipfs-Path": asked.path,
        "X-Ipfs-Roots": ",".join(map(str, found.roots)),
    }
    if asked.location:
        headers["Content-Location"] = asked.location
    return headers


def _name(asked: Asked) -> str:
    return asked.filename or (asked.names[-1] if asked.names else "")


def _car(gateway: Gateway, found: Found, asked: Asked) -> _Body:
    wanted = asked.car
    assert wanted is not None, "a CAR is asked for"
    span = wanted.span(found.size) if found.kind == "file" else None
    chosen = CarWanted(wanted.scope, span, wanted.doubled)
    gateway.check_car(found, chosen)
    told = f"{asked.names} {found.roots[0]} {chosen}"
    etag = f"{found.cid}.car.{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    headers = _headers(found, asked, etag, _car_type(doubled=chosen.doubled))
    headers["Accept-Ranges"] = "none"
    headers["Content-Disposition"] = shown.disposition(
        "attachment", asked.filename or f"{found.cid}.car"
    )
    return _Body(headers, gateway.car(found, chosen), None)


def _block(found: Found, asked: Asked, asking: Headers) -> _Body:
    block = found.block
    kind = "dag-cbor" if asked.form == DAG_CBOR else "raw"
    headers = _headers(found, asked, f"{found.cid}.{kind}", f"application/vnd.ipld.{kind}")
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Disposition"] = shown.disposition(
        "attachment", asked.filename or f"{found.cid}.bin"
    )
    start, end, status = _span(asking, len(block), headers)
    return _Body(headers, _one(block[start:end]), end - start, status)


async def _listing(gateway: Gateway, found: Found, asked: Asked) -> _Body:
    links, more = await gateway.folder(found)
    if asked.form == JSON:
        body = shown.listing_json(found, links, more)
        headers = _headers(found, asked, f"{found.cid}.json-{shown.LISTING}", "application/json")
    else:
        body = shown.listing_page(asked.path, found, links, more)
        etag = f"DirIndex-{shown.LISTING}_CID-{found.cid}-{len(found.roots)}"
        headers = _headers(found, asked, etag, "text/html; charset=utf-8")
    headers["Cache-Control"] = _A_WEEK
    return _Body(headers, _one(body), len(body))


async def _file(gateway: Gateway, found: Found, asked: Asked, asking: Headers, name: str) -> _Body:
    pieces = gateway.read(found, 0, shown.SNIFF_BYTES)
    head = b"".join([piece async for piece in pieces])
    media_type = shown.media_type(name, head)
    if asked.form == JSON and media_type != "application/json":
        raise Dms3Error("format_unavailable", f"{found.cid} is no JSON document.")
    headers = _headers(found, asked, str(found.cid), media_type)
    headers["Accept-Ranges"] = "bytes"
    if asked.download or asked.filename:
        kind = "attachment" if asked.download else "inline"
        headers["Content-Disposition"] = shown.disposition(kind, name or str(found.cid))
    start, end, status = _span(asking, found.size, headers)
    return _Body(headers, gateway.read(found, start, end), end - start, status)


def _span(asking: Headers, size: int, headers: dict[str, str]) -> tuple[int, int, int]:
    """Start, end and status of what is asked for of `size` bytes; raises `range_invalid`."""
    part = parse_range(asking.get("range", ""), size)
    if part is None:
        return 0, size, 200
    headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
    return part[0], part[1], 206


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
