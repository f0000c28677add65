"""What a receiver can read, asked for before sending: sealing schemes and kinds of messages.

Source: the dm3 specification ("Profile Extension": encryptionScheme, supportedMessageTypes) and the
reference (encryptionAlgorithm, notSupportedMessageTypes). Both are read and written. A wish, not
a rule: a message of another kind is still taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_NAME_CHARS_MAX, DM3_SERVICES_MAX
from dms3.dm3.canonical import canonical, list_of, text_of
from dms3.dm3.message import MessageType
from dms3.dm3.sealing import SCHEME

_TYPES_MAX = 2 * len(MessageType)  # room for kinds that came after us
# The reference's services answer this when nobody chose anything; it refuses all there is to say.
_MEANINGLESS = {"notSupportedMessageTypes": ["NEW"]}


@dataclass(frozen=True, slots=True)
class ProfileExtension:
    """`schemes`: how to seal for this person. `unsupported`: kinds that would not be shown."""

    schemes: tuple[str, ...] = (SCHEME,)
    unsupported: tuple[MessageType, ...] = ()

    def value(self) -> dict[str, Any]:
        """The JSON value, with the members of both."""
        supported = [str(kind) for kind in MessageType if kind not in self.unsupported]
        return {
            "encryptionAlgorithm": list(self.schemes),
            "encryptionScheme": list(self.schemes),
            "notSupportedMessageTypes": [str(kind) for kind in self.unsupported],
            "supportedMessageTypes": supported,
        }

    def text(self) -> str:
        """The canonical JSON."""
        return canonical(self.value())


def decode_extension(value: Any) -> ProfileExtension:
    """The extension in the JSON `value`, of either form; raises DecodeError.

    Kinds of messages that we do not know are left out; further members are ignored.
    """
    if type(value) is not dict:
        raise DecodeError(0, "expected an object")
    if value == _MEANINGLESS:
        return ProfileExtension()
    schemes = _texts(value, "encryptionScheme") or _texts(value, "encryptionAlgorithm")
    refused = {*_texts(value, "notSupportedMessageTypes")}
    if "supportedMessageTypes" in value and "notSupportedMessageTypes" not in value:
        supported = _texts(value, "supportedMessageTypes")
        refused = {str(kind) for kind in MessageType if kind not in supported}
    unsupported = tuple(kind for kind in MessageType if kind in refused)
    return ProfileExtension(schemes or (SCHEME,), unsupported)


def _texts(value: dict[str, Any], name: str) -> tuple[str, ...]:
    items = list_of(value.get(name, []), name, max(_TYPES_MAX, DM3_SERVICES_MAX))
    return tuple(text_of(item, name, DM3_NAME_CHARS_MAX) for item in items)
