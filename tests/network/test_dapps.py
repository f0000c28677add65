"""Apps on real nodes: installed from a folder, changed, found by others, drafts kept private."""

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest

from dms3.core.errors import Dms3Error
from dms3.node.dapps_folder import SHIPPED
from dms3.sdk import Client
from network.app_network import AppNetwork, apps, called, until
from network.homes import contents
from network.test_marker import Wiretap

SECRET = "The heron waits beside the ninth lock at Marsworth"
HELLO = '''
from dapp import expose, getLinks

@expose()
def hello(name):
    """Say hello."""
    return f"hello {name}"

@expose()
def entries():
    """How many."""
    return len(getLinks("guestbook", kind="signed"))
'''


async def functions_change_and_the_app_stays(clients: dict[str, Client], folder: Path) -> None:
    alice, bob = clients["alice"], clients["bob"]
    await called(alice, "guestbook", "sign", text="before")
    before = await alice.call("dapp", "show", dapp="guestbook")
    (folder / "functions.py").write_text(HELLO)
    (folder / "page" / "index.html").write_text("<!doctype html><title>New</title>")
    after = await alice.call("dapp", "install", files=[str(folder)])
    assert after["changed"]
    assert (after["dna"], after["agent"]) == (before["dna"], before["agent"])
    assert await called(alice, "guestbook", "hello", name="Bob") == "hello Bob"
    assert await called(alice, "guestbook", "entries") == 1
    with pytest.raises(Dms3Error, match="sign"):
        await called(alice, "guestbook", "sign", text="gone")
    await called(bob, "guestbook", "sign", text="from bob")  # who has the old functions

    async def both() -> bool:
        return await called(alice, "guestbook", "entries") == 2

    await until(both)


async def a_manifest_that_lies_is_refused(alice: Client, folder: Path) -> None:
    lying = folder.with_name("lying")
    shutil.copytree(folder, lying)
    toml = (lying / "dapp.toml").read_text()
    for changed, said in (
        (toml.replace("functions.py", "calls.py"), "calls.py"),
        (toml.replace('rules = "rules.py"', 'level = "wasm-1"\nrules = "rules.py"'), "WASM"),
        (toml.replace('name = "guestbook"', 'name = "../guestbook"'), "name"),
        (toml + "\n[grants]\nall = true\n", "no such key"),
    ):
        (lying / "dapp.toml").write_text(changed)
        with pytest.raises(Dms3Error, match=said) as caught:
            await alice.call("dapp", "install", files=[str(lying)])
        assert caught.value.code == "content_invalid"
    (lying / "dapp.toml").write_text(toml)
    (lying / "rules.py").write_text("import os\n")
    with pytest.raises(Dms3Error) as caught:  # the same name, other rules
        await alice.call("dapp", "install", files=[str(lying)])
    assert caught.value.code == "already_exists"
    with pytest.raises(Dms3Error, match="os cannot be imported"):
        await alice.call("dapp", "install", files=[str(lying)], name="lying")
    await alice.call("dapp", "remove", dapp="lying")


async def the_page_calls_its_functions_and_no_more(alice: Client, api: str) -> None:
    link = (await alice.call("dapp", "open", dapp="guestbook"))["url"]
    host, _, path = link.removeprefix("http://").partition("/")
    assert host.startswith("guestbook.localhost:")
    headers = {"Host": host, "Origin": f"http://{host}"}
    async with httpx.AsyncClient(base_url=f"http://{api}", headers=headers) as page:
        assert (await page.get("/")).status_code == 401
        entered = await page.get(f"/{path}")
        page.headers["Cookie"] = entered.headers["set-cookie"].partition(";")[0]
        assert "New" in (await page.get("/")).text
        asked = {"function": "hello", "arguments": {"name": "page"}}
        answer = await page.post("/api/v1/dapp/call", json=asked)
        assert answer.json()["data"]["value"] == "hello page"
        for more in ("/api/v1/id/words", "/api/v1/store/list", "/api/v1/dapp/remove"):
            refused = await page.post(more, json={})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def what_is_removed_comes_back_with_its_chain(alice: Client, folder: Path) -> None:
    before = await alice.call("dapp", "show", dapp="guestbook")
    await alice.call("dapp", "remove", dapp="guestbook")
    with pytest.raises(Dms3Error, match="no app called"):
        await called(alice, "guestbook", "hello", name="x")
    again = await alice.call("dapp", "install", files=[str(folder)])
    assert not again["changed"]
    assert again["agent"] == before["agent"]
    assert again["chain"]["seq"] == before["chain"]["seq"]


