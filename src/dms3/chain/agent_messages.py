"""The messages of /dms3/agent/1: a question from agent to agent, and the steps of a session.

Source: docs/wire.md, "/dms3/agent/1". A question is signed by the agent that asks, since the node
that brings it may be anybody's. Decoders raise DecodeError and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from dms3.chain.action import KEY_BYTES, SESSION_ID_BYTES, SIGNED_BYTES_MAX
from dms3.core.codec import INTEGER_MAX, check_items, decode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ACCEPTANCE_BYTES_MAX,
    AGENT_BODY_BYTES_MAX,
    AGENT_MESSAGE_BYTES_MAX,
    CAPABILITY_BYTES_MAX,
    CERTIFICATE_AGENT_BYTES_MAX,
    COUNTERSIGNERS_MAX,
    DETAIL_CHARS_MAX,
    DNA_NAME_CHARS_MAX,
    ENTRY_BYTES_MAX,
    PREFLIGHT_BYTES_MAX,
)
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey

PROTOCOL = "/dms3/agent/1"
MINORS = (0,)
DOMAIN = b"agent question"
DECLINE_DOMAIN = b"countersign decline"
VERSION = 1
NONCE_BYTES = 16
STEPS = ("accepted", "waiting", "complete", "declined", "expired")
"""What a party says of a session: see SessionReply."""
_ITEMS_MAX = 64
_REPLY_BYTES_MAX = 2 * ACCEPTANCE_BYTES_MAX + SIGNED_BYTES_MAX + 4 * DETAIL_CHARS_MAX

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SendQuestion:
    """`sender` asks `function` of the app of agent `to` ("": its `receive`).

    `body`: JSON values, see `chain/values.py`. `certificate`: of the sender's key. `capability`:
    the proof for a function that is not open to everybody. `time_us` and `nonce` (16 random bytes):
    a question counts once, and not for long. The signature is the sender's and covers the other
    fields.
    """

    v: int
    overlay: bytes
    sender: bytes
    to: bytes
    function: str
    body: bytes = field(repr=False)
    capability: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    time_us: int
    nonce: bytes
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of questions is not known")
        for name in ("overlay", "sender", "to"):
            need(len(getattr(self, name)) == KEY_BYTES, f"{name} has 32 bytes")
        need(len(self.function) <= DNA_NAME_CHARS_MAX, "not the name of a function")
        need(len(self.body) <= AGENT_BODY_BYTES_MAX, "the body is too long")
        need(len(self.capability) <= CAPABILITY_BYTES_MAX, "the capability is too long")
        fits = len(self.certificate) <= CERTIFICATE_AGENT_BYTES_MAX
        need(fits, "the certificate is too long")
        need(0 <= self.time_us <= INTEGER_MAX, "the time is out of range")
        need(len(self.nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class SendAnswer:
    """What the asked agent's app answered: `body` (JSON values), or an error: `code`, `message`."""

    body: bytes = field(default=b"", repr=False)
    code: str = ""
    message: str = ""

    def __post_init__(self) -> None:
        need(bool(self.body) != bool(self.code), "either a body or an error")
        need(len(self.body) <= AGENT_BODY_BYTES_MAX, "the body is too long")
        need(len(self.code) <= DNA_NAME_CHARS_MAX, "the code is too long")
        need(len(self.message) <= DETAIL_CHARS_MAX, "the message is too long")


@dataclass(frozen=True, slots=True)
class SessionPropose:
    """Will agent `to` countersign? `entry`: the content's entry, without a session."""

    to: bytes
    preflight: bytes
    entry: bytes = field(repr=False)
    certificate: bytes = field(repr=False)

    def __post_init__(self) -> None:
        need(len(self.to) == KEY_BYTES, "an agent has 32 bytes")
        need(len(self.preflight) <= PREFLIGHT_BYTES_MAX, "the preflight is too long")
        need(len(self.entry) <= ENTRY_BYTES_MAX, "the entry is too long")
        fits = len(self.certificate) <= CERTIFICATE_AGENT_BYTES_MAX
        need(fits, "the certificate is too long")


@dataclass(frozen=True, slots=True)
class SessionAccept:
    """To the proposer: `acceptance` of a session by its agent, whose chain waits from now on."""

    acceptance: bytes

    def __post_init__(self) -> None:
        need(len(self.acceptance) <= ACCEPTANCE_BYTES_MAX, "the acceptance is too long")


