"""Names of things as text, as functions and people write them: hashes, agents, anchors.

Source: docs/dapps.md, "Names". A hash is CID text, an agent 52 letters and digits (base32), and any
other text an anchor: the hash that an entry of that text would have, so that everybody who writes
the same word means the same place.
"""

from __future__ import annotations

from dms3.chain.entry import make_entry
from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.multibase import decode_base32

AGENT_BYTES = 32
AGENT_CHARS = 52
ANCHOR_CHARS_MAX = 256
BYTES_CHARS_MAX = 4_096


def hash_of(text: object) -> Cid:
    """The hash that `text` names; raises `argument_invalid`."""
    try:
        return Cid.parse(_text(text))
    except DecodeError as error:
        raise Dms3Error(
            "argument_invalid",
            f"{str(text)[:64]!r} is not a hash: {error.reason}.",
            hint="A hash begins with bafyrei and is what commit and entry put answer.",
        ) from error


def agent_of(text: object) -> bytes:
    """The agent key that `text` names; raises `argument_invalid`."""
    agent = _agent(_text(text))
    if agent is None:
        raise Dms3Error(
            "argument_invalid",
            f"{str(text)[:64]!r} is not an agent.",
            hint=f"An agent has {AGENT_CHARS} letters and digits; dms3 id show lists yours.",
        )
    return agent


def place_of(text: object) -> bytes:
    """What links begin or end at: a hash, an agent, or an anchor; raises `argument_invalid`."""
    given = _text(text)
    agent = _agent(given)
    if agent is not None:
        return agent
    try:
        return Cid.parse(given).binary
    except DecodeError:
        return anchor(given).binary


def anchor(word: str) -> Cid:
    """The hash that stands for `word`; raises `argument_invalid`."""
    if not 0 < len(word) <= ANCHOR_CHARS_MAX:
        raise Dms3Error("argument_invalid", f"An anchor has 1 to {ANCHOR_CHARS_MAX} characters.")
    try:
        return make_entry({"anchor": word})[0]
    except ValueError as error:
        raise Dms3Error("argument_invalid", f"{word[:40]!r} is no anchor: {error}.") from error


def bytes_of(text: object, what: str) -> bytes:
    """The bytes that base32 `text` stands for; raises `argument_invalid`."""
    given = _text(text)
    try:
        return decode_base32(given[: BYTES_CHARS_MAX + 1] if len(given) <= BYTES_CHARS_MAX else "!")
    except DecodeError as error:
        raise Dms3Error("argument_invalid", f"{given[:40]!r} is no {what}.") from error


def hex_of(value: object, what: str) -> bytes:
    """The bytes that hex `value` stands for; raises `argument_invalid`."""
    try:
        return bytes.fromhex(value if isinstance(value, str) else "no hex")
    except ValueError:
        raise Dms3Error("argument_invalid", f"{str(value)[:40]!r} is no {what}.") from None


def _agent(text: str) -> bytes | None:
    if len(text) != AGENT_CHARS:
        return None
    try:
        found = decode_base32(text)
    except DecodeError:
        return None
    return found if len(found) == AGENT_BYTES else None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise Dms3Error("argument_invalid", f"{str(value)[:64]!r} is not text.")
