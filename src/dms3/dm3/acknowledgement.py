"""Acknowledgements: which messages a receiver has, so that its delivery service forgets them.

Source: the dm3 reference's `syncAcknowledgements`; docs/dm3.md, "Formats".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dms3.core.limits import DM3_ACKNOWLEDGEMENTS_MAX, DM3_NAME_CHARS_MAX
from dms3.dm3.canonical import check_hash, list_of, members, text_of


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The message `message_hash` (the envelope's) of `contact` (the sender's name) is here."""

    contact: str
    message_hash: str

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {"contactAddress": self.contact, "messageHash": self.message_hash}


def acknowledgements_value(given: Sequence[Acknowledgement]) -> dict[str, Any]:
    """The JSON value of one request; at most `DM3_ACKNOWLEDGEMENTS_MAX` go into it."""
    assert len(given) <= DM3_ACKNOWLEDGEMENTS_MAX, f"{len(given)} acknowledgements are too many"
    return {"acknowledgements": [item.value() for item in given]}


def decode_acknowledgements(value: Any) -> tuple[Acknowledgement, ...]:
    """The acknowledgements in the JSON `value` of a request; raises DecodeError."""
    given = members(value, ("acknowledgements",))["acknowledgements"]
    return tuple(
        decode_acknowledgement(item)
        for item in list_of(given, "acknowledgements", DM3_ACKNOWLEDGEMENTS_MAX)
    )


def decode_acknowledgement(value: Any) -> Acknowledgement:
    """The one acknowledgement in the JSON `value`; raises DecodeError."""
    found = members(value, ("contactAddress", "messageHash"))
    return Acknowledgement(
        text_of(found["contactAddress"], "contactAddress", DM3_NAME_CHARS_MAX),
        check_hash(found["messageHash"]),
    )
