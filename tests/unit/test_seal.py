"""Sealing: a published vector, cuts and flipped bits, and streams that end where they should."""

from __future__ import annotations

import pytest

from dms3.core.errors import DecodeError
from dms3.core.limits import SEAL_CHUNK_BYTES
from dms3.crypto.seal import (
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    StreamOpener,
    StreamSealer,
    open_sealed,
    seal,
)

KEY = bytes(range(32))
NONCE = bytes(range(12))


def test_the_published_vector() -> None:
    """McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16 (AES-256)."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    data = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    associated = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert seal(key, nonce, data, associated) == sealed
    assert open_sealed(key, nonce, sealed, associated) == data


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_record_opens_only_as_it_was_sealed(size: int) -> None:
    data = bytes(size)
    sealed = seal(KEY, NONCE, data, b"about")
    assert len(sealed) == size + TAG_BYTES
    assert open_sealed(KEY, NONCE, sealed, b"about") == data
    wrong = [
        (bytes(32), NONCE, sealed, b"about"),
        (KEY, bytes(12), sealed, b"about"),
        (KEY, NONCE[:11], sealed, b"about"),
        (KEY, NONCE, sealed, b"other"),
        (KEY, NONCE, sealed[:-1], b"about"),
        (KEY, NONCE, sealed + b"\0", b"about"),
        (KEY, NONCE, b"", b"about"),
    ]
    for bit in range(0, len(sealed) * 8, 61):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        wrong.append((KEY, NONCE, bytes(changed), b"about"))
    for arguments in wrong:
        with pytest.raises(DecodeError):
            open_sealed(*arguments)


def test_a_nonce_of_another_length_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        seal(KEY, bytes(13), b"", b"")


def sealed_stream(data: bytes, piece: int, identity: bytes = b"id") -> bytes:
    sealer = StreamSealer(KEY, identity)
    out = [sealer.update(data[start : start + piece]) for start in range(0, len(data), piece)]
    return b"".join([*out, sealer.finish()])


def opened_stream(sealed: bytes, piece: int, identity: bytes = b"id") -> bytes:
    opener = StreamOpener(KEY, identity)
    out = [opener.update(sealed[start : start + piece]) for start in range(0, len(sealed), piece)]
    return b"".join([*out, opener.finish()])


SIZES = [0, 1, SEAL_CHUNK_BYTES - 1, SEAL_CHUNK_BYTES, SEAL_CHUNK_BYTES + 1, 3 * SEAL_CHUNK_BYTES]


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_comes_back_whatever_the_pieces(size: int) -> None:
    data = bytes(index * 7 % 251 for index in range(size))
    sealed = sealed_stream(data, 10_000)
    chunks = max(1, -(-size // SEAL_CHUNK_BYTES))
    assert len(sealed) == size + chunks * TAG_BYTES
    assert sealed == sealed_stream(data, 200_000)
    for piece in (9_973, SEALED_CHUNK_BYTES, 1 << 20):
        assert opened_stream(sealed, piece) == data


def test_a_stream_that_was_cut_anywhere_is_refused() -> None:
    sealed = sealed_stream(bytes(3 * SEAL_CHUNK_BYTES), 1 << 20)
    cuts = [0, 1, TAG_BYTES, SEALED_CHUNK_BYTES - 1, SEALED_CHUNK_BYTES, 2 * SEALED_CHUNK_BYTES]
    for cut in [*cuts, len(sealed) - 1]:
        with pytest.raises(DecodeError):
            opened_stream(sealed[:cut], 1 << 20)
    with pytest.raises(DecodeError):
        opened_stream(sealed + b"\0", 1 << 20)


def test_chunks_cannot_be_exchanged_repeated_dropped_or_taken_from_another_stream() -> None:
    data = bytes(4 * SEAL_CHUNK_BYTES)
    sealed = sealed_stream(data, 1 << 20)
    step = SEALED_CHUNK_BYTES
    one, two, three, four = (sealed[start : start + step] for start in range(0, 4 * step, step))
    foreign = sealed_stream(data, 1 << 20, b"other")[:step]
    assert opened_stream(one + two + three + four, 1 << 20) == data
    for wrong in (
        two + one + three + four,
        one + one + three + four,
        one + three + four,
        one + two + four,
        one + two + three,
        foreign + two + three + four,
        four,
    ):
        with pytest.raises(DecodeError):
            opened_stream(wrong, 1 << 20)


def test_a_flipped_bit_is_named_with_its_chunk() -> None:
    sealed = bytearray(sealed_stream(bytes(2 * SEAL_CHUNK_BYTES), 1 << 20))
    sealed[SEALED_CHUNK_BYTES + 5] ^= 4
    with pytest.raises(DecodeError, match="chunk 1"):
        opened_stream(bytes(sealed), 1 << 20)


def test_a_finished_stream_takes_nothing_more() -> None:
    sealer = StreamSealer(KEY, b"id")
    sealer.finish()
    with pytest.raises(AssertionError):
        sealer.update(b"more")
    with pytest.raises(AssertionError):
        sealer.finish()
