"""One search of ours over other people's nodes: whom to ask, what came back, what is missing.

Source: docs/architecture.md, "Private by default"; docs/wire.md, "/dms3/search/1". Asks each
granted space at one connected device of its owner, and at the next one when that fails. Scores of
different nodes are compared as they are; nothing is ranked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Root, SpaceId, Token
from dms3.core.limits import SEARCH_TIMEOUT_US_MAX
from dms3.core.machine import Cancel, Effect, Now, Reply, Request
from dms3.crypto.grant import Proof
from dms3.search.grants import Received
from dms3.search.messages import SEARCH_PROTOCOL, SearchQuestion, decode_search_answer
from dms3.search.operations import Found, PeerHit, PeersFound, SearchPeers, Unreached

PREFIX = "search:"


@dataclass(slots=True, eq=False)
class _Part:
    """One granted space in a search: the devices still to try, and how it ended."""

    received: Received
    peers: list[PeerId]
    asked: PeerId | None = None
    found: Found | None = None
    failure: Failure | None = None


@dataclass(slots=True, eq=False)
class Search:
    """A search under way; `number` makes its tokens unique, `certificate` is this node's own."""

    number: int
    request: RequestId
    question: SearchPeers
    certificate: bytes = field(repr=False)
    deadline_us: int
    _parts: list[_Part] = field(default_factory=list)

    def start(self, parts: Sequence[tuple[Received, list[PeerId]]]) -> list[Effect]:
        """The first Requests; parts without a connected device have failed already."""
        self._parts = [_Part(received, list(peers)) for received, peers in parts]
        return [effect for index in range(len(self._parts)) for effect in self._ask(index)]

    @property
    def done(self) -> bool:
        """Whether every part has ended."""
        return all(part.found is not None or part.failure is not None for part in self._parts)

    def answered(self, index: int, body: bytes | Failure) -> tuple[list[Effect], PeerId | None]:
        """Take an answer to part `index`; also returns the peer when its answer was malformed."""
        part = self._parts[index]
        peer = part.asked
        assert peer is not None, "an answer to a part that was not asked"
        if isinstance(body, Failure):
            return self._next(index, body), None
        try:
            found = decode_search_answer(body, self.question.limit)
        except DecodeError as error:
            failure = Failure("peer_misbehaved", f"Its answer is malformed: {error.reason}.")
            return self._next(index, failure), peer
        part.found = found
        return [], None

    def expire(self) -> list[Effect]:
        """The deadline: whoever has not answered is late."""
        effects: list[Effect] = []
        for index, part in enumerate(self._parts):
            if part.found is None and part.failure is None:
                effects.append(Cancel(self._token(index)))
                part.failure = Failure("timed_out", "No answer in time.", Retry.LATER)
        return effects

    def reply(self) -> Effect:
        """The merged answer."""
        best: dict[bytes, PeerHit] = {}
        found = [part.found for part in self._parts if part.found is not None]
        for part in self._parts:
            for hit in part.found.hits if part.found is not None else ():
                assert part.asked is not None
                held = best.get(hit.cid.binary)
                if held is None or hit.score > held.hit.score:
                    space = SpaceId(part.received.grant.space)
                    best[hit.cid.binary] = PeerHit(hit, space, part.asked)
        ranked = sorted(best.values(), key=lambda each: (-each.hit.score, each.hit.cid))
        answer = PeersFound(
            hits=tuple(ranked[: self.question.limit]),
            total=sum(each.total for each in found),
            opened=sum(each.opened for each in found),
            skipped=sum(each.skipped for each in found),
            asked=len(self._parts),
            unreached=tuple(
                _unreached(part.received, part.failure)
                for part in self._parts
                if part.failure is not None
            ),
        )
        return Reply(self.request, answer)

    def _next(self, index: int, failure: Failure) -> list[Effect]:
        """Another device of the owner, or the end of this part."""
        part = self._parts[index]
        if part.peers and failure.code != "argument_invalid":
            return self._ask(index)
        part.failure = failure
        return []

    def _ask(self, index: int) -> list[Effect]:
        part = self._parts[index]
        if not part.peers:
            part.failure = Failure(
                "peer_unreachable", "No device of its owner is connected.", Retry.LATER
            )
            return []
        part.asked = part.peers.pop(0)
        question = SearchQuestion(
            space=part.received.grant.space,
            query=self.question.query,
            limit=self.question.limit,
            proof=Proof(part.received.record.grant, self.certificate),
            kind=self.question.kind,
            where=self.question.where,
        )
        body, token = encode(question), self._token(index)
        return [Request(part.asked, SEARCH_PROTOCOL, body, token, self.deadline_us)]

    def _token(self, index: int) -> Token:
        return Token(f"{PREFIX}{self.number}:{index}")


def search_of_token(token: Token) -> tuple[int, int]:
    """The search's number and the part's index in `token`."""
    number, index = token.removeprefix(PREFIX).split(":")
    return int(number), int(index)


def check_question(question: SearchPeers, now: Now) -> int:
    """The deadline of `question` (monotonic us); ValueError when a field is out of bounds."""
    SearchQuestion(
        space=bytes(32),
        query=question.query,
        limit=question.limit,
        proof=Proof(b"", b""),
        kind=question.kind,
        where=question.where,
    )
    if not 0 < question.timeout_us <= SEARCH_TIMEOUT_US_MAX:
        raise ValueError(f"the timeout is not 1 to {SEARCH_TIMEOUT_US_MAX} microseconds")
    return now.mono_us + question.timeout_us


def _unreached(received: Received, failure: Failure) -> Unreached:
    grant = received.grant
    return Unreached(
        SpaceId(grant.space),
        received.record.name,
        Root(grant.issuer),
        failure.code,
        failure.message,
    )
