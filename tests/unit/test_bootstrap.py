"""scripts/bootstrap.sh on machines that cannot run dms3: one message that names what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "cat", "cksum", "cut", "rm", "dirname")

OLD = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 0\n'
NO_VENV = """#!/bin/sh
case "$*" in
*ensurepip*) exit 1 ;;
*version_info*) echo 3.12 ;;
*executable*) echo "$0" ;;
esac
"""


def bootstrap(home: Path, python: str | None, **environment: str) -> tuple[int, str]:
    """Status and messages on a machine whose only Python is the given script."""
    for file in ("pyproject.toml", "uv.lock", "scripts/bootstrap.sh", "scripts/uv.sh"):
        (home / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, home / file)
    tools = home / "bin"
    tools.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    if python is not None:
        (tools / "python3").write_text(python)
        (tools / "python3").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "scripts/bootstrap.sh"],
        cwd=home,
        env={"PATH": str(tools), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("python", "says"),
    [
        (OLD, "Python 3.11, 3.12 or 3.13, and Python 3.9.2 is here"),
        (None, "Python 3.11, 3.12 or 3.13, and no python3 is here"),
        (NO_VENV, "apt-get install python3-venv python3-pip (or python3.12-venv)"),
    ],
    ids=["old", "none", "no-venv"],
)
def test_missing_prerequisite_is_named(tmp_path, python, says):
    status, message = bootstrap(tmp_path, python)
    assert status == 1
    assert says in message
    assert "apt-get install" in message
    assert not (tmp_path / ".venv").exists()


def test_a_chosen_python_that_does_not_fit_is_named(tmp_path):
    status, message = bootstrap(tmp_path, OLD, DMS3_PYTHON="python3")
    assert status == 1
    assert "DMS3_PYTHON=python3 is not Python 3.11, 3.12 or 3.13" in message


def test_nothing_is_done_when_nothing_changed(tmp_path):
    bootstrap(tmp_path, None)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 3.12\n")
    python.chmod(0o755)
    files = ("pyproject.toml", "uv.lock", "scripts/bootstrap.sh")
    content = b"".join((tmp_path / file).read_bytes() for file in files)
    stamp = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout
    (tmp_path / ".venv" / ".installed").write_bytes(stamp)
    shutil.rmtree(tmp_path / "bin")
    assert bootstrap(tmp_path, None) == (0, "")
