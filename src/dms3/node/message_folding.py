"""What a message says now: edits, deletions, reactions and answers folded into what they are about.

Source: docs/messages.md; dm3 specification, message types. Only the author of a message edits or
deletes it; of several edits the latest counts; of reactions the last of each person. Pure: the same
messages give the same rows on every device, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_ENVELOPE_BYTES_MAX
from dms3.dm3.canonical import parse
from dms3.dm3.message import Attachment, Message, MessageType, decode_message
from dms3.dm3.naming import same_name
from dms3.messaging.operations import Kept, State

_CHAIN_MAX = 64  # edits of edits


@dataclass(frozen=True, slots=True)
class Reaction:
    """A sign on a message."""

    text: str
    sender: str
    mine: bool


@dataclass(frozen=True, slots=True)
class Folded:
    """A message as it is now; a deleted one says nothing and has no files."""

    sender: str
    receiver: str
    text: str
    edited: bool = False
    deleted: bool = False
    reactions: tuple[Reaction, ...] = ()
    attachments: tuple[Attachment, ...] = field(default=(), repr=False)


def read(kept: Kept) -> Message | None:
    """What was signed; None for what cannot be read any more."""
    try:
        return decode_message(parse(kept.text, DM3_ENVELOPE_BYTES_MAX))
    except DecodeError:
        return None


def fold(original: Kept, about: Iterable[Kept]) -> Folded:
    """`original` as it is now; `about`: whatever refers to it, directly or through others."""
    said = read(original)
    if said is None:
        return Folded(original.sender, "", "")
    changes = sorted(
        (one for one in about if one.state is not State.HELD),
        key=lambda one: (one.order_ms, one.sender, one.sent_ms, one.hash),
    )
    own = [one for one in changes if is_by_author(one, original)]
    edits = [found for one in own if one.type is MessageType.EDIT and (found := read(one))]
    latest = max(edits, key=lambda one: (one.sent_ms, one.hash), default=None)
    if any(one.type is MessageType.DELETE_REQUEST for one in own):
        return Folded(said.sender, said.receiver, "", deleted=True)
    files = said.attachments or ()
    if latest is not None and latest.attachments:
        files = latest.attachments
    return Folded(
        said.sender,
        said.receiver,
        (said if latest is None else latest).text or "",
        edited=latest is not None,
        reactions=_reactions(changes),
        attachments=files,
    )


def is_by_author(change: Kept, original: Kept) -> bool:
    """Whether whoever wrote `original` wrote `change`, under whichever name."""
    if change.mine or original.mine:
        return change.mine and original.mine
    try:
        return change.person == original.person or same_name(change.sender, original.sender)
    except DecodeError:
        return False


def grouped(originals: Sequence[Kept], about: Sequence[Kept]) -> dict[str, list[Kept]]:
    """What is about each of `originals` in the end, by its hash."""
    wanted = {one.hash for one in originals}
    referring = {one.hash: one.reference for one in about}
    found: dict[str, list[Kept]] = {one.hash: [] for one in originals}
    for one in about:
        target = one.reference
        for _ in range(_CHAIN_MAX):
            if target in wanted or target not in referring:
                break
            target = referring[target]
        if target in wanted:
            found[target].append(one)
    return found


def _reactions(changes: Sequence[Kept]) -> tuple[Reaction, ...]:
    """The last word of each person; an empty one takes the reaction back."""
    latest: dict[str, Reaction] = {}
    for one in changes:
        said = read(one) if one.type is MessageType.REACTION else None
        if said is not None:
            latest.pop(one.sender, None)
            latest[one.sender] = Reaction(said.text or "", one.sender, one.mine)
    return tuple(one for one in latest.values() if one.text)
