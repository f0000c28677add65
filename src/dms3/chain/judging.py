"""What the rules of an app are shown of a record: the same at its author and at every holder.

Source: docs/wire.md, "Source chains"; `chain/sandboxing.py` (Judge). A private entry is shown to
nobody's rules, its author's included, so that all come to one verdict.
"""

from __future__ import annotations

from typing import Any

from dms3.chain.action import plain
from dms3.chain.entry import decode_entry
from dms3.chain.operations_validation import Record
from dms3.chain.session import decode_agreed
from dms3.chain.values import decode_values
from dms3.core.errors import DecodeError
from dms3.core.multibase import encode_base32


def shown_to_rules(record: Record) -> tuple[dict[str, Any], Any]:
    """The action and the entry's content as JSON values, for Judge; content None: none is shown.

    Of the membrane proof (action 1) its values stand for an entry, None when they cannot be read.
    The action is that of `plain`; of a countersigning it also names its "proposer" and all
    "parties" (agents, sorted). `record` keeps the rules of the system; raises DecodeError when not.
    """
    action = plain(record.signed)
    if record.signed.action.kind == "proof":
        return action, _proof(record.signed.action.proof)
    if record.entry is None or record.signed.action.private:
        return action, None
    entry = decode_entry(record.entry)
    if entry.session:
        preflight, _ = decode_agreed(entry.session)
        action["proposer"] = encode_base32(preflight.proposer)
        action["parties"] = [encode_base32(each) for each in preflight.parties]
    return action, entry.content


def _proof(data: bytes) -> Any:
    """The values of a membrane proof; None for none, and for bytes that are no values."""
    try:
        return decode_values(data, "proof") if data else None
    except DecodeError:
        return None
