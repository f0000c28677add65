"""Warrants: what this node finds out convicts, is written to its own chain, and told to everybody.

Source: IPS paper, warrants; docs/chains.md, "Convicted". Only verdicts of this node convict, of the
accused or of who accuses falsely; what was given up convicts nobody. Who finds the same at once
waits a little, each for another time, so that one warrant is written and not one by each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dms3.chain.action import Action, SignedAction
from dms3.chain.operations_validation import IssueWarrant, Warranted
from dms3.chain.ops import Op
from dms3.chain.warrant import (
    NO_OFFENCE,
    accused_of,
    fork_evidence,
    rule_evidence,
)
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    PUBLISHERS_KEPT_MAX,
    SECOND_US,
    WARRANT_RETRY_US,
    WARRANT_TRIES_MAX,
    WARRANT_WAIT_US_MAX,
    WARRANTS_WRITTEN_MAX,
)
from dms3.core.verdict import Invalid, Valid, Verdict
from dms3.validation.accusing import Accusing
from dms3.validation.blocking import Blocking
from dms3.validation.convicting import Convicting, Finding
from dms3.validation.holding import Holding
from dms3.validation.needs import Known
from dms3.validation.standing import Standing
from dms3.validation.telling import Telling
from dms3.validation.voices import Voices

_HOUR_US = 3_600 * SECOND_US


@dataclass(frozen=True, slots=True)
class Tools:
    """What is used here and in `hearing.py`: `known` is what lies here or was brought."""

    holding: Holding
    known: Known
    convicting: Convicting
    blocking: Blocking
    accusing: Accusing
    voices: Voices


class Warranting:
    """Told of verdicts and forks by `deciding.py`; `node`: the peer id."""

    def __init__(self, desk: Desk, tools: Tools, node: bytes) -> None:
        self._desk = desk
        self._holding = tools.holding
        self._standing = Standing(tools.holding, tools.known)
        self._convicting = tools.convicting
        self._blocking = tools.blocking
        self._accusing = tools.accusing
        self._voices = tools.voices
        self.telling = Telling(desk, tools.holding)
        self._node = node
        self._written: dict[OverlayId, list[int]] = {}  # when, within the last hour
        self._published: dict[tuple[OverlayId, Cid], PeerId] = {}  # by whom, as an offence is
        self._convicting.convicted = self._convicted

    # What this node finds out

    def judged(self, overlay: OverlayId, signed: SignedAction, verdict: Verdict) -> None:
        """The verdict of this node on an action."""
        if isinstance(verdict, Invalid):
            self._refused(overlay, signed, verdict)
        elif isinstance(verdict, Valid) and signed.action.kind == "warrant":
            self.holds(overlay, signed)
        elif isinstance(verdict, Valid) and signed.action.kind == "agent":
            for held in self._standing.refused_before(overlay, signed.action):
                if isinstance(held.verdict, Invalid):
                    self._refused(overlay, held.signed, held.verdict)

    def refuses(self, overlay: OverlayId, signed: SignedAction) -> bool:
        """Whether an action is not taken since its author is blocked."""
        return self._blocking.refuses(overlay, signed)

    def doubt(self, overlay: OverlayId, hash_: Cid) -> None:
        """The verdict on that action rests on what others say."""
        self._accusing.doubt(overlay, hash_)

    def lean(self, overlay: OverlayId, signed: SignedAction) -> None:
        """An action is valid, as far as what stands before it is."""
        self._accusing.lean(overlay, signed)

    def forked(self, overlay: OverlayId, one: SignedAction, two: SignedAction) -> None:
        """Two actions of one author at one place, whose signatures are good."""
        evidence = fork_evidence(one, two)
        if evidence:
            self._convicting.convict(overlay, Finding(one.action.author, evidence))

    def holds(self, overlay: OverlayId, warrant: SignedAction) -> bool:
        """A warrant is valid: who is warned of is convicted. Whether that was new."""
        action = warrant.action
        accused = accused_of(action)
        verdict = None if accused is None else self._accusing.verdict(overlay, accused)
        broken = verdict if isinstance(verdict, Invalid) else None
        if accused is not None and broken is None:
            return False  # it was kept unjudged
        finding = Finding(action.to, action.proof, broken, action.author, warrant.hash)
        new = self._convicting.convict(overlay, finding)
        if not self._convicting.is_pardoned(overlay, action.to, action.proof):
            self._voices.heard(overlay, warrant)
        return new

    def _refused(self, overlay: OverlayId, signed: SignedAction, verdict: Invalid) -> None:
        action = signed.action
        if verdict.rule in NO_OFFENCE or self._accusing.is_doubted(overlay, signed.hash):
            return
        evidence = rule_evidence(signed, verdict.rule)
        if not evidence or not self._standing.was_let_in(overlay, signed):
            return
        self._convicting.convict(overlay, Finding(action.author, evidence, verdict))
        peer = self._published.get((overlay, signed.hash))
        if peer is not None:
            self._blocking.shun(overlay, action.author, peer)

    def published(self, overlay: OverlayId, peer: PeerId, ops: Iterable[Op]) -> None:
        """Who publishes an offence is the author's node, unless it shows a warrant with it.

        An honest node publishes only what it has found valid; what others ask for it just answers.
        """
        ops = list(ops)
        warrants = [op.signed.action for op in ops if op.signed.action.kind == "warrant"]
        shown = [accused.hash for each in warrants if (accused := _accused(each)) is not None]
        for op in ops:
            key = (overlay, op.signed.hash)
            if op.signed.hash in shown or key in self._published:
                continue
            if len(self._published) >= PUBLISHERS_KEPT_MAX:
                del self._published[next(iter(self._published))]
            self._published[key] = peer

    # What others are told

    def open(self, overlay: OverlayId) -> None:
        """The app is judged from now on: go on with what was not written yet."""
        self._convicting.open(overlay)
        self._voices.open(overlay)
        self._plan_all(overlay)

    def heed(self, overlay: OverlayId) -> None:
        """Warrants of that app count for a network from now on, and this person's may be asked."""
        self._voices.heed(overlay)
        self._plan_all(overlay)

    def shut(self, overlay: OverlayId) -> None:
        """The app is judged no more."""
        for one in self._convicting.all(overlay):
            self._desk.no_alarm(_alarm(overlay, one.agent))
        self._convicting.shut(overlay)
        self._voices.shut(overlay)
        self._accusing.shut(overlay)

    def _plan_all(self, overlay: OverlayId) -> None:
        for one in self._convicting.all(overlay):
            self._plan(one)

    def _convicted(self, overlay: OverlayId, one: Warranted) -> None:
        self._desk.notify(
            "chain.convicted",
            app=overlay.hex(),
            agent=one.agent.hex(),
            kind=one.kind,
            rule=one.rule,
            detail=one.detail,
            line=one.line,
            seq=one.seq,
            actions=[str(each) for each in one.actions],
            issuer=one.issuer.hex(),
        )
        self._plan(one)

    def _plan(self, one: Warranted) -> None:
        if self._is_to_write(one):
            wait_us = _wait_us(self._node + one.agent)
            self._later(one.overlay, one.agent, wait_us, 1)

    def _later(self, overlay: OverlayId, agent: bytes, wait_us: int, tries: int) -> None:
        self._desk.after(
            _alarm(overlay, agent), wait_us, lambda: self._write(overlay, agent, tries)
        )

    def _write(self, overlay: OverlayId, agent: bytes, tries: int) -> None:
        one = self._convicting.warranted(overlay, agent)
        if one is None or not self._is_to_write(one):
            return  # somebody else has, or the person has pardoned it
        wait_us = self._pause_us(overlay)
        if wait_us:
            self._later(overlay, agent, wait_us, tries)
            return

        def written(body: Any) -> None:
            if not isinstance(body, Failure):
                self._written.setdefault(overlay, []).append(self._desk.now.mono_us)
                self._tell(overlay, one, body.actions[0])
            elif body.code != "not_found" and tries < WARRANT_TRIES_MAX:
                self._later(overlay, agent, WARRANT_RETRY_US, tries + 1)

        asked = IssueWarrant(overlay, agent, one.evidence)
        self._desk.call("source.warrant", asked, written)

    def _is_to_write(self, one: Warranted) -> bool:
        """Whether nobody has written a warrant of it yet, or each one counts."""
        if not one.evidence or one.standing != "convicted":
            return False
        alone = not one.issuer and not one.warrant
        return alone or self._voices.lacks_own(one.overlay, one.agent)

    def _pause_us(self, overlay: OverlayId) -> int:
        """How long this node writes no more of them in an app; 0: it may."""
        since_us = self._desk.now.mono_us - _HOUR_US
        recent = [us for us in self._written.get(overlay, ()) if us > since_us]
        self._written[overlay] = recent
        return recent[0] - since_us if len(recent) >= WARRANTS_WRITTEN_MAX else 0

    def _tell(self, overlay: OverlayId, one: Warranted, hash_: Cid) -> None:
        held = self._holding.action(overlay, hash_)
        if held is None:
            return  # the app is shut
        self._desk.notify(
            "chain.warranted",
            app=overlay.hex(),
            agent=one.agent.hex(),
            kind=one.kind,
            action=str(hash_),
        )
        self.telling.spread(overlay, held.signed)
        self.telling.show(overlay, held.signed)


def _accused(warrant: Action) -> SignedAction | None:
    """The action that a warrant accuses, whose evidence nobody has checked yet."""
    try:
        return accused_of(warrant)
    except DecodeError:
        return None


def _wait_us(seed: bytes) -> int:
    """Another time for each node and agent."""
    number = int.from_bytes(hashlib.sha256(b"dms3 warrant" + seed).digest()[:8], "big")
    return number % WARRANT_WAIT_US_MAX


def _alarm(overlay: OverlayId, agent: bytes) -> str:
    return f"warrant:{overlay.hex()}:{agent.hex()}"
