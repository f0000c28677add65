"""What is held: actions with their verdicts, entries, ops in their indexes; read and written.

Source: docs/chains.md, "How an op is judged". State is a set that only grows: an update, delete or
unlink adds a mark, a second action at one place stands beside the first. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dms3.chain.action import SignedAction, decode_signed, encode_signed
from dms3.chain.ops import WITH_ENTRY, Op, bases_of, op_id_of
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import decode, encode
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    ACTIONS_READ_MAX,
    DETAIL_CHARS_MAX,
    DNA_NAME_CHARS_MAX,
    ENTRY_PART_BYTES_MAX,
)
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict
from dms3.validation.authors import Authors
from dms3.validation.in_hand import InHand, Taken
from dms3.validation.located import SHOWN, Located
from dms3.validation.rows import (
    ACTIONS,
    COUNTS,
    DOUBTS,
    ENTRIES,
    INDEX,
    OPS,
    PENDING,
    STATES,
    ActionRow,
    AuthorRow,
    OpRow,
    PendingRow,
    Rows,
    action_key,
    index_key,
    index_prefix,
    refused_key,
)

_VERSION = 1
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class Held:
    """An action that lies here with what was made of it; see ActionRow."""

    signed: SignedAction
    state: str
    rule: str = ""
    detail: str = ""
    line: int = 0
    own: bool = False
    received_us: int = 0

    @property
    def verdict(self) -> Verdict | None:
        """Its verdict; None while it is pending."""
        match self.state:
            case "integrated":
                return Valid()
            case "rejected":
                return Invalid(self.rule, self.detail, self.line)
            case "abandoned":
                return Abandoned(self.detail)
        return None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many ops of an overlay are held in which state, and the bytes of actions and entries."""

    v: int = _VERSION
    ops: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


