"""Records, links and sessions as JSON values, for functions of apps, commands and pages.

Source: docs/dapps.md, "Names"; `chain/action.py:plain`. Decides nothing.
"""

from __future__ import annotations

from typing import Any

from dms3.chain.action import name_of, plain
from dms3.chain.entry import decode_entry
from dms3.chain.operations import ChainHead, Committed, Published, Session
from dms3.chain.operations_validation import Activity, Found, LinkRecord, OpState, Record
from dms3.core.errors import DecodeError
from dms3.core.multibase import encode_base32
from dms3.core.verdict import Abandoned, Invalid, Verdict
from dms3.libp2p.peer_id import peer_id_text
from dms3.source.capabilities import Capability


def committed(done: Committed, place: int) -> dict[str, Any]:
    """One action that was written: its hash and that of its entry (None: it has none)."""
    entry = done.entries[place]
    return {"action": str(done.actions[place]), "entry": None if entry is None else str(entry)}


def record(one: Record) -> dict[str, Any]:
    """An action and its entry's content (None: it has none, or a private one of somebody else)."""
    return {"action": plain(one.signed), "entry": _content(one.entry)}


def found(one: Found) -> dict[str, Any]:
    """What was found under a hash; `record` is the earliest of `records`."""
    records = [record(each) for each in one.records]
    return {
        **(records[0] if records else {"action": None, "entry": None}),
        "authors": [each["action"]["author"] for each in records],
        "updates": [str(each) for each in one.updates],
        "deletes": [str(each) for each in one.deletes],
        "live": one.live,
        "holders": one.holders,
        "verdict": verdict(one.verdict),
    }


def verdict(one: Verdict) -> dict[str, Any]:
    """A verdict; `rule` and `line` of one that is invalid."""
    kind = type(one).__name__.lower()
    if isinstance(one, Invalid):
        return {"verdict": kind, "rule": one.rule, "line": one.line, "detail": one.detail}
    if isinstance(one, Abandoned):
        return {"verdict": kind, "detail": one.reason}
    return {"verdict": kind}


def link(one: LinkRecord) -> dict[str, Any]:
    """A link."""
    return {
        "action": str(one.action),
        "base": name_of(one.base),
        "to": name_of(one.to),
        "kind": one.kind,
        "tag": one.tag.decode(errors="replace"),
        "author": encode_base32(one.author),
        "time": one.time_us,
    }


def activity(one: Activity) -> dict[str, Any]:
    """What an agent did."""
    return {
        "agent": encode_base32(one.agent),
        "state": one.state,
        "actions": [plain(each) for each in one.actions],
        "head": one.head,
        "highest": one.highest,
        "holders": one.holders,
        "quorum": one.quorum,
    }


def session(one: Session) -> dict[str, Any]:
    """A countersigning."""
    return {
        "session": one.id.hex(),
        "kind": one.kind,
        "content": one.content,
        "parties": [encode_base32(each) for each in one.parties],
        "signed": [encode_base32(each) for each in one.signed],
        "until_us": one.until_us,
        "state": one.state,
        "action": None if one.action is None else str(one.action),
        "proposer": encode_base32(one.proposer),
        "why": one.why,
    }


def head(one: ChainHead) -> dict[str, Any]:
    """An own chain."""
    return {
        "agent": encode_base32(one.agent),
        "seq": one.seq,
        "head": None if one.head is None else str(one.head),
        "standing": one.standing,
    }


def published(one: Published) -> dict[str, Any]:
    """How far an own action has got."""
    return {
        "complete": one.complete,
        "ops": [
            {
                "op": each.op,
                "at": name_of(each.basis),
                "signers": [peer_id_text(signer) for signer in each.signers],
                "uptime": each.uptime,
                "members": each.members,
                "enough": each.enough,
                "again_us": each.again_us,
            }
            for each in one.ops
        ],
    }


def op_state(one: OpState) -> dict[str, Any]:
    """One op at this node; `rule` and `line` of one that was rejected."""
    return {
        "op": one.op,
        "at": name_of(one.basis),
        "state": one.state,
        "why": one.why,
        "rule": one.rule,
        "line": one.line,
        "waiting": list(one.waiting),
        "received_us": one.received_us,
    }


def capability(one: Capability) -> dict[str, Any]:
    """A grant to call functions; `capability` is what its reader shows, and nobody else."""
    return {
        "grant": one.serial.hex(),
        "functions": list(one.functions),
        "to": None if one.reader is None else encode_base32(one.reader),
        "until_us": one.until_us,
        "name": one.name,
        "capability": encode_base32(one.data),
    }


def _content(data: bytes | None) -> Any:
    if data is None:
        return None
    try:
        return decode_entry(data).content
    except DecodeError:  # not one of ours; its hash was checked by whoever brought it
        return None
