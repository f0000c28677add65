"""What both clients do with requests and answers, without any I/O.

Source: docs/api.md. The asynchronous client and the blocking one differ only in how they wait.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from dms3.core.errors import CODES, Dms3Error
from dms3.core.limits import EVENT_LINE_BYTES_MAX
from dms3.sdk.where import Where

NDJSON = "application/x-ndjson"
CONNECT_SECONDS_MAX = 5.0
# Commands end by their own deadlines; only reaching the node is timed here.
TIMEOUT = httpx.Timeout(None, connect=CONNECT_SECONDS_MAX)
Params = Mapping[str, str]


def command_path(noun: str, verb: str) -> str:
    """The path of a command; `verb` is "" for commands such as `search`."""
    return f"/api/v1/{noun}/{verb}".rstrip("/")


def headers(where: Where) -> dict[str, str]:
    """The headers of every request."""
    return {"Authorization": f"Bearer {where.token}"} if where.token else {}


def is_secure(where: Where) -> bool:
    """Whether TLS is spoken; where it is not, reading all certificates would cost 60 ms."""
    return where.url.startswith("https:")


def unreachable(where: Where, cause: Exception) -> Dms3Error:
    """The error for a node that does not answer, or stopped in the middle of it."""
    return Dms3Error(
        "node_unreachable",
        f"No node answers at {where.url} ({type(cause).__name__}).",
        hint=f"Start it with: dms3 up --home {where.home}",
    )


def data_of(response: httpx.Response) -> Any:
    """The data in an answer that was read whole; raises the error it carries."""
    if response.is_error:
        raise error_of(response.status_code, response.content)
    document = parse_json(response.content)
    if document.get("v") != 1 or "data" not in document:
        raise _foreign(response.status_code)
    return document["data"]


def error_of(status: int, body: bytes) -> Dms3Error:
    """The error in a body of problem details."""
    try:
        document = json.loads(body)
    except ValueError:
        return _foreign(status)
    return _error(document) if isinstance(document, dict) else _foreign(status)


def line_of(line: str) -> dict[str, Any]:
    """One line of a stream: {"progress"}, {"item"} or {"data"}; raises the error it carries."""
    if len(line) > EVENT_LINE_BYTES_MAX:
        raise Dms3Error("decode_failed", "The node answered with a line that is too long.")
    document = parse_json(line.encode())
    if "error" in document:
        raise _error(document["error"])
    return document


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object; raises `decode_failed` for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Dms3Error("decode_failed", "The node answered with something that is not JSON.")
    return document


class EventLines:
    """Parses the lines of a text/event-stream; each event is a JSON object in `data`."""

    def __init__(self) -> None:
        self._data: list[str] = []
        self._size = 0

    def feed(self, line: str) -> Iterator[dict[str, Any]]:
        """The event that `line` completes, if it does."""
        if line.startswith("data:"):
            self._size += len(line)
            if self._size > EVENT_LINE_BYTES_MAX:
                raise Dms3Error("decode_failed", "The node sent an event that is too long.")
            self._data.append(line[5:].removeprefix(" "))
        elif not line and self._data:
            data, self._data, self._size = "\n".join(self._data), [], 0
            yield line_of(data)


def login_url(where: Where, data: Mapping[str, Any]) -> str:
    """The link that opens the node's page, once and within a minute."""
    return where.url + str(data["path"])


def event_params(since: int | None, topics: tuple[str, ...]) -> dict[str, str]:
    """The query of the event stream."""
    params = {} if since is None else {"since": str(since)}
    return params | ({"topics": ",".join(topics)} if topics else {})


def range_header(start: int, end: int | None) -> dict[str, str]:
    """The header that asks for bytes `start` to `end` (exclusive); none for the whole file."""
    if start == 0 and end is None:
        return {}
    return {"Range": f"bytes={start}-" + ("" if end is None else str(end - 1))}


def _error(document: Any) -> Dms3Error:
    if not isinstance(document, dict):
        return _foreign(0)
    code = document.get("code")
    message = str(document.get("detail") or document.get("message") or code)
    known = code if code in CODES else "peer_refused"  # a newer node may know more codes
    about = document.get("about")
    hint = str(document.get("hint") or "")
    return Dms3Error(known, message, hint=hint, about=about if isinstance(about, dict) else None)


def _foreign(status: int) -> Dms3Error:
    return Dms3Error(
        "node_unreachable",
        f"Whatever answers there (HTTP status {status}) is not a dms3 node.",
        hint="Check the address given with --api.",
    )
