"""What judging looks at beside the action: by name, from what lies here or was brought.

Source: docs/chains.md, "How an op is judged"; `chain/sandboxing.py` for the names. A need is the
name of one thing that is the same for everybody, so a verdict does not depend on who looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from dms3.chain.action import KEY_BYTES, SignedAction, plain
from dms3.chain.entry import decode_entry
from dms3.chain.judging import shown_to_rules
from dms3.chain.operations_validation import Record
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import BROUGHT_BYTES_MAX, JUDGED_ACTIVITY_MAX
from dms3.core.multibase import decode_base32
from dms3.validation.holding import Holding

Of = Literal["before", "action", "entry", "record", "activity", "accused"]
_OF = ("action", "entry", "record", "activity")


@dataclass(frozen=True, slots=True)
class Need:
    """Something with `hash`; `of` "before": an action that must hold, for the rules of the system.

    "accused": the verdict on what a warrant is about. The others as questions of `Judge.known`.
    `agent`: of activity.
    """

    of: Of
    hash: Cid
    agent: bytes = b""

    @property
    def name(self) -> str:
        """What people and logs are told."""
        return f"{'action' if self.of in ('before', 'accused') else self.of}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Lies:
    """An action as it is known here; `state` as in ActionRow, or "brought": holders say so."""

    signed: SignedAction
    entry: bytes | None = field(repr=False)
    state: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """It cannot be said yet."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What must hold does not: it broke `rule`."""

    rule: str


@dataclass(frozen=True, slots=True)
class TooMuch:
    """It is more than a rule may read."""

    why: str


MISSING = Missing()


def parse_need(question: bytes) -> Need | None:
    """The need that a rule names; None when nothing can have that name."""
    try:
        of, _, rest = question.decode().partition(":")
        agent_text, _, text = rest.rpartition(":")
        if of not in _OF or bool(agent_text) != (of == "activity"):
            return None
        agent = decode_base32(agent_text) if agent_text else b""
        if len(agent) not in (0, KEY_BYTES):
            return None
        hash_ = Cid.parse(text)
        if hash_.codec != DAG_CBOR:
            return None  # no action and no entry has such a name, whatever has its digest
        return Need(cast("Of", of), hash_, agent)
    except (DecodeError, UnicodeDecodeError):
        return None


class Bundle:
    """Records of one chain that are judged together, and are not kept yet."""

    def __init__(self) -> None:
        self._records: dict[Cid, Record] = {}
        self._entries: dict[Cid, bytes] = {}

    def add(self, record: Record) -> None:
        """One more, found valid."""
        self._records[record.signed.hash] = record
        if record.entry is not None and record.signed.action.entry is not None:
            self._entries[record.signed.action.entry] = record.entry

    def lies(self, hash_: Cid) -> Lies | None:
        """The action with that hash."""
        record = self._records.get(hash_)
        return None if record is None else Lies(record.signed, record.entry, "integrated")

    def entry(self, cid: Cid) -> bytes | None:
        """The entry with that hash."""
        return self._entries.get(cid)


NO_BUNDLE = Bundle()


