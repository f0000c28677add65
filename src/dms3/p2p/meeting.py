"""How a node meets peers that nobody told it of: found on the LAN, or named by other peers.

Source: docs/architecture.md, "How nodes meet"; docs/wire.md, "/dms3/exchange/1". Joins the known
peers, the exchange and the finds for `p2p/peers.py`. Whom to connect to is decided here, whether
the connection is any good by the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import PeerId, Token
from dms3.core.limits import EXCHANGE_TIMEOUT_US, HEARSAY_US, HEARSAY_WORDS_MAX
from dms3.core.machine import Effect, Entropy, Now, Request
from dms3.libp2p.peer_record import ForgedRecordError
from dms3.p2p import exchange
from dms3.p2p.conduct import Misbehaved
from dms3.p2p.dialing import Dialing, Target
from dms3.p2p.exchange import Exchange
from dms3.p2p.finds import EXCHANGE, LAN, Finds
from dms3.p2p.known import KnownPeers
from dms3.p2p.port import Found, Partners
from dms3.p2p.reach import others_word
from dms3.p2p.world import World

PROTOCOL, MINORS = exchange.PROTOCOL, exchange.MINORS
_JITTER_PARTS = 0xFFFF
TOKEN = "exchange"  # noqa: S105  # the first part of a Token, no secret


class Meeting:
    """The state. `own`: this node; `world`: what it thinks of peers; `public`: whether it asks."""

    def __init__(
        self,
        own: PeerId,
        known: KnownPeers,
        world: World,
        dialing: Dialing,
        entropy: Entropy,
        *,
        public: bool,
    ) -> None:
        self._own = own
        self._known = known
        self._world = world
        self._finds = Finds(dialing)
        self._exchange = Exchange()
        self._entropy = entropy
        self._public = public
        self._hear_us: int | None = None  # when to ask for words again
        self._count = 0

    @property
    def timer(self) -> int | None:
        """When the next question is due."""
        both = (self._exchange.timer, self._hear_us)
        return min((us for us in both if us is not None), default=None)

    def ask(self, now: Now) -> list[Effect]:
        """Questions for peers, as long as there are too few; and now and then for what is heard."""
        if not self._public:
            return []
        effects: list[Effect] = []
        ours = self._known.ours()
        for peer, body in (*self._exchange.due(ours, now.mono_us), *self._hear(ours, now)):
            self._count += 1
            token = Token(f"{TOKEN}/{self._count}/{peer.hex()}")
            deadline_us = now.mono_us + EXCHANGE_TIMEOUT_US
            effects.append(Request(peer, exchange.PROTOCOL, body, token, deadline_us))
        return effects

    def _hear(self, ours: Sequence[PeerId], now: Now) -> list[tuple[PeerId, bytes]]:
        """Whom to ask for words, and what: one partner, drawn as the world model says."""
        able = self._exchange.able(ours)
        if not able:
            self._hear_us = None
            return []
        begins = self._hear_us is None
        if self._hear_us is not None and now.mono_us < self._hear_us:
            return []
        drawn = int.from_bytes(self._entropy.draw(2), "big")
        self._hear_us = now.mono_us + HEARSAY_US // 2 + HEARSAY_US * drawn // _JITTER_PARTS
        if begins:
            return []  # peers that have just come know nothing new
        question = encode(exchange.Ask(1, HEARSAY_WORDS_MAX))
        return [
            (peer, question) for peer in self._world.draw(Partners(tuple(able), "pull", 1), now)
        ]

    def answer(self, peer: PeerId, body: bytes, now: Now) -> bytes:
        """What to tell `peer`; raises Misbehaved for too many questions and for what is none."""
        if not self._exchange.admit(peer, now.mono_us):
            raise Misbehaved("requests_excess")
        try:
            ask = exchange.decode_ask(body)
        except DecodeError:
            raise Misbehaved("body_malformed") from None
        near = self._known.reach(peer)
        shared = self._known.shared(peer)
        records = exchange.choose(shared, ask.count, near, self._entropy)
        words = self._world.words(peer, ask.words, now)
        return encode(exchange.Records(records, words))

    def learn(self, token: Token, body: Any, now: Now) -> list[Effect]:
        """The answer of a peer: others are dialled as far as it could do so itself.

        Raises Misbehaved for records that are not what their peers have signed.
        """
        peer = asked(token)
        if isinstance(body, Failure):
            if body.code == "protocol_unsupported":
                self._exchange.unable(peer)
            return []
        try:
            told = exchange.decode_records(body)
        except ForgedRecordError:
            raise Misbehaved("record_forged") from None
        except DecodeError:
            raise Misbehaved("body_malformed") from None
        near = self._known.reach(peer)
        for record in told.records:
            self._offer(record.peer, others_word(record.addresses, near), EXCHANGE, now)
        return self._world.told(peer, told.words, now)

    def found(self, found: Found, now: Now) -> None:
        """Somebody answered on the LAN; raises `argument_invalid` for another way to find."""
        if found.how != LAN:
            raise Dms3Error("argument_invalid", f"{found.how!r} is no way to find a peer.")
        self._offer(found.peer, found.addresses, LAN, now)

    def settled(self, target: Target, peer: PeerId) -> list[Effect]:
        """A target is connected; `peer` is who it is."""
        if not target.found:
            return []
        self._finds.up(target)
        return self._known.found(peer, target.how)

    def failed(self, target: Target, now: Now) -> None:
        """A dial of `target`, or its connection, has ended."""
        self._finds.failed(target, now.mono_us)

    def avoid(self, peer: PeerId, now: Now) -> bool:
        """A peer turns out to be none of ours; whether it is here only because it was found."""
        self._finds.avoid(peer, now.mono_us)
        return self._known.how(peer) in (LAN, EXCHANGE)

    def gone(self, peer: PeerId) -> None:
        """The connection has closed."""
        self._exchange.gone(peer)

    def wake(self) -> None:
        """Another network perhaps: those that rested may be tried again."""
        self._finds.wake()

    def _offer(self, peer: PeerId, addresses: tuple[str, ...], how: str, now: Now) -> None:
        """One of the LAN that has come by itself is wanted all the same, for when it goes."""
        enough = peer in self._known.up and (how != LAN or self._known.problem(peer) is not None)
        if peer != self._own and not enough and not self._known.is_refused(peer, now.wall_us):
            self._finds.offer(peer, addresses, how, now.mono_us)


def asked(token: Token) -> PeerId:
    """The peer that the question with `token` went to."""
    return PeerId(bytes.fromhex(token.rpartition("/")[2]))
