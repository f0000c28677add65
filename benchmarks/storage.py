"""How soon a new device has the latest 1,000 of 100,000 messages, from each kind of place.

    python benchmarks/storage.py [--messages 100000]

One device writes messages of 700 bytes into its own folder and moves them from kind to kind. At
each one a device that knows the twelve words and the place starts with an empty store; the clock
runs from its choice of the place until the 1,000 newest are in its mailbox. Servers are those of
the tests of places: moto (S3), wsgidav (WebDAV), kubo where `scripts/peers.sh kubo` has built it,
and five nodes of the overlay, of which one is the delivery service. All on loopback: what a line
adds is not in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from measure import Row, note

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from network.place_device import device, items_of
from network.test_storage_moving import FIRST, GATHERED, every_kind

MESSAGES = 100_000
GOAL_SECONDS = 5.0
WHY = "3 s of it are the pause in which two devices that come at once notice each other"


async def measure(folder: Path, messages: int) -> list[Row]:
    rows: list[Row] = []
    async with every_kind(folder) as (port, places), device(folder / "one", 1, port) as one:
        items = items_of(messages)
        start = time.perf_counter()
        for begin in range(0, messages, GATHERED):
            await one.append(items[begin : begin + GATHERED])
        note(f"{messages} messages written in {time.perf_counter() - start:.1f} s")
        newest = {item.key for item in items[-FIRST:]}
        for number, place in enumerate(places, 2):
            start = time.perf_counter()
            await one.move(place)
            note(f"moved to {place.kind} in {time.perf_counter() - start:.1f} s")
            async with device(folder / f"{number}", number, port) as other:
                start = time.perf_counter()
                await other.call("choose", place)
                await other.sees(newest)
                seconds = time.perf_counter() - start
            name = f"new device, latest {FIRST} of {messages} from {place.kind}"
            rows.append(Row(name, seconds, None, "", "s", GOAL_SECONDS, WHY))
            note(str(rows[-1]))
    return rows


def rows(messages: int = MESSAGES) -> list[Row]:
    """A row for each kind of place that more than one device can read."""
    with tempfile.TemporaryDirectory(prefix="dms3-storage-") as folder:
        return asyncio.run(measure(Path(folder), messages))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    print(*rows(parser.parse_args().messages), sep="\n")
