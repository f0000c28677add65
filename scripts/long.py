"""Runs the long tests (marked `long`) one by one, and goes on where an earlier run stopped.

    python scripts/long.py [--only EXPRESSION] [--fresh]

EXPRESSION is pytest's -k. What passed is remembered in build/long.json for the commit at hand and
not run again until the commit changes or --fresh is given. Each test has an hour.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATE = ROOT / "build" / "long.json"
SECONDS_MAX = 3600


def pytest(*arguments: str) -> list[str]:
    """The command line that runs long tests only."""
    return [sys.executable, "-m", "pytest", "-m", "long", *arguments]


def commit() -> str:
    """The commit at hand, with a mark when the tree has changes of its own."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "no commit"


def collect(only: str) -> list[str]:
    """The node ids of the chosen tests."""
    found = subprocess.run(
        pytest("--collect-only", "-q", *(["-k", only] if only else []), "tests"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode not in (0, 5):
        sys.exit(found.stdout + found.stderr)
    return [line for line in found.stdout.splitlines() if "::" in line]


def passed_before(at: str) -> dict[str, float]:
    """Node id -> seconds of what passed at this commit."""
    if not STATE.exists():
        return {}
    state = json.loads(STATE.read_text())
    return dict(state["passed"]) if state["commit"] == at else {}


def remember(at: str, passed: dict[str, float]) -> None:
    """Write what passed, whole or not at all."""
    STATE.parent.mkdir(exist_ok=True)
    partial = STATE.with_suffix(".partial")
    partial.write_text(json.dumps({"commit": at, "passed": passed}, indent=1) + "\n")
    partial.replace(STATE)


def main() -> int:
    """The exit status: 0 when every chosen test has passed, now or before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pytest's -k expression")
    parser.add_argument("--fresh", action="store_true", help="forget what passed before")
    options = parser.parse_args()
    at = commit()
    passed = {} if options.fresh else passed_before(at)
    chosen = collect(options.only)
    failed = []
    for number, test in enumerate(chosen, 1):
        if test in passed:
            print(f"[{number}/{len(chosen)}] {test}: passed before", flush=True)
            continue
        print(f"[{number}/{len(chosen)}] {test}", flush=True)
        started = time.perf_counter()
        limit = f"--timeout={SECONDS_MAX}"
        if subprocess.run(pytest("-q", "-s", limit, test), cwd=ROOT, check=False).returncode:
            failed.append(test)
            continue
        passed[test] = round(time.perf_counter() - started, 1)
        remember(at, passed)
    done = sum(test in passed for test in chosen)
    print("\n".join(f"failed: {test}" for test in failed))
    print(f"{done} passed, {len(failed)} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
