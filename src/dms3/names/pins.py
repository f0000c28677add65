"""First-come names with the key they had when this node first saw them.

Source: docs/names.md, "First come". Nothing proves who came first to an overlay, so a name that
changes hands is not followed silently: a person has to say so.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.limits import NAMES_PINNED_MAX
from dms3.core.machine import Delete, Effect, Now, Persist, View, scan
from dms3.names.steps import Wanted

TABLE = "pins"
_SHOWN_DIGITS, _GROUP = 16, 4


@dataclass(frozen=True, slots=True)
class Pin:
    """The root that a name had, first seen at `since_us` (wall clock)."""

    v: int
    root: bytes
    since_us: int


class Pins:
    """The pins of one node, in memory and in table `pins`."""

    def __init__(self) -> None:
        self._pins: dict[str, Pin] = {}

    def load(self, view: View) -> None:
        """Read the committed ones."""
        self._pins = {key.decode(): decode(Pin, data) for key, data in scan(view, TABLE)}

    def get(self, name: str) -> bytes | None:
        """The root that `name` had."""
        pin = self._pins.get(name)
        return None if pin is None else pin.root

    def keep(self, name: str, root: bytes, now: Now) -> Generator[Wanted, Any, None]:
        """Remember the first root seen for `name`; the oldest memory makes room."""
        if name in self._pins:
            return
        if len(self._pins) >= NAMES_PINNED_MAX:
            oldest = min(self._pins, key=lambda each: (self._pins[each].since_us, each))
            del self._pins[oldest]
            yield Delete(TABLE, oldest.encode())
        self._pins[name] = Pin(1, root, now.wall_us)
        yield Persist(TABLE, name.encode(), encode(self._pins[name]))

    def forget(self, name: str) -> list[Effect]:
        """Believe whoever has `name` next; nothing happens when it is not known."""
        if self._pins.pop(name, None) is None:
            return []
        return [Delete(TABLE, name.encode())]


def root_text(root: bytes) -> str:
    """The beginning of a root as people compare it: "4f2a 91c0 ..."."""
    digits = root.hex()[:_SHOWN_DIGITS]
    return " ".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))
