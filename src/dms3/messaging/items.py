"""What the devices of one person tell each other through storage, as the bytes of an Item.

Source: docs/architecture.md, "Conversation storage". Messages are a set, states a maximum; of
people, carriers and keys the newest word counts. Storage seals them: whoever can write one is me.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError
from dms3.dm3.message import MessageType
from dms3.messaging.operations import Kept, State
from dms3.storage.operations import Item

MESSAGE, STATE, PERSON = "message", "state", "person"
CARRIER, KEYS = "carrier:", "keys"  # keys of items of kind "person" that are about me


@dataclass(frozen=True, slots=True)
class _KeptItem:
    v: int
    hash: str
    person: str
    mine: bool
    sender: str
    sent_ms: int
    order_ms: int
    type: str
    reference: str
    state: str
    text: str = field(repr=False)
    information: str = ""


@dataclass(frozen=True, slots=True)
class StateItem:
    """How far message `hash` is, as one device knows it: one of State."""

    v: int
    state: str


@dataclass(frozen=True, slots=True)
class Unshared:
    """What is remembered of an item on its way: `body` b"" is that of a message, kept elsewhere."""

    v: int
    order_ms: int
    body: bytes = field(repr=False)


def message_item(kept: Kept) -> Item:
    """The message for all devices; what only this device tries and when is left out."""
    body = _KeptItem(
        1, kept.hash, kept.person, kept.mine, kept.sender, kept.sent_ms, kept.order_ms,
        kept.type.value, kept.reference, kept.state.value, kept.text, kept.information,
    )  # fmt: skip
    return Item(MESSAGE, kept.hash, encode(body), kept.order_ms)


def state_item(message_hash: str, state: State, order_ms: int) -> Item:
    """The state of a message for all devices; two states of one message are two items."""
    return Item(STATE, f"{message_hash}/{state.value}", encode(StateItem(1, state.value)), order_ms)


def read_message_item(item: Item) -> Kept:
    """The message of an item of kind "message"; raises DecodeError."""
    body = decode(_KeptItem, item.body)
    if body.hash != item.key:
        raise DecodeError(0, "the item is not of the message that its key names")
    try:
        kind, state = MessageType(body.type), State(body.state)
    except ValueError as cause:
        raise DecodeError(0, f"a kind or state of message that is not known: {cause}") from cause
    return Kept(
        body.hash, body.person, body.mine, body.sender, body.sent_ms, body.order_ms,
        kind, body.reference, state, body.text, information=body.information,
    )  # fmt: skip


def read_state_item(item: Item) -> tuple[str, State]:
    """The hash of the message and its state, of an item of kind "state"; raises DecodeError."""
    message_hash, _, _ = item.key.partition("/")
    try:
        return message_hash, State(decode(StateItem, item.body).state)
    except ValueError as cause:
        raise DecodeError(0, f"a state that is not known: {cause}") from cause
