"""Who is meant by a name in a message command: a contact, somebody known by messages, any name.

Source: docs/messages.md, "Is it really Bob?". My own word for a person comes first: a contact
called bob is meant by "bob", whatever names say. Asks machines "mailbox", "names" and "peers";
decides no trust.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import FRAME_BODY_BYTES_MAX, SERVICE_ENVELOPE_BYTES
from dms3.dm3.lookup import OwnNames, Resolve, Resolved
from dms3.dm3.message import Attachment
from dms3.dm3.naming import same_name
from dms3.dm3.profile import SignedProfile, fingerprint
from dms3.messaging.operations import Correspondent, Limits
from dms3.messaging.ports import DIRECT
from dms3.names.forms import CardName, form_of, key_name
from dms3.node.attaching import attachment_room, envelope_bytes
from dms3.node.message_rows import person
from dms3.p2p.contacts import Contact

if TYPE_CHECKING:
    from dms3.node.node import Node

_KEY_NAME_CHARS = 52  # BASE32 of a key, before the dot


class Correspondents:
    """Looks people up for one running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def all(self) -> list[dict[str, Any]]:
        """Everybody known by messages, as people read it."""
        known: tuple[Correspondent, ...] = await self._node.call("mailbox.people")
        names = await self.contact_names()
        return [person(one, shown_name(one, names)) for one in known]

    async def find(self, name: str) -> dict[str, Any]:
        """The person called `name`; raises `not_found`, `argument_invalid` when several are."""
        contact = await self.contact(name)
        known: tuple[Correspondent, ...] = await self._node.call("mailbox.people")
        names = await self.contact_names()
        found = self._known(known, name, contact)
        if found is None:
            resolved: Resolved = await self._node.call(
                "names.resolve", Resolve(asked_name(name, contact))
            )
            found = _same_person(known, resolved) or _not_met(resolved)
        return person(found, shown_name(found, names))

    async def receiver(self, name: str) -> str:
        """What machine "mailbox" is told of whom `name` means: an id, or the name itself."""
        contact = await self.contact(name)
        known: tuple[Correspondent, ...] = await self._node.call("mailbox.people")
        found = self._known(known, name, contact)
        return found.id if found is not None else asked_name(name, contact)

    async def check_room(self, receiver: str, text: str, files: Sequence[Attachment]) -> None:
        """Raise `body_too_large` when no service of the receiver takes a message of this size."""
        size = len(json.dumps(text).encode()) + sum(len(file.data) + 200 for file in files) + 600
        wanted = envelope_bytes(size)
        if wanted <= SERVICE_ENVELOPE_BYTES:
            return
        limit, where = await self._most(receiver)
        if wanted > limit:
            raise Dms3Error(
                "body_too_large",
                f"The message would have about {wanted:,} bytes; {where} takes at most {limit:,}.",
                hint=f"Files of about {attachment_room(limit):,} bytes in all fit; share a space "
                "for more: dms3 store share SPACE --with CONTACT.",
            )

    async def _most(self, receiver: str) -> tuple[int, str]:
        """Bytes of an envelope that some service of the receiver takes, and which service."""
        best = (SERVICE_ENVELOPE_BYTES, "a delivery service")
        try:
            resolved: Resolved = await self._node.call("names.resolve", Resolve(receiver))
        except Dms3Error:
            return best
        services = resolved.profile.profile.delivery_services if resolved.profile else ()
        for name in services:
            try:
                service: Resolved = await self._node.call("names.resolve", Resolve(name))
                best = max(best, (await self._limit(service), name))
            except Dms3Error:
                continue  # it says nothing now; the message may wait for it
        return best

    async def _limit(self, service: Resolved) -> int:
        if service.service is None:
            return 0
        if service.service.url.startswith(DIRECT):
            return FRAME_BODY_BYTES_MAX
        limits: Limits = await self._node.ports["courier"]("limits", service.service.url)
        return limits.envelope_bytes

    # names

    async def contact(self, name: str) -> Contact | None:
        """The contact called `name`; raises `argument_invalid` when several are.

        What looks like a name of a naming system is that one, whatever cards say.
        """
        if not isinstance(form_of(name), CardName):
            return None
        try:
            contact: Contact = await self._node.call("peers.contact_find", name)
        except Dms3Error as error:
            if error.code != "not_found":
                raise  # several contacts are called like this
            return None
        return contact

    async def contact_names(self) -> dict[str, str]:
        """What contacts are called, by root in hex."""
        contacts: tuple[Contact, ...] = await self._node.call("peers.contact_list")
        return {contact.root.hex(): contact.name for contact in contacts}

    @staticmethod
    def _known(
        known: Sequence[Correspondent], name: str, contact: Contact | None
    ) -> Correspondent | None:
        if contact is not None:
            root = contact.root.hex()
            return next((one for one in known if one.root == root), None)
        for one in known:
            if one.id == name or any(_same(each, name) for each in one.names):
                return one
        return None


