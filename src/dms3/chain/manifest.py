"""The manifest of an app, `dapp.toml`: what its folder declares, read with words for its writer.

Source: docs/dapps.md, "The folder"; TOML 1.0. Pure: the files that it names are read by the node.
What changes the DNA id is marked in `Manifest`; title, functions, page and the like do not.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.dna import (
    FUEL,
    HOLDERS_MAX,
    LEVELS,
    MEMORY,
    Dna,
    EntryKind,
    LinkKind,
    is_name,
)
from dms3.chain.sandboxing import PYTHON
from dms3.chain.values import check_values
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    DAPP_MANIFEST_BYTES_MAX,
    DESCRIPTION_CHARS_MAX,
    DNA_KINDS_MAX,
    FUEL_MAX,
    MEMORY_BYTES_MAX,
    RECEIPT_UPTIME,
    TITLE_CHARS_MAX,
)
from dms3.core.overlay import HOLDERS_MIN

FILE = "dapp.toml"
_PATH_CHARS_MAX = 128


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest declares. In the DNA id: name to same_rules; `rules` by its content.

    `rules`, `functions`: file names in the folder ("" for no functions); `page`: a folder in it
    ("" for none); `version`: of the app, as text for people.
    """

    name: str
    level: str = PYTHON
    entries: tuple[EntryKind, ...] = ()
    links: tuple[LinkKind, ...] = ()
    properties: Any = field(default_factory=dict)
    membrane: Any = "open"
    r: int = RECEIPT_UPTIME
    q_min: int = HOLDERS_MIN
    q_max: int = HOLDERS_MAX
    fuel: int = FUEL
    memory: int = MEMORY
    same_rules: bool = True
    rules: str = "rules.py"
    functions: str = ""
    page: str = ""
    title: str = ""
    description: str = ""
    version: str = ""


def parse_manifest(text: str) -> Manifest:
    """The manifest written as TOML `text`.

    Raises `content_invalid`: with the line, the key, what it should be, and the nearest key that
    there is.
    """
    if len(text.encode("utf-8", "replace")) > DAPP_MANIFEST_BYTES_MAX:
        raise _refused("", 0, f"it has more than {DAPP_MANIFEST_BYTES_MAX} bytes")
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Dms3Error(
            "content_invalid", f"{FILE} is not TOML: {error}.", hint="See https://toml.io."
        ) from error
    return _Reader(text).manifest(raw)


def dna_of(manifest: Manifest, source: bytes) -> Dna:
    """The DNA of an app with these rules; `source`: the bytes of the file `manifest.rules`.

    Raises `content_invalid` when they are too many.
    """
    try:
        return Dna(
            name=manifest.name,
            level=manifest.level,
            source=source,
            entries=manifest.entries,
            links=manifest.links,
            properties=manifest.properties,
            membrane=manifest.membrane,
            r=manifest.r,
            q_min=manifest.q_min,
            q_max=manifest.q_max,
            fuel=manifest.fuel,
            memory=manifest.memory,
            same_rules=manifest.same_rules,
        )
    except ValueError as error:
        raise Dms3Error("content_invalid", f"The app {manifest.name!r}: {error}.") from error


_TEXTS = {
    "title": TITLE_CHARS_MAX,
    "description": DESCRIPTION_CHARS_MAX,
    "version": TITLE_CHARS_MAX,
}
_PATHS = ("rules", "functions", "page")
_NUMBERS = {
    "r": (1, HOLDERS_MAX),
    "q_min": (1, HOLDERS_MAX),
    "q_max": (1, HOLDERS_MAX),
    "fuel": (1, FUEL_MAX),
    "memory": (1, MEMORY_BYTES_MAX),
}
_KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "entries": (EntryKind, ("private", "by_anyone")),
    "links": (LinkKind, ("by_anyone",)),
}
_KEYS = (
    *("name", "level", "same_rules", "properties", "membrane"),
    *_KINDS,
    *_TEXTS,
    *_PATHS,
    *_NUMBERS,
)


_TABLE = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]")
_SETTING = re.compile(r"\s*([^=#\[\]{}]+?)\s*=")


