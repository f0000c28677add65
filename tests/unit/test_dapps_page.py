from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from dms3.api.dapps import TOKEN_PREFIX
from dms3.core.errors import Dms3Error
from dms3.core.limits import API_BODY_BYTES_MAX, DAPP_LOGINS_MAX, LOGIN_CODE_US_MAX, SESSION_US_MAX
from dms3.node.dapps_logins import DappLogins
from unit.fronts import BASE, TOKEN, Counting, FakeNode, Fixture, Ticking, in_loop, make

ORIGIN = "http://guestbook.localhost:7700"
CALL = "/api/v1/dapp/call"
SIGN = {"function": "sign", "arguments": {"text": "hello"}}
APPS = {"guestbook": 1, "notes": 2}


class FakeDapps:
    """Two apps with one page each."""

    def __init__(self) -> None:
        self.clock = Ticking()
        self.logins = DappLogins(Counting(), self.clock)
        self.called: list[object] = []

    def known(self, dapp):
        return dapp in APPS

    def enter(self, dapp, code):
        return self.logins.exchange(APPS[dapp], code)

    def admitted(self, secret):
        number = self.logins.admitted(secret)
        return next((name for name, of in APPS.items() if of == number), None)

    async def about(self, dapp):
        return {"name": dapp, "agent": "a" * 52}

    async def page(self, dapp, path):
        if path not in ("index.html", "style.css", "book.js"):
            raise Dms3Error("not_found", f"no {path}")
        return f"{dapp} {path}".encode()

    async def call(self, dapp, function, arguments):
        self.called.append((dapp, function, arguments))
        if function == "broken":
            raise Dms3Error("content_invalid", "No.", about={"rule": "short", "line": 9})
        return {"value": [dapp, function, arguments]}


class AppNode(FakeNode):
    """A fake node with apps."""

    def __init__(self, apps: FakeDapps) -> None:
        super().__init__()
        self.apps = apps

    @property
    def dapps(self):
        return self.apps


def fixture() -> tuple[Fixture, FakeDapps]:
    dapps = FakeDapps()
    return make(node=AppNode(dapps)), dapps


def browser(made: Fixture, origin: str = ORIGIN, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(made.front.app)
    return httpx.AsyncClient(transport=transport, base_url=origin, headers=headers)


@asynccontextmanager
async def entered(made: Fixture, dapps: FakeDapps) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(made, Origin=ORIGIN) as client:
        opened = await client.get("/login", params={"code": dapps.logins.code(APPS["guestbook"])})
        assert opened.status_code == 200
        cookie = opened.headers["set-cookie"]
        assert cookie.startswith("dms3_dapp_7700=")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Domain" not in cookie, "another app's origin never gets it"
        yield client


@in_loop
async def test_a_page_is_shown_and_calls_its_functions_after_one_login():
    made, dapps = fixture()
    async with entered(made, dapps) as client:
        page = await client.get("/")
        assert page.text == "guestbook index.html"
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (await client.get("/book.js")).headers["content-type"].startswith("text/javascript")
        assert "export async function call" in (await client.get("/dapp.js")).text
        assert (await client.get("/nothing.css")).status_code == 404
        answer = await client.post(CALL, json=SIGN)
        assert answer.json() == {
            "v": 1,
            "data": {"value": ["guestbook", "sign", {"text": "hello"}]},
        }
        assert (await client.get("/api/v1/dapp/show")).json()["data"]["name"] == "guestbook"
        broken = await client.post(CALL, json={"function": "broken"})
        assert broken.status_code == 422
        assert broken.json()["about"] == {"rule": "short", "line": 9}
    assert made.reported == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/store/list", {}),
        ("POST", "/api/v1/id/words", {}),
        ("POST", "/api/v1/dapp/install", {"what": "notes"}),
        ("POST", "/api/v1/dapp/list", {}),
        ("POST", CALL, SIGN | {"dapp": "notes"}),
        ("PUT", "/api/v1/blob", None),
        ("GET", "/api/v1/blob/x", None),
        ("POST", "/api/v1/login", {}),
        ("GET", "/api/v1/running", None),
    ],
)
@in_loop
async def test_a_page_that_asks_for_more_than_its_functions_is_refused(method, path, body):
    made, dapps = fixture()
    async with entered(made, dapps) as client:
        answer = await client.request(method, path, json=body)
        assert answer.status_code == 403
        problem = answer.json()
        assert problem["code"] == "forbidden"
        assert "guestbook" in problem["detail"]
    assert dapps.called == []


