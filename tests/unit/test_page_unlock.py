"""The page of a locked node: a form for the passphrase, for browsers that are logged in only."""

from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest

from dms3.api.guard import HEADERS
from dms3.api.http import build_front
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from unit.fronts import BASE, TABLE, TOKEN, Counting, FakeNode, Ticking, in_loop

RIGHT = "schl\u00fcssel & wort+1"
FORM = "application/x-www-form-urlencoded"


class Locked(FakeNode):
    """A node that one passphrase opens."""

    async def unlock(self, passphrase: str) -> None:
        self.said.append(passphrase)
        if passphrase != RIGHT:
            raise Dms3Error("passphrase_wrong", "The passphrase does not open this home.")
        self.why_not_ready = ""


@asynccontextmanager
async def locked(*, logged_in: bool = True):
    node = Locked(why_not_ready="locked")
    sessions = Sessions(Counting(), Ticking())
    made = build_front(node, TABLE, token=TOKEN, sessions=sessions, report=lambda *_: None)
    transport = httpx.ASGITransport(made.app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as browser:
        if logged_in:
            assert (await browser.get(made.login_path())).status_code == 303
        yield node, browser


async def send(browser, text, **headers: str):
    body = urlencode({"passphrase": text})
    given = {"Content-Type": FORM, "Origin": BASE, **headers}
    return await browser.post("/unlock", content=body, headers=given)


@in_loop
async def test_the_form_opens_the_node():
    async with locked() as (node, browser):
        page = await browser.get("/")
        assert page.status_code == 200
        assert '<form method="post" action="/unlock">' in page.text
        assert 'type="password"' in page.text
        assert "<script" not in page.text
        assert page.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
        done = await send(browser, RIGHT)
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert node.said == [RIGHT]
        assert "/unlock" not in (await browser.get("/")).text


@in_loop
async def test_a_wrong_passphrase_is_said_and_not_shown():
    async with locked() as (node, browser):
        answer = await send(browser, "wrong <horse>")
        assert answer.status_code == 403
        assert "does not open this home" in answer.text
        assert "horse" not in answer.text
        assert node.why_not_ready == "locked"


@pytest.mark.parametrize("origin", ["https://example.org", "null"])
@in_loop
async def test_a_page_of_somebody_else_cannot_guess(origin):
    async with locked() as (node, browser):
        answer = await send(browser, RIGHT, Origin=origin)
        assert answer.json()["code"] == "origin_refused"
        missing = await browser.post("/unlock", content=b"passphrase=x")
        assert missing.json()["code"] == "origin_refused"
        assert node.said == []


@in_loop
async def test_without_a_session_there_is_no_form():
    async with locked(logged_in=False) as (node, browser):
        page = await browser.get("/")
        assert page.status_code == 401
        assert "/unlock" not in page.text
        assert (await send(browser, RIGHT)).json()["code"] == "unauthorized"
        assert node.said == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FORM),
        (b"other=x", FORM),
        (b"passphrase=a&passphrase=b", FORM),
        (b"passphrase=%ff", FORM),
        (b"passphrase=\xff", FORM),
        (b"passphrase=a", "text/plain"),
    ],
)
@in_loop
async def test_what_is_not_the_form_is_refused(body, kind):
    async with locked() as (node, browser):
        headers = {"Content-Type": kind, "Origin": BASE}
        answer = await browser.post("/unlock", content=body, headers=headers)
        assert answer.status_code == 400
        assert "not the form" in answer.text
        assert node.said == []


def test_browsers_name_the_origin_of_the_pages_forms():
    """Fetch, "append a request Origin header": under no-referrer a form sends `Origin: null`."""
    assert HEADERS["Referrer-Policy"] == "same-origin"
