"""The parameters of an app's functions, read from its text, so that a page can make a form of them.

Source: docs/dapps.md; Python reference, "Function definitions". The text is somebody else's, so it
is neither run nor given to Python's parser: what cannot be read at a glance is no form, and the
arguments are then given as JSON. What a function really takes is decided in the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dms3.core.limits import FORM_PARAMETERS_MAX, SIGNATURE_CHARS_MAX

Kind = Literal["text", "number", "yes", "json"]
_KINDS: dict[str, Kind] = {
    "": "text", "str": "text", "int": "number", "bool": "yes", "list": "json", "dict": "json",
}  # fmt: skip
_PARAMETER = re.compile(
    r"\s*(?P<name>[A-Za-z_][A-Za-z0-9_]{0,63})\s*(?::(?P<kind>[^='\"]*))?(?:=(?P<value>.*))?",
    re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9](?:_?[0-9]){0,14}")
_TEXT = re.compile(r"'([^'\\\n]*)'|\"([^\"\\\n]*)\"")
_OPENS, _SHUTS = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter: `kind` of its value; `default` (JSON value) when it is not `needed`."""

    name: str
    kind: Kind
    needed: bool
    default: Any = None


def fields(lines: Sequence[str], function: str, line: int) -> tuple[Field, ...] | None:
    """The parameters of `function`, whose definition begins in `line` (from 1) of a text.

    None when it is written in another way than names with plain defaults.
    """
    first = max(0, line - 1)
    text = "\n".join(lines[first : first + FORM_PARAMETERS_MAX + 2])[:SIGNATURE_CHARS_MAX]
    head = re.match(rf"def[ \t]+{re.escape(function)}[ \t]*\(", text)
    if head is None:
        return None
    body = text[head.end() :]
    parts = list(_parts(body))
    if not parts or parts[-1] is not None or len(parts) > FORM_PARAMETERS_MAX + 1:
        return None
    found = [_field(part) for part in parts if part is not None and part.strip()]
    whole = tuple(one for one in found if one is not None)
    return whole if len(whole) == len(found) else None


def _parts(body: str) -> Iterator[str | None]:
    """What stands between commas up to the closing bracket; None last when that was reached."""
    depth, start, place = 0, 0, 0
    while place < len(body):
        sign = body[place]
        quoted = _TEXT.match(body, place) if sign in "'\"" else None
        if sign in "'\"\\#" and quoted is None:
            return
        if quoted is not None:
            place = quoted.end()
            continue
        if depth == 0 and sign in (",", ")"):
            yield body[start:place]
            start = place + 1
        if depth == 0 and sign == ")":
            yield None
            return
        depth += (sign in _OPENS) - (sign in _SHUTS)
        place += 1


def _field(part: str) -> Field | None:
    match = _PARAMETER.fullmatch(part)
    if match is None:
        return None
    name, written, value = match["name"], (match["kind"] or "").strip(), match["value"]
    kind = _KINDS.get(re.split(r"[\[|\s]", written, maxsplit=1)[0], "json")
    if value is None:
        return Field(name, kind, needed=True)
    known, default = _value(value.strip())
    if not known:
        return None
    return Field(name, kind if written else _kind_of(default), needed=False, default=default)


def _value(text: str) -> tuple[bool, Any]:
    """Whether `text` is a plain value, and which."""
    if text in ("None", "True", "False"):
        return True, {"None": None, "True": True, "False": False}[text]
    if _NUMBER.fullmatch(text):
        return True, int(text)
    match = _TEXT.fullmatch(text)
    if match is not None:
        return True, match[1] if match[1] is not None else match[2]
    return (True, None) if text in ("()", "[]", "{}") else (False, None)


def _kind_of(default: Any) -> Kind:
    if isinstance(default, bool):
        return "yes"
    return "number" if isinstance(default, int) else "text"
