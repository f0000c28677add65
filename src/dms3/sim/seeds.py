"""Random numbers of a run: every stream is derived from one seed by hashing its name.

Source: docs/architecture.md, "The machine" (injected entropy). Streams do not influence each
other: more draws by one node change nothing for another. Not for keys of real nodes.
"""

from __future__ import annotations

import hashlib
from random import Random


def stream(seed: int, *names: str | int) -> Random:
    """The stream called `names` of the run `seed`."""
    text = "/".join(str(name) for name in (seed, *names))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return Random(number)  # noqa: S311 - reproducible on purpose


class SeededEntropy:
    """A machine's `Entropy` in a simulation."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def draw(self, count: int) -> bytes:
        """The next `count` bytes of the stream."""
        return self._random.randbytes(count)
