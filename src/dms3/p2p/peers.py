"""The peer book: whom this node knows, stays connected to, and refuses; a machine named "peers".

Source: docs/architecture.md, "Identity"; docs/wire.md, "/dms3/peer/1". Contacts and bootstrap
addresses are kept connected; misconduct adds up and gets a peer refused for a while. Connections
themselves are made by the io port "transport" (node/network.py).

Operations, as Call("peers.NAME", ARGUMENTS): connect(text) -> Dialed · disconnect(PeerId) -> None ·
ping(PeerId) -> round trip in microseconds · list() -> tuple[PeerRow] · conduct(Conducted) -> None ·
introduced(Introduced) -> None · contact_add(text of a card) -> Contact · contact_list() ->
tuple[Contact] · contact_find(text) -> Contact · contact_remove(text) -> Contact.
Topics: peer.up, peer.down, peer.refused, contact.added, contact.removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Root, Token
from dms3.core.limits import (
    BOOTSTRAP_ADDRESSES_MAX,
    CALLS_WAITING_MAX,
    PROBE_BYTES_MAX,
    PROBE_TIMEOUT_US,
    REFUSE_US,
    SECOND_US,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Effect,
    Entropy,
    Event,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Reply,
    Request,
    Requested,
    View,
    Withdrawn,
)
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.card import read_card
from dms3.p2p.contacts import TABLE as CONTACTS
from dms3.p2p.contacts import Contact, Contacts
from dms3.p2p.dialing import Dialing, Target, parse_place
from dms3.p2p.known import KnownPeers
from dms3.p2p.port import Conducted, Dialed, DialRequest, HangUp, Introduced, Refuse

PROTOCOL = "/dms3/peer/1"
MINORS = (0,)
NONCE_BYTES = 8
ATTEMPTS_HOPELESS = 16  # as after so many failures: the longest wait
STEADY_US = 30 * SECOND_US  # a connection that lasted this long counts as a good one


@dataclass(frozen=True, slots=True)
class Probe:
    """Question and answer of /dms3/peer/1: the answer repeats the question's `nonce`."""

    nonce: bytes


@dataclass(slots=True)
class _Asked:
    """A command that waits: for a dial, then for the probe of the peer."""

    request: RequestId
    peer: PeerId | None
    since_us: int
    ping: bool  # wants the round trip, not the connection


