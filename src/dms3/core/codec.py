"""One declarative codec for wire, disk and hash: frozen dataclasses as canonical dag-cbor maps.

Source: IPLD dag-cbor specification; docs/architecture.md, "Network agreement". Encoding is by
libipld, which accepts one non-minimal integer form and writes bytes that parse as a CID as a link.
Both are closed here: a value is accepted only if `encode(decode(b)) == b`, free bytes carry a 0x00
prefix, and only fields typed `Cid` are links. No floats, no integers beyond 64 bits.

    @dataclass(frozen=True, slots=True)
    class Ping:
        nonce: bytes
        count: int

    assert decode(Ping, encode(Ping(b"x", 1))) == Ping(b"x", 1)

Field types: bool, int, str, bytes (and NewTypes of them), Cid, another dataclass, `tuple[T, ...]`,
`dict[str, T]`, `T | None`. A field that holds its default may be left out by the sender of an older
minor version; unknown keys are ignored, except in signed objects (`strict=True`).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import libipld

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError

T = TypeVar("T")

INTEGER_MIN = -(1 << 63)
INTEGER_MAX = (1 << 64) - 1


def encode(value: object) -> bytes:
    """The canonical bytes of a dataclass instance."""
    cls: Any = type(value)
    return bytes(libipld.encode_dag_cbor(_schema(cls).pack(value)))


def decode(cls: type[T], data: bytes, *, strict: bool = False) -> T:
    """The instance of dataclass `cls` encoded in `data`.

    `strict`: unknown keys are refused, as every signed object demands. Raises DecodeError, and
    nothing else, when `data` is not the canonical encoding of such an instance.
    """
    schema: Any = cls
    value: T = _schema(schema).unpack(decode_plain(data), strict)
    return value


def pick(cls: type, data: bytes, *names: str) -> tuple[Any, ...]:
    """The fields `names` of an instance of `cls` that this node has encoded itself: they are there.

    Cheaper than `decode`, for it is not looked at whether `data` is canonical, nor at other fields.
    Raises DecodeError when one of them is missing or is none.
    """
    fields = _schema(cls).unpackers
    try:
        raw = libipld.decode_dag_cbor(data)
        return tuple(fields[name](raw[name], False) for name in names)
    except (ValueError, RecursionError, OverflowError, TypeError, KeyError) as cause:
        raise DecodeError(0, f"not a row of {cls.__name__}: {cause}") from cause


def need(holds: bool, reason: str) -> None:
    """For a record that refuses its own values: ValueError, of which `decode` makes DecodeError."""
    if not holds:
        raise ValueError(reason)


def need_at_most(data: bytes | str, most: int, what: str) -> None:
    """For a decoder, before it reads: DecodeError for `data` of more than `most` bytes or letters.

    `what`: the thing that was expected, with its article.
    """
    if len(data) > most:
        raise DecodeError(most, f"too long for {what}")


def encode_plain(value: Any) -> bytes:
    """Canonical dag-cbor of plain maps, lists, text, integers and bytes (bytes as they are)."""
    return bytes(libipld.encode_dag_cbor(value))


def decode_plain(data: bytes) -> Any:
    """The plain value of canonical dag-cbor `data`; raises DecodeError for anything else."""
    try:
        raw = libipld.decode_dag_cbor(data)
        again = libipld.encode_dag_cbor(raw)
    except (ValueError, RecursionError, OverflowError, TypeError) as cause:
        raise DecodeError(0, f"not dag-cbor: {cause}") from cause
    if again != data:
        raise DecodeError(0, "not the canonical encoding of its value")
    return raw


_STRINGS = (2, 3)  # CBOR major types with content behind their head: bytes and text


def check_items(data: bytes, most: int) -> None:
    """Raise DecodeError when `data` holds more than `most` dag-cbor items.

    Looks at no more than so many: a megabyte of empty lists takes half a second to decode.
    """
    at, end = 0, len(data)
    for _ in range(most):
        if at >= end:
            return
        head = data[at]
        at += 1
        size = head & 31
        if size >= 24:
            if size > 27:
                raise DecodeError(at - 1, "not dag-cbor: a length that is not known")
            width = 1 << (size - 24)
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        if head >> 5 in _STRINGS:
            at += size
    if at < end:
        raise DecodeError(at, f"more than {most} items")


Pack = Callable[[Any], Any]
Unpack = Callable[[Any, bool], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Schema:
    pack: Pack
    unpack: Unpack
    unpackers: dict[str, Unpack]  # of each field


@cache
def _schema(cls: Any) -> _Schema:
    """The pair of functions for dataclass `cls`; built once per class."""
    name_of_class: str = cls.__name__
    assert dataclasses.is_dataclass(cls), f"{name_of_class} is not a dataclass"
    construct: Callable[..., Any] = cls  # type: ignore[assignment]  # an instance was refused above
    hints = typing.get_type_hints(cls)
    fields = []
    for field in dataclasses.fields(cls):
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        fields.append((field.name, *_codec_of(hints[field.name]), required))
    names = frozenset(name for name, *_ in fields)

    def pack(value: Any) -> dict[str, Any]:
        return {name: packer(getattr(value, name)) for name, packer, _, _ in fields}

    def unpack(raw: Any, strict: bool) -> Any:
        if type(raw) is not dict:
            raise DecodeError(0, f"expected a map for {name_of_class}")
        if strict and not names.issuperset(raw):
            unknown = min(set(raw) - names)
            raise DecodeError(0, f"{name_of_class} has no field {unknown[:32]!r}")
        found = {}
        for name, _, unpacker, required in fields:
            if name in raw:
                try:
                    found[name] = unpacker(raw[name], strict)
                except DecodeError as error:
                    raise DecodeError(0, f"{name_of_class}.{name}: {error.reason}") from None
            elif required:
                raise DecodeError(0, f"{name_of_class} lacks field {name!r}")
        try:
            return construct(**found)
        except ValueError as cause:  # a __post_init__ that refuses its values
            raise DecodeError(0, f"{name_of_class}: {cause}") from cause

    return _Schema(pack, unpack, {name: unpacker for name, _, unpacker, _ in fields})


def _codec_of(hint: Any) -> tuple[Pack, Unpack]:
    """The packing and unpacking functions of one field type."""
    while hasattr(hint, "__supertype__"):  # NewType
        hint = hint.__supertype__
    if hint in _LEAVES:
        return _LEAVES[hint]
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _optional(hint)
    if origin is tuple:
        item, dots = typing.get_args(hint)
        assert dots is Ellipsis, f"only tuple[T, ...] can be encoded, not {hint}"
        return _sequence(*_codec_of(item))
    if origin is dict:
        key, item = typing.get_args(hint)
        assert key is str, f"map keys are text, not {key}"
        return _mapping(*_codec_of(item))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return (
            lambda value: _schema(hint).pack(value),
            lambda raw, strict: _schema(hint).unpack(raw, strict),
        )
    raise TypeError(f"the codec has no form for {hint!r}")


def _optional(hint: Any) -> tuple[Pack, Unpack]:
    inner = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
    assert len(inner) == 1, f"only T | None can be encoded, not {hint}"
    pack, unpack = _codec_of(inner[0])
    return (
        lambda value: None if value is None else pack(value),
        lambda raw, strict: None if raw is None else unpack(raw, strict),
    )


def _sequence(pack: Pack, unpack: Unpack) -> tuple[Pack, Unpack]:
    def unpack_all(raw: Any, strict: bool) -> tuple[Any, ...]:
        if type(raw) is not list:
            raise DecodeError(0, "expected a list")
        return tuple(unpack(item, strict) for item in raw)

    return (lambda value: [pack(item) for item in value], unpack_all)


def _mapping(pack: Pack, unpack: Unpack) -> tuple[Pack, Unpack]:
    def unpack_all(raw: Any, strict: bool) -> dict[str, Any]:
        if type(raw) is not dict:
            raise DecodeError(0, "expected a map")
        return {key: unpack(item, strict) for key, item in raw.items()}

    return (lambda value: {key: pack(item) for key, item in value.items()}, unpack_all)


def _expect(kind: type) -> Unpack:
    def unpack(raw: Any, _strict: bool) -> Any:
        if type(raw) is not kind:  # bool is an int in Python, and not here
            raise DecodeError(0, f"expected {kind.__name__}, found {type(raw).__name__}")
        return raw

    return unpack


def _pack_integer(value: int) -> int:
    assert INTEGER_MIN <= value <= INTEGER_MAX, f"{value} is beyond 64 bits"
    return value


def _unpack_integer(raw: Any, _strict: bool) -> int:
    if type(raw) is not int:  # bool is an int in Python, and not here
        raise DecodeError(0, f"expected int, found {type(raw).__name__}")
    if raw < INTEGER_MIN:  # CBOR has negative integers of 65 bits
        raise DecodeError(0, "an integer is beyond 64 bits")
    return raw


def _unpack_bytes(raw: Any, _strict: bool) -> bytes:
    if type(raw) is not bytes or raw[:1] != b"\0":
        raise DecodeError(0, "expected bytes with a 0x00 prefix")
    return raw[1:]


def _unpack_cid(raw: Any, _strict: bool) -> Cid:
    if type(raw) is not bytes:
        raise DecodeError(0, "expected a link")
    return Cid.decode(raw)


_LEAVES: dict[Any, tuple[Pack, Unpack]] = {
    bool: (bool, _expect(bool)),
    int: (_pack_integer, _unpack_integer),
    str: (str, _expect(str)),
    bytes: (lambda value: b"\0" + value, _unpack_bytes),
    Cid: (lambda value: value.binary, _unpack_cid),
}
