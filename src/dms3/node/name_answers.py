"""What the `name` commands do: asks machine "names" and shapes answers for programs and people.

Source: docs/names.md. Decides nothing itself. Implements `NameServices` of node/services_name.py.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from dms3.core.errors import Dms3Error
from dms3.dm3.lookup import OwnNames, Resolve, Resolved
from dms3.dm3.records import data_uri

if TYPE_CHECKING:
    from dms3.node.node import Node

_ASCII_MAX = 0x7F


class NameAnswers:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def show(self, name: str, *, fresh: bool) -> dict[str, Any]:
        """Who `name` is; raises as machine "names" does."""
        return resolved_value(await self._node.call("names.resolve", Resolve(name, fresh)))

    async def own(self) -> dict[str, Any]:
        """My names, my account, and the text record to set in ENS once there is a profile."""
        names: OwnNames = await self._node.call("names.own")
        record, problem = None, ""
        try:
            mine: Resolved = await self._node.call("names.resolve", Resolve(names.key_name))
            record = None if mine.profile is None else data_uri(mine.profile.text())
        except Dms3Error as error:
            problem = str(error)
        account = self._node.identity.tree.account().address
        return _own_value(names) | {"account": account, "record": record, "problem": problem}

    async def claim(self, name: str) -> dict[str, Any]:
        """The claimed name; raises `already_exists`, `argument_invalid`."""
        return resolved_value(await self._node.call("names.claim", name))

    async def add(self, name: str, *, primary: bool) -> dict[str, Any]:
        """The name of ENS that is mine now; raises `forbidden`."""
        found: Resolved = await self._node.call("names.add", name)
        if primary:
            await self._node.call("names.use", found.name)
        return resolved_value(found)

    async def use(self, name: str) -> dict[str, Any]:
        """My names, the primary one first; raises `not_found`."""
        return _own_value(await self._node.call("names.use", name))

    async def drop(self, name: str) -> dict[str, Any]:
        """My names that are left; raises `not_found`."""
        return _own_value(await self._node.call("names.drop", name))

    async def forget(self, name: str) -> dict[str, Any]:
        """Whether anything was known of the first-come name."""
        return {"name": name, "forgotten": await self._node.call("names.forget", name)}


def resolved_value(found: Resolved) -> dict[str, Any]:
    """A resolved name as JSON; `letters` are those that may be taken for others."""
    profile, service = found.profile, found.service
    return {
        "name": found.name,
        "vouched": found.vouched,
        "address": found.address,
        "root": found.root,
        "fingerprint": found.fingerprint,
        "aliases": list(found.aliases),
        "letters": unusual_letters(found.name),
        "services": [] if profile is None else list(profile.profile.delivery_services),
        "profile": None if profile is None else profile.value(),
        "service": None if service is None else service.value(),
        "until_us": found.until_us,
    }


def unusual_letters(name: str) -> list[str]:
    """Every character of `name` beyond ASCII, spelled out: "U+0430 CYRILLIC SMALL LETTER A"."""
    return [
        f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}"
        for char in dict.fromkeys(name)
        if ord(char) > _ASCII_MAX
    ]


def _own_value(names: OwnNames) -> dict[str, Any]:
    return {
        "primary": names.primary,
        "names": list(names.names),
        "key_name": names.key_name,
        "service_name": names.service_name,
    }
