"""Add a folder to your running node, with progress, and search it.

    python examples/add_and_search.py FOLDER WORDS...

It talks to the node of DMS3_HOME (or of the platform's folder) and needs nothing else of dms3.
"""

import asyncio
import sys
from pathlib import Path

from dms3.core.errors import Dms3Error
from dms3.sdk import Client


async def add(node: Client, folder: Path) -> None:
    """Import `folder`, an absolute path; what has not changed since last time costs nothing."""
    steps = node.stream("store", "add", paths=[str(folder)], space=folder.name)
    async for step in steps:
        if "progress" in step:
            progress = step["progress"]
            print(f"{progress['done']} of {progress['total']} {progress['unit']}", file=sys.stderr)
        elif "data" in step:
            done = step["data"]
            print(f"{done['documents']} new, {done['unchanged']} unchanged")
            for one in done["skipped"]:
                print(f"{'kept' if one['kept'] else 'skipped'} {one['path']}: {one['reason']}")


async def main(folder: Path, words: str) -> None:
    """Add, search, and show the beginning of the best file."""
    async with Client() as node:
        await add(node, folder)
        found = await node.call("search", query=words, space=folder.name, limit=5)
        for hit in found["hits"]:
            print(f"{hit['title']}: {hit['snippet']}")
        if found["hits"]:
            best = await node.download(found["hits"][0]["cid"], 0, 60)
            print(f"the best begins {best.decode(errors='replace').splitlines()[0]!r}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(Path(sys.argv[1]).absolute(), " ".join(sys.argv[2:])))
    except Dms3Error as error:
        sys.exit(str(error))
