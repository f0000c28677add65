"""Makes the runner of level python-1: our guest and CPython as one WASM component.

Source: docs/sandbox.md, "The runner". componentize-py has CPython for WASM inside; system calls are
replaced by stops, so the component imports nothing but the node's `host`. Two makings of one recipe
differ in bytes and not in what they do. Keeps nothing: see `io/runner_cache.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from dms3.core.errors import Dms3Error
from dms3.core.limits import RUNNER_BUILD_SECONDS_MAX

GUEST = Path(__file__).parents[1] / "guest"
WORLD = "runner"
OPTIONS = ("--stub-wasi",)
_PROGRAM = "import sys, componentize_py; sys.argv[0] = 'componentize-py'; componentize_py.script()"
_SAID_CHARS_MAX = 400


def recipe(guest: Path = GUEST) -> str:
    """The name of what would be made now: a hash of the guest's text, the maker and its options."""
    found = hashlib.sha256()
    for path in _sources(guest):
        text = path.read_bytes()
        found.update(f"{path.name}\0{len(text)}\0".encode() + text)
    found.update(f"componentize-py {version('componentize-py')} {' '.join(OPTIONS)}".encode())
    return found.hexdigest()


def build(target: Path, guest: Path = GUEST) -> None:
    """Write the component to `target`; raises `runner_missing` when it cannot be made here."""
    with tempfile.TemporaryDirectory(prefix="dms3-runner-") as folder:
        package = Path(folder) / "dms3"
        (package / "guest").mkdir(parents=True)
        (package / "__init__.py").touch()
        for path in _sources(guest):
            shutil.copy(path, package / "guest" / path.name)
        _run(
            *("--wit-path", str(package / "guest" / "runner.wit"), "--world", WORLD, "--quiet"),
            *("componentize", "dms3.guest.app", "--python-path", folder, *OPTIONS),
            *("--output", str(target)),
        )


def _sources(guest: Path) -> list[Path]:
    return sorted([*guest.glob("*.py"), *guest.glob("*.wit")])


def _run(*arguments: str) -> None:
    # No path and no environment of ours: it would look for packages to take in.
    environment = {
        name: os.environ[name] for name in ("TMPDIR", "SystemRoot") if name in os.environ
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM, *arguments],
            env=environment,
            capture_output=True,
            timeout=RUNNER_BUILD_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _missing(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise _missing(said[-_SAID_CHARS_MAX:])


def _missing(said: str) -> Dms3Error:
    return Dms3Error(
        "runner_missing",
        f"The runner of apps could not be made: {said}",
        hint="It needs 2 GB of memory, 100 MB of disk and the package componentize-py.",
    )
