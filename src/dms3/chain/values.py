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


def check_values(value: Any, where: str) -> None:
    """Return when `value` can be kept; ValueError says at which place (below `where`) it cannot.

    Takes dict with text keys, list, tuple (as a list), str, int, bool and None.
    """
    _check(value, where, ENTRY_DEPTH_MAX, [ENTRY_ITEMS_MAX])


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


def _check(value: Any, where: str, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"{where}: more than {ENTRY_ITEMS_MAX} values in one")
    kind = type(value)
    if value is None or kind is bool:
        return
    if kind is int:
        if not WHOLE_MIN <= value <= WHOLE_MAX:
            raise ValueError(f"{where}: {_brief(value)} is beyond 64 bits; use text")
    elif kind is str:
        if not _is_text(value):
            raise ValueError(f"{where}: the text has half of a character (a lone surrogate)")
    elif kind in (dict, list, tuple):
        if not depth:
            raise ValueError(f"{where}: more than {ENTRY_DEPTH_MAX} lists and maps in one another")
        _check_inside(value, where, depth - 1, left)
    elif kind is float:
        raise ValueError(
            f"{where}: numbers with a fraction cannot be kept; use text or whole cents"
        )
    else:
        raise ValueError(f"{where}: {kind.__name__} cannot be kept; use text, numbers or lists")


def _check_inside(value: Any, where: str, depth: int, left: list[int]) -> None:
    if type(value) is not dict:
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", depth, left)
        return
    for key, item in value.items():
        if type(key) is not str or not _is_text(key):
            raise ValueError(f"{where}: a key is text, not {_brief(key)}")
        _check(item, f"{where}.{key[:64]}", depth, left)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _brief(value: Any) -> str:
    if type(value) is int:
        return f"a number of {value.bit_length()} bits"  # its digits may be a megabyte
    return repr(value)[:40]
