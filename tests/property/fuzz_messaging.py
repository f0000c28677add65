"""Decoders of what the devices of one person tell each other, for the fuzz test."""

from dataclasses import replace

from dms3.core.codec import decode, encode
from dms3.dm3.message import MessageType
from dms3.messaging.carriers import Carrier
from dms3.messaging.items import message_item, read_message_item, read_state_item, state_item
from dms3.messaging.keyring import Key, Keys
from dms3.messaging.operations import Kept, State
from dms3.messaging.people import CONTACT, Earlier, Record, blank
from dms3.storage.operations import Item

HASH = "0x" + "1" * 64
MESSAGE = message_item(
    Kept(
        HASH, "bob.dms3", False, "bob.dms3", 1, 2, MessageType.NEW, "", State.RECEIVED, "{}",
    )
)  # fmt: skip

PERSON = blank("bob.dms3", CONTACT, 1)

FUZZ = {
    "message_item": lambda data: read_message_item(Item("message", HASH, data)),
    "state_item": lambda data: read_state_item(Item("state", f"{HASH}/read", data)),
    "person_item": lambda data: decode(Record, data),
    "carrier_item": lambda data: decode(Carrier, data),
    "keys_item": lambda data: decode(Keys, data),
}

SEEDS = {
    "message_item": [MESSAGE.body],
    "state_item": [state_item(HASH, State.READ, 5).body],
    "person_item": [encode(PERSON), encode(replace(PERSON, earlier=(Earlier(b"k" * 32, 1),)))],
    "carrier_item": [encode(Carrier(1, "one.bob.dms3", False, True, 5))],
    "keys_item": [encode(Keys(1, (Key(0), Key(1), Key(1, b"s" * 32))))],
}
