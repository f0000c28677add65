"""Runs the benchmarks: one table of ratios, and the same rows in build/bench.json.

    python benchmarks/run.py [NAME]

A benchmark is a file beside this one with a function `rows()` that returns, for each figure,
`{"name", "ours", "peer", "peer_name", "unit", "goal"}`: our value, the value of the other program
or of the floor measured in the same run, and the ratio ours/peer aimed at. Of a rate (unit ending
in "/s") the ratio should be at least the goal, of anything else at most. NAME picks files by a part
of their name. Ends with status 1 when a goal is missed.
"""

import json
import sys
import time
from importlib import util
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = HERE.parent / "build" / "bench.json"


def load(path: Path) -> Any:
    spec = util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def judged(row: dict[str, Any]) -> dict[str, Any]:
    """`row` with its ratio, and whether that reaches the goal."""
    ratio = row["ours"] / row["peer"]
    is_rate = row["unit"].endswith("/s")
    ok = ratio >= row["goal"] if is_rate else ratio <= row["goal"]
    wanted = ("name", "ours", "peer", "peer_name")
    rest = {"ratio": ratio, "unit": row["unit"], "goal": row["goal"], "ok": ok}
    return {key: row[key] for key in wanted} | rest


def table_of(rows: list[dict[str, Any]]) -> Table:
    table = Table("figure", "ours", "beside", "", "unit", "ratio", "goal", "")
    for row in rows:
        bound = "≥" if row["unit"].endswith("/s") else "≤"
        table.add_row(
            row["name"],
            f"{row['ours']:,.1f}",
            f"{row['peer']:,.1f}",
            row["peer_name"],
            row["unit"],
            f"{row['ratio']:.2f}",
            f"{bound} {row['goal']:g}",
            "ok" if row["ok"] else "missed",
        )
    return table


def main(part: str) -> int:
    rows: list[dict[str, Any]] = []
    for path in sorted(HERE.glob("*.py")):
        if path.stem == "run" or part not in path.stem:
            continue
        module = load(path)
        if not hasattr(module, "rows"):
            continue
        print(f"{path.stem} ...", file=sys.stderr, flush=True)
        started = time.perf_counter()
        rows += [judged(row) for row in module.rows()]
        print(f"{path.stem}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if not rows:
        print(f"no benchmark has {part!r} in its name", file=sys.stderr)
        return 2
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    Console(width=120).print(table_of(rows))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
