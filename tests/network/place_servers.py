"""Servers of S3, WebDAV and IPFS in processes of their own, for the tests of places.

    python place_servers.py s3|webdav|ipfs PORT FOLDER

The S3 server is moto, the WebDAV server wsgidav under cheroot, `kubo` an IPFS node (build/peers):
programs of other people. `ipfs` is a small server of our own, written from kubo's documentation of
its RPC; the same tests pass against both.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dms3.storage.operations import Place

ROOT = Path(__file__).parents[2]
KUBO = ROOT / "build" / "peers" / "kubo" / "ipfs"
USER, PASSWORD = "alice", "wonderland"  # of a server on loopback, for one test
BUCKET = "conversations"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextlib.contextmanager
def server(kind: str, folder: Path, port: int = 0) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server that is up: its port and its process."""
    port = port or free_port()
    command = [sys.executable, __file__, kind, str(port), str(folder)]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    if kind == "kubo":
        environment |= _kubo(folder / "kubo", port)
        command = [str(KUBO), "daemon", "--offline"]
    with (folder / f"{kind}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
    try:
        assert process.stdout is not None
        ready = b"Daemon is ready\n" if kind == "kubo" else b"up\n"
        for line in process.stdout:
            if line == ready:
                break
        else:
            raise AssertionError((folder / f"{kind}.log").read_text())
        if kind == "s3":
            make_bucket(port)
        yield port, process
    finally:
        process.kill()
        process.communicate()


def place_at(kind: str, port: int) -> Place:
    """The place at a server of `kind` that answers at `port` of this machine."""
    host = f"http://127.0.0.1:{port}"
    match kind:
        case "s3":
            secret = {"access_key_id": "x", "secret_access_key": "x"}
            return Place("s3", f"{host}/{BUCKET}/mine", json.dumps(secret))
        case "webdav":
            secret = {"username": USER, "password": PASSWORD}
            return Place("webdav", f"{host}/deep/mine", json.dumps(secret))
        case "ipfs" | "kubo":
            return Place("ipfs", f"{host}/mine")
    return Place("local")


def _kubo(repository: Path, port: int) -> dict[str, str]:
    """The environment of an IPFS node that talks to nobody; made when it is not there."""
    environment = {"IPFS_PATH": str(repository), "IPFS_TELEMETRY": "off"}
    if not repository.exists():
        repository.mkdir()
        for words in (
            ("init", "--profile", "test"),
            ("config", "Addresses.API", f"/ip4/127.0.0.1/tcp/{port}"),
            ("config", "--json", "Addresses.Swarm", "[]"),
            ("config", "--json", "Addresses.Gateway", "[]"),
        ):
            env = {**os.environ, **environment}
            subprocess.run([KUBO, *words], env=env, check=True, capture_output=True)
    return environment


def make_bucket(port: int) -> None:
    url = f"http://127.0.0.1:{port}/{BUCKET}"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()


def _s3(port: int) -> None:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    moto.start()
    _up()
    moto._thread.join()


def _webdav(port: int, folder: Path) -> None:
    from cheroot import wsgi  # noqa: PLC0415
    from wsgidav.wsgidav_app import WsgiDAVApp  # noqa: PLC0415

    root = folder / "webdav"
    root.mkdir(exist_ok=True)
    app = WsgiDAVApp(
        {
            "host": "127.0.0.1",
            "port": port,
            "provider_mapping": {"/": str(root)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {
                "accept_basic": True,
                "accept_digest": False,
                "default_to_digest": False,
            },
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    serving = wsgi.Server(("127.0.0.1", port), app, numthreads=4)
    serving.prepare()
    _up()
    serving.serve()


def _ipfs(port: int, folder: Path) -> None:
    from network.ipfs_rpc import serve  # noqa: PLC0415

    serve(port, folder / "ipfs", _up)


def _up() -> None:
    sys.stdout.write("up\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = int(sys.argv[2]), Path(sys.argv[3])
    match sys.argv[1]:
        case "s3":
            _s3(given[0])
        case "webdav":
            _webdav(*given)
        case "ipfs":
            sys.path.insert(0, str(ROOT / "tests"))
            _ipfs(*given)