class _Reader:
    """Turns the values of one manifest into a Manifest; knows its text for the line of a key."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def manifest(self, raw: Mapping[str, Any]) -> Manifest:
        self._known("", raw, _KEYS)
        found: dict[str, Any] = {"name": self._name(raw)}
        for key in raw.keys() - {"name"}:
            found[key] = self._value(key, raw[key])
        if found.get("q_min", HOLDERS_MIN) > found.get("q_max", HOLDERS_MAX):
            raise self._wrong("q_min", "it is more than q_max")
        if found.get("level") not in (None, PYTHON) and "rules" not in raw:
            raise self._wrong("level", 'it needs the name of a file: rules = "rules.wasm"')
        return Manifest(**found)

    def _name(self, raw: Mapping[str, Any]) -> str:
        name = raw.get("name")
        if name is None:
            raise _refused(
                "name", 1, 'it is missing; an app has a name, such as name = "guestbook"'
            )
        if type(name) is not str or not is_name(name):
            raise self._wrong("name", "it is lower-case letters, digits, - and _, a letter first")
        return name

    def _value(self, key: str, value: Any) -> Any:
        if key in _TEXTS:
            return self._text(key, value, _TEXTS[key])
        if key in _PATHS:
            return self._path(key, value)
        if key in _NUMBERS:
            return self._number(key, value, *_NUMBERS[key])
        if key in _KINDS:
            return self._kinds(key, value, *_KINDS[key])
        if key == "level":
            return self._level(value)
        return self._bool(key, value) if key == "same_rules" else self._values(key, value)

    def _values(self, key: str, value: Any) -> Any:
        try:
            check_values(value, key)
        except ValueError as error:
            place, _, reason = str(error).partition(": ")
            raise self._wrong(place, reason) from error
        if key == "properties" and type(value) is not dict:
            raise self._wrong(key, "it is a table: [properties]")
        return value

    def _kinds(self, key: str, value: Any, make: Any, flags: tuple[str, ...]) -> tuple[Any, ...]:
        if type(value) is not dict:
            raise self._wrong(key, f"it is a table of tables: [{key}.name]")
        if len(value) > DNA_KINDS_MAX:
            raise self._wrong(key, f"there are more than {DNA_KINDS_MAX}")
        found = []
        for name, options in sorted(value.items()):
            place = f"{key}.{name}"
            if type(options) is not dict:
                raise self._wrong(place, f"it is a table: [{place}], or {name} = {{}}")
            self._known(place, options, flags)
            chosen = {flag: self._bool(f"{place}.{flag}", options[flag]) for flag in options}
            try:
                found.append(make(name, **chosen))
            except ValueError as error:
                raise self._wrong(place, str(error)) from error
        return tuple(found)

    def _level(self, value: Any) -> str:
        if value not in LEVELS:
            raise self._wrong("level", f"it is one of {', '.join(LEVELS)}")
        return str(value)

    def _text(self, key: str, value: Any, most: int) -> str:
        if type(value) is not str or len(value) > most:
            raise self._wrong(key, f"it is text of at most {most} characters")
        if key != "description" and not value.isprintable():
            raise self._wrong(key, "it is one line of text")
        return value

    def _path(self, key: str, value: Any) -> str:
        parts = value.split("/") if type(value) is str else []
        inside = bool(parts) and all(part not in ("", ".", "..") for part in parts)
        if not inside or len(value) > _PATH_CHARS_MAX or "\\" in value or not value.isprintable():
            raise self._wrong(key, "it is the name of something in the app's folder")
        return str(value)

    def _number(self, key: str, value: Any, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(key, f"it is a whole number from {least} to {most}")
        return value

    def _bool(self, key: str, value: Any) -> bool:
        if type(value) is not bool:
            raise self._wrong(key, "it is true or false")
        return value

    def _known(self, table: str, raw: Mapping[str, Any], keys: tuple[str, ...]) -> None:
        for key in sorted(raw.keys() - set(keys)):
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(keys))}"
            place = f"{table}.{key}" if table else key
            raise self._wrong(place, f"there is no such key; {hint}")

    def _wrong(self, key: str, reason: str) -> Dms3Error:
        return _refused(key, self._line(key), reason)

    def _line(self, key: str) -> int:
        """The number of the line that sets `key` (dotted), or what it is in; 0 when unclear."""
        parts = key.split(".")
        for count in range(len(parts), 0, -1):
            if line := self._line_of(parts[:count]):
                return line
        return 0

    def _line_of(self, parts: list[str]) -> int:
        wanted, table = ".".join(parts), ""
        for number, line in enumerate(self._lines, 1):
            if opened := _TABLE.match(line):
                table = _bare(opened[1])
                if f"{table}.".startswith(f"{wanted}."):
                    return number
            elif match := _SETTING.match(line):
                name = f"{table}." * bool(table) + _bare(match[1])
                if f"{name}.".startswith(f"{wanted}."):
                    return number
        return 0


def _bare(name: str) -> str:
    return name.replace('"', "").replace("'", "").replace(" ", "")


def _refused(key: str, line: int, reason: str) -> Dms3Error:
    place = f", line {line}" if line else ""
    what = f" {key}:" if key else ""
    end = "" if reason.endswith("?") else "."
    return Dms3Error("content_invalid", f"{FILE}{place}:{what} {reason}{end}")
