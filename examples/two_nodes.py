"""Two nodes on this machine: alice shares a space, bob searches it and opens what he finds.

    python examples/two_nodes.py

Both are processes of their own, as on two machines; everything is gone at the end.
"""

import asyncio
import tempfile
from pathlib import Path

from dms3.cli.dev import DevNode, dev_network
from dms3.sdk import Client

LETTER = "Dear Bob, we meet on Friday at nine to plant the garden.\n"


def client_of(node: DevNode) -> Client:
    """A client of the node: its home holds the token, `api` says where it listens."""
    return Client(home=Path(node.home), api=node.api)


async def befriend(one: Client, other: Client) -> None:
    """Each gets the other's contact card; people would send it by mail."""
    for giver, taker in ((one, other), (other, one)):
        card = await giver.call("contact", "card")
        await taker.call("contact", "add", card=card["card"])


async def event(node: Client, topic: str) -> None:
    """Wait until the node has told of `topic`, now or before."""
    async for told in node.events(since=0, topics=(topic,)):
        if told["topic"] == topic:
            return


async def main(folder: Path) -> None:
    """Import, share, search, open; `folder` has a folder `letters`, the nodes get one beside it."""
    async with (
        dev_network(folder / "net", 2) as network,
        client_of(network.nodes["alice"]) as alice,
        client_of(network.nodes["bob"]) as bob,
    ):
        await befriend(alice, bob)
        await alice.call("store", "add", paths=[str(folder / "letters")], space="letters")
        await alice.call("store", "share", space="letters", **{"with": "bob"})
        await event(bob, "grant.received")
        found = await bob.call("search", query="garden", scope="peers")
        [hit] = found["hits"]
        print(f"bob finds {hit['title']} in {hit['space']}, at {hit['node'][:12]}")
        content = await bob.download(hit["cid"])
        print(f"bob reads: {content.decode().strip()}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        letters = Path(name, "letters")
        letters.mkdir()
        letters.joinpath("friday.txt").write_text(LETTER)
        asyncio.run(main(Path(name)))
