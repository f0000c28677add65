"""Decoders of the store for the fuzz harness: pack records and sealed streams."""

from __future__ import annotations

from dms3.core.cid import RAW, Cid
from dms3.crypto.seal import StreamOpener, StreamSealer, open_sealed, seal
from dms3.io.packfile import decode_record, encode_record

_KEY = bytes(range(32))
_PACK = b"p" * 16
_BLOCK = b"a block of a document"
_CID = Cid.of(RAW, _BLOCK)


def open_stream(data: bytes) -> bytes:
    """The stream in `data`, opened in two pieces."""
    opener = StreamOpener(_KEY, b"id")
    half = len(data) // 2
    return opener.update(data[:half]) + opener.update(data[half:]) + opener.finish()


def seal_stream(data: bytes) -> bytes:
    """`data` as a sealed stream."""
    sealer = StreamSealer(_KEY, b"id")
    return sealer.update(data) + sealer.finish()


FUZZ = {
    "pack record": lambda data: decode_record(_KEY, _PACK, _CID, data),
    "sealed record": lambda data: open_sealed(_KEY, data[:12], data[12:], b"about"),
    "sealed stream": open_stream,
}

SEEDS = {
    "pack record": [encode_record(_KEY, bytes(12), _PACK, _CID, _BLOCK)],
    "sealed record": [bytes(12) + seal(_KEY, bytes(12), text, b"about") for text in (b"", b"abc")],
    "sealed stream": [seal_stream(bytes(size)) for size in (0, 10, 3_000)],
}
