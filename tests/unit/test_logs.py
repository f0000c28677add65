"""Logs: JSON lines per node, and a guard that hides what a mistake would show."""

import io
import json

import pytest

from dms3.core.limits import LOG_VALUE_CHARS_MAX
from dms3.node.logs import node_logger
from dms3.node.table import Secret


def logged(level: str = "debug", **bound: str):
    out = io.StringIO()
    log = node_logger(out, level=level, wall_us=lambda: 1_700_000_000_123_456, **bound)
    return log, lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_time_level_event_and_values():
    log, lines = logged(node="alice")
    log.info("peer_up", peer="12D3", count=2, ok=True, nothing=None)
    assert lines() == [
        {
            "node": "alice",
            "peer": "12D3",
            "count": 2,
            "ok": True,
            "nothing": None,
            "event": "peer_up",
            "level": "info",
            "time": "2023-11-14T22:13:20.123+00:00",
        }
    ]


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("error", 1)])
def test_only_what_matters_is_written(level, shown):
    log, lines = logged(level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")
    assert len(lines()) == shown


@pytest.mark.parametrize(
    "name",
    ["token", "api_token", "Authorization", "passphrase", "words", "private_key", "cookie", "text"],
)
def test_secrets_become_stars(name):
    log, lines = logged()
    log.info("x", **{name: "marker"}, inner={name: "marker"}, rows=[{name: ["marker"]}])
    [line] = lines()
    assert "marker" not in json.dumps(line)
    assert line[name] == "***"


def test_bytes_secrets_and_long_text_are_not_shown():
    log, lines = logged()
    log.info("x", data=b"marker", held=Secret("marker"), long="a" * (LOG_VALUE_CHARS_MAX + 5))
    log.info("y", long="a" * LOG_VALUE_CHARS_MAX)
    first, second = lines()
    assert first["data"] == "6 bytes"
    assert first["held"] == "***"
    assert first["long"].endswith("... (5 more)")
    assert second["long"] == "a" * LOG_VALUE_CHARS_MAX


def test_two_nodes_log_apart():
    one, first = logged(node="alice")
    two, second = logged("error", node="bob")
    one.info("x")
    two.info("x")
    two.error("y")
    assert [line["node"] for line in first()] == ["alice"]
    assert [line["event"] for line in second()] == ["y"]


def test_a_failure_carries_its_kind_and_place_but_no_words():
    log, lines = logged()
    with pytest.raises(ValueError, match="marker") as caught:
        raise ValueError("marker")
    log.error("machine_failed", exc_info=caught.value)
    [line] = lines()
    assert "marker" not in json.dumps(line)
    [failure] = line["failure"]
    assert failure.startswith("test_logs.py:")
    assert failure.endswith("ValueError")
