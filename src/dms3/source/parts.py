"""What a part of machine "source" is, and how questions on /dms3/agent/1 name theirs.

Source: docs/architecture.md, "The machine"; docs/wire.md, "/dms3/agent/1". Types and one envelope;
`source.py` gives events to the parts. A part writes its effects on the desk (`grounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import AGENT_QUESTION_BYTES_MAX
from dms3.core.machine import View

PROTOCOL = "/dms3/agent/1"
MINORS = (0,)
_KIND_CHARS_MAX = 32

Operation = Callable[[Any, RequestId], None]
"""A local command: arguments, and where the answer goes. May raise Dms3Error."""

Question = Callable[[PeerId, bytes, RequestId], None]
"""A peer's question: who, its body, where the answer goes. May raise Dms3Error; a DecodeError is
held against the peer."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A question to an agent: `kind` says which part reads `body`."""

    v: int
    kind: str
    body: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.v != 1 or not 0 < len(self.kind) <= _KIND_CHARS_MAX:
            raise ValueError("no question to an agent")


def enclose(kind: str, body: bytes) -> bytes:
    """The question of `kind` as bytes of /dms3/agent/1."""
    return encode(Envelope(1, kind, body))


def decode_envelope(data: bytes) -> Envelope:
    """The question in `data`; raises DecodeError, and nothing else."""
    if len(data) > AGENT_QUESTION_BYTES_MAX:
        raise DecodeError(AGENT_QUESTION_BYTES_MAX, "too long for a question to an agent")
    return decode(Envelope, data)


class Part:
    """Some operations and questions of the machine; each method may stay as it is here.

    Answers to a part's calls and its alarms come through the desk, `desk.call(..., then)` and
    `desk.after(...)`; an alarm's key begins with the part's name.
    """

    def operations(self) -> Mapping[str, Operation]:
        """Commands by the name behind "source."."""
        return {}

    def questions(self) -> Mapping[str, Question]:
        """Questions of peers by the kind of their envelope."""
        return {}

    def load(self, view: View) -> None:
        """At start: read own tables, go on with what was under way."""

    def peer_up(self, peer: PeerId) -> None:
        """A connection to `peer` is open."""

    def peer_down(self, peer: PeerId) -> None:
        """The last connection to `peer` has closed."""

    def withdrawn(self, request: RequestId) -> None:
        """Whoever asked `request` no longer waits."""

    def clock_jumped(self) -> None:
        """The wall clock was set, or this machine slept."""
