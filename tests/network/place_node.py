"""A node in the process of a test: what writes to the overlay, and logs in as a person."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from dms3.core.network import MAIN
from dms3.node.home import Home
from dms3.node.metrics import Metrics
from dms3.node.node import Node, open_node
from dms3.node.settings import Settings


class Faults:
    """A log of which only faults are said."""

    def info(self, event: str, **values: Any) -> None:
        """Nothing."""

    def error(self, event: str, **values: Any) -> None:
        """A bug of the node."""
        sys.stderr.write(f"{event} {values}\n")


@contextlib.asynccontextmanager
async def member(folder: Path, join: Sequence[str], words: str = "") -> AsyncIterator[Node]:
    """A node with its home in `folder` that joins a network; `words`: whose it is."""
    home = Home(folder)
    home.create()
    settings = Settings("writer", ("/ip4/127.0.0.1/tcp/0",), join, MAIN, words=words, mdns=False)
    async with open_node(home, bytes(32), settings, Faults(), Metrics()) as node:
        yield node
