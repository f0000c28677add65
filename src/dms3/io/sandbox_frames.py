"""Messages between the node and a worker process of the sandbox: a length, a kind, a body.

Source: docs/sandbox.md, "Processes". Both ends are this program; what apps say is text inside.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence

from dms3.chain.sandboxing import Program
from dms3.core.errors import DecodeError
from dms3.core.limits import SANDBOX_BATCH_MAX, SANDBOX_MESSAGE_BYTES_MAX

HELLO = b"h"  # worker: here I am
BROKEN = b"x"  # worker: I cannot begin, and why
PROGRAM = b"p"  # node: keep this program
LOADED = b"l"  # worker: its declarations, or what is wrong
JUDGE = b"j"  # node: jobs, each with the key of its program
JUDGED = b"v"  # worker: an answer and fuel for each, or nothing: the program is not here
CALL = b"c"  # node: one job
CALLED = b"r"  # worker: answer, fuel, questions; or nothing, as above
ASK = b"q"  # worker, while a call runs: a question to the node
ANSWER = b"a"  # node: its answer

_HEAD = struct.Struct("<IcH")  # bytes behind it, kind, key's bytes (or how many jobs)
_LENGTH = struct.Struct("<I")
_JOB = struct.Struct("<HI")
_FRAME_BYTES_MAX = SANDBOX_BATCH_MAX * SANDBOX_MESSAGE_BYTES_MAX


def frame(kind: bytes, body: bytes = b"", number: int = 0) -> bytes:
    """A message."""
    return _HEAD.pack(len(body), kind, number) + body


def program_frame(key: str, program: Program) -> bytes:
    """The message that gives a worker a program."""
    head = {
        "key": key,
        "dna": program.dna.hex(),
        "level": program.level,
        "part": program.part,
        "properties": dict(program.properties),
        "fuel": program.fuel,
        "memory": program.memory,
    }
    text = json.dumps(head).encode()
    return frame(PROGRAM, _LENGTH.pack(len(text)) + text + program.source)


def read_program(body: bytes) -> tuple[str, Program]:
    """The key and the program in a message."""
    (length,) = _LENGTH.unpack_from(body)
    head = json.loads(body[_LENGTH.size : _LENGTH.size + length])
    key = str(head.pop("key"))
    dna = bytes.fromhex(head.pop("dna"))
    return key, Program(dna=dna, source=body[_LENGTH.size + length :], **head)


def jobs_frame(kind: bytes, jobs: Sequence[tuple[str, str]]) -> bytes:
    """A message with jobs: keys of programs and texts."""
    parts = []
    for key, job in jobs:
        name, text = key.encode(), job.encode()
        parts += [_JOB.pack(len(name), len(text)), name, text]
    return frame(kind, b"".join(parts), len(jobs))


def read_jobs(body: bytes, count: int) -> Iterator[tuple[str, str]]:
    """The jobs in a message."""
    at = 0
    for _ in range(count):
        name, text = _JOB.unpack_from(body, at)
        at += _JOB.size
        yield body[at : at + name].decode(), body[at + name : at + name + text].decode()
        at += name + text


class Frames:
    """Bytes in, messages out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
        """The kind, number and body of every message that `data` completes; DecodeError."""
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(self._bytes)
            if length > _FRAME_BYTES_MAX:
                raise DecodeError(0, f"a message of {length} bytes")
            if len(self._bytes) < _HEAD.size + length:
                return
            body = bytes(self._bytes[_HEAD.size : _HEAD.size + length])
            del self._bytes[: _HEAD.size + length]
            yield kind, number, body
