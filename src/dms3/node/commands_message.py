"""Commands about messages: `message`.

Source: docs/interfaces.md, "Command line". Cheap to import: what they do is in `node/messages.py`.
"""

# ruff: noqa: A002 - a message is known by its hash, and parameters are named for people
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from dms3.node.services import NodeServices
from dms3.node.table import About, BlobOrPath, Result, Secret, Step, command

Name = Annotated[str, "a contact, or any dms3 or ENS name"]
Hash = Annotated[str, About("the hash of a message, as --json shows it", metavar="HASH")]
Service = Annotated[str, "the name of a delivery service"]
Switch = Literal["yes", "no"] | None


@command("message", "send", example='dms3 message send bob "We meet on Friday."')
async def message_send(
    node: NodeServices,
    name: Name,
    text: Annotated[str, "what to say"],
    attach: Annotated[tuple[BlobOrPath, ...], About("files to go with it", metavar="FILE")] = (),
    reply: Annotated[str | None, About("the message this answers", metavar="HASH")] = None,
) -> Result:
    """Write to somebody; it goes on its way as soon as it can, also after a restart."""
    return Result(await node.messages.send(name, text, attach, reply))


@command("message", "edit", example='dms3 message edit 0x36d2... "We meet on Saturday."')
async def message_edit(
    node: NodeServices, hash: Hash, text: Annotated[str, "what it says from now on"]
) -> Result:
    """Change what a message of yours says."""
    return Result(await node.messages.edit(hash, text))


@command("message", "delete", example="dms3 message delete 0x36d2...")
async def message_delete(node: NodeServices, hash: Hash) -> Result:
    """Ask the receiver to show a message of yours no longer; a copy may remain."""
    return Result(await node.messages.delete(hash))


@command("message", "react", example="dms3 message react 0x36d2... 👍")
async def message_react(
    node: NodeServices, hash: Hash, text: Annotated[str, "a picture or a short word"]
) -> Result:
    """Put a small sign on a message."""
    return Result(await node.messages.react(hash, text))


@command("message", "inbox", example="dms3 message inbox --since 41")
async def message_inbox(
    node: NodeServices,
    since: Annotated[int, "go on after this message number (`next` of the answer before)"] = 0,
    limit: Annotated[int, "messages at most"] = 50,
) -> Result:
    """What came from others, in order of arrival."""
    return Result(await node.messages.inbox(since, limit))


@command("message", "conversation", example="dms3 message conversation bob")
async def message_conversation(
    node: NodeServices,
    name: Name,
    before: Annotated[int | None, "go on before this message number (`before` of the page)"] = None,
    around: Annotated[
        str | None, About("what was said before and after it", metavar="HASH")
    ] = None,
    limit: Annotated[int, "messages at most"] = 50,
) -> Result:
    """The last messages with somebody, or those around one; oldest first."""
    return Result(await node.messages.conversation(name, before, around, limit))


@command("message", "conversations", example="dms3 message conversations")
async def message_conversations(
    node: NodeServices, limit: Annotated[int, "conversations at most"] = 100
) -> Result:
    """Everybody you exchange messages with, the latest first."""
    return Result(await node.messages.conversations(limit))


@command("message", "opened", example="dms3 message opened bob")
async def message_opened(node: NodeServices, name: Name) -> Result:
    """Say that you have read what somebody wrote."""
    return Result(await node.messages.opened(name))


@command("message", "fetch", example="dms3 message fetch")
async def message_fetch(node: NodeServices) -> Result:
    """Ask your delivery services now."""
    return Result(await node.messages.fetch())


@command(
    "message",
    "attachment",
    example="dms3 message attachment 0x36d2... 0 -o photo.jpg",
    download=True,
)
async def message_attachment(
    node: NodeServices, hash: Hash, number: Annotated[int, "which one, from 0"]
) -> Result:
    """Take a file out of a message."""
    return Result(await node.messages.attachment(hash, number))


@command("message", "profile", example="dms3 message profile bob")
async def message_profile(
    node: NodeServices,
    name: Annotated[str | None, About("who; without it: you", metavar="NAME", bare=True)] = None,
) -> Result:
    """Who a name is, who vouches for it, and the fingerprint to compare."""
    return Result(await node.messages.profile(name))


