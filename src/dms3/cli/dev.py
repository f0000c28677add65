"""A local network of real node processes: what `dms3 dev` runs and `dms3 demo` shows around in.

Each node is its own operating-system process with its own home folder and free loopback ports. The
others join the first one. Nothing here talks to a node's inside: it starts, watches and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from dms3.core.errors import Dms3Error
from dms3.core.limits import DEV_NODES_MAX, DEV_START_SECONDS_MAX, DEV_STOP_SECONDS_MAX
from dms3.node.config import OFFERED_ROLES

SERVICES = 2
NODES_WITH_SERVICES_MIN = 4  # two people who write to each other, and who carries it
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")


@dataclass(frozen=True, slots=True)
class DevNode:
    """One node of the network, as written to `network.json`; ports are those really bound."""

    name: str
    home: str
    api: str
    public: str
    peer_id: str
    address: str
    roles: list[str] = field(default_factory=list)


def reserve_port() -> socket.socket:
    """A free port of loopback, bound and not listened at: a node may, nobody else gets it.

    So a node that is down for a while finds its port again: the operating system gives no local
    port of a connection, and no port 0, out of those that are bound.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound


class DevNetwork:
    """N node processes under one folder; `start` and `stop` them, or one of them.

    Arguments: `home`, the folder that holds one folder a node; `base_port`, the first of two ports
    a node, after all of which come those of public listeners (0: free ones); `roles`: name of a
    node -> its roles.
    """

    def __init__(
        self, home: Path, *, base_port: int = 0, roles: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.home = home
        self.base_port = base_port
        self.roles = dict(roles or {})
        self.nodes: dict[str, DevNode] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._reserved: dict[str, tuple[socket.socket, socket.socket, socket.socket]] = {}

    async def start(self, count: int) -> None:
        """Start `count` nodes and write `network.json` when all are ready."""
        if not 1 <= count <= DEV_NODES_MAX:
            raise Dms3Error(
                "argument_invalid",
                f"A local network has 1 to {DEV_NODES_MAX} nodes, not {count}.",
                hint="Choose another number with -n.",
            )
        names = node_names(count)
        first = await self.start_node(names[0])
        async with asyncio.TaskGroup() as group:
            for name in names[1:]:
                group.create_task(self.start_node(name, join=first.address))
        self.nodes = {name: self.nodes[name] for name in names}  # not in the order of readiness
        self._write_network()

    async def start_node(self, name: str, *, join: str | None = None) -> DevNode:
        """Start (or start again) the node called `name`; returns when it is ready.

        `join`: the multiaddr of a node to join; a node that was started before joins the first.
        """
        home = self.home / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if join is None and name in self.nodes and name != NAMES[0]:
            join = self.nodes[NAMES[0]].address
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        log = os.fdopen(os.open(home / "node.log", flags, 0o600), "ab")
        try:
            process = await self._spawn(self._command(name, home, join), log)
        finally:
            log.close()
        self._processes[name] = process
        node = await self._ready(name, home, process)
        self.nodes[name] = node
        return node

    def kill(self, name: str) -> None:
        """Kill a node as a power cut would (SIGKILL): it gets no chance to tidy up."""
        self._processes[name].kill()

    async def wait(self, name: str) -> int:
        """The exit status of node `name`, once it has ended."""
        return await self._processes[name].wait()

    async def stop(self) -> None:
        """Stop every node: SIGTERM, and SIGKILL for one that does not end in time."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), DEV_STOP_SECONDS_MAX)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._processes.clear()
        for bound in (one for ports in self._reserved.values() for one in ports):
            bound.close()
        self._reserved.clear()

    async def _spawn(self, command: Sequence[str], log: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches only us, who stop them
        )

    def _command(self, name: str, home: Path, join: str | None) -> Sequence[str]:
        p2p_port, api_port, public_port = self._ports(name)
        command = [sys.executable, "-m", "dms3", "up", "--json", "--no-open", "--home", str(home)]
        command += ["--name", name, "--listen", f"/ip4/127.0.0.1/tcp/{p2p_port}"]
        command += ["--api-listen", f"127.0.0.1:{api_port}"]
        for role in self.roles.get(name, ()):
            command += ["--role", role]
        if self.roles.get(name):
            command += ["--public", f"127.0.0.1:{public_port}"]
        return [*command, "--join", join] if join else command

    def _ports(self, name: str) -> tuple[int, int, int]:
        """For other nodes, the API, the public listener: the same when it is started again."""
        if self.base_port:
            index = node_names(DEV_NODES_MAX).index(name)
            first = self.base_port + 2 * index
            return first, first + 1, self.base_port + 2 * DEV_NODES_MAX + index
        if name not in self._reserved:
            self._reserved[name] = (reserve_port(), reserve_port(), reserve_port())
        p2p_port, api_port, public_port = (one.getsockname()[1] for one in self._reserved[name])
        return p2p_port, api_port, public_port

    async def _ready(self, name: str, home: Path, process: asyncio.subprocess.Process) -> DevNode:
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), DEV_START_SECONDS_MAX)
        except TimeoutError:
            process.kill()
            line = b""
        if not line:
            await process.wait()
            said = last_words((home / "node.log").read_text(errors="replace"))
            raise Dms3Error(
                "node_unreachable",
                f"Node {name} did not start: {said}",
                hint=f"Its log is {home / 'node.log'}.",
            )
        data: dict[str, Any] = json.loads(line)["data"]
        return DevNode(
            name=name,
            home=str(home),
            api=data["api"],
            public=data.get("public") or "",
            peer_id=data["peer_id"],
            address=data["address"],
            roles=list(data.get("roles", [])),
        )

    def _write_network(self) -> None:
        document = {"nodes": [asdict(node) for node in self.nodes.values()]}
        path = self.home / "network.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(document, indent=1) + os.linesep)
        draft.replace(path)


@contextlib.asynccontextmanager
async def dev_network(
    home: Path,
    count: int,
    base_port: int = 0,
    roles: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[DevNetwork]:
    """A started network of `count` nodes under `home`, stopped at the end of the block.

    `roles`: None for those of `usual_roles`.
    """
    roles = usual_roles(count) if roles is None else roles
    network = DevNetwork(home, base_port=base_port, roles=roles)
    try:
        await network.start(count)
        yield network
    finally:
        await network.stop()


def usual_roles(count: int) -> dict[str, tuple[str, ...]]:
    """The last two of four nodes and more are delivery services."""
    if count < NODES_WITH_SERVICES_MIN:
        return {}
    return dict.fromkeys(node_names(count)[-SERVICES:], ("delivery",))


def roles_of(words: Sequence[str], count: int) -> dict[str, list[str]]:
    """Roles by node from words such as "dave=delivery"; raises `argument_invalid`."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, _, role = word.partition("=")
        if name not in node_names(count) or role not in OFFERED_ROLES:
            raise Dms3Error(
                "argument_invalid",
                f"{word[:64]!r} gives no node of this network a role.",
                hint=f"For example: --role {node_names(count)[-1]}=delivery",
            )
        found.setdefault(name, []).append(role)
    return found


def node_names(count: int) -> list[str]:
    """The names of `count` nodes: alice, bob, carol, ... and then `node11`, `node12`, ..."""
    return [NAMES[i] if i < len(NAMES) else f"node{i + 1}" for i in range(count)]


def last_words(log: str) -> str:
    """What a node said last in its log: the message of an error, or a line that has words in it.

    Frames of tracebacks are drawn with lines of `+---` and `|`, which tell nobody anything.
    """
    for line in reversed(log.splitlines()):
        words = line.strip(" |+-")
        if not any(char.isalnum() for char in words):
            continue
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(json.loads(words)["error"]["message"])
        return words
    return "it ended without a word."
