"""Logs of one node: structlog with its own processors, JSON lines unless a person looks on.

Source: docs/architecture.md, "Where a line of code lives". Nothing is configured for the whole
process, so two nodes log apart. Payloads and secrets are never logged: a guard hides what a
mistake would show.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import structlog

from dms3.core.errors import Dms3Error
from dms3.core.limits import LOG_FRAMES_MAX, LOG_VALUE_CHARS_MAX, SECOND_US

HIDDEN = "***"
# Parts of key names whose values are never shown, whatever they are.
SECRET_NAMES = (
    *("token", "secret", "passphrase", "password", "words", "mnemonic", "seed", "cookie"),
    *("authorization", "private", "signature", "body", "payload", "text", "query", "snippet"),
)

Event = MutableMapping[str, Any]


def node_logger(
    out: TextIO,
    *,
    level: str,
    wall_us: Callable[[], int],
    **bound: str,
) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes to `out` from `level` ("debug" to "error") up.

    `wall_us`: the time of a line. `bound`: keys of every line, such as node="alice".
    """

    def stamp(_logger: Any, _method: str, event: Event) -> Event:
        seconds, micros = divmod(wall_us(), SECOND_US)
        when = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
        event["time"] = when.isoformat(timespec="milliseconds")
        return event

    people = out.isatty()
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        stamp,
        hide,
        structlog.dev.ConsoleRenderer(timestamp_key="time") if people else _line,
    ]
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger.bind(**bound)


def hide(_logger: Any, _method: str, event: Event) -> Event:
    """The guard: values under secret names become stars, bytes their length, long text is cut."""
    for key in list(event):
        if key == "exc_info":  # which other processors would expand
            event["failure"] = _faults(event.pop(key))
        elif key not in ("event", "level", "time"):
            event[key] = _shown(key, event[key])
    return event


def _shown(key: str, value: Any) -> Any:
    if any(part in key.lower() for part in SECRET_NAMES):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {str(name): _shown(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(key, inner) for inner in value]
    text = str(value)
    cut = len(text) - LOG_VALUE_CHARS_MAX
    return text if cut <= 0 else f"{text[:LOG_VALUE_CHARS_MAX]}... ({cut} more)"


def _faults(error: BaseException) -> list[str]:
    """Kind and place of every exception in `error`, without words that may quote a document."""
    if isinstance(error, BaseExceptionGroup):
        return [line for inner in error.exceptions for line in _faults(inner)]
    frames = traceback.extract_tb(error.__traceback__)[-LOG_FRAMES_MAX:]
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    kind = error.code if isinstance(error, Dms3Error) else type(error).__name__
    shown = [" > ".join([*places, kind])]
    return shown if error.__cause__ is None else [*shown, *_faults(error.__cause__)]


def _line(_logger: Any, _method: str, event: Event) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
