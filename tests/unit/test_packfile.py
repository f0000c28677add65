"""One record of a pack file: sealed for its place and for nothing else."""

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.errors import DecodeError
from dms3.io import packfile as packfile_module

KEY = bytes(range(32))
LARGE = 65_536


def block(text: object, size: int) -> tuple[Cid, bytes]:
    data = (f"{text}-".encode() * size)[:size]
    return Cid.of(RAW, data), data


def test_a_record_is_bound_to_its_pack_and_cid() -> None:
    key, nonce, pack = bytes(32), bytes(12), b"p" * 16
    cid, data = block("data", 100)
    other, _ = block("other", 100)
    record = packfile_module.encode_record(key, nonce, pack, cid, data)
    assert packfile_module.decode_record(key, pack, cid, record) == data
    for wrong in (
        lambda: packfile_module.decode_record(key, b"q" * 16, cid, record),
        lambda: packfile_module.decode_record(key, pack, other, record),
        lambda: packfile_module.decode_record(b"k" * 32, pack, cid, record),
        lambda: packfile_module.decode_record(key, pack, cid, record + b"\0"),
        lambda: packfile_module.decode_record(key, pack, cid, record[:-1]),
        lambda: packfile_module.decode_record(key, pack, cid, b""),
    ):
        with pytest.raises(DecodeError):
            wrong()
