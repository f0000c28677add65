"""The rules a person sets for senders, at every delivery service that carries for them.

Source: docs/delivery.md, "Rules". A service keeps and applies them; this only tells each what the
person wants, and shows what each keeps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.delivery.rules import RulesAt, SpamRules
from dms3.messaging.operations import CarrierState
from dms3.messaging.ports import DIRECT
from dms3.node.node import Node
from dms3.node.placing import account_of


async def sender_rules(node: Node, wanted: SpamRules) -> dict[str, Any]:
    """What every service keeps after `wanted` was set: of it only what is not None; 0 is no rule.

    JSON values. A service that cannot be asked is named with its `problem`; the others are told.
    """
    account = await account_of(node.identity, node.call)
    carriers: tuple[CarrierState, ...] = await node.call("mailbox.services")
    rows = []
    for carrier in carriers:
        if carrier.url.startswith(DIRECT):
            continue  # a node of this person: contacts and requests are its rule
        row: dict[str, Any] = {"name": carrier.name, "url": carrier.url, "problem": ""}
        try:
            kept = await _ask(node, RulesAt(carrier.url, account.name, account.keys))
            changed = merged(kept, wanted)
            if changed != kept:
                kept = await _ask(node, RulesAt(carrier.url, account.name, account.keys, changed))
            row |= {"rules": kept.value()}
        except Dms3Error as error:
            row |= {"rules": None, "problem": str(error)}
        rows.append(row)
    return {"services": rows}


def merged(kept: SpamRules, wanted: SpamRules) -> SpamRules:
    """`kept` with what `wanted` says; 0 takes a rule away."""
    if wanted.min_nonce is not None:
        kept = replace(kept, min_nonce=wanted.min_nonce or None)
    if wanted.min_balance is not None:
        kept = replace(kept, min_balance=wanted.min_balance or None)
    if wanted.token_amount == 0:
        kept = replace(kept, token=None, token_amount=None)
    elif wanted.token_amount is not None:
        kept = replace(kept, token=wanted.token, token_amount=wanted.token_amount)
    return kept


async def _ask(node: Node, wanted: RulesAt) -> SpamRules:
    answer = await node.ports["courier"]("rules", wanted)
    if isinstance(answer, Failure):
        raise answer.error()
    assert isinstance(answer, SpamRules), "what courier.rules answers"
    return answer
