"""Local networks as `dms3 dev` makes them, their nodes from the nursery."""

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from dms3.cli.dev import DevNetwork, usual_roles
from network.nursery import start_async


class Network(DevNetwork):
    """As DevNetwork."""

    async def _spawn(self, command: Sequence[str], log: IO[bytes]) -> Any:
        if sys.platform != "linux":
            return await super()._spawn(command, log)
        return await start_async(command, log)


@contextlib.asynccontextmanager
async def network_of(
    home: Path, count: int, roles: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[Network]:
    """As dev_network."""
    network = Network(home, roles=usual_roles(count) if roles is None else roles)
    try:
        await network.start(count)
        yield network
    finally:
        await network.stop()
