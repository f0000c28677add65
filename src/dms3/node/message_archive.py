"""Every conversation as one file, and back: what another home can take over, verified line by line.

Source: docs/messages.md, "Export and import".
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from dms3.core.errors import Dms3Error
from dms3.node.node import Node
from dms3.node.table import BlobOrPath, Result, Step


async def export(node: Node) -> AsyncIterator[Step]:
    """Every conversation as one file in the spool."""
    del node
    yield Result({})
    raise Dms3Error("not_found", "not there")


async def bring_in(node: Node, file: BlobOrPath) -> AsyncIterator[Step]:
    """What an export holds."""
    del node, file
    yield Result({})
