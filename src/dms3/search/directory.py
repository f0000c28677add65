"""Every public space this node knows: their manifests, brought here so that no query has to leave.

Source: plan 0003, "Who holds what". Pure bookkeeping over the table "manifests"; asks nobody. Once
it is full nothing new is taken in: what an attacker adds later drives nothing out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.limits import DIRECTORY_SPACES_MAX, MANIFESTS_KEPT_BYTES_MAX
from dms3.core.machine import Delete, Effect, Persist, View, scan
from dms3.search.condition import Condition
from dms3.search.manifest import Manifest, decode_manifest
from dms3.search.openrank import can_meet
from dms3.search.query import Phrase, Query
from dms3.search.wordfilter import may_have

MANIFESTS = "manifests"


@dataclass(frozen=True, slots=True)
class Known:
    """A manifest and the bytes of it."""

    manifest: Manifest
    size: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """Spaces to open, in an order that nobody can steer, and how many cannot match."""

    manifests: tuple[Manifest, ...]
    skipped: int


class Directory:
    """The manifests, by slot; `own`: this node's peer id, whose spaces are searched as local."""

    def __init__(self, own: PeerId) -> None:
        self._own = own
        self._known: dict[bytes, Known] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def load(self, view: View, wall_us: int) -> list[Effect]:
        """Read the table; what has expired goes."""
        for _, value in scan(view, MANIFESTS):
            self._add(value)
        return self.prune(wall_us)

    def take(self, values: Iterable[bytes]) -> list[Effect]:
        """Keep valid manifests (`Got.values`) that are new or newer than those known."""
        effects: list[Effect] = []
        for value in values:
            slot = self._add(value)
            if slot is not None:
                effects.append(Persist(MANIFESTS, slot, value))
        return effects

    def prune(self, wall_us: int) -> list[Effect]:
        """Forget what has expired."""
        gone = [s for s, each in self._known.items() if each.manifest.until_us <= wall_us]
        for slot in gone:
            self._bytes -= self._known.pop(slot).size
        return [Delete(MANIFESTS, slot) for slot in gone]

    def choose(
        self,
        query: Query,
        kind: str | None,
        conditions: Sequence[Condition],
        salt: bytes,
        wall_us: int,
    ) -> Chosen:
        """The spaces in which something can match; `salt`: random, the same for a whole run."""
        found: list[tuple[bytes, Manifest]] = []
        skipped = 0
        knows_fields = can_meet(conditions)
        for slot, each in self._known.items():
            manifest = each.manifest
            if manifest.withdrawn or manifest.until_us <= wall_us or manifest.peer == self._own:
                continue
            fits = knows_fields and (kind is None or kind in manifest.kinds)
            if fits and _can_match(manifest.filter, query):
                found.append((hashlib.sha256(salt + slot).digest(), manifest))
            else:
                skipped += 1
        found.sort(key=lambda item: item[0])
        return Chosen(tuple(manifest for _, manifest in found), skipped)

    def _add(self, value: bytes) -> bytes | None:
        """The slot of a manifest that was taken in; None: it was known, or there is no room."""
        try:
            manifest = decode_manifest(value)
        except DecodeError:
            return None  # of another version: a later program wrote it
        slot = manifest.slot
        held = self._known.get(slot)
        if held is not None and held.manifest.created_us >= manifest.created_us:
            return None
        size = self._bytes + len(value) - (0 if held is None else held.size)
        if size > MANIFESTS_KEPT_BYTES_MAX:
            return None
        if held is None and len(self._known) >= DIRECTORY_SPACES_MAX:
            return None
        self._known[slot] = Known(manifest, len(value))
        self._bytes = size
        return slot


def _can_match(held: bytes, query: Query) -> bool:
    """Whether a space with this filter can have a document that `query` asks for."""
    return all(any(_may_have(held, phrase) for phrase in group) for group in query.groups)


def _may_have(held: bytes, phrase: Phrase) -> bool:
    """A word that may go on is not in the filter as it stands."""
    whole = phrase.words[:-1] if phrase.is_prefix else phrase.words
    return all(may_have(held, word.encode()) for word in whole)
