"""Every command in README.md and docs/ runs as written, and prints what the page says it prints."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.fences import DOCUMENTS, LANGUAGES, ROOT, Command, commands, differs, fences

COMMAND_SECONDS_MAX = 120
SHOWN = [page for page in DOCUMENTS if any(fence.language == "sh" for fence in fences(page))]


@contextmanager
def network(folder: Path) -> Iterator[None]:
    """Nodes alice and bob in `folder`/net, each a process of its own, as `dms3 dev` starts them."""
    words = ["dev", "-n", "2", "--home", str(folder / "net"), "--json"]
    with (folder / "dev.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dms3", *words], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder / "dev.log").read_text()
        assert [node["name"] for node in json.loads(line)["data"]["nodes"]] == ["alice", "bob"]
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def run(command: Command, folder: Path) -> None:
    """Run `command` in `folder`; it succeeds and prints what it should."""
    done = subprocess.run(
        ["sh", "-c", command.text],
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        env=environment(folder / "net" / command.node),
    )
    assert done.returncode == 0, f"{command.where}: {command.text}\n{done.stdout}"
    if command.expected:
        difference = differs(command.expected, done.stdout.splitlines())
        assert not difference, f"{command.where}: {command.text}\n{difference}"


def environment(home: Path) -> dict[str, str]:
    """Of a reader with dms3 installed, whose node is the one on `home`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DMS3_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "DMS3_HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"}


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_every_command_runs_as_written(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with network(tmp_path):
        for fence in fences(page):
            if fence.file_name:
                (tmp_path / fence.file_name).write_text(fence.text)
            if fence.language == "sh":
                for command in commands(fence):
                    run(command, tmp_path)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_no_command_escapes_by_another_fence(page: Path) -> None:
    """What is not run says so: only `text` blocks, whose commands have no prompt to copy."""
    for fence in fences(page):
        where = f"{page.name}:{fence.line}"
        assert fence.language in LANGUAGES, f"{where}: fenced as {fence.language!r}"
        if fence.language == "sh":
            assert list(commands(fence)), f"{where}: an empty block"


def test_the_pages_that_teach_commands_are_among_those_run() -> None:
    taught = {"README.md", "start.md", "sharing.md", "search.md", "operations.md", "api.md"}
    assert taught <= {page.name for page in SHOWN}


def test_differences_are_seen() -> None:
    assert differs(["a ... c"], ["a\tb  c"]) == ""
    assert differs(["a", "...", "z"], ["a", "z"]) == ""
    assert differs(["a", "...", "z"], ["a", "b", "c", "z"]) == ""
    assert differs(["a"], ["a", "b"])
    assert differs(["a", "b"], ["a"])
    assert differs(["a.c"], ["abc"])
    assert differs(["..."], []) == ""
