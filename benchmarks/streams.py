"""New streams, bulk and dials over our wire stack beside py-libp2p's and js-libp2p's.

    python benchmarks/streams.py [--rounds 5]

Each program runs as two processes, one that asks and one that answers (`wire.py` has the commands),
all of them at once; they are asked in turn, one at a time, so that each meets the same machine. Of
each figure the median of the rounds counts. Every program sends the same bytes in writes of the
same size. The dial of py-libp2p waits 250 ms even for a single address: it is measured with that
delay set to 0, and as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Row, note

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "peers"
PROGRAMS = ROOT / "tests" / "interop" / "peers"
ROUNDS = 5
BULK_BYTES, PIECE_BYTES = 100_000_000, 1 << 16
COUNTS = {"ours": 3_200, "js-libp2p": 1_600, "py-libp2p": 320}  # requests per round: about a second
DIALS = 5
FLIGHT = 32
WARM = 64
ANSWER_SECONDS_MAX = 60
NAMES = ("ours", "py-libp2p", "js-libp2p")

Figures = dict[str, list[float]]  # of one program: rates and seconds by name, one per round


@dataclass(frozen=True)
class Program:
    """How a program is started, and where."""

    command: list[str]
    folder: Path


class Asker:
    """A pair of processes: the one that answers, and the one that asks and is told what."""

    def __init__(self, server: subprocess.Popen[str], asker: subprocess.Popen[str]) -> None:
        self._processes = (asker, server)
        self._asker = asker

    def ask(self, **fields: Any) -> Any:
        """The seconds that the command took."""
        stdin, stdout = self._asker.stdin, self._asker.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(fields), file=stdin, flush=True)
        if not select.select([stdout], [], [], ANSWER_SECONDS_MAX)[0]:
            raise TimeoutError(f"no answer to {fields} in {ANSWER_SECONDS_MAX} s")
        line = stdout.readline()
        if not line:
            raise ConnectionError(f"the program ended instead of answering {fields}")
        return json.loads(line)["seconds"]

    def stop(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def programs() -> dict[str, Program]:
    """Ours, and those that are installed."""
    found = {"ours": Program([sys.executable, str(ROOT / "benchmarks/wire.py")], ROOT)}
    python = PEERS / "py/bin/python"
    if (PEERS / "py/.installed").exists():
        found["py-libp2p"] = Program([str(python), str(PROGRAMS / "py/bench.py")], ROOT)
    if (PEERS / "js/.installed").exists():
        shutil.copy(PROGRAMS / "js/bench.mjs", PEERS / "js")  # it finds its modules beside itself
        found["js-libp2p"] = Program(
            ["node", "--import", "./polyfill.mjs", "bench.mjs"], PEERS / "js"
        )
    return found


def start(program: Program, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*program.command, *arguments],
        cwd=program.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@contextlib.contextmanager
def pairs(found: dict[str, Program]) -> Iterator[dict[str, Asker]]:
    with contextlib.ExitStack() as stack:
        askers: dict[str, Asker] = {}
        for name, program in found.items():
            server = start(program, "serve")
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["address"]
            askers[name] = Asker(server, start(program, "ask", address))
            stack.callback(askers[name].stop)
            askers[name].ask(what="echo", count=WARM, flight=1)
        yield askers


def round_of(name: str, asker: Asker, figures: Figures) -> None:
    count = COUNTS[name]
    for flight, figure in ((1, "single"), (FLIGHT, "flight")):
        seconds = asker.ask(what="echo", count=count, flight=flight)
        figures.setdefault(figure, []).append(count / seconds)
    seconds = asker.ask(what="bulk", bytes=BULK_BYTES, piece=PIECE_BYTES)
    figures.setdefault("bulk", []).append(BULK_BYTES / seconds / 1e6)
    figures.setdefault("dial", []).extend(asker.ask(what="dial", count=DIALS))
    if name == "py-libp2p":
        stock = asker.ask(what="dial", count=2, delay="stock")
        figures.setdefault("stock dial", []).extend(stock)


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """The median of every figure of every program."""
    figures: dict[str, Figures] = {}
    with pairs(programs()) as askers:
        for number in range(rounds):
            for name, asker in askers.items():
                round_of(name, asker, figures.setdefault(name, {}))
            last = {
                name: {figure: round(values[-1], 4) for figure, values in found.items()}
                for name, found in figures.items()
            }
            note(f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {last}")
    return {
        name: {figure: statistics.median(values) for figure, values in found.items()}
        for name, found in figures.items()
    }


def rows(rounds: int = ROUNDS) -> list[Row]:
    """Rows for `run.py`; none beside a program that is not installed."""
    found = measure(rounds)
    ours = found.pop("ours")
    lines: list[Row] = []
    for peer, figures in found.items():
        is_py = peer == "py-libp2p"
        goals = {"single": 20, "flight": 20, "bulk": 2} if is_py else {"single": 1, "flight": 1}
        for figure, name, unit in (
            ("single", "new stream, 1 KB each way, one at a time", "requests/s"),
            ("flight", f"new stream, 1 KB each way, {FLIGHT} in flight", "requests/s"),
            ("bulk", f"bulk, {BULK_BYTES // 10**6} MB in writes of 64 KiB", "MB/s"),
        ):
            lines.append(Row(name, ours[figure], figures[figure], peer, unit, goals.get(figure)))
        beside = "py-libp2p, its delay 0" if is_py else peer
        dial = (ours["dial"] * 1e3, figures["dial"] * 1e3)
        lines.append(Row("dial and handshakes", *dial, beside, "ms", 1 / 3 if is_py else None))
        if is_py:
            stock = figures["stock dial"] * 1e3
            lines.append(Row("dial and handshakes", dial[0], stock, "py-libp2p, stock", "ms", None))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for row in rows(parser.parse_args().rounds):
        print(row)


if __name__ == "__main__":
    main()
