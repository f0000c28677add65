"""An agreement that two have signed: all read it, with both signatures, after one node has died.

Five real processes on loopback. Costs 20 s, most of it starting them and their apps.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from dms3.cli.dev import DevNode
from dms3.sdk import Client
from network.nodes import network_of

TERMS = {"title": "The boat", "text": "Bob lends Alice the boat until May."}


def client(node: DevNode) -> Client:
    return Client(home=Path(node.home), api=node.api)


async def app(node: Client, function: str, **arguments: Any) -> Any:
    answer = await node.call(
        "dapp", "call", dapp="agreement", function=function, arguments=arguments
    )
    return answer["value"]


async def session_in(node: Client, *states: str) -> dict[str, Any]:
    """The session of the node, once it is in one of these states."""
    while True:
        listed = await node.call("dapp", "sessions", dapp="agreement")
        for session in listed["sessions"]:
            if session["state"] in states:
                return dict(session)
        await asyncio.sleep(0.05)


async def scenario(tmp_path: Path) -> None:
    net = network_of(tmp_path / "net", 5, {})
    async with net as nodes, contextlib.AsyncExitStack() as stack:
        named = [nodes.nodes[name] for name in sorted(nodes.nodes)]
        alice, bob, *others = [await stack.enter_async_context(client(node)) for node in named]
        installs = (
            each.call("dapp", "install", what="agreement") for each in (alice, bob, *others)
        )
        await asyncio.gather(*installs)
        agents = {await app(alice, "me"), await app(bob, "me")}
        asked = await app(alice, "propose", partner=await app(bob, "me"), **TERMS)
        waiting = await session_in(bob, "proposed")
        assert (waiting["session"], waiting["content"]) == (asked["session"], TERMS)
        await app(bob, "accept", session=asked["session"])
        done = [await session_in(each, "complete") for each in (alice, bob)]
        assert all(set(session["signed"]) == agents for session in done)
        (signed,) = await app(alice, "agreements")
        nodes.kill("bob")
        for node in (alice, *others):
            found = await app(node, "verify", agreement=signed["agreement"])
            assert found["valid"], found
            assert set(found["authors"]) == agents
            assert (found["title"], found["text"]) == (TERMS["title"], TERMS["text"])


def test_an_agreement_outlives_the_node_of_a_party(tmp_path):
    asyncio.run(asyncio.wait_for(scenario(tmp_path), 120))