@command("message", "people", example="dms3 message people")
async def message_people(node: NodeServices) -> Result:
    """Everybody known by messages: contacts, requests, the blocked."""
    return Result(await node.messages.people())


@command("message", "accept", example="dms3 message accept bob.eth")
async def message_accept(node: NodeServices, name: Name) -> Result:
    """Take a stranger in: their messages are shown with the others, and get receipts."""
    return Result(await node.messages.decide(name, "accept"))


@command("message", "block", example="dms3 message block bob.eth")
async def message_block(node: NodeServices, name: Name) -> Result:
    """Take nothing from somebody any more; they are not told."""
    return Result(await node.messages.decide(name, "block"))


@command("message", "unblock", example="dms3 message unblock bob.eth")
async def message_unblock(node: NodeServices, name: Name) -> Result:
    """Take messages of somebody again."""
    return Result(await node.messages.decide(name, "unblock"))


@command("message", "forget", example="dms3 message forget bob.eth")
async def message_forget(node: NodeServices, name: Name) -> Result:
    """Forget what was decided about somebody; the messages stay."""
    return Result(await node.messages.decide(name, "forget"))


@command("message", "verified", example="dms3 message verified bob")
async def message_verified(node: NodeServices, name: Name) -> Result:
    """Say that you compared the fingerprint with that person, and it is the same."""
    return Result(await node.messages.decide(name, "verified"))


@command("message", "services", example="dms3 message services")
async def message_services(node: NodeServices) -> Result:
    """Who carries your messages, and whether each can be reached."""
    return Result(await node.messages.services())


@command("message", "carry", example="dms3 message carry ds.example.eth")
async def message_carry(node: NodeServices, name: Service) -> Result:
    """Let a delivery service keep messages for you while your node is off."""
    return Result(await node.messages.carry(name))


@command("message", "uncarry", example="dms3 message uncarry ds.example.eth")
async def message_uncarry(node: NodeServices, name: Service) -> Result:
    """Leave a delivery service, after what waits there was fetched."""
    return Result(await node.messages.uncarry(name))


@command("message", "settings", example="dms3 message settings --receipts no")
async def message_settings(
    node: NodeServices,
    receipts: Annotated[Switch, "tell senders what you received and read"] = None,
    requests: Annotated[Switch, "take messages of strangers"] = None,
) -> Result:
    """Show the settings of messages, or change them."""
    return Result(await node.messages.settings(receipts, requests))


@command("message", "export", example="dms3 message export -o messages.zip", download=True)
async def message_export(node: NodeServices) -> AsyncIterator[Step]:
    """Write every conversation into one file, which is not encrypted."""
    async for step in node.messages.export():
        yield step


@command("message", "import", example="dms3 message import messages.zip")
async def message_import(
    node: NodeServices, file: Annotated[BlobOrPath, "a file that `message export` wrote"]
) -> AsyncIterator[Step]:
    """Bring exported conversations in; every signature is checked, nothing is there twice."""
    async for step in node.messages.bring_in(file):
        yield step


@command(
    "message",
    "keys-from-wallet",
    needs_token=True,
    example="dms3 message keys-from-wallet 0x19E7... --signature-file signature.txt",
)
async def message_keys_from_wallet(
    node: NodeServices,
    address: Annotated[str, "the Ethereum address of the wallet"],
    signature: Annotated[Secret, "what the wallet answered: 0x and 130 hex digits"],
    nonce: Annotated[str | None, "the nonce of the dm3 app; without it: that of dm3 itself"] = None,
) -> Result:
    """Use the keys that your wallet makes for dm3, to read what was sent to those.

    The wallet signs the text that dm3 apps ask it to sign.
    """
    return Result(await node.messages.adopt(address, signature.text, nonce))


COMMANDS = (
    message_send,
    message_edit,
    message_delete,
    message_react,
    message_inbox,
    message_conversation,
    message_conversations,
    message_opened,
    message_fetch,
    message_attachment,
    message_profile,
    message_people,
    message_accept,
    message_block,
    message_unblock,
    message_forget,
    message_verified,
    message_services,
    message_carry,
    message_uncarry,
    message_settings,
    message_export,
    message_import,
    message_keys_from_wallet,
)
