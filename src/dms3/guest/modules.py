"""The parts of Python that a dapp can import, and nothing else of them than is named here.

Source: docs/sandbox.md, "What can be imported". A module is an object that only shows names; the
modules behind it, with all that they import, cannot be reached. No clock, no chance, no files.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import enum
import functools
import hashlib
import heapq
import itertools
import json
import math
import re
import string
import struct
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

_PREPARED = (heapq,)  # collections.Counter imports it when it is asked for the most common


class Module:
    """What `import name` gives: names and their values, not to be changed.

    Whoever could make one would have an object with names of Python's own, which `copy` follows.
    """

    __slots__ = ("__dict__",)

    def __repr__(self) -> str:
        return f"<module {self.__dict__['__name__']!r}>"


def module(name: str, values: Mapping[str, Any]) -> Module:
    """What `import name` gives for these values."""
    made = Module()
    made.__dict__.update(values)
    made.__dict__["__name__"] = name
    return made


def _shown(module: ModuleType, names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names.split()}


def _public(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def wraps(_wrapped: Callable[..., Any]) -> Callable[[Any], Any]:
    """As functools.wraps, of which a dapp could see nothing: names of functions are not kept."""
    return lambda function: function


def total_ordering(kind: type) -> type:
    """As functools.total_ordering, for a class of the dapp's own."""
    return functools.total_ordering(_own(kind))


def dataclass(kind: type | None = None, /, **options: bool) -> Any:
    """As dataclasses.dataclass, for a class of the dapp's own."""
    if kind is None:
        return lambda later: dataclass(later, **options)
    if not _own(kind).__doc__:
        kind.__doc__ = kind.__name__  # else a signature is worked out, which takes 20 ms
    return dataclasses.dataclass(kind, **options)


def unique(kind: Any) -> Any:
    """As enum.unique."""
    return enum.unique(_own(kind))


def _own(kind: Any) -> Any:
    if not isinstance(kind, type) or kind.__module__ not in ("rules", "functions"):
        raise TypeError("only a class of the dapp's own is changed so")
    return kind


class _Nothing:
    """An empty mapping that nobody can put anything into."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def get(self, _key: Any, default: Any = None) -> Any:
        """As of a dict."""
        return default

    def keys(self) -> Any:
        """As of a dict."""
        return {}.keys()

    def values(self) -> Any:
        """As of a dict."""
        return {}.values()

    def items(self) -> Any:
        """As of a dict."""
        return {}.items()

    def copy(self) -> dict[Any, Any]:
        """As of a dict."""
        return {}


# All fields without metadata share it, and whoever compares it is given what is behind it.
dataclasses._EMPTY_METADATA = MappingProxyType(_Nothing())  # type: ignore[attr-defined]  # noqa: SLF001


class ChainMap(collections.ChainMap[Any, Any]):
    """As collections.ChainMap, which would remember `register` for whoever runs next."""

    register: Any = None


class _Kind(enum.EnumType):
    """Enumerations are classes that stand in the text, never made from names at run time."""

    def __call__(cls, value: Any) -> Any:  # type: ignore[override]  # that is the point
        return super().__call__(value)


class Enum(enum.Enum, metaclass=_Kind):
    """As enum.Enum."""


class IntEnum(enum.IntEnum, metaclass=_Kind):
    """As enum.IntEnum."""


class StrEnum(enum.StrEnum, metaclass=_Kind):
    """As enum.StrEnum."""


_HASHES = "blake2b blake2s md5 sha1 sha224 sha256 sha384 sha512 sha3_256 sha3_512"
_PATTERNS = "A ASCII I IGNORECASE M MULTILINE S DOTALL X VERBOSE U UNICODE NOFLAG"
_CODES = "b16decode b16encode b32decode b32encode b64decode b64encode b85decode b85encode"
_TEXTS = "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation"
_CHARACTERS = "bidirectional category combining decimal digit east_asian_width is_normalized"

MODULES: dict[str, Module] = {
    name: module(name, values)
    for name, values in {
        "base64": _shown(base64, f"{_CODES} urlsafe_b64decode urlsafe_b64encode"),
        "collections": {
            **_shown(collections, "Counter OrderedDict defaultdict deque namedtuple"),
            "ChainMap": ChainMap,
        },
        "dataclasses": {
            **_shown(dataclasses, "KW_ONLY asdict astuple field fields is_dataclass replace"),
            "dataclass": dataclass,
        },
        "datetime": _shown(dt, "UTC date datetime time timedelta timezone"),
        "enum": {
            "Enum": Enum,
            "IntEnum": IntEnum,
            "StrEnum": StrEnum,
            "auto": enum.auto,
            "unique": unique,
        },
        "functools": {
            **_shown(functools, "cache cmp_to_key lru_cache partial reduce"),
            "total_ordering": total_ordering,
            "wraps": wraps,
        },
        "hashlib": _shown(hashlib, _HASHES),
        "itertools": _public(itertools),
        "json": _shown(json, "JSONDecodeError dumps loads"),
        "math": _public(math),
        "re": _shown(
            re,
            f"{_PATTERNS} compile error escape findall finditer fullmatch match search split "
            "sub subn",
        ),
        "string": _shown(string, f"{_TEXTS} printable whitespace"),
        "struct": _shown(struct, "Struct calcsize error iter_unpack pack unpack unpack_from"),
        "unicodedata": _shown(
            unicodedata, f"{_CHARACTERS} lookup mirrored name normalize numeric unidata_version"
        ),
    }.items()
}
