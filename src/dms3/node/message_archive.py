"""Every conversation as one file, and back: what another home can take over, verified line by line.

Source: docs/messages.md, "Export and import". The file is JSON lines in gzip and not encrypted. Of
a line only the signed text is believed, and that by its signature: who wrote it, when and about
what stands in there. Whose keys cannot be looked up now is held until they can.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    ARCHIVE_BATCH_MESSAGES,
    ARCHIVE_LINE_BYTES_MAX,
    ARCHIVE_REFUSED_LISTED_MAX,
    MIB,
)
from dms3.io import messages as tables
from dms3.messaging.items import PERSON
from dms3.messaging.operations import Kept
from dms3.messaging.people import blank
from dms3.node.message_checking import Checker
from dms3.node.node import Node
from dms3.node.table import BlobOrPath, Progress, Result, Step
from dms3.storage.operations import Item

FORMAT = "dms3 messages"
VERSION = 1
_GZIP = 31  # window bits that mean gzip to zlib
_US_PER_MS = 1_000


async def export(node: Node) -> AsyncIterator[Step]:
    """Write everything into the spool; steps, and last the upload that holds it."""
    people = (await node.call("mailbox.people"), await node.call("names.own"))
    total = await asyncio.to_thread(_count, node)
    writing = _Writing(node, people)
    upload = None
    try:
        while not writing.ended:
            await asyncio.to_thread(writing.step)
            yield Progress(writing.messages, max(total, writing.messages), "messages")
        upload = await asyncio.to_thread(writing.out.finish)
    finally:
        if upload is None:
            writing.out.abandon()
    yield Result(
        {
            "blob": upload.id,
            "name": "messages.jsonl.gz",
            "messages": writing.messages,
            "people": len(people[0]),
            "size": upload.size,
        }
    )


def _count(node: Node) -> int:
    with node.store.read() as connection:
        return tables.last_number(connection)


class _Writing:
    """An export that goes on a batch at a time; for threads, one after the other."""

    def __init__(self, node: Node, people: tuple[Sequence[Any], Any]) -> None:
        self._node = node
        self._after = 0
        self._pack = zlib.compressobj(wbits=_GZIP)
        self.out = node.spool.begin()
        self.messages = 0
        self.ended = False
        root = node.identity.root.hex()
        made_us = node.clock.now().wall_us
        self._line(format=FORMAT, v=VERSION, root=root, names=people[1].names, made_us=made_us)
        for one in people[0]:
            self._line(kind="person", id=one.id, names=one.names, address=one.address,
                       root=one.root, standing=one.standing)  # fmt: skip

    def step(self) -> None:
        """The next batch; sets `ended` after the last."""
        with self._node.store.read() as connection:
            found = tables.everything(connection, self._after, ARCHIVE_BATCH_MESSAGES)
        for one in found:
            kept = one.kept
            self._line(kind="message", hash=kept.hash, person=kept.person, mine=kept.mine,
                       state=str(kept.state), problem=kept.problem, order_ms=kept.order_ms,
                       information=kept.information, text=kept.text)  # fmt: skip
        self.messages += len(found)
        if found:
            self._after = found[-1].number
            return
        self._line(kind="end", messages=self.messages)
        self.out.write(self._pack.flush())
        self.ended = True

    def _line(self, **values: Any) -> None:
        data = json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        self.out.write(self._pack.compress(data))


@dataclass(slots=True)
class _Taken:
    """What an import did so far."""

    messages: int = 0
    new: int = 0
    held: int = 0
    people: int = 0
    refused_count: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """Note a line that was left out."""
        self.refused_count += 1
        if len(self.refused) < ARCHIVE_REFUSED_LISTED_MAX:
            self.refused.append({"line": line, "reason": reason})


async def bring_in(node: Node, file: BlobOrPath) -> AsyncIterator[Step]:
    """Take in what an export holds; steps, and last what was new.

    Raises `argument_invalid` for a file that is no export, `content_invalid` for one that is cut
    off; what was taken by then stays, and a second time takes nothing twice.
    """
    lines = _lines(node, file)
    checker = Checker(node.call, node.identity.tree)
    await checker.start()
    taken = _Taken()
    while batch := await asyncio.to_thread(_batch, lines):
        people = [value for _, value in batch if value.get("kind") == "person"]
        checker.note(people)
        await _take(node, checker, batch, taken)
        yield Progress(taken.messages, None, "messages")
    taken.people = await _introduce(node, checker)
    if file.blob is not None:
        node.spool.remove(file.blob)
    yield Result(
        {
            "messages": taken.messages,
            "new": taken.new,
            "held": taken.held,
            "people": taken.people,
            "refused": taken.refused,
            "refused_count": taken.refused_count,
        }
    )


async def _take(
    node: Node, checker: Checker, batch: Sequence[tuple[int, Any]], taken: _Taken
) -> None:
    """Check the messages of `batch` and keep those that are right."""
    kept: list[Kept] = []
    now_ms = node.clock.now().wall_us // _US_PER_MS
    for number, value in batch:
        if value.get("kind") != "message":
            continue
        taken.messages += 1
        try:
            one = await checker.check(value)
            kept.append(replace(one, order_ms=min(one.order_ms, now_ms)))
        except DecodeError as error:
            taken.refuse(number, error.reason)
    before = await asyncio.to_thread(_count, node)
    news = await node.ports["messages"]("keep", tuple(kept)) if kept else ()
    if any(news):
        await node.call("mailbox.brought", before)
    for one, new in zip(kept, news, strict=True):
        taken.new += new
        taken.held += new and one.state == "held"


async def _introduce(node: Node, checker: Checker) -> int:
    """People whose messages came and who were not known, as names say who they are now."""
    items = []
    for resolved, standing in checker.met():
        record = blank(resolved.name, standing, 0)
        record = checker.complete(record, resolved)
        items.append(Item(PERSON, record.id, encode(record)))
    if items:
        await node.call("mailbox.introduce", tuple(items))
    return len(items)


def _batch(lines: Iterator[tuple[int, Any]]) -> list[tuple[int, Any]]:
    found = []
    size = 0
    for number, value in lines:
        found.append((number, value))
        size += len(str(value.get("text", "")))
        if len(found) >= ARCHIVE_BATCH_MESSAGES or size > MIB:
            break
    return found


def _lines(node: Node, file: BlobOrPath) -> Iterator[tuple[int, Any]]:
    """Number and value of every line but the first and the last, which have to be there."""
    blob = file.blob
    data = node.spool.read(blob) if blob is not None else _pieces(Path(file.value))
    ended = None
    count = 0
    for number, line in enumerate(_unpacked(data), 1):
        value = _object(line, number)
        if number == 1:
            _check_first(value)
        elif value.get("kind") == "end":
            ended = value.get("messages")
        else:
            count += value.get("kind") == "message"
            yield number, value
    if ended != count:
        raise Dms3Error(
            "content_invalid",
            f"The file is cut off: {count} messages are there, its end is not.",
            hint="Export again. What was there has been taken in.",
        )


def _check_first(value: Any) -> None:
    if value.get("format") != FORMAT:
        raise no_export()
    if value.get("v") != VERSION:
        raise Dms3Error(
            "home_newer",
            f"The export has version {str(value.get('v'))[:16]}; this program reads {VERSION}.",
            hint="Use the newer dms3.",
        )


def no_export() -> Dms3Error:
    """The error for a file that is something else."""
    return Dms3Error(
        "argument_invalid",
        "The file is not an export of messages.",
        hint="dms3 message export -o FILE writes one.",
    )


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        if number == 1:
            raise no_export()
        raise Dms3Error("content_invalid", f"Line {number} of the export is damaged.")
    return value


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(MIB):
                yield piece
    except OSError as cause:
        raise Dms3Error("argument_invalid", f"{path} cannot be read: {cause.strerror}.") from cause


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines in gzip data; one longer than ARCHIVE_LINE_BYTES_MAX is `content_invalid`."""
    unpack = zlib.decompressobj(wbits=_GZIP)
    rest = b""
    for piece in pieces:
        data = piece
        while data:
            try:
                rest += unpack.decompress(data, MIB)
            except zlib.error as cause:
                raise no_export() from cause
            data = unpack.unconsumed_tail
            *whole, rest = rest.split(b"\n")
            yield from whole
            if len(rest) > ARCHIVE_LINE_BYTES_MAX:
                raise Dms3Error("content_invalid", "A line of the export is too long.")
