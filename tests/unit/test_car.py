"""CAR files: published vectors, any pieces, each bound from both sides, and files that lie."""

import json
from pathlib import Path

import pytest

from dms3.core.car import CarReader, encode_head, encode_section, section_bytes
from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode_plain
from dms3.core.errors import DecodeError
from dms3.core.limits import BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX, CAR_ROOTS_MAX
from dms3.core.varint import encode_varint

VECTOR = json.loads((Path(__file__).parents[1] / "vectors/car.json").read_text())
BLOCK = b"The heron waits."
CID = Cid.of(RAW, BLOCK)


def read(data: bytes, size: int = 1 << 20):
    reader = CarReader()
    blocks = [
        block
        for start in range(0, len(data), size)
        for block in reader.add(data[start : start + size])
    ]
    return reader.finish(), blocks


def head(value: object) -> bytes:
    data = encode_plain(value)
    return encode_varint(len(data)) + data


def refused(data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        read(data)
    return caught.value.reason


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_the_published_file_is_read_in_pieces_of_any_length(size):
    data = bytes.fromhex(VECTOR["car"])
    roots, blocks = read(data, size)
    assert roots == tuple(map(Cid.parse, VECTOR["roots"]))
    assert [cid for cid, _ in blocks] == [Cid.parse(row["cid"]) for row in VECTOR["blocks"]]
    for (_, block), row in zip(blocks, VECTOR["blocks"], strict=True):
        start = row["block_offset"]
        assert block == data[start : start + row["block_length"]]


def test_what_is_written_is_the_published_form():
    data = bytes.fromhex(VECTOR["car"])
    roots = [Cid.parse(text) for text in VECTOR["roots"]]
    assert data.startswith(encode_head(roots))
    blocks = [pair for pair in read(data)[1] if encode_section(*pair) in data]
    assert len(blocks) == 5, "all but the three with CIDs of version 0"
    made = encode_head(roots) + b"".join(encode_section(*pair) for pair in blocks)
    assert len(made) == len(encode_head(roots)) + sum(section_bytes(len(b)) for _, b in blocks)
    assert read(made, 3) == (tuple(roots), blocks)


def test_a_file_of_version_2_is_named():
    assert "version 2" in refused(bytes.fromhex(VECTOR["version_2"]))


def test_each_byte_that_is_changed_is_seen():
    data = encode_head([CID]) + encode_section(CID, BLOCK)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            found = read(bytes(changed))
        except DecodeError:
            continue
        assert found[0] != (CID,), f"byte {at}"  # another root is another file
        assert found[1] == [(CID, BLOCK)]


def test_a_file_that_ends_in_the_middle_is_no_file():
    data = encode_head([CID]) + encode_section(CID, BLOCK)
    begin = len(encode_head([CID]))
    for end in range(1, len(data)):
        if end != begin:  # a CAR without blocks
            assert refused(data[:end]) in ("not a CAR", "the CAR is cut off")
    assert read(data[:begin]) == ((CID,), [])
    assert refused(b"") == "not a CAR"


def test_blocks_up_to_the_largest_are_read_and_none_beyond():
    whole = bytes(BLOCK_BYTES_MAX)
    cid = Cid.of(RAW, whole)
    assert read(encode_head([cid]) + encode_section(cid, whole))[1] == [(cid, whole)]
    more = bytes(BLOCK_BYTES_MAX + 1)
    long = encode_section(Cid.of(RAW, more), more)
    reader = CarReader()
    with pytest.raises(DecodeError, match="a block of 2097189 bytes"):
        reader.add(encode_head([cid]) + long[:4])  # its length is enough


def test_a_head_is_bounded_in_roots_and_bytes():
    roots = tuple(Cid.of(RAW, b"%d" % number) for number in range(CAR_ROOTS_MAX))
    assert read(encode_head(roots)) == (roots, [])
    more = [root.binary for root in (*roots, CID)]
    assert "1001 roots" in refused(head({"roots": more, "version": 1}))
    assert "a head of" in refused(encode_varint(CAR_HEADER_BYTES_MAX + 1))
    assert "not dag-cbor" in refused(
        encode_varint(CAR_HEADER_BYTES_MAX) + bytes([0xFF]) * (1 << 16)
    )


@pytest.mark.parametrize(
    "value",
    [
        {"roots": [], "version": 1},
        {"roots": [b"\0x"], "version": 1},
        {"roots": ["x"], "version": 1},
        {"roots": {}, "version": 1},
        {"roots": [CID.binary], "version": True},
        {"roots": [CID.binary], "version": 3},
        {"roots": [CID.binary], "version": 1, "x": 1},
        {"version": 1},
        [1],
        None,
    ],
    ids=str,
)
def test_heads_that_are_none(value):
    refused(head(value) + encode_section(CID, BLOCK))


def test_blocks_that_are_not_what_their_name_says_and_names_that_nobody_can_check():
    begin = encode_head([CID])
    assert "that is not" in refused(begin + encode_section(CID, b"The heron leaves"))
    identity = bytes((1, 0x55, 0, 4)) + b"data"
    blake = bytes((1, 0x55, 0xA0, 0xE4, 2, 32)) + bytes(32)
    for other in (identity, blake, b""):
        refused(begin + encode_varint(len(other)) + other)
    assert "a block of 0 bytes" in refused(begin + b"\0")
