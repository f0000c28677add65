"""Receipts: a node's signed word that it has judged an op valid and holds it.

Source: docs/wire.md, "Source chains". Signed by the node key, so that it counts for the uptime of
that peer and of no other. How many are enough is for `source/` to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.limits import RECEIPT_BYTES_MAX
from dms3.crypto.certificate import PEER_ID_PREFIX, is_node_peer_id
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey

DOMAIN = b"chain receipt"
VERSION = 1
OP_ID_BYTES = 32
OVERLAY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Receipt:
    """`peer` says: the op named `op` (see `ops.op_id`) of `overlay` is valid, and I hold it.

    `time_us`: its wall clock. The signature covers the other fields.
    """

    v: int
    overlay: bytes
    op: bytes
    verdict: str
    peer: bytes
    time_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of receipts is not known")
        need(len(self.overlay) == OVERLAY_BYTES, "an overlay has 32 bytes")
        need(len(self.op) == OP_ID_BYTES, "an op is named by 32 bytes")
        need(self.verdict == "valid", "a receipt is of what is valid")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(0 <= self.time_us <= INTEGER_MAX, "the time is out of range")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def issue_receipt(key: SigningKey, overlay: bytes, op: bytes, wall_us: int) -> bytes:
    """The encoded receipt for the op named `op`; `key`: the node key."""
    peer = PeerId(PEER_ID_PREFIX + key.public)
    bare = Receipt(VERSION, overlay, op, "valid", peer, wall_us, b"")
    return encode(signed_by(key, DOMAIN, bare))


def decode_receipt(data: bytes) -> Receipt:
    """The receipt in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, RECEIPT_BYTES_MAX, "a receipt")
    found = decode(Receipt, data, strict=True)
    if not found.signature:
        raise DecodeError(0, "the receipt is not signed")
    return found


def check_receipt(receipt: Receipt, overlay: bytes, op: bytes) -> bool:
    """Whether its peer has signed it, about that op of that overlay."""
    if (receipt.overlay, receipt.op) != (overlay, op):
        return False
    public = receipt.peer[len(PEER_ID_PREFIX) :]
    return is_signed_by(public, DOMAIN, receipt)
