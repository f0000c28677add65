"""Networks on one machine: namespaces joined by cables, routers that translate addresses.

Runs inside `unshare` (test_nat.py), so that all of it is gone when the process ends. Needs
iproute2, nftables and util-linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dms3.sdk import SyncClient

CLONE_NEWNET = 0x40000000  # linux/sched.h
STOP_SECONDS = 20
# A router lets out whoever is inside, and in only what belongs to that.
ROUTER = """
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
table ip gate {
  chain through {
    type filter hook forward priority filter; policy drop;
    iifname "lan" accept
    ct state established,related accept
  }
  chain inward {
    type filter hook input priority filter; policy accept;
    iifname "wan" ct state new drop
  }
}
"""


def sh(*words: str, text: str | None = None) -> None:
    """Runs a program that has to succeed."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"


def ip(place: str, *words: str) -> None:
    """`ip WORDS` in a place."""
    sh("ip", "-n", place, *words)


class Ground:
    """The Internet, a bridge in this namespace, and what is plugged in."""

    def __init__(self) -> None:
        Path("/run/netns").mkdir(parents=True, exist_ok=True)
        sh("ip", "link", "add", "inet", "type", "bridge")
        sh("ip", "link", "set", "inet", "up")
        self._cables = 0

    def place(self, name: str) -> str:
        """A machine with nothing but loopback."""
        sh("ip", "netns", "add", name)
        ip(name, "link", "set", "lo", "up")
        return name

    def internet(self, place: str, address: str, name: str = "wan") -> None:
        """Plugs `place` into the Internet, as `address`/24."""
        self._cables += 1
        cable = f"cable{self._cables}"
        sh("ip", "link", "add", cable, "type", "veth", "peer", "name", name, "netns", place)
        sh("ip", "link", "set", cable, "master", "inet", "up")
        ip(place, "addr", "add", f"{address}/24", "dev", name)
        ip(place, "link", "set", name, "up")

    def cable(self, one: str, one_name: str, two: str, two_name: str) -> None:
        """A cable between two places."""
        peer = ("peer", "name", two_name, "netns", two)
        sh("ip", "link", "add", one_name, "netns", one, "type", "veth", *peer)
        for place, name in ((one, one_name), (two, two_name)):
            ip(place, "link", "set", name, "up")

    def router(self, name: str, outside: str) -> str:
        """A router as people have at home: `outside` is seen of all who are behind it."""
        self.place(name)
        self.internet(name, outside)
        sh(*within(name), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        sh(*within(name), "nft", "-f", "-", text=ROUTER)
        return name

    def home(self, name: str, router: str, inside: str, address: str) -> str:
        """A machine at `address`/24 behind `router`, which is `inside` there."""
        self.place(name)
        self.cable(router, "lan", name, "eth0")
        ip(router, "addr", "add", f"{inside}/24", "dev", "lan")
        ip(name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip(name, "route", "add", "default", "via", inside)
        return name


def within(place: str) -> tuple[str, ...]:
    """What to put before a command that is to run in `place`."""
    return ("nsenter", f"--net=/run/netns/{place}", "--")


class Node:
    """A node that runs in a place; `call` asks it from a thread that is there, too."""

    def __init__(self, place: str, base: Path, *words: str) -> None:
        self.place = place
        self.home = base / place
        self.log = base / f"{place}.log"
        given = ("--listen", "/ip4/0.0.0.0/tcp/7701", "--api-listen", "127.0.0.1:0", *words)
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    *within(place),
                    *(sys.executable, "-m", "dms3", "up", "--json", "--no-open"),
                    *("--home", str(self.home), "--name", place, *given),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._data: dict[str, Any] = {}
        self._there = ThreadPoolExecutor(1, initializer=_enter, initargs=(place,))

    @property
    def data(self) -> dict[str, Any]:
        """The data of its first line of output."""
        if not self._data:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, self.log.read_text()
            self._data = json.loads(line)["data"]
        return self._data

    def call(self, noun: str, verb: str = "", **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._there.submit(
            self._ask, lambda client: client.call(noun, verb, **arguments)
        ).result()
        return found

    def download(self, cid: str) -> bytes:
        found: bytes = self._there.submit(self._ask, lambda client: client.download(cid)).result()
        return found

    def _ask(self, question: Callable[[SyncClient], Any]) -> Any:
        with SyncClient(home=self.home, api=self.data["api"]) as client:
            return question(client)

    def peer(self, other: Node) -> dict[str, Any]:
        """What it says of another node; {} when it knows nothing of it."""
        rows = self.call("peer", "list")["peers"]
        found = [row for row in rows if row["peer_id"] == other.data["peer_id"]]
        return found[0] if found else {}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self._there.shutdown()


@contextlib.contextmanager
def nodes(base: Path) -> Iterator[Callable[..., Node]]:
    """What starts nodes; all of them have to end well."""
    started: list[Node] = []

    def start(place: str, *words: str) -> Node:
        started.append(Node(place, base, *words))
        return started[-1]

    try:
        yield start
    except BaseException:
        for node in started:
            print(f"--- {node.place}\n{node.log.read_text()[-4000:]}", file=sys.stderr)
        raise
    finally:
        for node in started:
            node.stop()
    for node in started:
        assert node.process.returncode == 0, node.log.read_text()
        assert "Traceback" not in node.log.read_text(), node.log.read_text()


def _enter(place: str) -> None:
    """Moves this thread, and no other, into the place."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{place}").open("rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
