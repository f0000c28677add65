"""The twelve words: 128 bits of entropy as BIP-39 words, and the seed every key is made from.

Source: BIP-39 (English list); docs/architecture.md, "Identity". This module draws no entropy and
stores nothing: the caller gives the sixteen bytes and keeps the words.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import cache

from mnemonic import Mnemonic

from dms3.core.errors import Dms3Error

WORD_COUNT = 12
ENTROPY_BYTES = 16
SEED_BYTES = 64
WORDS_TEXT_CHARS_MAX = 512  # twelve words of at most eight letters, with generous spacing
_SHOWN_CHARS_MAX = 16  # of a word that is not in the list, in an error message
_HINT = "Compare each word with the paper copy; the order matters."


@cache
def _list() -> Mnemonic:
    return Mnemonic("english")


@cache
def _index() -> dict[str, int]:
    return {word: number for number, word in enumerate(_list().wordlist)}


def words_of_entropy(entropy: bytes) -> str:
    """The twelve words of 16 bytes of `entropy`, separated by single spaces."""
    assert len(entropy) == ENTROPY_BYTES, f"twelve words hold 16 bytes, not {len(entropy)}"
    return str(_list().to_mnemonic(entropy))


def entropy_of_words(text: str) -> bytes:
    """The 16 bytes that the twelve words in `text` stand for.

    Case and spacing do not matter. Raises `words_invalid` (the caller's fault) naming the words
    that are not in the list by position, or saying that the checksum does not fit. Only words that
    are *not* in the list are repeated in the message; a right word never is.
    """
    words = _normal(text)
    if len(words) != WORD_COUNT:
        raise Dms3Error(
            "words_invalid", f"Expected {WORD_COUNT} words, found {len(words)}.", hint=_HINT
        )
    unknown = [
        f"word {place} ({word[:_SHOWN_CHARS_MAX]!r})"
        for place, word in enumerate(words, 1)
        if word not in _index()
    ]
    if unknown:
        verb = "is" if len(unknown) == 1 else "are"
        raise Dms3Error(
            "words_invalid",
            f"{', '.join(unknown)} {verb} not in the BIP-39 English word list.",
            hint=_HINT,
        )
    bits = 0
    for word in words:
        bits = bits << 11 | _index()[word]
    entropy = (bits >> 4).to_bytes(ENTROPY_BYTES, "big")
    if hashlib.sha256(entropy).digest()[0] >> 4 != bits & 0xF:  # BIP-39: 4 checksum bits
        raise Dms3Error(
            "words_invalid",
            "All twelve words are in the list, but their checksum does not fit: "
            "one of them is a different word, or two are exchanged.",
            hint=_HINT,
        )
    return entropy


def seed_of_words(text: str) -> bytes:
    """The 64-byte BIP-39 seed of the twelve words in `text`, with an empty BIP-39 passphrase.

    Raises `words_invalid` as `entropy_of_words` does. Costs 2,048 rounds of PBKDF2 (about 1 ms).
    """
    return bytes(_list().to_seed(words_of_entropy(entropy_of_words(text))))


def _normal(text: str) -> list[str]:
    if len(text) > WORDS_TEXT_CHARS_MAX:
        raise Dms3Error(
            "words_invalid",
            f"{len(text)} characters are too many for twelve words.",
            hint=_HINT,
        )
    return unicodedata.normalize("NFKD", text).lower().split()
