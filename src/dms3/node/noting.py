"""The machine that keeps what the node notes of its own upkeep, and tells people and programs.

Source: docs/api.md, "Events". Upkeep and backups run outside of machines; what they did becomes an
event, and the last backup a row, through this one. It speaks to no peer. Nothing of it is in a
backup: a restored home has never been backed up.
"""

# ruff: noqa: ARG002 - it needs no time; the shape is that of core/machine.py
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dms3.core.codec import decode, encode
from dms3.core.errors import Failure
from dms3.core.machine import Called, Effect, Event, Notify, Now, Persist, Reply, View

TABLE = "noted"
LAST = b"last backup"
NOTED = "noting/noted"
"""Where the store keeps the table of this machine."""
_WORDS = b"words are written down"


@dataclass(frozen=True, slots=True)
class LastBackup:
    """When a backup was finished (wall clock), where it lies, and its number there."""

    v: int
    made_us: int
    place: str
    generation: int
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a pass of upkeep removed or moved."""

    blocks: int
    bytes: int
    packs: int
    moved: int


@dataclass(frozen=True, slots=True)
class Changed:
    """Documents came into a space ("added") or left it ("removed"); None: several spaces."""

    what: Literal["added", "removed"]
    space: str | None
    documents: int


@dataclass(frozen=True, slots=True)
class Signal:
    """What a function of app `dapp` tells its page: `value`, JSON values, under a name."""

    dapp: str
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class DappChanged:
    """An app was installed, got new functions ("changed"), is "ready", or was removed."""

    dapp: str
    what: Literal["installed", "changed", "ready", "removed"]


class Noting:
    """Operations: `compacted` (Compacted), `backed_up` (LastBackup), `last` (that, or None).

    `changed` (Changed): documents came or went, whichever client asked for it. `dapp`
    (DappChanged), `signal` (Signal): an app was changed, or tells its page something. `words`:
    whether the person has said that the twelve words are written down; `words_written`: they say
    so.
    """

    def __init__(self) -> None:
        self._last: LastBackup | None = None
        self._words = False

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the last backup, and whether the words are written down."""
        data = view.get(TABLE, LAST)
        self._last = None if data is None else decode(LastBackup, data)
        self._words = view.get(TABLE, _WORDS) is not None
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """The operations."""
        if not isinstance(event, Called):
            return []
        match event.operation, event.arguments:
            case "last", _:
                return [Reply(event.request, self._last)]
            case (
                ("compacted", Compacted())
                | ("changed", Changed())
                | ("dapp", DappChanged())
                | ("signal", Signal())
            ):
                return [_told(event.arguments), Reply(event.request, None)]
            case "backed_up", LastBackup() as last:
                return self._backed_up(last, event)
            case (("words" | "words_written"), _):
                return self._about_words(event)
        message = f"noting has no operation {event.operation!r} like this."
        return [Reply(event.request, Failure("method_unknown", message))]

    def _backed_up(self, last: LastBackup, event: Called) -> list[Effect]:
        self._last = last
        data: dict[str, Any] = {
            "place": last.place,
            "generation": last.generation,
            "written_bytes": last.written_bytes,
        }
        return [
            Persist(TABLE, LAST, encode(last)),
            Notify("store.backed_up", data),
            Reply(event.request, None),
        ]

    def _about_words(self, event: Called) -> list[Effect]:
        if event.operation == "words":
            return [Reply(event.request, self._words)]
        self._words = True
        told = Notify("identity.words_written", {})
        return [Persist(TABLE, _WORDS, b""), told, Reply(event.request, None)]

    def on_timer(self, now: Now) -> list[Effect]:
        """It sets none."""
        return []

    def next_timer(self) -> int | None:
        """None."""
        return None


def _told(done: Compacted | Changed | DappChanged | Signal) -> Notify:
    if isinstance(done, Signal):
        signal = {"name": done.name, "value": done.value}
        return Notify("chain.signal", {"dapp": done.dapp, "signal": signal})
    if isinstance(done, DappChanged):
        return Notify("dapp.changed", {"dapp": done.dapp, "what": done.what})
    if isinstance(done, Compacted):
        data = {
            "blocks": done.blocks,
            "bytes": done.bytes,
            "packs": done.packs,
            "moved": done.moved,
        }
        return Notify("store.compacted", data)
    changed = {"space": done.space, "documents": done.documents}
    if done.what == "added":
        return Notify("store.added", changed)
    return Notify("store.removed", changed)
