"""The rules of the system: what every action must keep, whatever its app says.

Source: IPS paper, system validation; Holochain's list of the same; docs/wire.md, "Source chains".
Pure and the same on every node: rules that need nothing else come first, then what is missing is
named, then the rest is judged in a fixed order. Nothing here looks at a clock: an action from the
future is parked by whoever received it (`is_ahead`), and nobody is blamed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dms3.chain.action import GENESIS, Action, SignedAction, check_signature, decode_signed
from dms3.chain.agent import check_agent, check_revocation, decode_agent, decode_revocation
from dms3.chain.dna import Dna
from dms3.chain.entry import Entry, decode_entry, entry_hash
from dms3.chain.membrane import Membrane, Ports, Staked, Who, check, no_ledger
from dms3.chain.operations_validation import Record
from dms3.chain.session import check_session
from dms3.chain.warrant import check_evidence
from dms3.core.cid import Cid
from dms3.core.errors import DecodeError
from dms3.core.limits import CLOCK_AHEAD_US_MAX, ENTRY_BYTES_MAX, TAG_BYTES_MAX
from dms3.core.verdict import Invalid, Unresolved, Valid, Verdict

_WITH_ENTRY_KIND = ("create", "update", "countersign")


@dataclass(frozen=True, slots=True)
class _Case:
    """What is judged, and all that may be looked at.

    `entry` None: it is not at hand, or cannot be read, as `entry_fault` says.
    """

    signed: SignedAction
    action: Action
    dna: Dna
    entry_bytes: bytes | None
    entry: Entry | None
    entry_fault: str
    previous: SignedAction | None
    target: SignedAction | None
    stake: Staked


def check_action(
    record: Record,
    dna: Dna,
    previous: SignedAction | None,
    known: Mapping[Cid, SignedAction],
    stake: Staked = no_ledger,
) -> Verdict:
    """Whether the action of `record` keeps the rules of the system; see `RULES` for their names.

    `previous`: the action before it, if it is at hand; `known`: actions by their hash (that one may
    be among them), of which `needed` says which are looked at. What is missing makes it Unresolved,
    named by the bytes of its CID. An action is valid only if the one before it and its target are:
    that is for the caller to ask. `stake`: what a ledger says at the block that a proof names.
    """
    signed, action = record.signed, record.signed.action
    before = _at_hand(action.prev, previous, known)
    about = action.target if action.kind in _TARGETED else None
    target = _at_hand(about, previous, known)
    entry, fault = _read(record.entry)
    case = _Case(signed, action, dna, record.entry, entry, fault, before, target, stake)
    for name, rule in _ALONE.items():
        if detail := rule(case):
            return Invalid(name, detail)
    missing = [each.binary for each in needed(record) if each not in _held(case)]
    if missing:
        return Unresolved(tuple(missing))
    for name, rule in _TOGETHER.items():
        if detail := rule(case):
            return Invalid(name, detail)
    return Valid()


def _at_hand(
    hash_: Cid | None, previous: SignedAction | None, known: Mapping[Cid, SignedAction]
) -> SignedAction | None:
    if hash_ is None:
        return None
    if previous is not None and previous.hash == hash_:
        return previous
    return known.get(hash_)


def _read(data: bytes | None) -> tuple[Entry | None, str]:
    try:
        return (None if data is None else decode_entry(data)), ""
    except DecodeError as error:
        return None, f"the entry cannot be read: {error.reason}"


def needed(record: Record) -> tuple[Cid, ...]:
    """The hashes that judging `record` needs beside it: previous action, target, public entry."""
    action = record.signed.action
    found: list[Cid] = []
    if action.prev is not None:
        found.append(action.prev)
    if action.target is not None and action.kind in _TARGETED and action.target not in found:
        found.append(action.target)
    if action.entry is not None and not action.private and record.entry is None:
        found.append(action.entry)
    return tuple(found)


def is_ahead(action: Action, wall_us: int) -> bool:
    """Whether the action is from later than clocks may differ: it is judged when it is time."""
    return action.time_us > wall_us + CLOCK_AHEAD_US_MAX


def _held(case: _Case) -> tuple[Cid, ...]:
    return tuple(each.hash for each in (case.previous, case.target) if each is not None)


# Each rule returns one clause that says what is wrong, or "".
def _signature(case: _Case) -> str:
    return "" if check_signature(case.signed) else "its author has not signed it"


def _dna(case: _Case) -> str:
    return "" if case.action.dna == case.dna.id else "it is of another app"


def _genesis(case: _Case) -> str:
    kind, seq = case.action.kind, case.action.seq
    if seq < len(GENESIS):
        if kind != GENESIS[seq]:
            return f"action {seq} of a chain is {GENESIS[seq]}, not {kind}"
        if seq == len(GENESIS) - 1 and not case.action.certificate:
            return "a chain begins with the certificate of its agent"
    elif kind in GENESIS[:2]:
        return f"{kind} is the beginning of a chain, not action {seq}"
    return ""


def _certificate(case: _Case) -> str:
    action = case.action
    if not action.certificate:
        return ""
    try:
        found = decode_agent(action.certificate)
    except DecodeError as error:
        return f"the certificate cannot be read: {error.reason}"
    if (found.root, found.dna) != (action.root, action.dna):
        return "the certificate is of another person, or for another app"
    first = action.seq < len(GENESIS)
    if first and found.agent != action.author:
        return "the certificate is of another key than the author's"
    if not first and found.agent == action.author:
        return "the certificate is of the key that the chain has already"
    return "" if check_agent(found) else "the certificate is not signed by its root"


def _revocation(case: _Case) -> str:
    action = case.action
    if not action.revocation:
        return ""
    try:
        found = check_revocation(decode_revocation(action.revocation))
    except DecodeError as error:
        return f"the revocation cannot be read: {error.reason}"
    if found is None:
        return "the revocation is not signed by the root of the certificate"
    if (found.root, found.dna) != (action.root, action.dna):
        return "the revocation is of another person, or for another app"
    return ""


def _entry_size(case: _Case) -> str:
    size = len(case.entry_bytes or b"")
    return f"the entry has {size} bytes, {ENTRY_BYTES_MAX} at most" * (size > ENTRY_BYTES_MAX)


def _entry_hash(case: _Case) -> str:
    if case.entry_bytes is None or case.action.entry is None:
        return "it has no entry, and one came with it" * (case.entry_bytes is not None)
    same = entry_hash(case.entry_bytes) == case.action.entry
    return "" if same else "the entry has another hash than the action says"


def _entry_form(case: _Case) -> str:
    if case.entry is not None and bool(case.entry.session) != (case.action.kind == "countersign"):
        return "a session is part of a countersigned entry, and of no other"
    return case.entry_fault


def _membrane(case: _Case) -> str:
    """The outer membrane at action 1, an inner one at each entry of a kind that has one.

    That of an update is for `_update_membrane`: whose entry it was is not known here.
    """
    action, gates = case.action, case.dna.gates
    asked = gates.outer if action.kind == "proof" else None
    if action.kind in _WITH_ENTRY_KIND:
        asked = gates.of_kind(action.entry_kind)
        if asked is None and action.proof:
            return "entries of this kind ask for no proof"
    return "" if asked is None or action.kind == "update" else _opens(case, asked)


def _update_membrane(case: _Case) -> str:
    """Who changes what somebody else made may make entries of its kind."""
    action, target = case.action, case.target
    if action.kind != "update" or target is None or target.action.root == action.root:
        return ""
    asked = case.dna.gates.of_kind(action.entry_kind)
    return "" if asked is None else _opens(case, asked)


def _opens(case: _Case, asked: Membrane) -> str:
    action, ports = case.action, Ports(stake=case.stake)  # warrants are the door's business
    who = Who(action.root, action.author)
    verdict = check(asked, action.dna, who, action.proof, action.time_us, ports)
    return f"{verdict.detail} ({verdict.rule})" if isinstance(verdict, Invalid) else ""


def _entry_kind(case: _Case) -> str:
    action = case.action
    if action.kind in _WITH_ENTRY_KIND and case.dna.entry_kind(action.entry_kind) is None:
        return f"the app has no entries of kind {action.entry_kind!r}"
    return ""


def _visibility(case: _Case) -> str:
    action = case.action
    kind = case.dna.entry_kind(action.entry_kind)
    if action.kind in _WITH_ENTRY_KIND and kind is not None and kind.private != action.private:
        what = ("public", "private")
        return f"entries of kind {kind.name!r} are {what[kind.private]}, not {what[action.private]}"
    if case.entry is not None and bool(case.entry.salt) != action.private:
        return "a private entry has a salt, and a public one none"
    return ""


def _link_kind(case: _Case) -> str:
    action = case.action
    if action.kind == "link" and case.dna.link_kind(action.link_kind) is None:
        return f"the app has no links of kind {action.link_kind!r}"
    return ""


def _tag_size(case: _Case) -> str:
    size = len(case.action.tag)
    return f"the tag has {size} bytes, {TAG_BYTES_MAX} at most" * (size > TAG_BYTES_MAX)


def _warrant(case: _Case) -> str:
    action = case.action
    if action.kind != "warrant":
        return ""
    return check_evidence(action.proof, action.dna, action.to)


def _close(case: _Case) -> str:
    action = case.action
    if action.kind == "close" and action.other_dna == action.dna:
        return "a chain goes on in another app, not in its own"
    return ""


def _open(case: _Case) -> str:
    action = case.action
    if action.kind != "open":
        return ""
    try:
        closed = decode_signed(action.proof)
    except DecodeError as error:
        return f"the close action cannot be read: {error.reason}"
    before = closed.action
    if before.kind != "close" or closed.hash != action.target:
        return "its proof is not the close action that it names"
    if (before.dna, before.other_dna) != (action.other_dna, action.dna):
        return "the other chain was closed for another app"
    if (before.to, before.root, before.entry) != (action.author, action.root, action.entry):
        return "the other chain goes on with another agent, or with another state"
    return "" if check_signature(closed) else "the close action is not signed by its author"


def _countersign(case: _Case) -> str:
    if case.action.kind != "countersign" or case.entry is None:
        return ""
    return check_session(case.action, case.entry)


def _previous(case: _Case) -> str:
    before = case.previous
    if before is not None and before.action.dna != case.action.dna:
        return "the action before it is of another app"
    return ""


def _sequence(case: _Case) -> str:
    before = case.previous
    if before is not None and case.action.seq != before.action.seq + 1:
        return f"it follows action {before.action.seq} as number {case.action.seq}"
    return ""


def _author(case: _Case) -> str:
    before = case.previous
    if before is None:
        return ""
    if case.action.root != before.action.root:
        return "the person is another than before"
    if case.action.author != next_author(before.action):
        return "the author is another than before, and no certificate says so"
    return ""


def next_author(action: Action) -> bytes:
    """The key that writes behind `action`: the same, or the one that it certifies; b"": none."""
    if action.kind == "agent" and action.certificate and action.seq >= len(GENESIS):
        try:
            return decode_agent(action.certificate).agent
        except DecodeError:
            return b""
    return action.author


def _time(case: _Case) -> str:
    before = case.previous
    if before is not None and case.action.time_us < before.action.time_us:
        return "it is older than the action before it"
    return ""


def _closed(case: _Case) -> str:
    before = case.previous
    return "nothing follows in a closed chain" * (before is not None and ends_chain(before.action))


def ends_chain(action: Action) -> bool:
    """Whether nothing may follow: the chain is closed, or takes back its own key."""
    if action.revocation:
        try:
            revoked = decode_agent(decode_revocation(action.revocation).certificate)
        except DecodeError:
            return False
        return revoked.agent == action.author
    return action.kind == "close"


def _update_target(case: _Case) -> str:
    if case.action.kind != "update" or case.target is None:
        return ""
    return _replaced(case.action, case.target.action) or (
        "an update has the kind of what it updates"
        * (case.action.entry_kind != case.target.action.entry_kind)
    )


def _delete_target(case: _Case) -> str:
    if case.action.kind != "delete" or case.target is None:
        return ""
    return _replaced(case.action, case.target.action)


def _replaced(action: Action, target: Action) -> str:
    if target.dna != action.dna:
        return "its target is of another app"
    if target.kind not in _WITH_ENTRY_KIND:
        return f"its target is {target.kind}, not something that makes an entry"
    if target.entry != action.target_entry:
        return "its target has another entry than it says"
    return ""


def _unlink_target(case: _Case) -> str:
    if case.action.kind != "unlink" or case.target is None:
        return ""
    target = case.target.action
    if target.dna != case.action.dna or target.kind != "link":
        return "its target is not a link of this app"
    return "its target is a link from another base" * (target.base != case.action.base)


def _permission(case: _Case) -> str:
    if case.target is None or case.target.action.root == case.action.root:
        return ""
    target = case.target.action
    kind = (
        case.dna.link_kind(target.link_kind)
        if target.kind == "link"
        else case.dna.entry_kind(target.entry_kind)
    )
    if kind is not None and kind.by_anyone:
        return ""
    return "only the person that made it may change it, as the app says"


_TARGETED = ("update", "delete", "unlink")
_Rule = Callable[[_Case], str]
_ALONE: dict[str, _Rule] = {
    "signature": _signature,
    "dna": _dna,
    "genesis": _genesis,
    "certificate": _certificate,
    "revocation": _revocation,
    "entry-size": _entry_size,
    "entry-hash": _entry_hash,
    "entry-form": _entry_form,
    "entry-kind": _entry_kind,
    "membrane": _membrane,
    "visibility": _visibility,
    "link-kind": _link_kind,
    "tag-size": _tag_size,
    "warrant": _warrant,
    "close": _close,
    "open": _open,
    "countersign": _countersign,
}
_TOGETHER: dict[str, _Rule] = {
    "previous": _previous,
    "sequence": _sequence,
    "author": _author,
    "time": _time,
    "closed": _closed,
    "update-target": _update_target,
    "delete-target": _delete_target,
    "unlink-target": _unlink_target,
    "permission": _permission,
    "update-membrane": _update_membrane,
}
RULES = (*_ALONE, *_TOGETHER)
"""The names of all rules, in the order in which they are judged."""
