"""The peer book: whom this node knows, stays connected to, and refuses; a machine named "peers".

Source: docs/architecture.md, "Identity" and "How nodes meet"; docs/wire.md, "/dms3/peer/1" and
"/dms3/exchange/1". Contacts and bootstrap addresses are kept connected, found peers are tried;
misconduct adds up and gets a peer refused for a while. Connections themselves are made by the io
port "transport" (node/network.py).

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
from dms3.core.limits import (
    BOOTSTRAP_ADDRESSES_MAX,
    CONNECTIONS_UNNEEDED_MAX,
    REFUSE_US,
    SECOND_US,
    WAKE_PAUSE_US,
)
from dms3.core.machine import (
    Answered,
    Call,
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
from dms3.libp2p.peer_record import ForgedRecordError
from dms3.p2p import meeting
from dms3.p2p.announcing import Announcing
from dms3.p2p.conduct import Misbehaved
from dms3.p2p.dialing import Dialing, Target, parse_place
from dms3.p2p.known import KnownPeers, PeerRow
from dms3.p2p.port import (
    Conducted,
    Dialed,
    DialRequest,
    Found,
    HangUp,
    Introduced,
    Keep,
    Refuse,
)
from dms3.p2p.probing import MINORS, PROTOCOL, Probes, Probing, decode_probe
from dms3.p2p.waiting import Asked, Waiting
from dms3.p2p.wanted import Wanted
from dms3.p2p.world import World

__all__ = ["MINORS", "PROTOCOL", "PeerBook"]

ATTEMPTS_HOPELESS = 16  # as after so many failures: the longest wait
_ABSENT = ("timed_out", "peer_unreachable")  # of a dial: nobody there, as far as we can tell
STEADY_US = 30 * SECOND_US  # a connection that lasted this long counts as a good one


class PeerBook:
    """The machine. `own`: this node; `root`: its person; `bootstrap`: addresses to keep.

    `public`: whether the node takes part in what is public, and so asks peers for more peers.
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
        self._own = own
        self._known = KnownPeers()
        self._dialing = Dialing(entropy)
        self._wanted = Wanted(own, root, bootstrap, self._dialing)
        self._announcing = Announcing()
        self._waiting = Waiting()
        self._probes = Probes(entropy)
        self._world = World(own, self._known, self._probes, entropy, self._rows)
        self._meeting = meeting.Meeting(
            own, self._known, self._world, self._dialing, entropy, public=public
        )
        self._leaving: set[PeerId] = set()  # told to go, to make room
        self._woken_us: int | None = None
        self._wake_us: int | None = None  # a wake that waits
        self._count = 0
        self._operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "release": self._release,
            "ping": self._ping,
            "list": self._list,
            "conduct": self._conduct,
            "introduced": self._introduced,
            "found": self._found,
            "listening": self._listening,
            "contact_add": self._contact_add,
            "contact_list": self._contact_list,
            "contact_find": self._contact_find,
            "contact_remove": self._contact_remove,
            **self._world.operations,
        }

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Load contacts and peers, refuse whom we refused, dial whom we keep."""
        self._wanted.load(view, now)
        self._announcing.load(view)
        effects = [*self._known.load(view), *self._world.load(view, now)]
        for known in self._known.refused(now.wall_us):
            left = known.refused_until_us - now.wall_us
            effects.append(self._call("refuse", Refuse(PeerId(known.peer), left)))
        return [*effects, *self._tell_wanted(), *self._dial(now)]

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
        return [*effects, *self._tell_wanted()]

    def on_timer(self, now: Now) -> list[Effect]:
        """Dial what is due, ask for peers, look after a sleep."""
        if self._wake_us is not None and now.mono_us >= self._wake_us:
            return self._wake(now)
        return [*self._world.judge(now), *self._dial(now), *self._meeting.ask(now)]

    def next_timer(self) -> int | None:
        """When the next dial or question is due."""
        return _earliest(self._dialing.timer, self._meeting.timer, self._world.timer, self._wake_us)

    # Connections

    def _dial(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for target in self._dialing.due(now.mono_us, self._known.up):
            addresses = target.addresses
            if target.peer is not None:
                if self._is_refused(target.peer, now):
                    self._dialing.ended(target, now.mono_us, good=False)
                    continue
                addresses = (*self._known.addresses(target.peer, addresses), *target.hints)
            request = DialRequest(tuple(dict.fromkeys(addresses)), target.expected)
            effects.append(Call("transport.dial", request, Token(f"dial/{target.key}")))
        return effects

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
        return [*effects, Notify("peer.up", data), self._probes.ask(peer, now), *self._make_room()]

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
        self._leaving.discard(peer)
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
        return [*effects, *self._dial(now)]

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
        return [self._call("wake", None), *probes, *self._dial(now), *self._meeting.ask(now)]

    def _listening(self, addresses: tuple[str, ...], request: RequestId, now: Now) -> list[Effect]:
        moved, effects, announce = self._announcing.listening(addresses, now)
        if announce is not None:
            effects.append(self._call("announce", announce))
        return [*effects, Reply(request, None), *(self._wake(now) if moved else [])]

    # Probes

    def _on_probe(self, peer: PeerId, body: bytes, request: RequestId, now: Now) -> list[Effect]:
        try:
            probe = decode_probe(body)
        except DecodeError as error:
            effects = self._misconduct(Conducted(peer, "body_malformed"), now)
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
            effects.append(self._hang_up(peer, "it belongs to another network"))
        elif probing.vital and body.code == "timed_out":
            effects.append(self._hang_up(peer, "it does not answer any more"))
        return effects

    def _leave_alone(self, peer: PeerId, now: Now) -> list[Effect]:
        """A found peer turns out to be none of ours: unless somebody asked for it, let it be."""
        if not self._meeting.avoid(peer, now) or peer in self._wanted:
            return []
        return [self._hang_up(peer, "it speaks no dms3")]

    # Peers that nobody told of

    def _on_exchange(self, peer: PeerId, body: bytes, request: RequestId, now: Now) -> list[Effect]:
        try:
            return [Reply(request, self._meeting.answer(peer, body, now))]
        except Misbehaved as wrong:
            busy = wrong.code == "requests_excess"
            why = "Ask less often for peers." if busy else "This is no question for peers."
            retry = Retry.LATER if busy else Retry.NEVER
            code = "limit_reached" if busy else "body_malformed"
            effects = self._misconduct(Conducted(peer, wrong.code), now)
            return [Reply(request, Failure(code, why, retry)), *effects]

    def _on_records(self, token: Token, body: Any, now: Now) -> list[Effect]:
        try:
            effects = self._meeting.learn(token, body, now)
        except Misbehaved as wrong:
            return self._misconduct(Conducted(meeting.asked(token), wrong.code), now)
        return [*effects, *self._dial(now)]

    def _found(self, found: Found, request: RequestId, now: Now) -> list[Effect]:
        self._meeting.found(found, now)
        return [Reply(request, None), *self._dial(now)]

    # Room

    def _make_room(self) -> list[Effect]:
        """Beyond the bound, the least useful connection that nobody asked for is closed."""
        if len(self._known.up) <= CONNECTIONS_UNNEEDED_MAX:
            return []
        needed = self._wanted.peers() | self._leaving
        spare = [peer for peer in self._known.up if peer not in needed]
        if len(spare) <= CONNECTIONS_UNNEEDED_MAX:
            return []
        victim = min(spare, key=lambda peer: (self._known.usefulness(peer), peer))
        self._leaving.add(victim)
        return [self._call("make_room", HangUp(victim, "this node has connections enough"))]

    def _release(self, peer: PeerId, request: RequestId, _now: Now) -> list[Effect]:
        """Another part of the node dialled `peer` and needs it no more."""
        keep = peer not in self._known.up or self._known.is_inbound(peer) or peer in self._wanted
        done = Reply(request, None)
        if keep:
            return [done]
        return [done, self._call("release", HangUp(peer, "it is not needed any more"))]

    def _tell_wanted(self) -> list[Effect]:
        """The transport lets those in whatever the crowd; it hears of every change."""
        news = self._wanted.news()
        return [] if news is None else [self._call("keep", Keep(news))]

    # Answers and commands

    def _on_answered(self, token: Token, body: Any, now: Now) -> list[Effect]:
        probing = self._probes.ended(token)
        if probing is not None:
            return self._on_probed(probing, body, now)
        asked = self._waiting.get(token)
        if asked is not None:
            return self._on_connected(token, asked, body)
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

    def _connect(self, text: str, request: RequestId, now: Now) -> list[Effect]:
        """`text`: a multiaddr with or without /p2p/, or the id of a known peer."""
        dial = self._dial_request(text)
        peer = dial.peer
        if peer == self._own:
            raise Dms3Error("argument_invalid", "This is the node's own address.")
        if peer is not None:
            if self._is_refused(peer, now):
                raise _refused(peer)
            for target in self._dialing.of_peer(peer):
                target.paused = False
            if peer in self._known.up:
                self._wanted.ask_for(peer)
                return [Reply(request, Dialed(peer, self._known.address(peer)))]
        token = self._waiting.add(request, None, ping=False)
        return [Call("transport.dial", dial, token)]

    def _on_connected(self, token: Token, asked: Asked, body: Any) -> list[Effect]:
        """The dial of a command has ended; a connection is reported when it is probed."""
        if not isinstance(body, Dialed):
            return [self._waiting.end(token, body)]
        peer = asked.peer = body.peer
        if peer in self._known.up:
            self._wanted.ask_for(peer)
            effects = self._known.found(peer, "person")
            if not self._known.is_probed(peer):
                return effects  # its probe is under way
            trouble = self._known.problem(peer)
            differs = trouble is not None and trouble.code == "network_mismatch"
            failure = trouble if differs else None
            return [*effects, *self._waiting.finish(peer, self._known.address(peer), failure)]
        gone = Failure("peer_unreachable", "The peer closed the connection.", Retry.LATER)
        return [self._waiting.end(token, self._known.problem(peer) or gone)]

    def _dial_request(self, text: str) -> DialRequest:
        addresses, peer = parse_place(text)
        if not addresses and peer is not None:
            addresses = self._known.addresses(peer, ())
        if not addresses:
            why = f"No address of peer {text} is known."
            raise Dms3Error("not_found", why, hint="Give its address: /ip4/.../tcp/...")
        return DialRequest(addresses, peer)

    def _disconnect(self, peer: PeerId, request: RequestId, _now: Now) -> list[Effect]:
        for target in self._dialing.of_peer(peer):
            self._dialing.pause(target)
        return [self._hang_up(peer, "disconnected by command"), Reply(request, None)]

    def _ping(self, peer: PeerId, request: RequestId, now: Now) -> list[Effect]:
        if peer not in self._known.up:
            why = f"Peer {peer_id_text(peer)} is not connected."
            raise Dms3Error("peer_unreachable", why, hint="Connect first: dms3 peer connect.")
        self._waiting.add(request, peer, ping=True)
        return [self._probes.ask(peer, now)]

    def _list(self, _arguments: Any, request: RequestId, now: Now) -> list[Effect]:
        return [Reply(request, self._rows(now))]

    def _rows(self, now: Now) -> tuple[PeerRow, ...]:
        return self._known.rows(now, self._wanted.contacts.of_peer, self._dialing.ways())

    # Conduct

    def _conduct(self, conducted: Conducted, request: RequestId, now: Now) -> list[Effect]:
        return [*self._misconduct(conducted, now), Reply(request, None)]

    def _misconduct(self, conducted: Conducted, now: Now) -> list[Effect]:
        peer = conducted.peer
        if not self._known.misconduct(peer, conducted.code, now):
            return []
        effects = self._known.refuse(peer, now.wall_us + REFUSE_US)
        data = {"peer": peer_id_text(peer), "code": conducted.code}
        refuse = self._call("refuse", Refuse(peer, REFUSE_US))
        return [*effects, refuse, Notify("peer.refused", data)]

    def _is_refused(self, peer: PeerId, now: Now) -> bool:
        return self._known.is_refused(peer, now.wall_us)

    def _introduced(self, introduced: Introduced, request: RequestId, now: Now) -> list[Effect]:
        try:
            effects = self._known.introduced(introduced)
        except ForgedRecordError:
            effects = self._misconduct(Conducted(introduced.peer, "record_forged"), now)
        except DecodeError:
            effects = []  # a record of a kind that we do not know
        return [*effects, Reply(request, None)]

    # Contacts

    def _contact_add(self, text: str, request: RequestId, now: Now) -> list[Effect]:
        contact, effects = self._wanted.add(text, now)
        return [*effects, Reply(request, contact), *self._dial(now)]

    def _contact_list(self, _arguments: Any, request: RequestId, _now: Now) -> list[Effect]:
        return [Reply(request, tuple(self._wanted.contacts.all()))]

    def _contact_find(self, text: str, request: RequestId, _now: Now) -> list[Effect]:
        return [Reply(request, self._wanted.contacts.find(text))]

    def _contact_remove(self, text: str, request: RequestId, _now: Now) -> list[Effect]:
        contact, effects = self._wanted.remove(text)
        return [*effects, Reply(request, contact)]

    def _call(self, operation: str, arguments: Any) -> Call:
        self._count += 1
        return Call(f"transport.{operation}", arguments, Token(f"{operation}/{self._count}"))

    def _hang_up(self, peer: PeerId, reason: str) -> Call:
        return self._call("hang_up", HangUp(peer, reason))


def _refused(peer: PeerId) -> Dms3Error:
    return Dms3Error(
        "peer_refused",
        f"Peer {peer_id_text(peer)} misbehaved and is refused for a while.",
        retry=Retry.LATER,
    )


def _earliest(*instants: int | None) -> int | None:
    return min((instant for instant in instants if instant is not None), default=None)
