"""Homes as earlier issues left them, opened by this program: everything is still there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dms3.core.database import Migration
from dms3.core.errors import Dms3Error
from dms3.io import sqlcipher
from dms3.io.clock import SystemEntropy
from dms3.io.keyfile import KeyFile
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.sdk import SyncClient
from network.running import Running, running, wait_until

HOMES = Path(__file__).parents[1] / "vectors" / "homes"
SAVED = sorted(path.name for path in HOMES.iterdir() if path.is_dir())
LATER = Migration(len(MIGRATIONS) + 1, "of a later program", ("CREATE TABLE later (id INTEGER)",))


def copy_of(name: str, home: Path) -> dict[str, Any]:
    """Put the saved home `name` into the folder `home`; what it holds."""
    shutil.copytree(HOMES / name, home)
    for path in (home, *home.rglob("*")):  # git keeps no modes
        path.chmod(0o700 if path.is_dir() else 0o600)
    expected: dict[str, Any] = json.loads((home / "expected.json").read_text())
    (home / "expected.json").unlink()
    return expected


def open_store(home: Path, *more: Migration) -> Store:
    key = KeyFile(home / "key", SystemEntropy()).open()
    return Store.open(home / "store.db", key, (*MIGRATIONS, *more), reserve=0)


def conversation(node: Running, name: str) -> list[dict[str, Any]]:
    """Who said what, how far it got, and the signs put on it; the oldest first."""
    return [
        {key: one[key] for key in ("mine", "text", "state")}
        | {"reactions": [each["text"] for each in one["reactions"]]}
        for one in node.call("message", "conversation", name=name)["messages"]
    ]


def guestbook(node: Running) -> list[dict[str, Any]]:
    """The lines of the guestbook, earliest first."""
    done = node.call("dapp", "call", dapp="guestbook", function="entries")
    lines: list[dict[str, Any]] = done["value"]
    return lines


def check(node: Running, expected: dict[str, Any]) -> None:
    """Person, contact, documents, words, grants, fetched files: as they were."""
    if "guestbook" in expected:  # homes before issue 5 have none
        wait_until(lambda: node.call("dapp", "show", dapp="guestbook")["state"] == "ready")
        assert guestbook(node) == expected["guestbook"]
    assert node.call("id", "show") == {**node.call("id", "show"), **expected["id"]}
    words = node.call("id", "words")["words"]
    assert words == expected["words"]
    (contact,) = node.call("contact", "list")["contacts"]
    assert {key: contact[key] for key in ("name", "root")} == expected["contact"]
    documents = node.call("store", "list", space="letters")["documents"]
    assert [{key: one[key] for key in expected["documents"][0]} for one in documents] == (
        expected["documents"]
    )
    spaces = node.call("store", "list")["spaces"]
    (mine,) = [one for one in spaces if one["name"] == "letters"]
    assert [reader["name"] for reader in mine["readers"]] == [expected["contact"]["name"]]
    assert [one["owner"] for one in spaces if not one["mine"]] == [expected["contact"]["name"]]
    public = [one["name"] for one in spaces if one["mine"] and one["public"]]
    assert public == expected.get("public", [])
    for query in ("lighthouse", "potatoes", "tide"):
        assert node.call("search", query=query)["hits"], query
    verified = node.call("store", "verify")
    assert verified["damaged"] == []
    assert verified["documents"] == expected["verified"]["documents"]
    assert verified["blocks"] >= expected["verified"]["blocks"]
    with SyncClient(home=node.home, api=node.data["api"]) as client:
        for document in documents:
            assert len(b"".join(client.pieces(document["cid"]))) == document["bytes"]
        assert b"ferry" in b"".join(client.pieces(expected["fetched"]))
    check_messages(node, expected)


def check_messages(node: Running, expected: dict[str, Any]) -> None:
    """What was written, and that keys were compared; homes before issue 4 have none of it."""
    if "messages" not in expected:
        return
    name = expected["contact"]["name"]
    assert conversation(node, name) == expected["messages"]
    (person,) = node.call("message", "people")["people"]
    assert (person["name"], person["standing"], person["verified"]) == (name, "contact", True)


@pytest.mark.parametrize("name", SAVED)
def test_a_home_of_an_earlier_issue_opens_with_everything_in_it(name: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    expected = copy_of(name, home)
    for _ in range(2):  # brought up to date, and as it is from then on
        with running(home) as node:
            check(node, expected)


@pytest.mark.parametrize("name", SAVED)
def test_a_migration_keeps_a_copy_that_the_program_before_it_opens(
    name: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    copy_of(name, home)
    open_store(home).close()
    open_store(home, LATER).close()
    copy = sqlcipher.copy_path(home / "store.db", len(MIGRATIONS))
    assert copy.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Dms3Error) as caught:
        open_store(home)
    assert caught.value.code == "home_newer"
    copy.replace(home / "store.db")
    store = open_store(home)
    assert store.check() == []
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM document").fetchall() != [(0,)]
    store.close()


def test_there_is_a_home_for_each_finished_issue() -> None:
    assert {"issue-2", "issue-3", "issue-4", "issue-5", "issue-6"} <= set(SAVED)
