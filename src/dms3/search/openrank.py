"""Ranking documents of several open indexes together, by what is common in all of them.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework" (BM25, as FTS5 computes it);
summed document frequencies as in `search/rank.py`. Pure, and bounded by the blocks it is given;
what a space counts is counted here, never believed. Runs in a thread. Fetches nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    INDEX_PLACES_MAX,
    PHRASE_PLACES_MAX,
    PUBLIC_DOCUMENTS_MAX,
    SECOND_US,
)
from dms3.search.condition import Condition
from dms3.search.openindex import (
    Fact,
    Part,
    Root,
    Words,
    decode_facts,
    merge_terms,
    parts_of,
    read_numbers,
)
from dms3.search.query import Phrase, Query
from dms3.search.rank import BODY_WEIGHT, SCORE_UNIT, TITLE_WEIGHT, rarity

_K1, _B = 1.2, 0.75  # FTS5 bm25()
NUMBER_FIELDS = frozenset({"bytes", "modified"})
"""The fields an open index has for conditions; it tells no names and not when it was imported."""

Counts = dict[int, tuple[int, int]]
"""Number of a document -> how often a phrase stands in its title and in its text."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open index with the blocks that a query needs of it."""

    root: Root
    blocks: dict[Cid, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, order=True)
class Best:
    """A document found: `space` and `number` say which; order is best first."""

    negated_score: int
    space: int
    number: int
    kind: str

    @property
    def score(self) -> int:
        """Millionths, higher is better."""
        return -self.negated_score


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents, how many match in all, and by space what is wrong with its index."""

    best: tuple[Best, ...]
    total: int
    faults: dict[int, str]


@dataclass(slots=True)
class _Matched:
    """One space: its facts, its documents by phrase, those that match."""

    root: Root
    facts: list[Fact]
    counts: list[Counts]
    numbers: list[int]


def needed_parts(root: Root, query: Query) -> list[Cid]:
    """The blocks of an index that `query` needs, each once, in order."""
    wanted: dict[Cid, None] = {part.cid: None for part in root.facts}
    for phrase in (*query.phrases, *query.excluded):
        for index in range(len(phrase.words)):
            for part in _parts(root, phrase, index):
                wanted[part.cid] = None
    return list(wanted)


def can_meet(conditions: Sequence[Condition]) -> bool:
    """Whether an open index knows every field of `conditions`."""
    return all(condition.field in NUMBER_FIELDS for condition in conditions)


def rank(
    spaces: Sequence[Opened],
    query: Query,
    kind: str | None,
    conditions: Sequence[Condition],
    limit: int,
) -> Ranking:
    """The best `limit` documents of all `spaces`; a space with a faulty index is left out."""
    matched: dict[int, _Matched] = {}
    faults: dict[int, str] = {}
    for index, space in enumerate(spaces):
        try:
            matched[index] = _match(space, query, kind, conditions)
        except DecodeError as error:
            faults[index] = error.reason
    documents = sum(len(one.facts) for one in matched.values())
    words = sum(fact.words for one in matched.values() for fact in one.facts)
    average = words / documents if documents and words else 1.0
    weights = [
        rarity(documents, sum(len(one.counts[phrase]) for one in matched.values()))
        for phrase in range(len(query.phrases))
    ]
    found: list[Best] = []
    for index, one in matched.items():
        some = [_scored(one, number, index, weights, average) for number in one.numbers]
        found = heapq.nsmallest(limit, [*found, *some])
    return Ranking(tuple(found), sum(len(one.numbers) for one in matched.values()), faults)


def _match(
    space: Opened, query: Query, kind: str | None, conditions: Sequence[Condition]
) -> _Matched:
    """Raises DecodeError for an index that contradicts itself or lacks a block."""
    root = space.root
    facts = _facts(space)
    counts = [_counts(space, phrase) for phrase in query.phrases]
    without = [_counts(space, phrase) for phrase in query.excluded]
    for found in (*counts, *without):
        for number, (title, body) in found.items():
            if number >= len(facts) or title + body > facts[number].words:
                raise DecodeError(0, f"document {number} has fewer words than are found in it")
    numbers: set[int] | None = None
    start = 0
    for group in query.groups:
        some: set[int] = set()
        for found in counts[start : start + len(group)]:
            some.update(found)
        start += len(group)
        numbers = some if numbers is None else numbers & some
    chosen = (numbers or set()).difference(*without) if without else numbers or set()
    kept = [number for number in sorted(chosen) if _meets(facts[number], root, kind, conditions)]
    return _Matched(root, facts, counts, kept)


def _facts(space: Opened) -> list[Fact]:
    found: list[Fact] = []
    for part in space.root.facts:
        first, some = decode_facts(_block(space, part))
        if first != len(found) or first + len(some) > PUBLIC_DOCUMENTS_MAX:
            raise DecodeError(0, "the facts have a gap")
        found += some
    if len(found) != space.root.documents:
        raise DecodeError(
            0, f"{space.root.documents} documents are claimed, {len(found)} are there"
        )
    if any(fact.kind >= len(space.root.kinds) for fact in found):
        raise DecodeError(0, "a document has a kind that is not named")
    return found


def _meets(fact: Fact, root: Root, kind: str | None, conditions: Sequence[Condition]) -> bool:
    if kind is not None and root.kinds[fact.kind] != kind:
        return False
    for condition in conditions:
        is_bytes = condition.field == "bytes"
        value = fact.bytes if is_bytes else fact.modified_s * SECOND_US
        if condition.low is not None and value < condition.low:
            return False
        if condition.high is not None and value > condition.high:
            return False
    return True


def _scored(
    one: _Matched, number: int, space: int, weights: Sequence[float], average: float
) -> Best:
    fact = one.facts[number]
    length = _K1 * (1 - _B + _B * fact.words / average)
    score = 0.0
    for weight, counts in zip(weights, one.counts, strict=True):
        title, body = counts.get(number, (0, 0))
        often = TITLE_WEIGHT * title + BODY_WEIGHT * body
        if often:
            score += weight * often * (_K1 + 1) / (often + length)
    return Best(-round(score * SCORE_UNIT), space, number, one.root.kinds[fact.kind])


def _counts(space: Opened, phrase: Phrase) -> Counts:
    """How often a phrase stands in each document that has it."""
    if len(phrase.words) > 1:
        return _phrase_counts(space, phrase)
    found: Counts = {}
    for data in _data(space, phrase, 0):
        values = iter(read_numbers(data))
        number = -1
        for step in values:
            number += step
            if step < 1 or number >= space.root.documents:
                raise DecodeError(0, "the documents of a word are out of order")
            counted = next(values, None)
            title = next(values, None) if counted is not None and counted & 1 else 0
            if counted is None or title is None:
                raise DecodeError(len(data), "the documents of a word are cut off")
            before = found.get(number, (0, 0))
            found[number] = (before[0] + title, before[1] + (counted >> 1))
    return found


def _phrase_counts(space: Opened, phrase: Phrase) -> Counts:
    """Documents where the words of a phrase stand one behind the other."""
    ends: dict[int, set[int]] = {}
    for index in range(len(phrase.words)):
        places = _places(space, phrase, index)
        if index:
            places = {
                number: {place for place in some if place - 2 in ends[number]}
                for number, some in places.items()
                if number in ends
            }
        ends = places
    found: Counts = {}
    for number, some in ends.items():
        if some:
            body = sum(place & 1 for place in some)
            found[number] = (len(some) - body, body)
    return found


def _places(space: Opened, phrase: Phrase, index: int) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    left = PHRASE_PLACES_MAX
    for data in _data(space, phrase, index):
        values = read_numbers(data)
        at, number = 0, -1
        while at < len(values):
            number += values[at]
            count = values[at + 1] if at + 1 < len(values) else 0
            steps = values[at + 2 : at + 2 + count]
            if values[at] < 1 or number >= space.root.documents or len(steps) != count or not count:
                raise DecodeError(0, "the places of a word are cut off or out of order")
            left -= count
            if left < 0 or count > INDEX_PLACES_MAX:
                raise DecodeError(0, "a word of the phrase stands in too many places")
            at += 2 + count
            place, some = 0, found.setdefault(number, set())
            for step in steps:
                place += step
                some.add(place)
    return found


def _data(space: Opened, phrase: Phrase, index: int) -> list[bytes]:
    term, is_prefix = _term(phrase, index)
    shards = [Words(_block(space, part)) for part in _parts(space.root, phrase, index)]
    return merge_terms(shards, term, is_prefix=is_prefix)


def _parts(root: Root, phrase: Phrase, index: int) -> list[Part]:
    term, is_prefix = _term(phrase, index)
    series = root.words if len(phrase.words) == 1 else root.places
    return parts_of(series, term, is_prefix=is_prefix)


def _term(phrase: Phrase, index: int) -> tuple[bytes, bool]:
    is_last = index == len(phrase.words) - 1
    return phrase.words[index].encode(), phrase.is_prefix and is_last


def _block(space: Opened, part: Part) -> bytes:
    block = space.blocks.get(part.cid)
    if block is None:
        raise DecodeError(0, f"block {part.cid} of its index is missing")
    return block
