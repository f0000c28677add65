"""What a place needs of an IPFS node's RPC, written from kubo's documentation: for tests only.

Source: docs.ipfs.tech/reference/kubo/rpc. Files are kept in a folder under names that stand for
CIDs (SHA-256 in base32); a name of the mutable file system is a link to one of them. It has no
network, and its names of contents are no CIDs of other software.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ABSENT = "file does not exist"


class RefusedError(Exception):
    """What the RPC answers with status 500."""


class Files:
    """Contents in FOLDER/blocks, names in FOLDER/files."""

    def __init__(self, folder: Path) -> None:
        self._blocks = folder / "blocks"
        self._files = folder / "files"
        for each in (self._blocks, self._files):
            each.mkdir(parents=True, exist_ok=True)

    def add(self, data: bytes) -> str:
        cid = "b" + base64.b32encode(hashlib.sha256(data).digest()).decode().lower().rstrip("=")
        part = self._blocks / f"{cid}.{os.urandom(4).hex()}"
        part.write_bytes(data)
        part.replace(self._blocks / cid)
        return cid

    def make(self, path: str) -> None:
        self._at(path).mkdir(parents=True, exist_ok=True)

    def copy(self, source: str, path: str) -> None:
        block = self._blocks / source.removeprefix("/ipfs/")
        if not block.exists():
            raise RefusedError("block was not found locally (offline)")
        if os.path.lexists(self._at(path)):
            raise RefusedError("cp: cannot put node in path: directory already has entry")
        self._at(path).symlink_to(block)

    def move(self, source: str, path: str) -> None:
        if not os.path.lexists(self._at(source)):
            raise RefusedError(ABSENT)
        self._at(source).replace(self._at(path))

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._at(path).unlink()

    def read(self, path: str) -> bytes:
        try:
            return self._at(path).read_bytes()
        except OSError as cause:
            raise RefusedError(f"{path}: {ABSENT}") from cause

    def names(self, path: str) -> list[str]:
        if not self._at(path).is_dir():
            raise RefusedError(ABSENT)
        return sorted(each.name for each in self._at(path).iterdir())

    def _at(self, path: str) -> Path:
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        return self._files.joinpath(*parts)


def answer(files: Files, command: str, arguments: list[str], body: bytes) -> bytes:
    """The body of a success."""
    match command, arguments:
        case "add", _:
            return _json({"Name": "", "Hash": files.add(body), "Size": str(len(body))})
        case "files/mkdir", [path]:
            files.make(path)
        case "files/cp", [source, path]:
            files.copy(source, path)
        case "files/mv", [source, path]:
            files.move(source, path)
        case "files/rm", [path]:
            files.remove(path)
        case "files/read", [path]:
            return files.read(path)
        case "files/ls", [path]:
            names = files.names(path)
            rows = [{"Name": name, "Type": 0, "Size": 0, "Hash": ""} for name in names]
            return _json({"Entries": rows or None})
        case _:
            raise RefusedError(f"command {command} is not known")
    return b""


def serve(port: int, folder: Path, ready: Callable[[], None]) -> None:
    """Answer at `port` of this machine until the process ends."""
    files = Files(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            command = parts.path.removeprefix("/api/v0/")
            arguments = parse_qs(parts.query).get("arg", [])
            try:
                body = answer(files, command, arguments, self._file())
                self._send(200, body)
            except RefusedError as refused:
                told = {"Message": str(refused), "Code": 0, "Type": "error"}
                self._send(500, _json(told))

        def _file(self) -> bytes:
            """The one file of a multipart body."""
            size = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(size)
            if len(data) < size:
                raise RefusedError("unexpected EOF")
            kind = self.headers.get("Content-Type") or ""
            if "boundary=" not in kind:
                return b""
            end = b"\r\n--" + kind.partition("boundary=")[2].strip('"').encode()
            return data.partition(b"\r\n\r\n")[2].rpartition(end)[0]

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as serving:
        ready()
        serving.serve_forever()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
