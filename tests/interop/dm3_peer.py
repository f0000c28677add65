"""The dm3 reference's own libraries as a program: `build/peers/dm3/peer.mjs`, driven by JSON lines.

    async with reference() as js:
        answer = await js.command("call", library="profile", function="normalizeEnsName",
                                  arguments=["Alice.ETH"])
        assert answer["result"] == "alice.eth"

| command | fields | answer |
|---|---|---|
| call | library, function, arguments | result |
| calls | library, function, each: lists of arguments | results, null where it threw |
| http | method, url, body, token | status, data: as axios has them, whatever the status |
| connect | url, name, token, path | of socket.io; what it emits: events {event, name, data} |
| emit | name, event, data | answer |
| disconnect | name | |

`library`: crypto, delivery, delivery-api, messaging, profile, server-side, shared, or utils (those
of ethers 5). An argument that JSON cannot carry is an object with one of these members, at any
depth: `$exported: [library, name, ...]` (a function, a schema), `$provider: URL` (of Ethereum RPC),
`$get: 1` (fetches a URL), `$returns: value` (a function), `$signer: private key` (signs as a
wallet), `$undefined: 1`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from interop.peer import PEERS, ForeignPeer, need

LINE_BYTES_MAX = 1 << 26  # an answer may hold many envelopes


@contextlib.asynccontextmanager
async def reference() -> AsyncIterator[ForeignPeer]:
    """The running program; it is gone when the block ends. Skips the test when not installed."""
    need("dm3")
    process = await asyncio.create_subprocess_exec(
        "node",
        "peer.mjs",
        cwd=PEERS / "dm3",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # its libraries print everything they do
        limit=LINE_BYTES_MAX,
    )
    peer = ForeignPeer(process)
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(peer.read())
            try:
                yield peer
            finally:
                assert process.stdin is not None
                process.stdin.close()  # the program ends with its stdin
                reading.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def call(js: ForeignPeer, library: str, function: str, *arguments: Any) -> Any:
    """What the reference's function returns; raises PeerError with its own words."""
    found = await js.command("call", library=library, function=function, arguments=list(arguments))
    return found.get("result")


async def calls(js: ForeignPeer, library: str, function: str, each: list[list[Any]]) -> list[Any]:
    """What it returns for each list of arguments, None where it threw."""
    found = await js.command("calls", library=library, function=function, each=each)
    results: list[Any] = found["results"]
    return results


def with_reference(work: Callable[[ForeignPeer], Awaitable[None]]) -> None:
    """Runs `work` with the program."""

    async def run() -> None:
        async with reference() as js:
            await work(js)

    asyncio.run(run())
