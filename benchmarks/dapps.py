"""Apps on one node, through the local API: a call, a validated write and read, the first call.

Beside them stand the figures that Holochain has published of itself (Wind Tunnel, 0.6.1-rc.4, its
own machine): they say what people are used to, not how the two compare on this machine.
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from measure import Row
from nodes import node

CALLS = 500
WRITES = 100
INSTALLS = 5
APP = {
    "rules.py": '''from dapp import rule

@rule("line")
def a_line_is_short_text(line):
    """A line is 1 to 100 characters."""
    return isinstance(line, str) and 1 <= len(line) <= 100
''',
    "functions.py": """from dapp import commit, expose, get

@expose()
def one():
    return 1

@expose()
def write(line):
    return commit("line", line)["entry"]

@expose()
def read(hash):
    return get(hash)["entry"]
""",
}
MANIFEST = 'name = "{}"\nrules = "rules.py"\nfunctions = "functions.py"\n[entries.line]\n'


def rows() -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as folder,
        node(Path(folder) / "home", "--no-mdns") as alone,
        alone.http() as client,
    ):
        done = [installing(client, Path(folder), number) for number in range(INSTALLS)]
        installs, firsts = zip(*done, strict=True)
        page = Page(call(client, "token", dapp="bench-0"))
        calls = [page.call("one")[0] for _ in range(CALLS + 20)][20:]
        writes = writing(page)
    return [
        Row(
            "a function of an app, round trip, p50",
            1_000 * statistics.median(calls),
            None,
            "",
            "ms",
            1.2,
            "one value, from a page's session; Holochain publishes 1.16 ms",
        ),
        Row(
            "validated write and read of it",
            1 / statistics.median(writes),
            None,
            "",
            "loops/s",
            100,
            "one client, each write judged, durable and read back; Holochain publishes about 24 of "
            "each in a second",
        ),
        Row(
            "first call after install",
            1_000 * statistics.median(firsts),
            None,
            "",
            "ms",
            50,
            "the runner is there; Holochain publishes 5.3 ms",
        ),
        Row(
            "install of an app",
            1_000 * statistics.median(installs[1:]),
            None,
            "",
            "ms",
            None,
            "from a folder until its functions can be called; Holochain publishes 38 to 44 ms",
        ),
    ]


def call(client: httpx.Client, verb: str, **arguments: object) -> dict:
    answer = client.post(f"/api/v1/dapp/{verb}", json=arguments, timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def installing(client: httpx.Client, folder: Path, number: int) -> tuple[float, float]:
    """Seconds of an install, and of the first call after it."""
    app = folder / f"app{number}"
    app.mkdir()
    (app / "dapp.toml").write_text(MANIFEST.format(f"bench-{number}"))
    for name, text in APP.items():
        (app / name).write_text(text)
    begun = time.perf_counter()
    call(client, "install", files=[str(app)])
    installed = time.perf_counter()
    call(client, "call", dapp=f"bench-{number}", function="one")
    return installed - begun, time.perf_counter() - installed


class Page:
    """What asks as the page of an app does: one connection, a token of the app."""

    def __init__(self, token: dict) -> None:
        url = httpx.URL(token["api"])
        self._path = url.path
        self._headers = {
            "Authorization": f"Bearer {token['token']}",
            "Content-Type": "application/json",
        }
        self._http = http.client.HTTPConnection(url.host, url.port)

    def call(self, function: str, **arguments: object) -> tuple[float, object]:
        """Seconds, and what the function returns."""
        body = json.dumps({"function": function, "arguments": arguments})
        begun = time.perf_counter()
        self._http.request("POST", self._path, body, self._headers)
        answer = self._http.getresponse()
        data = answer.read()
        took = time.perf_counter() - begun
        assert answer.status == 200, data
        return took, json.loads(data)["data"]["value"]


def writing(page: Page) -> list[float]:
    """Seconds of each write together with reading it back."""
    times = []
    for number in range(WRITES + 10):
        wrote, entry = page.call("write", line=f"line {number}")
        read, line = page.call("read", hash=entry)
        assert line == f"line {number}"
        times.append(wrote + read)
    return times[10:]
