"""Rows of the benchmarks, and the page that is made of them."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("measure")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("run")


@pytest.mark.parametrize(
    ("ours", "peer", "unit", "goal", "ok"),
    [
        (20, 1, "requests/s", 20, True),  # of a rate, more is better
        (19, 1, "requests/s", 20, False),
        (3, 9, "ms", 1 / 3, True),  # of anything else, less is
        (4, 9, "ms", 1 / 3, False),
        (0.5, None, "s", 0.5, True),  # what stands alone is bounded itself
        (0.6, None, "s", 0.5, False),
        (0.6, None, "s", None, None),  # nothing was promised
    ],
)
def test_a_goal_is_reached_or_missed(
    measure: ModuleType, ours: float, peer: float, unit: str, goal: float, ok: object
) -> None:
    row = measure.Row("figure", ours, peer, "peer", unit, goal)
    assert row.ok is ok
    assert row.as_json()["ok"] is ok
    assert list(row.as_json())[:8] == [
        *("name", "ours", "peer", "peer_name", "ratio", "unit", "goal", "ok")
    ]


def test_the_page_has_a_line_for_each_row(run: ModuleType, measure: ModuleType) -> None:
    rows = [
        ("link", measure.Row("framed", 30_000, 60_000, "bare", "/s", 0.25, "Python")),
        ("idle", measure.Row("memory", 94.2, None, "", "MB", None)),
    ]
    page = run.page_of(rows, (0.5, 1.0))
    assert "| framed | 30,000 | 60,000 | bare | /s | 0.50 | ≥ 0.25 | ok | `link` | Python |" in page
    assert "| memory | 94.2 |  |  | MB |  |  |  | `idle` |  |" in page
    assert "before the run 0.5, after it 1.0" in page


def test_the_page_in_the_documentation_was_generated(run: ModuleType) -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()
    assert page.startswith(run.HEAD)
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    lines = [line for line in page.splitlines() if line.endswith(" |") and "`" in line]
    assert lines
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 10, line
        assert cells[8].strip("`") in names
