"""Commands about what a person wrote in apps, on this and other devices: `chain`.

Source: docs/interfaces.md, "Command line". Cheap to import: what they do is in
`node/chain_answers.py`.
"""

from __future__ import annotations

from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import About, Result, command

App = Annotated[str, About("the name of an installed app", metavar="D")]


@command("chain", "list", example="dms3 chain list")
async def chain_list(node: NodeServices) -> Result:
    """Your chains: one for each app on each of your devices, and how far each reaches."""
    return Result(await node.chains.list())


@command("chain", "show", example="dms3 chain show guestbook")
async def chain_show(
    node: NodeServices,
    dapp: App,
    device: Annotated[
        str | None, About("of this device of yours; without it: of this one", metavar="ID")
    ] = None,
    after: Annotated[int, About("only what is behind this number", metavar="N")] = -1,
    limit: Annotated[int, About("so many at most", metavar="N")] = 100,
) -> Result:
    """What you wrote in an app, in order, private entries opened."""
    return Result(await node.chains.show(dapp, device, after, limit))


@command("chain", "figures", example="dms3 chain figures guestbook")
async def chain_figures(
    node: NodeServices,
    dapp: Annotated[str | None, About("only this installed app", metavar="D", bare=True)] = None,
) -> Result:
    """What this node holds of apps for everybody, and what comparing with others brought."""
    return Result(await node.chains.figures(dapp))


@command("chain", "reconcile", example="dms3 chain reconcile guestbook")
async def chain_reconcile(node: NodeServices, dapp: App) -> Result:
    """Compare what is held of an app with a neighbour now; it happens by itself, too."""
    return Result(await node.chains.reconcile(dapp))


@command("chain", "restore", example="dms3 chain restore guestbook")
async def chain_restore(node: NodeServices, dapp: App) -> Result:
    """Bring what you wrote in an app with other devices and older homes; it can be read here."""
    return Result(await node.chains.restore(dapp))


@command("chain", "revoke", example="dms3 chain revoke guestbook 1a2b...")
async def chain_revoke(
    node: NodeServices,
    dapp: App,
    device: Annotated[str, About("a device of yours, as chain list shows it", metavar="ID")],
) -> Result:
    """Take back the key of a lost device: what it writes in an app from now on is not yours."""
    return Result(await node.chains.revoke(dapp, device))


COMMANDS = (
    chain_list,
    chain_show,
    chain_figures,
    chain_reconcile,
    chain_restore,
    chain_revoke,
)
