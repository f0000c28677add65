"""Commands about names: `name`.

Source: docs/names.md. Cheap to import: what they do is in `node/name_answers.py`.
"""

from __future__ import annotations

from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import About, Result, command

Name = Annotated[str, About("such as bob, alice.dms3 or alice.eth", metavar="NAME")]


@command("name", "show", example="dms3 name show alice.eth")
async def name_show(
    node: NodeServices,
    name: Name,
    fresh: Annotated[bool, "ask again, whatever was answered a moment ago"] = False,
) -> Result:
    """Who a name is, who says so, and the fingerprint to compare.

    A name without a dot is a contact of yours.
    """
    return Result(await node.names.show(name, fresh=fresh))


@command("name", "list", example="dms3 name list")
async def name_list(node: NodeServices) -> Result:
    """Your own names, and the record that makes a name of ENS lead to you."""
    return Result(await node.names.own())


@command("name", "claim", example="dms3 name claim alice.dms3")
async def name_claim(node: NodeServices, name: Name) -> Result:
    """Take a name ending in .dms3 that nobody has; first come, first served."""
    return Result(await node.names.claim(name))


@command("name", "add", example="dms3 name add alice.eth --primary")
async def name_add(
    node: NodeServices,
    name: Name,
    primary: Annotated[bool, "write messages under this name"] = False,
) -> Result:
    """Count a name of ENS among yours, after a look at whether it leads to your account."""
    return Result(await node.names.add(name, primary=primary))


@command("name", "use", example="dms3 name use alice.dms3")
async def name_use(node: NodeServices, name: Name) -> Result:
    """Write messages under this name of yours."""
    return Result(await node.names.use(name))


@command("name", "drop", example="dms3 name drop alice.dms3")
async def name_drop(node: NodeServices, name: Name) -> Result:
    """Give one of your names up; a claim lapses within 30 days."""
    return Result(await node.names.drop(name))


@command("name", "forget", example="dms3 name forget bob.dms3")
async def name_forget(node: NodeServices, name: Name) -> Result:
    """Believe whoever has a .dms3 name now, though it was of another key before.

    Ask the person first: this is how an impostor looks, too.
    """
    return Result(await node.names.forget(name))


COMMANDS = (name_show, name_list, name_claim, name_add, name_use, name_drop, name_forget)
