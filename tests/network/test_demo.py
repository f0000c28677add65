"""`dms3 demo` and `dms3 dev` as a person runs them: processes, exit statuses, what they print."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

DMS3 = [sys.executable, "-m", "dms3"]


def test_the_tour_holds_on_the_standard_library() -> None:
    done = subprocess.run(
        [*DMS3, "demo", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)["data"]
    failed = [check for check in data["checks"] if not check["ok"]]
    assert failed == []
    assert len(data["checks"]) == 30
    assert not Path(data["home"]).exists(), "the nodes are gone and so are their homes"


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path / "absent", tmp_path):
        done = subprocess.run(
            [*DMS3, "demo", "--docs", str(wrong), "-n", "3"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 2
        assert str(wrong) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_local_network_writes_where_its_nodes_are_and_stops_them_all(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DMS3, "dev", "-n", "2", "--home", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())["data"]
        written = json.loads((tmp_path / "network.json").read_text())
        assert [node["name"] for node in written["nodes"]] == ["alice", "bob"]
        assert written["nodes"] == said["nodes"]
        pids = [int((tmp_path / name / "lock").read_text()) for name in ("alice", "bob")]
        assert all(is_alive(pid) for pid in pids)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
