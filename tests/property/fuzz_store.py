"""Decoders of the store for the fuzz harness: pack records and sealed streams."""

from __future__ import annotations

from dms3.core.cid import RAW, Cid
from dms3.core.codec import decode, encode
from dms3.core.rows import decode_rows, encode_row
from dms3.crypto.backup import BackupKeys, Manifest, SavedPack, SavedTable
from dms3.crypto.keys import KeyTree
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


def restored_rows(data: bytes) -> object:
    """The rows of two values in `data`, which is what they are written as again."""
    rows = decode_rows(data, 2)
    assert b"".join(map(encode_row, rows)) == data
    return rows


_KEYS = BackupKeys(KeyTree(bytes(64)))
_MANIFEST = Manifest(
    v=1,
    generation=1,
    made_us=2,
    name="alice",
    device=bytes(16),
    schema=2,
    documents=3,
    size=4,
    tables=(SavedTable("state", "", 3, (bytes(32),)),),
    packs=(SavedPack(1, bytes(16), bytes(32), 5, (bytes(32),)),),
)

FUZZ = {
    "backup manifest": lambda data: _KEYS.open_manifest(1, data),
    "backup manifest inside": lambda data: decode(Manifest, data, strict=True),
    "backup rows": restored_rows,
    "pack record": lambda data: decode_record(_KEY, _PACK, _CID, data),
    "sealed record": lambda data: open_sealed(_KEY, data[:12], data[12:], b"about"),
    "sealed stream": open_stream,
}

SEEDS = {
    "backup manifest": [_KEYS.seal_manifest(_MANIFEST, bytes(12))],
    "backup manifest inside": [encode(_MANIFEST)],
    "backup rows": [
        encode_row(("text", b"bytes")) + encode_row((-1, None)),
        encode_row((2**62, "\u00e9" * 200)),
    ],
    "pack record": [encode_record(_KEY, bytes(12), _PACK, _CID, _BLOCK)],
    "sealed record": [bytes(12) + seal(_KEY, bytes(12), text, b"about") for text in (b"", b"abc")],
    "sealed stream": [seal_stream(bytes(size)) for size in (0, 10, 3_000)],
}

SLOW = {"sealed stream"}
