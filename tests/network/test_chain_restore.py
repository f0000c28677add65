"""One person on several homes, between real nodes: nothing is lost, and no chain ever forks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from network.nursery import finished
from network.running import Running, running, wait_until

PATIENCE_S = 60  # the first start of the sandbox takes its time


def dms3(home: Path, *words: str) -> None:
    """As a person would run it; it has to succeed."""
    words = (*words, "--home", str(home), "--json")
    done = finished([sys.executable, "-m", "dms3", *words])
    assert done.returncode == 0, done.stderr


def put(node: Running, kind: str, text: str) -> str:
    """Write with the app and wait until others hold it; the hash of the action."""
    content = {"group": "home", "title": "of the day", "text": text}
    action = node.call("entry", "put", dapp="notes", type=kind, content=content)["action"]
    wait_until(lambda: published(node, action), PATIENCE_S)
    return str(action)


def published(node: Running, action: str) -> bool:
    return bool(node.call("entry", "journey", hash=action)["published"]["complete"])


def chains(node: Running) -> dict[str, dict[str, Any]]:
    """The chains that lie there, by device."""
    return {one["device"]: one for one in node.call("chain", "list")["chains"]}


def own(node: Running) -> dict[str, Any]:
    return next(one for one in chains(node).values() if one["standing"] != "foreign")


def is_writable(node: Running) -> bool:
    return any(one["standing"] == "writable" for one in chains(node).values())


def texts(node: Running, device: str) -> list[str]:
    """What was written with `device`, as `node` reads it."""
    shown = node.call("chain", "show", dapp="notes", device=device)
    return [one["entry"]["text"] for one in shown["records"] if one["entry"] is not None]


def brought(node: Running, device: str, count: int) -> bool:
    """Whether `node` has so many entries of `device`, after asking for them."""
    node.call("chain", "restore", dapp="notes")
    return device in chains(node) and len(texts(node, device)) == count


def test_homes_of_one_person_bring_everything_and_never_fork(tmp_path: Path) -> None:
    home, words, place = tmp_path / "alice", tmp_path / "words.txt", tmp_path / "backup"
    with running(tmp_path / "bob", "--name", "bob") as bob:
        join = ("--join", bob.data["address"])
        bob.call("dapp", "install", what="notes")
        with running(home, "--name", "alice", *join) as alice:
            alice.call("dapp", "install", what="notes")
            words.write_text(alice.call("id", "words")["words"])
            put(alice, "note", "first")
            put(alice, "draft", "mine alone")
            alice.call("store", "backup", url=str(place))
            day_old = tmp_path / "copied"
            device = own(alice)["device"]
            put(alice, "note", "after the backup")
            put(alice, "draft", "alone, too")
            written = texts(alice, device)
            assert len(written) == 4

            # the same words on a second, empty home: another chain, and all of this one
            second = running(tmp_path / "second", "--words-file", str(words), *join)
            with second as other:
                other.call("dapp", "install", what="notes")
                wait_until(lambda: brought(other, device, 4), PATIENCE_S)
                assert texts(other, device) == written
                assert chains(other)[device]["standing"] == "foreign"
                assert own(other)["agent"] != own(alice)["agent"]
                put(other, "note", "from the second")

        # the day-old backup in a new home, while the old one is gone
        dms3(tmp_path / "new", "store", "restore", str(place), "--words-file", str(words))
        with running(tmp_path / "new", *join) as restored:
            wait_until(lambda: brought(restored, device, 4), PATIENCE_S)
            assert texts(restored, device) == written
            assert chains(restored)[device]["standing"] == "foreign"
            wait_until(lambda: is_writable(restored), PATIENCE_S)
            put(restored, "note", "from the restored")

        # the folder of the home, copied, started in its stead
        shutil.copytree(home, day_old)
        with running(day_old, *join) as copy:
            wait_until(lambda: is_writable(copy), PATIENCE_S)
            assert own(copy)["device"] == device
            put(copy, "note", "from the copy")
            copy.call("chain", "restore", dapp="notes")
            agents = [one["agent"] for one in chains(copy).values()]
            assert len(agents) == 3

        for agent in agents:
            history = bob.call("entry", "history", agent=agent, dapp="notes")
            assert history["state"] == "valid"
        assert not bob.errors()
