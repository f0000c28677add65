"""Convictions: who broke the rules of an app, by which evidence, and what this person says to it.

Source: docs/chains.md, "Convicted"; IPS paper, warrants. Evidence proves itself, so a conviction
stays as long as the node; the person's own word goes before it. What follows is in `blocking.py`,
what others are told in `warranting.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from dms3.chain.action import SignedAction, decode_signed
from dms3.chain.operations_validation import Block, Pardon, Warranted
from dms3.chain.warrant import Evidence, decode_evidence
from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, short
from dms3.core.limits import CONVICTIONS_MAX, DETAIL_CHARS_MAX, PARDONS_KEPT_MAX
from dms3.core.verdict import Invalid
from dms3.validation.blocking import Barred, Blocking
from dms3.validation.rows import Rows

CONVICTIONS = "convictions"
_VERSION = 1
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class ConvictionRow:
    """What is known against an agent; the fields of Warranted. `pardoned`: looked over evidence."""

    v: int
    standing: str
    found_us: int
    seq: int = 0
    evidence: bytes = field(default=b"", repr=False)
    issuer: bytes = b""
    warrant: bytes = b""
    rule: str = ""
    detail: str = ""
    line: int = 0
    why: str = ""
    pardoned: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence against `agent`: encoded, and `verdict` of a rule (None: a fork).

    `issuer` and `warrant`: who has said so, in which action; b"" and None: this node found it out.
    """

    agent: bytes
    evidence: bytes = field(repr=False)
    verdict: Invalid | None = None
    issuer: bytes = b""
    warrant: Cid | None = None


