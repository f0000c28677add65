"""Apps: calls through the local API, validated writes, publishes of five nodes, a full store.

Wall time says little when others use the machine, so processor time of all processes of a node,
with its workers, stands beside it. DMS3_BENCH_OPS adds a larger store, 1000000 for example.

Beside them stand the figures that Holochain has published of itself (Wind Tunnel, 0.6.1-rc.4, its
own machine): they say what people are used to, not how the two compare on this machine.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from chain_nodes import countersign, install, members, publish, spent
from chain_store import costs
from measure import Row
from nodes import Running, node

CALLS = 500
WRITES = 100
INSTALLS = 5
SIGNED = 9
SIZES = (1_000, 30_000, 300_000)
APP = {
    "rules.py": '''from dapp import rule

@rule("line")
def a_line_is_short_text(line):
    """A line is 1 to 100 characters."""
    return isinstance(line, str) and 1 <= len(line) <= 100
''',
    "functions.py": """from dapp import commit, expose, get, published

@expose()
def one():
    return 1

@expose()
def write(line):
    return commit("line", line)["entry"]

@expose()
def read(hash):
    return get(hash)["entry"]

@expose()
def put(line):
    return commit("line", line)["action"]

@expose()
def state(hash):
    return published(hash)
""",
}
MANIFEST = 'name = "{}"\nrules = "rules.py"\nfunctions = "functions.py"\n[entries.line]\n'


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = alone_rows(Path(folder))
        found += store_rows(Path(folder))
        return found + five_rows(Path(folder))


def row(name: str, ours: float, unit: str, goal: float | None, why: str) -> Row:
    """A figure that stands alone."""
    return Row(name, ours, None, "", unit, goal, why)


def alone_rows(folder: Path) -> list[Row]:
    """One node: calls, writes and reads."""
    with node(folder / "home", "--no-mdns") as alone, alone.http() as client:
        pid = alone.process.pid
        done = [installing(client, folder, number) for number in range(INSTALLS)]
        installs, firsts = zip(*done, strict=True)
        page = Page(call(client, "token", dapp="bench-0"))
        bare = Page(call(client, "token", dapp="bench-0"), "wrong")
        [page.call("one") for _ in range(20)]
        refused = [bare.refused() for _ in range(CALLS)]
        before = spent(pid)
        calls = [page.call("one")[0] for _ in range(CALLS)]
        called = spent(pid) - before
        writing(page, 10)
        before = spent(pid)
        writes = writing(page, WRITES)
        written = spent(pid) - before
    call_cpu = 1_000 * called.total / CALLS
    write_cpu = 1_000 * written.total / WRITES
    return [
        row("a function of an app, round trip, p50", 1_000 * statistics.median(calls), "ms", 1.2,
            "one value, from a page's session; Holochain publishes 1.16 ms"),
        row("the same, the quickest", 1_000 * min(calls), "ms", None, "least disturbed by others"),
        row("the same, processor", call_cpu, "ms", None,
            f"of them {1_000 * called.sandboxes / CALLS:.2f} in the sandbox's worker"),
        row("a request that the guard refuses", 1_000 * statistics.median(refused), "ms", None,
            "HTTP and nothing behind it, p50"),
        row("validated write and read of it", 1 / statistics.median(writes), "loops/s", 100,
            "one client, each write judged, durable and read back; Holochain publishes about 24 of "
            "each in a second"),
        row("the same, the quickest", 1 / min(writes), "loops/s", None,
            "least disturbed by others"),
        row("the same, processor", write_cpu, "ms", None,
            f"of them {1_000 * written.sandboxes / WRITES:.2f} in the sandbox's workers, "
            f"{1_000 * written.threads / WRITES:.2f} in the database's thread"),
        row("first call after install", 1_000 * statistics.median(firsts), "ms", 50,
            "the runner is there; Holochain publishes 5.3 ms"),
        row("install of an app", 1_000 * statistics.median(installs[1:]), "ms", None,
            "from a folder until its functions can be called; Holochain publishes 38 to 44 ms"),
    ]  # fmt: skip


def store_rows(folder: Path) -> list[Row]:
    """The node of before, with ever more ops in its store."""
    more = int(os.environ.get("DMS3_BENCH_OPS", "0"))
    sizes = (*SIZES, more) if more > SIZES[-1] else SIZES

    def loop(running: Running, times: int) -> None:
        with running.http() as client:
            ready(client, "bench-0")
            writing(Page(call(client, "token", dapp="bench-0")), times)

    found = costs(folder / "home", sizes, lambda: node(folder / "home", "--no-mdns"), loop)
    first = found[0][1]
    return [
        Row(f"write and read with {size:,} ops held, processor", cost, first,
            f"with {sizes[0]:,}", "ms", 1.25, "rows of one app in the store, copies of real ones")
        for size, cost in found[1:]
    ]  # fmt: skip


def five_rows(folder: Path) -> list[Row]:
    """Five nodes: publishes, and two of them sign together."""
    app = written_app(folder, "bench")
    with members(folder / "five") as all_of:
        install(all_of, files=[str(app)])
        done = publish(all_of, "bench")
        install(all_of[:2], what="agreement")
        signed = countersign(all_of[0], all_of[1], SIGNED)
    parts = done.parts
    whole = sum(parts.values())
    workers = done.spent.sandboxes + done.spent.threads  # no reads, no talk with the sandbox
    floor = parts.get("signature", 0.0) + workers / done.count
    split = ", ".join(f"{part} {1_000 * each:.2f}" for part, each in sorted(parts.items()))
    return [
        row("publishes of 5 nodes, each judged by all", done.count / done.seconds, "publishes/s",
            200, "until every writer has enough receipts"),
        Row("processor of one publish, all 5 nodes", 1_000 * whole, 1_000 * floor,
            "signatures, sandbox, commits", "ms", 3, f"ms: {split}"),
        row("countersigning between two processes, p50", statistics.median(signed), "s", 0.2,
            "proposed until complete, receipts of others included; Holochain publishes 0.215 s"),
        row("countersigning, the quickest", min(signed), "s", None, "least disturbed by others"),
    ]  # fmt: skip


def call(client: httpx.Client, verb: str, **arguments: object) -> dict:
    answer = client.post(f"/api/v1/dapp/{verb}", json=arguments, timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def ready(client: httpx.Client, app: str) -> None:
    """Wait until an app has begun again."""
    while call(client, "show", dapp=app)["state"] != "ready":
        time.sleep(0.05)


def installing(client: httpx.Client, folder: Path, number: int) -> tuple[float, float]:
    """Seconds of an install, and of the first call after it."""
    app = written_app(folder, f"bench-{number}")
    begun = time.perf_counter()
    call(client, "install", files=[str(app)])
    installed = time.perf_counter()
    call(client, "call", dapp=f"bench-{number}", function="one")
    return installed - begun, time.perf_counter() - installed


def written_app(folder: Path, name: str) -> Path:
    """The folder of an app of that name."""
    app = folder / f"app-{name}"
    app.mkdir(parents=True)
    (app / "dapp.toml").write_text(MANIFEST.format(name))
    for file, text in APP.items():
        (app / file).write_text(text)
    return app


class Page:
    """What asks as the page of an app does: one connection, a token of the app."""

    def __init__(self, token: dict, other: str = "") -> None:
        """`other`: a token in place of the right one."""
        url = httpx.URL(token["api"])
        self._path = url.path
        self._headers = {
            "Authorization": f"Bearer {other or token['token']}",
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

    def refused(self) -> float:
        """Seconds of a request that is refused for its token."""
        begun = time.perf_counter()
        self._http.request("POST", self._path, "{}", self._headers)
        answer = self._http.getresponse()
        answer.read()
        assert answer.status == 401, answer.status
        return time.perf_counter() - begun


def writing(page: Page, times: int) -> list[float]:
    """Seconds of each write together with reading it back."""
    took = []
    for number in range(times):
        wrote, entry = page.call("write", line=f"line {number}")
        read, line = page.call("read", hash=entry)
        assert line == f"line {number}"
        took.append(wrote + read)
    return took
