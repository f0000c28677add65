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

from dms3.core.limits import SNIPPET_CHARS, SNIPPET_MATCHES_MAX, SNIPPET_TRIES_MAX
from dms3.search.query import WORD, Phrase, Query, fold

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
    found = sorted(place for phrase in query.phrases for place in _places(folded, phrase))
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
    for index, phrase in enumerate(query.phrases):
        words = [word.encode() for word in phrase.words]
        if all(word.isascii() for word in words):
            found = itertools.islice(_byte_places(lower, words, phrase), wanted)
            places += ((place, index) for place in found)
    return sorted(places)


def _byte_places(lower: bytes, words: list[bytes], phrase: Phrase) -> Iterator[int]:
    """The first places where `words` stand next to each other in `lower`."""
    more = rb"[0-9a-z\x80-\xff]*" if phrase.is_prefix else rb"(?![0-9a-z\x80-\xff])"
    pattern = re.compile(rb"[^0-9a-z\x80-\xff]+".join(map(re.escape, words)) + more)
    start = -1
    for _ in range(SNIPPET_TRIES_MAX):
        start = lower.find(words[0], start + 1)
        if start < 0:
            return
        before = lower[start - 1] if start else 0
        if before < 0x80 and not chr(before).isalnum() and pattern.match(lower, start):
            yield start


def _best_place(folded: str, query: Query) -> int:
    """Where a window begins that shows the most different phrases; the first of equals."""
    found = sorted(
        (start, index)
        for index, phrase in enumerate(query.phrases)
        for start, _ in _places(folded, phrase)
    )
    return _densest(found, len(query.phrases))


def _densest(places: list[tuple[int, int]], phrases: int) -> int:
    """Of sorted (place, phrase number): where a window shows the most different phrases."""
    best, most = 0, 0
    for position, (start, _) in enumerate(places):
        window = {
            index
            for other, index in places[position : position + SNIPPET_MATCHES_MAX]
            if other < start + SNIPPET_CHARS - _LEAD_CHARS
        }
        if len(window) > most:
            best, most = start, len(window)
        if most == phrases:
            break
    return best


def _places(folded: str, phrase: Phrase) -> Iterator[tuple[int, int]]:
    """The first places of `phrase`: its first word is looked for fast, the rest compared there."""
    gap = r"[\W_]+"
    more = r"[^\W_]*" if phrase.is_prefix else ""
    pattern = re.compile(gap.join(re.escape(word) for word in phrase.words) + more)
    found, start = 0, -1
    for _ in range(SNIPPET_TRIES_MAX):
        start = folded.find(phrase.words[0], start + 1)
        if start < 0 or found == SNIPPET_MATCHES_MAX:
            return
        match = pattern.match(folded, start)
        if match and not _in_word(folded, start - 1) and not _in_word(folded, match.end()):
            found += 1
            yield match.span()


def _in_word(text: str, place: int) -> bool:
    return 0 <= place < len(text) and WORD.match(text, place) is not None


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
