"""The session of a browser is worth less than the token: it neither shows nor changes secrets."""

import httpx
import pytest

from dms3.api.http import build_front
from dms3.api.sessions import Sessions
from dms3.node.commands import TABLE
from unit.fronts import AUTH, BASE, TOKEN, Counting, FakeNode, Ticking, in_loop


def front():
    sessions = Sessions(Counting(), Ticking())
    return build_front(FakeNode(), TABLE, token=TOKEN, sessions=sessions, report=lambda *_: None)


def test_the_commands_that_need_the_token_are_those_about_secrets():
    assert [command.name for command in TABLE if command.needs_token] == [
        *("id words", "id protect", "message keys-from-wallet", "dapp token")
    ]


@pytest.mark.parametrize("command", ["words", "protect"])
@in_loop
async def test_a_session_neither_shows_the_words_nor_sets_a_passphrase(command):
    made = front()
    path = f"/api/v1/id/{command}"
    transport = httpx.ASGITransport(made.app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as browser:
        assert (await browser.get(made.login_path())).status_code == 303
        shown = await browser.post("/api/v1/status", headers={"Origin": BASE})
        assert shown.status_code == 200
        refused = await browser.post(path, json={}, headers={"Origin": BASE})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=AUTH) as owner:
        assert (await owner.post(path, json={})).json().get("code") != "forbidden"
