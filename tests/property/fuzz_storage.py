"""Decoders of conversation storage for the fuzz test: what any place may hand out."""

from dataclasses import replace

from dms3.core.codec import encode
from dms3.core.ids import Root
from dms3.crypto.signing import SigningKey
from dms3.storage.chunk import decode_chunk, encode_chunk
from dms3.storage.head import Head, Page, Ref, decode_head, decode_page, sign_head
from dms3.storage.names import StorageKeys
from dms3.storage.operations import Item
from dms3.storage.slots import (
    Claim,
    Next,
    PlaceRow,
    decode_claim,
    decode_next,
    sign_claim,
    sign_next,
)

ROOT = SigningKey.of_seed(b"r" * 32)
DEVICE = b"d" * 16
REF = Ref(b"i" * 16, 0, 1, 0, 3, 5, 900, 7, 9, 1, b"h" * 32)
LATER = replace(REF, first=3, end=4, tier=0)
HEAD = sign_head(ROOT, Head(1, DEVICE, "laptop", 1, 2, 4, 10, 1_800, 7, (REF, LATER), None))
CLAIM = sign_claim(ROOT, Claim(1, DEVICE, "laptop", ROOT.public, 7))
STEP = sign_next(ROOT, Next(1, 3, 1, 2, PlaceRow("webdav", "https://c.example", "{}"), (DEVICE,)))
CHUNK = encode_chunk([Item("message", "0xab", b"body", 7), Item("state", "0xab", b"", 9)])
KEYS = StorageKeys(lambda generation: bytes([generation + 1]) * 32)
NAME = KEYS.name(0, "head", DEVICE)

FUZZ = {
    "chunk": decode_chunk,
    "head": decode_head,
    "page": decode_page,
    "claim": lambda data: decode_claim(data, Root(ROOT.public)),
    "next": lambda data: decode_next(data, Root(ROOT.public)),
    "sealed": lambda data: KEYS.open(0, NAME, data),
}

SEEDS = {
    "chunk": [CHUNK],
    "head": [encode(HEAD), encode(replace(HEAD, refs=(), older=replace(REF, end=4)))],
    "page": [encode(Page(1, (REF, LATER))), encode(Page(1, (LATER,), REF))],
    "claim": [encode(CLAIM)],
    "next": [encode(STEP), encode(sign_next(ROOT, replace(STEP, place=None)))],
    "sealed": [KEYS.seal(0, NAME, encode(HEAD), b"n" * 12)],
}

COUNTS = {"sealed": (20_000, "an altered byte is found by the tag, whichever it is")}

SLOW = {"chunk", "claim", "head", "next", "page"}
