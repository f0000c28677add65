"""The part of the tour in which people write to each other over services that others run.

What `dms3 demo` shows after documents. Bob is away; what alice writes waits for him at two delivery
services, one of which is killed; he returns and reads, and neither service has it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from dms3.cli.dev import DevNetwork

TEXT = "Bob, the boat leaves on Friday at six from the old harbour."
ANSWER = "I will be there, with the lanterns."

Step = tuple[str, Callable[[], Awaitable[str]]]


class Nodes(Protocol):
    """How the tour asks its nodes (`cli/demo.py`)."""

    async def call(self, name: str, noun: str, verb: str, /, **arguments: object) -> dict[str, Any]:
        """What the node called `name` answers."""
        ...

    async def until(
        self,
        name: str,
        noun: str,
        verb: str,
        holds: Callable[[dict[str, Any]], bool],
        /,
        **arguments: object,
    ) -> dict[str, Any]:
        """The first answer for which `holds`; asked again at each event of the node."""
        ...

    async def lose(self, name: str) -> None:
        """Kill the node called `name`."""
        ...

    async def bring_back(self, name: str) -> None:
        """Start it again."""
        ...


class MessageTour:
    """The steps, over `nodes` of `network`, in which alice and bob have each other's cards."""

    def __init__(self, nodes: Nodes, network: DevNetwork) -> None:
        self._nodes = nodes
        self._sent = ""
        self._services = [name for name, node in network.nodes.items() if "delivery" in node.roles]

    def steps(self) -> list[Step]:
        """What to show, in order; none in a network without delivery services."""
        if not self._services:
            return []
        return [
            (f"{' and '.join(self._services)} carry messages for bob", self._carry),
            ("bob is away; alice writes to him", self._write),
            ("one of the two services is killed; bob returns and reads", self._read),
            ("bob answers, and alice sees that he has read", self._answer),
            ("neither service has anything of it any more", self._picked_up),
        ]

    async def _carry(self) -> str:
        names = []
        for service in self._services:
            status = await self._nodes.call(service, "delivery", "status")
            names.append(str(status["name"]))
            await self._nodes.call("bob", "message", "carry", name=names[-1])
        return "2 services, each in a process of its own: " + ", ".join(
            f"{name[:8]}..." for name in names
        )

    async def _write(self) -> str:
        await self._nodes.lose("bob")
        sent = await self._nodes.call("alice", "message", "send", name="bob", text=TEXT)
        self._sent = sent["hash"]
        await self._nodes.until("alice", "message", "conversation", self._is("sent"), name="bob")
        waiting = [await self._waiting(service) for service in self._services]
        expect(waiting == [1, 1], f"the services hold {waiting} messages instead of one each")
        return f"message {self._sent[2:14]} waits at both services, sealed"

    async def _read(self) -> str:
        await self._nodes.lose(self._services[0])
        await self._nodes.bring_back("bob")
        inbox = await self._nodes.until("bob", "message", "inbox", _has(TEXT))
        found = [row for row in inbox["messages"] if row["text"] == TEXT]
        expect(len(found) == 1, f"bob received it {len(found)} times")
        await self._nodes.call("bob", "message", "opened", name="alice")
        return f"from {found[0]['from'][:12]}..., signature and postmark verified"

    async def _answer(self) -> str:
        await self._nodes.call(
            "bob", "message", "send", name="alice", text=ANSWER, reply=self._sent
        )
        await self._nodes.until("alice", "message", "inbox", _has(ANSWER))
        await self._nodes.until("alice", "message", "conversation", self._is("read"), name="bob")
        return "answered and read"

    async def _picked_up(self) -> str:
        await self._nodes.bring_back(self._services[0])
        async with asyncio.timeout(30):
            while any([await self._waiting(service) for service in self._services]):
                await self._nodes.call("bob", "message", "fetch")
        inbox = await self._nodes.call("bob", "message", "inbox")
        times = sum(row["text"] == TEXT for row in inbox["messages"])
        expect(times == 1, f"bob has it {times} times")
        nothing = ", ".join(f"0 messages at {service}" for service in self._services)
        return f"{nothing}, 1 at bob"

    async def _waiting(self, service: str) -> int:
        status = await self._nodes.call(service, "delivery", "status")
        return int(status["messages"])

    def _is(self, state: str) -> Callable[[dict[str, Any]], bool]:
        def holds(data: dict[str, Any]) -> bool:
            return any(
                row["hash"] == self._sent and row["state"] == state for row in data["messages"]
            )

        return holds


def _has(text: str) -> Callable[[dict[str, Any]], bool]:
    return lambda data: any(row["text"] == text for row in data["messages"])


class TourError(Exception):
    """A check that did not hold; the text says what was seen instead."""


def expect(held: bool, otherwise: str) -> None:
    """Raise TourError(otherwise) unless `held`."""
    if not held:
        raise TourError(otherwise)