class PeerBook:
    """The machine. `own`: this node; `root`: its person; `bootstrap`: addresses to keep."""

    def __init__(self, own: PeerId, root: Root, bootstrap: Sequence[str], entropy: Entropy) -> None:
        assert len(bootstrap) <= BOOTSTRAP_ADDRESSES_MAX, "the configuration bounds these"
        self._own = own
        self._root = root
        self._bootstrap = tuple(bootstrap)
        self._entropy = entropy
        self._contacts = Contacts()
        self._known = KnownPeers()
        self._dialing = Dialing(entropy)
        self._waiting: dict[Token, _Asked] = {}
        self._probes: dict[Token, tuple[PeerId, int]] = {}
        self._count = 0
        self._operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "ping": self._ping,
            "list": self._list,
            "conduct": self._conduct,
            "introduced": self._introduced,
            "contact_add": self._contact_add,
            "contact_list": self._contact_list,
            "contact_find": self._contact_find,
            "contact_remove": self._contact_remove,
        }

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Load contacts and peers, refuse whom we refused, dial whom we keep."""
        self._contacts.load(view)
        effects = self._known.load(view)
        for known in self._known.refused(now.wall_us):
            left = known.refused_until_us - now.wall_us
            effects.append(self._call("refuse", Refuse(PeerId(known.peer), left)))
        for text in self._bootstrap:
            addresses, peer = parse_place(text)
            if addresses and peer != self._own:
                self._dialing.want(f"bootstrap/{text}", peer, addresses, now.mono_us)
        for contact in self._contacts.all():
            self._keep(contact, now)
        return effects + self._dial(now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """See the operations in the module docstring."""
        effects: list[Effect] = []
        match event:
            case Called(operation, arguments, request):
                effects = self._on_called(operation, arguments, request, now)
            case Answered(token, body):
                effects = self._on_answered(token, body, now)
            case Requested(peer, _, body, request):
                effects = self._on_probe(peer, body, request, now)
            case PeerUp(peer, address, inbound):
                effects = self._on_up(peer, address, inbound, now)
            case PeerDown(peer, reason):
                effects = self._on_down(peer, reason, now)
            case Withdrawn(request):
                effects = self._on_withdrawn(request)
        return effects

    def on_timer(self, now: Now) -> list[Effect]:
        """Dial what is due."""
        return self._dial(now)

    def next_timer(self) -> int | None:
        """When the next dial is due."""
        return self._dialing.timer

    # Connections

    def _dial(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for target in self._dialing.due(now.mono_us, self._known.up):
            addresses = target.addresses
            if target.peer is not None:
                if self._is_refused(target.peer, now):
                    self._dialing.ended(target, now.mono_us, good=False)
                    continue
                addresses = self._known.addresses(target.peer, addresses)
            request = DialRequest(addresses, target.expected)
            effects.append(Call("transport.dial", request, Token(f"dial/{target.key}")))
        return effects

    def _on_up(self, peer: PeerId, address: str, inbound: bool, now: Now) -> list[Effect]:
        contact = self._contacts.of_peer(peer)
        effects = self._known.on_up(peer, address, now, inbound=inbound, keep=self._important)
        for target in self._dialing.of_peer(peer):
            self._dialing.settled(target, peer)
        name = contact.name if contact is not None else None
        data = {"peer": peer_id_text(peer), "address": address, "name": name, "inbound": inbound}
        return [*effects, Notify("peer.up", data), *self._probe(peer, now)]

    def _on_down(self, peer: PeerId, reason: str, now: Now) -> list[Effect]:
        since = self._known.on_down(peer)
        steady = since is not None and now.mono_us - since >= STEADY_US
        for target in self._dialing.of_peer(peer):
            self._dialing.ended(target, now.mono_us, good=steady)
        gone = Failure("peer_unreachable", f"The connection has closed: {reason}.", Retry.LATER)
        effects: list[Effect] = self._finish(peer, gone)
        for token in [token for token, (probed, _) in self._probes.items() if probed == peer]:
            del self._probes[token]
            effects.append(Cancel(token))
        data = {"peer": peer_id_text(peer), "reason": reason}
        return [*effects, Notify("peer.down", data)]

    def _on_dialed(self, target: Target, body: Any, now: Now) -> list[Effect]:
        if not target.dialing:
            return []  # connected by other means in the meantime
        if isinstance(body, Dialed):
            self._dialing.settled(target, body.peer)
            if body.peer not in self._known.up:  # it has closed again before we heard
                self._dialing.ended(target, now.mono_us, good=False)
        else:
            self._dialing.ended(target, now.mono_us, good=False)
            if target.peer is not None:
                self._known.trouble(target.peer, body)
        return self._dial(now)

    # The probe: is there a dms3 of our network, and how far is it?

    def _probe(self, peer: PeerId, now: Now) -> list[Effect]:
        self._count += 1
        token = Token(f"probe/{self._count}")
        self._probes[token] = (peer, now.mono_us)
        body = encode(Probe(self._entropy.draw(NONCE_BYTES)))
        return [Request(peer, PROTOCOL, body, token, now.mono_us + PROBE_TIMEOUT_US)]

    def _on_probe(self, peer: PeerId, body: bytes, request: RequestId, now: Now) -> list[Effect]:
        try:
            probe = _decode_probe(body)
        except DecodeError as error:
            effects = self._misconduct(Conducted(peer, "body_malformed"), now)
            return [Reply(request, Failure("body_malformed", error.message)), *effects]
        return [Reply(request, encode(probe))]

    def _on_probed(self, peer: PeerId, since_us: int, body: Any, now: Now) -> list[Effect]:
        if peer not in self._known.up:
            return []
        if not isinstance(body, Failure):
            rtt_us = max(0, now.mono_us - since_us)
            self._known.probed(peer, rtt_us)
            return self._finish(peer, None, rtt_us)
        self._known.trouble(peer, body)
        if body.code == "protocol_unsupported":
            return self._finish(peer, None)  # another libp2p program: a connection all the same
        effects = self._finish(peer, body)
        if body.code == "network_mismatch":
            for target in self._dialing.of_peer(peer):
                target.attempts = ATTEMPTS_HOPELESS
            effects.append(self._call("hang_up", HangUp(peer, "it belongs to another network")))
        return effects

    def _finish(self, peer: PeerId, failure: Failure | None, rtt_us: int = 0) -> list[Effect]:
        """Answer the commands that wait for `peer`."""
        effects: list[Effect] = []
        for token, asked in list(self._waiting.items()):
            if asked.peer == peer:
                del self._waiting[token]
                answer: Any = failure
                if failure is None:
                    address = self._known.address(peer)
                    answer = rtt_us if asked.ping else Dialed(peer, address)
                effects.append(Reply(asked.request, answer))
        return effects

    # Answers and commands

    def _on_answered(self, token: Token, body: Any, now: Now) -> list[Effect]:
        if token in self._probes:
            peer, since_us = self._probes.pop(token)
            return self._on_probed(peer, since_us, body, now)
        asked = self._waiting.get(token)
        if asked is not None:
            return self._on_connected(token, asked, body)
        target = self._dialing.targets.get(token.removeprefix("dial/"))
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

    def _on_withdrawn(self, request: RequestId) -> list[Effect]:
        for token, asked in list(self._waiting.items()):
            if asked.request == request:
                del self._waiting[token]
                return [Cancel(token)] if asked.peer is None else []
        return []

    def _wait(self, request: RequestId, peer: PeerId | None, now: Now, *, ping: bool) -> Token:
        if len(self._waiting) >= CALLS_WAITING_MAX:
            raise Dms3Error("limit_reached", "Too many commands wait for peers.")
        self._count += 1
        token = Token(f"wait/{self._count}")
        self._waiting[token] = _Asked(request, peer, now.mono_us, ping)
        return token

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
                return [Reply(request, Dialed(peer, self._known.address(peer)))]
        token = self._wait(request, None, now, ping=False)
        return [Call("transport.dial", dial, token)]

    def _on_connected(self, token: Token, asked: _Asked, body: Any) -> list[Effect]:
        """The dial of a command has ended; a connection is reported when it is probed."""
        if not isinstance(body, Dialed):
            del self._waiting[token]
            return [Reply(asked.request, body)]
        asked.peer = body.peer
        if body.peer in self._known.up:
            if not self._known.is_probed(body.peer):
                return []  # its probe is under way
            trouble = self._known.problem(body.peer)
            differs = trouble is not None and trouble.code == "network_mismatch"
            return self._finish(body.peer, trouble if differs else None)
        del self._waiting[token]
        gone = Failure("peer_unreachable", "The peer closed the connection.", Retry.LATER)
        return [Reply(asked.request, self._known.problem(body.peer) or gone)]

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
        hang_up = self._call("hang_up", HangUp(peer, "disconnected by command"))
        return [hang_up, Reply(request, None)]

    def _ping(self, peer: PeerId, request: RequestId, now: Now) -> list[Effect]:
        if peer not in self._known.up:
            why = f"Peer {peer_id_text(peer)} is not connected."
            raise Dms3Error("peer_unreachable", why, hint="Connect first: dms3 peer connect.")
        self._wait(request, peer, now, ping=True)
        return self._probe(peer, now)

    def _list(self, _arguments: Any, request: RequestId, now: Now) -> list[Effect]:
        return [Reply(request, self._known.rows(now, self._contacts.of_peer))]

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

    def _introduced(self, introduced: Introduced, request: RequestId, _now: Now) -> list[Effect]:
        effects = self._known.introduced(introduced.peer, introduced.addresses)
        return [*effects, Reply(request, None)]

    # Contacts

    def _contact_add(self, text: str, request: RequestId, now: Now) -> list[Effect]:
        card = read_card(text, now.wall_us)
        if card.root == self._root:
            raise Dms3Error("card_invalid", "This is your own card.")
        contact, before, effects = self._contacts.add(card, now.wall_us)
        if before is not None and before.peer != contact.peer:
            self._dialing.unwant(_key(before))
        self._keep(contact, now)
        data = {"name": contact.name, "root": contact.root.hex(), "new": before is None}
        notify = Notify("contact.added", data)
        return [*effects, notify, Reply(request, contact), *self._dial(now)]

    def _contact_list(self, _arguments: Any, request: RequestId, _now: Now) -> list[Effect]:
        return [Reply(request, tuple(self._contacts.all()))]

    def _contact_find(self, text: str, request: RequestId, _now: Now) -> list[Effect]:
        return [Reply(request, self._contacts.find(text))]

    def _contact_remove(self, text: str, request: RequestId, _now: Now) -> list[Effect]:
        contact = self._contacts.find(text)
        self._contacts.remove(contact)
        self._dialing.unwant(_key(contact))
        data = {"name": contact.name, "root": contact.root.hex()}
        gone = Delete(CONTACTS, contact.root)
        return [gone, Notify("contact.removed", data), Reply(request, contact)]

    def _keep(self, contact: Contact, now: Now) -> None:
        peer = PeerId(contact.peer)
        if peer != self._own:
            self._dialing.want(_key(contact), peer, contact.addresses, now.mono_us)

    def _important(self, peer: PeerId) -> bool:
        """Whether the row of `peer` may not be evicted."""
        return self._contacts.of_peer(peer) is not None or bool(self._dialing.of_peer(peer))

    def _call(self, operation: str, arguments: Any) -> Call:
        self._count += 1
        return Call(f"transport.{operation}", arguments, Token(f"{operation}/{self._count}"))


def _decode_probe(body: bytes) -> Probe:
    if len(body) > PROBE_BYTES_MAX:
        raise DecodeError(PROBE_BYTES_MAX, "too long for a probe")
    return decode(Probe, body)


def _key(contact: Contact) -> str:
    return f"contact/{contact.root.hex()}"


def _refused(peer: PeerId) -> Dms3Error:
    return Dms3Error(
        "peer_refused",
        f"Peer {peer_id_text(peer)} misbehaved and is refused for a while.",
        retry=Retry.LATER,
    )
