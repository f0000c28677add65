"""dms3 with a profiler in it: which part of the program takes the processor's time.

    python benchmarks/profiled.py FILE up ...

The first SIGUSR1 begins, the second writes to FILE what the main thread has spent meanwhile, by
part and by function, the third begins again. The profiler makes Python slower than C, so the parts
are shares and no seconds. Threads and workers are other clocks: `chain_nodes.py` reads them.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

PARTS = (
    ("signature", ("dms3/crypto/", "/nacl/", "ed25519", "crypto_sign")),
    ("sandbox", ("dms3/io/sandbox", "dms3/node/dapps", "dms3/chain/judging")),
    ("database", ("dms3/io/store", "dms3/io/sqlcipher", "dms3/io/tables", "dms3/core/database",
                  "dms3/node/uncommitted", "dms3/node/commits", "sqlite")),
    ("codec", ("dms3/core/codec", "dms3/core/cid", "dms3/chain/", "/json/", "dms3/core/multibase",
               "dms3/core/varint", "hashlib", "sha256")),
    ("wire", ("dms3/libp2p/", "dms3/io/transport", "dms3/p2p/", "ChaCha", "_rust.x25519")),
    ("http", ("dms3/api/", "/starlette/", "/uvicorn/", "/fastapi/", "/anyio/")),
    ("machines", ("dms3/",)),
)  # fmt: skip
_FUNCTIONS = 90


def part_of(name: str) -> str:
    """The part that a function belongs to."""
    return next((part for part, places in PARTS if any(each in name for each in places)), "rest")


def written(profile: cProfile.Profile) -> dict[str, Any]:
    """Seconds by part and by function. What C takes belongs to the function that called it."""
    profile.create_stats()
    stats: Any = pstats.Stats(profile)
    parts: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total: dict[str, tuple[float, int]] = {}
    for (path, line, function), (_, calls, self_s, total_s, callers) in stats.stats.items():
        name = f"{path}:{line}:{function}"
        total[name] = total_s, calls
        own[name] += self_s
        if path != "~" or part_of(function) != "rest":
            parts[part_of(name)] += self_s
        else:
            for (above, above_line, above_name), numbers in callers.items():
                parts[part_of(f"{above}:{above_line}:{above_name}")] += numbers[2]
    most = sorted(total, key=lambda name: -total[name][0])[:_FUNCTIONS]
    return {
        "parts": parts,
        "own": dict(own.most_common(_FUNCTIONS)),
        "total": {name: total[name] for name in most},
    }


def main() -> None:
    path = Path(sys.argv.pop(1))
    from dms3.cli.main import main as program  # noqa: PLC0415

    profiles: list[cProfile.Profile] = []

    def turn(*_: object) -> None:
        found: dict[str, Any] = {}
        if profiles:
            done = profiles.pop()
            done.disable()
            found = written(done)
        else:
            profiles.append(cProfile.Profile(time.thread_time))
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(found))
        draft.replace(path)
        if profiles:
            profiles[0].enable()

    signal.signal(signal.SIGUSR1, turn)
    program()


if __name__ == "__main__":
    main()
