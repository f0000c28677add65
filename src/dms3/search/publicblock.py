"""Answers to /dms3/public/1: a block of a public space of this node, for anybody who asks.

Source: docs/wire.md, "/dms3/public/1"; docs/attacks.md. Whatever is not public gets one answer,
byte for byte, whether it is here or not. Holds no document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dms3.core.cid import Cid
from dms3.core.codec import decode, need_at_most
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    BLOCK_BURST_US,
    BLOCK_BYTES_MAX,
    BLOCK_COST_US,
    PUBLIC_QUESTION_BYTES_MAX,
    SERVED_OPEN_MAX,
    SERVED_PER_PEER_MAX,
)
from dms3.core.machine import Call, Cancel, Effect, Now, Reply, Requested
from dms3.search.gate import TOO_OFTEN, Pace
from dms3.search.operations import FLOOD, MALFORMED, Penalty
from dms3.search.operations_public import PublicBlock

PROTOCOL = "/dms3/public/1"
MINORS = (0,)
PREFIX = "serve:"
NOT_FOUND = Failure("not_found", "This node has no such public block.")


@dataclass(frozen=True, slots=True)
class PublicQuestion:
    """Ask for one public block; the answer is the block's bytes, checked by the asker."""

    cid: Cid


def decode_public_question(data: bytes) -> PublicQuestion:
    """A question to /dms3/public/1; raises DecodeError."""
    need_at_most(data, PUBLIC_QUESTION_BYTES_MAX, "a PublicQuestion")
    return decode(PublicQuestion, data)


class PublicServing:
    """Questions of peers that are with the library; `spaces` gives those that are public now."""

    def __init__(self, spaces: Callable[[], tuple[SpaceId, ...]]) -> None:
        self._spaces = spaces
        self._pace = Pace(BLOCK_COST_US, BLOCK_BURST_US)
        self._open: dict[Token, tuple[RequestId, PeerId]] = {}
        self._tokens: dict[RequestId, Token] = {}
        self._per_peer: dict[PeerId, int] = {}
        self._next = 0

    def requested(self, event: Requested, now: Now) -> tuple[list[Effect], Penalty | None]:
        """Pass the question on, or refuse it; also what the peer earned by a bad one."""
        peer = event.peer
        if not self._pace.admit(peer, now):
            return [Reply(event.request, TOO_OFTEN)], Penalty(peer, FLOOD)
        busy = self._per_peer.get(peer, 0) >= SERVED_PER_PEER_MAX
        if busy or len(self._open) >= SERVED_OPEN_MAX:
            return [Reply(event.request, TOO_OFTEN)], None
        try:
            question = decode_public_question(event.body)
        except DecodeError as error:
            failure = Failure("decode_failed", error.reason)
            return [Reply(event.request, failure)], Penalty(peer, MALFORMED)
        self._next += 1
        token = Token(f"{PREFIX}{self._next}")
        self._open[token] = (event.request, peer)
        self._tokens[event.request] = token
        self._per_peer[peer] = self._per_peer.get(peer, 0) + 1
        return [Call("published.block", PublicBlock(self._spaces(), question.cid), token)], None

    def answered(self, token: Token, body: object) -> list[Effect]:
        """The library's answer, as the peer may see it."""
        if token not in self._open:
            return []
        request = self._close(token)
        if isinstance(body, bytes) and len(body) <= BLOCK_BYTES_MAX:
            return [Reply(request, body)]
        if isinstance(body, Failure) and body.retry is Retry.LATER:
            return [Reply(request, Failure("node_busy", "Not just now.", Retry.LATER))]
        return [Reply(request, NOT_FOUND)]

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """The peer no longer waits."""
        if request not in self._tokens:
            return []
        token = self._tokens[request]
        self._close(token)
        return [Cancel(token)]

    def refuse_all(self) -> list[Effect]:
        """A space is public no longer: what the library looks up just now is not given out."""
        effects: list[Effect] = []
        for token in list(self._open):
            effects += [Cancel(token), Reply(self._close(token), NOT_FOUND)]
        return effects

    def peer_down(self, peer: PeerId) -> None:
        """Forget how often the peer has asked."""
        self._pace.forget(peer)

    def _close(self, token: Token) -> RequestId:
        request, peer = self._open.pop(token)
        del self._tokens[request]
        self._per_peer[peer] -= 1
        if not self._per_peer[peer]:
            del self._per_peer[peer]
        return request
