"""A peer book that lies about how much of the time others are there.

Source: docs/attacks.md, "Somebody in an app's overlay" (lies about how much of the time others are
there). A mask before the production machine; what it says, every real node could say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dms3.core.codec import decode, encode
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import HEARSAY_WORDS_MAX
from dms3.core.machine import Called, Effect, Event, Now, PeerUp, Reply, Requested, View
from dms3.p2p import exchange
from dms3.p2p.exchange import Records
from dms3.p2p.hearsay import Word
from dms3.p2p.known import PUBLIC_PROTOCOL
from dms3.p2p.peers import PeerBook
from dms3.p2p.port import Introduced
from dms3.p2p.uptime import WHOLE

_NOBODY = RequestId(0)


class Book:
    """Stands before a peer book: tells it what connected nodes speak, and lies if it has `friends`.

    `told`: how many words were lies.
    """

    def __init__(self, book: PeerBook, friends: Sequence[PeerId]) -> None:
        self._book = book
        self._friends = friends
        self._asked: dict[RequestId, int] = {}
        self.told = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the peer book."""
        return self._book.on_start(view, now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As the peer book, but for its words."""
        effects = self._book.on_event(event, now)
        if isinstance(event, PeerUp):
            said = Introduced(event.peer, (), (PUBLIC_PROTOCOL,))
            effects = effects + self._book.on_event(Called("introduced", said, _NOBODY), now)
        if not (self._friends and isinstance(event, Requested)):
            return effects
        if event.protocol != exchange.PROTOCOL or not exchange.decode_ask(event.body).words:
            return effects
        return [self._lied(each) for each in effects]

    def on_timer(self, now: Now) -> list[Effect]:
        """As the peer book."""
        return self._book.on_timer(now)

    def next_timer(self) -> int | None:
        """As the peer book."""
        return self._book.next_timer()

    def _lied(self, effect: Effect) -> Effect:
        """The answer with words on all friends, and others on all else."""
        if not (isinstance(effect, Reply) and isinstance(effect.body, bytes)):
            return effect
        answer = decode(Records, effect.body)
        praise = [Word(peer, WHOLE, WHOLE) for peer in self._friends]
        blame = [Word(word.peer, 0, WHOLE) for word in answer.words]
        others = [word for word in blame if word.peer not in self._friends]
        words = tuple([*praise, *others][:HEARSAY_WORDS_MAX])
        self.told += len(words)
        return Reply(effect.request, encode(replace(answer, words=words)))