@in_loop
async def test_the_session_of_one_app_is_none_of_another_nor_of_the_node():
    made, dapps = fixture()
    async with entered(made, dapps) as client:
        session = client.cookies["dms3_dapp_7700"]
    for origin in ("http://notes.localhost:7700", BASE):
        cookies = f"dms3_dapp_7700={session}; dms3_7700={session}"
        async with browser(made, origin, Origin=origin, Cookie=cookies) as client:
            assert (await client.post(CALL, json=SIGN)).status_code in (401, 404)
            assert (await client.post("/api/v1/echo/all", json={"words": ["a"]})).status_code == 401
    assert dapps.called == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://notes.localhost:7700"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://guestbook.localhost:7701"},
        {},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
    ],
)
@in_loop
async def test_no_other_page_uses_the_session_of_an_app(headers):
    made, dapps = fixture()
    async with entered(made, dapps) as client:
        session = client.cookies["dms3_dapp_7700"]
    async with browser(made, Cookie=f"dms3_dapp_7700={session}", **headers) as other:
        answer = await other.post(CALL, json=SIGN)
        assert answer.status_code == 403
        assert answer.json()["code"] == "origin_refused"
    assert dapps.called == []


@in_loop
async def test_a_code_is_for_one_app_once_and_for_a_minute():
    made, dapps = fixture()
    code = dapps.logins.code(APPS["guestbook"])
    async with browser(made, "http://notes.localhost:7700") as client:
        assert (await client.get("/login", params={"code": code})).status_code == 403
    async with browser(made) as client:
        gone = await client.get("/login", params={"code": code})
        assert gone.status_code == 403, "a wrong try uses it up"
        late = dapps.logins.code(APPS["guestbook"])
        dapps.clock.us += LOGIN_CODE_US_MAX
        assert (await client.get("/login", params={"code": late})).status_code == 403
        assert (await client.get("/login")).status_code == 403
        assert (await client.get("/")).status_code == 401
        assert "dms3 dapp open guestbook" in (await client.get("/")).text
        assert (await client.post(CALL, json=SIGN, headers={"Origin": ORIGIN})).status_code == 401


@in_loop
async def test_a_page_leaves_no_service_worker_to_the_next_app_of_its_name():
    made, dapps = fixture()
    async with entered(made, dapps) as client:
        assert (await client.get("/book.js")).status_code == 200
        for path in ("/book.js", "/dapp.js"):
            refused = await client.get(path, headers={"Service-Worker": "script"})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


@in_loop
async def test_an_app_nobody_installed_has_no_address():
    made, _ = fixture()
    async with browser(made, "http://elsewhere.localhost:7700") as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")


@in_loop
async def test_a_token_of_an_app_calls_it_from_a_program_and_nothing_else():
    made, dapps = fixture()
    token = TOKEN_PREFIX + dapps.logins.session(APPS["guestbook"])
    bearer = {"Authorization": f"Bearer {token}"}
    async with browser(made, BASE, **bearer) as client:
        assert (await client.post(CALL, json=SIGN)).status_code == 200
        assert (await client.post("/api/v1/echo/all", json={"words": ["a"]})).status_code == 403
        assert (await client.post(CALL, json=SIGN | {"dapp": "notes"})).status_code == 403
    async with browser(made, "http://notes.localhost:7700", **bearer) as client:
        assert (await client.post(CALL, json=SIGN)).status_code == 401
    async with browser(made, "http://evil.example", **bearer) as client:
        assert (await client.post(CALL, json=SIGN)).json()["code"] == "origin_refused"
    for wrong in (TOKEN_PREFIX, TOKEN_PREFIX + "x" * 43, TOKEN):
        async with browser(made, Authorization=f"Bearer {wrong}") as client:
            assert (await client.post(CALL, json=SIGN)).status_code == 401
    dapps.clock.us += SESSION_US_MAX
    async with browser(made, BASE, **bearer) as client:
        assert (await client.post(CALL, json=SIGN)).status_code == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "body_malformed"),
        (b"[]", "body_malformed"),
        (b"{}", "argument_invalid"),
        (b'{"function": 5}', "argument_invalid"),
        (b'{"function": "sign", "more": 1}', "argument_invalid"),
        (b'{"function": "sign", "function": "sign"}', "body_malformed"),
    ],
)
@in_loop
async def test_a_call_that_is_none_is_refused_by_name(body, code):
    made, dapps = fixture()
    async with entered(made, dapps) as client:
        kind = {"Content-Type": "application/json"}
        answer = await client.post(CALL, content=body, headers=kind)
        assert answer.json()["code"] == code
        large = await client.post(CALL, content=b" " * (API_BODY_BYTES_MAX + 1), headers=kind)
        assert large.status_code == 413


def test_logins_are_bounded_and_end_with_their_app():
    logins = DappLogins(Counting(), Ticking())
    sessions = [logins.session(1) for _ in range(DAPP_LOGINS_MAX + 1)]
    assert logins.admitted(sessions[0]) is None
    assert logins.admitted(sessions[1]) == 1
    code = logins.code(1)
    logins.end(1)
    assert logins.admitted(sessions[1]) is None
    assert logins.exchange(1, code) is None
