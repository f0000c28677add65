"""Whether a message in an export is what its sender signed, asked of names and of my own keys.

Source: docs/messages.md, "Export and import". The same signature that was checked when it came is
checked again: who made the file is not known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import DM3_ENVELOPE_BYTES_MAX, MAIL_KEYS_MAX
from dms3.crypto.keys import KeyTree
from dms3.dm3.canonical import canonical, parse
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import OwnNames, Resolve, Resolved
from dms3.dm3.message import Message, MessageType, decode_message, instant_of, is_message_by
from dms3.dm3.naming import same_name
from dms3.messaging.operations import Correspondent, Kept, State
from dms3.messaging.people import Record, unproven

Call = Callable[[str, Any], Awaitable[Any]]
_OTHERS = (State.RECEIVED, State.READ)
_MINE = (State.SENT, State.DELIVERED, State.READ, State.FAILED)
_UNSENT = "It had not been sent when it was exported."
_STANDINGS = ("contact", "request", "blocked")


class Checker:
    """Checks one export; `start` first."""

    def __init__(self, call: Call, tree: KeyTree) -> None:
        self._call = call
        self._mine = [ProfileKeys.of_seed(tree.dm3(number)) for number in range(MAIL_KEYS_MAX)]
        self._known: dict[str, Correspondent] = {}
        self._own: tuple[str, ...] = ()
        self._resolved: dict[str, Resolved | None] = {}
        self._standing: dict[str, str] = {}
        self._met: dict[str, Resolved] = {}

    async def start(self) -> None:
        """Who I am, and whom I know."""
        own: OwnNames = await self._call("names.own", None)
        self._own = own.names
        current = await self._call("mailbox.profile", None)
        self._signing = [current.profile.signing, *(keys.signing_public for keys in self._mine)]
        people: tuple[Correspondent, ...] = await self._call("mailbox.people", None)
        self._known = {name: one for one in people for name in (*one.names, one.id)}

    def note(self, people: Iterable[Any]) -> None:
        """What the export says was decided about people."""
        for one in people:
            names, standing = one.get("names"), one.get("standing")
            if isinstance(names, list) and standing in _STANDINGS:
                self._standing |= {name: standing for name in names if isinstance(name, str)}

    async def check(self, line: dict[str, Any]) -> Kept:
        """The message of a line, to be kept; raises DecodeError for one that is not right."""
        text = line.get("text")
        if not isinstance(text, str):
            raise DecodeError(0, "it has no text")
        message = decode_message(parse(text, DM3_ENVELOPE_BYTES_MAX))
        if canonical(message.value()) != text:
            raise DecodeError(0, "it is not written as it was signed")
        if message.hash != line.get("hash"):
            raise DecodeError(0, "its hash is another")
        mine = any(_same(name, message.sender) for name in self._own)
        problem = self._fault_of_mine(message) if mine else await self._doubt(message)
        other = message.receiver if mine else message.sender
        state, said = _state(str(line.get("state")), mine=mine)
        if not mine and not any(_same(name, message.receiver) for name in self._own):
            problem = problem or f"It was written to {message.receiver}, none of your names now."
        if problem:
            state, said = State.HELD, problem
        return Kept(
            hash=message.hash,
            person=await self._person(other),
            mine=mine,
            sender=message.sender,
            sent_ms=message.sent_ms,
            order_ms=instant_of(line.get("order_ms"), "order_ms"),
            type=MessageType(message.type),
            reference=message.reference or "",
            state=state,
            text=text,
            problem=said,
            information=str(line.get("information") or "")[:200],
        )

    def met(self) -> Sequence[tuple[Resolved, str]]:
        """People whose messages came and whom nobody knew, with what was decided about them."""
        return [(one, self._standing.get(one.name, "contact")) for one in self._met.values()]

    @staticmethod
    def complete(record: Record, resolved: Resolved) -> Record:
        """A record of somebody as names say who it is."""
        assert resolved.profile is not None
        return replace(
            record,
            names=(resolved.name,),
            address=resolved.address,
            root=resolved.root,
            fingerprint=resolved.fingerprint,
            vouched=resolved.vouched,
            signing=resolved.profile.profile.signing,
        )

    def _fault_of_mine(self, message: Message) -> str:
        if any(is_message_by(message, key, message.sender) for key in self._signing):
            return ""
        raise DecodeError(0, "it says that I wrote it, and I did not sign it")

    async def _doubt(self, message: Message) -> str:
        """Why it cannot be verified now, "" when it is; raises DecodeError for a forgery."""
        resolved = await self._resolve(message.sender)
        if resolved is None or resolved.profile is None:
            return f"The keys of {message.sender} cannot be looked up now."
        if is_message_by(message, resolved.profile.profile.signing, message.sender):
            return ""
        return f"The keys that {message.sender} has now did not sign it."

    async def _person(self, name: str) -> str:
        known = self._known.get(name)
        if known is not None:
            return known.id
        resolved = await self._resolve(name)
        if resolved is None or resolved.profile is None:
            return name
        for one in self._known.values():
            same_root = resolved.root and one.root == resolved.root
            if same_root or (resolved.address and one.address == resolved.address):
                return one.id
        self._met.setdefault(resolved.name, resolved)
        return resolved.name

    async def _resolve(self, name: str) -> Resolved | None:
        if name not in self._resolved:
            try:
                self._resolved[name] = unproven(await self._call("names.resolve", Resolve(name)))
            except Dms3Error:
                self._resolved[name] = None
        return self._resolved[name]


def _state(said: str, *, mine: bool) -> tuple[State, str]:
    """How far a message was; nothing is sent because of an import."""
    allowed = _MINE if mine else _OTHERS
    if said in allowed:
        return State(said), ""
    return (State.FAILED, _UNSENT) if mine else (State.RECEIVED, "")


def _same(one: str, other: str) -> bool:
    try:
        return same_name(one, other)
    except DecodeError:
        return False
