"""Ops: the parts in which an action is held by others, each near the key that it is about.

Source: IPS paper, DHT operations; docs/wire.md, "Source chains". Which ops an action has is a pure
function of it. An op that does not follow from its action cannot be decoded, so whoever carries it
cannot add, take away or exchange anything; what its author did wrong is for `chain/rules.py`.
A public entry travels with the ops that need it; a private one never, only sealed for its person.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from dms3.chain.action import SignedAction, decode_signed, encode_signed
from dms3.chain.agent import decode_agent, decode_revocation
from dms3.core.codec import check_items, decode, encode, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ENTRY_BYTES_MAX,
    OP_IDS_KNOWN_MAX,
    OPS_PER_ACTION_MAX,
    SEALED_BYTES_MAX,
)
from dms3.core.overlay import location

KINDS = ("record", "entry", "activity", "update", "delete", "link", "unlink", "agent", "warrant")
WITH_ENTRY = ("record", "entry", "update")
"""Ops that carry the bytes of a public entry."""
OP_BYTES_MAX = SEALED_BYTES_MAX + 24 * 1_024
_ITEMS_MAX = 16


@dataclass(frozen=True, slots=True)
class Op:
    """The part `kind` of an action, held near `basis`, a key of the overlay.

    `entry`: bytes of a public entry, in the kinds of WITH_ENTRY. `sealed`: of a private entry, in
    `record` alone.
    """

    kind: str
    basis: bytes
    signed: SignedAction
    entry: bytes | None = field(default=None, repr=False)
    sealed: bytes | None = field(default=None, repr=False)

    @property
    def location(self) -> bytes:
        """Where in the space of nodes and contents it lies: SHA-256 of its basis."""
        return location(self.basis)


@dataclass(frozen=True, slots=True)
class _Wire:
    kind: str
    basis: bytes
    action: bytes
    entry: bytes | None
    sealed: bytes | None


@dataclass(frozen=True, slots=True)
class _Named:
    kind: str
    basis: bytes
    action: bytes


def bases_of(signed: SignedAction) -> tuple[tuple[str, bytes], ...]:
    """(kind, basis) of every op of an action, in a fixed order; at most OPS_PER_ACTION_MAX."""
    action = signed.action
    found = [("record", signed.hash.binary)]
    if action.entry is not None and not action.private:
        found.append(("entry", action.entry.binary))
    found.append(("activity", action.author))
    if action.kind in ("update", "delete"):
        assert action.target is not None
        assert action.target_entry is not None
        found.append((action.kind, action.target_entry.binary))
        found.append((action.kind, action.target.binary))
    elif action.kind == "link":
        found.append(("link", action.base))
    elif action.kind == "unlink":
        assert action.target is not None
        found.append(("unlink", action.base))
        found.append(("unlink", action.target.binary))
    elif action.kind == "agent":
        found.append(("agent", action.root))
        other = _other_agent(signed)
        if other not in (b"", action.author):
            found.append(("activity", other))
    elif action.kind == "warrant":
        found.append(("warrant", action.to))
    found = list(dict.fromkeys(found))  # a link may be unlinked from its own hash
    assert len(found) <= OPS_PER_ACTION_MAX, "an action has a few ops"
    return tuple(found)


def ops_of(
    signed: SignedAction, entry: bytes | None = None, sealed: bytes | None = None
) -> tuple[Op, ...]:
    """Every op of an action, to be published.

    `entry`: its entry's bytes, left out of every op when the entry is private. `sealed`: what
    `seal_private` made of a private one, when the action names it.
    """
    public = None if signed.action.private else entry
    return tuple(
        Op(
            kind,
            basis,
            signed,
            public if kind in WITH_ENTRY else None,
            sealed if kind == "record" else None,
        )
        for kind, basis in bases_of(signed)
    )


def op_id(op: Op) -> bytes:
    """The 32 bytes that name an op: of its kind, basis and action."""
    return op_id_of(op.kind, op.basis, op.signed)


def op_id_of(kind: str, basis: bytes, signed: SignedAction) -> bytes:
    """The same for an op whose entry is not at hand."""
    return _op_id(kind, basis, signed.hash.binary)


@lru_cache(maxsize=OP_IDS_KNOWN_MAX)
def _op_id(kind: str, basis: bytes, action: bytes) -> bytes:
    return hashlib.sha256(encode(_Named(kind, basis, action))).digest()


def encode_op(op: Op) -> bytes:
    """The bytes of an op, on the wire and on disk."""
    return encode(_Wire(op.kind, op.basis, encode_signed(op.signed), op.entry, op.sealed))


def decode_op(data: bytes) -> Op:
    """The op in `data`: what its action says, with its entry; raises DecodeError, nothing else.

    The signature is not checked yet.
    """
    need_at_most(data, OP_BYTES_MAX, "an op")
    check_items(data, _ITEMS_MAX)
    found = decode(_Wire, data, strict=True)
    signed = decode_signed(found.action)
    if (found.kind, found.basis) not in bases_of(signed):
        raise DecodeError(0, f"its action has no op {found.kind[:16]!r} there")
    op = Op(found.kind, found.basis, signed, found.entry, found.sealed)
    _check_carried(op)
    return op


def _check_carried(op: Op) -> None:
    action = op.signed.action
    public = None if action.private or op.kind not in WITH_ENTRY else action.entry
    if (op.entry is None) != (public is None):
        raise DecodeError(0, "it lacks its entry, or carries one that it must not")
    if op.entry is not None and (len(op.entry) > ENTRY_BYTES_MAX or not public.matches(op.entry)):  # type: ignore[union-attr]  # both are None, or none
        raise DecodeError(0, "it carries another entry than its action says")
    sealed = action.sealed if op.kind == "record" else None
    if (op.sealed is None) != (sealed is None):
        raise DecodeError(0, "it lacks its sealed entry, or carries one that it must not")
    if op.sealed is not None and (
        len(op.sealed) > SEALED_BYTES_MAX or not sealed.matches(op.sealed)  # type: ignore[union-attr]  # as above
    ):
        raise DecodeError(0, "it carries another sealed entry than its action says")


def _other_agent(signed: SignedAction) -> bytes:
    """The agent that a certificate or revocation is about; b"" when it cannot be read."""
    action = signed.action
    try:
        if action.certificate:
            return decode_agent(action.certificate).agent
        return decode_agent(decode_revocation(action.revocation).certificate).agent
    except DecodeError:
        return b""
