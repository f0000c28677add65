"""Warrants: one agent's word, with evidence, that another has broken the rules.

Source: IPS paper, warrants; docs/wire.md, "Source chains". The evidence proves itself: a fork by
two signed actions at one place, a broken rule by the action that breaks it, which everybody judges
again. Not every broken rule is an offence: who relies on what others say is good may be deceived.
What follows from a warrant is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.chain.action import (
    SIGNED_WARRANT_BYTES_MAX,
    Action,
    SignedAction,
    check_signature,
    decode_signed,
    encode_signed,
)
from dms3.core.codec import check_items, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import DETAIL_CHARS_MAX, EVIDENCE_BYTES_MAX, WARRANT_NEWS_BYTES_MAX
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid, Verdict

VERSION = 1
FALSE = "warrant-false"
"""The rule that a warrant breaks whose accused action is valid."""
NO_OFFENCE = ("signature", "dna", "entry-hash", "previous-refused", "target-refused")
"""Rules that an honest author may seem to break: who brought the action did it, or who told the
author that what it refers to is valid."""
_ITEMS_MAX = 16


@dataclass(frozen=True, slots=True)
class Evidence:
    """`of` "fork": two signed actions of one author at one seq; "rule": one that breaks `rule`."""

    v: int
    of: str
    actions: tuple[bytes, ...] = field(repr=False)
    rule: str = ""

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of evidence is not known")
        need(self.of in _ACTIONS, f"{self.of[:32]!r} is no kind of evidence")
        need(len(self.actions) == _ACTIONS[self.of], "not as many actions as it takes")
        need((self.of == "rule") == bool(self.rule), "a rule is named when one is broken")
        need(len(self.rule) <= DETAIL_CHARS_MAX, "the name of the rule is too long")


_ACTIONS = {"fork": 2, "rule": 1}


def encode_evidence(evidence: Evidence) -> bytes:
    """The bytes that a warrant carries as its proof."""
    return encode(evidence)


def decode_evidence(data: bytes) -> Evidence:
    """The evidence in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, EVIDENCE_BYTES_MAX, "evidence")
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
    if evidence.of == "fork":
        return _check_fork(*actions)
    return "to break this rule is no offence" * (evidence.rule in NO_OFFENCE)


def fork_evidence(one: SignedAction, two: SignedAction) -> bytes:
    """That their author signed both at one place; b"" when that is too long to be written."""
    first, second = sorted((one, two), key=lambda signed: signed.hash)
    return _fitting(Evidence(VERSION, "fork", (encode_signed(first), encode_signed(second))))


def rule_evidence(signed: SignedAction, rule: str) -> bytes:
    """That `signed` breaks `rule`; b"" when that is too long to be written."""
    return _fitting(Evidence(VERSION, "rule", (encode_signed(signed),), rule[:DETAIL_CHARS_MAX]))


def _fitting(evidence: Evidence) -> bytes:
    data = encode_evidence(evidence)
    return data if len(data) <= EVIDENCE_BYTES_MAX else b""


def accused_of(warrant: Action) -> SignedAction | None:
    """The action that a warrant, whose evidence is checked, has everybody judge; None: a fork."""
    evidence = decode_evidence(warrant.proof)
    return decode_signed(evidence.actions[0]) if evidence.of == "rule" else None


def check_warrant(accused: Verdict) -> Verdict:
    """What a warrant is when the action that it accuses was found to be `accused` here."""
    match accused:
        case Invalid(rule):
            why = "that it breaks its rule is known only by what others say"
            return Abandoned(why) if rule in NO_OFFENCE else Valid()
        case Valid():
            return Invalid(FALSE, "the action of which it warns breaks no rule")
        case Abandoned(reason):
            return Abandoned(f"the action of which it warns could not be judged: {reason}")
        case Unresolved():
            return accused


@dataclass(frozen=True, slots=True)
class WarrantNews:
    """A warrant as it is handed on: the signed action, and the op that it has everybody judge.

    `op`: an op of the accused action with its entry, encoded (see `chain/ops.py`); b"" of a fork,
    and when the entry is too long to be handed on: then it is fetched.
    """

    v: int
    warrant: bytes = field(repr=False)
    op: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of warrant news is not known")
        need(0 < len(self.warrant) <= SIGNED_WARRANT_BYTES_MAX, "the warrant is too long")


def encode_news(news: WarrantNews) -> bytes:
    """The bytes of it, as gossip brings them; b"" for too many."""
    data = encode(news)
    return data if len(data) <= WARRANT_NEWS_BYTES_MAX else b""


def decode_news(data: bytes) -> tuple[SignedAction, bytes]:
    """The warrant, its signature not yet checked, and the op; raises DecodeError, nothing else."""
    need_at_most(data, WARRANT_NEWS_BYTES_MAX, "news of a warrant")
    check_items(data, _ITEMS_MAX)
    found = decode(WarrantNews, data, strict=True)
    signed = decode_signed(found.warrant)
    if signed.action.kind != "warrant":
        raise DecodeError(0, "news of a warrant is about none")
    return signed, found.op


def _check_fork(one: SignedAction, two: SignedAction) -> str:
    if one.action.seq != two.action.seq:
        return "the two actions have different places in the chain"
    if one.hash >= two.hash:
        return "the two actions are one, or not in order of their hashes"
    return ""
