"""What lies where: the documents that came last, the containers, the documents of one content.

Source: docs/interfaces.md, `store recent` and `store containers`. Reads and shapes answers for
programs and people; changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import CONTAINER_DOCUMENTS_MAX, DOCUMENTS_LISTED_MAX
from dms3.io import catalogue, index
from dms3.io.catalogue import DocumentRow, SpaceRow

T = TypeVar("T")
_NONE_BEFORE = (1 << 63) - 1


class Overview:
    """Looks into the catalogue of `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recent(self, space: str | None, before: int | None, limit: int) -> dict[str, Any]:
        """At most `limit` documents, the last one first; of my space `space`, or of all mine.

        `before`: go on before this document number. Raises `not_found`, `argument_invalid`.
        """
        if not 1 <= limit <= DOCUMENTS_LISTED_MAX:
            raise Dms3Error("argument_invalid", f"The limit is not 1 to {DOCUMENTS_LISTED_MAX}.")

        def work(connection: Connection) -> dict[str, Any]:
            mine = _mine(connection)
            wanted = [row for row in mine if space in (None, row.name)]
            if not wanted and space is not None:
                raise Dms3Error(
                    "not_found", f"There is no space {space[:64]!r}.", hint="See `dms3 store list`."
                )
            names = {row.number: row.name for row in wanted}
            last = _NONE_BEFORE if before is None else before
            rows = catalogue.latest(connection, sorted(names), last, limit)
            documents = [document_data(row) | {"space": names[row.space]} for row in rows]
            return {
                "documents": documents,
                "next": rows[-1].number if len(rows) == limit else None,
            }

        return await self._read(work)

    async def containers(self) -> dict[str, Any]:
        """Every container of my spaces: what is in it, how full it is, where it lies."""

        def work(connection: Connection) -> dict[str, Any]:
            names = {row.number: row.name for row in _mine(connection)}
            held = catalogue.bytes_in_containers(connection)
            containers = [
                {
                    "number": one.number,
                    "space": names[one.space],
                    "kind": one.kind,
                    "documents": one.documents,
                    "room": CONTAINER_DOCUMENTS_MAX - one.taken,
                    "bytes": held.get(one.number, 0),
                    "added_us": [one.added_low, one.added_high],
                    "where": "here",
                }
                for one in index.containers(connection, sorted(names))
                if one.documents
            ]
            return {"containers": containers, "documents_max": CONTAINER_DOCUMENTS_MAX}

        return await self._read(work)

    async def known_as(self, cid: Cid) -> list[dict[str, Any]]:
        """The documents of mine whose content is `cid`, each with its space."""

        def work(connection: Connection) -> list[dict[str, Any]]:
            names = {row.number: row.name for row in _mine(connection)}
            return [
                document_data(row) | {"space": names[row.space]}
                for row in catalogue.with_cid(connection, cid)
                if row.space in names
            ]

        return await self._read(work)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def reading() -> T:
            with self._database.read() as connection:
                return work(connection)

        return await asyncio.to_thread(reading)


def document_data(row: DocumentRow) -> dict[str, Any]:
    """A document as JSON values."""
    return {
        "number": row.number,
        "cid": str(row.cid),
        "name": row.name,
        "title": row.title,
        "kind": row.kind,
        "bytes": row.bytes,
        "source": row.source,
        "modified_us": row.modified_us,
        "added_us": row.added_us,
        "note": row.note,
    }


def _mine(connection: Connection) -> list[SpaceRow]:
    return [row for row in catalogue.spaces(connection) if row.owner is None]
