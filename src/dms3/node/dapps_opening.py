"""Making the apps of a node from its parts: the sandbox, its port, and port "dapps".

Source: docs/dapps.md. Decides nothing; `node/node.py` runs what it makes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dms3.core.database import Database
from dms3.core.machine import Entropy
from dms3.io.loop import Port
from dms3.io.sandbox import Sandbox as Engine
from dms3.node.dapps import Dapps, Surroundings
from dms3.node.dapps_running import Call
from dms3.node.dapps_sandbox import Sandbox
from dms3.node.identity import Identity
from dms3.node.library import Clock
from dms3.node.watching import Log


@dataclass(frozen=True, slots=True)
class World:
    """Where time and entropy come from, and where lines for people go."""

    clock: Clock
    entropy: Entropy
    log: Log


@dataclass(frozen=True, slots=True)
class Apps:
    """The apps of a node, and the sandbox that runs them."""

    dapps: Dapps
    engine: Engine

    @property
    def ports(self) -> dict[str, Port]:
        """For the driver."""
        return {"sandbox": self.engine.serve, "dapps": self.dapps.serve}

    async def run(self) -> None:
        """Run the sandbox and begin the apps, until cancelled; then its processes end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run())
            group.create_task(self.dapps.run())


def open_apps(identity: Identity, store: Database, call: Call, world: World) -> Apps:
    """The apps of a node with these parts, not running yet."""

    def log(dapp: str, line: str) -> None:
        world.log.info("dapp_said", dapp=dapp, line=line)

    engine = Engine()
    around = Surroundings(store, identity, call, Sandbox(engine), world.clock, world.entropy, log)
    return Apps(Dapps(around), engine)
