"""Messages as people read them: one row each, with what was said about it folded in.

Source: docs/messages.md; `messaging/folding.py` decides what counts. Reads the tables of messages
on connections handed in and shapes JSON values; changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dms3.core.database import Connection
from dms3.dm3.message import Attachment
from dms3.io import messages as tables
from dms3.io.messages import Numbered
from dms3.messaging.operations import Correspondent
from dms3.node.attaching import decoded_size, media_of
from dms3.node.message_folding import Folded, fold, grouped
from dms3.node.publishing import plain_text

_US_PER_MS = 1_000
_QUOTED_CHARS = 200  # of the message that an answer is to


def rows(connection: Connection, found: Sequence[Numbered]) -> list[dict[str, Any]]:
    """A row for each of `found`, in their order."""
    answered = dict.fromkeys(one.kept.reference for one in found if one.kept.reference)
    quoted = [tables.by_hash(connection, wanted) for wanted in answered]
    everything = {one.kept.hash: one for one in (*found, *quoted) if one is not None}
    about = [one.kept for one in tables.about(connection, list(everything))]
    originals = [one.kept for one in everything.values()]
    changes = grouped(originals, about)
    folded = {one.hash: fold(one, changes[one.hash]) for one in originals}
    return [row(one, folded) for one in found]


def row(one: Numbered, folded: Mapping[str, Folded]) -> dict[str, Any]:
    """The row of one message."""
    kept, says = one.kept, folded[one.kept.hash]
    return {
        "id": one.number,
        "hash": kept.hash,
        "person": kept.person,
        "mine": kept.mine,
        "from": kept.sender,
        "to": says.receiver,
        "type": str(kept.type),
        "text": says.text,
        "sent_us": kept.sent_ms * _US_PER_MS,
        "order_us": kept.order_ms * _US_PER_MS,
        "state": str(kept.state),
        "problem": kept.problem,
        "retry_us": kept.retry_us,
        "edited": says.edited,
        "deleted": says.deleted,
        "reactions": [
            {"text": each.text, "from": each.sender, "mine": each.mine} for each in says.reactions
        ],
        "reply": _reply(kept.reference, folded),
        "attachments": [attachment(each) for each in says.attachments],
        "information": kept.information,
    }


def attachment(one: Attachment) -> dict[str, Any]:
    """What is told of a file in a message; its bytes are asked for by their number."""
    return {
        "name": plain_text(one.name or ""),
        "media": media_of(one.data),
        "bytes": decoded_size(one.data),
    }


def person(one: Correspondent, name: str) -> dict[str, Any]:
    """A person; `name` is what they are called here."""
    return {
        "id": one.id,
        "name": name,
        "names": list(one.names),
        "address": one.address,
        "root": one.root,
        "standing": one.standing,
        "fingerprint": one.fingerprint,
        "verified": one.verified,
        "changed": one.changed,
        "vouched": one.vouched,
    }


def _reply(reference: str, folded: Mapping[str, Folded]) -> dict[str, Any] | None:
    said = folded.get(reference)
    if said is None:
        return None
    text = (said.text or "")[:_QUOTED_CHARS]
    return {"hash": reference, "text": text, "from": said.sender}
