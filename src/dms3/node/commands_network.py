"""Commands about networks of people: `network`.

Source: docs/networks.md. Cheap to import: what they do is in `node/networks_answers.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from dms3.node.services import NodeServices
from dms3.node.services_network import Wish
from dms3.node.table import About, Result, Secret, command

Name = Annotated[str, About("the name of a network you are in", metavar="NAME")]
Text = Annotated[str, About("the whole line that begins with dms3net:", metavar="INVITATION")]
SeedText = Annotated[
    Secret | None, "the seed of a network behind one: the first line of this file, - to type it"
]


@command("network", "create", example="dms3 network create club --membrane invite")
async def network_create(  # noqa: PLR0913, PLR0917  # one parameter per option
    node: NodeServices,
    name: Annotated[str, About("what you call it", metavar="NAME")],
    membrane: Annotated[
        Literal["invite", "member", "seed", "work", "lan", "immune"],
        "who may be in: whom admins invite, whom any member invites, who knows a seed, who spends "
        "work, who is on your local network, everybody until so many members have warned of them",
    ] = "invite",
    admins: Annotated[
        tuple[str, ...], About("further admins: contacts, or roots", metavar="CONTACT")
    ] = (),
    needed: Annotated[
        int, About("so many admins sign each invitation, or put a member out", metavar="N")
    ] = 1,
    seed: SeedText = None,
    bits: Annotated[
        int, About("how much work: each bit doubles it; 20 is about a second", metavar="N")
    ] = 20,
    apps: Annotated[
        tuple[str, ...],
        About("apps in which admins warn of members, with --membrane immune", metavar="APP"),
    ] = (),
) -> Result:
    """Make a network of your own: what is in it is found by its members and nobody else.

    You are its first member, and one of its admins. What is published in it is kept by members.
    """
    given = None if seed is None else seed.text
    wish = Wish(membrane, admins, needed, given, bits, apps)
    return Result(await node.networks.create(name, wish))


@command("network", "invite", example="dms3 network invite club bob --days 30")
async def network_invite(
    node: NodeServices,
    name: Name,
    who: Annotated[str, About("a contact, or the root of anybody", metavar="WHO")],
    days: Annotated[int, "so many days they may be in; invite them again to prolong it"] = 365,
) -> Result:
    """An invitation for somebody: one line to give to them, and to nobody else."""
    return Result(await node.networks.invite(name, who, days))


@command("network", "sign", example="dms3 network sign dms3net:uzvq...")
async def network_sign(node: NodeServices, invitation: Text) -> Result:
    """Sign an invitation that another admin began, where several have to."""
    return Result(await node.networks.sign(invitation))


@command("network", "join", example="dms3 network join dms3net:uzvq...")
async def network_join(
    node: NodeServices,
    invitation: Text,
    name: Annotated[str | None, "call it this here"] = None,
    seed: SeedText = None,
) -> Result:
    """Join a network by an invitation; with a newer one, stay in it for longer.

    With --name a network that you are in is called something else here.
    """
    given = None if seed is None else seed.text
    return Result(await node.networks.join(invitation, name, given))


@command("network", "list", example="dms3 network list")
async def network_list(node: NodeServices) -> Result:
    """The networks you are in, who may be, and every overlay that this node takes part in."""
    return Result(await node.networks.list())


@command("network", "members", example="dms3 network members club")
async def network_members(node: NodeServices, name: Name) -> Result:
    """Who is in a network now, and at which nodes."""
    return Result(await node.networks.members(name))


@command("network", "leave", example="dms3 network leave club")
async def network_leave(node: NodeServices, name: Name) -> Result:
    """Leave a network; copies that members have made of what you published there may remain."""
    return Result(await node.networks.leave(name))


COMMANDS = (
    network_create,
    network_invite,
    network_sign,
    network_join,
    network_list,
    network_members,
    network_leave,
)
