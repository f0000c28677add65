"""Commands about agents that broke the rules of apps: `warrant`.

Source: docs/chains.md, "Convicted". Cheap to import: what they do is in `node/warrant_answers.py`.
"""

from __future__ import annotations

from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import About, Result, command

App = Annotated[str, About("the name of an installed app", metavar="D")]
Agent = Annotated[str, About("an agent, as `warrant list` and entries show it", metavar="AGENT")]


@command("warrant", "list", example="dms3 warrant list guestbook")
async def warrant_list(
    node: NodeServices,
    dapp: Annotated[
        str | None, About("of this app; without it: of all", metavar="D", bare=True)
    ] = None,
) -> Result:
    """Agents that this node has convicted or that you block, and why."""
    return Result(await node.warrants.list(dapp))


@command("warrant", "show", example="dms3 warrant show 7zq3...")
async def warrant_show(
    node: NodeServices,
    agent: Agent,
    dapp: Annotated[str | None, About("in this app; without it: in any", metavar="D")] = None,
) -> Result:
    """The evidence against an agent: the actions that it signed, and what is wrong with them."""
    return Result(await node.warrants.show(agent, dapp))


@command("warrant", "block", example="dms3 warrant block guestbook 7zq3... --why rude")
async def warrant_block(
    node: NodeServices,
    dapp: App,
    agent: Agent,
    why: Annotated[str, About("a word for your own list", metavar="TEXT")] = "",
) -> Result:
    """Take nothing more of an agent in an app; nobody else is told."""
    return Result(await node.warrants.block(dapp, agent, why))


@command("warrant", "pardon", example="dms3 warrant pardon guestbook 7zq3...")
async def warrant_pardon(node: NodeServices, dapp: App, agent: Agent) -> Result:
    """Take from an agent again, whatever has been shown against it so far."""
    return Result(await node.warrants.pardon(dapp, agent))


COMMANDS = (warrant_list, warrant_show, warrant_block, warrant_pardon)
