"""What can be wrong when a node starts: each case is one clear message, and nothing is damaged."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from network.nursery import execute, finished, start
from network.running import Process


def command(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "dms3", *words, "--home", str(home)]


def up(home: Path, *words: str) -> list[str]:
    address = ("--listen", "/ip4/127.0.0.1/tcp/0", "--api-listen", "127.0.0.1:0")
    return command(home, "up", "--json", "--no-open", *address, *words)


@contextmanager
def running(
    home: Path, *words: str, begin: Callable[..., Process] = start
) -> Iterator[dict[str, str]]:
    """A node of its own process; its first line of output; stopped at the end."""
    with tempfile.TemporaryFile() as log:
        process = begin(up(home, *words), log)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, os.pread(log.fileno(), 10_000, 0)
            yield json.loads(line)["data"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    assert process.returncode == 0, "a node that is asked to stop ends well"


def refused(words: list[str], **environment: str) -> str:
    """What a start that must fail says on stderr: no stack trace, and whose fault it is."""
    done = finished(words, env={**os.environ, **environment})
    assert done.returncode in (1, 2, 4), done
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def ask(home: Path, *words: str) -> dict[str, object]:
    done = finished(command(home, *words, "--json"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["data"]  # type: ignore[no-any-return]


def test_a_second_node_on_a_home_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running(tmp_path):
        message = refused(up(tmp_path))
        assert "already" in message
        assert str(tmp_path) in message
        assert ask(tmp_path, "status")["ready"] is True


def test_the_identity_is_kept_from_start_to_start(tmp_path: Path) -> None:
    with running(tmp_path, begin=execute) as first:
        shown = ask(tmp_path, "id", "show")
        assert shown["peer_id"] == first["peer_id"]
    with running(tmp_path, begin=execute) as second:
        assert second["peer_id"] == first["peer_id"]
        assert ask(tmp_path, "id", "show") == shown


@pytest.mark.parametrize("option", ["--listen", "--api-listen"])
def test_a_port_in_use_is_named(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        value = f"/ip4/127.0.0.1/tcp/{port}" if option == "--listen" else f"127.0.0.1:{port}"
        message = refused(up(tmp_path, option, value))
    assert str(port) in message
    assert "in use" in message


def test_a_corrupt_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    [database] = tmp_path.glob("*.db")
    damaged = bytearray(database.read_bytes())
    damaged[5000:5100] = os.urandom(100)
    database.write_bytes(damaged)
    message = refused(up(tmp_path))
    assert database.name in message
    assert database.read_bytes() == bytes(damaged)


def test_a_protected_home_needs_its_passphrase(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse battery staple\n")
    wrong.write_text("incorrect horse\n")
    home = tmp_path / "home"
    with running(home) as node:
        ask(home, "id", "protect", "--passphrase-file", str(right))
    message = refused(up(home, "--passphrase-file", str(wrong)))
    assert "passphrase" in message
    with running(home, "--passphrase-file", str(right)) as again:
        assert again["peer_id"] == node["peer_id"]


def test_a_protected_node_starts_locked_and_is_unlocked(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery staple\n")
    home = tmp_path / "home"
    with running(home) as node:
        ask(home, "id", "protect", "--passphrase-file", str(secret))
    with running(home) as locked:
        assert locked["locked"] is True
        refusal = finished(command(home, "store", "list"))
        assert refusal.returncode == 1
        assert "locked" in refusal.stderr
        ask(home, "unlock", "--passphrase-file", str(secret))
        assert ask(home, "id", "show")["peer_id"] == node["peer_id"]


def test_an_unknown_configuration_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('lisen = "/ip4/127.0.0.1/tcp/0"\n')
    message = refused(up(tmp_path))
    assert "lisen" in message
    assert "listen" in message


def test_no_node_is_exit_status_3(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "status"), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert "dms3 up" in done.stderr


def test_the_words_make_the_same_person_on_another_home(tmp_path: Path) -> None:
    words = tmp_path / "words"
    with running(tmp_path / "old") as old:
        person = ask(tmp_path / "old", "id", "show")
        words.write_text(str(ask(tmp_path / "old", "id", "words")["words"]) + "\n")
    with running(tmp_path / "new", "--words-file", str(words)) as new:
        again = ask(tmp_path / "new", "id", "show")
    assert (again["root"], again["account"]) == (person["root"], person["account"])
    assert new["peer_id"] != old["peer_id"], "a node key is never restored"
    with running(tmp_path / "new", "--words-file", str(words)):
        pass  # the same person: nothing to complain about
    other = tmp_path / "other"
    with running(other):
        pass
    assert "another person" in refused(up(other, "--words-file", str(words)))
    words.write_text("abandon " * 11 + "zoo\n")
    assert "words" in refused(up(tmp_path / "third", "--words-file", str(words)))


def test_a_later_start_with_another_name_changes_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    seen = []
    for words in (["--name", "ada"], [], ["--name", "Ada L."], []):
        with running(home, *words):
            shown = ask(home, "id", "show")
            card = ask(home, "contact", "card")
            assert card["name"] == shown["name"]
            seen.append((shown["name"], shown["root"], shown["peer_id"]))
    assert [name for name, _, _ in seen] == ["ada", "ada", "Ada L.", "Ada L."]
    assert len({(root, peer) for _, root, peer in seen}) == 1
