"""The part of the tour in which people use an app whose rules every node checks.

What `dms3 demo` shows at the end: the guestbook runs on every node, one writes and all read, a line
that breaks a rule is refused by name, and what was written outlives the node of who wrote it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dms3.cli.demo_messages import Nodes, Step, TourError, expect
from dms3.cli.dev import DevNetwork
from dms3.core.errors import Dms3Error

APP = "guestbook"
LINE = "We were here, and nobody can write it away."
CHARS_MAX = 600  # as the guestbook's rule has it


class AppTour:
    """The steps, over `nodes` of `network`."""

    def __init__(self, nodes: Nodes, network: DevNetwork) -> None:
        self._nodes = nodes
        self._names = list(network.nodes)
        self._entry = ""

    def steps(self) -> list[Step]:
        """What to show, in order."""
        return [
            (f"everybody installs the app {APP}", self._install),
            ("alice writes in it; every node checks the rules and signs", self._write),
            ("everybody reads it", self._read),
            ("a line that breaks a rule is refused", self._refused),
            ("alice is killed; the others still have it", self._without_alice),
        ]

    async def _install(self) -> str:
        async def install(name: str) -> str:
            await self._nodes.call(name, "dapp", "install", what=APP)
            app = await self._nodes.call(name, "dapp", "show", dapp=APP)
            return str(app["dna"])

        rules = set(await asyncio.gather(*map(install, self._names)))
        expect(len(rules) == 1, "two nodes have different rules under one name")
        return f"{len(self._names)} nodes, one set of rules: {rules.pop()[:12]}"

    async def _write(self) -> str:
        done = await self._call("alice", "sign", text=LINE, name="Alice")
        self._entry = done

        def complete(data: dict[str, Any]) -> bool:
            return bool(data["published"] and data["published"]["complete"])

        journey = await self._nodes.until(
            "alice", "entry", "journey", complete, hash=self._entry, dapp=APP
        )
        signers = {peer for op in journey["published"]["ops"] for peer in op["signers"]}
        return f"entry {self._entry[:16]}, receipts of {len(signers)} other nodes"

    async def _read(self) -> str:
        for name in self._names:
            await self._is_read(name)
        return f"{len(self._names)} nodes"

    async def _refused(self) -> str:
        try:
            await self._call("alice", "sign", text="x" * (CHARS_MAX + 1))
        except Dms3Error as error:
            about = error.about or {}
            expect(bool(about.get("rule")), f"refused with {error.code}: {error}")
            return f"by rule {about['rule']}, line {about['line']}"
        raise TourError("it was written")

    async def _without_alice(self) -> str:
        await self._nodes.lose("alice")
        try:
            others = [name for name in self._names if name != "alice"]
            for name in others:
                await self._is_read(name)
        finally:
            await self._nodes.bring_back("alice")
        return f"read at {', '.join(others)}"

    async def _is_read(self, name: str) -> None:
        lines = await self._call(name, "entries")
        expect(LINE in {line["text"] for line in lines}, f"{name} does not read it")

    async def _call(self, name: str, function: str, /, **arguments: object) -> Any:
        done = await self._nodes.call(
            name, "dapp", "call", dapp=APP, function=function, arguments=arguments
        )
        return done["value"]
