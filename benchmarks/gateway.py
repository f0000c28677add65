"""Speed of the IPFS gateway beside kubo's, or beside a plain file server where kubo is not built.

    python benchmarks/gateway.py [--mb 10] [--rounds 5]

One node with a public space; `ipfs daemon --offline` with the same file (`sh scripts/peers.sh
kubo`), else python's http.server with the same bytes as files. One client reads over one
connection, in turn: the file, its CAR, its blocks one by one. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.client
import http.server
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import Row, note

from dms3.core.unixfs import FileBuilder

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from network.running import running, wait_until  # noqa: E402

KUBO = ROOT / "build" / "peers" / "kubo" / "ipfs"
MB = 10
ROUNDS = 5
FORMS = ("file", "CAR", "blocks one by one")


@dataclass(frozen=True)
class Place:
    """Where a server has the file: `paths` of each form."""

    port: int
    paths: dict[str, list[str]]


def rate(place: Place, form: str, size: int) -> float:
    """MB/s of reading all paths of `form` over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", place.port)
    read = 0
    begun = time.perf_counter()
    for path in place.paths[form]:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200, f"{path}: {answer.status}"
        while piece := answer.read(1 << 20):
            read += len(piece)
    seconds = time.perf_counter() - begun
    connection.close()
    assert read >= size, f"{form}: {read} bytes of {size}"
    return size / seconds / 1e6


def paths_of(root: str, blocks: list[str]) -> dict[str, list[str]]:
    """What is asked of a gateway."""
    raw = [f"/ipfs/{cid}?format=raw" for cid in blocks]
    return dict(zip(FORMS, ([f"/ipfs/{root}"], [f"/ipfs/{root}?format=car"], raw), strict=True))


@contextlib.contextmanager
def ours(folder: Path, file: Path, root: str, blocks: list[str]) -> Iterator[Place]:
    words = ("--role", "gateway", "--public", "127.0.0.1:0", "--no-mdns")
    with running(folder / "home", *words) as node:
        assert node.call("store", "add", paths=[str(file)], space="canal")["root"] == root
        asked = threading.Thread(
            target=node.call, args=("store", "publish"), kwargs={"space": "canal"}
        )
        asked.start()
        wait_until(lambda: any(row["public"] for row in node.call("store", "list")["spaces"]))
        asked.join()
        yield Place(int(node.data["public"].rpartition(":")[2]), paths_of(root, blocks))


@contextlib.contextmanager
def kubo(folder: Path, file: Path, root: str, blocks: list[str]) -> Iterator[Place]:
    port, control = free_port(), free_port()
    environment = {**os.environ, "IPFS_PATH": str(folder / "kubo"), "IPFS_TELEMETRY": "off"}

    def ipfs(*words: str) -> str:
        done = subprocess.run(
            [KUBO, *words], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    ipfs("init", "--profile", "test")
    ipfs("config", "Addresses.API", f"/ip4/127.0.0.1/tcp/{control}")
    ipfs("config", "Addresses.Gateway", f"/ip4/127.0.0.1/tcp/{port}")
    ipfs("config", "--json", "Addresses.Swarm", "[]")
    assert ipfs("add", "-Q", "--cid-version=1", "--raw-leaves", str(file)) == root
    with subprocess.Popen(
        [KUBO, "daemon", "--offline"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as daemon:
        try:
            assert daemon.stdout is not None
            assert any(line == "Daemon is ready\n" for line in daemon.stdout)
            yield Place(port, paths_of(root, blocks))
        finally:
            daemon.terminate()


@contextlib.contextmanager
def files(folder: Path, file: Path, _: str, blocks: list[str]) -> Iterator[Place]:
    """http.server over the same bytes: of the CAR the file once more, since it is as long."""
    data = file.read_bytes()
    size = len(data) // len(blocks) + 1
    for number in range(len(blocks)):
        (folder / f"block{number}").write_bytes(data[number * size : (number + 1) * size])
    names = [f"/block{number}" for number in range(len(blocks))]
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            whole = [f"/{file.name}"]
            yield Place(
                server.server_address[1], dict(zip(FORMS, (whole, whole, names), strict=True))
            )
        finally:
            server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, over connections that stay open, without a line for each."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def rows(size: int = MB * 1_000_000, rounds: int = ROUNDS) -> list[Row]:
    peer, peer_name = (kubo, "kubo") if KUBO.exists() else (files, "http.server")
    found: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "file"
        file.write_bytes(os.urandom(size))
        builder = FileBuilder()
        cids = [cid for cid, _ in builder.add(file.read_bytes())]
        built = builder.finish()
        blocks = [str(cid) for cid in (*cids, *(cid for cid, _ in built.blocks))]
        given = folder, file, str(built.cid), blocks
        with ours(*given) as here, peer(*given) as there:
            for number in range(rounds + 1):
                for form in FORMS:
                    pair = rate(here, form, size), rate(there, form, size)
                    if number:  # the first one warms both
                        found[form].append(pair)
                        note(f"round {number}, {form}: {pair[0]:.0f} and {pair[1]:.0f} MB/s")
    return [
        Row(
            f"gateway: {size // 1_000_000} MB as {form}",
            statistics.median(one for one, _ in found[form]),
            statistics.median(other for _, other in found[form]),
            peer_name,
            "MB/s",
            None,
            "each block decrypted, and looked up whether it is public; one process",
        )
        for form in FORMS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=MB)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    for row in rows(given.mb * 1_000_000, given.rounds):
        print(row)


if __name__ == "__main__":
    main()
