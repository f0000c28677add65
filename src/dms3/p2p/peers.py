"""The peer book: whom this node knows, stays connected to, and refuses; a machine named "peers".

Source: docs/architecture.md, "Identity" and "How nodes meet"; docs/wire.md, "/dms3/peer/1" and
"/dms3/exchange/1". Contacts and bootstrap addresses are kept connected, found peers are tried;
misconduct adds up and gets a peer refused for a while. Connections themselves are made by the io
port "transport" (node/transport_port.py).

Operations, as Call("peers.NAME", ARGUMENTS): connect(text) -> Dialed · disconnect(PeerId) -> None ·
release(PeerId) -> None · ping(PeerId) -> round trip in microseconds · list() -> tuple[PeerRow] ·
uptime(tuple of PeerId) -> tuple of shares from 0 to 1, in that order · partners(Partners) ->
tuple[PeerId] · world() -> tuple[Thought] · missed(PeerId), which could not be reached -> None ·
conduct(Conducted) -> None · introduced(Introduced) -> None · found(Found) -> None ·
listening(tuple of multiaddrs as text) -> None · contact_add(text of a card) -> Contact ·
contact_list() -> tuple[Contact] · contact_find(text) -> Contact · contact_remove(text) -> Contact.
Topics: peer.up, peer.down, peer.refused, contact.added, contact.removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Root, Token
from dms3.core.limits import BOOTSTRAP_ADDRESSES_MAX, SECOND_US, WAKE_PAUSE_US
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Effect,
    Entropy,
    Event,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Reply,
    Requested,
    View,
    Withdrawn,
)
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p import meeting
from dms3.p2p.announcing import Announcing
from dms3.p2p.commands import Commands
from dms3.p2p.conduct import Misbehaved
from dms3.p2p.dialing import Target
from dms3.p2p.grounds import Grounds
from dms3.p2p.port import Dialed, Found
from dms3.p2p.probing import MINORS, PROTOCOL, Probing, decode_probe
from dms3.p2p.refusing import Refusing
from dms3.p2p.room import Room
from dms3.p2p.world import World

__all__ = ["MINORS", "PROTOCOL", "PeerBook"]

ATTEMPTS_HOPELESS = 16  # as after so many failures: the longest wait
_ABSENT = ("timed_out", "peer_unreachable")  # of a dial: nobody there, as far as we can tell
STEADY_US = 30 * SECOND_US  # a connection that lasted this long counts as a good one


class PeerBook:
    """The machine: connections as they come, go, prove themselves, and after a sleep.

    What a person asks is in `p2p/commands.py`, who is refused in `p2p/refusing.py`, who is closed
    for others in `p2p/room.py`. `own`: this node; `root`: its person; `bootstrap`: addresses to
    keep. `public`: whether the node takes part in what is public, and so asks peers for more peers.
    """

    def __init__(
        self,
        own: PeerId,
        root: Root,
        bootstrap: Sequence[str],
        entropy: Entropy,
        *,
        public: bool = False,
    ) -> None:
        assert len(bootstrap) <= BOOTSTRAP_ADDRESSES_MAX, "the configuration bounds these"
        self._grounds = grounds = Grounds(own, root, bootstrap, entropy)
        self._known = grounds.known
        self._dialing = grounds.dialing
        self._wanted = grounds.wanted
        self._waiting = grounds.waiting
        self._probes = grounds.probes
        self._announcing = Announcing()
        self._refusing = Refusing(grounds)
        self._room = Room(grounds)
        self._commands = Commands(grounds)
        self._world = World(own, self._known, self._probes, entropy, grounds.rows)
        self._meeting = meeting.Meeting(
            own, self._known, self._world, self._dialing, entropy, public=public
        )
        self._woken_us: int | None = None
        self._wake_us: int | None = None  # a wake that waits
        self._operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "release": self._room.release,
            "found": self._found,
            "listening": self._listening,
            **self._refusing.operations,
            **self._commands.operations,
            **self._world.operations,
        }

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Load contacts and peers, refuse whom we refused, dial whom we keep."""
        self._wanted.load(view, now)
        self._announcing.load(view)
        effects = [*self._known.load(view), *self._world.load(view, now)]
        effects += self._refusing.start(now)
        return [*effects, *self._room.keep(), *self._grounds.dial(now)]

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """See the operations in the module docstring."""
        effects: list[Effect] = []
        if isinstance(event, PeerUp | Requested):
            self._world.heard_of(event.peer)
        match event:
            case Called(operation, arguments, request):
                effects = self._on_called(operation, arguments, request, now)
            case Answered(token, body):
                effects = self._on_answered(token, body, now)
            case Requested(peer, meeting.PROTOCOL, body, request):
                effects = self._on_exchange(peer, body, request, now)
            case Requested(peer, _, body, request):
                effects = self._on_probe(peer, body, request, now)
            case PeerUp(peer, address, inbound):
                effects = self._on_up(peer, address, inbound, now)
            case PeerDown(peer, reason):
                effects = self._on_down(peer, reason, now)
            case Withdrawn(request):
                effects = self._waiting.withdrawn(request)
            case ClockJumped():
                effects = self._wake(now)
        return [*effects, *self._room.keep()]

    def on_timer(self, now: Now) -> list[Effect]:
        """Dial what is due, ask for peers, look after a sleep."""
        if self._wake_us is not None and now.mono_us >= self._wake_us:
            return self._wake(now)
        return [*self._world.judge(now), *self._grounds.dial(now), *self._meeting.ask(now)]

    def next_timer(self) -> int | None:
        """When the next dial or question is due."""
        return _earliest(self._dialing.timer, self._meeting.timer, self._world.timer, self._wake_us)

    # Connections

    def _on_up(self, peer: PeerId, address: str, inbound: bool, now: Now) -> list[Effect]:
        contact = self._wanted.contacts.of_peer(peer)
        effects = self._known.on_up(
            peer, address, now, inbound=inbound, keep=self._wanted.is_important
        )
        for target in self._dialing.of_peer(peer):
            self._dialing.settled(target, peer)
            effects += self._settled(target, peer)
        name = contact.name if contact is not None else None
        data = {"peer": peer_id_text(peer), "address": address, "name": name, "inbound": inbound}
        return [*effects, Notify("peer.up", data), self._probes.ask(peer, now), *self._room.make()]

    def _settled(self, target: Target, peer: PeerId) -> list[Effect]:
        """A target is connected: `peer` is who it is."""
        self._wanted.changed()
        return self._meeting.settled(target, peer)

    def _on_down(self, peer: PeerId, reason: str, now: Now) -> list[Effect]:
        since = self._known.on_down(peer)
        lasted_us = now.mono_us - since if since is not None else 0
        steady = lasted_us >= STEADY_US
        for target in self._dialing.of_peer(peer):
            self._dialing.ended(target, now.mono_us, good=steady)
            self._meeting.failed(target, now)
        self._meeting.gone(peer)
        self._room.gone(peer)
        self._wanted.gone(peer)
        gone = Failure("peer_unreachable", f"The connection has closed: {reason}.", Retry.LATER)
        effects = [*self._waiting.finish(peer, "", gone), *self._probes.gone(peer)]
        effects += [] if since is None else self._known.was_there(peer, now)
        data = {"peer": peer_id_text(peer), "reason": reason}
        return [*effects, Notify("peer.down", data), *self._meeting.ask(now)]

    def _on_dialed(self, target: Target, body: Any, now: Now) -> list[Effect]:
        if not target.dialing:
            return []  # connected by other means in the meantime
        effects: list[Effect] = []
        if isinstance(body, Dialed):
            self._dialing.settled(target, body.peer)
            effects = self._settled(target, body.peer)
            if body.peer not in self._known.up:  # it has closed again before we heard
                self._dialing.ended(target, now.mono_us, good=False)
        else:
            self._dialing.ended(target, now.mono_us, good=False)
            self._meeting.failed(target, now)
            if target.peer is not None:
                self._known.trouble(target.peer, body)
                if isinstance(body, Failure) and body.code in _ABSENT:
                    effects += self._world.failed(target.peer, now)
        return [*effects, *self._grounds.dial(now)]

    # After a sleep, and in another network

    def _wake(self, now: Now) -> list[Effect]:
        """The world went on without us: every connection has to prove itself, every wait is over.

        So also when only a clock was set: a round trip to each peer, at most every WAKE_PAUSE_US.
        """
        if self._woken_us is not None and now.mono_us - self._woken_us < WAKE_PAUSE_US:
            self._wake_us = self._woken_us + WAKE_PAUSE_US
            return []
        self._woken_us, self._wake_us = now.mono_us, None
        self._world.slept(now)
        self._meeting.wake()
        self._dialing.wake(now.mono_us)
        probes = [self._probes.ask(peer, now, vital=True) for peer in sorted(self._known.up)]
        return [
            self._grounds.order("wake", None),
            *probes,
            *self._grounds.dial(now),
            *self._meeting.ask(now),
        ]

    def _listening(self, addresses: tuple[str, ...], request: RequestId, now: Now) -> list[Effect]:
        moved, effects, announce = self._announcing.listening(addresses, now)
        if announce is not None:
            effects.append(self._grounds.order("announce", announce))
        return [*effects, Reply(request, None), *(self._wake(now) if moved else [])]

    # Probes

    def _on_probe(self, peer: PeerId, body: bytes, request: RequestId, now: Now) -> list[Effect]:
        try:
            probe = decode_probe(body)
        except DecodeError as error:
            effects = self._refusing.misconduct(peer, "body_malformed", now)
            return [Reply(request, Failure("body_malformed", error.message)), *effects]
        return [Reply(request, encode(probe))]

    def _on_probed(self, probing: Probing, body: Any, now: Now) -> list[Effect]:
        peer = probing.peer
        if peer not in self._known.up:
            return []
        address = self._known.address(peer)
        if not isinstance(body, Failure):
            rtt_us = max(0, now.mono_us - probing.since_us)
            self._world.heard_of(peer)
            self._known.probed(peer, rtt_us)
            return [*self._waiting.finish(peer, address, None, rtt_us), *self._meeting.ask(now)]
        self._known.trouble(peer, body)
        if body.code == "protocol_unsupported":  # another libp2p program: a connection all the same
            return [*self._waiting.finish(peer, address, None), *self._leave_alone(peer, now)]
        effects = self._waiting.finish(peer, address, body)
        if body.code == "network_mismatch":
            self._meeting.avoid(peer, now)
            for target in self._dialing.of_peer(peer):
                target.attempts = ATTEMPTS_HOPELESS
            effects.append(self._grounds.hang_up(peer, "it belongs to another network"))
        elif probing.vital and body.code == "timed_out":
            effects.append(self._grounds.hang_up(peer, "it does not answer any more"))
        return effects

    def _leave_alone(self, peer: PeerId, now: Now) -> list[Effect]:
        """A found peer turns out to be none of ours: unless somebody asked for it, let it be."""
        if not self._meeting.avoid(peer, now) or peer in self._wanted:
            return []
        return [self._grounds.hang_up(peer, "it speaks no dms3")]

    # Peers that nobody told of

    def _on_exchange(self, peer: PeerId, body: bytes, request: RequestId, now: Now) -> list[Effect]:
        try:
            return [Reply(request, self._meeting.answer(peer, body, now))]
        except Misbehaved as wrong:
            busy = wrong.code == "requests_excess"
            why = "Ask less often for peers." if busy else "This is no question for peers."
            retry = Retry.LATER if busy else Retry.NEVER
            code = "limit_reached" if busy else "body_malformed"
            effects = self._refusing.misconduct(peer, wrong.code, now)
            return [Reply(request, Failure(code, why, retry)), *effects]

    def _on_records(self, token: Token, body: Any, now: Now) -> list[Effect]:
        try:
            effects = self._meeting.learn(token, body, now)
        except Misbehaved as wrong:
            return self._refusing.misconduct(meeting.asked(token), wrong.code, now)
        return [*effects, *self._grounds.dial(now)]

    def _found(self, found: Found, request: RequestId, now: Now) -> list[Effect]:
        self._meeting.found(found, now)
        return [Reply(request, None), *self._grounds.dial(now)]

    # Answers and operations

    def _on_answered(self, token: Token, body: Any, now: Now) -> list[Effect]:
        probing = self._probes.ended(token)
        if probing is not None:
            return self._on_probed(probing, body, now)
        asked = self._waiting.get(token)
        if asked is not None:
            return self._commands.connected(token, asked, body)
        kind, _, rest = token.partition("/")
        if kind == meeting.TOKEN:
            return self._on_records(token, body, now)
        target = self._dialing.targets.get(rest) if kind == "dial" else None
        return [] if target is None else self._on_dialed(target, body, now)

    def _on_called(
        self, operation: str, arguments: Any, request: RequestId, now: Now
    ) -> list[Effect]:
        method = self._operations.get(operation)
        if method is None:
            why = f"The peer book has no {operation!r}."
            return [Reply(request, Failure("method_unknown", why))]
        try:
            return method(arguments, request, now)
        except Dms3Error as error:
            return [Reply(request, Failure.of(error))]


def _earliest(*instants: int | None) -> int | None:
    return min((instant for instant in instants if instant is not None), default=None)
