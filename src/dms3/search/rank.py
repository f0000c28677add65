"""Scores that compare across containers: each container's BM25 corrected by what all of them know.

Source: research on bounded containers (summed document frequencies bring a merged result to the
order of one index); Robertson and Zaragoza, "The Probabilistic Relevance Framework". An engine
weighs a word by how rare it is in its own container; the correction is the quotient of the
weights over all opened containers and over that one, exact for one word, close for several.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

TITLE_WEIGHT = 4.0  # a word in the title counts as four in the text
BODY_WEIGHT = 1.0
SCORE_UNIT = 1_000_000  # scores leave as whole millionths
_WEIGHT_MIN = 1e-6  # FTS5 gives a word that is in most documents this weight


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one container or a sum: how many documents there are, and how many hold each phrase."""

    documents: int
    frequencies: tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Ranked:
    """A document with its corrected score in millionths, higher is better; order is best first."""

    negated_score: int
    document: int

    @property
    def score(self) -> int:
        """The score in millionths."""
        return -self.negated_score


def rarity(documents: int, frequency: int) -> float:
    """The weight of a phrase that `frequency` of `documents` hold, as FTS5 computes it."""
    weight = math.log((documents - frequency + 0.5) / (frequency + 0.5))
    return weight if weight > 0 else _WEIGHT_MIN


def summed(parts: Iterable[Statistics]) -> Statistics:
    """The statistics of containers (maybe none) taken together; all about the same phrases."""
    parts = list(parts)
    columns = zip(*(part.frequencies for part in parts), strict=True)
    return Statistics(
        sum(part.documents for part in parts), tuple(sum(column) for column in columns)
    )


def correction(local: Statistics, together: Statistics) -> float:
    """What a score of one container is multiplied with to compare with those of the others."""
    present = [index for index, count in enumerate(local.frequencies) if count]
    if not present:
        return 1.0
    ours = sum(rarity(local.documents, local.frequencies[index]) for index in present)
    theirs = sum(rarity(together.documents, together.frequencies[index]) for index in present)
    return theirs / ours


def merge(rows: Iterable[tuple[int, float, float]], limit: int) -> list[Ranked]:
    """The best `limit` of (document, engine's rank, correction); an engine's rank is negative."""
    found = [Ranked(round(rank * factor * SCORE_UNIT), document) for document, rank, factor in rows]
    return sorted(found)[:limit]
