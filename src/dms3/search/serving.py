"""Answers to /dms3/search/1 and /dms3/block/1: proof first, then the library, then the reply.

Source: docs/wire.md, "Sharing"; docs/attacks.md. A block outside the granted space and a block that
does not exist get the same refusal, byte for byte. Holds no document.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    BLOCK_BURST_US,
    BLOCK_BYTES_MAX,
    BLOCK_COST_US,
    SEARCH_BURST_US,
    SEARCH_COST_US,
    SERVED_OPEN_MAX,
    SERVED_PER_PEER_MAX,
)
from dms3.core.machine import Call, Cancel, Effect, Now, Reply, Requested
from dms3.crypto.grant import READ, SEARCH, Grant
from dms3.search.gate import FORGERIES, TOO_OFTEN, WITHDRAWN, Gate, Pace
from dms3.search.messages import (
    BLOCK_PROTOCOL,
    SEARCH_PROTOCOL,
    decode_block_question,
    decode_search_question,
)
from dms3.search.operations import (
    FLOOD,
    FORGED,
    MALFORMED,
    Found,
    LibraryBlock,
    LibrarySearch,
    Penalty,
)

PREFIX = "serve:"
NOT_FOUND = Failure("not_found", "This space holds no such block.")


@dataclass(frozen=True, slots=True)
class _Question:
    """A question that is with the library, and the grant by which it was let in."""

    request: RequestId
    peer: PeerId
    protocol: str
    grant: Grant


class Serving:
    """Questions of peers that are with the library."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._paces = {
            SEARCH_PROTOCOL: Pace(SEARCH_COST_US, SEARCH_BURST_US),
            BLOCK_PROTOCOL: Pace(BLOCK_COST_US, BLOCK_BURST_US),
        }
        self._open: dict[Token, _Question] = {}
        self._tokens: dict[RequestId, Token] = {}
        self._per_peer: dict[PeerId, int] = {}
        self._next = 0

    def requested(self, event: Requested, now: Now) -> tuple[list[Effect], Penalty | None]:
        """Check the question and pass it to the library, or refuse it.

        The second value is what the peer earned by a forged, malformed or too frequent question.
        """
        peer = event.peer
        if not self._paces[event.protocol].admit(peer, now):
            refusal: list[Effect] = [Reply(event.request, TOO_OFTEN)]
            return refusal, Penalty(peer, FLOOD)
        busy = self._per_peer.get(peer, 0) >= SERVED_PER_PEER_MAX
        if busy or len(self._open) >= SERVED_OPEN_MAX:
            return [Reply(event.request, TOO_OFTEN)], None
        try:
            grant, port, arguments = self._admit(event, now)
        except DecodeError as error:
            failure = Failure("decode_failed", error.reason)
            return [Reply(event.request, failure)], Penalty(peer, MALFORMED)
        except Dms3Error as error:
            blame = Penalty(peer, FORGED) if error.code in FORGERIES else None
            return [Reply(event.request, Failure.of(error))], blame
        self._next += 1
        token = Token(f"{PREFIX}{self._next}")
        self._open[token] = _Question(event.request, peer, event.protocol, grant)
        self._tokens[event.request] = token
        self._per_peer[peer] = self._per_peer.get(peer, 0) + 1
        return [Call(port, arguments, token)], None

    def answered(self, token: Token, body: object) -> list[Effect]:
        """The library's answer, as the peer may see it; none if the grant went meanwhile."""
        question = self._open.get(token)
        if question is None:
            return []
        self._close(token)
        if not self._gate.stands(question.grant):
            return [Reply(question.request, WITHDRAWN)]
        return [Reply(question.request, _for_peer(question.protocol, body))]

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """The peer no longer waits."""
        token = self._tokens.get(request)
        if token is None:
            return []
        self._close(token)
        return [Cancel(token)]

    def peer_down(self, peer: PeerId) -> None:
        """Forget how often the peer has asked."""
        for pace in self._paces.values():
            pace.forget(peer)

    def _admit(self, event: Requested, now: Now) -> tuple[Grant, str, LibrarySearch | LibraryBlock]:
        if event.protocol == SEARCH_PROTOCOL:
            question = decode_search_question(event.body)
            space = SpaceId(question.space)
            grant = self._gate.check(question.proof, space, SEARCH, event.peer, now)
            search = LibrarySearch(
                space, question.query, question.limit, question.kind, question.where
            )
            return grant, "library.search", search
        wanted = decode_block_question(event.body)
        space = SpaceId(wanted.space)
        grant = self._gate.check(wanted.proof, space, READ, event.peer, now)
        return grant, "library.block", LibraryBlock(space, wanted.cid)

    def _close(self, token: Token) -> None:
        question = self._open.pop(token)
        peer = question.peer
        del self._tokens[question.request]
        self._per_peer[peer] -= 1
        if not self._per_peer[peer]:
            del self._per_peer[peer]


def _for_peer(protocol: str, body: object) -> bytes | Failure:
    """What a peer is told: nothing about this node beyond the granted space."""
    if protocol == SEARCH_PROTOCOL:
        if isinstance(body, Found):
            return encode(body)
        if isinstance(body, Failure) and body.code == "argument_invalid":
            return body  # the query's own fault, said by the query parser
        return Failure("node_busy", "This node cannot search just now.", Retry.LATER)
    if isinstance(body, bytes) and len(body) <= BLOCK_BYTES_MAX:
        return body
    if isinstance(body, Failure) and body.retry is Retry.LATER:
        return Failure("node_busy", "This node cannot read just now.", Retry.LATER)
    return NOT_FOUND
