"""Messages with people: what the `message` commands do, over machine "mailbox" and its tables.

Source: docs/messages.md. Finds out who is meant by a name, asks the machine, and shapes answers for
programs and people. Implements `MessageServices` of node/services_message.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from dms3.core.database import Connection
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    CONVERSATIONS_LISTED_MAX,
    MESSAGE_TEXT_CHARS_MAX,
    MESSAGES_LISTED_MAX,
)
from dms3.dm3.message import Attachment, MessageType
from dms3.io import messages as tables
from dms3.io.messages import Numbered
from dms3.messaging.operations import (
    CarrierState,
    Correspondent,
    Decide,
    MailSettings,
    SendMessage,
    Sent,
)
from dms3.node import attaching
from dms3.node.correspondents import Correspondents, profile_data
from dms3.node.message_archive import bring_in, export
from dms3.node.message_folding import read
from dms3.node.message_keys import adopt
from dms3.node.message_rows import person, rows
from dms3.node.node import Node
from dms3.node.table import BlobOrPath, Step

T = TypeVar("T")


class Messages:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._people = Correspondents(node)

    # saying

    async def send(
        self, to: str, text: str, attach: Sequence[BlobOrPath], reply: str | None
    ) -> dict[str, Any]:
        """A new message, or an answer to `reply`; durable here when it returns."""
        check_text(text, needed=not attach)
        receiver = await self._people.receiver(to)
        files = await asyncio.to_thread(attaching.attach, attach, self._node.spool)
        if reply is not None:
            await self._find(reply)
        await self._people.check_room(receiver, text, files)
        kind = MessageType.NEW if reply is None else MessageType.REPLY
        sent = await self._send(SendMessage(receiver, text, kind, files, reply))
        for file in attach:
            if file.blob is not None:
                self._node.spool.remove(file.blob)
        return sent

    async def edit(self, message: str, text: str) -> dict[str, Any]:
        """Other words for a message of mine."""
        check_text(text, needed=True)
        before = await self._mine(message, "changed")
        files = self._attachments(before)
        await self._people.check_room(before.kept.person, text, files)
        return await self._about(before, MessageType.EDIT, text, files)

    async def delete(self, message: str) -> dict[str, Any]:
        """Ask whoever has it to show a message of mine no longer."""
        return await self._about(
            await self._mine(message, "deleted"), MessageType.DELETE_REQUEST, None, ()
        )

    async def react(self, message: str, text: str) -> dict[str, Any]:
        """A short word or picture about a message."""
        check_text(text, needed=True)
        return await self._about(await self._find(message), MessageType.REACTION, text, ())

    async def _about(
        self, one: Numbered, kind: MessageType, text: str | None, files: tuple[Attachment, ...]
    ) -> dict[str, Any]:
        reference = one.kept.hash
        return await self._send(SendMessage(one.kept.person, text, kind, files, reference))

    async def _send(self, message: SendMessage) -> dict[str, Any]:
        sent: Sent = await self._node.call("mailbox.send", message)
        return {"hash": sent.hash, "person": sent.person, "state": str(sent.state)}

    # reading

    async def inbox(self, since: int, limit: int) -> dict[str, Any]:
        """Messages of others with a number above `since`, in order of arrival."""
        check_limit(limit, MESSAGES_LISTED_MAX)

        def work(connection: Connection) -> dict[str, Any]:
            found = tables.arrived(connection, since, limit)
            last = found[-1].number if found else since
            return {"messages": rows(connection, found), "next": last}

        return await self._read(work)

    async def conversation(
        self, name: str, before: int | None, around: str | None, limit: int
    ) -> dict[str, Any]:
        """The last messages with a person, those before number `before`, or on both sides of one.

        `after` in the answer: the number of the message after those, None when they are the last.
        """
        check_limit(limit, MESSAGES_LISTED_MAX)
        who = await self._people.find(name)

        def work(connection: Connection) -> dict[str, Any]:
            after = before
            if around is not None:
                after = tables.behind(connection, around, limit // 2)
            found = tables.page(connection, who["id"], after, limit + 1)
            more, found = len(found) > limit, found[-limit:]
            return {
                "person": who,
                "messages": rows(connection, found),
                "before": found[0].number if more else None,
                "after": after,
            }

        return await self._read(work)

    async def conversations(self, limit: int) -> dict[str, Any]:
        """Everybody messages were exchanged with, the latest first; the blocked are counted."""
        check_limit(limit, CONVERSATIONS_LISTED_MAX)
        people = {one["id"]: one for one in await self._people.all()}
        counts = [one["standing"] for one in people.values()]

        def work(connection: Connection) -> list[dict[str, Any]]:
            found = tables.conversations(connection, limit)
            last = rows(connection, [one.last for one in found if one.last is not None])
            by_person = {one["person"]: one for one in last}
            return [
                {
                    "person": people.get(one.person) or stranger(one.person),
                    "last": by_person.get(one.person),
                    "unread": one.unread,
                    "total": one.total,
                }
                for one in found
            ]

        found = await self._read(work)
        return {
            "conversations": [one for one in found if one["person"]["standing"] != "blocked"],
            "requests": counts.count("request"),
            "blocked": counts.count("blocked"),
        }

    async def opened(self, name: str) -> dict[str, Any]:
        """The messages of a person are on a screen; they are told where receipts are on."""
        who = await self._people.find(name)
        return {"read": await self._node.call("mailbox.opened", who["id"])}

    async def fetch(self) -> dict[str, Any]:
        """Ask every own service now."""
        return {"new": await self._node.call("mailbox.fetch")}

    async def attachment(self, message: str, number: int) -> dict[str, Any]:
        """Name, type and size of a file in a message, and where its bytes are given out."""
        uri, name = await self._attached(message, number)
        data = await asyncio.to_thread(attaching.contents, uri)
        return {
            "blob": attaching.reference(message, number),
            "name": name,
            "media": attaching.media_of(uri),
            "size": len(data),
        }

    async def content(self, message: str, number: int) -> attaching.Inside:
        """The file itself."""
        uri, name = await self._attached(message, number)
        return attaching.Inside(name, await asyncio.to_thread(attaching.contents, uri))

    async def _attached(self, message: str, number: int) -> tuple[str, str]:
        one = await self._find(message)
        files = self._attachments(one)
        if not 0 <= number < len(files):
            raise Dms3Error("not_found", f"The message has no attachment {number}.")
        return files[number].data, attaching.shown_name(files[number], number)

    # people

    async def profile(self, name: str | None) -> dict[str, Any]:
        """Who a name is, or who this person is to others: keys, services, who vouches."""
        return await profile_data(self._node, self._people, name)

    async def people(self) -> dict[str, Any]:
        """Everybody known by messages."""
        return {"people": await self._people.all()}

    async def decide(self, name: str, what: Any) -> dict[str, Any]:
        """Accept, block, unblock, forget somebody, or note that keys were compared."""
        who = await self._people.find(name)
        decided: Correspondent = await self._node.call("mailbox.decide", Decide(who["id"], what))
        return person(decided, who["name"])

    # services and settings

    async def services(self) -> dict[str, Any]:
        """Who carries my messages, and how each is."""
        own = await self._node.call("names.own")
        found: tuple[CarrierState, ...] = await self._node.call("mailbox.services")
        return {"services": [carrier(one, own.service_name) for one in found]}

    async def carry(self, name: str) -> dict[str, Any]:
        """Use a delivery service from now on."""
        own = await self._node.call("names.own")
        return carrier(await self._node.call("mailbox.carry", name), own.service_name)

    async def uncarry(self, name: str) -> dict[str, Any]:
        """Leave a delivery service, after what waits there was fetched."""
        await self._node.call("mailbox.uncarry", name)
        return {"name": name}

    async def settings(self, receipts: str | None, requests: str | None) -> dict[str, Any]:
        """The settings, after those that are given were changed."""
        now: MailSettings = await self._node.call("mailbox.settings")
        if receipts is not None or requests is not None:
            wanted = MailSettings(
                now.receipts if receipts is None else receipts == "yes",
                now.requests if requests is None else requests == "yes",
            )
            now = await self._node.call("mailbox.settings", wanted)
        return {"receipts": now.receipts, "requests": now.requests}

    async def adopt(self, address: str, signature: str, nonce: str | None) -> dict[str, Any]:
        """Make the keys of a wallet's signature those of this person; the earlier ones stay."""
        return await adopt(self._node, address, signature.strip(), nonce)

    # all at once

    def export(self) -> AsyncIterator[Step]:
        """Every conversation as one file in the spool."""
        return export(self._node)

    def bring_in(self, file: BlobOrPath) -> AsyncIterator[Step]:
        """What an export holds, as far as its signatures hold."""
        return bring_in(self._node, file)

    # looking up

    async def _find(self, message: str) -> Numbered:
        found = await self._read(lambda connection: tables.by_hash(connection, message))
        if found is None or found.kept.type not in tables.SHOWN:
            raise Dms3Error(
                "not_found",
                f"There is no message {message[:80]!r}.",
                hint="dms3 message conversation NAME --json shows the hash of each.",
            )
        return found

    async def _mine(self, message: str, done: str) -> Numbered:
        found = await self._find(message)
        if not found.kept.mine:
            raise Dms3Error(
                "argument_invalid",
                f"That message is of {found.kept.sender[:80]}; only its sender can have it {done}.",
            )
        return found

    @staticmethod
    def _attachments(one: Numbered) -> tuple[Attachment, ...]:
        said = read(one.kept)
        return () if said is None else said.attachments or ()

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def in_thread() -> T:
            with self._node.store.read() as connection:
                return work(connection)

        return await asyncio.to_thread(in_thread)


def check_text(text: str, *, needed: bool) -> None:
    """Raise `argument_invalid` for what is no message, `body_too_large` for too much of one."""
    if needed and not text.strip():
        raise Dms3Error("argument_invalid", "The message is empty.")
    if len(text) > MESSAGE_TEXT_CHARS_MAX:
        raise Dms3Error(
            "body_too_large",
            f"The message has {len(text):,} characters; {MESSAGE_TEXT_CHARS_MAX:,} fit.",
            hint="Attach it as a file: --attach FILE.",
        )


def check_limit(limit: int, most: int) -> None:
    """Raise `argument_invalid` for a limit that is none."""
    if not 1 <= limit <= most:
        raise Dms3Error("argument_invalid", f"The limit is not 1 to {most}.")


def carrier(one: CarrierState, own: str) -> dict[str, Any]:
    """A delivery service; `own`: the name of this node as one."""
    return {
        "name": one.name,
        "url": one.url,
        "reachable": one.reachable,
        "problem": one.problem,
        "checked_us": one.checked_us,
        "own": one.name == own,
    }


def stranger(name: str) -> dict[str, Any]:
    """A person who was forgotten: only the messages are left."""
    return person(Correspondent(name, (name,), "", "", "request", "", False, False, ""), name)
