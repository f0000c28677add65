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

_LOOKS_BYTES = (2_048, 16_384)  # most documents show early what they are about
_WORD_BEFORE = re.compile(r"[^\W_]*")
_LEAD_CHARS = SNIPPET_CHARS // 4  # text shown before the first match
_WINDOW_CHARS = SNIPPET_CHARS - _LEAD_CHARS  # text shown from the first match on
_WORD_CHARS = 40  # how far back the beginning of a word is looked for


@dataclass(frozen=True, slots=True)
class Snippet:
    """At most about SNIPPET_CHARS characters on one line, and the matches in it, in order."""

    text: str
    marks: tuple[tuple[int, int], ...]


def make_snippet(text: str, query: Query) -> Snippet:
    """The part of `text` with the most different phrases of `query`, else its beginning."""
    forms = _forms(query)
    place = _best_place(fold(text), forms)
    return _snippet(text, place, forms)


def cut_snippet(data: bytes, encoding: str, query: Query) -> Snippet | None:
    """The snippet of `data` around its densest matches, or None when there are none to be seen.

    Looks at plain ASCII words only, in a text `encoding` that contains ASCII, which makes it fast
    enough to run over whole documents; just the bytes that are shown are decoded.
    """
    forms = _forms(query)
    place = _find_place(data, forms)
    if place is None:
        return None
    start = max(0, place - _LEAD_CHARS - _WORD_CHARS)
    before = data[start:place].decode(encoding, "ignore")
    after = data[place : place + 2 * SNIPPET_CHARS].decode(encoding, "ignore")
    return _snippet(before + after, len(before), forms)


def find_marks(text: str, query: Query) -> tuple[tuple[int, int], ...]:
    """Where phrases of `query` stand in `text`, in order and without overlap."""
    return _marks(text, _forms(query))


@dataclass(frozen=True, slots=True)
class _Forms:
    """What the phrases of a query look like in folded text, and as ASCII bytes in lower case.

    That a word begins there is looked at afterwards: a plain first letter makes matching fast.
    `ascii`: number, first word and form of each phrase that is plain ASCII.
    """

    count: int
    folded: tuple[re.Pattern[str], ...]
    ascii: tuple[tuple[int, bytes, re.Pattern[bytes]], ...]


@lru_cache(maxsize=64)  # the hits of a search, and the searches of a person who types on
def _forms(query: Query) -> _Forms:
    phrases = query.phrases
    folded = tuple(
        re.compile(
            r"[\W_]+".join(map(re.escape, phrase.words))
            + (r"[^\W_]*" if phrase.is_prefix else r"(?![^\W_])")
        )
        for phrase in phrases
    )
    found: list[tuple[int, bytes, re.Pattern[bytes]]] = []
    for index, phrase in enumerate(phrases):
        words = [word.encode() for word in phrase.words]
        if all(word.isascii() for word in words):
            end = rb"" if phrase.is_prefix else rb"(?![0-9a-z\x80-\xff])"
            form = rb"[^0-9a-z\x80-\xff]+".join(map(re.escape, words)) + end
            found.append((index, words[0], re.compile(form)))
    return _Forms(len(phrases), folded, tuple(found))


def _snippet(text: str, place: int, forms: _Forms) -> Snippet:
    """`text` around `place`, on one line."""
    start = _word_start(text, max(0, place - _LEAD_CHARS))
    end = min(len(text), start + SNIPPET_CHARS)
    shown = _one_line(text[start:end])
    if end < len(text) and " " in shown[SNIPPET_CHARS // 2 :]:
        shown = shown.rpartition(" ")[0]  # no half word at the end
    return Snippet(shown, _marks(shown, forms))


def _marks(text: str, forms: _Forms) -> tuple[tuple[int, int], ...]:
    folded = fold(text)
    if forms.count == 1:  # in order already, and without overlap
        return tuple(_spans(folded, forms.folded[0]))
    marks: list[tuple[int, int]] = []
    for start, end in sorted(span for pattern in forms.folded for span in _spans(folded, pattern)):
        if not marks or start >= marks[-1][1]:
            marks.append((start, end))
        elif end > marks[-1][1]:
            marks[-1] = (marks[-1][0], end)
    return tuple(marks)


def _find_place(data: bytes, forms: _Forms) -> int | None:
    """Where in `data` a window begins that shows all phrases, or the most; None without any.

    Looks further than the beginning only while phrases are missing there, and through everything
    only when the beginning has none at all.
    """
    for length in (*_LOOKS_BYTES, len(data)):
        is_last = length >= min(len(data), _LOOKS_BYTES[-1])
        place = _densest_place(data[:length].lower(), forms, all_phrases=not is_last)
        if place is not None or length >= len(data):
            return place
    return None


def _densest_place(lower: bytes, forms: _Forms, *, all_phrases: bool) -> int | None:
    """Where the first window begins that shows every ASCII phrase, else (if wanted) the most.

    From the phrase that comes last, each of the others is sought again within a window before it;
    SNIPPET_MATCHES_MAX times at most.
    """
    start = 0
    found: list[tuple[int, int]] = []
    places = [-1] * len(forms.ascii)
    for _ in range(SNIPPET_MATCHES_MAX):
        for number, (index, word, form) in enumerate(forms.ascii):
            if places[number] < start:
                places[number] = _next_place(lower, word, form, start)
                found.append((places[number], index))
        first = min(places, default=-1)
        start = max(places, default=-1) - _WINDOW_CHARS + 1
        if first < 0:
            break
        if first >= start:
            return first
    found = sorted(one for one in found if one[0] >= 0)
    return None if all_phrases or not found else _densest(found, forms.count)


def _next_place(lower: bytes, word: bytes, pattern: re.Pattern[bytes], start: int) -> int:
    """The first place from `start` on where `pattern`, whose first word is `word`, begins a word.

    -1 when there is none, or none among SNIPPET_TRIES_MAX places of `word`.
    """
    place = start - 1
    for _ in range(SNIPPET_TRIES_MAX):
        place = lower.find(word, place + 1)
        if place < 0:
            return -1
        before = lower[place - 1 : place]
        if not before.isalnum() and not before > b"\x7f" and pattern.match(lower, place):
            return place
    return -1


def _spans(folded: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Where `pattern` begins a word of `folded`."""
    for match in pattern.finditer(folded):
        if not _in_word(folded, match.start() - 1):
            yield match.span()


def _best_place(folded: str, forms: _Forms) -> int:
    """Where a window begins that shows the most different phrases; the first of equals."""
    found = sorted(
        (start, index)
        for index, pattern in enumerate(forms.folded)
        for start, _ in itertools.islice(_spans(folded, pattern), SNIPPET_MATCHES_MAX)
    )
    return _densest(found, forms.count)


def _densest(places: list[tuple[int, int]], phrases: int) -> int:
    """Of sorted (place, phrase number): where a window shows the most different phrases."""
    best, most, end = 0, 0, 0
    shown = [0] * phrases
    for start, index in places:
        while end < len(places) and places[end][0] < start + _WINDOW_CHARS:
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
    before = text[max(0, start - _WORD_CHARS) : start]
    match = _WORD_BEFORE.match(before[::-1])
    length = 0 if match is None else match.end()
    return start if length == _WORD_CHARS else start - length


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return " ".join("".join(char if char.isprintable() else " " for char in line).split())
