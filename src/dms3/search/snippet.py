"""The piece of a document that shows why it was found, with the places of the matched words.

Source: docs/interfaces.md, `search` (snippet). A snippet is plain text; marks are (start, end)
pairs of character positions in it, for whoever shows it to make bold. It is made from the document
itself, never from the index; words are compared without case and accents.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from dms3.core.limits import SNIPPET_CHARS, SNIPPET_MATCHES_MAX, SNIPPET_TRIES_MAX
from dms3.search.query import Query, fold

_SPACES = re.compile(r"\s+")
_FIRST_LOOK_BYTES = 16_384  # most documents show early what they are about
_LEAD_CHARS = SNIPPET_CHARS // 4  # text shown before the first match


@dataclass(frozen=True, slots=True)
class Snippet:
    """At most about SNIPPET_CHARS characters on one line, and the matches in it, in order."""

    text: str
    marks: tuple[tuple[int, int], ...]


def make_snippet(text: str, query: Query) -> Snippet:
    """The part of `text` with the most different phrases of `query`, else its beginning."""
    place = _best_place(fold(text), query)
    start = _word_start(text, max(0, place - _LEAD_CHARS))
    end = min(len(text), start + SNIPPET_CHARS)
    shown = _one_line(text[start:end])
    if end < len(text) and " " in shown[SNIPPET_CHARS // 2 :]:
        shown = shown.rpartition(" ")[0]  # no half word at the end
    return Snippet(shown, find_marks(shown, query))


def find_marks(text: str, query: Query) -> tuple[tuple[int, int], ...]:
    """Where phrases of `query` stand in `text`, in order and without overlap."""
    folded = fold(text)
    found = sorted(span for pattern in _patterns(query) for span in _spans(folded, pattern))
    marks: list[tuple[int, int]] = []
    for start, end in found:
        if not marks or start >= marks[-1][1]:
            marks.append((start, end))
        elif end > marks[-1][1]:
            marks[-1] = (marks[-1][0], end)
    return tuple(marks)


def find_part(data: bytes, query: Query) -> tuple[int, int] | None:
    """Where in text `data` (an encoding that contains ASCII) a snippet should be cut, or None.

    Looks at plain ASCII words only, which makes it fast enough to run over whole documents; the
    text between the two byte positions is then looked at closely by `make_snippet`.
    """
    for length in (_FIRST_LOOK_BYTES, len(data)):
        places = _all_places(data[:length].lower(), query)
        if places:
            best = _densest(places, len(query.phrases))
            return max(0, best - SNIPPET_CHARS), best + 3 * SNIPPET_CHARS
    return None


def _all_places(lower: bytes, query: Query) -> list[tuple[int, int]]:
    """Sorted (place, phrase number) of the ASCII phrases of `query` in `lower`."""
    places: list[tuple[int, int]] = []
    wanted = SNIPPET_MATCHES_MAX if len(query.phrases) > 1 else 1  # of one phrase, the first
    for index, (word, pattern) in enumerate(_byte_patterns(query)):
        found = itertools.islice(_byte_places(lower, word, pattern), wanted)
        places += ((place, index) for place in found)
    return sorted(places)


def _byte_places(lower: bytes, word: bytes, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """The first places where `pattern`, which begins with `word`, begins a word of `lower`."""
    start = -1
    for _ in range(SNIPPET_TRIES_MAX):
        start = lower.find(word, start + 1)
        if start < 0:
            return
        before = lower[start - 1 : start]
        if not before.isalnum() and not before > b"\x7f" and pattern.match(lower, start):
            yield start


@lru_cache(maxsize=64)  # the hits of a search, and the searches of a person who types on
def _patterns(query: Query) -> tuple[re.Pattern[str], ...]:
    """What each phrase looks like in folded text, from the beginning of its first word on.

    That a word begins there is looked at afterwards: a plain first letter makes matching fast.
    """
    return tuple(
        re.compile(
            r"[\W_]+".join(map(re.escape, phrase.words))
            + (r"[^\W_]*" if phrase.is_prefix else r"(?![^\W_])")
        )
        for phrase in query.phrases
    )


@lru_cache(maxsize=64)
def _byte_patterns(query: Query) -> tuple[tuple[bytes, re.Pattern[bytes]], ...]:
    """First word and form of each phrase that is plain ASCII, for bytes in lower case."""
    found: list[tuple[bytes, re.Pattern[bytes]]] = []
    for phrase in query.phrases:
        words = [word.encode() for word in phrase.words]
        if all(word.isascii() for word in words):
            end = rb"" if phrase.is_prefix else rb"(?![0-9a-z\x80-\xff])"
            form = rb"[^0-9a-z\x80-\xff]+".join(map(re.escape, words)) + end
            found.append((words[0], re.compile(form)))
    return tuple(found)


def _spans(folded: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Where `pattern` begins a word of `folded`."""
    for match in pattern.finditer(folded):
        if not _in_word(folded, match.start() - 1):
            yield match.span()


def _best_place(folded: str, query: Query) -> int:
    """Where a window begins that shows the most different phrases; the first of equals."""
    found = sorted(
        (start, index)
        for index, pattern in enumerate(_patterns(query))
        for start, _ in itertools.islice(_spans(folded, pattern), SNIPPET_MATCHES_MAX)
    )
    return _densest(found, len(query.phrases))


def _densest(places: list[tuple[int, int]], phrases: int) -> int:
    """Of sorted (place, phrase number): where a window shows the most different phrases."""
    best, most, end = 0, 0, 0
    shown = [0] * phrases
    for start, index in places:
        while end < len(places) and places[end][0] < start + SNIPPET_CHARS - _LEAD_CHARS:
            shown[places[end][1]] += 1
            end += 1
        different = phrases - shown.count(0)
        if different > most:
            best, most = start, different
            if most == phrases:
                break
        shown[index] -= 1
    return best


def _in_word(text: str, place: int) -> bool:
    return 0 <= place < len(text) and text[place].isalnum()


def _word_start(text: str, start: int) -> int:
    """The beginning of the word at `start`, or `start` when it is far away."""
    for place in range(start, max(0, start - 40), -1):
        if not _in_word(text, place - 1):
            return place
    return start


def _one_line(text: str) -> str:
    line = _SPACES.sub(" ", text).strip()
    if line.isprintable():
        return line
    return _SPACES.sub(" ", "".join(char if char.isprintable() else " " for char in line)).strip()