async def profile_data(node: Node, people: Correspondents, name: str | None) -> dict[str, Any]:
    """Who a name is, or this person: names, keys, services, who vouches for it."""
    if name is None:
        return await _own_profile(node)
    contact = await people.contact(name)
    asked = asked_name(name, contact)
    resolved: Resolved = await node.call("names.resolve", Resolve(asked, fresh=True))
    known: tuple[Correspondent, ...] = await node.call("mailbox.people")
    found = _same_person(known, resolved) or _not_met(resolved)
    shown = person(found, shown_name(found, await people.contact_names()))
    signed = resolved.profile
    return {
        "name": shown["name"],
        "names": list(dict.fromkeys((resolved.name, *resolved.aliases, *found.names))),
        "address": resolved.address,
        "root": resolved.root,
        "vouched": resolved.vouched,
        "fingerprint": resolved.fingerprint,
        "verified": found.verified and found.fingerprint == resolved.fingerprint,
        "changed": found.changed,
        "services": await _services(node, signed),
        "profile": None if signed is None else signed.value(),
        "problem": "" if signed is not None else f"{shown['name']} has no dm3 profile yet.",
    }


async def _own_profile(node: Node) -> dict[str, Any]:
    own: OwnNames = await node.call("names.own")
    signed: SignedProfile = await node.call("mailbox.profile")
    carriers = await node.call("mailbox.services")
    return {
        "name": own.primary,
        "names": list(own.names),
        "address": node.identity.tree.account().address,
        "root": node.identity.root.hex(),
        "vouched": "",
        "fingerprint": fingerprint(signed.profile),
        "verified": True,
        "changed": False,
        "services": [{"name": one.name, "url": one.url} for one in carriers],
        "profile": signed.value(),
        "problem": "",
    }


async def _services(node: Node, signed: SignedProfile | None) -> list[dict[str, Any]]:
    found = []
    for name in signed.profile.delivery_services if signed is not None else ():
        try:
            resolved: Resolved = await node.call("names.resolve", Resolve(name))
            url = "" if resolved.service is None else resolved.service.url
        except Dms3Error:
            url = ""  # not known now
        found.append({"name": name, "url": url})
    return found


def asked_name(name: str, contact: Contact | None) -> str:
    """A contact by the name that is its key: no other can be meant."""
    return name if contact is None else key_name(contact.root)


def shown_name(one: Correspondent, contacts: dict[str, str]) -> str:
    """What a person is called here: as a contact, else by a name that people can read."""
    if one.root in contacts:
        return contacts[one.root]
    readable = [name for name in one.names if len(name.partition(".")[0]) != _KEY_NAME_CHARS]
    return (readable or [one.id])[0]


def _same_person(known: Sequence[Correspondent], resolved: Resolved) -> Correspondent | None:
    for one in known:
        same_root = resolved.root and one.root == resolved.root
        if same_root or (resolved.address and one.address == resolved.address):
            return one
    return None


def _not_met(resolved: Resolved) -> Correspondent:
    """Somebody with whom no message was exchanged."""
    return Correspondent(
        id=resolved.name,
        names=(resolved.name, *resolved.aliases),
        address=resolved.address,
        root=resolved.root,
        standing="contact" if resolved.vouched == "card" else "request",
        fingerprint=resolved.fingerprint,
        verified=False,
        changed=False,
        vouched=resolved.vouched,
    )


def _same(one: str, other: str) -> bool:
    try:
        return same_name(one, other)
    except DecodeError:
        return False
