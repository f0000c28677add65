"""Five real nodes that have one app: publishes, what they cost, and signing together.

What a publish costs is read from /proc of all processes and their workers. How the time of a node's
event loop falls apart is measured by a profiler in each of them, in a second run of fewer writes;
the shares are its, the seconds are those of the first run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes import Running, node

NODES = 5
PUBLISHES = 200
PROFILED = 60
PATIENCE_SECONDS = 120
PROFILER = Path(__file__).with_name("profiled.py")


@dataclass(frozen=True)
class Spent:
    """Seconds of processor: of event loops, of other threads (the database's), of sandboxes."""

    loops: float
    threads: float
    sandboxes: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(
            self.loops - other.loops,
            self.threads - other.threads,
            self.sandboxes - other.sandboxes,
        )

    @property
    def total(self) -> float:
        """All of it."""
        return self.loops + self.threads + self.sandboxes


@dataclass(frozen=True)
class Published:
    """`count` validated publishes: wall seconds until all had enough receipts, what they cost.

    `shares`: of the loops' time, by part, from the profiler.
    """

    count: int
    seconds: float
    spent: Spent
    shares: dict[str, float]

    @property
    def parts(self) -> dict[str, float]:
        """Seconds of one publish over all nodes, by part."""
        found = Counter({part: self.spent.loops * share for part, share in self.shares.items()})
        found["database"] += self.spent.threads
        found["sandbox"] += self.spent.sandboxes
        return {part: seconds / self.count for part, seconds in found.items()}


class Member:
    """One of the nodes."""

    def __init__(self, running: Running, books: Path) -> None:
        self.running = running
        self.client = running.http()
        self._books = books

    def ask(self, path: str, **arguments: Any) -> Any:
        """The answer of a command."""
        answer = self.client.post(f"/api/v1/{path}", json=arguments, timeout=300)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def app(self, app: str, function: str, **arguments: Any) -> Any:
        """What a function of an app returns."""
        asked = {"dapp": app, "function": function, "arguments": arguments}
        return self.ask("dapp/call", **asked)["value"]

    def spent(self) -> Spent:
        """Since its start."""
        return spent(self.running.process.pid)

    def profile(self) -> dict[str, Any]:
        """Begin to profile, or end it; what was found since it began."""
        self._books.unlink(missing_ok=True)
        os.kill(self.running.process.pid, signal.SIGUSR1)
        until = time.perf_counter() + 30
        while not self._books.exists():
            assert time.perf_counter() < until, "the node wrote no profile"
            time.sleep(0.02)
        return dict(json.loads(self._books.read_text()))


def spent(pid: int) -> Spent:
    """What a node and its workers have used since they began."""
    tick = os.sysconf("SC_CLK_TCK")

    def used(path: Path) -> float:
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return (int(fields[11]) + int(fields[12])) / tick

    loop = used(Path(f"/proc/{pid}/task/{pid}/stat"))
    whole = used(Path(f"/proc/{pid}/stat"))
    workers = sum(used(Path(f"/proc/{each}/stat")) for each in descendants(pid))
    return Spent(loop, whole - loop, workers)


def descendants(pid: int) -> list[int]:
    """The processes that it and its threads have started, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in path.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


@contextlib.contextmanager
def members(folder: Path, count: int = NODES) -> Iterator[list[Member]]:
    """Nodes that know each other."""
    with contextlib.ExitStack() as stack:
        made: list[Member] = []
        for number in range(count):
            books = folder / f"profile{number}"
            program = (sys.executable, str(PROFILER), str(books))
            more = ["--no-mdns", "--name", f"n{number}"]
            if made:
                more += ["--join", str(made[0].running.said["address"])]
            home = folder / f"home{number}"
            running = stack.enter_context(node(home, *more, program=program))
            made.append(Member(running, books))
            stack.callback(made[-1].client.close)
        yield made


def install(all_of: Sequence[Member], **what: Any) -> None:
    """The app on all of them, and every one a member of its overlay."""
    with ThreadPoolExecutor(len(all_of)) as pool:
        list(pool.map(lambda each: each.ask("dapp/install", **what), all_of))


def publish(all_of: Sequence[Member], app: str) -> Published:
    """Every node writes its part of PUBLISHES, one after another, all nodes side by side."""
    write_all(all_of, app, "warm", 10)
    before = [each.spent() for each in all_of]
    begun = time.perf_counter()
    write_all(all_of, app, "line", PUBLISHES // len(all_of))
    seconds = time.perf_counter() - begun
    parts = [each.spent() - old for each, old in zip(all_of, before, strict=True)]
    total = Spent(
        sum(each.loops for each in parts),
        sum(each.threads for each in parts),
        sum(each.sandboxes for each in parts),
    )
    for each in all_of:
        each.profile()
    write_all(all_of, app, "profiled", PROFILED // len(all_of))
    found: Counter[str] = Counter()
    for each in all_of:
        found.update(each.profile()["parts"])
    whole = sum(found.values())
    shares = {part: seconds_ / whole for part, seconds_ in found.items()}
    return Published(PUBLISHES // len(all_of) * len(all_of), seconds, total, shares)


def write_all(all_of: Sequence[Member], app: str, word: str, each_writes: int) -> None:
    """Returns when enough nodes have signed for everything that was written."""

    def write(number: int) -> None:
        one = all_of[number]
        last = ""
        for turn in range(each_writes):
            last = one.app(app, "put", line=f"{word} {number} {turn}")
        until = time.perf_counter() + PATIENCE_SECONDS
        while not one.app(app, "state", hash=last)["complete"]:
            assert time.perf_counter() < until, "not published in time"
            time.sleep(0.02)

    with ThreadPoolExecutor(len(all_of)) as pool:
        list(pool.map(write, range(len(all_of))))


def countersign(proposer: Member, accepter: Member, rounds: int) -> list[float]:
    """Seconds from proposing until the proposer's session is complete."""
    partner = accepter.app("agreement", "me")
    took = []
    for number in range(rounds):
        begun = time.perf_counter()
        asked = proposer.app("agreement", "propose", title=f"t{number}", text="x", partner=partner)[
            "session"
        ]
        wait_for(accepter, asked, ("proposed",))
        accepter.app("agreement", "accept", session=asked)
        wait_for(proposer, asked, ("complete",))
        took.append(time.perf_counter() - begun)
    return took


def wait_for(member: Member, session: str, states: tuple[str, ...]) -> None:
    """Look every 5 ms until the session is in one of `states`."""
    until = time.perf_counter() + PATIENCE_SECONDS
    while True:
        listed = member.ask("dapp/sessions", dapp="agreement")["sessions"]
        if any(each["session"] == session and each["state"] in states for each in listed):
            return
        assert time.perf_counter() < until, f"session {session} is {listed}"
        time.sleep(0.005)
