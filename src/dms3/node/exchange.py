"""Where questions meet answers: between peers, commands, io ports and the node's machines.

Source: docs/architecture.md, "The machine". Fills the inboxes, keeps who waits for what, and turns
released effects into actions or into other machines' events. Knows nothing of transactions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.limits import ASKS_OPEN_MAX, QUESTIONS_OPEN_MAX
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Effect,
    Event,
    PeerDown,
    PeerUp,
    Received,
    Reply,
    Request,
    Requested,
    Send,
    Withdrawn,
)
from dms3.core.ports import Action, AskPeer, AskPort, Finish, Forget, ReplyPeer
from dms3.node.commits import Seat
from dms3.node.inbox import Arrived, Overflow
from dms3.node.questions import Asks, FromCommand, FromMachine, FromPeer, Questions


class Exchange:
    """The inboxes of all machines and the open questions between them and the world.

    Methods named as in `core.ports.DriverPort` are described there. Argument: `seats` by name.
    """

    def __init__(self, seats: Mapping[str, Seat]) -> None:
        self._seats = seats
        self._by_protocol = {
            protocol: seat for seat in seats.values() for protocol in seat.hosted.protocols
        }
        self.ready: deque[Seat] = deque()  # those with an event in their inbox
        self._asks = Asks()
        self._questions = Questions()
        self.refusals: list[Action] = []  # answers to questions that found no room

    def take_refusals(self) -> list[Action]:
        """Empty `refusals`; they go out with the next batch."""
        refusals, self.refusals = self.refusals, []
        return refusals

    def next_event(self) -> tuple[Seat, Event | None]:
        """The next event and its machine; machines take turns. None: it is no longer wanted."""
        seat = self.ready.popleft()
        event = seat.inbox.pop()
        if len(seat.inbox):
            self.ready.append(seat)
        else:
            seat.ready = False
        if isinstance(event, Arrived):
            ask = self._asks.close(event.handle)
            if ask is None or not ask.wanted:
                return seat, None
            return seat, Answered(ask.token, event.body)
        return seat, event

    def push_to_all(self, event: Event) -> None:
        """Tell every machine."""
        for seat in self._seats.values():
            self._push(seat, event)

    # What surroundings tell

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        """Every machine is told of the connection."""
        self.push_to_all(PeerUp(peer, address, inbound))

    def peer_down(self, peer: PeerId, reason: str) -> None:
        """Every machine is told; questions of the peer are withdrawn first."""
        for request in self._questions.of_peer(peer):
            self.withdraw(request)
        self.push_to_all(PeerDown(peer, reason))

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        """A one-way message; False: not taken, offer it again."""
        seat = self._by_protocol.get(protocol)
        if seat is None:
            return True  # nobody here speaks it: gone, as the sender must expect
        event = Received(peer, protocol, body)
        if seat.hosted.protocols[protocol] is Overflow.HOLD:
            taken = seat.inbox.offer(event)
        else:
            seat.inbox.offer_newest(event, seat.hosted.protocols)
            taken = True
        self._queue(seat)
        return taken

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        """A question of a peer; refused at once when the machine has no room for it."""
        seat = self._by_protocol.get(protocol)
        if seat is None:
            failure = Failure("protocol_unsupported", f"This node does not answer {protocol}.")
            self.refusals.append(ReplyPeer(peer, wire, failure))
        elif self._questions.wire(peer, wire) is None:  # else it is asked already
            if not self._has_room(seat):
                self.refusals.append(ReplyPeer(peer, wire, _refusal(seat)))
                return
            request = self._questions.open(seat.name, FromPeer(peer, wire))
            self._push(seat, Requested(peer, protocol, body, request))

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        """`peer` no longer waits for the answer to `wire`."""
        request = self._questions.wire(peer, wire)
        if request is not None:
            self.withdraw(request)

    def answered(self, handle: int, body: Any) -> None:
        """The answer to an ask; unknown and forgotten handles are ignored."""
        ask = self._asks.get(handle)
        if ask is None:
            return
        if ask.wanted:
            self._push(self._seats[ask.owner], Arrived(handle, body))
        else:
            self._asks.close(handle)

    def call(self, port: str, arguments: Any, done: Callable[[Any], None]) -> RequestId:
        """A command: ask machine `port` ("NAME.OPERATION"); `done` gets the answer or Failure."""
        name, _, operation = port.partition(".")
        seat = self._seats.get(name)
        if seat is None:
            raise Dms3Error("method_unknown", f"There is no {name!r} to call.")
        if not self._has_room(seat):
            raise _refusal(seat).error()
        request = self._questions.open(name, FromCommand(done))
        self._push(seat, Called(operation, arguments, request))
        return request

    def withdraw(self, request: RequestId) -> None:
        """Whoever asked `request` no longer waits; a later Reply to it is dropped."""
        found = self._questions.close(request)
        if found is not None:
            self._push(self._seats[found[0]], Withdrawn(request))

    # What machines ask for

    def unwant(self, seat: Seat, token: Token) -> None:
        """A Cancel has been processed: from now on no answer of `token` is delivered."""
        self._asks.unwant(seat.name, token)

    def release(self, seat: Seat, effect: Effect, actions: list[Action]) -> None:
        """Let one effect out: to the surroundings, or into another machine's inbox."""
        if isinstance(effect, Reply):
            self._reply(effect, actions)
        elif isinstance(effect, (Request, Call)):
            self._ask(seat, effect, actions)
        elif isinstance(effect, Send):
            actions.append(effect)
        else:
            assert isinstance(effect, Cancel), f"{effect!r} is not an effect"
            handle = self._asks.handle_of(seat.name, effect.token)
            if handle is not None:
                self._forget(handle, actions)

    def _ask(self, seat: Seat, effect: Request | Call, actions: list[Action]) -> None:
        before = self._asks.handle_of(seat.name, effect.token)
        if before is not None:
            self._forget(before, actions)  # asked anew: the first answer is no longer wanted
        handle = self._asks.open(seat.name, effect.token)
        if self._asks.count(seat.name) > ASKS_OPEN_MAX:
            failure = Failure("limit_reached", f"{seat.name}: too many open asks", Retry.LATER)
            self.answered(handle, failure)
        elif isinstance(effect, Request):
            actions.append(
                AskPeer(effect.peer, effect.protocol, effect.body, handle, effect.deadline_us)
            )
        else:
            port, _, operation = effect.port.partition(".")
            target = self._seats.get(port)
            if target is None:
                actions.append(AskPort(port, operation, effect.arguments, handle))
            else:
                self._ask_machine(target, operation, effect.arguments, handle)

    def _ask_machine(self, target: Seat, operation: str, arguments: Any, handle: int) -> None:
        if not self._has_room(target):
            self.answered(handle, _refusal(target))
            return
        request = self._questions.open(target.name, FromMachine(handle))
        self._asks.set_question(handle, request)
        self._push(target, Called(operation, arguments, request))

    def _reply(self, effect: Reply, actions: list[Action]) -> None:
        found = self._questions.close(effect.request)
        if found is None:
            return  # withdrawn
        origin = found[1]
        if isinstance(origin, FromPeer):
            assert isinstance(effect.body, (bytes, Failure)), "a peer gets bytes or a Failure"
            actions.append(ReplyPeer(origin.peer, origin.wire, effect.body))
        elif isinstance(origin, FromMachine):
            self.answered(origin.handle, effect.body)
        else:
            actions.append(Finish(origin.done, effect.body))

    def _forget(self, handle: int, actions: list[Action]) -> None:
        ask = self._asks.close(handle)
        if ask is None:
            return
        if ask.question is not None:
            self.withdraw(ask.question)
        else:
            actions.append(Forget(handle))

    # Small parts

    def _has_room(self, seat: Seat) -> bool:
        return seat.inbox.has_room and self._questions.count(seat.name) < QUESTIONS_OPEN_MAX

    def _push(self, seat: Seat, event: Event | Arrived) -> None:
        seat.inbox.push(event)
        self._queue(seat)

    def _queue(self, seat: Seat) -> None:
        if not seat.ready and len(seat.inbox):
            seat.ready = True
            self.ready.append(seat)


def _refusal(seat: Seat) -> Failure:
    return Failure("limit_reached", f"{seat.name} is busy; try again later", Retry.LATER)