class Known:
    """Answers needs from `holding`, and from what was brought from others and fits its hash."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._brought: dict[tuple[OverlayId, Cid], Lies | bytes | tuple[SignedAction, ...]] = {}
        self._bytes = 0

    def bring(self, overlay: OverlayId, need: Need, found: Any) -> None:
        """Remember what others have sent: Lies, an entry's bytes, or activity up to the hash."""
        if isinstance(found, Lies) and found.entry is not None:
            entry = found.signed.action.entry
            assert entry is not None, "an op carries the entry of its action"
            self.bring(overlay, Need("entry", entry), found.entry)
            found = replace(found, entry=None)
        key = (overlay, _place(need))
        self._forget(key)
        self._brought[key] = found
        self._bytes += _size(found)
        while self._bytes > BROUGHT_BYTES_MAX and len(self._brought) > 1:
            self._forget(next(iter(self._brought)))

    def lies(self, overlay: OverlayId, hash_: Cid, bundle: Bundle = NO_BUNDLE) -> Lies | None:
        """The action with that hash, in whatever state."""
        found = bundle.lies(hash_)
        if found is not None:
            return found
        held = self._holding.action(overlay, hash_)
        brought = self._brought.get((overlay, hash_))
        if held is not None and (held.state != "abandoned" or not isinstance(brought, Lies)):
            return Lies(held.signed, None, held.state, held.rule)
        return brought if isinstance(brought, Lies) else None

    def is_pending(self, overlay: OverlayId, need: Need) -> bool:
        """Whether what is needed lies here and waits for its verdict."""
        held = self._holding.action(overlay, need.hash)
        return held is not None and held.state == "pending"

    def is_own_word(self, overlay: OverlayId, hash_: Cid, bundle: Bundle) -> bool:
        """Whether this node itself has found the action with that hash to be valid.

        An author may have been deceived about one that is not.
        """
        found = self.lies(overlay, hash_, bundle)
        return found is not None and found.state == "integrated"

    def entry(self, overlay: OverlayId, cid: Cid, bundle: Bundle = NO_BUNDLE) -> bytes | None:
        """The public entry with that hash."""
        found = bundle.entry(cid) or self._holding.entry(overlay, cid)
        if found is not None:
            return found
        brought = self._brought.get((overlay, cid))
        return brought if isinstance(brought, bytes) else None

    def before(
        self, overlay: OverlayId, hash_: Cid, bundle: Bundle
    ) -> SignedAction | Refused | None:
        """An action that must hold: itself, by which rule it does not, or None: not known yet."""
        found = self.lies(overlay, hash_, bundle)
        if found is None or found.state in ("pending", "abandoned"):
            return None
        return Refused(found.rule) if found.state == "rejected" else found.signed

    def answer(self, overlay: OverlayId, need: Need, bundle: Bundle) -> Any:
        """What a rule is told: JSON values, MISSING, or TooMuch."""
        if need.of == "entry":
            return self._content(overlay, need.hash, bundle)
        if need.of == "activity":
            return self._activity(overlay, need, bundle)
        found = self.lies(overlay, need.hash, bundle)
        if need.of == "record":
            return self._record(overlay, found, bundle)
        return MISSING if found is None else plain(found.signed)

    def _record(self, overlay: OverlayId, found: Lies | None, bundle: Bundle) -> Any:
        if found is None or found.state in ("pending", "abandoned"):
            return MISSING
        if found.state == "rejected":
            return None
        action, data = found.signed.action, None
        if action.entry is not None and not action.private:
            data = self.entry(overlay, action.entry, bundle)
            if data is None:
                return MISSING
        try:
            shown, content = shown_to_rules(Record(found.signed, data))
        except DecodeError:
            return None  # it only seems to hold
        return {"action": shown, "entry": content}

    def _content(self, overlay: OverlayId, cid: Cid, bundle: Bundle) -> Any:
        data = self.entry(overlay, cid, bundle)
        if data is None:
            return MISSING
        try:
            return decode_entry(data).content
        except DecodeError:
            return None  # it has that hash, and is no entry

    def _activity(self, overlay: OverlayId, need: Need, bundle: Bundle) -> Any:
        brought = self._brought.get((overlay, _place(need)))
        chain = list(brought) if isinstance(brought, tuple) else []
        at: Cid | None = None if chain else need.hash
        while at is not None:
            found = self.lies(overlay, at, bundle)
            if found is None:
                return MISSING
            if found.signed.action.seq >= JUDGED_ACTIVITY_MAX:
                return TooMuch(f"a rule reads more than {JUDGED_ACTIVITY_MAX} actions of one agent")
            chain.append(found.signed)
            at = found.signed.action.prev
        if not any(each.action.author == need.agent for each in chain):
            return None  # the hash is of another chain
        return [plain(each) for each in sorted(chain, key=_by_seq)]

    def _forget(self, key: tuple[OverlayId, Cid]) -> None:
        found = self._brought.pop(key, None)
        if found is not None:
            self._bytes -= _size(found)


def _place(need: Need) -> Cid:
    """Where what was brought is remembered: a chain beside its last action."""
    return Cid.of(need.hash.codec, b"activity" + need.hash.binary) if need.agent else need.hash


def _size(found: Lies | bytes | tuple[SignedAction, ...]) -> int:
    if isinstance(found, bytes):
        return len(found)
    if isinstance(found, Lies):
        return len(found.signed.data) + len(found.entry or b"")
    return sum(len(each.data) for each in found)


def _by_seq(signed: SignedAction) -> int:
    return signed.action.seq