def test_an_app_is_changed_shown_removed_and_stays_the_same_app(tmp_path: Path) -> None:
    folder = tmp_path / "guestbook"
    shutil.copytree(SHIPPED / "guestbook", folder)

    async def scenario() -> None:
        async with apps(tmp_path / "net", 2, folder) as (network, clients):
            await functions_change_and_the_app_stays(clients, folder)
            await a_manifest_that_lies_is_refused(clients["alice"], folder)
            api = network.nodes["alice"].api
            await the_page_calls_its_functions_and_no_more(clients["alice"], api)
            await what_is_removed_comes_back_with_its_chain(clients["alice"], folder)
            await published_found_and_installed(clients)

    asyncio.run(scenario())


async def published_found_and_installed(clients: dict[str, Client]) -> None:
    alice, bob = clients["alice"], clients["bob"]
    mine = await alice.call("dapp", "install", what="notes")
    published = await alice.call("dapp", "publish", dapp="notes")

    async def found() -> list[dict]:
        return (await bob.call("dapp", "discover", query="drafts"))["dapps"]

    (row,) = await until(found)
    assert (row["name"], row["cid"]) == ("notes", published["cid"])
    assert not row["installed"]
    theirs = await bob.call("dapp", "install", what=row["cid"])
    assert theirs["dna"] == mine["dna"]
    (row,) = (await bob.call("dapp", "discover"))["dapps"]
    assert row["installed"]


def test_a_draft_never_leaves_the_device_readable(tmp_path: Path) -> None:
    async def scenario() -> None:
        network = AppNetwork(tmp_path / "net")
        try:
            alice = await network.start_node("alice")
            async with Wiretap(int(alice.address.split("/")[4])) as tap:
                join = f"{tap.address}/p2p/{alice.peer_id}"
                bob = await network.start_node("bob", join=join)
                async with (
                    Client(home=Path(alice.home), api=alice.api) as one,
                    Client(home=Path(bob.home), api=bob.api) as two,
                ):
                    await write_and_look(one, two)
                needles = [SECRET.encode(), SECRET.encode("utf-16-le"), b"Marsworth"]
                assert b"public words" not in tap.bytes, "what travels is encrypted, too"
                assert len(tap.bytes) > 10_000
                files = (data for _, data in contents(tmp_path / "net"))
                for place in (bytes(tap.bytes), *files):
                    assert not any(needle in place for needle in needles)
        finally:
            await network.stop()

    asyncio.run(scenario())


async def write_and_look(one: Client, two: Client) -> None:
    for client in (one, two):
        await client.call("dapp", "install", what="notes")
    draft = await called(one, "notes", "save_draft", title="mine", text=SECRET)
    note = await called(one, "notes", "write", group="all", title="ours", text="public words")

    async def seen() -> list[dict]:
        return await called(two, "notes", "notes", group="all")

    (shown,) = await until(seen)
    assert shown["text"] == "public words"
    assert (await called(one, "notes", "drafts"))[0]["text"] == SECRET

    async def complete() -> bool:
        found = await one.call("entry", "journey", hash=draft)
        return bool(found["published"]["complete"])

    await until(complete)
    found = await two.call("entry", "get", hash=draft)
    assert found["entry"] is None, "the action is public, its content is not"
    assert found["action"]["private"]
    assert await called(two, "notes", "drafts") == []
    assert await called(one, "notes", "edit", note=note, title="ours", text="other words")

    async def changed() -> bool:
        return (await called(two, "notes", "notes", group="all"))[0]["text"] == "other words"

    await until(changed)
    with pytest.raises(Dms3Error):
        await called(two, "notes", "delete", note=note)
    assert await called(one, "notes", "delete", note=note)

    async def gone() -> bool:
        return await called(two, "notes", "notes", group="all") == []

    await until(gone)
