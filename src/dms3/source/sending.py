"""Questions from app to app: signed by the agent that asks, let in by the one that is asked.

Source: docs/chains.md, "Asking an agent"; docs/attacks.md. A question counts once and for two
minutes; nonces are remembered that long and none counts that was signed before this node started.
What the app answers is its own: this says only who asks, and whether a grant lets him.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.agent_messages import (
    NONCE_BYTES,
    AgentQuestion,
    SendAnswer,
    SendQuestion,
    check_question,
    decode_send_answer,
    sign_question,
)
from dms3.chain.operations import Incoming, SendTo
from dms3.chain.values import decode_values, encode_values
from dms3.core.codec import decode, encode, need_at_most
from dms3.core.desk import Operation
from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, Root, short
from dms3.core.limits import (
    AGENT_BODY_BYTES_MAX,
    AGENT_QUESTION_COST_US,
    AGENT_QUESTION_LIFE_US,
    AGENT_QUESTIONS_BURST_US,
    AGENT_QUESTIONS_OPEN_MAX,
    AGENT_SENDERS_MAX,
    CAPABILITY_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    DETAIL_CHARS_MAX,
    DNA_NAME_CHARS_MAX,
    GET_PATIENCE_US,
    NONCES_KEPT_MAX,
)
from dms3.core.machine import View
from dms3.crypto.grant import decode_grant
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey, verify
from dms3.source.agents import Agents, Paces
from dms3.source.capabilities import Capabilities, Who, allows, decode_token
from dms3.source.chains import Chain
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.grounds import Grounds
from dms3.source.parts import Part, Question

BEARER_DOMAIN = b"capability"


@dataclass(frozen=True, slots=True)
class Shown:
    """The capability of a question: a grant, and of a transferable one its secret's signature."""

    grant: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.signature) not in (0, SIGNATURE_BYTES):
            raise ValueError("a signature has 64 bytes")


