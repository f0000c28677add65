"""dms3 with one more machine in it, which spreads bodies and notes what it hears.

    python benchmarks/gossiping.py FOLDER NUMBER up ...

When FOLDER has the file "go" (JSON: rate of this node per second, seconds), it begins; every second
it writes FOLDER/NUMBER.json: bodies spread, heard, heard twice, refused, how late they were, in ms.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dms3.node.machines
import dms3.node.node
from dms3.cli.main import main as program
from dms3.core.errors import Failure
from dms3.core.gossip import HeardGossip, Spread
from dms3.core.machine import Answered, Call, Called, Effect, Event, Now, Reply, View
from dms3.core.overlay import PUBLIC
from dms3.gossip import gossip
from dms3.node.inbox import Hosted
from dms3.node.machines import machines_of

TOPIC = "bench"
LOOK_US = 50_000
TICK_US = 20_000
BODY_BYTES = 200


class Bench:
    """Spreads in the public overlay, which all nodes of the benchmark are in."""

    def __init__(self, folder: Path, number: int) -> None:
        self._go, self._out = folder / "go", folder / f"{number}.json"
        self._number = number
        self._due_us = 0
        self._begun_us: int | None = None
        self._rate = self._seconds = 0.0
        self._spread = self._refused = self._twice = 0
        self._heard: dict[bytes, float] = {}  # body -> how late, in ms
        self._wrote_us = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        del view
        self._due_us = now.mono_us
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        del now
        if isinstance(event, Answered):
            self._refused += isinstance(event.body, Failure)
        elif isinstance(event, Called) and isinstance(event.arguments, HeardGossip):
            body = event.arguments.body
            self._twice += body in self._heard
            sent_us = int(body[: body.index(b"/")])
            self._heard[body] = (time.time_ns() // 1_000 - sent_us) / 1_000
            return [Reply(event.request, True)]
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        if self._begun_us is None:
            self._due_us = now.mono_us + LOOK_US
            if self._go.exists():
                asked = json.loads(self._go.read_text())
                self._rate, self._seconds = asked["rate"], asked["seconds"]
                self._begun_us = now.mono_us
            return []
        self._due_us = now.mono_us + TICK_US
        if now.mono_us - self._wrote_us > 1_000_000:
            self._wrote_us = now.mono_us
            self._write()
        passed = min((now.mono_us - self._begun_us) / 1_000_000, self._seconds)
        return [self._next() for _ in range(int(passed * self._rate) - self._spread)]

    def next_timer(self) -> int | None:
        return self._due_us

    def _next(self) -> Effect:
        self._spread += 1
        named = b"%d/%d/%d/" % (time.time_ns() // 1_000, self._number, self._spread)
        body = named + bytes(BODY_BYTES - len(named))
        token: Any = f"spread:{self._spread}"
        return Call("gossip.spread", Spread(PUBLIC, TOPIC, body), token)

    def _write(self) -> None:
        told = {
            "spread": self._spread,
            "refused": self._refused,
            "heard": len(self._heard),
            "twice": self._twice,
            "late_ms": sorted(self._heard.values()),
        }
        written = self._out.with_suffix(".new")
        written.write_text(json.dumps(told))
        written.rename(self._out)


def main() -> None:
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    sys.argv = [sys.argv[0], *sys.argv[3:]]

    def machines(*arguments: Any) -> Sequence[Hosted]:
        made = []
        for hosted in machines_of(*arguments):
            if hosted.name == gossip.NAME:
                spreading = gossip.Gossip(arguments[2], {TOPIC: "bench"}, quiet=())
                made.append(Hosted(gossip.NAME, spreading, hosted.protocols))
            else:
                made.append(hosted)
        return [*made, Hosted("bench", Bench(folder, number))]

    dms3.node.node.machines_of = machines  # type: ignore[assignment]
    program()


if __name__ == "__main__":
    main()
