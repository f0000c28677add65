"""Back-end of places: the public overlay, which strangers keep; a bridge to machine "dht".

Source: docs/storage.md; `dht/chunks.py`. An object is cut into chunks under keys of their own; the
one under its name says how many there are and what they hash to, and is written last, so that the
old object or the new one is found, whole. What is written is heard back from as many holders as a
reader asks. What this node wrote is put again before it expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from dms3.core.codec import decode, encode
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    CHUNK_HOLDERS_MIN,
    CHUNK_LIFE_US,
    CHUNK_PART_BYTES,
    CHUNK_PARTS_MAX,
    CHUNK_PUTS_MAX,
    CHUNK_RENEW_PAUSE_US,
    CHUNK_RENEW_US,
    CHUNK_RENEWALS_MAX,
    PLACE_OBJECT_BYTES_MAX,
    SECOND_US,
)
from dms3.core.machine import Now
from dms3.core.overlay import PUBLIC, Content, GetContent, Got, Placed, PutContent
from dms3.dht.chunks import NAME, Chunk, chunk_key, decode_chunk, issue_chunk, solve

T = TypeVar("T")
Call = Callable[[str, Any], Awaitable[Any]]

HEAD_VERSION = 1
_ASKED_MIN = 2  # nodes that know nothing of a name before that is believed
_INLINE_BYTES = CHUNK_PART_BYTES - 256  # what a head has room for, beside its own fields
_PATIENCE_US = 20 * SECOND_US  # of one question: a third of an operation of the port
_NUMBER_MAX = 1 << 62  # of a sequence or a work: no honest one is near, and a row has 63 bits
_READS = 3  # of an object that is replaced meanwhile

_NOTE = (
    "INSERT INTO place_chunk (name, work, sequence, until_us) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET work = excluded.work, "
    "sequence = max(sequence, excluded.sequence), until_us = max(until_us, excluded.until_us)"
)
_NOTED = "SELECT work, sequence FROM place_chunk WHERE name = ? AND until_us > ?"
_DUE = (
    "SELECT until_us, name FROM place_chunk WHERE until_us < ? AND (until_us, name) > (?, ?) "
    "ORDER BY until_us, name LIMIT ?"
)
_FORGET = "DELETE FROM place_chunk WHERE name = ?"


class Clock(Protocol):
    """Where the time comes from (io/clock.py)."""

    def now(self) -> Now:
        """This instant."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """What lies under a name: `size` bytes with this SHA-256, in `data` or in `parts` chunks.

    `parts` 0: in `data`. The parts lie under keys made of the head's own sequence.
    """

    v: int
    parts: int
    size: int
    digest: bytes
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        sound = (
            self.v == HEAD_VERSION
            and 0 <= self.parts <= CHUNK_PARTS_MAX
            and 0 <= self.size <= PLACE_OBJECT_BYTES_MAX
            and len(self.digest) == hashlib.sha256().digest_size
        )
        if not sound:
            raise ValueError("not the head of an object")


class _Found(NamedTuple):
    """The newest chunk under a name, and its head; None: nothing, or it was removed."""

    chunk: Chunk | None
    head: Head | None


class _Noted(NamedTuple):
    """What was written or read under a name: the work of its key, and the newest sequence."""

    work: int
    sequence: int


class OverlayPlace:
    """The objects of the person whose secret is `seed` (32 bytes), in the public overlay."""

    def __init__(self, seed: bytes, call: Call, database: Database, clock: Clock) -> None:
        self._seed = seed
        self._call = call
        self._database = database
        self._clock = clock
        self._renewed = (0, "")  # expiry and name of the last that this round looked at

    async def put(self, name: str, data: bytes) -> None:
        """Replace an object; raises `peer_unreachable` while too few nodes hold it."""
        found, noted = await self._find(name)
        work = await self._work(name, found, noted)
        sequence = self._after(found, noted)
        head, parts = _cut(data)
        await self._put_parts(name, sequence, parts)
        await self._put_head(name, encode(head), sequence, work)
        await self._note(name, work, sequence, self._wall_us() + CHUNK_LIFE_US)
        if found.chunk is not None and found.head is not None:
            await self._drop_parts(name, found.chunk.sequence, found.head.parts)

    async def get(self, name: str) -> bytes | None:
        """An object, or None; raises `peer_unreachable` when too few answer, or it is older."""
        for _ in range(_READS):
            found, noted = await self._find(name)
            if noted is not None and (found.chunk is None or found.chunk.sequence < noted.sequence):
                raise Dms3Error("peer_unreachable", "those who answer hold an older version")
            if found.chunk is None or found.head is None:
                return None
            data = await self._join(name, found.chunk.sequence, found.head)
            if data is not None:
                chunk = found.chunk
                await self._note(name, chunk.work, chunk.sequence, chunk.until_us)
                return data
        raise Dms3Error("peer_unreachable", "nobody who answers holds all of its parts")

    async def names(self, after: str) -> tuple[str, ...]:
        """An overlay knows no names; raises `protocol_unsupported`."""
        del after
        raise Dms3Error("protocol_unsupported", "it cannot say what it holds")

    async def delete(self, name: str) -> None:
        """Say that there is nothing; who was away is told later by those who know it."""
        found, noted = await self._find(name)
        if found.chunk is not None and found.head is not None:
            work = await self._work(name, found, noted)
            await self._put_head(name, b"", self._after(found, noted), work)
            await self._drop_parts(name, found.chunk.sequence, found.head.parts)
        await self._forget(name)

    async def close(self) -> None:
        """Nothing is open."""

    async def keep(self) -> None:
        """Renew what is due, now and for as long as the node runs."""
        while True:
            if await self.renew() < CHUNK_RENEWALS_MAX:
                await asyncio.sleep(CHUNK_RENEW_PAUSE_US / SECOND_US)

    async def renew(self) -> int:
        """Put again what expires within CHUNK_RENEW_US; how many names were looked at.

        What this node wrote or read, for another device of the person may be gone. What cannot be
        renewed now is looked at again in the next round, and holds up no other.
        """
        horizon_us = self._wall_us() + CHUNK_RENEW_US
        rows = await asyncio.to_thread(self._due, horizon_us)
        for row in rows:
            self._renewed = row
            with contextlib.suppress(Dms3Error):  # strangers can deny a name, or all
                await self._renew(row[1], horizon_us)
        if len(rows) < CHUNK_RENEWALS_MAX:
            self._renewed = (0, "")
        return len(rows)

    async def _renew(self, name: str, horizon_us: int) -> None:
        found, noted = await self._find(name)
        gone = noted is None and found.head is None  # expired
        data = None if gone else await self.get(name)  # raises when it is denied: no removal
        if data is None:
            await self._forget(name)
        elif found.chunk is not None and found.chunk.until_us < horizon_us:
            await self.put(name, data)  # else another device was here before

    # Chunks

    async def _find(self, name: str) -> tuple[_Found, _Noted | None]:
        """What lies under a name, and what this node knows to lie there."""
        noted = await asyncio.to_thread(self._noted, name)
        chunk = await self._read(chunk_key(self._seed, name, 0, 0).public, believed=True)
        if chunk is not None and max(chunk.sequence, chunk.work) >= _NUMBER_MAX:
            raise Dms3Error("peer_unreachable", "what lies there is of a device gone wild")
        if chunk is None or not chunk.data:
            return _Found(chunk, None), noted
        try:
            return _Found(chunk, decode(Head, chunk.data, strict=True)), noted
        except DecodeError as error:
            raise Dms3Error("peer_unreachable", "what lies there is of another program") from error

    async def _read(self, public: bytes, *, believed: bool) -> Chunk | None:
        """The newest chunk under a key; `believed`: that there is none has to be said by enough."""
        got: Got = await self._call(
            "dht.get", GetContent(PUBLIC, NAME, public, patience_us=_PATIENCE_US)
        )
        if got.values:
            return decode_chunk(got.values[0])
        if believed and got.asked < _ASKED_MIN:
            why = f"{got.asked} other nodes of the overlay answered, and {_ASKED_MIN} have to"
            raise Dms3Error("peer_unreachable", why)
        return None

    async def _join(self, name: str, sequence: int, head: Head) -> bytes | None:
        """The bytes of an object; None when a part is missing or another."""
        if not head.parts:
            return head.data
        keys = [chunk_key(self._seed, name, sequence, part + 1) for part in range(head.parts)]
        found: list[Chunk | None] = []
        for start in range(0, len(keys), CHUNK_PUTS_MAX):
            some = keys[start : start + CHUNK_PUTS_MAX]
            found += await asyncio.gather(*(self._read(key.public, believed=False) for key in some))
        data = b"".join(b"" if chunk is None else chunk.data for chunk in found)
        return data if hashlib.sha256(data).digest() == head.digest else None

    async def _put_parts(self, name: str, sequence: int, parts: Sequence[bytes]) -> None:
        for start in range(0, len(parts), CHUNK_PUTS_MAX):
            contents = [
                await self._issue(name, sequence, start + at + 1, part, sequence)
                for at, part in enumerate(parts[start : start + CHUNK_PUTS_MAX])
            ]
            await self._place(contents)

    async def _drop_parts(self, name: str, sequence: int, parts: int) -> None:
        """Empty the parts of an object that nobody reads any more; it is no loss when one stays."""
        try:
            for start in range(0, parts, CHUNK_PUTS_MAX):
                wanted = range(start + 1, min(start + CHUNK_PUTS_MAX, parts) + 1)
                contents = [
                    await self._issue(name, sequence, part, b"", sequence + 1) for part in wanted
                ]
                await self._place(contents)
        except Dms3Error:
            return

    async def _put_head(self, name: str, data: bytes, sequence: int, work: int) -> None:
        key = chunk_key(self._seed, name, 0, 0)
        wall_us = self._wall_us()
        await self._place([issue_chunk(key, data, sequence=sequence, work=work, wall_us=wall_us)])

    async def _issue(
        self, name: str, sequence: int, part: int, data: bytes, version: int
    ) -> Content:
        key = chunk_key(self._seed, name, sequence, part)
        work = await asyncio.to_thread(solve, key.public)
        return issue_chunk(key, data, sequence=version, work=work, wall_us=self._wall_us())

    async def _place(self, contents: Sequence[Content]) -> None:
        """Have chunks held by so many that a reader meets one of them."""
        placed: Placed = await self._call(
            "dht.put", PutContent(PUBLIC, tuple(contents), _PATIENCE_US)
        )
        wanted = max(CHUNK_HOLDERS_MIN, placed.wanted - CHUNK_HOLDERS_MIN + 1)
        least = min(placed.holders, default=0)
        if least < wanted:
            why = f"{least} nodes hold it, {wanted} are needed"
            raise Dms3Error("peer_unreachable", why)

    # What this node knows of

    async def _work(self, name: str, found: _Found, noted: _Noted | None) -> int:
        """The work of the key of a name: done once, by whoever writes first."""
        if found.chunk is not None:
            return found.chunk.work
        if noted is not None:
            return noted.work
        return await asyncio.to_thread(solve, chunk_key(self._seed, name, 0, 0).public)

    def _after(self, found: _Found, noted: _Noted | None) -> int:
        """A sequence later than any that is known."""
        held = -1 if found.chunk is None else found.chunk.sequence
        wrote = -1 if noted is None else noted.sequence
        return max(self._wall_us(), held + 1, wrote + 1)

    def _noted(self, name: str) -> _Noted | None:
        with self._database.read() as connection:
            row = connection.execute(_NOTED, (name, self._wall_us())).fetchone()
        return None if row is None else _Noted(*row)

    def _due(self, before_us: int) -> list[tuple[int, str]]:
        with self._database.read() as connection:
            row = (before_us, *self._renewed, CHUNK_RENEWALS_MAX)
            return [(int(until), str(name)) for until, name in connection.execute(_DUE, row)]

    async def _note(self, name: str, work: int, sequence: int, until_us: int) -> None:
        row = (name, work, sequence, until_us)
        await self._write(lambda connection: connection.execute(_NOTE, row))

    async def _forget(self, name: str) -> None:
        await self._write(lambda connection: connection.execute(_FORGET, (name,)))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._database.transact(work, frees_space=True))

    def _wall_us(self) -> int:
        return self._clock.now().wall_us


def _cut(data: bytes) -> tuple[Head, list[bytes]]:
    """The head of an object, and its parts."""
    digest = hashlib.sha256(data).digest()
    if len(data) <= _INLINE_BYTES:
        return Head(HEAD_VERSION, 0, len(data), digest, data), []
    starts = range(0, len(data), CHUNK_PART_BYTES)
    parts = [data[start : start + CHUNK_PART_BYTES] for start in starts]
    return Head(HEAD_VERSION, len(parts), len(data), digest, b""), parts