class Holding:
    """The rows of all overlays, and what is in hand and not written yet."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.located = Located(rows)
        self.authors = Authors(rows)
        self.in_hand = InHand()
        self._counts: dict[OverlayId, Counts] = {}
        self._changed: dict[OverlayId, None] = {}
        self._read: dict[bytes, Held] = {}  # rows of actions that were read or written lately
        self.doubted: dict[tuple[OverlayId, Cid], None] = {}  # entries that may be of no use
        self._new: dict[bytes, set[bytes]] = {}  # of actions that came lately: all ops ever held

    # Actions

    def action(self, overlay: OverlayId, hash_: Cid) -> Held | None:
        """The action with this hash, if it lies here in any state."""
        if hash_.codec != DAG_CBOR:
            return None  # the same digest names something else there
        taken = self.in_hand.find(overlay, hash_)
        if taken is not None:
            return _pending(taken)
        data = self.rows.get(ACTIONS, action_key(overlay, hash_))
        if data is None:
            return None
        held = self._read.get(data)
        if held is None:
            held = _held(data)
            self._remember(data, held)
        return held

    def add_action(self, overlay: OverlayId, held: Held) -> None:
        """Keep an action that was not here."""
        if len(self._new) >= ACTIONS_READ_MAX:
            del self._new[next(iter(self._new))]
        self._new[action_key(overlay, held.signed.hash)] = set()
        self._write(overlay, held)
        self._count(overlay, {}, len(encode_signed(held.signed)))

    def write(self, taken: Taken, held: Held | None = None) -> Cid | None:
        """Keep an action that is in hand with its ops and what they carry; None: as pending.

        The result is as of `decide`.
        """
        overlay, signed = taken.overlay, taken.signed
        self.in_hand.remove(taken)
        held = held or _pending(taken)
        self.add_action(overlay, held)
        for cid, data in taken.entries.items():
            self.add_entry(overlay, cid, data)
        fork = None
        for kind, basis in taken.ops:
            fork = self.add_op(overlay, kind, basis, signed, held.state) or fork
        return fork

    def decide(self, overlay: OverlayId, signed: SignedAction, verdict: Verdict) -> Cid | None:
        """Keep what an action was found to be; its ops stand in the indexes when it is valid.

        The result is another action at its place in the chain, if one is known now.
        """
        held = self.action(overlay, signed.hash)
        assert held is not None, "an action is kept or in hand before it is judged"
        if held.state == "integrated" and isinstance(verdict, Valid):
            return None  # an own action is kept as what it is
        rule, detail, line = _words(verdict)
        decided = replace(held, state=_state(verdict), rule=rule, detail=detail, line=line)
        taken = self.in_hand.find(overlay, signed.hash)
        if taken is not None:
            return self.write(taken, decided)
        ops = self.ops(overlay, signed)
        self._count(overlay, {held.state: -len(ops), decided.state: len(ops)}, 0)
        self._write(overlay, decided)
        if not isinstance(verdict, Abandoned):
            self._locate(overlay, ops, signed)
        fork = None
        for kind, basis in ops:
            fork = self._show(overlay, kind, basis, signed, decided.state) or fork
        return fork

    def make_own(self, overlay: OverlayId, signed: SignedAction) -> None:
        """An action that came from elsewhere is this node's own."""
        held = self.action(overlay, signed.hash)
        assert held is not None, "it is kept"
        self._write(overlay, replace(held, own=True))

    def resign(self, overlay: OverlayId, signed: SignedAction) -> None:
        """Keep this signature of an action: of several good ones all nodes keep the least."""
        taken = self.in_hand.find(overlay, signed.hash)
        if taken is not None:
            taken.signed = signed
            return
        held = self.action(overlay, signed.hash)
        assert held is not None, "it is kept"
        self._write(overlay, replace(held, signed=signed))

    def again(self, overlay: OverlayId, signed: SignedAction) -> None:
        """An abandoned action is to be judged once more."""
        held = self.action(overlay, signed.hash)
        assert held is not None, "an abandoned action is kept"
        ops = self.ops(overlay, signed)
        self._count(overlay, {"abandoned": -len(ops), "pending": len(ops)}, 0)
        self._write(overlay, replace(held, state="pending", detail=""))

    def forget(self, overlay: OverlayId, signed: SignedAction) -> None:
        """Let go of an action without a verdict and its ops, as if it had never come."""
        held = self.action(overlay, signed.hash)
        assert held is not None, "it is kept"
        ops = self.ops(overlay, signed)
        for kind, basis in ops:
            self.rows.drop(OPS, overlay + op_id_of(kind, basis, signed))
        self.rows.drop(ACTIONS, action_key(overlay, signed.hash))
        self._count(overlay, {held.state: -len(ops)}, -len(encode_signed(held.signed)))

    def drop_op(self, overlay: OverlayId, op_id: bytes) -> tuple[Cid, ...]:
        """Hold one op of a valid action no longer, and its action when it was the last of it.

        The result is which entries it carried: no other op of the action has them here.
        """
        row = self.op(overlay, op_id)
        assert row is not None, "it is held"
        held = self.action(overlay, Cid.of_digest(DAG_CBOR, row.action))
        assert held is not None, "the action of an op is kept"
        signed, action = held.signed, held.signed.action
        self.rows.drop(OPS, overlay + op_id)
        self.located.drop(overlay, op_id, row.basis)
        self._count(overlay, {held.state: -1}, 0)
        listed = index_key(overlay, row.kind, row.basis, signed)
        if listed is not None:
            self.rows.drop(INDEX, listed)
        if (row.kind, row.basis) == ("activity", action.author):
            self.authors.shorten(overlay, signed)
        left = [kind for kind, _ in self.ops(overlay, signed)]
        if not left:
            for table in (ACTIONS, DOUBTS):
                self.rows.drop(table, action_key(overlay, signed.hash))
            self._count(overlay, {}, -len(encode_signed(signed)))
        bare = not any(kind in WITH_ENTRY for kind in left)
        entries = (action.entry, action.sealed)
        return tuple(cid for cid in entries if cid is not None) if bare else ()

    # Entries, of public and of sealed private content alike

    def entry(self, overlay: OverlayId, cid: Cid) -> bytes | None:
        """The bytes with this hash."""
        found = self.in_hand.entry(overlay, cid)
        if found is not None:
            return found
        parts = self._parts(overlay, cid)
        return b"".join(parts)[1:] if parts else None

    def has_entry(self, overlay: OverlayId, cid: Cid) -> bool:
        """Whether they are kept here."""
        return self.rows.get(ENTRIES, _part_key(overlay, cid, 0)) is not None

    def add_entry(self, overlay: OverlayId, cid: Cid, data: bytes) -> None:
        """Keep them, once, in as many rows as they need."""
        self.doubted.pop((overlay, cid), None)
        if self.has_entry(overlay, cid):
            return
        filled = b"\1" + data  # a row is never empty
        step = ENTRY_PART_BYTES_MAX
        for number, start in enumerate(range(0, len(filled), step)):
            key = _part_key(overlay, cid, number)
            self.rows.put(ENTRIES, key, filled[start : start + step])
        self._count(overlay, {}, len(data))

    def drop_entry(self, overlay: OverlayId, cid: Cid) -> None:
        """Let go of what only a pending action had brought."""
        parts = self._parts(overlay, cid)
        for number in range(len(parts)):
            self.rows.drop(ENTRIES, _part_key(overlay, cid, number))
        self._count(overlay, {}, -max(0, sum(map(len, parts)) - 1))

    def _parts(self, overlay: OverlayId, cid: Cid) -> list[bytes]:
        """The rows of an entry: each full one has another behind it, or is the last."""
        parts: list[bytes] = []
        while not parts or len(parts[-1]) == ENTRY_PART_BYTES_MAX:
            part = self.rows.get(ENTRIES, _part_key(overlay, cid, len(parts)))
            if part is None:
                break
            parts.append(part)
        return parts

    # Ops

    def ops(self, overlay: OverlayId, signed: SignedAction) -> list[tuple[str, bytes]]:
        """(kind, basis) of the ops of an action that are held here, in its order."""
        return [pair for pair in bases_of(signed) if self.has_op(overlay, *pair, signed)]

    def has_op(self, overlay: OverlayId, kind: str, basis: bytes, signed: SignedAction) -> bool:
        """Whether this op is held."""
        taken = self.in_hand.find(overlay, signed.hash)
        if taken is not None:
            return (kind, basis) in taken.ops
        op_id = op_id_of(kind, basis, signed)
        came = self._new.get(action_key(overlay, signed.hash))
        if came is not None and op_id not in came:
            return False
        return self.rows.get(OPS, overlay + op_id) is not None

    def op(self, overlay: OverlayId, op_id: bytes) -> OpRow | None:
        """The op with that id."""
        data = self.rows.get(OPS, overlay + op_id)
        return None if data is None else decode(OpRow, data)

    def is_valid(self, overlay: OverlayId, op_id: bytes) -> bool:
        """Whether the op with that id is held, and its action was judged valid."""
        row = self.op(overlay, op_id)
        held = None if row is None else self.action(overlay, Cid.of_digest(DAG_CBOR, row.action))
        return held is not None and held.state == "integrated"

    def add_op(
        self, overlay: OverlayId, kind: str, basis: bytes, signed: SignedAction, state: str
    ) -> Cid | None:
        """Hold an op of an action that is kept in `state`; listed at once when that is integrated.

        The result is another action at its place in the chain, if one is known now.
        """
        if self.has_op(overlay, kind, basis, signed):
            return None
        row = OpRow(_VERSION, kind, basis, signed.hash.digest)
        op_id = op_id_of(kind, basis, signed)
        self.rows.put(OPS, overlay + op_id, encode(row))
        came = self._new.get(action_key(overlay, signed.hash))
        if came is not None:
            came.add(op_id)
        self._count(overlay, {state: 1}, 0)
        if state in SHOWN:
            self._locate(overlay, [(kind, basis)], signed)
        return self._show(overlay, kind, basis, signed, state)

    def remade(
        self, overlay: OverlayId, kind: str, basis: bytes, signed: SignedAction
    ) -> Op | None:
        """The op with what it carries; None when its entry does not lie here."""
        action = signed.action
        entry = sealed = None
        if kind in WITH_ENTRY and action.entry is not None and not action.private:
            entry = self.entry(overlay, action.entry)
            if entry is None:
                return None
        if kind == "record" and action.sealed is not None:
            sealed = self.entry(overlay, action.sealed)
            if sealed is None:
                return None
        return Op(kind, basis, signed, entry, sealed)

    # Lists

    def listed(
        self, overlay: OverlayId, code: bytes, basis: bytes, tail: bytes = b"", after: bytes = b""
    ) -> Iterator[tuple[bytes, Held]]:
        """(key, action) of what is listed there, in order of key, behind key `after`."""
        prefix = index_prefix(overlay, code, basis) + tail
        for key, _ in self.rows.under(INDEX, prefix, after):
            held = self.action(overlay, Cid.of_digest(DAG_CBOR, key[-_DIGEST:]))
            assert held is not None, "what is listed is kept"
            yield key, held

    def listed_from(
        self, overlay: OverlayId, code: bytes, basis: bytes, start: bytes
    ) -> Iterator[tuple[bytes, Held]]:
        """The same from the tail `start` on."""
        prefix = index_prefix(overlay, code, basis)
        yield from self.listed(overlay, code, basis, after=prefix + start if start else b"")

    def author(self, overlay: OverlayId, author: bytes) -> AuthorRow:
        """How far the chain of `author` is held."""
        return self.authors.row(overlay, author)

    # What is pending

    def pend(self, overlay: OverlayId, hash_: Cid, peer: bytes) -> None:
        """Note that an action waits."""
        row = PendingRow(_VERSION, peer)
        self.rows.put(PENDING, action_key(overlay, hash_), encode(row))

    def unpend(self, overlay: OverlayId, hash_: Cid) -> None:
        """It waits no more."""
        self.rows.drop(PENDING, action_key(overlay, hash_))

    def pending(self, overlay: OverlayId) -> list[tuple[Held, bytes]]:
        """Every action that waits, with who brought it."""
        found = []
        for key, data in self.rows.under(PENDING, overlay):
            held = self.action(overlay, Cid.of_digest(DAG_CBOR, key[-_DIGEST:]))
            if held is not None:
                found.append((held, decode(PendingRow, data).peer))
        return found

    # Counting

    def counts(self, overlay: OverlayId) -> Counts:
        """How much is held."""
        counts = self._counts.get(overlay)
        if counts is None:
            data = self.rows.get(COUNTS, overlay)
            counts = Counts() if data is None else decode(Counts, data)
            self._counts[overlay] = counts
        return counts

    def write_counts(self) -> None:
        """Keep the counts that this event has changed."""
        for overlay in self._changed:
            self.rows.put(COUNTS, overlay, encode(self._counts[overlay]))
        self._changed.clear()

    # Small parts

    def _locate(
        self, overlay: OverlayId, ops: Sequence[tuple[str, bytes]], signed: SignedAction
    ) -> None:
        """These ops are told to others from now on."""
        for kind, basis in ops:
            self.located.add(overlay, op_id_of(kind, basis, signed), basis)

    def _show(
        self, overlay: OverlayId, kind: str, basis: bytes, signed: SignedAction, state: str
    ) -> Cid | None:
        """List an op where it is looked for, as valid or as evidence; a fork as in `decide`."""
        where = {"integrated": index_key, "rejected": refused_key}.get(state)
        key = None if where is None else where(overlay, kind, basis, signed)
        if key is None:
            return None
        self.rows.put(INDEX, key, b"")
        is_chain = state == "integrated" and (kind, basis) == ("activity", signed.action.author)
        return self.authors.extend(overlay, signed) if is_chain else None

    def _write(self, overlay: OverlayId, held: Held) -> None:
        """Keep the row of an action as `held` says."""
        data = encode(
            ActionRow(
                _VERSION,
                encode_signed(held.signed),
                held.state,
                held.received_us,
                held.rule,
                held.detail,
                held.line,
                held.own,
            )
        )
        self.rows.put(ACTIONS, action_key(overlay, held.signed.hash), data)
        self._remember(data, held)

    def _remember(self, data: bytes, held: Held) -> None:
        if len(self._read) >= ACTIONS_READ_MAX:
            del self._read[next(iter(self._read))]
        self._read[data] = held

    def _count(self, overlay: OverlayId, ops: dict[str, int], size: int) -> None:
        before = self.counts(overlay)
        counted = {
            state: number
            for state in STATES
            if (number := before.ops.get(state, 0) + ops.get(state, 0))
        }
        self._counts[overlay] = Counts(_VERSION, counted, max(0, before.bytes + size))
        self._changed[overlay] = None


def _part_key(overlay: OverlayId, cid: Cid, number: int) -> bytes:
    """Where a part of an entry lies; sealed bytes are apart, since they have another codec."""
    return overlay + bytes((cid.codec,)) + cid.digest + bytes((number,))


def _held(data: bytes) -> Held:
    row = decode(ActionRow, data)
    signed = decode_signed(row.signed)
    return Held(signed, row.state, row.rule, row.detail, row.line, row.own, row.received_us)


def _pending(taken: Taken) -> Held:
    return Held(taken.signed, "pending", received_us=taken.received_us)


def _state(verdict: Verdict) -> str:
    if isinstance(verdict, Valid):
        return "integrated"
    return "rejected" if isinstance(verdict, Invalid) else "abandoned"


def _words(verdict: Verdict) -> tuple[str, str, int]:
    if isinstance(verdict, Invalid):
        return verdict.rule[:DNA_NAME_CHARS_MAX], verdict.detail[:DETAIL_CHARS_MAX], verdict.line
    if isinstance(verdict, Abandoned):
        return "", verdict.reason[:DETAIL_CHARS_MAX], 0
    return "", "", 0
