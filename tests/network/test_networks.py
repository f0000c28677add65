"""Networks of people between processes: refused without a proof, in with one, found by members.

Four processes on loopback for all claims. Costs about 12 s, four of them starting the nodes.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.sdk import Client
from network.app_network import AppNetwork, until

SEED = "seven herons over the weir"


class Four:
    """Alice, Bob, Carol and Dave, each with a client and a root."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.roots: dict[str, str] = {}

    async def call(self, who: str, noun: str, verb: str, /, **given: Any) -> dict[str, Any]:
        return await self.clients[who].call(noun, verb, **given)

    async def invited(self, by: str, name: str, who: str, **given: Any) -> str:
        made = await self.call(by, "network", "invite", name=name, who=self.roots[who], **given)
        return str(made["invitation"])

    async def join(self, who: str, invitation: str, **given: Any) -> dict[str, Any]:
        return await self.call(who, "network", "join", invitation=invitation, **given)

    async def refused(self, who: str, invitation: str, rule: str, **given: Any) -> None:
        with pytest.raises(Dms3Error, match=rule) as caught:
            await self.join(who, invitation, **given)
        assert caught.value.code == "not_admitted"
        listed = await self.call(who, "network", "list")
        assert not any(row["name"] == "club" for row in listed["networks"])

    async def members(self, who: str, name: str, *names: str) -> None:
        """`who` sees exactly these people in the network."""
        wanted = sorted(self.roots[each] for each in names)

        async def seen() -> bool:
            found = await self.call(who, "network", "members", name=name)
            return sorted(row["root"] for row in found["members"]) == wanted

        await until(seen)


@contextlib.asynccontextmanager
async def four(home: Path):
    network, made = AppNetwork(home), Four()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(network.stop)
        await network.start(4)
        for name, node in network.nodes.items():
            client = Client(home=Path(node.home), api=node.api)
            made.clients[name] = await stack.enter_async_context(client)
            made.roots[name] = (await client.call("id", "show"))["root"]
        yield network, made


async def who_is_not_invited_is_refused(net: Four) -> None:
    made = await net.call("alice", "network", "create", name="club")
    assert (made["membrane"], made["may_invite"]) == ("invite", True)
    invitation = await net.invited("alice", "club", "bob")
    await net.refused("carol", invitation, "membrane-member")  # who has read it
    joined = await net.join("bob", invitation)
    assert joined["id"] == made["id"]
    await net.members("alice", "club", "alice", "bob")
    await net.members("bob", "club", "alice", "bob")
    with pytest.raises(Dms3Error, match="Only its admins"):
        await net.invited("bob", "club", "carol")
    await net.join("carol", await net.invited("alice", "club", "carol"))
    await net.members("bob", "club", "alice", "bob", "carol")
    listed = await net.call("dave", "network", "list")
    assert listed["networks"] == []
    assert made["id"] not in {row["id"] for row in listed["overlays"]}


def test_networks_of_people(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with four(tmp_path / "net") as (_, net):
            await who_is_not_invited_is_refused(net)

    asyncio.run(scenario())
