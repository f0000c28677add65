"""Messages among the documents that search finds: on this node only, in a space that is nobody's.

Source: docs/messages.md, "Finding them". A message is a row of the catalogue and an entry of the
index like a document, of kind "message"; it has no blocks. Its space has an owner that no person
is, so it cannot be named, shared or published. What an edit or a deletion changes, changes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dms3.core.cid import RAW, Cid
from dms3.core.database import Connection, Database
from dms3.core.ids import Root, SpaceId
from dms3.dm3.message import MessageType
from dms3.io import catalogue, index
from dms3.io import messages as tables
from dms3.messaging.operations import Kept, State
from dms3.node.message_folding import fold
from dms3.node.shelving import remove_document
from dms3.search.kind import MESSAGE

MESSAGES = SpaceId(b"messages".ljust(32, b"\0"))
"""The space of messages; no key has this number, so nobody can grant it."""

_NOBODY = Root(b"")
_SOURCE = "message:"
_US_PER_MS = 1_000
_LAST_SECOND = 253_402_300_799  # of the year 9999
_CHANGES = (MessageType.EDIT, MessageType.DELETE_REQUEST)


def shelve(connection: Connection, kept: Sequence[Kept]) -> None:
    """Make `kept` searchable, and let what they change of others follow."""
    for one in kept:
        if one.state is State.HELD:
            continue  # nobody knows yet whose it is
        if one.type in tables.SHOWN:
            _follow(connection, one)
        elif one.type in _CHANGES and one.reference:
            original = _original(connection, one)
            if original is not None:
                _follow(connection, original)


def hash_of(source: str) -> str:
    """The hash of the message behind a document's source."""
    return source.removeprefix(_SOURCE)


def text_now(connection: Connection, original: Kept) -> str | None:
    """What `original` says after its sender's edits; None once it was deleted."""
    about = [one.kept for one in tables.about(connection, [original.hash])]
    says = fold(original, about)
    if says.deleted:
        return None
    return "\n".join([says.text, *(item.name for item in says.attachments if item.name)])


def _original(connection: Connection, change: Kept) -> Kept | None:
    """The message that is changed in the end, through edits of edits."""
    wanted, seen = change.reference, set[str]()
    while wanted not in seen and len(seen) < 64:
        seen.add(wanted)
        found = tables.by_hash(connection, wanted)
        if found is None:
            return None
        if found.kept.type in tables.SHOWN:
            return found.kept
        wanted = found.kept.reference
    return None


def _follow(connection: Connection, original: Kept) -> None:
    """The entry of `original` as it should be now."""
    space = catalogue.add_space(
        connection, MESSAGES, MESSAGE, _NOBODY, original.sent_ms * _US_PER_MS
    )
    source = _SOURCE + original.hash
    before = catalogue.known(connection, space, [source]).get(source)
    if before is not None:
        remove_document(connection, before)
    text = text_now(connection, original)
    if not text or not text.strip():
        return
    number = catalogue.next_number(connection)
    when_us = original.order_ms * _US_PER_MS
    title = _title(original)
    size = len(text.encode("utf-8", "surrogatepass"))
    entry = index.Entry(number, title, text, size, when_us, when_us)
    (container,) = index.put(connection, space, MESSAGE, [entry])
    row = catalogue.plain_row(
        number=number,
        space=space,
        source=source,
        kind=MESSAGE,
        cid=Cid.of_digest(RAW, bytes.fromhex(original.hash.removeprefix("0x"))),
        now_us=when_us,
    )
    catalogue.put(
        connection,
        [replace(row, container=container, name=original.person, title=title, bytes=size)],
    )
    catalogue.put_texts(connection, [(number, text)])


def _title(one: Kept) -> str:
    """Who and when; another device or an import may bring an instant that no calendar has."""
    when = datetime.fromtimestamp(min(one.order_ms // 1_000, _LAST_SECOND), UTC)
    return f"{one.sender}, {when:%Y-%m-%d %H:%M} UTC"


async def place_messages(database: Database, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`hits`, those of messages with `hash` and `person`: opened there, and not as a file.

    They lose their content identifier, which nobody but their sender and receiver shall ask for.
    """

    def work() -> list[dict[str, Any]]:
        with database.read() as connection:
            return [_placed(connection, hit) for hit in hits]

    if not any(hit["kind"] == MESSAGE for hit in hits):
        return hits
    return await asyncio.to_thread(work)


def _placed(connection: Connection, hit: dict[str, Any]) -> dict[str, Any]:
    if hit["kind"] != MESSAGE:
        return hit
    wanted = hash_of(hit["source"])
    found = tables.by_hash(connection, wanted)
    person = None if found is None else found.kept.person
    return hit | {"cid": "", "source": "", "hash": wanted, "person": person}
