"""Answers about names, kept for a short time: found ones, and that nothing was found.

Source: docs/names.md, "How fresh". Bounded; the oldest answer goes first.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.errors import Dms3Error
from dms3.core.limits import NAME_FAILED_US, NAME_FRESH_US, NAME_MISSING_US, NAMES_CACHED_MAX
from dms3.core.machine import Now
from dms3.dm3.lookup import Resolved

Answer = Resolved | Dms3Error
"""What is known of a name: who it is, or why nobody can say."""

_DEFINITE = ("not_found", "content_invalid")


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    until_us: int  # monotonic


def life_us(answer: Answer) -> int:
    """For how long `answer` may be believed, in microseconds."""
    if isinstance(answer, Dms3Error):
        return NAME_MISSING_US if answer.code in _DEFINITE else NAME_FAILED_US
    return NAME_FRESH_US if answer.profile or answer.service else NAME_MISSING_US


class Cache:
    """The answers, by name."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._by_address: dict[str, dict[str, None]] = {}

    def get(self, name: str, now: Now) -> Answer | None:
        """What may still be believed of `name`."""
        kept = self._kept.get(name)
        return kept.answer if kept is not None and kept.until_us > now.mono_us else None

    def put(self, name: str, answer: Answer, now: Now) -> None:
        """Keep `answer`, the newest about `name`."""
        self.forget(name)
        if len(self._kept) >= NAMES_CACHED_MAX:
            self.forget(next(iter(self._kept)))
        self._kept[name] = _Kept(answer, now.mono_us + life_us(answer))
        if isinstance(answer, Resolved) and answer.address:
            self._by_address.setdefault(answer.address, {})[name] = None

    def forget(self, name: str) -> None:
        """Ask about `name` again."""
        kept = self._kept.pop(name, None)
        if kept is None or not isinstance(kept.answer, Resolved) or not kept.answer.address:
            return
        same = self._by_address[kept.answer.address]
        del same[name]
        if not same:
            del self._by_address[kept.answer.address]

    def names_of(self, address: str, now: Now) -> tuple[str, ...]:
        """The names that are known to have this account now, in order."""
        names = self._by_address.get(address, {})
        return tuple(sorted(name for name in names if self.get(name, now) is not None))
