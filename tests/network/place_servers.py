"""Servers of S3 and WebDAV in processes of their own, for the tests of places.

    python place_servers.py s3|webdav PORT FOLDER

The S3 server is moto, the WebDAV server wsgidav under cheroot: programs of other people.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

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
    with (folder / f"{kind}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, kind, str(port), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n", (folder / f"{kind}.log").read_text()
        if kind == "s3":
            make_bucket(port)
        yield port, process
    finally:
        process.kill()
        process.communicate()


def make_bucket(port: int) -> None:
    url = f"http://127.0.0.1:{port}/{BUCKET}"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()


def _s3(port: int) -> None:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    moto.start()
    _up()
    sys.stdin.read()
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


def _up() -> None:
    sys.stdout.write("up\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "s3":
        _s3(int(sys.argv[2]))
    else:
        _webdav(int(sys.argv[2]), Path(sys.argv[3]))
