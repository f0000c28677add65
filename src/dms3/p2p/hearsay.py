"""What others say of how much of the time peers are there: kept by who says it, the median counts.

Source: docs/attacks.md, "Somebody in an app's overlay"; seed 004, II.D, metrics "of others". One
reporter has one word of each peer, all reporters of one network prefix have one together, and
fewer than HEARSAY_REPORTERS_MIN say nothing: so one liar moves nothing, and fewer than half of the
reporters stay between what the others say. Plain state that `p2p/world.py` drives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dms3.core.codec import decode, encode
from dms3.core.ids import PeerId
from dms3.core.limits import (
    HEARSAY_LIFE_US,
    HEARSAY_REPORTERS_MAX,
    HEARSAY_REPORTERS_MIN,
    HEARSAY_SUBJECTS_MAX,
    HEARSAY_WORDS_MAX,
    PEER_ID_BYTES_MAX,
)
from dms3.core.machine import Delete, Effect, Now, Persist, View, scan
from dms3.p2p.uptime import WHOLE, Metric

TABLE = "heard"


@dataclass(frozen=True, slots=True)
class Word:
    """What a node says of `peer`: its uptime and how sure it is of that, in millionths."""

    peer: bytes
    value: int
    sure: int

    def __post_init__(self) -> None:
        if not 0 < len(self.peer) <= PEER_ID_BYTES_MAX:
            raise ValueError("a word is about a peer")
        if not (0 <= self.value <= WHOLE and 0 <= self.sure <= WHOLE):
            raise ValueError("a share is between nothing and the whole")


def check_words(words: tuple[Word, ...]) -> None:
    """Raise ValueError when these are not the words of one answer."""
    if len(words) > HEARSAY_WORDS_MAX:
        raise ValueError("too many words")
    if len({word.peer for word in words}) < len(words):
        raise ValueError("two words about one peer")


@dataclass(frozen=True, slots=True)
class Said:
    """The last word of `source` (a network prefix, or a peer of a LAN) and when it came (wall)."""

    source: str
    value: int
    sure: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Row:
    """All that is said of `peer`, the oldest word first."""

    peer: bytes
    said: tuple[Said, ...]


class Hearsay:
    """All of it, by whom it is about; who was heard of least lately is first."""

    def __init__(self) -> None:
        self._rows: dict[PeerId, Row] = {}

    def load(self, view: View) -> list[Effect]:
        """Read the committed rows; effects that delete those beyond the bound."""
        rows = [decode(Row, value) for _, value in scan(view, TABLE)]
        rows.sort(key=lambda row: (max((said.at_us for said in row.said), default=0), row.peer))
        self._rows = {PeerId(row.peer): row for row in rows[-HEARSAY_SUBJECTS_MAX:]}
        return [Delete(TABLE, row.peer) for row in rows[:-HEARSAY_SUBJECTS_MAX]]

    def take(self, source: str, words: Iterable[Word], now: Now) -> list[Effect]:
        """`source` has said these words."""
        effects: list[Effect] = []
        for word in words:
            peer = PeerId(word.peer)
            row = self._rows.pop(peer, Row(peer, ()))
            others = (each for each in row.said if each.source != source)
            fresh = [each for each in others if _is_fresh(each, now)]
            said = (*fresh, Said(source, word.value, word.sure, now.wall_us))
            row = replace(row, said=said[-HEARSAY_REPORTERS_MAX:])
            if len(self._rows) >= HEARSAY_SUBJECTS_MAX:
                oldest = next(iter(self._rows))
                del self._rows[oldest]
                effects.append(Delete(TABLE, oldest))
            self._rows[peer] = row
            effects.append(Persist(TABLE, peer, encode(row)))
        return effects

    def of(self, peer: PeerId, now: Now) -> Metric | None:
        """What is said of `peer`; None while too few say something."""
        said = self._said(peer, now)
        if len(said) < HEARSAY_REPORTERS_MIN:
            return None
        sure = [Metric(0, each.sure).unseen(now.wall_us - each.at_us).sure for each in said]
        return Metric(median([each.value for each in said]), median(sure))

    def reporters(self, peer: PeerId, now: Now) -> int:
        """How many say something of `peer`."""
        return len(self._said(peer, now))

    def _said(self, peer: PeerId, now: Now) -> list[Said]:
        row = self._rows.get(peer)
        return [] if row is None else [each for each in row.said if _is_fresh(each, now)]


def median(values: list[int]) -> int:
    """The middle of `values`, of an even number that between the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


def _is_fresh(said: Said, now: Now) -> bool:
    """Whether a word counts still; one of the future was heard while the clock was wrong."""
    return 0 <= now.wall_us - said.at_us < HEARSAY_LIFE_US
