"""Homes that are not what they should be: one clear message with the next step, no damage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.io import sqlcipher
from dms3.io.clock import SystemEntropy
from dms3.io.keyfile import KeyFile
from dms3.sdk import SyncClient
from network.nursery import finished
from network.running import command, running

FULL_BYTES = 80_000_000  # a small disk: the reserve of 64 MiB and little more


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that was used and stopped."""
    home = tmp_path_factory.mktemp("home") / "good"
    with running(home) as node:
        note = home.parent / "note.txt"
        note.write_text("a heron")
        node.call("store", "add", paths=[str(note)])
    return home


def refusal(home: Path, *words: str) -> dict[str, str]:
    """The error of a start that must fail; its hint is the next step."""
    done = finished(command(home, *words))
    assert done.returncode in (1, 2), done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    [line] = done.stderr.splitlines()
    error: dict[str, str] = json.loads(line)["error"]
    return error


def content(home: Path) -> dict[str, bytes]:
    """Every file of a home but its lock."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def newer(home: Path) -> None:
    key = KeyFile(home / "key", SystemEntropy()).open()
    connection = sqlcipher.connect(home / "store.db", key, writer=True)
    connection.execute("PRAGMA user_version = 999")
    connection.close()


def in_the_way(name: str) -> Callable[[Path], None]:
    """A folder where a file belongs, or the other way round."""

    def put(home: Path) -> None:
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
            path.write_bytes(b"x")
        else:
            path.unlink(missing_ok=True)
            path.mkdir()

    return put


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "newer": (newer, "home_newer", "999"),
    "key mode": (lambda home: (home / "key").chmod(0o644), "home_unusable", "mode 0644"),
    "key gone": (lambda home: (home / "key").unlink(), "home_unusable", "key is missing"),
    "key garbage": (lambda home: (home / "key").write_bytes(b"x"), "home_unusable", "damaged"),
    "key folder": (in_the_way("key"), "home_unusable", "regular file"),
    "database gone": (lambda home: (home / "store.db").unlink(), "home_unusable", "missing"),
    "database empty": (lambda h: (h / "store.db").write_bytes(b""), "home_unusable", "missing"),
    "database folder": (in_the_way("store.db"), "home_unusable", "store.db"),
    "packs": (in_the_way("packs"), "home_unusable", "packs"),
    "spool": (in_the_way("spool"), "home_unusable", "spool"),
    "lock": (in_the_way("lock"), "home_unusable", "lock"),
    "token": (in_the_way("api.token"), "home_unusable", "api.token"),
    "config": (lambda h: (h / "config.toml").write_bytes(b"\xff\0"), "config_invalid", "config"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_home_is_named_and_left_as_it_is(good: Path, tmp_path: Path, name: str) -> None:
    breaks, code, says = BROKEN[name]
    home = tmp_path / "home"
    shutil.copytree(good, home)
    breaks(home)
    before = content(home)
    error = refusal(home)
    assert (error["code"], says in error["message"]) == (code, True), error
    assert content(home) == before


def test_a_home_that_is_a_file_or_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for home in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/dms3")):
        error = refusal(home)
        assert error["code"] == "home_unusable"
        assert str(home) in error["message"]
        assert "--home" in error["hint"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_token_that_is_none_is_made_anew(good: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(good, home)
    (home / "api.token").write_bytes(b"\xff\xfe")
    with running(home) as node:
        assert len(node.token) >= 32
        assert node.call("status")["documents"] == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, where this machine allows one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL_BYTES}", "dms3-test", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_home_that_cannot_be_written(good: Path, disk: Path) -> None:
    shutil.copytree(good, disk / "home")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    error = refusal(disk / "home")
    assert error["code"] == "home_unusable"
    assert "read-only" in error["message"].lower()


def test_a_full_disk_is_said_and_nothing_is_lost(good: Path, disk: Path, tmp_path: Path) -> None:
    home = disk / "home"
    shutil.copytree(good, home)
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(30_000_000))
    with running(home) as node:
        with pytest.raises(Dms3Error) as caught:
            node.call("store", "add", paths=[str(large)])
        assert caught.value.code == "disk_full"
        assert caught.value.hint
        with pytest.raises(Dms3Error) as caught, SyncClient(home, node.data["api"]) as client:
            client.upload(large)
        assert caught.value.code == "disk_full"
        assert node.call("search", query="heron")["total"] == 1
        assert node.call("store", "verify")["damaged"] == []
        checks = {check["name"]: check["verdict"] for check in node.call("doctor")["checks"]}
        assert checks["disk"] in ("warn", "fail")
    (disk / "filler").write_bytes(bytes(20_000_000))
    with running(home) as node:  # below the reserve it still opens, to read and to remove
        assert node.call("search", query="heron")["total"] == 1
    assert refusal(disk / "new")["code"] == "disk_full"
