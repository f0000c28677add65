"""Warrants: one agent's word, with evidence, that another has broken the rules.

Source: IPS paper, warrants; docs/wire.md, "Source chains". The evidence proves itself: a fork by
two signed actions at one place, a broken rule by the action that breaks it, which everybody judges
again. What follows from a warrant is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.chain.action import SignedAction, check_signature, decode_signed
from dms3.core.codec import check_items, decode, encode
from dms3.core.errors import DecodeError
from dms3.core.limits import DETAIL_CHARS_MAX, EVIDENCE_BYTES_MAX

VERSION = 1
_ITEMS_MAX = 16


@dataclass(frozen=True, slots=True)
class Evidence:
    """`of` "fork": two signed actions of one author at one seq; "rule": one that breaks `rule`."""

    v: int
    of: str
    actions: tuple[bytes, ...] = field(repr=False)
    rule: str = ""

    def __post_init__(self) -> None:
        _need(self.v == VERSION, f"version {self.v} of evidence is not known")
        _need(self.of in _ACTIONS, f"{self.of[:32]!r} is no kind of evidence")
        _need(len(self.actions) == _ACTIONS[self.of], "not as many actions as it takes")
        _need((self.of == "rule") == bool(self.rule), "a rule is named when one is broken")
        _need(len(self.rule) <= DETAIL_CHARS_MAX, "the name of the rule is too long")


_ACTIONS = {"fork": 2, "rule": 1}


def encode_evidence(evidence: Evidence) -> bytes:
    """The bytes that a warrant carries as its proof."""
    return encode(evidence)


def decode_evidence(data: bytes) -> Evidence:
    """The evidence in `data`, not yet checked; raises DecodeError, and nothing else."""
    if len(data) > EVIDENCE_BYTES_MAX:
        raise DecodeError(EVIDENCE_BYTES_MAX, "too long for evidence")
    check_items(data, _ITEMS_MAX)
    found = decode(Evidence, data, strict=True)
    if encode(found) != data:
        raise DecodeError(0, "not the one byte form of this evidence")
    return found


def check_evidence(data: bytes, dna: bytes, agent: bytes) -> str:
    """What is wrong with evidence against `agent` of app `dna`, one clause; "" when nothing.

    A broken rule is not judged again here: only that the action is the agent's.
    """
    try:
        evidence = decode_evidence(data)
        actions = [decode_signed(each) for each in evidence.actions]
    except DecodeError as error:
        return error.reason
    for signed in actions:
        if signed.action.author != agent or not check_signature(signed):
            return "an action of the evidence is not signed by who is warned of"
        if signed.action.dna != dna:
            return "an action of the evidence is of another app"
    return _check_fork(*actions) if evidence.of == "fork" else ""


def _check_fork(one: SignedAction, two: SignedAction) -> str:
    if one.action.seq != two.action.seq:
        return "the two actions have different places in the chain"
    if one.hash >= two.hash:
        return "the two actions are one, or not in order of their hashes"
    return ""


def _need(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)
