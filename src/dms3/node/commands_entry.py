"""Commands about what apps wrote: `entry`.

Source: docs/interfaces.md, "Command line". Cheap to import: what they do is in
`node/dapps_entries.py`.
"""

# ruff: noqa: A002 - parameters are named for people: --type, HASH
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import About, Json, Result, Step, command

App = Annotated[str, About("the name of an installed app", metavar="D")]
MaybeApp = Annotated[str | None, About("of this app; without it: of any", metavar="D")]
Hash = Annotated[str, About("the hash of an entry or of an action", metavar="HASH")]


@command(
    "entry",
    "put",
    example="""dms3 entry put --dapp guestbook --type entry '{"name": "Alice", "text": "Hi"}'""",
)
async def entry_put(
    node: NodeServices,
    content: Annotated[Json, About("what it says", metavar="JSON")],
    dapp: Annotated[str, About("the name of an installed app", "--dapp", "D")],
    type: Annotated[str, About("the kind of entry, as the app names it", "--type", "T")],
    private: Annotated[bool, "it stays on your devices"] = False,
    wait: Annotated[int, About("until others hold it, at most so long", metavar="SECONDS")] = 0,
) -> AsyncIterator[Step]:
    """Write an entry to your chain in an app, by the rules of the app.

    It is written when this answers. With --wait it says who signed for it, too, and why that is
    enough: their uptimes, or everybody has signed whom there is to ask.
    """
    async for step in node.entries.put(dapp, type, content.value, private=private, wait=wait):
        yield step


@command("entry", "get", example="dms3 entry get bafyrei...")
async def entry_get(
    node: NodeServices,
    hash: Hash,
    dapp: MaybeApp = None,
    latest: Annotated[bool, "what became of it, when it was updated"] = False,
) -> Result:
    """Bring an entry, from here or from the nodes that hold it."""
    return Result(await node.entries.get(hash, dapp, latest=latest))


@command("entry", "links", example="dms3 entry links bafyrei... --tag note")
async def entry_links(
    node: NodeServices,
    base: Annotated[str, About("a hash, an agent, or any text (an anchor)", metavar="BASE")],
    dapp: MaybeApp = None,
    tag: Annotated[str, About("only tags that begin so", metavar="T")] = "",
    type: Annotated[str, About("only links of this kind", metavar="T")] = "",
    limit: Annotated[int, "links at most"] = 100,
) -> Result:
    """What is linked from somewhere."""
    return Result(await node.entries.links(base, dapp, tag, type, limit))


@command("entry", "history", example="dms3 entry history 5c0e...")
async def entry_history(
    node: NodeServices,
    agent: Annotated[
        str,
        About("an agent, as `id show` lists yours; without it: you", metavar="AGENT", bare=True),
    ] = "",
    dapp: MaybeApp = None,
    after: Annotated[int, "go on after this number (`next` of the answer before)"] = -1,
    limit: Annotated[int, "actions at most"] = 100,
) -> Result:
    """What an agent did, as the nodes that watch it say."""
    return Result(await node.entries.history(agent, dapp, after, limit))


@command("entry", "journey", example="dms3 entry journey bafyrei...")
async def entry_journey(node: NodeServices, hash: Hash, dapp: MaybeApp = None) -> Result:
    """Where an action has got to: who holds it, who signed for it, what was found wrong with it."""
    return Result(await node.entries.journey(hash, dapp))


COMMANDS = (entry_put, entry_get, entry_links, entry_history, entry_journey)
