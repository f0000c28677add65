"""A foreign libp2p program under test: starts it, sends it commands, waits for its events.

The programs in tests/interop/peers speak JSON lines. A command is {"id", "command", ...}, its
answer {"id", "ok", ...} or {"id", "ok": false, "error"}; anything without an id is an event.

| command | fields | answer |
|---|---|---|
| dial | address | peer |
| identify | peer | agent, protocol, protocols, addresses, observed, sequence (of its record) |
| ping | peer | milliseconds |
| echo | peer, bytes | same, bytes: random bytes sent, half closed, read back and compared |
| echoes | peer, bytes, count | seconds: that many echoes, each on a stream of its own |
| push | peer, bytes | bytes, sha256 as the receiver counted them |
| pull | peer, bytes | bytes, sha256 as it counted them |
| hangup | peer | |
| stop | | |

Streams: `/dms3-test/echo/1.0.0` sends back what it gets until the other half is closed.
`/dms3-test/bulk/1.0.0` starts with nine bytes: 1 (push) or 2 (pull) and a big-endian count. After a
push come that many bytes and the end; the answer is {"bytes", "sha256"} as JSON. A pull is
answered with that many bytes. Byte i of a transfer is i modulo 251.
"""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "build" / "peers"
PROGRAMS = {
    "js": ["node", "--import", "./polyfill.mjs", "peer.mjs"],
    "py": [str(PEERS / "py/bin/python"), str(ROOT / "tests/interop/peers/py/peer.py")],
    "go": [str(PEERS / "go/peer")],
}
REQUIRED = {"js", "py", "dm3", "ens", "ipfs"}  # go-libp2p is tried where Go is present
ANSWER_SECONDS = 60


def need(kind: str) -> None:
    """Skips the test when the peer is not installed; fails it under DMS3_REQUIRE_PEERS=1."""
    if (PEERS / kind / ".installed").exists():
        return
    reason = f"the {kind} peer is not in build/peers: run `make peers`"
    if os.environ.get("DMS3_REQUIRE_PEERS") == "1" and kind in REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


class PeerError(Exception):
    """The foreign program answered that the command failed."""


class ForeignPeer:
    """A running program; `peer_id` and `address` are what it said when it was ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()
        self._numbers = itertools.count(1)
        self.peer_id = ""
        self.address = ""

    async def command(self, command: str, **fields: Any) -> dict[str, Any]:
        """The fields of the answer; raises PeerError with the program's own words."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "command": command, **fields})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            found = await answer
        if not found["ok"]:
            raise PeerError(found["error"])
        return found

    async def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """The first event `name` with these fields, past or to come."""
        async with asyncio.timeout(ANSWER_SECONDS), self._changed:
            while True:
                for event in self._events:
                    if {"event": name, **fields}.items() <= event.items():
                        return event
                await self._changed.wait()

    async def read(self) -> None:
        """Reads lines until the program ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            found = json.loads(line)
            if "id" in found:
                self._answers.pop(found["id"]).set_result(found)
                continue
            async with self._changed:
                self._events.append(found)
                self._changed.notify_all()
        for answer in self._answers.values():
            answer.set_exception(PeerError("the program ended"))


@contextlib.asynccontextmanager
async def foreign(kind: str, security: str = "noise", *words: str) -> AsyncIterator[ForeignPeer]:
    """A foreign peer that listens on a loopback port; it is gone when the block ends.

    `words`: what else its program is told.
    """
    need(kind)
    process = await asyncio.create_subprocess_exec(
        *PROGRAMS[kind],
        security,
        *words,
        cwd=PEERS / kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    peer = ForeignPeer(process)
    killed = False
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(peer.read())
            ready = await peer.event("ready")
            peer.peer_id, peer.address = ready["peer"], ready["addresses"][0]
            yield peer
            process.kill()
            killed = True
    finally:
        if not killed:  # a second kill would take the exit status away from the loop
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
