"""The world model: what a node sees and hears of others; liars, local faults, partners, bounds."""

import hashlib

import pytest

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import PeerId, RequestId, Root
from dms3.core.limits import (
    FAULT_JUDGED_MAX,
    FAULT_PROBES_MAX,
    FAULT_WAIT_US,
    HEARSAY_LIFE_US,
    HEARSAY_REPORTERS_MAX,
    HEARSAY_REPORTERS_MIN,
    HEARSAY_SUBJECTS_MAX,
    HEARSAY_SURE_MIN_PPM,
    HEARSAY_US,
    HEARSAY_WORDS_MAX,
    PARTNERS_MAX,
    PEER_ID_BYTES_MAX,
    SECOND_US,
    UPTIME_HALF_US,
    WAKE_PAUSE_US,
)
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Request,
    Requested,
)
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.exchange import PROTOCOL, Ask, Records, decode_ask, decode_records
from dms3.p2p.faults import Faults
from dms3.p2p.hearsay import Hearsay, Word, median
from dms3.p2p.known import PUBLIC_PROTOCOL
from dms3.p2p.peers import PeerBook
from dms3.p2p.port import Conducted, Introduced, Partners
from dms3.p2p.uptime import Metric, together

WALL = 1_800_000_000 * SECOND_US
HOUR = 3_600 * SECOND_US
OWN, SUBJECT, *PEERS = (NodeKey(bytes([n]) * 32).peer_id for n in range(1, 48))
NOW = Now(0, WALL)


