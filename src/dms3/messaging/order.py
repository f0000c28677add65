"""The one order of a conversation on all devices, whatever arrived first where.

Source: docs/architecture.md, "Messages". What one sender says stays in the order of the sender's
own timestamps (and hash); senders are interleaved by the earliest verified postmark. A message
that a slow service brought late stands where the sender's next one stands, and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dms3.messaging.operations import Kept


def arranged(messages: Iterable[Kept]) -> list[Kept]:
    """The messages of a conversation, oldest first; a function of the set alone.

    Of one sender each message counts as stamped no later than the ones that follow it.
    """
    lines: dict[str, list[Kept]] = {}
    for one in messages:
        lines.setdefault("" if one.mine else one.sender, []).append(one)
    placed: list[tuple[int, str, int, str, Kept]] = []
    for sender in sorted(lines):
        place = None
        for one in sorted(lines[sender], key=lambda each: (each.sent_ms, each.hash), reverse=True):
            place = one.order_ms if place is None else min(place, one.order_ms)
            placed.append((place, sender, one.sent_ms, one.hash, one))
    return [row[-1] for row in sorted(placed, key=lambda row: row[:-1])]
