"""DNA: the rules that all nodes of one app check alike; its id is the app's overlay.

Source: IPS paper, DNA; docs/wire.md, "Source chains". The id is the SHA-256 of the canonical bytes
over the *text* of the rules, so that whoever has the folder has the id. Titles, functions and pages
are outside it: see `chain/manifest.py`. Does not run anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.membrane import Gates, gates_of
from dms3.chain.sandboxing import PYTHON, WASM, Program
from dms3.chain.values import decode_values, encode_values
from dms3.core.codec import check_items, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    DNA_BYTES_MAX,
    DNA_KINDS_MAX,
    DNA_NAME_CHARS_MAX,
    FUEL_MAX,
    MEMORY_BYTES_MAX,
    PROPERTIES_BYTES_MAX,
    RECEIPT_UPTIME,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.core.units import MIB

VERSION = 1
LEVELS = (PYTHON, WASM)
HOLDERS_MAX = 40
FUEL = 500_000_000
MEMORY = 96 * MIB
_NAME_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_ITEMS_MAX = 16 * DNA_KINDS_MAX  # two lists of kinds with up to seven items each


@dataclass(frozen=True, slots=True)
class EntryKind:
    """A kind of entries. `private`: its entries stay with their author.

    `by_anyone`: everybody may update and delete them; else their author's person alone.
    """

    name: str
    private: bool = False
    by_anyone: bool = False

    def __post_init__(self) -> None:
        need(is_name(self.name), f"{self.name[:32]!r} is no name of an entry kind")
        need(not (self.private and self.by_anyone), "a private entry is its author's alone")


@dataclass(frozen=True, slots=True)
class LinkKind:
    """A kind of links. `by_anyone`: everybody may unlink them; else their author's person alone."""

    name: str
    by_anyone: bool = False

    def __post_init__(self) -> None:
        need(is_name(self.name), f"{self.name[:32]!r} is no name of a link kind")


@dataclass(frozen=True, slots=True)
class Dna:
    """The rules of an app. `source`: Python text (level python-1) or a WASM module (wasm-1).

    `properties` (a map) and `membrane` (who may take part, `chain/membrane.py`: text says it to
    people alone): JSON values without fractions. `gates`: the membranes in that. `r`: sum
    of uptimes of the holders of an op, who are at least `q_min` and at most `q_max`. `fuel` and
    `memory` (bytes): bounds of one judging. `same_rules`: one verdict serves all ops of an action.
    `id`: computed.
    """

    name: str
    level: str = PYTHON
    source: bytes = field(default=b"", repr=False)
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
    v: int = VERSION
    id: OverlayId = field(init=False, compare=False)
    gates: Gates = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _id_of(encode_dna(self)))
        object.__setattr__(self, "gates", gates_of(self.membrane))
        for name, _ in self.gates.inner:
            need(self.entry_kind(name) is not None, f"no entries are of kind {name[:32]!r}")

    def entry_kind(self, name: str) -> EntryKind | None:
        """The entry kind of that name."""
        return next((kind for kind in self.entries if kind.name == name), None)

    def link_kind(self, name: str) -> LinkKind | None:
        """The link kind of that name."""
        return next((kind for kind in self.links if kind.name == name), None)


@dataclass(frozen=True, slots=True)
class _Wire:
    v: int
    name: str
    level: str
    source: bytes
    entries: tuple[EntryKind, ...]
    links: tuple[LinkKind, ...]
    properties: bytes
    membrane: bytes
    r: int
    q_min: int
    q_max: int
    fuel: int
    memory: int
    same_rules: bool

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of DNA is not known")
        need(is_name(self.name), f"{self.name[:32]!r} is no name of an app")
        need(self.level in LEVELS, f"level {self.level[:32]!r} is none of {', '.join(LEVELS)}")
        for what, kinds in (("entry", self.entries), ("link", self.links)):
            names = [kind.name for kind in kinds]
            need(len(names) <= DNA_KINDS_MAX, f"more than {DNA_KINDS_MAX} {what} kinds")
            need(names == sorted(set(names)), f"{what} kinds are sorted and distinct")
        for what in ("properties", "membrane"):
            need(len(getattr(self, what)) <= PROPERTIES_BYTES_MAX, f"{what} are too long")
        need(1 <= self.r <= HOLDERS_MAX, f"r is not 1 to {HOLDERS_MAX}")
        need(1 <= self.q_min <= self.q_max <= HOLDERS_MAX, "q_min and q_max are out of order")
        need(0 < self.fuel <= FUEL_MAX, f"fuel is not 1 to {FUEL_MAX}")
        need(0 < self.memory <= MEMORY_BYTES_MAX, f"memory is not 1 to {MEMORY_BYTES_MAX}")


def program_of(dna: Dna) -> Program:
    """The rules of `dna` for the sandbox, with its bounds: verdicts depend on them, too."""
    return Program(
        dna=dna.id,
        level=dna.level,
        source=dna.source,
        properties=dna.properties,
        fuel=dna.fuel,
        memory=dna.memory,
    )


def encode_dna(dna: Dna) -> bytes:
    """The canonical bytes of `dna`; ValueError when a field breaks a bound."""
    need(type(dna.properties) is dict, "properties are a map")
    wire = _Wire(
        v=dna.v,
        name=dna.name,
        level=dna.level,
        source=dna.source,
        entries=dna.entries,
        links=dna.links,
        properties=encode_values(dna.properties, "properties"),
        membrane=encode_values(dna.membrane, "membrane"),
        r=dna.r,
        q_min=dna.q_min,
        q_max=dna.q_max,
        fuel=dna.fuel,
        memory=dna.memory,
        same_rules=dna.same_rules,
    )
    data = encode(wire)
    need(len(data) <= DNA_BYTES_MAX, f"the DNA has more than {DNA_BYTES_MAX} bytes")
    return data


def decode_dna(data: bytes) -> Dna:
    """The DNA in `data`; raises DecodeError, and nothing else."""
    need_at_most(data, DNA_BYTES_MAX, "a DNA")
    check_items(data, _ITEMS_MAX)
    wire = decode(_Wire, data, strict=True)
    if encode(wire) != data:  # a field that was left out
        raise DecodeError(0, "not the one byte form of this DNA")
    properties = decode_values(wire.properties, "properties")
    if type(properties) is not dict:
        raise DecodeError(0, "properties are a map")
    try:
        return _made(wire, properties)
    except ValueError as error:  # of the membrane
        raise DecodeError(0, str(error)) from error


def _made(wire: _Wire, properties: Any) -> Dna:
    return Dna(
        name=wire.name,
        level=wire.level,
        source=wire.source,
        entries=wire.entries,
        links=wire.links,
        properties=properties,
        membrane=decode_values(wire.membrane, "membrane"),
        r=wire.r,
        q_min=wire.q_min,
        q_max=wire.q_max,
        fuel=wire.fuel,
        memory=wire.memory,
        same_rules=wire.same_rules,
    )


def is_name(text: str) -> bool:
    """Whether `text` names an app, kind or function: lower case, digits, `_`, `-`; a letter first.

    At most 64 characters.
    """
    short = 0 < len(text) <= DNA_NAME_CHARS_MAX
    return short and set(text) <= _NAME_SIGNS and text[0].isalpha()


def _id_of(data: bytes) -> OverlayId:
    return OverlayId(hashlib.sha256(data).digest())
