"""How much of the time a peer is there, as the peer book has seen it."""

from dms3.core.ids import PeerId, RequestId, Root
from dms3.core.limits import ABSENCE_US_MAX, SECOND_US, UPTIME_HALF_US
from dms3.core.machine import Called, Now, PeerDown, PeerUp, Persist, Reply
from dms3.libp2p.peer_id import NodeKey, peer_id_text
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

    def asked(self, *peers: PeerId):
        effects = self.on(Called("uptime", peers, RequestId(1)))
        (reply,) = [each for each in effects if isinstance(each, Reply)]
        return reply.body


def test_the_average_forgets_by_halves_and_stays_a_share():
    assert seen(0, UPTIME_HALF_US) == 500_000
    assert missed(1_000_000, 10 * HOUR) == missed(1_000_000, ABSENCE_US_MAX) < 1_000_000
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


def test_a_dial_that_fails_lowers_it_unless_the_fault_may_be_here():
    book = Book(Rows())
    for peer in (PEER, OTHER):
        book.on(PeerUp(peer, "/ip4/10.0.0.1/tcp/1", inbound=False))
    book.on(Called("connect", peer_id_text(PEER), RequestId(2)))
    book.on(PeerDown(PEER, "it left"))
    before = book.asked(PEER)[0]
    book.at_us = HOUR
    gone = book.book._known.was_away(PEER, book.now)  # as after a dial of a contact
    book.absorb(gone)
    assert 0 < book.asked(PEER)[0] < before
    book.on(PeerDown(OTHER, "the cable is out"))
    lowest = book.asked(PEER)[0]
    book.at_us = 9 * HOUR
    assert book.book._known.was_away(PEER, book.now) == []
    assert book.asked(PEER)[0] == lowest
