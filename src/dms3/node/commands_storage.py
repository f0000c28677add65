"""Commands about where messages are kept: `message storage`, `store-in`, `devices` and others.

Source: docs/interfaces.md, "Command line". Cheap to import: what they do is in `node/storing.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from dms3.node.services import NodeServices
from dms3.node.table import About, Result, Secret, Step, command

Kind = Literal["local", "overlay", "ipfs", "s3", "webdav", "opendal", "service"]


@command("message", "storage", example="dms3 message storage")
async def message_storage(node: NodeServices) -> Result:
    """Where your messages are kept, how much there is, and where else they could be."""
    return Result(await node.storing.storage())


@command(
    "message",
    "store-in",
    example="dms3 message store-in webdav --url https://cloud.example/dms3 --secret-file login",
)
async def message_store_in(
    node: NodeServices,
    kind: Annotated[Kind, About("what kind of place it is", metavar="KIND")],
    url: Annotated[str, "its address, without any secret"] = "",
    secret: Annotated[Secret | None, "what opens it: options as JSON"] = None,
    lost: Annotated[bool, "the place used so far is lost: append everything again"] = False,
) -> AsyncIterator[Step]:
    """Keep your messages in another place; everything is moved there, for all your devices.

    What lies there is sealed on this node. Where all devices read the same place, each of them
    comes to have every message.
    """
    opened = "" if secret is None else secret.text
    async for step in node.storing.store_in(kind, url, opened, lost=lost):
        yield step


@command("message", "earlier", example="dms3 message earlier bob")
async def message_earlier(
    node: NodeServices, name: Annotated[str, "a person with whom messages were exchanged"]
) -> Result:
    """Bring older messages from where they are kept, until there are more with this person."""
    return Result(await node.storing.earlier(name))


@command("message", "devices", example="dms3 message devices")
async def message_devices(node: NodeServices) -> Result:
    """Your devices that keep their messages in the same place."""
    return Result(await node.storing.devices())


@command("message", "remove-device", example="dms3 message remove-device 4f2a91c0")
async def message_remove_device(
    node: NodeServices,
    id: Annotated[str, "beginning of the id of the device"],  # noqa: A002 - its name in the API
) -> Result:
    """Take a device off the list and use new keys from now on; what it kept stays readable.

    A device that has the twelve words can make any key of yours: see docs/attacks.md.
    """
    return Result(await node.storing.remove_device(id))


COMMANDS = (
    message_storage,
    message_store_in,
    message_earlier,
    message_devices,
    message_remove_device,
)
