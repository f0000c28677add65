"""The apps that come with dms3, and a new one as `dapp new` writes it, pass their own tests."""

import subprocess
import sys
from pathlib import Path

from dms3.cli.main import run
from dms3.node.dapps_folder import SHIPPED


def test_what_comes_with_dms3_and_what_a_person_begins_with_hold(tmp_path: Path) -> None:
    assert run(["dapp", "new", "my-guests", "--folder", str(tmp_path)]) == 0
    folders = [tmp_path / "my-guests", SHIPPED / "notes", SHIPPED / "agreement"]
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *map(str, folders)],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    assert "no tests ran" not in done.stdout
