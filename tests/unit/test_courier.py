"""The courier against a small real server: what it asks, what it believes, what it says."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import socketio
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from dms3.core.errors import Dms3Error, Failure
from dms3.dm3.keys import ProfileKeys, verify_text
from dms3.dm3.profile import SignedProfile, UserProfile
from dms3.io import courier as courier_module
from dms3.io import courier_http
from dms3.io.courier import Courier, Cutter
from dms3.messaging.operations import (
    Acknowledge,
    Incoming,
    Limits,
    Listen,
    Login,
    Register,
    Submit,
)
from unit.fronts import in_loop

SEED = b"s" * 32
TOKEN = "the.session.token"
CHALLENGE = "a.challenge.token"


@dataclass
class Service:
    """A delivery service that answers what a test wants; `seen`: what it was asked."""

    url: str = ""
    answer: Callable[[Request], Awaitable[Response]] | None = None
    seen: list[tuple[str, str, Any, str]] = field(default_factory=list)
    sockets: socketio.AsyncServer = field(
        default_factory=lambda: socketio.AsyncServer(async_mode="asgi", logger=False)
    )

    async def handle(self, request: Request) -> Response:
        body = await request.body()
        said = json.loads(body) if body else None
        token = request.headers.get("authorization", "")
        path = request.scope["raw_path"].decode()
        self.seen.append((request.method, path, said, token))
        if self.answer is None:
            return PlainTextResponse("OK")
        return await self.answer(request)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    service = Service()
    web = Starlette(routes=[Route("/{path:path}", service.handle, methods=["GET", "POST"])])
    app = socketio.ASGIApp(service.sockets, web, socketio_path="ds/socket.io")
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it gives no other sign
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        service.url = f"http://127.0.0.1:{port}/ds"
        try:
            yield service
        finally:
            server.should_exit = True
            server.force_exit = True
            await running


@contextlib.asynccontextmanager
async def carrying(
    allowed: Callable[[str], bool] = lambda _: True,
) -> AsyncIterator[tuple[Courier, list[str]]]:
    told: list[str] = []

    async def arrived(service: str) -> None:
        told.append(service)

    courier = Courier(allowed, arrived)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(courier.run())
        await asyncio.sleep(0)
        try:
            yield courier, told
        finally:
            running.cancel()


def saying(status: int, body: Any = "", **headers: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        return Response(text, status, headers)

    return answer


async def refusal(asked: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(Dms3Error) as refused:
        await asked
    return refused.value.code, refused.value.message


@in_loop
async def test_an_envelope_is_submitted_as_the_reference_does() -> None:
    async with serving() as service, carrying() as (courier, _):
        await courier.serve("submit", Submit(service.url, '{"message":"x"}'))
        (seen,) = service.seen
        assert seen[:2] == ("POST", "/ds/rpc")
        wanted = {"jsonrpc": "2.0", "method": "dm3_submitMessage", "params": ['{"message":"x"}']}
        assert seen[2] == wanted
        assert seen[3] == ""


@in_loop
async def test_an_old_service_gets_the_old_form() -> None:
    async def old(_: Request) -> Response:
        fits = service.seen[-1][2]["params"] == ["legacy"]
        return Response('{"error":"invalid schema"}', 200 if fits else 400)

    async with serving() as service, carrying() as (courier, _):
        service.answer = old
        await courier.serve("submit", Submit(service.url, "new", "legacy"))
        assert [seen[2]["params"] for seen in service.seen] == [["new"], ["legacy"]]
        code, message = await refusal(courier.serve("submit", Submit(service.url, "new")))
        assert code == "peer_refused"
        assert "invalid schema" in message


@in_loop
async def test_a_refusal_has_the_words_of_the_service() -> None:
    cases = [
        (400, {"error": "unknown user"}, "peer_refused", "(400): unknown user."),
        (400, "", "peer_refused", "(400)."),
        (404, "<!DOCTYPE html><p>no</p>", "peer_refused", "(404)."),
        (401, "Unauthorized", "unauthorized", "new login"),
        (403, {"error": {"message": "you\nare\x1b[31m blocked."}}, "peer_refused", "you are"),
        (400, {"detail": "x" * 900}, "peer_refused", "x" * 200 + "."),
        (429, {"detail": "too often"}, "peer_unreachable", "429: too often"),
        (503, "", "peer_unreachable", "503"),
        (413, b"\xff\xfe", "peer_refused", "413"),
    ]
    async with serving() as service, carrying() as (courier, _):
        for status, body, code, words in cases:
            service.answer = saying(status, body)
            found = await refusal(courier.serve("submit", Submit(service.url, "x")))
            assert found[0] == code, found
            assert words in found[1], found
            assert "\x1b" not in found[1]


@in_loop
async def test_a_session_signs_the_challenge() -> None:
    async def auth(request: Request) -> Response:
        return Response(json.dumps(CHALLENGE if request.method == "GET" else TOKEN))

    async with serving() as service, carrying() as (courier, _):
        service.answer = auth
        name = "straße/x.eth"
        assert await courier.serve("login", Login(service.url, name, SEED)) == TOKEN
        asked, answered = service.seen
        assert asked[:2] == ("GET", "/ds/auth/stra%C3%9Fe%2Fx.eth")
        assert answered[2]["challenge"] == CHALLENGE
        public = ProfileKeys.of_seed(SEED).signing_public
        assert verify_text(public, CHALLENGE, answered[2]["signature"])
        for wrong in ({"x": 1}, 7, "", "a" * 5_000, "line\nline", "é"):
            service.answer = saying(200, json.dumps(wrong))
            code, _ = await refusal(courier.serve("login", Login(service.url, name, SEED)))
            assert code == "peer_misbehaved", wrong


@in_loop
async def test_what_waits_is_taken_up_to_the_limit() -> None:
    rows = [
        {"message": f'a,]}}{{\\ " {number}', "metadata": {"x": [1, [2]]}} for number in range(9)
    ]
    async with serving() as service, carrying() as (courier, _):
        service.answer = saying(200, rows)
        wanted = Incoming(service.url, "bob.eth", TOKEN)
        found = await courier.serve("incoming", wanted)
        assert [json.loads(one) for one in found] == rows
        assert service.seen[0][1] == "/ds/delivery/messages/incoming/bob.eth"
        assert service.seen[0][3] == f"Bearer {TOKEN}"
        some = await courier.serve("incoming", Incoming(service.url, "bob.eth", TOKEN, 4))
        assert [json.loads(one) for one in some] == rows[:4]
        service.answer = saying(200, [])
        assert await courier.serve("incoming", wanted) == ()
        for wrong in ('{"a":1}', "7", '"text"', "[1,2", "", "nothing"):
            service.answer = saying(200, wrong)
            assert (await refusal(courier.serve("incoming", wanted)))[0] == "peer_misbehaved"
        service.answer = saying(401)
        assert (await refusal(courier.serve("incoming", wanted)))[0] == "unauthorized"


@in_loop
async def test_one_that_is_too_large_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "COURIER_ENVELOPE_BYTES_MAX", 1_000)

    async def stream(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'["a'
            for _ in range(200):
                yield b'b,\\"' * 100
            yield b'","small",'
            yield b"{}, 3]"

        return StreamingResponse(pieces())

    async with serving() as service, carrying() as (courier, _):
        service.answer = stream
        found = await courier.serve("incoming", Incoming(service.url, "bob.eth", TOKEN))
        assert found == ('"small"', "{}", "3")
        monkeypatch.setattr(courier_module, "COURIER_INCOMING_BYTES_MAX", 8)
        found = await courier.serve("incoming", Incoming(service.url, "bob.eth", TOKEN))
        assert found == ('"small"', "{}")
        monkeypatch.setattr(courier_module, "COURIER_READ_BYTES_MAX", 9)
        assert await courier.serve("incoming", Incoming(service.url, "bob.eth", TOKEN)) == ()


@in_loop
async def test_acknowledgements_go_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "COURIER_ACKNOWLEDGED_MAX", 2)
    async with serving() as service, carrying() as (courier, _):
        three = tuple((f"{who}.eth", f"0x{who}") for who in "abc")
        await courier.serve("acknowledge", Acknowledge(service.url, "bob.eth", TOKEN, three))
        assert [len(seen[2]["acknowledgements"]) for seen in service.seen] == [2, 1]
        assert service.seen[0][1] == "/ds/delivery/messages/bob.eth/syncAcknowledgements/"
        first = service.seen[0][2]["acknowledgements"][0]
        assert first == {"contactAddress": "a.eth", "messageHash": "0xa"}


@in_loop
async def test_a_profile_is_registered_and_properties_are_read() -> None:
    keys = ProfileKeys.of_seed(SEED)
    profile = UserProfile(("ds.eth",), keys.encryption_public, keys.signing_public)
    signed = SignedProfile(profile, "0x" + "00" * 65)
    async with serving() as service, carrying() as (courier, _):
        await courier.serve("register", Register(service.url, "bob.eth", signed))
        assert service.seen[0][:3] == ("POST", "/ds/profile/bob.eth", signed.value())
        told = {"messageTTL": 5, "sizeLimit": 100_000, "more": []}
        service.answer = saying(200, {"jsonrpc": "2.0", "result": json.dumps(told)})
        assert await courier.serve("limits", service.url) == Limits(100_000, 5)
        for wrong in ({"result": "{}"}, {"result": "["}, {"result": 7}, [], {"result": None}):
            service.answer = saying(200, wrong)
            assert (await refusal(courier.serve("limits", service.url)))[0] == "peer_misbehaved"


@in_loop
async def test_redirects_are_not_followed_and_answers_are_bounded() -> None:
    async def elsewhere(_: Request) -> Response:
        return RedirectResponse("http://127.0.0.1:1/")

    async with serving() as service, carrying() as (courier, _):
        service.answer = elsewhere
        code, message = await refusal(courier.serve("submit", Submit(service.url, "x")))
        assert (code, "elsewhere" in message) == ("peer_misbehaved", True)
        assert len(service.seen) == 1
        service.answer = saying(200, "x" * (courier_http.COURIER_ANSWER_BYTES_MAX + 1))
        assert (await refusal(courier.serve("limits", service.url)))[0] == "peer_misbehaved"


@in_loop
async def test_a_push_with_attachments_is_dropped() -> None:
    came: asyncio.Queue[str] = asyncio.Queue()

    async def connected(sid: str, *_: Any) -> None:
        await came.put(sid)

    async with serving() as service, carrying() as (courier, told):
        service.sockets.on("connect", connected)
        url = service.url + "/ds"
        await courier.serve("listen", Listen(url, "ds.eth", "bob.eth", TOKEN))
        sid = await asyncio.wait_for(came.get(), 10)
        await until(lambda: told == ["ds.eth"])
        await service.sockets.emit("message", b"x", to=sid)
        await asyncio.sleep(0.1)
        assert told == ["ds.eth"]
        await service.sockets.emit("message", {"message": "x"}, to=sid)
        await until(lambda: told == ["ds.eth"] * 2)


@in_loop
async def test_a_push_connection_is_not_sent_elsewhere() -> None:
    inside: list[bytes] = []
    led = asyncio.Event()

    async def within(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside.append(await reader.readline())
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        place = f"http://127.0.0.2:{private.sockets[0].getsockname()[1]}/"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        led.set()

    private = await asyncio.start_server(within, "127.0.0.2", 0)
    service = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with private, service, carrying(lambda address: address == "127.0.0.1") as (courier, _):
        url = f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}/dm3"
        await courier.serve("listen", Listen(url, "ds.eth", "bob.eth", TOKEN))
        await asyncio.wait_for(led.wait(), 10)
        await asyncio.sleep(0.1)
        assert inside == []


@in_loop
async def test_addresses_that_are_not_allowed_get_no_connection() -> None:
    asked: list[str] = []

    def allowed(address: str) -> bool:
        asked.append(address)
        return False

    async with serving() as service, carrying(allowed) as (courier, told):
        url = service.url.replace("127.0.0.1", "localhost")
        for one in (service.url, url):
            code, message = await refusal(courier.serve("submit", Submit(one, "x")))
            assert code == "peer_refused"
            assert "no public one" in message
        await courier.serve("listen", Listen(service.url, "ds.eth", "bob.eth", TOKEN))
        await asyncio.sleep(0.1)
        assert service.seen == []
        assert told == []
        assert {"127.0.0.1"} <= set(asked) <= {"127.0.0.1", "::1"}


@in_loop
async def test_who_is_not_there_or_slow_or_no_service_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            writer.close()

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(b"SSH-2.0-none\r\n\r\n")
        await writer.drain()
        writer.close()

    async with carrying() as (courier, _):
        code, message = await refusal(courier.serve("submit", Submit("http://127.0.0.1:1/", "x")))
        assert (code, "127.0.0.1:1" in message) == ("peer_unreachable", True)
        nobody = Submit("http://nobody.invalid/", "x")
        assert (await refusal(courier.serve("submit", nobody)))[0] == "peer_unreachable"
        for url in ("ftp://a.example/", "http:///x", "http://u:p@a.example/", "http://a:0x/", "é"):
            assert (await refusal(courier.serve("submit", Submit(url, "x"))))[0] == "peer_refused"
        server = await asyncio.start_server(rude, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            found = await refusal(courier.serve("submit", Submit(url, "x")))
            assert found[0] == "peer_misbehaved"
        monkeypatch.setattr(courier_http, "COURIER_SECONDS_MAX", 0.2)
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await refusal(courier.serve("submit", Submit(url, "x"))))[0] == "timed_out"
        server.close()


@in_loop
async def test_a_push_is_told_and_the_connection_is_held_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    came: asyncio.Queue[Any] = asyncio.Queue()

    async def connected(sid: str, _: Any, auth: Any) -> None:
        await came.put((sid, auth))

    async with serving() as service, carrying() as (courier, told):
        service.sockets.on("connect", connected)
        # A service with /ds in its URL has its socket at the root, as the reference's have.
        url = service.url + "/ds"
        wanted = Listen(url, "ds.eth", "bob.eth", TOKEN)
        await courier.serve("listen", wanted)
        await courier.serve("listen", wanted)
        sid, auth = await asyncio.wait_for(came.get(), 10)
        assert auth == {"account": {"ensName": "bob.eth"}, "token": TOKEN}
        await until(lambda: told == ["ds.eth"])  # something may have come before
        await service.sockets.emit("message", {"message": "x"}, to=sid)
        await until(lambda: told == ["ds.eth"] * 2)
        assert came.empty()
        await courier.serve("listen", Listen(url, "ds.eth", "bob.eth", "another"))
        assert (await asyncio.wait_for(came.get(), 10))[1]["token"] == "another"
    assert TOKEN not in caplog.text


@in_loop
async def test_a_refused_token_ends_the_connection_and_is_told() -> None:
    asked: list[str] = []

    async def refuse(sid: str, __: Any, ___: Any) -> None:
        asked.append(sid)
        raise socketio.exceptions.ConnectionRefusedError("check token has failed for WS")

    async with serving() as service, carrying() as (courier, told):
        service.sockets.on("connect", refuse)
        wanted = Listen(service.url + "/ds", "ds.eth", "bob.eth", TOKEN)
        await courier.serve("listen", wanted)
        await until(lambda: told == ["ds.eth"])
        await courier.serve("listen", wanted)  # the same token would be refused again
        await asyncio.sleep(0.1)
        assert len(asked) == 1
        await courier.serve("listen", Listen(wanted.url, "ds.eth", "bob.eth", "another"))
        await until(lambda: told == ["ds.eth"] * 2)


@in_loop
async def test_a_lost_connection_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dms3.io.courier_push.PUSH_BACKOFF_SECONDS_MIN", 0.01)
    came: asyncio.Queue[str] = asyncio.Queue()

    async def connected(sid: str, _: Any, __: Any) -> None:
        await came.put(sid)

    async with serving() as service, carrying() as (courier, told):
        service.sockets.on("connect", connected)
        await courier.serve("listen", Listen(service.url + "/ds", "ds.eth", "bob.eth", TOKEN))
        for round_ in range(3):
            sid = await asyncio.wait_for(came.get(), 10)
            await until(lambda round_=round_: len(told) > round_)
            await service.sockets.disconnect(sid)


@in_loop
async def test_what_is_no_operation_is_said() -> None:
    async with carrying() as (courier, _):
        assert isinstance(await courier.serve("submit", "x"), Failure)
        assert isinstance(await courier.serve("nothing", None), Failure)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what another task does
            await asyncio.sleep(0.01)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=6), st.integers(1, 9), st.booleans())
def test_an_array_is_cut_as_it_was_put_together(rows: list[Any], size: int, ascii_: bool) -> None:
    data = json.dumps(rows, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    cutter, found = Cutter(), []
    for start in range(0, len(data), size):
        found += cutter.feed(data[start : start + size])
    assert cutter.ended
    assert [json.loads(one) for one in found] == rows
