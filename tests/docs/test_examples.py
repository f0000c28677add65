"""Every example runs and does what it says; a new one without a test here is noticed."""

import subprocess
import sys
from pathlib import Path

from docs.fences import ROOT
from docs.network import environment, network

EXAMPLES = ROOT / "examples"
LINES_MAX = 80


def run(name: str, *words: str, home: Path) -> str:
    """What the example prints; it has to succeed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(home),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_add_and_search(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "friday.txt").write_text("We meet on Friday.\nTo plant the garden.\n")
    with network(tmp_path):
        alice = tmp_path / "net/alice"
        first = run("add_and_search.py", str(letters), "garden", home=alice)
        again = run("add_and_search.py", str(letters), "garden", home=alice)
    assert first.startswith("1 new, 0 unchanged\n")
    assert again.startswith("0 new, 1 unchanged\n")
    assert "friday.txt: We meet on Friday." in first
    assert "the best begins 'We meet on Friday.'" in first


def test_add_and_search_says_when_no_node_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "add_and_search.py"), str(tmp_path), "words"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment(tmp_path), "DMS3_API": "127.0.0.1:1"},
    )
    assert done.returncode == 1
    assert "No node answers" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_nodes(tmp_path: Path) -> None:
    shown = run("two_nodes.py", home=tmp_path)
    assert "bob finds friday.txt in letters" in shown
    assert "bob reads: Dear Bob, we meet on Friday at nine to plant the garden." in shown


def test_simulate_partition(tmp_path: Path) -> None:
    first, again = (run("simulate_partition.py", "4", home=tmp_path) for _ in range(2))
    assert first == again
    assert first.endswith("8000 coins\n")
    assert "seed 4: 0 partitions" not in first


def test_examples_are_short_and_all_run_here() -> None:
    tests = Path(__file__).read_text()
    for path in sorted(EXAMPLES.glob("*.py")):
        assert len(path.read_text().splitlines()) < LINES_MAX, path.name
        assert f'"{path.name}"' in tests, f"{path.name} is run by no test"
