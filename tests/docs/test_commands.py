"""Every command in README.md and docs/ runs as written, and prints what the page says it prints.

A shell runs those of README.md, and whatever needs one; the others come from the nursery.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.fences import DOCUMENTS, LANGUAGES, ROOT, Command, commands, differs, fences
from docs.network import environment, network
from network.nursery import finished

COMMAND_SECONDS_MAX = 120
SHELL_PAGE = "README.md"
WORDS = re.compile(r"dms3 (?:[\w ./:@,=+-]|'[^']*'|\"[\w ./:@,=+-]*\")+")  # as any shell reads them
SHOWN = [page for page in DOCUMENTS if any(fence.language == "sh" for fence in fences(page))]


def run(command: Command, folder: Path) -> None:
    """Run `command` in `folder`; it succeeds and prints what it should."""
    env = environment(folder / "net" / command.node)
    if WORDS.fullmatch(command.text) and not command.where.startswith(SHELL_PAGE):
        words = [sys.executable, "-m", *shlex.split(command.text)]
        done = finished(words, seconds=COMMAND_SECONDS_MAX, merged=True, cwd=folder, env=env)
    else:
        done = in_shell(command.text, folder, env)
    assert done.returncode == 0, f"{command.where}: {command.text}\n{done.stdout}"
    if command.expected:
        difference = differs(command.expected, done.stdout.splitlines())
        assert not difference, f"{command.where}: {command.text}\n{difference}"


def in_shell(text: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", text],
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        env=env,
    )


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
    taught |= {"messages.md"}
    assert taught <= {page.name for page in SHOWN}


def test_differences_are_seen() -> None:
    assert differs(["a ... c"], ["a\tb  c"]) == ""
    assert differs(["a", "...", "z"], ["a", "z"]) == ""
    assert differs(["a", "...", "z"], ["a", "b", "c", "z"]) == ""
    assert differs(["a"], ["a", "b"])
    assert differs(["a", "b"], ["a"])
    assert differs(["a.c"], ["abc"])
    assert differs(["..."], []) == ""