class Convicting:
    """The table. `blocking` carries out what it says; `convicted` is told of every new one."""

    def __init__(self, rows: Rows, blocking: Blocking, now_us: Callable[[], int]) -> None:
        self._rows = rows
        self._blocking = blocking
        self._now_us = now_us
        self._counts: dict[OverlayId, int] = {}
        self.convicted: Callable[[OverlayId, Warranted], None]

    # Looking

    def row(self, overlay: OverlayId, agent: bytes) -> ConvictionRow | None:
        """What is known against an agent."""
        data = self._rows.get(CONVICTIONS, overlay + agent)
        return None if data is None else decode(ConvictionRow, data)

    def warranted(self, overlay: OverlayId, agent: bytes) -> Warranted | None:
        """The same as it is shown."""
        row = self.row(overlay, agent)
        return None if row is None else _shown(overlay, agent, row)

    def is_pardoned(self, overlay: OverlayId, agent: bytes, evidence: bytes) -> bool:
        """Whether the person has looked over this evidence."""
        row = self.row(overlay, agent)
        if row is None or not row.pardoned:
            return False
        return evidence_id(decode_evidence(evidence)) in row.pardoned

    def all(self, overlay: OverlayId) -> tuple[Warranted, ...]:
        """Of every agent of an app, in order of its key."""
        return tuple(
            _shown(overlay, key[len(overlay) :], decode(ConvictionRow, data))
            for key, data in self._rows.under(CONVICTIONS, overlay)
        )

    def open(self, overlay: OverlayId) -> None:
        """The app is judged from now on: who was convicted is blocked."""
        for one in self.all(overlay):
            self._counts[overlay] = self._counts.get(overlay, 0) + 1
            self._bar(overlay, one)

    def shut(self, overlay: OverlayId) -> None:
        """The app is judged no more."""
        self._counts.pop(overlay, None)

    # Convicting

    def convict(self, overlay: OverlayId, finding: Finding) -> bool:
        """Keep evidence that holds; whether it was new, and counts."""
        row = self.row(overlay, finding.agent)
        evidence = decode_evidence(finding.evidence)
        seq = _actions(evidence)[0].action.seq
        if row is not None and evidence_id(evidence) in row.pardoned:
            return False
        if row is not None and row.evidence and row.standing != "pardoned" and row.seq <= seq:
            self._note(overlay, finding, row)
            return False
        verdict = finding.verdict or Invalid("", "")
        found = ConvictionRow(
            _VERSION,
            "blocked" if row is not None and row.standing == "blocked" else "convicted",
            self._now_us(),
            seq,
            finding.evidence,
            finding.issuer,
            finding.warrant.binary if finding.warrant is not None else b"",
            verdict.rule,
            verdict.detail[:DETAIL_CHARS_MAX],
            verdict.line,
            "" if row is None else row.why,
            () if row is None else row.pardoned,
        )
        self._put(overlay, finding.agent, found)
        one = _shown(overlay, finding.agent, found)
        self._bar(overlay, one)
        self.convicted(overlay, one)
        return True

    def _note(self, overlay: OverlayId, finding: Finding, row: ConvictionRow) -> None:
        """Somebody warns of what was known: one warrant is enough."""
        if finding.warrant is not None and not row.warrant:
            self._put(overlay, finding.agent, replace(row, warrant=finding.warrant.binary))

    # The person's own word

    def block(self, asked: Block) -> None:
        """Take nothing more of an agent, whatever it did."""
        if len(asked.agent) != _DIGEST:
            raise Dms3Error("argument_invalid", "An agent has 32 bytes.")
        row = self.row(asked.overlay, asked.agent)
        if row is None:
            row = ConvictionRow(_VERSION, "blocked", self._now_us())
        why = asked.why[:DETAIL_CHARS_MAX]
        found = replace(row, standing="blocked", why=why)
        self._put(asked.overlay, asked.agent, found)
        self._bar(asked.overlay, _shown(asked.overlay, asked.agent, found))

    def pardon(self, asked: Pardon) -> None:
        """Look over what is known so far; raises `not_found` when nothing is."""
        row = self.row(asked.overlay, asked.agent)
        if row is None:
            raise Dms3Error(
                "not_found",
                f"Nothing is known here against agent {short(asked.agent)} in that app.",
                hint="dms3 warrant list",
            )
        pardoned = row.pardoned
        if row.evidence:
            known = evidence_id(decode_evidence(row.evidence))
            pardoned = (*(each for each in pardoned if each != known), known)[-PARDONS_KEPT_MAX:]
        found = replace(row, standing="pardoned", pardoned=pardoned, why="")
        self._put(asked.overlay, asked.agent, found)
        self._blocking.lift(asked.overlay, asked.agent)

    # Small parts

    def _put(self, overlay: OverlayId, agent: bytes, row: ConvictionRow) -> None:
        key = overlay + agent
        if self._rows.get(CONVICTIONS, key) is None:
            self._make_room(overlay)
            self._counts[overlay] = self._counts.get(overlay, 0) + 1
        self._rows.put(CONVICTIONS, key, encode(row))

    def _make_room(self, overlay: OverlayId) -> None:
        """The oldest gives way that the person has said nothing to."""
        if self._counts.get(overlay, 0) < CONVICTIONS_MAX:
            return
        old = min(self.all(overlay), key=lambda one: (one.standing != "convicted", one.found_us))
        self._rows.drop(CONVICTIONS, overlay + old.agent)
        self._counts[overlay] -= 1
        self._blocking.lift(overlay, old.agent)

    def _bar(self, overlay: OverlayId, one: Warranted) -> None:
        if one.standing == "pardoned":
            self._blocking.lift(overlay, one.agent)
            return
        seq = 0 if one.standing == "blocked" else one.seq
        self._blocking.put(overlay, one.agent, Barred(seq, frozenset(one.actions)))


def evidence_id(evidence: Evidence) -> bytes:
    """What names evidence, whoever shows it: of which kind it is, and the actions."""
    hashes = b"".join(signed.hash.binary for signed in _actions(evidence))
    return hashlib.sha256(evidence.of.encode() + b"\0" + hashes).digest()


def _actions(evidence: Evidence) -> list[SignedAction]:
    return [decode_signed(each) for each in evidence.actions]


def _shown(overlay: OverlayId, agent: bytes, row: ConvictionRow) -> Warranted:
    evidence = decode_evidence(row.evidence) if row.evidence else None
    return Warranted(
        overlay,
        agent,
        "" if evidence is None else cast("Literal['fork', 'rule']", evidence.of),
        cast("Literal['convicted', 'blocked', 'pardoned']", row.standing),
        row.seq,
        row.evidence,
        () if evidence is None else tuple(signed.hash for signed in _actions(evidence)),
        row.issuer,
        Cid.decode(row.warrant) if row.warrant else None,
        row.rule,
        row.detail,
        row.line,
        row.why,
        row.found_us,
    )
