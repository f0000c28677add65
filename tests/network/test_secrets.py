"""Secrets of a running node are in no log, argument list or environment, its workers' included."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from network.nursery import execute
from network.running import Running, running

PASSPHRASE = "correct horse battery staple"
SENTENCE = "The heron waits beside the ninth lock at Marsworth"
QUERY = "marsworth heron"


def traces(node: Running) -> dict[str, bytes]:
    """Everything that others on the machine, or readers of its log, can see of the processes."""
    workers = node.workers
    assert workers, "the import used no worker"
    seen = {"log": node.log.read_bytes()}
    for pid in (node.process.pid, *workers):
        for name in ("cmdline", "environ", "comm"):
            seen[f"{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    return seen


def exercise(node: Running, tmp_path: Path) -> dict[str, str]:
    """Use the node well and badly; the secrets it has met."""
    diary = tmp_path / "diary.txt"
    diary.write_text(f"A diary.\n{SENTENCE}.\n")
    node.call("store", "add", paths=[str(diary)])
    assert node.call("search", query=QUERY)["total"] == 1
    words = str(node.call("id", "words")["words"])
    code = node.call("login")["path"].partition("=")[2]
    for noun, verb, arguments in (
        ("unlock", "", {"passphrase": PASSPHRASE + " wrong"}),
        ("search", "", {"query": '"' + SENTENCE}),
        ("search", "", {"query": QUERY, "where": [SENTENCE]}),
        ("contact", "add", {"card": "dms3:" + SENTENCE}),
        ("store", "add", {"paths": [SENTENCE]}),
    ):
        with contextlib.suppress(Dms3Error):  # most are refused, and all are met by the node
            node.call(noun, verb, **arguments)
    with pytest.raises(Dms3Error) as caught:
        node.call("id", "protect", passphrase=[PASSPHRASE])
    assert PASSPHRASE not in str(caught.value)
    node.call("id", "protect", passphrase=PASSPHRASE)
    key = (node.home / "key").read_bytes()
    return {
        "token": node.token,
        "words": words,
        "three of the words": " ".join(words.split()[3:6]),
        "passphrase": PASSPHRASE,
        "document": "ninth lock",
        "query": QUERY,
        "login code": code,
        "key file": key.hex(),
    }


def test_no_secret_is_shown_by_a_running_node(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--log-level", "debug", begin=execute) as node:
        secrets = exercise(node, tmp_path)
        seen = traces(node)
    seen["log after the stop"] = (tmp_path / "home.log").read_bytes()
    for where, data in seen.items():
        for what, secret in secrets.items():
            assert secret.encode() not in data, f"{what} in {where}"
    assert b"dms3" in seen[next(name for name in seen if name.endswith("cmdline"))]


def test_settings_in_the_environment_do_not_reach_workers(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSPHRASE + "\n")
    token = "t" * 40
    given = {"DMS3_TOKEN": token, "DMS3_PASSPHRASE_FILE": str(secret)}
    with running(tmp_path / "home", begin=execute, **given) as node:
        note = tmp_path / "note.txt"
        note.write_text("note")
        with contextlib.suppress(Dms3Error):
            node.call("store", "add", paths=[str(note)])
        assert node.workers
        for pid in node.workers:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"DMS3_" not in environment
            assert token.encode() not in environment
