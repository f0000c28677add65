"""What a person types into the search box: words, "phrases", -not, OR and prefix*.

Source: docs/interfaces.md, `search QUERY`. Any text is a query or a clear refusal; the text handed
to the engine is made from the parsed form, so nothing a person types is engine syntax. Words next
to each other must all occur; `a OR b` holds for the two words beside it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from dms3.core.errors import Dms3Error
from dms3.core.limits import QUERY_CHARS_MAX, QUERY_WORDS_MAX

_PIECE = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand next to each other; often just one.

    `text`: as typed. `is_prefix`: the last word may go on.
    """

    text: str
    words: tuple[str, ...]
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Every group must match by one of its phrases, and none of `excluded`."""

    groups: tuple[tuple[Phrase, ...], ...]
    excluded: tuple[Phrase, ...] = ()

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """Every phrase that is looked for."""
        return tuple(phrase for group in self.groups for phrase in group)


def parse_query(text: str) -> Query:
    """The query in `text`; raises `argument_invalid` when it asks for nothing or for too much."""
    if len(text) > QUERY_CHARS_MAX:
        raise _refused(f"The query is longer than {QUERY_CHARS_MAX} characters.")
    groups: list[list[Phrase]] = []
    excluded: list[Phrase] = []
    joins = False  # the last piece was OR
    for piece in _PIECE.finditer(_clean(text)):
        minus, quoted, bare = piece.groups()
        if bare == "OR" and not minus:
            joins = bool(groups)
            continue
        phrase = _phrase(bare if quoted is None else quoted, is_quoted=quoted is not None)
        if phrase is None:
            continue
        if minus:
            excluded.append(phrase)
        elif joins:
            groups[-1].append(phrase)
        else:
            groups.append([phrase])
        joins = False
    _check(groups, excluded)
    return Query(tuple(tuple(group) for group in groups), tuple(excluded))


def match_text(query: Query) -> str:
    """The FTS5 expression of `query`."""
    needed = " AND ".join(_any_of(group) for group in query.groups)
    if not query.excluded:
        return needed
    return f"({needed}) NOT {_any_of(query.excluded)}"


def phrase_text(phrase: Phrase) -> str:
    """The FTS5 expression of one phrase: a string, which FTS5 cuts into words itself."""
    return '"' + phrase.text.replace('"', '""') + '"' + (" *" if phrase.is_prefix else "")


def fold(text: str) -> str:
    """`text` without case and accents, of the same length, so that places in both are equal."""
    if text.isascii():
        return text.lower()
    table = {ord(char): _fold_char(char) for char in sorted(set(text)) if not char.isascii()}
    return text.translate(table).lower()


def _fold_char(char: str) -> str:
    parts = unicodedata.normalize("NFD", char)
    lower = (parts[0] if all(map(unicodedata.combining, parts[1:])) else char).lower()
    return lower if len(lower) == 1 else char


def _clean(text: str) -> str:
    """Composed characters; nothing that cannot be stored as UTF-8 or ends a C string."""
    text = unicodedata.normalize("NFC", text)
    return text.encode("utf-8", "replace").decode().replace("\0", " ")


def _phrase(text: str, *, is_quoted: bool) -> Phrase | None:
    """The phrase in one piece of a query, or None when it holds no word."""
    is_prefix = not is_quoted and text.endswith("*") and WORD.match(text[-2:-1]) is not None
    text = text.rstrip("*") if is_prefix else text
    words = tuple(WORD.findall(fold(text)))
    return Phrase(text, words, is_prefix) if words else None


def _any_of(phrases: tuple[Phrase, ...]) -> str:
    return "(" + " OR ".join(phrase_text(phrase) for phrase in phrases) + ")"


def _check(groups: list[list[Phrase]], excluded: list[Phrase]) -> None:
    if not groups:
        hint = "Add a word that must occur." if excluded else "Type at least one word."
        raise Dms3Error("argument_invalid", "The query names no word to look for.", hint=hint)
    phrases = [phrase for group in groups for phrase in group] + excluded
    if sum(len(phrase.words) for phrase in phrases) > QUERY_WORDS_MAX:
        raise _refused(f"The query has more than {QUERY_WORDS_MAX} words.")


def _refused(message: str) -> Dms3Error:
    return Dms3Error("argument_invalid", message, hint="Ask for less at once.")