@dataclass(frozen=True, slots=True)
class SessionComplete:
    """All have accepted; `entry` with the whole session, to be committed by `to`.

    From the proposer, or any other party. `actions`: signed ones of parties that are known.
    """

    to: bytes
    session: bytes
    entry: bytes = field(repr=False)
    actions: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        need(len(self.to) == KEY_BYTES, "an agent has 32 bytes")
        need(len(self.session) == SESSION_ID_BYTES, "a session id has 32 bytes")
        need(len(self.entry) <= ENTRY_BYTES_MAX, "the entry is too long")
        need(len(self.actions) <= COUNTERSIGNERS_MAX, "more actions than parties")
        need(all(len(each) <= SIGNED_BYTES_MAX for each in self.actions), "an action is too long")


@dataclass(frozen=True, slots=True)
class SessionDecline:
    """`agent` takes no part, or withdraws the session as its proposer; signed by it."""

    session: bytes
    agent: bytes
    reason: str
    signature: bytes

    def __post_init__(self) -> None:
        need(len(self.session) == SESSION_ID_BYTES, "a session id has 32 bytes")
        need(len(self.agent) == KEY_BYTES, "an agent has 32 bytes")
        need(len(self.reason) <= DETAIL_CHARS_MAX, "the reason is too long")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class SessionReply:
    """What became of a step, and `why` in words for people.

    accepted (with the acceptance), waiting (a person is asked), complete (with the own signed
    action, once it is written), declined, expired.
    """

    step: str
    acceptance: bytes = b""
    action: bytes = field(default=b"", repr=False)
    why: str = ""

    def __post_init__(self) -> None:
        need(self.step in STEPS, f"{self.step[:32]!r} is no step of a session")
        need(len(self.acceptance) <= ACCEPTANCE_BYTES_MAX, "the acceptance is too long")
        need(not self.acceptance or self.step == "accepted", "only who accepts has accepted")
        need(len(self.action) <= SIGNED_BYTES_MAX, "the action is too long")
        need(not self.action or self.step == "complete", "only a complete session is written")
        need(len(self.why) <= DETAIL_CHARS_MAX, "the reason is too long")


@dataclass(frozen=True, slots=True)
class AgentQuestion:
    """Exactly one of these; `send` is answered by SendAnswer, the others by SessionReply."""

    send: SendQuestion | None = None
    propose: SessionPropose | None = None
    accept: SessionAccept | None = None
    complete: SessionComplete | None = None
    decline: SessionDecline | None = None

    def __post_init__(self) -> None:
        parts = (self.send, self.propose, self.accept, self.complete, self.decline)
        need(sum(part is not None for part in parts) == 1, "exactly one question")


def sign_question(key: SigningKey, question: SendQuestion) -> SendQuestion:
    """`question` signed by its sender `key`."""
    assert question.sender == key.public, "a question is signed by who asks"
    return signed_by(key, DOMAIN, question)


def check_question(question: SendQuestion) -> bool:
    """Whether its sender has signed it."""
    return is_signed_by(question.sender, DOMAIN, question)


def sign_decline(key: SigningKey, session: bytes, reason: str) -> SessionDecline:
    """The signed word of agent `key` that it takes no part in `session`."""
    bare = SessionDecline(session, key.public, reason, b"")
    return signed_by(key, DECLINE_DOMAIN, bare)


def check_decline(decline: SessionDecline) -> bool:
    """Whether its agent has signed it."""
    return is_signed_by(decline.agent, DECLINE_DOMAIN, decline)


def decode_agent_question(data: bytes) -> AgentQuestion:
    """A question of a peer, its signature not yet checked; raises DecodeError."""
    question = _bounded(AgentQuestion, data, AGENT_MESSAGE_BYTES_MAX)
    for signed in (question.send, question.decline):
        if signed is not None and not signed.signature:
            raise DecodeError(0, "the question is not signed")
    return question


def decode_send_answer(data: bytes) -> SendAnswer:
    """The answer to a SendQuestion; raises DecodeError."""
    return _bounded(SendAnswer, data, AGENT_BODY_BYTES_MAX + 4 * DETAIL_CHARS_MAX)


def decode_session_reply(data: bytes) -> SessionReply:
    """The answer to a step of a session; raises DecodeError."""
    return _bounded(SessionReply, data, _REPLY_BYTES_MAX)


def _bounded(cls: type[T], data: bytes, limit: int) -> T:
    need_at_most(data, limit, f"a {cls.__name__}")
    check_items(data, _ITEMS_MAX)
    return decode(cls, data)
