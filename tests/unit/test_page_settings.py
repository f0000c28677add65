"""The forms of the settings that carry secrets: what a session alone does not open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
import pytest

from dms3.api.http import build_front
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.core.limits import SESSION_FRESH_US_MAX, SESSIONS_MAX
from dms3.node.commands_people import id_protect
from dms3.node.table import Result, Table, command
from unit.fronts import AUTH, BASE, TOKEN, Counting, FakeNode, Ticking, in_loop

WORDS = " ".join(f"word{number}" for number in range(1, 13))
RIGHT = "right passphrase"
STATUS = {
    "name": "alice",
    "root": "ab" * 32,
    "peer_id": "12D3KooW",
    "words_written": False,
    "home": "/home/<alice>",
    "version": "0",
    "seconds": 1,
    "documents": 0,
    "bytes": 0,
    "fetched": {"documents": 0, "bytes": 0},
    "free_bytes": 10**9,
    "ready": True,
    "locked": False,
}


class Owned(FakeNode):
    """A node with words, and a passphrase when it is protected."""

    protected = False

    async def status(self) -> dict[str, Any]:
        return {**STATUS, "protected": self.protected}

    async def unlock(self, passphrase: str) -> None:
        if passphrase != RIGHT:
            raise Dms3Error("passphrase_wrong", "The passphrase does not open this home.")

    async def protect(self, passphrase: str, current: str | None) -> None:
        self.said.append((passphrase, current))


@command("status", example="dms3 status")
async def status(node: Owned) -> Result:
    """How it is."""
    return Result(await node.status())


@command("id", "words", example="dms3 id words", needs_token=True)
async def words(_node: Owned) -> Result:
    """The words."""
    return Result({"words": WORDS})


@command("store", "list", example="dms3 store list")
async def spaces(_node: Owned, space: Annotated[str | None, "a space"] = None) -> Result:
    """No spaces."""
    assert space is None
    return Result({"spaces": []})


class Opened:
    """A browser that has logged in at a node; `proof` is what it was given then."""

    def __init__(self, node: Owned, clock: Ticking, browser: httpx.AsyncClient, proof: str) -> None:
        self.node, self.clock, self.browser, self.proof = node, clock, browser, proof

    async def send(self, form: str, **fields: str) -> httpx.Response:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": BASE}
        content = urlencode(fields)
        return await self.browser.post(f"/settings/{form}", content=content, headers=headers)


@asynccontextmanager
async def opened(*, protected: bool = False) -> AsyncIterator[Opened]:
    node, clock = Owned(), Ticking()
    node.protected = protected
    table = Table((status, words, id_protect, spaces))
    sessions = Sessions(Counting(), clock)
    made = build_front(node, table, token=TOKEN, sessions=sessions, report=lambda *_: None)
    transport = httpx.ASGITransport(made.app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as browser:
        answer = await browser.get(made.login_path())
        place, _, proof = answer.headers["location"].partition("#proof=")
        assert (answer.status_code, place) == (303, "/")
        yield Opened(node, clock, browser, proof)


@in_loop
async def test_the_view_never_shows_the_words():
    async with opened() as one:
        page = await one.browser.get("/settings")
        assert page.status_code == 200
        assert "word1" not in page.text
        assert "Not written down yet" in page.text
        assert "/home/&lt;alice&gt;" in page.text
        assert "word1" not in (await one.browser.get("/settings?format=json")).text


@in_loop
async def test_the_words_are_shown_with_the_proof_of_the_login_for_ten_minutes():
    async with opened() as one:
        one.clock.us += SESSION_FRESH_US_MAX - 1
        page = await one.send("words", passphrase="", proof=one.proof)
        assert page.status_code == 200
        assert "<li>word12</li>" in page.text
        assert page.headers["cache-control"] == "no-store"
        one.clock.us += 1
        late = await one.send("words", passphrase="", proof=one.proof)
        assert late.status_code == 403
        assert "word12" not in late.text
        assert "dms3 open" in late.text


@in_loop
@pytest.mark.parametrize("proof", ["", "guessed", "A" * 43])
async def test_a_session_that_others_have_seen_shows_no_words(proof: str):
    async with opened() as one:
        page = await one.send("words", passphrase="", proof=proof)
        assert page.status_code == 403
        assert "word12" not in page.text
        again = await one.send("protect", current="", passphrase="x", again="x", proof=proof)
        assert again.status_code == 403
        assert one.node.said == []


@in_loop
async def test_the_proof_of_one_login_is_none_for_another():
    async with opened() as one, opened() as other:
        page = await one.send("words", passphrase="", proof=other.proof + "x")
        assert page.status_code == 403


@in_loop
async def test_after_logging_out_the_proof_is_worth_nothing():
    async with opened() as one:
        cookies = dict(one.browser.cookies)
        await one.browser.post("/logout", headers={"Origin": BASE})
        one.browser.cookies.update(cookies)
        page = await one.send("words", passphrase="", proof=one.proof)
        assert page.status_code == 401


@in_loop
async def test_a_protected_node_asks_for_its_passphrase_and_nothing_else_will_do():
    async with opened(protected=True) as one:
        wrong = await one.send("words", passphrase="wrong", proof=one.proof)
        assert wrong.status_code == 403
        assert "does not open this home" in wrong.text
        assert "word12" not in wrong.text
        right = await one.send("words", passphrase=RIGHT, proof="")
        assert "<li>word12</li>" in right.text


@in_loop
async def test_a_passphrase_is_set_and_changed():
    async with opened() as one:
        done = await one.send("protect", current="", passphrase="a", again="a", proof=one.proof)
        assert (done.status_code, done.headers["location"]) == (303, "/settings#protect")
        one.node.protected = True
        await one.send("protect", current=RIGHT, passphrase="b", again="b", proof="")
        assert one.node.said == [("a", None), ("b", RIGHT)]


@in_loop
async def test_two_different_new_passphrases_change_nothing():
    async with opened() as one:
        page = await one.send("protect", current="", passphrase="a", again="b", proof=one.proof)
        assert page.status_code == 400
        assert "not the same" in page.text
        assert one.node.said == []


@in_loop
@pytest.mark.parametrize(
    "content", [b"", b"passphrase=", b"passphrase=&proof=&more=1", b"proof=&proof=", b"\xff=1"]
)
async def test_what_is_not_the_form_of_the_page_is_refused(content: bytes):
    async with opened() as one:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": BASE}
        page = await one.browser.post("/settings/words", content=content, headers=headers)
        assert page.status_code == 400
        assert page.json()["code"] == "body_malformed"


@in_loop
async def test_a_form_of_another_site_and_one_without_a_session_are_refused():
    async with opened() as one:
        content = urlencode({"passphrase": "", "proof": one.proof})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        other = {**kind, "Origin": "http://127.0.0.1:1"}
        foreign = await one.browser.post("/settings/words", content=content, headers=other)
        assert foreign.status_code == 403
        one.browser.cookies.clear()
        nobody = await one.browser.post("/settings/words", content=content, headers=kind)
        assert nobody.status_code == 401
        owner = await one.browser.post("/settings/words", content=content, headers=kind | AUTH)
        assert "word12" in owner.text


def test_proofs_are_bounded_and_the_oldest_goes_first():
    clock = Ticking()
    sessions = Sessions(Counting(), clock)
    session = sessions.exchange(sessions.code())
    assert session is not None
    proofs = [sessions.proof(session) for _ in range(SESSIONS_MAX + 1)]
    assert not sessions.proven(session, proofs[0])
    assert sessions.proven(session, proofs[1])
