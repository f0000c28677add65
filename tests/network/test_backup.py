"""Backup and words bring everything back, between real nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.sdk import SyncClient
from network.nursery import finished
from network.running import Running, running, wait_until

MARKER = "the quick brown marker sentence nobody may read"


def dms3(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the command line says, as a person would run it."""
    command = [sys.executable, "-m", "dms3", *words, "--home", str(home), "--json"]
    return finished(command, env={**os.environ, "DMS3_JSON": "1"})


def refused(node: Running, *words: str, **arguments: Any) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        node.call(*words, **arguments)
    return caught.value


def befriend(one: Running, other: Running) -> None:
    for giver, taker in ((one, other), (other, one)):
        taker.call("contact", "add", card=giver.call("contact", "card")["card"])


@contextmanager
def two(tmp_path: Path) -> Iterator[tuple[Running, Running]]:
    with (
        running(tmp_path / "alice", "--name", "alice") as alice,
        running(tmp_path / "bob", "--name", "bob") as bob,
    ):
        befriend(alice, bob)
        yield alice, bob


def write(folder: Path) -> Path:
    folder.mkdir()
    (folder / "heron.txt").write_text(f"The heron waits beside the ninth lock. {MARKER}\n")
    (folder / "large.txt").write_text(
        "Log of the canal\n" + f"night after night {MARKER}\n" * 9_000
    )
    return folder


def test_words_and_a_folder_bring_everything_back(tmp_path: Path) -> None:
    docs, place = write(tmp_path / "docs"), tmp_path / "backup"
    with two(tmp_path) as (alice, bob):
        alice.call("store", "add", paths=[str(docs)], space="canal")
        alice.call("store", "share", space="canal", **{"with": "bob"})
        wait_until(lambda: bool(bob.call("search", query="heron", scope="peers")["hits"]))
        assert alice.call("status")["backup"] is None
        assert check_of(alice)["verdict"] == "warn"
        done = alice.call("store", "backup", url=str(place))
        assert (done["generation"], done["documents"]) == (1, 2)
        assert alice.call("store", "backup", url=f"file://{place}")["documents"] == 2
        assert alice.call("status")["backup"]["generation"] == 2
        assert check_of(alice)["verdict"] == "pass"
        before = alice.call("id", "show")
        (tmp_path / "words").write_text(alice.call("id", "words")["words"] + "\n")
        for path in place.rglob("*"):
            assert not path.is_file() or MARKER.encode() not in path.read_bytes()
        assert refused(alice, "store", "restore", url=str(place)).code == "already_exists"

    new = tmp_path / "new"
    restored = dms3(new, "store", "restore", str(place), "--words-file", str(tmp_path / "words"))
    assert restored.returncode == 0, restored.stderr
    data = json.loads(restored.stdout)["data"]
    assert (data["generation"], data["documents"], data["damaged"]) == (2, 2, [])
    with running(new) as alice, running(tmp_path / "bob") as bob:
        after = alice.call("id", "show")
        assert (after["root"], after["name"]) == (before["root"], "alice")
        assert after["peer_id"] != before["peer_id"]
        assert alice.call("store", "verify")["damaged"] == []
        hits = alice.call("search", query="heron")["hits"]
        with SyncClient(home=alice.home, api=alice.data["api"]) as client:
            assert MARKER.encode() in b"".join(client.pieces(hits[0]["cid"]))
        # The grant names roots: the new node offers it, and bob reads on. No card is exchanged.
        alice.call("peer", "connect", address=bob.data["address"])
        wait_until(lambda: bool(bob.call("search", query="heron", scope="peers")["hits"]))
        again = dms3(new, "store", "backup", str(place))
        assert json.loads(again.stdout)["data"]["generation"] == 3


def check_of(node: Running) -> dict[str, Any]:
    (found,) = [one for one in node.call("doctor")["checks"] if one["name"] == "backup"]
    return dict(found)


def test_an_empty_node_that_runs_becomes_the_restored_one(tmp_path: Path) -> None:
    docs, place = write(tmp_path / "docs"), tmp_path / "backup"
    words = tmp_path / "words"
    with running(tmp_path / "alice", "--name", "alice") as alice:
        alice.call("store", "add", paths=[str(docs)], space="canal")
        alice.call("store", "backup", url=str(place))
        words.write_text(alice.call("id", "words")["words"] + "\n")
    with running(tmp_path / "new", "--words-file", str(words)) as node:
        peer, address = node.call("id", "show")["peer_id"], node.call("status")["addresses"]
        steps = []
        with SyncClient(home=node.home, api=node.data["api"]) as client:
            steps = list(client.stream("store", "restore", url=str(place)))
        assert "progress" in steps[0]
        assert steps[-1]["data"]["documents"] == 2
        assert node.call("id", "show")["peer_id"] == peer
        assert node.call("status")["addresses"] == address
        assert node.call("search", query="heron")["total"] == 1
        assert node.call("store", "verify")["damaged"] == []
        assert not (node.home / "restored").exists()
        assert refused(node, "store", "restore", url=str(place)).code == "already_exists"
    with running(tmp_path / "new") as node:
        assert node.call("search", query="heron")["total"] == 1
    with running(tmp_path / "stranger") as node:
        error = refused(node, "store", "restore", url=str(place))
        assert error.code == "words_invalid"
        assert node.call("status")["documents"] == 0


def test_what_cannot_be_is_said_and_changes_nothing(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(
        "legal winner thank year wave sausage worth useful legal winner thank yellow\n"
    )
    new = tmp_path / "new"
    for url, status, message in (
        (str(tmp_path / "nowhere"), 1, "There is no backup"),
        ("s3://bucket/backup", 2, "s3:// are not offered"),
    ):
        done = dms3(new, "store", "restore", url, "--words-file", str(words))
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr
        assert not new.exists()
    with running(tmp_path / "alice") as alice:
        assert refused(alice, "store", "backup", url="ftp://x/y").code == "argument_invalid"
        for inside in (alice.home, alice.home / "packs", alice.home / ".." / alice.home.name / "b"):
            within = refused(alice, "store", "backup", url=str(inside))
            assert within.code == "argument_invalid"
            assert "lies in the home folder" in within.message
            assert not (inside / "objects").exists()
        place = tmp_path / "file"
        place.write_text("no folder")
        assert refused(alice, "store", "backup", url=str(place)).code == "home_unusable"
        place = tmp_path / "backup"
        alice.call("store", "backup", url=str(place))
        foreign = dms3(new, "store", "restore", str(place), "--words-file", str(words))
        assert foreign.returncode == 4
        assert not new.exists()
        used = dms3(alice.home, "store", "restore", str(place), "--words-file", str(words))
        assert used.returncode == 1, used.stderr
