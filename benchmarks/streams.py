"""New streams and bulk over our wire stack beside py-libp2p's, each between two processes."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from interop.peer import ForeignPeer, foreign  # noqa: E402  # needs the line above

STREAMS = 1000
BULK_BYTES = 50_000_000


def ours() -> dict[str, float]:
    """The figures that benchmarks/wire.py prints, by name."""
    output = subprocess.run(
        [sys.executable, str(HERE / "wire.py")], check=True, capture_output=True, text=True
    ).stdout
    figures = {}
    for line in output.splitlines():
        name, value = line[:44].strip(), line[44:].split()[0]
        figures[name] = float(value.replace(",", ""))
    return figures


async def seconds(program: ForeignPeer, command: str, **fields: Any) -> float:
    started = asyncio.get_running_loop().time()
    await program.command(command, **fields)
    return asyncio.get_running_loop().time() - started


async def theirs(kind: str) -> tuple[float, float]:
    """New-stream requests and bytes per second between two peers of this kind."""
    async with foreign(kind) as dialer, foreign(kind) as listener:
        await dialer.command("dial", address=listener.address)
        found = await dialer.command("echoes", peer=listener.peer_id, bytes=1024, count=STREAMS)
        bulk = await seconds(dialer, "push", peer=listener.peer_id, bytes=BULK_BYTES)
    return STREAMS / found["seconds"], BULK_BYTES / bulk


def rows() -> list[dict[str, Any]]:
    own = ours()
    streams, bulk = asyncio.run(theirs("py"))
    mine = {
        "new-stream requests": own["new stream + 1 KB, one at a time"],
        "new-stream requests, 32 in flight": own["new stream + 1 KB, 32 in flight"],
        "bulk": own["bulk 100 MB on one stream"],
    }
    peer = {"peer_name": "py-libp2p"}
    return [
        {
            **peer,
            "name": "new-stream requests, 1 KB each, one at a time",
            "ours": mine["new-stream requests"],
            "peer": streams,
            "unit": "requests/s",
            "goal": 20,
        },
        {
            **peer,
            "name": "new-stream requests, 32 at once beside one at a time",
            "ours": mine["new-stream requests, 32 in flight"],
            "peer": streams,
            "unit": "requests/s",
            "goal": 20,
        },
        {
            **peer,
            "name": "bulk on one stream",
            "ours": mine["bulk"],
            "peer": bulk / 1e6,
            "unit": "MB/s",
            "goal": 1,
        },
    ]
