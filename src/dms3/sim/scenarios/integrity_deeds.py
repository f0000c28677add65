"""What the outlaws of scenario "integrity" sign: forks, and warrants about what breaks no rule.

Source: docs/simulator.md, "The scenario integrity".
"""

from __future__ import annotations

from dms3.chain.action import VERSION, Action, sign_action
from dms3.chain.entry import make_entry
from dms3.chain.messages import PROTOCOL, ChainQuestion, Publish
from dms3.chain.operations import ChainHead
from dms3.chain.operations_validation import IssueWarrant, Record
from dms3.chain.ops import encode_op, ops_of
from dms3.chain.warrant import FALSE, rule_evidence
from dms3.core.codec import encode
from dms3.core.overlay import AskNodes, NodeAt
from dms3.crypto.signing import SigningKey
from dms3.sim.places import address_of
from dms3.sim.scenarios.chain_rules import DNA
from dms3.sim.world import SimNode

RULES = {
    "lawless": "short",
    "forker": "",
    "framer": FALSE,
    "colluder": FALSE,
    "second colluder": FALSE,
}
"""Who of the outlaws is convicted by which rule; a fork breaks none of the app."""


def note_behind(
    head: ChainHead, key: SigningKey, root: bytes, wall_us: int, text: str
) -> tuple[bytes, bytes]:
    """A note of agent `key` behind `head`, whatever else stands there: its digest, its publish."""
    entry, data = make_entry({"text": text})
    action = Action(
        VERSION,
        DNA.id,
        key.public,
        root,
        head.seq + 1,
        head.head,
        wall_us,
        "create",
        entry=entry,
        entry_kind="note",
    )
    signed = sign_action(key, action)
    ops = tuple(encode_op(op) for op in ops_of(signed, data))
    return signed.hash.digest, encode(ChainQuestion(DNA.id, publish=Publish(ops)))


def shown_to(node: SimNode, body: bytes) -> AskNodes:
    """The question that brings a publish to one node."""
    return AskNodes((NodeAt(node.peer, (address_of(node.index),)),), PROTOCOL, body)


def false_warrant(victim: bytes, accused: Record) -> IssueWarrant:
    """That agent `victim` broke a rule by an action that breaks none."""
    return IssueWarrant(DNA.id, victim, rule_evidence(accused.signed, "short"))
