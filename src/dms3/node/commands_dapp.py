"""Commands about apps: `dapp`.

Source: docs/dapps.md. Cheap to import: what they do is in `node/dapps.py`. `dapp new` needs no node
and is `cli/making.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import About, BlobOrPath, Json, Result, Step, command

App = Annotated[str, About("the name of an installed app", metavar="DAPP")]
What = Annotated[
    str, About("a folder, a CID, or an app that comes with dms3", metavar="WHAT", bare=True)
]
Files = Annotated[
    tuple[BlobOrPath, ...], About("the folder of the app, or its files as uploads", metavar="PATH")
]
Proof = Annotated[Json | None, About("what the app asks of members", metavar="JSON")]
Session = Annotated[str, About("a countersigning, as `dapp sessions` lists it", metavar="SESSION")]


@command("dapp", "install", example="dms3 dapp install guestbook")
async def dapp_install(
    node: NodeServices,
    what: What = "",
    files: Files = (),
    name: Annotated[str | None, "call it this here, where two apps have one name"] = None,
    proof: Proof = None,
) -> AsyncIterator[Step]:
    """Install an app, or its new functions and page; its rules decide which app it is.

    Apps that come with dms3: guestbook, notes, agreement.
    """
    async for step in node.dapps.install(what, files, name, None if proof is None else proof.value):
        yield step


@command("dapp", "list", example="dms3 dapp list")
async def dapp_list(node: NodeServices) -> Result:
    """The apps that are installed, and those that come with dms3."""
    return Result(await node.dapps.list())


@command("dapp", "show", example="dms3 dapp show guestbook")
async def dapp_show(node: NodeServices, dapp: App) -> Result:
    """What an app is: its rules, its functions, your agent in it, what this node holds of it."""
    return Result(await node.dapps.show(dapp))


@command("dapp", "call", example="""dms3 dapp call guestbook sign '{"text": "I was here"}'""")
async def dapp_call(
    node: NodeServices,
    dapp: App,
    function: Annotated[str, About("a function that the app exposes", metavar="FUNCTION")],
    arguments: Annotated[
        Json | None, About("its arguments, an object by name", metavar="JSON", bare=True)
    ] = None,
) -> Result:
    """Call a function of an app."""
    given = {} if arguments is None else arguments.value
    return Result(await node.dapps.call(dapp, function, given))


@command("dapp", "open", example="dms3 dapp open guestbook")
async def dapp_open(node: NodeServices, dapp: App) -> Result:
    """A link to the page of an app; it works once and for a minute."""
    return Result(await node.dapps.link(dapp))


@command("dapp", "token", example="dms3 dapp token guestbook", needs_token=True)
async def dapp_token(node: NodeServices, dapp: App) -> Result:
    """A token for a program that may call this app and nothing else, until the node stops."""
    return Result(await node.dapps.token(dapp))


@command("dapp", "remove", example="dms3 dapp remove guestbook")
async def dapp_remove(node: NodeServices, dapp: App) -> Result:
    """Stop an app and forget its files; what you wrote in it stays, and comes back with it."""
    return Result(await node.dapps.remove(dapp))


@command("dapp", "migrate", example="dms3 dapp migrate guestbook --files ./guestbook")
async def dapp_migrate(
    node: NodeServices, dapp: App, what: What = "", files: Files = (), proof: Proof = None
) -> AsyncIterator[Step]:
    """Go on in another version of an app, with other rules; your chain in this one is closed."""
    value = None if proof is None else proof.value
    async for step in node.dapps.migrate(dapp, what, files, value):
        yield step


@command("dapp", "publish", example="dms3 dapp publish guestbook")
async def dapp_publish(node: NodeServices, dapp: App) -> AsyncIterator[Step]:
    """Let anybody find and install an app: its files become public, what you wrote does not."""
    async for step in node.dapps.publish(dapp):
        yield step


@command("dapp", "discover", example="dms3 dapp discover guestbook")
async def dapp_discover(
    node: NodeServices,
    query: Annotated[str, About("words; without them all", metavar="QUERY", bare=True)] = "",
    limit: Annotated[int, "apps at most"] = 20,
) -> Result:
    """Apps that others have published."""
    return Result(await node.dapps.discover(query, limit))


@command("dapp", "invite", example="dms3 dapp invite guestbook bob --days 30")
async def dapp_invite(
    node: NodeServices,
    dapp: App,
    who: Annotated[str, About("a contact, or the root of anybody", metavar="WHO")],
    days: Annotated[int, "so many days it holds"] = 365,
) -> Result:
    """A proof with which somebody may install an app that asks for an invitation.

    They give it to dms3 dapp install --proof.
    """
    return Result(await node.networks.invite_to_app(dapp, who, days))


@command("dapp", "grant", example="dms3 dapp grant agreement propose --to bob")
async def dapp_grant(
    node: NodeServices,
    dapp: App,
    functions: Annotated[tuple[str, ...], About("functions of the app", metavar="FUNCTION")],
    to: Annotated[
        str | None, About("who may; nobody named: who gets the capability", metavar="CONTACT")
    ] = None,
    until: Annotated[str | None, "the last day, as 2027-03-01; without it: until revoked"] = None,
) -> Result:
    """Let somebody's app call functions of yours that are not open to everybody."""
    return Result(await node.dapps.grant(dapp, functions, to, until))


@command("dapp", "grants", example="dms3 dapp grants agreement")
async def dapp_grants(node: NodeServices, dapp: App) -> Result:
    """Who may call what of an app at this node."""
    return Result(await node.dapps.grants(dapp))


@command("dapp", "revoke", example="dms3 dapp revoke agreement 7f21...")
async def dapp_revoke(
    node: NodeServices,
    dapp: App,
    grant: Annotated[str, About("as `dapp grants` lists it", metavar="GRANT")],
) -> Result:
    """Take a grant back."""
    return Result(await node.dapps.revoke(dapp, grant))


@command("dapp", "sessions", example="dms3 dapp sessions agreement")
async def dapp_sessions(node: NodeServices, dapp: App) -> Result:
    """What is being signed together with others, and what waits for you."""
    return Result(await node.dapps.sessions(dapp))


@command("dapp", "accept", example="dms3 dapp accept 1f9a...")
async def dapp_accept(node: NodeServices, session: Session) -> Result:
    """Sign what others asked you to sign with them."""
    return Result(await node.dapps.decide(session, "accept"))


@command("dapp", "decline", example="dms3 dapp decline 1f9a...")
async def dapp_decline(node: NodeServices, session: Session) -> Result:
    """Do not sign it."""
    return Result(await node.dapps.decide(session, "decline"))


COMMANDS = (
    dapp_install,
    dapp_list,
    dapp_show,
    dapp_call,
    dapp_open,
    dapp_token,
    dapp_remove,
    dapp_migrate,
    dapp_publish,
    dapp_discover,
    dapp_invite,
    dapp_grant,
    dapp_grants,
    dapp_revoke,
    dapp_sessions,
    dapp_accept,
    dapp_decline,
)
