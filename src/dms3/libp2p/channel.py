"""From an open byte stream to a secured one: multistream, Noise, agreement on the multiplexer.

Source: libp2p connections specification, "Upgrading connections", and inlined muxer negotiation.
Only /noise and /yamux/1.0.0 are offered and accepted; plain text never is.
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.core.machine import Entropy
from dms3.libp2p import multistream, noise, yamux
from dms3.libp2p.peer_id import NodeKey, peer_id_text


class Channel:
    """One secured byte stream; `peer` is known and `established` true after the handshake.

    `deliver` is called with each piece of plain text for the multiplexer, in order.
    """

    def __init__(
        self,
        *,
        key: NodeKey,
        dialer: bool,
        expected_peer: PeerId | None,
        entropy: Entropy,
        deliver: Callable[[bytes], None],
    ) -> None:
        self._deliver = deliver
        self._own = key.peer_id
        self._expected = expected_peer
        self._dialer = dialer
        self._securing = noise.Securing(
            dialer=dialer,
            key=key,
            entropy=entropy,
            muxers=(yamux.PROTOCOL,),
            admit=self._admit,
        )
        self._negotiation = _negotiation(noise.PROTOCOL, dialer=dialer)
        self._clear = True  # /noise is not agreed yet
        self._frames = noise.Frames()
        self._session: noise.Session | None = None
        self._received = 0
        self._out: list[bytes] = []
        self.established = False
        if isinstance(self._negotiation, multistream.Dialer):
            # The only proposal: Noise may follow at once, which saves a round trip.
            self._out += (self._negotiation.first_flight, self._securing.first())

    @property
    def peer(self) -> PeerId | None:
        """Who is on the other side, once proven."""
        return self._securing.peer

    def receive(self, data: bytes) -> None:
        """Take bytes of the socket and deliver what they hold for the multiplexer.

        Raises DecodeError, `protocol_unsupported`, `peer_unreachable` (another peer than the
        expected one) or `peer_refused` to end the connection.
        """
        if not self.established:
            self._received += len(data)
            if self._received > limits.HANDSHAKE_BYTES_MAX:
                raise Dms3Error("peer_misbehaved", "the peer's handshake has no end")
            if self._clear:
                data = self._agree_on_noise(data)
        if data:
            self._frames.receive(data, self._on_message)

    def seal(self, plain: bytes) -> list[bytes]:
        """Pieces that carry `plain` to the peer; only once established."""
        assert self._session is not None, "nothing is sent before the handshake"
        return self._session.seal(plain)

    def take(self) -> list[bytes]:
        """Handshake bytes to send."""
        out, self._out = self._out, []
        return out

    def _agree_on_noise(self, data: bytes) -> bytes:
        reply, rest = self._negotiation.receive(data)
        if reply:
            self._out.append(reply)
        self._clear = self._negotiation.protocol is None
        return rest

    def _on_message(self, message: memoryview) -> None:
        if self._session is None:
            self._on_handshake(bytes(message))
            return
        plain = self._session.open(message)
        if not self.established:
            plain = self._agree_on_muxer(plain)
        if plain:
            self._deliver(plain)

    def _on_handshake(self, message: bytes) -> None:
        securing = self._securing
        reply = securing.receive(message)
        if reply:
            self._out.append(reply)
        if securing.session is None:
            return
        self._session = securing.session
        early = securing.muxers and securing.remote_muxers  # early agreement needs both lists
        if early and yamux.PROTOCOL in securing.remote_muxers:
            self.established = True
        elif early:
            raise Dms3Error("protocol_unsupported", "the peer does not speak /yamux/1.0.0")
        else:
            self._negotiation = _negotiation(yamux.PROTOCOL, dialer=self._dialer)
            if isinstance(self._negotiation, multistream.Dialer):
                self._out += self._session.seal(self._negotiation.first_flight)

    def _agree_on_muxer(self, plain: bytes) -> bytes:
        reply, rest = self._negotiation.receive(plain)
        if reply:
            self._out += self.seal(reply)
        self.established = self._negotiation.protocol is not None
        return rest

    def _admit(self, peer: PeerId) -> None:
        if peer == self._own:
            raise Dms3Error("peer_refused", "that address is this node's own")
        if self._expected is not None and peer != self._expected:
            wanted, found = peer_id_text(self._expected), peer_id_text(peer)
            raise Dms3Error("peer_unreachable", f"{found} answers at the address of {wanted}")


def _negotiation(protocol: str, *, dialer: bool) -> multistream.Dialer | multistream.Listener:
    if dialer:
        return multistream.Dialer([protocol])
    return multistream.Listener(lambda name: name == protocol, skip=False)