def decode_shown(data: bytes) -> Shown:
    """The capability in a question, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, CAPABILITY_BYTES_MAX, "a capability")
    return decode(Shown, data)


@dataclass(slots=True)
class Nonces:
    """Questions that have been asked: none counts twice."""

    kept_max: int = NONCES_KEPT_MAX
    _until: dict[bytes, int] = field(default_factory=dict)

    def take(self, nonce: bytes, until_us: int, wall_us: int) -> None:
        """Remember `nonce` until then (wall clock); raises `already_exists`, `limit_reached`."""
        if nonce in self._until:
            raise Dms3Error("already_exists", "This question was asked before.")
        if len(self._until) >= self.kept_max:
            self._until = {one: end for one, end in self._until.items() if end > wall_us}
            if len(self._until) >= self.kept_max:
                raise Dms3Error("limit_reached", "This node is asked too much; wait a minute.")
        self._until[nonce] = until_us


class Sending(Part):
    """Operation "send", and questions for own agents."""

    def __init__(self, grounds: Grounds, agents: Agents, capabilities: Capabilities) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._root = Root(grounds.root_key.public)
        self._agents = agents
        self._capabilities = capabilities
        self._nonces = Nonces()
        self._began_us = 0
        self._paces = Paces[bytes](
            AGENT_QUESTION_COST_US, AGENT_QUESTIONS_BURST_US, AGENT_SENDERS_MAX
        )
        self._open: dict[bytes, int] = {}  # by sender

    def operations(self) -> Mapping[str, Operation]:
        """Those of a person's apps."""
        return {"send": self._send}

    def questions(self) -> Mapping[str, Question]:
        """Those of other agents."""
        return {"send": self._asked}

    def load(self, view: View) -> None:
        """Nonces of before are forgotten, so nothing from before counts."""
        del view
        self._began_us = self._desk.now.wall_us

    # Asking

    def _send(self, wanted: SendTo, request: RequestId) -> None:
        chain = self._grounds.chains.need(wanted.overlay)
        if len(wanted.function) > DNA_NAME_CHARS_MAX:
            raise Dms3Error("argument_invalid", "That is not the name of a function.")
        body = _packed(wanted.body, "The question")
        flow = self._ask(chain, wanted, body)
        self._grounds.flows.start(flow, lambda answer: self._desk.reply(request, answer))

    def _ask(self, chain: Chain, wanted: SendTo, body: bytes) -> Flow[Any]:
        if wanted.agent == chain.row.agent:
            to_self = Incoming(
                wanted.overlay,
                wanted.agent,
                self._root,
                wanted.function,
                wanted.body,
                granted=True,
            )
            return answer_or_raise((yield Ask("dapps.receive", to_self)))
        question = AgentQuestion(send=self._signed(chain, wanted, body))
        data = yield from self._agents.ask(
            wanted.overlay, wanted.agent, question, wanted.patience_us
        )
        try:
            answer = decode_send_answer(data)
            if answer.code:
                raise Failure(answer.code, answer.message).error()
            return decode_values(answer.body, "answer")
        except DecodeError as error:
            raise Dms3Error(
                "peer_misbehaved", f"The answer of the agent cannot be read: {error.reason}."
            ) from error

    def _signed(self, chain: Chain, wanted: SendTo, body: bytes) -> SendQuestion:
        bare = SendQuestion(
            1,
            wanted.overlay,
            chain.row.agent,
            wanted.agent,
            wanted.function,
            body,
            b"",
            self._agents.certificate(chain),
            self._desk.now.wall_us,
            self._grounds.entropy.draw(NONCE_BYTES),
            b"",
        )
        shown = _shown(wanted.capability, bare)
        return sign_question(chain.signing, dataclasses.replace(bare, capability=shown))

    # Being asked

    def _asked(self, peer: PeerId, question: SendQuestion, request: RequestId) -> None:
        """A question from `peer`; raises what the other end is told."""
        del peer  # whose node brings it says nothing: the agent has signed
        wall_us = self._desk.now.wall_us
        chain = self._grounds.chains.find(_overlay(question))
        if chain is None or chain.row.agent != question.to:
            raise Dms3Error("not_found", f"Agent {short(question.to)} is not at this node.")
        if not check_question(question):
            raise Dms3Error("forbidden", "The agent that asks has not signed the question.")
        if not self._paces.admit(question.sender, self._desk.now):
            raise Dms3Error("limit_reached", "You ask too often; wait a moment.")
        self._check_time(question, wall_us)
        nonce = question.sender + question.nonce
        self._nonces.take(nonce, question.time_us + AGENT_QUESTION_LIFE_US, wall_us)
        if self._open.get(question.sender, 0) >= AGENT_QUESTIONS_OPEN_MAX:
            raise Dms3Error("limit_reached", "Too many questions of yours are open.")
        self._open[question.sender] = self._open.get(question.sender, 0) + 1

        def answered(answer: SendAnswer | Failure) -> None:
            self._open[question.sender] -= 1
            if not self._open[question.sender]:
                del self._open[question.sender]
            self._desk.reply(request, answer if isinstance(answer, Failure) else encode(answer))

        self._grounds.flows.start(self._answer(question), answered)

    def _check_time(self, question: SendQuestion, wall_us: int) -> None:
        """Only what was signed just now, and since this node began to remember nonces."""
        age_us = wall_us - question.time_us
        if age_us < -CLOCK_AHEAD_US_MAX:
            raise Dms3Error(
                "not_yet_valid",
                "The question was signed in the future.",
                hint="Compare the clocks of the two machines.",
            )
        if age_us > AGENT_QUESTION_LIFE_US or question.time_us < self._began_us:
            raise Dms3Error(
                "question_expired",
                f"The question was signed {age_us // 1_000_000} s ago and counts no longer.",
                hint="Ask again; if that does not help, compare the clocks of the two machines.",
            )

    def _answer(self, question: SendQuestion) -> Flow[SendAnswer]:
        overlay = _overlay(question)
        root = yield from self._agents.member(
            overlay, question.sender, question.certificate, GET_PATIENCE_US
        )
        granted = root == self._root or self._check_capability(question, root)
        try:
            body = decode_values(question.body, "body")
        except DecodeError as error:
            raise Dms3Error("body_malformed", f"The question: {error.reason}.") from error
        incoming = Incoming(
            overlay, question.sender, root, question.function, body, granted=granted
        )
        answer = yield Ask("dapps.receive", incoming)
        if isinstance(answer, Failure):
            return SendAnswer(code=answer.code, message=answer.message[:DETAIL_CHARS_MAX])
        return SendAnswer(_packed(answer, "The answer"))

    def _check_capability(self, question: SendQuestion, root: Root) -> bool:
        """Whether a grant was shown; one that does not hold is refused by name."""
        if not question.capability:
            return False
        try:
            shown = decode_shown(question.capability)
        except DecodeError as error:
            raise Dms3Error(
                "grant_invalid", f"The capability cannot be read: {error.reason}."
            ) from error
        given = self._capabilities.given
        bearer = _bearer(shown, question)
        who = Who(_overlay(question), root, bearer)
        allows(given, question.function, who, shown.grant, self._desk.now.wall_us)
        return True


def _overlay(question: SendQuestion) -> OverlayId:
    return OverlayId(question.overlay)


def _shown(capability: bytes, bare: SendQuestion) -> bytes:
    """What of a capability goes with the question: never its secret."""
    if not capability:
        return b""
    try:
        token = decode_token(capability)
    except DecodeError as error:
        raise Dms3Error(
            "argument_invalid",
            f"The capability cannot be read: {error.reason}.",
            hint="Give it as the other person's node has printed it.",
        ) from error
    signature = b""
    if token.secret:
        signature = SigningKey.of_seed(token.secret).sign(BEARER_DOMAIN, _borne(bare))
    return encode(Shown(token.grant, signature))


def _bearer(shown: Shown, question: SendQuestion) -> bytes:
    """The reader of the grant, when the question is signed with its secret, else b""."""
    try:
        reader = decode_grant(shown.grant).reader
    except DecodeError:
        return b""
    signed = verify(reader, BEARER_DOMAIN, _borne(question), shown.signature)
    return reader if signed else b""


def _borne(question: SendQuestion) -> bytes:
    """What the bearer of a secret signs: this question of this agent to that one, and no other."""
    bare = dataclasses.replace(question, capability=b"", certificate=b"", signature=b"")
    return encode(bare)


def _packed(value: Any, what: str) -> bytes:
    try:
        data = encode_values(value, "body")
    except ValueError as error:
        raise Dms3Error("argument_invalid", f"{what} cannot be sent: {error}.") from error
    if len(data) > AGENT_BODY_BYTES_MAX:
        raise Dms3Error(
            "body_too_large",
            f"{what} has {len(data)} bytes, more than {AGENT_BODY_BYTES_MAX}.",
            hint="Send the content identifier of a document instead.",
        )
    return data
