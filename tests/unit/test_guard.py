"""Who may ask: tokens, Hosts, Origins, login codes, sessions; bodies too large or too slow."""

import asyncio

import httpx
import pytest

from dms3.api.guard import HEADERS, OPEN_PATHS, Guard
from dms3.api.serve import serve
from dms3.api.sessions import Sessions
from dms3.core.limits import (
    API_BODY_BYTES_MAX,
    LOGIN_CODE_US_MAX,
    LOGIN_CODES_MAX,
    SESSION_US_MAX,
    SESSIONS_MAX,
    UPLOAD_BYTES_MAX,
)
from unit.fronts import AUTH, BASE, TOKEN, Counting, Ticking, asked, in_loop, make

ECHO = "/api/v1/echo/all"
WORDS = {"words": ["a"]}


def anonymous(fixture, base: str = BASE) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(fixture.front.app), base_url=base)


async def logged_in(fixture) -> httpx.AsyncClient:
    client = anonymous(fixture)
    response = await client.get(fixture.front.login_path())
    assert response.status_code == 303
    assert response.headers["location"].partition("#")[0] == "/"
    return client


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}t",
        f"Bearer {TOKEN.upper()}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer " + "x" * 10_000,
    ],
)
@in_loop
async def test_a_wrong_token_is_refused(header):
    fixture = make()
    async with anonymous(fixture) as client:
        headers = {"Authorization": header} if header else {}
        response = await client.post(ECHO, json=WORDS, headers=headers)
        assert response.status_code == 401
        assert response.json()["code"] == "unauthorized"
        assert "www-authenticate" in response.headers
        assert TOKEN not in response.text


@in_loop
async def test_the_right_token_in_any_case_of_bearer():
    fixture = make()
    async with anonymous(fixture) as client:
        for kind in ("Bearer", "bearer", "BEARER"):
            headers = {"Authorization": f"{kind} {TOKEN}"}
            assert (await client.post(ECHO, json=WORDS, headers=headers)).status_code == 200


@in_loop
async def test_a_wrong_token_is_refused_on_open_paths_too():
    async with asked(Authorization="Bearer wrong") as (_, client):
        for path in OPEN_PATHS:
            assert (await client.get(path)).status_code == 401, path


@in_loop
async def test_without_credentials_only_open_paths_answer():
    fixture = make()
    async with anonymous(fixture) as client:
        for path in ("/healthz", "/docs", "/openapi.json", "/metrics", "/static/style.css"):
            assert (await client.get(path)).status_code == 200, path
        page = await client.get("/")
        assert page.status_code == 401
        assert "dms3 open" in page.text
        assert "documents are kept" not in page.text
        for path in ("/api/v1/events", "/api/v1/blob/x", "/nothing", "//", "/static/../api"):
            assert (await client.get(path)).status_code == 401, path


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7700",
        "127.0.0.1.evil.example",
        "localhost.evil.example:7700",
        "evil.localhost",
        "127.0.0.1@evil.example",
        "[::2]:7700",
        "",
        "0.0.0.0:7700",
        "127.0.0.1:7700:7700",
    ],
)
@in_loop
async def test_a_foreign_host_is_refused(host):
    async with asked(Host=host) as (_, client):
        for path in ("/healthz", "/"):
            response = await client.get(path)
            assert response.status_code == 403, path
            assert response.json()["code"] == "origin_refused"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:7700", "[::1]", "[::1]:7700"]
)
@in_loop
async def test_loopback_hosts_are_served(host):
    async with asked(Host=host) as (_, client):
        assert (await client.get("/healthz")).status_code == 200


@in_loop
async def test_a_host_that_the_operator_named_is_served():
    fixture = make(hosts=("Node.example",))
    async with fixture.client(Host="node.example:7700") as client:
        assert (await client.post(ECHO, json=WORDS)).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:7701",
        "https://127.0.0.1:7700",
        "http://guestbook.localhost:7700",
        "",
    ],
)
@in_loop
async def test_a_foreign_origin_is_refused_even_with_the_token(origin):
    async with asked(Origin=origin) as (_, client):
        response = await client.post(ECHO, json=WORDS)
        assert response.status_code == 403
        assert response.json()["code"] == "origin_refused"


