"""An overlay of real processes: gossip of many bodies, how late a second peer is, receipts of ten.

Everything runs on this machine, so processor time of all nodes stands beside wall time, per op and
node. Beside lag and receipts stand the figures that Holochain has published of itself (Wind Tunnel,
0.6.1-rc.4, its own machine): they say what people are used to, not how the two compare here.
DMS3_BENCH_SECONDS sets how long the writer of two peers writes (60). All of it takes five minutes
at most: on a busy machine less is written, and what was not heard in time is said.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chain_nodes import PATIENCE_SECONDS, Member, install, members
from chains import Page, written_app
from measure import Row, note
from nodes import Running, node

GOSSIPERS = 10
GOSSIP_RATE = 500
GOSSIP_SECONDS = 20
HEARD_SECONDS_MAX = 40  # behind the last body
SETTLE_SECONDS_MAX = 30
WRITES_PER_SECOND = 50
PEERS = 10
RECEIPTS = 20
RECEIPT_SECONDS_MAX = 10
OPS = 3  # of an entry: record, entry, activity
PROGRAM = Path(__file__).with_name("gossiping.py")


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        found = gossip_rows(Path(folder) / "gossip")
        found += lag_rows(Path(folder) / "lag")
        return found + receipt_rows(Path(folder) / "receipts")


def row(name: str, ours: float, unit: str, goal: float | None, why: str) -> Row:
    """A figure that stands alone."""
    return Row(name, ours, None, "", unit, goal, why)


# Gossip


@contextlib.contextmanager
def gossipers(folder: Path) -> Iterator[list[Running]]:
    """Nodes that know each other, each with a machine that spreads."""
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        made: list[Running] = []
        for number in range(GOSSIPERS):
            program = (sys.executable, str(PROGRAM), str(folder), str(number))
            more = ["--no-mdns", "--name", f"g{number}"]
            if made:
                more += ["--join", str(made[0].said["address"])]
            home = folder / f"home{number}"
            made.append(stack.enter_context(node(home, *more, program=program)))
        yield made


def gossip_rows(folder: Path) -> list[Row]:
    """Bodies of all nodes together at GOSSIP_RATE; all are heard by all others."""
    with gossipers(folder) as all_of:
        wait_for_partners(all_of)
        before = [one.usage()[1] for one in all_of]
        asked = {"rate": GOSSIP_RATE / GOSSIPERS, "seconds": GOSSIP_SECONDS}
        (folder / "new").write_text(json.dumps(asked))
        (folder / "new").rename(folder / "go")
        begun = time.perf_counter()
        found = wait_until_heard(folder)
        seconds = time.perf_counter() - begun
        cpu = sum(one.usage()[1] - old for one, old in zip(all_of, before, strict=True))
        figures = [ask(one, "peer/gossip") for one in all_of]
    heard = sum(each["heard"] for each in found)
    spread = sum(each["spread"] for each in found)
    late = sorted(late for each in found for late in each["late_ms"])
    received = sum(each["received"] for each in figures)
    asked_for = sum(each["asked"] for each in figures)
    dropped: dict[str, int] = {}
    for each in figures:
        for why, count in each["dropped"].items():
            dropped[why] = dropped.get(why, 0) + count
    said = ", ".join(f"{why} {count}" for why, count in sorted(dropped.items())) or "nothing"
    return [
        row(f"gossip of {GOSSIP_RATE} bodies/s among {GOSSIPERS} processes: heard, of all",
            heard / (spread * (GOSSIPERS - 1)), "", None,
            f"{spread} bodies in {seconds:.0f} s until the last was heard; "
            f"{sum(each['twice'] for each in found)} heard twice, "
            f"{sum(each['refused'] for each in found)} refused; dropped: {said}"),
        row("the same: bodies received for each heard", received / heard, "", 4,
            f"asked for: {asked_for / heard:.2f}"),
        row("the same: spread until heard, p50", statistics.median(late), "ms", None,
            "ids of 150 ms are told together"),
        row("the same: spread until heard, p95", part(late, 0.95), "ms", None,
            "the processes share two processors with the rest of this machine"),
        row("the same: processor of all nodes", cpu / seconds, "cores", None,
            f"{1_000_000 * cpu / heard:.0f} us for each body and node that heard it"),
    ]  # fmt: skip


def wait_for_partners(all_of: Sequence[Running]) -> None:
    """Until every node has found as many partners as it chooses."""
    until = time.perf_counter() + PATIENCE_SECONDS
    for one in all_of:
        while True:
            overlays = ask(one, "peer/gossip")["overlays"]
            if overlays and overlays[0]["partners"] >= min(8, GOSSIPERS - 1):
                break
            assert time.perf_counter() < until, "a node has found no partners"
            time.sleep(0.2)


def wait_until_heard(folder: Path) -> list[dict[str, Any]]:
    """What every node has noted, when all have heard everything."""
    until = time.perf_counter() + GOSSIP_SECONDS + HEARD_SECONDS_MAX
    whole = int(GOSSIP_RATE / GOSSIPERS * GOSSIP_SECONDS)
    while True:
        paths = [folder / f"{number}.json" for number in range(GOSSIPERS)]
        found = [json.loads(path.read_text()) for path in paths if path.exists()]
        done = [each["heard"] == whole * (GOSSIPERS - 1) for each in found]
        if len(done) == GOSSIPERS and all(done):
            return found
        if time.perf_counter() > until:
            note("not everything was heard in time")
            return found
        time.sleep(0.2)


# Two peers


class Watch(threading.Thread):
    """How many ops a peer has integrated, and since when, looked at every few ms."""

    def __init__(self, member: Member, app: str) -> None:
        super().__init__()
        self._member, self._app = member, app
        self.counts: list[tuple[float, int]] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            apps = self._member.ask("chain/figures", dapp=self._app)["apps"]
            self.counts.append(
                (time.perf_counter(), int(apps[0]["held"]["states"].get("integrated", 0)))
            )
            time.sleep(0.02)


def lag_rows(folder: Path) -> list[Row]:
    """One writes at a steady rate; an entry counts when the other has all its ops."""
    seconds = int(os.environ.get("DMS3_BENCH_SECONDS", "60"))
    folder.mkdir(parents=True)
    app = written_app(folder, "lag")
    with members(folder, 2) as (writer, reader):
        install([writer, reader], files=[str(app)])
        page = Page(writer.ask("dapp/token", dapp="lag"))
        for number in range(10):
            page.call("put", line=f"warm {number}")
        before = settled(reader, "lag")
        watch = Watch(reader, "lag")
        watch.start()
        spent = writer.spent(), reader.spent()
        begun = time.perf_counter()
        wrote = entries(page, begun, seconds)
        ended = time.perf_counter()
        held = settled(reader, "lag", before + OPS * len(wrote))
        pairs = zip((writer, reader), spent, strict=True)
        costs = [each.spent().total - old.total for each, old in pairs]
        watch.over.set()
        watch.join()
    late = lags(wrote, watch.counts, before)
    ops = OPS * len(wrote)
    missing = "" if held >= before + ops else f"; {before + ops - held} ops did not come in time"
    return [
        row("two peers, one writing: entries", len(wrote) / (ended - begun), "entries/s",
            0.99 * WRITES_PER_SECOND,
            f"{len(wrote)} in {ended - begun:.0f} s by one client{missing}"),
        row("sync lag, p50", statistics.median(late), "s", None,
            "from the writer's answer until the other has judged and holds all its ops, in turn"),
        row("sync lag, p95", part(late, 0.95), "s", 1, "Holochain publishes 32.9 s, flat out"),
        row("the same: processor for each op, writer", 1_000 * costs[0] / ops, "ms", None,
            f"{costs[0] / (ended - begun):.2f} cores; the calls of its functions are in it"),
        row("the same: processor for each op, reader", 1_000 * costs[1] / ops, "ms", None,
            f"{costs[1] / (ended - begun):.2f} cores; {len(watch.counts)} looks at it are in it"),
    ]  # fmt: skip


def entries(page: Page, begun: float, seconds: float) -> list[float]:
    """When each entry was answered: as many as were due in `seconds`, or as many as could be."""
    wrote: list[float] = []
    while len(wrote) < seconds * WRITES_PER_SECOND:
        now = time.perf_counter()
        if now > begun + seconds:
            break
        time.sleep(max(0.0, begun + len(wrote) / WRITES_PER_SECOND - now))
        page.call("put", line=f"line {len(wrote)}")
        wrote.append(time.perf_counter())
    return wrote


def settled(member: Member, app: str, least: int = 1) -> int:
    """How many ops `member` has integrated, once they are `least` and grow no more, or in time."""
    until = time.perf_counter() + SETTLE_SECONDS_MAX
    last, since = -1, time.perf_counter()
    while time.perf_counter() < until:
        states = member.ask("chain/figures", dapp=app)["apps"][0]["held"]["states"]
        count = int(states.get("integrated", 0))
        if count != last:
            last, since = count, time.perf_counter()
        if last >= least and time.perf_counter() - since > 1:
            return last
        time.sleep(0.05)
    note(f"{app}: {last} of {least} ops")
    return last


def lags(wrote: Sequence[float], counts: Sequence[tuple[float, int]], before: int) -> list[float]:
    """Seconds from each write until so many ops were there as it and all before it have.

    What never came is as late as the last look.
    """
    found = []
    at = 0
    for number, written_s in enumerate(wrote, 1):
        while at < len(counts) - 1 and counts[at][1] < before + OPS * number:
            at += 1
        found.append(max(0.0, counts[at][0] - written_s))
    return sorted(found)


# Ten peers


def receipt_rows(folder: Path) -> list[Row]:
    """One of ten writes; the receipts of all that are to hold it, or of everybody."""
    folder.mkdir(parents=True)
    app = written_app(folder, "receipts")
    with members(folder, PEERS) as all_of:
        with ThreadPoolExecutor(2) as pool:  # ten sandboxes at once would wait for each other
            list(pool.map(lambda each: install([each], files=[str(app)]), all_of))
        until = time.perf_counter() + SETTLE_SECONDS_MAX
        while receipts(all_of[0], "warm")[1] < PEERS - 1 and time.perf_counter() < until:
            time.sleep(0.5)  # they are still meeting
        spent = [each.spent().total for each in all_of]
        found = [receipts(all_of[0], f"line {number}") for number in range(RECEIPTS)]
        cost = sum(each.spent().total for each in all_of) - sum(spent)
    took = sorted(seconds for seconds, _ in found)
    signers = min(count for _, count in found)
    return [
        row(f"receipts of {PEERS} peers, p50", statistics.median(took), "s", 2,
            "from the commit until every receipt is here; Holochain publishes 9.8 s for 5"),
        row(f"receipts of {PEERS} peers, the slowest of {RECEIPTS}", took[-1], "s", 2,
            f"signed by {signers} others at least; all share two processors"),
        row("the same: processor for each op and node",
            1_000 * cost / (RECEIPTS * OPS * PEERS), "ms", None,
            "writing, being looked at every 20 ms, and what the nodes do anyway"),
    ]  # fmt: skip


def receipts(member: Member, line: str) -> tuple[float, int]:
    """Seconds until an entry has its receipts, and how many nodes have signed for its ops."""
    action = member.app("receipts", "put", line=line)
    begun = time.perf_counter()
    while True:
        state = member.app("receipts", "state", hash=action)
        took = time.perf_counter() - begun
        if state["complete"] or took > RECEIPT_SECONDS_MAX:
            return took, min(len(op["signers"]) for op in state["ops"])
        time.sleep(0.02)


def ask(running: Running, path: str) -> Any:
    """The answer of a command."""
    with running.http() as client:
        answer = client.post(f"/api/v1/{path}", json={}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


def part(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]
