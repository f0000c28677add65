"""What a person asks of the peer book: connections to peers, and their contacts.

Source: docs/architecture.md, "Identity" and "How nodes meet". Whoever waits for a peer is answered
when that is probed (`p2p/waiting.py`). Part of machine "peers", which lists the operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.machine import Call, Effect, Now, Reply
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.dialing import parse_place
from dms3.p2p.grounds import Grounds
from dms3.p2p.port import Dialed, DialRequest
from dms3.p2p.waiting import Asked


class Commands:
    """The operations of people. What a connection is good for is not looked at here."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._known = grounds.known
        self._dialing = grounds.dialing
        self._wanted = grounds.wanted
        self._waiting = grounds.waiting
        self.operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "ping": self._ping,
            "list": self._list,
            "contact_add": self._contact_add,
            "contact_list": self._contact_list,
            "contact_find": self._contact_find,
            "contact_remove": self._contact_remove,
        }

    def _connect(self, text: str, request: RequestId, now: Now) -> list[Effect]:
        """`text`: a multiaddr with or without /p2p/, or the id of a known peer."""
        dial = self._dial_request(text)
        peer = dial.peer
        if peer == self._grounds.own:
            raise Dms3Error("argument_invalid", "This is the node's own address.")
        if peer is not None:
            if self._known.is_refused(peer, now.wall_us):
                raise _refused(peer)
            for target in self._dialing.of_peer(peer):
                target.paused = False
            if peer in self._known.up:
                self._wanted.ask_for(peer)
                return [Reply(request, Dialed(peer, self._known.address(peer)))]
        token = self._waiting.add(request, None, ping=False)
        return [Call("transport.dial", dial, token)]

    def connected(self, token: Token, asked: Asked, body: Any) -> list[Effect]:
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
        return [self._grounds.hang_up(peer, "disconnected by command"), Reply(request, None)]

    def _ping(self, peer: PeerId, request: RequestId, now: Now) -> list[Effect]:
        if peer not in self._known.up:
            why = f"Peer {peer_id_text(peer)} is not connected."
            raise Dms3Error("peer_unreachable", why, hint="Connect first: dms3 peer connect.")
        self._waiting.add(request, peer, ping=True)
        return [self._grounds.probes.ask(peer, now)]

    def _list(self, _arguments: Any, request: RequestId, now: Now) -> list[Effect]:
        return [Reply(request, self._grounds.rows(now))]

    # Contacts

    def _contact_add(self, text: str, request: RequestId, now: Now) -> list[Effect]:
        contact, effects = self._wanted.add(text, now)
        return [*effects, Reply(request, contact), *self._grounds.dial(now)]

    def _contact_list(self, _arguments: Any, request: RequestId, _now: Now) -> list[Effect]:
        return [Reply(request, tuple(self._wanted.contacts.all()))]

    def _contact_find(self, text: str, request: RequestId, _now: Now) -> list[Effect]:
        return [Reply(request, self._wanted.contacts.find(text))]

    def _contact_remove(self, text: str, request: RequestId, _now: Now) -> list[Effect]:
        contact, effects = self._wanted.remove(text)
        return [*effects, Reply(request, contact)]


def _refused(peer: PeerId) -> Dms3Error:
    return Dms3Error(
        "peer_refused",
        f"Peer {peer_id_text(peer)} misbehaved and is refused for a while.",
        retry=Retry.LATER,
    )
