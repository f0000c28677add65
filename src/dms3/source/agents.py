"""Agents asked and agents that ask: one found and asked, the other's certificate and standing.

Source: docs/chains.md, "Asking an agent"; `chain/agent_messages.py` has the messages. Used by
`sending.py` and `countersigning.py`. Nothing here outlives the process.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dms3.chain.agent import AgentPlace, check_agent, decode_agent, issue_agent
from dms3.chain.agent_messages import PROTOCOL, AgentQuestion
from dms3.chain.operations_validation import Activity, GetActivity
from dms3.core.codec import encode
from dms3.core.errors import Blame, DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import OverlayId, Root, short
from dms3.core.limits import (
    MEMBER_KEPT_US,
    MEMBER_LOOKUPS_MAX,
    MEMBERS_KEPT_MAX,
    SECOND_US,
)
from dms3.core.machine import Now
from dms3.core.overlay import Asked, AskNodes
from dms3.source.chains import Chain
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.whereabouts import Whereabouts

ELSEWHERE = ("peer_unreachable", "timed_out", "not_found", "protocol_unsupported")
"""What is said of an agent that is not where it was looked for."""

_ASK_US_MIN = SECOND_US // 10

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Paces(Generic[K]):
    """How often each of many may ask: `cost_us` per question, after a burst worth `burst_us`.

    A line is the monotonic instant up to which somebody has used his time. Beyond `kept_max` lines
    those that are over go, and then nobody new is let in.
    """

    cost_us: int
    burst_us: int
    kept_max: int
    _lines: dict[K, int] = field(default_factory=dict)

    def admit(self, key: K, now: Now) -> bool:
        """Count a question of `key`; False when it asks too often."""
        line = self._lines.get(key)
        if line is None and len(self._lines) >= self.kept_max:
            self._lines = {one: end for one, end in self._lines.items() if end > now.mono_us}
            if len(self._lines) >= self.kept_max:
                return False
        ends = max(line or 0, now.mono_us) + self.cost_us
        if ends > now.mono_us + self.burst_us:
            return False
        self._lines[key] = ends
        return True


class Agents:
    """Ways to other agents, and what is known of those that ask."""

    def __init__(self, grounds: Grounds, whereabouts: Whereabouts) -> None:
        self._desk = grounds.desk
        self._root = grounds.root_key
        self._whereabouts = whereabouts
        self._grounds = grounds
        self._members: dict[tuple[OverlayId, bytes], tuple[int, bytes]] = {}
        self._lookups = 0

    def ask(
        self, overlay: OverlayId, agent: bytes, question: AgentQuestion, patience_us: int
    ) -> Flow[bytes]:
        """What the node of `agent` answers within `patience_us`; raises its refusal.

        An agent that is no longer where it was remembered is looked up once more.
        """
        body = encode(question)
        ends_us = self._desk.now.mono_us + patience_us
        while True:
            left_us = max(_ASK_US_MIN, ends_us - self._desk.now.mono_us)
            remembered = self._whereabouts.knows(overlay, agent)
            node = yield from self._whereabouts.find(overlay, agent, left_us)
            left_us = max(_ASK_US_MIN, ends_us - self._desk.now.mono_us)
            wait_us = left_us // 2 if remembered else left_us
            asked: Asked = answer_or_raise(
                (yield Ask("dht.ask", AskNodes((node,), PROTOCOL, body, 0, wait_us)))
            )
            answer = asked.answers[0][1] if asked.answers else _nobody(agent)
            if not isinstance(answer, Failure):
                return bytes(answer)
            if answer.code in ELSEWHERE:
                self._whereabouts.forget(overlay, agent)
                if remembered and self._desk.now.mono_us < ends_us:
                    continue
            raise answer.error()

    def certificate(self, chain: Chain) -> bytes:
        """The root's word for the key that writes `chain` now."""
        row = chain.row
        place = AgentPlace(row.overlay, row.agent, row.device, row.generation)
        return issue_agent(self._root, place, row.time_us)

    def member(
        self, overlay: OverlayId, agent: bytes, certificate: bytes, patience_us: int
    ) -> Flow[Root]:
        """The person behind `agent`, certified and let in by those who hold its chain.

        Raises `certificate_invalid`, `not_yet_valid` (nobody holds its chain yet), `forbidden` (it
        broke a rule, or its key was taken back or replaced), `limit_reached`. Devices of this
        person need no more than a certificate that nobody is known to have taken back.
        """
        self._check_blocked(overlay, agent)
        key = (overlay, agent)
        until_us, known = self._members.get(key, (0, b""))
        if known == certificate and until_us > self._desk.now.mono_us:
            return Root(decode_agent(certificate).root)
        root = certified(overlay, agent, certificate)
        if root != self._root.public:
            found = yield from self._activity(overlay, agent, patience_us)
            _check_standing(agent, root, found)
        else:
            yield from self._check_own(overlay, agent, patience_us)
        self._members.pop(key, None)
        if len(self._members) >= MEMBERS_KEPT_MAX:
            del self._members[next(iter(self._members))]
        self._members[key] = (self._desk.now.mono_us + MEMBER_KEPT_US, certificate)
        return root

    def _check_blocked(self, overlay: OverlayId, agent: bytes) -> None:
        """Raise `agent_blocked` for an agent that this node answers no more."""
        if agent in self._grounds.shut_out.get(overlay, ()):
            raise Dms3Error(
                "agent_blocked",
                f"Agent {short(agent)} is not answered here: it broke the rules of this app, or "
                "the person of this node blocks it.",
            )

    def _check_own(self, overlay: OverlayId, agent: bytes, patience_us: int) -> Flow[None]:
        """A key of this person counts, whoever holds its chain, until it is taken back."""
        try:
            found = yield from self._activity(overlay, agent, patience_us)
        except Dms3Error as error:
            if error.code == "limit_reached":
                raise  # who asks too much does not get in unseen
            return
        if found.revoked:
            raise _not_let_in(agent, "revoked")

    def _activity(self, overlay: OverlayId, agent: bytes, patience_us: int) -> Flow[Activity]:
        if self._lookups >= MEMBER_LOOKUPS_MAX:
            raise Dms3Error("limit_reached", "This node is looking up too many agents.")
        self._lookups += 1
        wanted = GetActivity(overlay, agent, limit=1, patience_us=patience_us)
        answer = yield Ask("validation.activity", wanted)
        self._lookups -= 1
        found: Activity = answer_or_raise(answer)
        return found


