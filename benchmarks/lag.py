"""How late the event loop of a real node is while it imports and takes an upload, beside idling.

    python benchmarks/lag.py [--rounds 3]

The node measures its own lag, here every 5 ms; a loop that is held up for longer counts as often
as it was not measured. In each round: idle, then an import of Python's standard library, idle
again, then 100 MB through the route of the page's uploads and into the store. Goal: p99 at most
three times that of idling, plus 5 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import httpx
import nodes
from measure import Row, note

from dms3.cli import main as cli
from dms3.core.limits import SECOND_US
from dms3.io import loop
from dms3.node import host, metrics
from dms3.node.node import Node

PERIOD_US = 5_000
ROUNDS = 3
IDLE_SECONDS = 4
FILES = 2_000
UPLOAD_BYTES = 100_000_000
PIECE_BYTES = 1 << 18
TIMES, MORE_MS = 3, 5
SUFFIXES = (".py", ".txt", ".rst", ".html")


class Probe(metrics.Metrics):
    """Gives every lag since the last question instead of a histogram, in microseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def lag(self, lag_us: int) -> None:
        self.found.append(lag_us)

    def text(self, _node: Node | None) -> bytes:
        found, self.found = self.found, []
        return json.dumps(found).encode()


def serve(words: list[str]) -> None:
    """`dms3 WORDS` with the probe in it."""
    loop.LAG_PERIOD_US = PERIOD_US  # type: ignore[attr-defined]
    metrics.Metrics = Probe  # type: ignore[misc]
    host.Metrics = Probe  # type: ignore[attr-defined]
    sys.exit(cli.run(words))


def corpus(folder: Path, number: int) -> None:
    """Text files of the standard library, each with a line that no other round has."""
    source = Path(sysconfig.get_paths()["stdlib"])
    found = (
        path
        for path in sorted(source.rglob("*"))
        if path.suffix in SUFFIXES and "site-packages" not in path.parts
    )
    for path, _ in zip(found, range(FILES), strict=False):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() + b"\n# round %d\n" % number)


def lags_of(http: httpx.Client) -> list[int]:
    """Every lag since the last call, with those that were not measured while the loop was held."""
    found: list[int] = []
    for lag in http.get("/metrics").raise_for_status().json():
        found += range(lag, -1, -PERIOD_US)
    return sorted(found)


def call(http: httpx.Client, noun: str, verb: str, **arguments: object) -> None:
    http.post(f"/api/v1/{noun}/{verb}", json=arguments).raise_for_status()


def upload(http: httpx.Client) -> None:
    pieces = (os.urandom(PIECE_BYTES) for _ in range(UPLOAD_BYTES // PIECE_BYTES))
    answer = http.put("/api/v1/blob", params={"name": "upload.bin"}, content=pieces)
    blob = answer.raise_for_status().json()["data"]["id"]
    call(http, "store", "add", paths=[blob])


def p99(lags: list[int]) -> float:
    """Milliseconds."""
    return lags[int(len(lags) * 0.99)] / 1_000


def measure(rounds: int) -> dict[str, list[int]]:
    """All lags by what the node was doing."""
    found: dict[str, list[int]] = {"idle": [], "import": [], "upload": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = (sys.executable, __file__, "--serve")
        with nodes.node(folder / "home", program=program) as node, node.http() as http:
            for number in range(rounds):
                documents = folder / f"documents{number}"
                corpus(documents, number)
                one_round(http, documents, found)
                parts = (f"{what} p99 {p99(sorted(lags)):.1f} ms" for what, lags in found.items())
                note(f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {', '.join(parts)}")
    return {what: sorted(lags) for what, lags in found.items()}


def one_round(http: httpx.Client, documents: Path, found: dict[str, list[int]]) -> None:
    lags_of(http)
    time.sleep(IDLE_SECONDS)
    found["idle"] += lags_of(http)
    call(http, "store", "add", paths=[str(documents)])
    found["import"] += lags_of(http)
    time.sleep(IDLE_SECONDS)
    found["idle"] += lags_of(http)
    upload(http)
    found["upload"] += lags_of(http)


def rows(rounds: int = ROUNDS) -> list[Row]:
    found = measure(rounds)
    idle = p99(found["idle"])
    allowed = (TIMES * idle + MORE_MS) / idle
    names = {"import": "an import", "upload": f"an upload of {UPLOAD_BYTES // 10**6} MB"}
    return [
        Row(
            f"loop lag p99 during {name}",
            p99(found[what]),
            idle,
            "the same node, idle",
            "ms",
            allowed,
            f"goal: {TIMES} x idle + {MORE_MS} ms; {len(found[what])} samples, p50 "
            f"{found[what][len(found[what]) // 2] / SECOND_US * 1e3:.1f} ms",
        )
        for what, name in names.items()
    ]


def main() -> None:
    if "--serve" in sys.argv:
        serve(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for row in rows(parser.parse_args().rounds):
        print(row)


if __name__ == "__main__":
    main()
