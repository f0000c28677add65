"""JSON values without fractions as canonical dag-cbor: what entries, properties and membranes hold.

Source: IPLD dag-cbor specification; docs/wire.md, "Source chains". Numbers are whole and of 64 bits
with a sign, so that every language reads the same; there are no bytes and no links: hashes are
text. Order of keys is that of dag-cbor. Does not know what a value means.
"""

from __future__ import annotations

from typing import Any

from dms3.core.codec import check_items, decode_plain, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.limits import ENTRY_DEPTH_MAX, ENTRY_ITEMS_MAX

WHOLE_MIN = -(1 << 63)
WHOLE_MAX = (1 << 63) - 1
_KEY_CHARS_SHOWN = 64


def check_values(value: Any, where: str) -> None:
    """Return when `value` can be kept; ValueError says at which place (below `where`) it cannot.

    Takes dict with text keys, list, str, int, bool and None.
    """
    try:
        _check(value, ENTRY_DEPTH_MAX, [ENTRY_ITEMS_MAX])
    except _FaultError as fault:
        place = "".join(reversed(fault.path))
        raise ValueError(f"{where}{place}: {fault.reason}") from None


def encode_values(value: Any, where: str) -> bytes:
    """The canonical bytes of JSON `value`; raises ValueError as `check_values` does."""
    check_values(value, where)
    return encode_plain(value)


def decode_values(data: bytes, where: str) -> Any:
    """The JSON values in canonical `data`; raises DecodeError, and nothing else."""
    check_items(data, ENTRY_ITEMS_MAX)
    value = decode_plain(data)
    refuse_values(value, where)
    return value


def refuse_values(value: Any, where: str) -> None:
    """The same check as `check_values` for what was decoded: raises DecodeError."""
    try:
        check_values(value, where)
    except ValueError as error:
        raise DecodeError(0, str(error)) from error


class _FaultError(Exception):
    """Why a value cannot be kept; `path` grows from the inside out while it is raised."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []


def _check(value: Any, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise _FaultError(f"more than {ENTRY_ITEMS_MAX} values in all")
    kind = type(value)
    if kind is str:
        if not _is_text(value):
            raise _FaultError("the text has half of a character (a lone surrogate)")
    elif kind is int:
        if not WHOLE_MIN <= value <= WHOLE_MAX:
            raise _FaultError("a whole number has 64 bits with its sign; use text")
    elif kind is dict or kind is list:
        if not depth:
            raise _FaultError(f"more than {ENTRY_DEPTH_MAX} lists and maps in one another")
        inside = _check_map if kind is dict else _check_list
        inside(value, depth - 1, left)
    elif kind is float:
        raise _FaultError("numbers with a fraction cannot be kept; use text or whole cents")
    elif value is not None and kind is not bool:
        raise _FaultError(f"{kind.__name__} cannot be kept; use text, whole numbers or lists")


def _check_list(items: list[Any], depth: int, left: list[int]) -> None:
    for index, item in enumerate(items):
        try:
            _check(item, depth, left)
        except _FaultError as fault:
            fault.path.append(f"[{index}]")
            raise


def _check_map(items: dict[Any, Any], depth: int, left: list[int]) -> None:
    for key, item in items.items():
        if type(key) is not str or not _is_text(key):
            raise _FaultError(f"a key is text of whole characters, not {type(key).__name__}")
        try:
            _check(item, depth, left)
        except _FaultError as fault:
            fault.path.append(f".{key[:_KEY_CHARS_SHOWN]}")
            raise


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
