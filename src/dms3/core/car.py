"""CAR files, version 1: blocks one after the other, behind a head that names the roots.

Source: IPLD, "Content Addressable aRchives (CAR / .car) v1". Reads a file in pieces of any length
and hashes every block; writes the one form that is deterministic (sha2-256, CIDv1). What the blocks
mean and whether they belong together is `core/unixfs_read.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dms3.core.cid import CID_BYTES, Cid
from dms3.core.codec import check_items, decode_plain, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.limits import BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX, CAR_ROOTS_MAX
from dms3.core.unixfs import Block
from dms3.core.varint import encode_varint, read_varint

_VERSION = 1
_CID_V0 = b"\x12\x20"
_CID_V0_BYTES = 34
_HEAD_ITEMS_MAX = CAR_ROOTS_MAX * 2 + 8  # a link is a tag and its bytes


def encode_head(roots: Sequence[Cid]) -> bytes:
    """The beginning of a CAR whose roots are `roots` (at least one)."""
    assert 0 < len(roots) <= CAR_ROOTS_MAX, f"a CAR with {len(roots)} roots"
    head = encode_plain({"roots": [root.binary for root in roots], "version": _VERSION})
    return encode_varint(len(head)) + head


def encode_section(cid: Cid, block: bytes) -> bytes:
    """The bytes of one block in a CAR."""
    return encode_varint(CID_BYTES + len(block)) + cid.binary + block


def section_bytes(block_bytes: int) -> int:
    """How many bytes a block of `block_bytes` takes in a CAR."""
    length = CID_BYTES + block_bytes
    return len(encode_varint(length)) + length


def joined(parts: Iterator[bytes], size: int) -> bytes:
    """The next of `parts`, joined to a piece of at least `size` bytes; empty at the end."""
    taken: list[bytes] = []
    length = 0
    for part in parts:
        taken.append(part)
        length += len(part)
        if length >= size:
            break
    return b"".join(taken)


class CarReader:
    """The blocks of a CAR that arrives in pieces; holds no more than one piece and one block.

    Call `add` with the pieces in order, then `finish` once. `roots`: None until the head is there.
    """

    def __init__(self) -> None:
        self.roots: tuple[Cid, ...] | None = None
        self._rest = bytearray()
        self._offset = 0  # of `_rest` in the file

    def add(self, data: bytes) -> list[Block]:
        """The blocks that `data` completes, each checked against its CID; raises DecodeError."""
        self._rest += data
        blocks: list[Block] = []
        at = 0
        while (span := self._span(at)) is not None:
            start, end = span
            part = bytes(memoryview(self._rest)[start:end])
            if self.roots is None:
                self.roots = _decode_head(part)
            else:
                blocks.append(_decode_section(part, self._offset + start))
            at = end
        del self._rest[:at]
        self._offset += at
        return blocks

    def finish(self) -> tuple[Cid, ...]:
        """The roots, when the file has ended where a block ends; raises DecodeError."""
        if self.roots is None:
            raise DecodeError(0, "not a CAR")
        if self._rest:
            raise DecodeError(self._offset + len(self._rest), "the CAR is cut off")
        return self.roots

    def _span(self, at: int) -> tuple[int, int] | None:
        """Start and end in `_rest` of what has its length at `at`; None when it is not whole."""
        try:
            found = read_varint(self._rest, at)
        except DecodeError as error:
            raise DecodeError(self._offset + error.offset, error.reason) from None
        if found is None:
            return None
        length, start = found
        most = CAR_HEADER_BYTES_MAX if self.roots is None else CID_BYTES + BLOCK_BYTES_MAX
        if not 0 < length <= most:
            what = "head" if self.roots is None else "block"
            raise DecodeError(
                self._offset + at, f"a {what} of {length} bytes where 1 to {most} may be"
            )
        return (start, start + length) if start + length <= len(self._rest) else None


def _decode_head(data: bytes) -> tuple[Cid, ...]:
    check_items(data, _HEAD_ITEMS_MAX)
    head = decode_plain(data)
    if not isinstance(head, dict) or type(head.get("version")) is not int:
        raise DecodeError(0, "not a CAR")
    if head["version"] != _VERSION:
        raise DecodeError(0, f"a CAR of version {head['version']}, where version 1 is read")
    roots = head.get("roots")
    if set(head) != {"roots", "version"} or not isinstance(roots, list):
        raise DecodeError(0, "the head of the CAR is not that of version 1")
    if not 0 < len(roots) <= CAR_ROOTS_MAX:
        raise DecodeError(0, f"a CAR with {len(roots)} roots where 1 to {CAR_ROOTS_MAX} may be")
    if not all(isinstance(root, bytes) for root in roots):
        raise DecodeError(0, "a root of the CAR is no link")
    return tuple(Cid.decode(root) for root in roots)


def _decode_section(data: bytes, place: int) -> Block:
    """The block in `data`, which lies at `place` of the file."""
    length = _CID_V0_BYTES if data[:2] == _CID_V0 else CID_BYTES
    try:
        cid = Cid.decode(data[:length])
    except DecodeError as error:
        raise DecodeError(place + error.offset, error.reason) from None
    block = data[length:]
    if not cid.matches(block):
        raise DecodeError(place, f"a block of {len(block)} bytes that is not {cid}")
    return cid, block
