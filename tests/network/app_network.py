"""A local network with an app on every node, for tests of chains and apps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dms3.cli.dev import node_names
from dms3.sdk import Client
from network.nodes import Network

PATCHED = Path(__file__).with_name("patched_author.py")
WITHIN_SECONDS = 40


class AppNetwork(Network):
    """As `dms3 dev`; the nodes in `patched` run `script`, and write what their rules refuse."""

    script = PATCHED

    def __init__(self, home: Path, patched: Sequence[str] = ()) -> None:
        super().__init__(home)
        self.patched = patched

    def pid(self, name: str) -> int:
        """The process of a node."""
        return self._processes[name].pid

    def _command(self, name: str, home: Path, join: str | None) -> Sequence[str]:
        command = [*super()._command(name, home, join)]
        if name in self.patched:
            assert command[1:3] == ["-m", "dms3"]
            command[1:3] = [str(self.script)]
        return command


@asynccontextmanager
async def apps(
    home: Path,
    count: int,
    what: str | Path,
    patched: Sequence[str] = (),
    kind: type[AppNetwork] = AppNetwork,
) -> AsyncIterator[tuple[AppNetwork, dict[str, Client]]]:
    """`count` nodes with the app `what` (a name, or a folder) installed, and a client of each."""
    network = kind(home, patched)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(network.stop)
        await network.start(count)
        clients: dict[str, Client] = {}
        for name in node_names(count):
            node = network.nodes[name]
            made = Client(home=Path(node.home), api=node.api)
            clients[name] = await stack.enter_async_context(made)
        given = {"files": [str(what)]} if isinstance(what, Path) else {"what": what}
        async with asyncio.TaskGroup() as group:
            for client in clients.values():
                group.create_task(client.call("dapp", "install", **given))
        yield network, clients
    errors = [path for path in sorted(home.glob("*/node.log")) if _bugs(path)]
    assert errors == [], _bugs(errors[0])


def _bugs(log: Path) -> list[str]:
    """Lines of a node's log that no test expects: its own bugs."""
    words = ("Traceback", "request_failed", "machine_failed", "port_failed")
    text = log.read_text(errors="replace")
    return [line for line in text.splitlines() if any(word in line for word in words)]


async def called(client: Client, dapp: str, function: str, /, **arguments: Any) -> Any:
    """What a function returns."""
    done = await client.call("dapp", "call", dapp=dapp, function=function, arguments=arguments)
    return done["value"]


async def until(look: Callable[[], Awaitable[Any]], within_s: float = WITHIN_SECONDS) -> Any:
    """What `look` returns once it is true: other processes give no sign but an answer."""
    async with asyncio.timeout(within_s):
        while not (found := await look()):  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.1)
        return found