def _check_standing(agent: bytes, root: Root, found: Activity) -> None:
    """Raise what an agent of somebody else is told whose activity does not let it in."""
    if found.state == "empty" or not found.actions:
        raise Dms3Error(
            "not_yet_valid",
            f"Agent {short(agent)} is not known in this app yet.",
            hint="Ask again when its first actions are published.",
        )
    if found.state in ("forked", "invalid") or found.revoked:
        raise _not_let_in(agent, "revoked" if found.revoked else found.state)
    if found.actions[0].action.root != root:
        raise Dms3Error("certificate_invalid", "The chain of the agent is another person's.")


def _not_let_in(agent: bytes, what: str) -> Dms3Error:
    return Dms3Error(
        "forbidden",
        f"Agent {short(agent)} is not let in: its chain is {what}.",
        blame=Blame.PEER,
        retry=Retry.NEVER,
    )


def certified(overlay: OverlayId, agent: bytes, certificate: bytes) -> Root:
    """The root that has certified `agent` in `overlay`; raises `certificate_invalid`."""
    try:
        found = decode_agent(certificate)
    except DecodeError as error:
        raise Dms3Error(
            "certificate_invalid", f"The certificate of the agent cannot be read: {error.reason}."
        ) from error
    if (found.dna, found.agent) != (overlay, agent):
        raise Dms3Error("certificate_invalid", "The certificate is of another agent or app.")
    if not check_agent(found):
        raise Dms3Error("certificate_invalid", "The certificate is not signed by its root.")
    return Root(found.root)


def _nobody(agent: bytes) -> Failure:
    why = f"Agent {short(agent)} says that it is at this very node, which is not so."
    return Failure("peer_unreachable", why, Retry.LATER)