class Drawn:
    """Bytes that follow from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._state = hashlib.sha256(b"%d" % seed).digest()

    def draw(self, count):
        self._state = hashlib.sha256(self._state).digest()
        return self._state[:count]


class Rows:
    def __init__(self) -> None:
        self.rows = {}

    def get(self, table, key):
        return self.rows.get((table, key))

    def range(self, table, start, limit):
        keys = sorted(key for name, key in self.rows if name == table and key >= start)
        return [(key, self.rows[table, key]) for key in keys[:limit]]


class Book:
    """A peer book; those of `silent` answer no probe, all others do."""

    def __init__(self, rows=None, seed=0) -> None:
        self.rows = rows or Rows()
        self.book = PeerBook(OWN, Root(bytes(32)), (), Drawn(seed), public=True)
        self.at_us = 0
        self.silent: set[PeerId] = set()
        self.asked: list[tuple[PeerId, Ask]] = []
        self.answer = encode(Records(()))
        self.run(self.book.on_start(self.rows, self.now))

    @property
    def now(self):
        return Now(self.at_us, WALL + self.at_us)

    def run(self, effects):
        for effect in effects:
            match effect:
                case Persist(table, key, value):
                    self.rows.rows[table, key] = value
                case Request(peer, protocol, body, token):
                    if protocol == PROTOCOL:
                        self.asked.append((peer, decode_ask(body)))
                        self.on(Answered(token, self.answer))
                    elif peer in self.silent:
                        self.on(Answered(token, Failure("timed_out", "It is silent.")))
                    else:
                        self.on(Answered(token, body))
        return effects

    def on(self, event):
        return self.run(self.book.on_event(event, self.now))

    def call(self, operation, arguments=None):
        effects = self.on(Called(operation, arguments, RequestId(1)))
        return next(each.body for each in effects if isinstance(each, Reply))

    def wait(self, us):
        until_us = self.at_us + us
        while (due := self.book.next_timer()) is not None and due <= until_us:
            self.at_us = max(self.at_us, due)
            self.run(self.book.on_timer(self.now))
        self.at_us = until_us

    def up(self, *peers: PeerId, address="/ip4/10.0.0.%d/tcp/1"):
        for number, peer in enumerate(peers):
            place = address % number if "%" in address else address
            self.on(PeerUp(peer, place, inbound=True))

    def down(self, *peers: PeerId):
        for peer in peers:
            self.on(PeerDown(peer, "it left"))

    def thought(self, peer):
        return next(each for each in self.call("world") if each.peer == peer)


def said(hearsay, *values: int, start=0, sure=1_000_000, now=NOW):
    for number, value in enumerate(values):
        hearsay.take(f"net {start + number}", [Word(SUBJECT, value, sure)], now)
    return hearsay.of(SUBJECT, now)


# What others say


def test_fewer_than_three_reporters_say_nothing():
    hearsay = Hearsay()
    assert said(hearsay, *[900_000] * (HEARSAY_REPORTERS_MIN - 1)) is None
    assert said(hearsay, 900_000, start=9) == Metric(900_000, 1_000_000)


@pytest.mark.parametrize("lie", [0, 1_000_000])
def test_one_liar_moves_nothing(lie):
    hearsay = Hearsay()
    before = said(hearsay, 600_000, 600_000, 600_000)
    assert said(hearsay, lie, start=9) == before
    for _ in range(50):  # again and again
        assert said(hearsay, lie, start=9) == before


@pytest.mark.parametrize("lie", [0, 1_000_000])
@pytest.mark.parametrize("liars", range(5))
def test_fewer_liars_than_honest_stay_between_what_these_say(liars, lie):
    hearsay = Hearsay()
    honest = [500_000, 550_000, 600_000, 650_000, 700_000]
    said(hearsay, *honest)
    found = said(hearsay, *[lie] * liars, start=9)
    assert 500_000 <= found.value <= 700_000
    assert abs(found.value - 600_000) < abs(lie - 600_000) / 2


def test_all_of_one_network_prefix_have_one_word_and_those_of_a_lan_one_each():
    for address, count in (("/ip4/8.8.8.%d/tcp/1", 1), ("/ip4/10.0.0.%d/tcp/1", 12)):
        book = Book()
        book.up(*PEERS[:12], address=address)
        for peer in PEERS[:12]:
            tell(book, peer, Word(SUBJECT, 1_000_000, 1_000_000))
        assert book.book._world._hearsay.reporters(SUBJECT, book.now) == count


def tell(book, peer, *words: Word):
    book.run(book.book._world.told(peer, words, book.now))


def test_of_oneself_and_of_who_listens_a_word_is_nothing():
    book = Book()
    book.up(*PEERS[:4])
    for peer in PEERS[:4]:
        tell(book, peer, Word(peer, 1_000_000, 1_000_000), Word(OWN, 0, 1_000_000))
    reporters = [book.book._world._hearsay.reporters(peer, book.now) for peer in (OWN, *PEERS[:4])]
    assert reporters == [0] * 5


@pytest.mark.parametrize(
    ("age_us", "counts"), [(HEARSAY_LIFE_US - 1, True), (HEARSAY_LIFE_US, False)]
)
def test_words_grow_old(age_us, counts):
    hearsay = Hearsay()
    said(hearsay, 1, 2, 3)
    later = Now(age_us, WALL + age_us)
    assert (hearsay.of(SUBJECT, later) is not None) == counts
    if counts:
        assert hearsay.of(SUBJECT, later).sure < 1_000_000
    assert hearsay.of(SUBJECT, Now(0, WALL - 1)) is None  # heard while the clock was wrong


def test_what_is_kept_is_bounded_and_the_oldest_goes():
    hearsay = Hearsay()
    said(hearsay, *range(HEARSAY_REPORTERS_MAX))
    assert hearsay.reporters(SUBJECT, NOW) == HEARSAY_REPORTERS_MAX
    said(hearsay, 7, start=99)
    assert hearsay.reporters(SUBJECT, NOW) == HEARSAY_REPORTERS_MAX
    many = [Word(b"%d" % number, 1, 1) for number in range(HEARSAY_SUBJECTS_MAX - 1)]
    hearsay.take("net", many, NOW)
    assert hearsay.reporters(SUBJECT, NOW)
    hearsay.take("net", [Word(b"one more", 1, 1)], NOW)
    assert not hearsay.reporters(SUBJECT, NOW)


def test_hearsay_counts_half_at_most_and_nothing_without_confidence():
    assert together(Metric(200_000, 0), Metric(1_000_000, 1_000_000)) == 600_000
    assert together(Metric(200_000, 500_000), Metric(1_000_000, 500_000)) == 600_000
    assert together(Metric(200_000, 900_000), Metric(1_000_000, 100_000)) == 280_000
    assert together(Metric(200_000, 0), Metric(1_000_000, 0)) == 200_000
    assert together(Metric(200_000, 0), None) == 200_000


def test_the_middle_of_an_even_number_lies_between():
    assert median([4, 1, 3]) == 3
    assert median([4, 1, 3, 2]) == 2
    assert median([10, 0]) == 5


# What travels


def test_messages_are_bounded():
    word = Word(b"p" * PEER_ID_BYTES_MAX, 1_000_000, 0)
    assert decode_records(encode(Records((), (word,)))).words == (word,)
    many = tuple(Word(b"%d" % number, 1, 1) for number in range(HEARSAY_WORDS_MAX))
    longest = Records((), tuple(Word(b"%2d" % n * 32, 10**6, 10**6) for n in range(32)))
    assert decode_records(encode(longest)).words == longest.words
    assert decode_ask(encode(Ask(1, HEARSAY_WORDS_MAX))).words == HEARSAY_WORDS_MAX
    for wrong in (
        lambda: Records((), (*many, Word(b"x", 1, 1))),
        lambda: Records((), (word, word)),
        lambda: Word(b"", 1, 1),
        lambda: Word(b"p" * (PEER_ID_BYTES_MAX + 1), 1, 1),
        lambda: Word(b"p", 1_000_001, 1),
        lambda: Word(b"p", 1, -1),
        lambda: Ask(1, HEARSAY_WORDS_MAX + 1),
        lambda: Ask(1, -1),
    ):
        with pytest.raises(ValueError, match=r"word|share"):
            wrong()
    with pytest.raises(DecodeError):
        decode_records(encode(longest)[:-1])


def test_one_partner_is_asked_now_and_then_and_its_words_survive_a_restart():
    book = Book()
    book.up(*PEERS[:10])
    assert {ask.words for _, ask in book.asked} == {0}  # for peers, while they were too few
    book.asked.clear()
    book.answer = encode(Records((), (Word(SUBJECT, 700_000, 800_000),)))
    book.wait(20 * HEARSAY_US)
    assert 13 <= len(book.asked) <= 40
    assert {(ask.count, ask.words) for _, ask in book.asked} == {(1, HEARSAY_WORDS_MAX)}
    assert len({peer for peer, _ in book.asked}) >= HEARSAY_REPORTERS_MIN
    told = book.call("uptime", (SUBJECT,))
    assert told == (pytest.approx((0.2 + 0.7) / 2),)  # half, for nothing was seen of it
    again = Book(book.rows)
    again.at_us = book.at_us
    assert again.call("uptime", (SUBJECT,)) == told


def test_words_are_on_public_nodes_that_were_watched_and_half_on_those_near():
    book = Book()
    public, shy = PEERS[:40], PEERS[40]
    book.up(*public, shy)
    for peer in public:
        book.call("introduced", Introduced(peer, (), (PUBLIC_PROTOCOL,)))
    assert book.book._world.words(public[0], HEARSAY_WORDS_MAX, book.now) == ()  # nothing is sure
    book.at_us = HOUR
    effects = book.on(Requested(public[0], PROTOCOL, encode(Ask(1, 8)), RequestId(7)))
    reply = next(each for each in effects if isinstance(each, Reply))
    first = decode_records(reply.body).words
    assert len(first) == 8
    assert all(word.sure >= HEARSAY_SURE_MIN_PPM and word.value > 200_000 for word in first)
    second = book.book._world.words(public[0], 8, book.now)
    assert {word.peer for word in first[:4]} == {word.peer for word in second[:4]}  # the nearest
    assert {word.peer for word in first[4:]} != {word.peer for word in second[4:]}  # drawn
    everybody = book.book._world.words(public[0], HEARSAY_WORDS_MAX, book.now)
    assert len(everybody) == HEARSAY_WORDS_MAX
    assert {public[0], shy, OWN}.isdisjoint(word.peer for word in everybody)
    assert book.book._world.words(public[0], 0, book.now) == ()


# Whose fault it is


def missed(book, *peers: PeerId):
    for peer in peers:
        book.call("missed", peer)
    book.wait(FAULT_WAIT_US)


def test_who_alone_is_away_is_to_blame():
    book = Book()
    book.up(*PEERS[:4])
    book.at_us = HOUR
    book.down(PEERS[0])
    before = book.thought(PEERS[0])
    book.at_us += HOUR // 2
    missed(book, PEERS[0])
    after = book.thought(PEERS[0])
    assert after.away
    assert not before.away
    assert after.own[0] < before.own[0]
    assert after.own[1] > 0


def test_when_all_fail_at_once_nobody_is_to_blame_and_the_time_before_counts_for_nothing():
    book = Book()
    book.up(*PEERS[:6])
    book.at_us = HOUR
    before = {peer: book.thought(peer).own[0] for peer in PEERS[:6]}
    book.down(*PEERS[:5])
    book.silent = {PEERS[5]}
    book.at_us += HOUR // 2
    missed(book, *PEERS[:5])
    assert not any(book.thought(peer).away for peer in PEERS[:6])
    assert all(book.thought(peer).own[0] >= before[peer] for peer in PEERS[:6])
    book.silent.clear()
    book.up(PEERS[0])  # the network is back: half an hour of ours is not held against it
    assert book.thought(PEERS[0]).own[0] >= before[PEERS[0]]


def test_when_more_fail_than_are_heard_nobody_is_to_blame():
    for heard, blamed in ((2, False), (3, True)):
        faults = Faults()
        for peer in PEERS[:3]:
            faults.failed(peer, NOW, fresh=True)
        for peer in PEERS[10 : 10 + heard]:
            faults.heard(peer)
        assert faults.due(Now(FAULT_WAIT_US - 1, WALL)) == ()
        assert bool(faults.due(Now(FAULT_WAIT_US, WALL))) == blamed
        assert (faults.sound_us == 0) == blamed


def test_those_that_were_away_before_do_not_make_it_a_local_fault():
    faults = Faults()
    for peer in PEERS[:20]:
        faults.failed(peer, NOW, fresh=False)
    faults.heard(PEERS[30])
    assert faults.due(Now(FAULT_WAIT_US, WALL)) == tuple(sorted(PEERS[:20]))


def test_who_is_heard_meanwhile_was_not_away():
    faults = Faults()
    faults.failed(PEERS[0], NOW, fresh=True)
    faults.failed(PEERS[1], NOW, fresh=True)
    faults.heard(PEERS[0])
    assert faults.due(Now(FAULT_WAIT_US, WALL)) == (PEERS[1],)


def test_failures_that_are_watched_are_bounded():
    faults = Faults()
    for number in range(FAULT_JUDGED_MAX + 1):
        faults.failed(PeerId(b"%d" % number), NOW, fresh=False)
    faults.heard(PEERS[0])
    assert len(faults.due(Now(FAULT_WAIT_US, WALL))) == FAULT_JUDGED_MAX


def test_after_a_sleep_nobody_is_to_blame():
    book = Book()
    book.up(*PEERS[:3])
    book.at_us = HOUR
    book.down(PEERS[0])
    before = book.thought(PEERS[0]).own[0]
    book.call("missed", PEERS[0])
    book.at_us += 8 * HOUR
    book.on(ClockJumped(8 * HOUR))
    book.wait(FAULT_WAIT_US + WAKE_PAUSE_US)
    assert not book.thought(PEERS[0]).away
    missed(book, PEERS[0])  # now it is: for as long as we have been awake
    after = book.thought(PEERS[0])
    assert after.away
    lost_us = 2 * FAULT_WAIT_US + WAKE_PAUSE_US
    assert before - after.own[0] <= 2 * lost_us / UPTIME_HALF_US


def test_some_connected_peers_are_probed_once_for_many_failures():
    book = Book()
    book.up(*PEERS[: FAULT_PROBES_MAX + 2])
    probes = []
    for peer in PEERS[20:30]:
        effects = book.on(Called("missed", peer, RequestId(1)))
        probes += [each.peer for each in effects if isinstance(each, Request)]
    assert len(probes) == len(set(probes)) == FAULT_PROBES_MAX


def test_whoever_is_connected_is_not_away():
    book = Book()
    book.up(*PEERS[:2])
    missed(book, PEERS[0])
    assert not book.thought(PEERS[0]).away


def test_confidence_grows_while_somebody_is_watched_and_fades_when_nobody_looks():
    book = Book()
    book.up(PEERS[0])
    assert book.thought(PEERS[0]).own == (0.2, 0.0)
    book.at_us = UPTIME_HALF_US
    assert book.thought(PEERS[0]).own == (0.6, 0.5)
    book.down(PEERS[0])
    book.at_us += UPTIME_HALF_US
    assert book.thought(PEERS[0]).own == (0.6, 0.25)


# Partners


def known(seed=0):
    """A book that is sure of the first ten, and has never seen the next ten."""
    book = Book(seed=seed)
    book.up(*PEERS[:10])
    book.at_us = 3 * UPTIME_HALF_US
    return book


def test_to_pull_one_asks_those_of_whom_little_is_known_to_push_those_who_are_there():
    book = known()
    count = {"pull": 0, "push": 0}
    for of in count:
        for _ in range(200):
            (one,) = book.call("partners", Partners(tuple(PEERS[:20]), of, 1))
            count[of] += one in PEERS[:10]
    assert count["push"] == 200
    assert 40 <= count["pull"] <= 130  # weights 0.9 * 0.125 and 0.2 * 1: 72 of 200


def test_partners_are_drawn_by_the_seed_each_once_and_nobody_who_is_refused():
    asked = Partners((*PEERS[:20], PEERS[0], OWN), "pull", 20)
    drawn = known().call("partners", asked)
    assert known().call("partners", asked) == drawn
    assert known(seed=1).call("partners", asked) != drawn
    assert sorted(drawn) == sorted(PEERS[:20])
    book = known()
    for _ in range(8):
        book.call("conduct", Conducted(PEERS[3], "frame_malformed"))
    assert PEERS[3] not in book.call("partners", asked)
    assert book.thought(PEERS[3]).refused_until_us


def test_what_one_asks_for_partners_is_bounded():
    book = known()
    many = tuple(PeerId(b"%d" % number) for number in range(PARTNERS_MAX))
    assert len(book.call("partners", Partners(many, "pull", 3))) == 3
    for wrong in (Partners((*many, OWN), "pull", 3), Partners(many, "drop", 3)):
        assert book.call("partners", wrong).code == "argument_invalid"
    assert book.call("partners", Partners(many, "pull", 0)) == ()