@in_loop
async def test_the_own_origin_is_served():
    async with asked(Origin=BASE) as (_, client):
        assert (await client.post(ECHO, json=WORDS)).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@in_loop
async def test_requests_of_foreign_pages_are_refused(site):
    fixture = make()
    client = await logged_in(fixture)
    response = await client.get("/api/v1/events", headers={"Sec-Fetch-Site": site})
    assert response.status_code == 403
    await client.aclose()


@in_loop
async def test_a_login_code_opens_the_page_once():
    fixture = make()
    path = fixture.front.login_path()
    client = anonymous(fixture)
    response = await client.get(path)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("dms3_7700=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    assert (await client.get("/")).status_code == 200
    replayed = anonymous(fixture)
    assert (await replayed.get(path)).status_code == 403
    assert (await replayed.get("/")).status_code == 401
    await client.aclose()
    await replayed.aclose()


@pytest.mark.parametrize("code", ["", "x", "a" * 10_000, "%00", "'--"])
@in_loop
async def test_a_wrong_code_opens_nothing(code):
    fixture = make()
    async with anonymous(fixture) as client:
        response = await client.get("/login", params={"code": code})
        assert response.status_code == 403
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize(("waited_us", "status"), [(-1, 303), (0, 403)])
@in_loop
async def test_a_login_code_lives_a_minute(waited_us, status):
    fixture = make()
    path = fixture.front.login_path()
    fixture.clock.us += LOGIN_CODE_US_MAX + waited_us
    async with anonymous(fixture) as client:
        assert (await client.get(path)).status_code == status


@in_loop
async def test_a_session_ends_by_logging_out_and_by_time():
    fixture = make()
    client = await logged_in(fixture)
    other = await logged_in(fixture)
    gone = await client.post("/logout", headers={"Origin": BASE})
    assert gone.status_code == 303
    assert (await client.get("/")).status_code == 401
    assert (await other.get("/")).status_code == 200
    fixture.clock.us += SESSION_US_MAX
    assert (await other.get("/")).status_code == 401
    await client.aclose()
    await other.aclose()


@in_loop
async def test_a_page_may_ask_but_names_no_path_and_makes_no_link():
    fixture = make()
    client = await logged_in(fixture)
    own = {"Origin": BASE}
    assert (await client.post(ECHO, json=WORDS, headers=own)).status_code == 200
    assert (await client.post(ECHO, json=WORDS)).status_code == 403, "a change without Origin"
    files = {"paths": ["/etc/passwd"]}
    refused = await client.post("/api/v1/echo/files", json=files, headers=own)
    assert refused.json()["code"] == "forbidden"
    assert (await client.post("/api/v1/login", headers=own)).status_code == 403
    await client.aclose()
    async with fixture.client() as owner:
        assert (await owner.post("/api/v1/echo/files", json=files)).status_code == 200
        path = (await owner.post("/api/v1/login")).json()["data"]["path"]
        assert (await owner.get(path)).status_code == 303


@pytest.mark.parametrize("cookie", ["dms3_7700=forged", "dms3_7701=x", "=;;;", "dms3_7700"])
@in_loop
async def test_a_forged_cookie_is_nobody(cookie):
    fixture = make()
    async with anonymous(fixture) as client:
        headers = {"Cookie": cookie, "Origin": BASE}
        assert (await client.post(ECHO, json=WORDS, headers=headers)).status_code == 401


def test_codes_and_sessions_are_bounded():
    sessions = Sessions(Counting(), Ticking())
    codes = [sessions.code() for _ in range(LOGIN_CODES_MAX + 1)]
    assert sessions.exchange(codes[0]) is None, "the oldest went"
    opened = [sessions.exchange(code) for code in codes[1:]]
    while len(opened) <= SESSIONS_MAX:
        opened.append(sessions.exchange(sessions.code()))
    assert not sessions.valid(opened[0])
    assert sessions.valid(opened[1])
    assert len({*codes, *opened}) == len(codes) + len(opened), "no secret twice"


def test_a_guessable_token_is_a_bug():
    with pytest.raises(AssertionError):
        Guard(make().front.app, token="short", sessions=Sessions(Counting(), Ticking()))


@in_loop
async def test_every_answer_carries_the_security_headers():
    async with asked() as (_, client):
        for method, path in (("GET", "/"), ("POST", ECHO), ("GET", "/nothing"), ("GET", "/docs")):
            response = await client.request(method, path)
            for name in HEADERS:
                assert name in response.headers, (path, name)
    async with asked(Host="evil") as (_, client):
        assert "content-security-policy" in (await client.get("/")).headers


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/%2e%2e/etc/passwd",
        "/static/%2e%2e/page.py",
        "/static/..%2fpage.py",
        "/static/style.css/../../page.py",
        "/static/style.css%00",
        "/api/v1/blob/..%2f..%2fkey",
        "/api/v1//echo/all",
        "/API/v1/echo/all",
    ],
)
@in_loop
async def test_path_tricks_reach_nothing(path):
    fixture = make()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        for method in ("GET", "POST"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            head += f"Authorization: {AUTH['Authorization']}\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.read()
            assert answer.split(b" ")[1] in (b"400", b"404", b"405"), answer[:200]
            writer.close()
    assert fixture.reported == []


# Bodies


@pytest.mark.parametrize(("size", "status"), [(0, 200), (1, 413)])
@in_loop
async def test_both_sides_of_the_body_limit(size, status):
    frame = b'{"words": ["a"]}'
    body = frame + b" " * (API_BODY_BYTES_MAX - len(frame) + size)

    async def pieces():
        for place in range(0, len(body), 1 << 20):
            yield body[place : place + (1 << 20)]

    async with asked() as (_, client):
        headers = {"Content-Type": "application/json"}
        declared = await client.post(ECHO, content=body, headers=headers)
        assert declared.status_code == status
        chunked = await client.post(ECHO, content=pieces(), headers=headers)
        assert chunked.status_code == status
        if status == 413:
            assert declared.json()["code"] == chunked.json()["code"] == "body_too_large"
            assert declared.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (str(UPLOAD_BYTES_MAX + 1), "body_too_large"),
        ("9" * 40, "body_too_large"),
        ("-1", "body_malformed"),
        ("1e3", "body_malformed"),
    ],
)
@in_loop
async def test_a_wrong_length_is_refused_before_the_body(length, code):
    async with asked(**{"Content-Length": length}) as (fixture, client):
        response = await client.put("/api/v1/blob", content=b"x")
        assert response.json()["code"] == code
        assert fixture.node.uploads == []


@pytest.mark.parametrize(
    ("method", "path", "bound"),
    [("POST", ECHO, "API_BODY_SECONDS_MAX"), ("PUT", "/api/v1/blob", "API_CHUNK_SECONDS_MAX")],
)
@in_loop
async def test_a_slow_body_is_given_up(method, path, bound, monkeypatch):
    monkeypatch.setattr(f"dms3.api.guard.{bound}", 0.05)
    fixture = make()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        head += f"Authorization: {AUTH['Authorization']}\r\n\r\n"
        writer.write(head.encode() + b"abc")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408"), answer[:300]
        assert b"body_slow" in answer
        writer.close()
    assert fixture.node.uploads == []
    assert fixture.reported == []


@in_loop
async def test_an_upload_whose_sender_leaves_is_dropped():
    fixture = make()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        head = "PUT /api/v1/blob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        writer.write(f"{head}Authorization: {AUTH['Authorization']}\r\n\r\nabc".encode())
        await fixture.node.started.wait()
        writer.close()
    assert fixture.node.uploads == []
    assert fixture.reported == []
