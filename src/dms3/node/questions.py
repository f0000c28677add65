"""Who waits for what: the unfinished asks of machines, and the open questions put to them.

Source: docs/architecture.md, "The machine" (tokens and request ids). Both tables are bounded by
the driver. Nothing here is stored: after a restart machines ask again, and askers time out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dms3.core.ids import PeerId, RequestId, Token


@dataclass(slots=True)
class Ask:
    """An unfinished Call or Request of machine `owner`; `wanted` is False after its Cancel."""

    owner: str
    token: Token
    question: RequestId | None = None  # set when another machine has to answer
    wanted: bool = True


class Asks:
    """Unfinished Calls and Requests by handle, and the newest handle of each (machine, token)."""

    def __init__(self) -> None:
        self._asks: dict[int, Ask] = {}
        self._handles: dict[tuple[str, Token], int] = {}
        self._count: dict[str, int] = {}
        self._next = 0

    def count(self, owner: str) -> int:
        """Unfinished asks of a machine."""
        return self._count.get(owner, 0)

    def open(self, owner: str, token: Token) -> int:
        """A handle for a new ask."""
        self._next += 1
        self._asks[self._next] = Ask(owner, token)
        self._handles[owner, token] = self._next
        self._count[owner] = self._count.get(owner, 0) + 1
        return self._next

    def get(self, handle: int) -> Ask | None:
        """The unfinished ask of `handle`."""
        return self._asks.get(handle)

    def set_question(self, handle: int, question: RequestId) -> None:
        """The ask is answered by another machine, under `question`."""
        self._asks[handle].question = question

    def handle_of(self, owner: str, token: Token) -> int | None:
        """The newest unfinished handle of a machine's token."""
        return self._handles.get((owner, token))

    def unwant(self, owner: str, token: Token) -> None:
        """From now on the answer of this token's present ask is dropped."""
        handle = self._handles.get((owner, token))
        if handle is not None:
            self._asks[handle].wanted = False

    def close(self, handle: int) -> Ask | None:
        """Take out an ask: it is answered or forgotten. None when it was already."""
        ask = self._asks.pop(handle, None)
        if ask is None:
            return None
        self._count[ask.owner] -= 1
        if self._handles.get((ask.owner, ask.token)) == handle:
            del self._handles[ask.owner, ask.token]
        return ask


@dataclass(frozen=True, slots=True)
class FromPeer:
    """A peer asked; `wire` is the peer port's number of the question."""

    peer: PeerId
    wire: int


@dataclass(frozen=True, slots=True)
class FromMachine:
    """Another machine asked; the answer goes to its ask `handle`."""

    handle: int


@dataclass(frozen=True, slots=True)
class FromCommand:
    """A command asked; `done` gets the answer."""

    done: Callable[[Any], None]


Origin = FromPeer | FromMachine | FromCommand


class Questions:
    """Open questions by request id: which machine has to answer, and to whom."""

    def __init__(self) -> None:
        self._open: dict[RequestId, tuple[str, Origin]] = {}
        self._of_peer: dict[PeerId, dict[int, RequestId]] = {}
        self._count: dict[str, int] = {}
        self._next = 0

    def count(self, machine: str) -> int:
        """Questions that `machine` has not answered yet."""
        return self._count.get(machine, 0)

    def open(self, machine: str, origin: Origin) -> RequestId:
        """A request id for a new question to `machine`."""
        self._next += 1
        request = RequestId(self._next)
        self._open[request] = (machine, origin)
        self._count[machine] = self._count.get(machine, 0) + 1
        if type(origin) is FromPeer:
            self._of_peer.setdefault(origin.peer, {})[origin.wire] = request
        return request

    def close(self, request: RequestId) -> tuple[str, Origin] | None:
        """Take out a question: answered or withdrawn. None when it was already."""
        found = self._open.pop(request, None)
        if found is None:
            return None
        machine, origin = found
        self._count[machine] -= 1
        if type(origin) is FromPeer:
            wires = self._of_peer[origin.peer]
            del wires[origin.wire]
            if not wires:
                del self._of_peer[origin.peer]
        return found

    def of_peer(self, peer: PeerId) -> list[RequestId]:
        """The open questions of `peer`, oldest first."""
        return list(self._of_peer.get(peer, {}).values())

    def wire(self, peer: PeerId, wire: int) -> RequestId | None:
        """The open question that `peer` calls `wire`."""
        return self._of_peer.get(peer, {}).get(wire)
