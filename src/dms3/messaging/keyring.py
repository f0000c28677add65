"""The person's messaging keys: the current ones, and all earlier ones for messages sent to those.

Source: docs/architecture.md, "Messages"; docs/adr/0001-key-tree.md. Generations come from the
twelve words; a seed that a wallet's signature made can be current too. Keys are never removed:
what was sent to them has to be opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.limits import MAIL_KEYS_MAX
from dms3.core.machine import View
from dms3.crypto.keys import GENERATION_MAX
from dms3.dm3.keys import SEED_BYTES, ProfileKeys

TABLE = "keys"
_ROW = b"keys"


@dataclass(frozen=True, slots=True)
class Key:
    """One pair of keys: that of `generation`, or of `seed` when there is one."""

    generation: int
    seed: bytes = field(repr=False, default=b"")

    def __post_init__(self) -> None:
        if not 0 <= self.generation <= GENERATION_MAX:
            raise ValueError(f"a generation is 0 to {GENERATION_MAX}")
        if len(self.seed) not in (0, SEED_BYTES):
            raise ValueError(f"a seed has {SEED_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys in the order in which they were made current; the same on every device."""

    v: int
    all: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.all) <= MAIL_KEYS_MAX:
            raise ValueError(f"there are 1 to {MAIL_KEYS_MAX} keys")


class Keyring:
    """Arguments: `seed(n)`, the 32 bytes of generation n."""

    def __init__(self, seed: Callable[[int], bytes], desk: Desk) -> None:
        self._seed = seed
        self._desk = desk
        self._rows: tuple[Key, ...] = (Key(0),)
        self._made: dict[Key, ProfileKeys] = {}

    def load(self, view: View) -> None:
        """Read the table."""
        data = view.get(TABLE, _ROW)
        if data is not None:
            self._rows = decode(Keys, data).all

    @property
    def current(self) -> ProfileKeys:
        """The keys of the profile that is published."""
        return self._of(self._rows[-1])

    @property
    def current_seed(self) -> bytes:
        """The 32 bytes that the current keys are made of."""
        return self._rows[-1].seed or self._seed(self._rows[-1].generation)

    @property
    def generation(self) -> int:
        """The highest generation in use."""
        return max(key.generation for key in self._rows)

    @property
    def rows(self) -> Keys:
        """What other devices are told."""
        return Keys(1, self._rows)

    def newest_first(self) -> list[ProfileKeys]:
        """All keys."""
        return [self._of(key) for key in reversed(self._rows)]

    def rotate(self, generation: int | None = None) -> None:
        """Make the next generation current, or `generation` unless a later one was in use."""
        if generation is None or generation > self.generation:
            self._add(Key(self.generation + 1 if generation is None else generation))

    def adopt(self, seed: bytes) -> None:
        """Make the keys of a wallet's seed current."""
        key = Key(self.generation, seed)
        if self._rows[-1] != key:
            self._add(key)

    def merge(self, others: Keys) -> bool:
        """Take the keys that another device has; whether the current ones are others now.

        Who has made more keys current knows better; of equally many the greater one wins.
        """
        before = self._rows[-1]
        ordered = sorted(
            (self._rows, others.all),
            key=lambda rows: (len(rows), rows[-1].generation, rows[-1].seed),
        )
        known = [key for rows in ordered for key in rows if key != ordered[1][-1]]
        joined = (*dict.fromkeys(known), ordered[1][-1])
        if joined != self._rows:
            self._keep(joined)
        return self._rows[-1] != before

    def _add(self, key: Key) -> None:
        if len(self._rows) >= MAIL_KEYS_MAX:
            raise Dms3Error(
                "limit_reached", f"The keys were changed {MAIL_KEYS_MAX} times already."
            )
        self._keep((*(each for each in self._rows if each != key), key))

    def _keep(self, rows: tuple[Key, ...]) -> None:
        self._rows = rows[-MAIL_KEYS_MAX:]
        self._desk.persist(TABLE, _ROW, encode(self.rows))

    def _of(self, key: Key) -> ProfileKeys:
        keys = self._made.get(key)
        if keys is None:
            keys = ProfileKeys.of_seed(key.seed or self._seed(key.generation))
            self._made[key] = keys
        return keys
