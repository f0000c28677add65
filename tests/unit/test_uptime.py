"""How much of the time a peer is there, as the peer book has seen it."""

from dms3.core.ids import PeerId, RequestId, Root
from dms3.core.limits import (
    ABSENCE_BACK_US_MAX,
    ABSENCE_US_MAX,
    FAULT_WAIT_US,
    SECOND_US,
    UPTIME_HALF_US,
)
from dms3.core.machine import Answered, Called, Now, PeerDown, PeerUp, Persist, Reply, Request
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.peers import PeerBook
from dms3.p2p.uptime import missed, seen, share

OWN, PEER, OTHER = (NodeKey(bytes([n]) * 32).peer_id for n in (1, 2, 3))
WALL = 1_800_000_000 * SECOND_US
HOUR = 3_600 * SECOND_US


class Zeros:
    def draw(self, count):
        return bytes(count)


class Rows:
    def __init__(self) -> None:
        self.rows = {}

    def get(self, table, key):
        return self.rows.get((table, key))

    def range(self, table, start, limit):
        keys = sorted(key for name, key in self.rows if name == table and key >= start)
        return [(key, self.rows[table, key]) for key in keys[:limit]]


class Book:
    """A peer book with its rows; `asked` is what it says of peers."""

    def __init__(self, rows) -> None:
        self.rows = rows
        self.book = PeerBook(OWN, Root(bytes(32)), (), Zeros())
        self.at_us = 0
        self.absorb(self.book.on_start(rows, self.now))

    @property
    def now(self):
        return Now(self.at_us, WALL + self.at_us)

    def absorb(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                self.rows.rows[effect.table, effect.key] = effect.value
        return effects

    def on(self, event):
        return self.absorb(self.book.on_event(event, self.now))

    def miss(self, peer: PeerId):
        """Another part of the node cannot reach `peer`; those probed answer."""
        for effect in self.on(Called("missed", peer, RequestId(3))):
            if isinstance(effect, Request):
                self.on(Answered(effect.token, effect.body))
        self.at_us += FAULT_WAIT_US
        self.absorb(self.book.on_timer(self.now))

    def asked(self, *peers: PeerId):
        effects = self.on(Called("uptime", peers, RequestId(1)))
        (reply,) = [each for each in effects if isinstance(each, Reply)]
        return reply.body


def test_the_average_forgets_by_halves_and_stays_a_share():
    assert seen(0, UPTIME_HALF_US) == 500_000
    assert missed(1_000_000, UPTIME_HALF_US) == 500_000
    assert seen(200_000, -5) == 200_000
    assert share(seen(200_000, 100 * UPTIME_HALF_US)) == 1.0
    assert share(-3) == 0.0


def test_a_newcomer_counts_a_fifth_and_more_while_it_stays():
    book = Book(Rows())
    assert book.asked(PEER, OTHER) == (0.2, 0.2)
    book.on(PeerUp(PEER, "/ip4/10.0.0.1/tcp/1", inbound=True))
    book.at_us = UPTIME_HALF_US
    assert book.asked(PEER, OTHER) == (0.6, 0.2)
    book.on(PeerDown(PEER, "it left"))
    book.at_us *= 3
    assert book.asked(PEER) == (0.6,)  # nobody looked
    assert Book(book.rows).asked(PEER) == (0.6,)  # kept over a restart


def test_a_dial_that_fails_lowers_it_by_an_hour_at_most_and_by_a_day_when_it_is_back():
    book = Book(Rows())
    for peer in (PEER, OTHER):
        book.on(PeerUp(peer, "/ip4/10.0.0.1/tcp/1", inbound=False))
    book.on(PeerDown(PEER, "it left"))
    before = book.asked(PEER)[0]
    book.at_us = 9 * HOUR
    book.miss(PEER)
    lowered = book.asked(PEER)[0]
    assert lowered == missed(round(before * 1e6), ABSENCE_US_MAX) / 1e6 < before
    book.at_us += 8 * HOUR - FAULT_WAIT_US
    book.on(PeerUp(PEER, "/ip4/10.0.0.1/tcp/1", inbound=False))
    assert book.asked(PEER)[0] == missed(round(lowered * 1e6), 8 * HOUR - FAULT_WAIT_US) / 1e6
    book.on(PeerDown(PEER, "it left"))
    book.miss(PEER)
    book.at_us += 40 * HOUR
    before = book.asked(PEER)[0]
    book.on(PeerUp(PEER, "/ip4/10.0.0.1/tcp/1", inbound=False))
    assert book.asked(PEER)[0] == missed(round(before * 1e6), ABSENCE_BACK_US_MAX) / 1e6
