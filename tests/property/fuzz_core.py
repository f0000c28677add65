"""Decoders of layer 0 for the fuzz test."""

from dataclasses import dataclass

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import decode, decode_plain, encode, encode_plain
from dms3.core.multibase import decode_base32, decode_base58, encode_base32, encode_base58
from dms3.core.network import NetworkParameters, decode_network
from dms3.core.varint import decode_varint, encode_varint, read_varint


@dataclass(frozen=True, slots=True)
class Inner:
    count: int
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of every type that the codec knows."""

    number: int
    text: str
    data: bytes
    link: Cid
    inner: Inner
    items: tuple[Inner, ...]
    table: dict[str, bytes]
    maybe: int | None = None


def _text(data: bytes) -> str:
    return data.decode("latin-1")  # every byte a character: decoders of text see them all


def _typed(data: bytes) -> Everything:
    value = decode(Everything, data)
    assert decode(Everything, encode(value)) == value  # whatever is read can be written
    return value


def _plain(data: bytes) -> object:
    value = decode_plain(data)
    assert encode_plain(value) == data
    return value


def _cid_text(data: bytes) -> Cid:
    cid = Cid.parse(_text(data))
    assert Cid.parse(str(cid)) == cid
    return cid


def _varint(data: bytes) -> int:
    value, end = decode_varint(data)
    assert encode_varint(value) == data[:end]
    return value


def _base32(data: bytes) -> bytes:
    found = decode_base32(_text(data))
    assert encode_base32(found) == _text(data)
    return found


def _base58(data: bytes) -> bytes:
    found = decode_base58(_text(data))
    assert encode_base58(found) == _text(data)
    return found


_CID = Cid.of(RAW, b"sample")
_INNER = Inner(7, flag=True)
_EVERYTHING = Everything(-5, "grüße", b"\0\xff", _CID, _INNER, (_INNER, _INNER), {"a": b"b"}, 3)

FUZZ = {
    "varint": _varint,
    "varint-stream": read_varint,
    "base32": _base32,
    "base58": _base58,
    "cid-binary": Cid.decode,
    "cid-text": _cid_text,
    "plain": _plain,
    "typed": _typed,
    "typed-strict": lambda data: decode(Everything, data, strict=True),
    "network-file": decode_network,
}
SEEDS = {
    "varint": [encode_varint(n) for n in (0, 127, 128, 300, 1 << 40, (1 << 63) - 1)],
    "varint-stream": [b"", b"\x80", *(encode_varint(n) for n in (0, 300, (1 << 63) - 1))],
    "base32": [encode_base32(bytes(range(n))).encode() for n in (0, 1, 2, 5, 36)],
    "base58": [encode_base58(b"\0\0" + bytes(range(n))).encode() for n in (0, 1, 38)],
    "cid-binary": [_CID.binary, Cid.of(DAG_CBOR, b"").binary, b"\x12\x20" + bytes(32)],
    "cid-text": [str(_CID).encode(), b"QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"],
    "plain": [
        encode_plain(value)
        for value in (None, True, -1, 2**64 - 1, b"\0x", "text", [1, [2]], {"a": {"bb": [None]}})
    ],
    "typed": [encode(_EVERYTHING)],
    "typed-strict": [encode(_EVERYTHING)],
    "network-file": [
        encode(NetworkParameters("test")),
        encode(NetworkParameters("t", 1, 2, 3, {"0xab": "12"}, (b"\1" * 32,))),
    ],
}
