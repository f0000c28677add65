"""What a delivery service holds of everybody together, mail and lockers, against its total.

Source: docs/delivery.md, "Rules"; table `delivery_held` of `io/schema.py`, which the counts of
accounts and lockers keep up by themselves. Which part of it is whose is not looked at here.
"""

from __future__ import annotations

from dms3.core.database import Connection
from dms3.core.errors import Dms3Error


def held(connection: Connection) -> int:
    """The bytes of all mail and all lockers, with what their rows need."""
    row = connection.execute("SELECT bytes FROM delivery_held").fetchone()
    assert row is not None, "the migration wrote it"
    return int(row[0])


def check_total(connection: Connection, total: int) -> None:
    """Raise `limit_reached` when more than `total` bytes are held, with what was just written."""
    if held(connection) > total:
        raise Dms3Error(
            "limit_reached",
            f"This service is full: it holds at most {total >> 20} MiB of all people together.",
            hint="Try again later, or use another service. Its operator can set delivery_total.",
        )
