"""The peer book, driven by hand: contacts, dialling with back-off, probes, conduct, bounds."""

import dataclasses

import pytest

from dms3.core.codec import encode
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, Root
from dms3.core.limits import (
    ADDRESSES_PER_PEER_MAX,
    CALLS_WAITING_MAX,
    CONTACTS_MAX,
    DIAL_BACKOFF_US_MAX,
    DIAL_BACKOFF_US_MIN,
    DIALS_AT_ONCE_MAX,
    PEERS_KNOWN_MAX,
    REFUSE_US,
    SCORE_LEAK_US,
    SCORE_REFUSE_MIN,
    SECOND_US,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Request,
    Requested,
    Withdrawn,
)
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.p2p.card import card_text, issue_card
from dms3.p2p.conduct import CONDUCT, Bucket, Score
from dms3.p2p.peers import PROTOCOL, PeerBook
from dms3.p2p.port import Conducted, Dialed, HangUp, Introduced, Refuse
from dms3.p2p.probing import Probe

WALL = 10**15
ME = SigningKey.of_seed(bytes(32))
OWN = PeerId(PEER_ID_PREFIX + ME.public)
WHERE = "/ip4/192.0.2.1/tcp/4001"
JOIN = "/ip4/192.0.2.9/tcp/4001"
GONE = Failure("peer_unreachable", "It does not answer.", Retry.LATER)


def person(number):
    return SigningKey.of_seed(number.to_bytes(32, "big"))


def peer(number):
    return NodeKey(number.to_bytes(32, "big")).peer_id


def card(number, name=None, **changes: object):
    fields = {
        "name": name or f"person {number}",
        "peer": peer(number),
        "addresses": [WHERE],
        "certificate": b"",
        "since_us": WALL,
        "until_us": WALL + 10**12,
    }
    return card_text(issue_card(person(number), **{**fields, **changes}))


class Middle:
    """Entropy that always draws the middle: back-off without jitter."""

    def draw(self, count):
        return b"\x80" + bytes(count - 1)


class Rig:
    """A peer book with its stored rows; `effects` collects what it asked for."""

    def __init__(self, join=(), state=None, at=0, entropy=None, public=False) -> None:
        self.state = state if state is not None else {}
        self.now = Now(at, WALL + at)
        self.book = PeerBook(OWN, Root(ME.public), join, entropy or Middle(), public=public)
        self.effects = []
        self.count = 0
        self.take(self.book.on_start(self, self.now))

    def get(self, table, key):
        return self.state.get((table, key))

    def range(self, table, start, limit):
        rows = sorted((k, v) for (t, k), v in self.state.items() if t == table and k >= start)
        return rows[:limit]

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                self.state[effect.table, effect.key] = effect.value
            elif isinstance(effect, Delete):
                del self.state[effect.table, effect.key]
        self.effects += effects
        return effects

    def tell(self, event):
        return self.take(self.book.on_event(event, self.now))

    def call(self, operation, arguments=None):
        """The reply to a command, None when it has to wait."""
        self.count += 1
        effects = self.tell(Called(operation, arguments, self.count))
        found = [e.body for e in effects if isinstance(e, Reply) and e.request == self.count]
        return found[0] if found else None

    def wait(self, us):
        """Let time pass, running timers when they are due."""
        end = self.now.mono_us + us
        while (due := self.book.next_timer()) is not None and due <= end:
            self.now = Now(max(due, self.now.mono_us), WALL + max(due, self.now.mono_us))
            self.take(self.book.on_timer(self.now))
        self.now = Now(end, WALL + end)

    def drain(self, kind, **fields: object):
        """The effects of a kind (and fields) since last time; all are forgotten."""
        found = [
            effect
            for effect in self.effects
            if isinstance(effect, kind)
            and all(getattr(effect, name) == value for name, value in fields.items())
        ]
        self.effects = []
        return found

    def dials(self):
        return self.drain(Call, port="transport.dial")

    def up(self, number, inbound=False):
        return self.tell(PeerUp(peer(number), WHERE, inbound))

    def probed(self, number, body=None):
        """Answer the probe that was sent to a peer."""
        (probe,) = [e for e in self.effects if isinstance(e, Request) and e.peer == peer(number)]
        self.effects.remove(probe)
        return self.tell(Answered(probe.token, probe.body if body is None else body))


# Contacts


def test_a_contact_is_kept_dialled_and_listed():
    rig = Rig()
    contact = rig.call("contact_add", card(1, "Alice"))
    assert (contact.name, contact.peer, contact.addresses) == ("Alice", peer(1), (WHERE,))
    assert [e.topic for e in rig.effects if isinstance(e, Notify)] == ["contact.added"]
    (dial,) = rig.dials()
    assert (dial.arguments.addresses, dial.arguments.peer) == ((WHERE,), peer(1))
    assert rig.call("contact_list") == (contact,)
    again = Rig(state=rig.state)
    assert again.call("contact_list") == (contact,)
    assert len(again.dials()) == 1


@pytest.mark.parametrize("text", ["Alice", "alice ", "ROOT", "PEER"])
def test_a_contact_is_found_by_name_root_or_peer(text):
    rig = Rig()
    contact = rig.call("contact_add", card(1, "Alice"))
    names = {"ROOT": contact.root.hex()[:8], "PEER": peer_id_text(peer(1))}
    assert rig.call("contact_find", names.get(text, text)) == contact


def test_unknown_and_ambiguous_names_are_refused():
    rig = Rig()
    rig.call("contact_add", card(1, "Sam"))
    rig.call("contact_add", card(2, "Sam"))
    assert rig.call("contact_find", "Bob").code == "not_found"
    assert rig.call("contact_find", person(1).public.hex()[:7]).code == "not_found"
    ambiguous = rig.call("contact_find", "Sam")
    assert ambiguous.code == "argument_invalid"
    assert person(1).public.hex()[:16] in ambiguous.message


def test_a_new_card_replaces_the_old_one_of_the_same_person():
    rig = Rig()
    first = rig.call("contact_add", card(1, "Alice"))
    rig.wait(5)
    second = rig.call("contact_add", card(1, "Alice B", peer=peer(7)))
    assert second.added_us == first.added_us
    assert rig.call("contact_list") == (second,)
    assert rig.call("contact_add", card(1, "Alice B", peer=peer(7))) == second


def test_a_card_that_names_the_node_of_another_contact_is_refused():
    rig = Rig()
    rig.call("contact_add", card(1, "Alice"))
    failure = rig.call("contact_add", card(2, "Mallory", peer=peer(1)))
    assert failure.code == "card_invalid"
    assert "Alice" in failure.message
    assert len(rig.call("contact_list")) == 1


def test_bad_cards_change_nothing():
    rig = Rig()
    own = issue_card(
        ME, name="Me", peer=OWN, addresses=[], certificate=b"", since_us=WALL, until_us=WALL + 10
    )
    assert rig.call("contact_add", card_text(own)).code == "card_invalid"
    assert rig.call("contact_add", "nonsense").code == "card_invalid"
    assert rig.call("contact_add", card(1, until_us=WALL + 1, since_us=0)) is not None
    rig.wait(1)
    assert rig.call("contact_add", card(2, until_us=WALL + 1, since_us=0)).code == "card_expired"
    assert len(rig.call("contact_list")) == 1


def test_a_removed_contact_is_neither_kept_nor_dialled():
    rig = Rig()
    contact = rig.call("contact_add", card(1, "Alice"))
    assert rig.call("contact_remove", "alice") == contact
    assert [e.topic for e in rig.drain(Notify)] == ["contact.added", "contact.removed"]
    assert rig.call("contact_list") == ()
    rig.wait(DIAL_BACKOFF_US_MAX)
    assert rig.dials() == []
    assert Rig(state=rig.state).call("contact_list") == ()
    assert rig.call("contact_remove", "alice").code == "not_found"


def test_contacts_are_bounded():
    rig = Rig()
    for number in range(1, CONTACTS_MAX + 1):
        assert not isinstance(rig.call("contact_add", card(number)), Failure)
    assert rig.call("contact_add", card(CONTACTS_MAX + 1)).code == "limit_reached"
    assert not isinstance(rig.call("contact_add", card(1, "renamed")), Failure)


# Dialling


def test_failures_back_off_by_doubling_up_to_a_bound():
    rig = Rig(join=[JOIN])
    waits = []
    for _ in range(12):
        (dial,) = rig.dials()
        rig.tell(Answered(dial.token, GONE))
        before = rig.now.mono_us
        waits.append(rig.book.next_timer() - before)
        rig.wait(waits[-1])
    assert waits[:4] == [DIAL_BACKOFF_US_MIN * 2**n for n in range(4)]
    assert waits[-1] == DIAL_BACKOFF_US_MAX
    assert waits == sorted(waits)


@pytest.mark.parametrize(("drawn", "part"), [(b"\0\0", 0.75), (b"\xff\xff", 1.25)])
def test_jitter_is_a_quarter_either_way(drawn, part):
    class Fixed:
        def draw(self, count):
            return (drawn * count)[:count]

    rig = Rig(join=[JOIN], entropy=Fixed())
    (dial,) = rig.dials()
    rig.tell(Answered(dial.token, GONE))
    assert rig.book.next_timer() == pytest.approx(part * DIAL_BACKOFF_US_MIN, rel=1e-4)


def test_only_so_many_dials_are_under_way():
    rig = Rig()
    for number in range(1, DIALS_AT_ONCE_MAX + 3):
        rig.call("contact_add", card(number))
    dials = rig.dials()
    assert len(dials) == DIALS_AT_ONCE_MAX
    rig.tell(Answered(dials[0].token, GONE))
    assert len(rig.dials()) == 1


def test_a_bootstrap_address_without_a_peer_keeps_whoever_answers():
    rig = Rig(join=[JOIN])
    (dial,) = rig.dials()
    assert dial.arguments.peer is None
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), JOIN)))
    rig.wait(DIAL_BACKOFF_US_MAX)
    assert rig.dials() == []
    rig.tell(PeerDown(peer(1), "it left"))
    rig.wait(DIAL_BACKOFF_US_MIN)
    (dial,) = rig.dials()
    assert dial.arguments.peer is None, "the node there may have become another"


def test_an_inbound_connection_spares_the_dial():
    rig = Rig()
    rig.call("contact_add", card(1))
    (dial,) = rig.dials()
    rig.tell(Answered(dial.token, GONE))
    rig.up(1, inbound=True)
    rig.wait(DIAL_BACKOFF_US_MAX)
    assert rig.dials() == []
    rig.tell(PeerDown(peer(1), "it left"))
    rig.wait(2 * DIAL_BACKOFF_US_MIN)
    assert len(rig.dials()) == 1


def test_a_peer_that_hangs_up_at_once_is_not_dialled_ever_faster():
    rig = Rig(join=[JOIN])
    waits = []
    for _ in range(6):
        (dial,) = rig.dials()
        rig.up(1)
        rig.tell(Answered(dial.token, Dialed(peer(1), JOIN)))
        rig.tell(PeerDown(peer(1), "go away"))
        waits.append(rig.book.next_timer() - rig.now.mono_us)
        rig.wait(waits[-1])
    assert waits == sorted(waits)
    assert waits[-1] > 8 * DIAL_BACKOFF_US_MIN


def test_the_own_address_as_bootstrap_is_not_dialled():
    assert Rig(join=[f"{JOIN}/p2p/{peer_id_text(OWN)}"]).dials() == []


# Connecting by command


def test_connect_answers_when_the_peer_is_probed():
    rig = Rig()
    assert rig.call("connect", f"{WHERE}/p2p/{peer_id_text(peer(1))}") is None
    request = rig.count
    (dial,) = rig.dials()
    assert dial.arguments.peer == peer(1)
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), WHERE)))
    effects = rig.probed(1)
    assert effects == [Reply(request, Dialed(peer(1), WHERE))]
    assert rig.call("connect", f"{WHERE}/p2p/{peer_id_text(peer(1))}") == Dialed(peer(1), WHERE)
    assert rig.call("connect", peer_id_text(peer(1))) == Dialed(peer(1), WHERE)


def test_connect_reports_a_failed_dial_and_another_network():
    rig = Rig()
    rig.call("connect", WHERE)
    (dial,) = rig.dials()
    assert rig.tell(Answered(dial.token, GONE)) == [Reply(rig.count, GONE)]
    rig.call("connect", WHERE)
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), WHERE)))
    other = Failure("network_mismatch", "The peer belongs to network x, this node to y.")
    effects = rig.probed(1, other)
    assert effects[0] == Reply(rig.count, other)
    assert isinstance(effects[1].arguments, HangUp)
    (row,) = rig.call("list")
    assert row.problem == other


def test_a_peer_of_another_network_is_dialled_rarely():
    rig = Rig(join=[JOIN])
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), JOIN)))
    rig.probed(1, Failure("network_mismatch", "other"))
    rig.tell(PeerDown(peer(1), "it belongs to another network"))
    assert rig.book.next_timer() - rig.now.mono_us == DIAL_BACKOFF_US_MAX


def test_a_libp2p_peer_without_dms3_is_a_connection_all_the_same():
    rig = Rig()
    rig.call("connect", WHERE)
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), WHERE)))
    effects = rig.probed(1, Failure("protocol_unsupported", "no dms3"))
    assert effects == [Reply(rig.count, Dialed(peer(1), WHERE))]


@pytest.mark.parametrize("text", ["", "nonsense", "/ip4/1.2.3", "/x/y", "12D3KooWshort"])
def test_connect_refuses_what_is_no_address(text):
    failure = Rig().call("connect", text)
    assert failure.code == "argument_invalid"
    assert "/ip4/192.0.2.1/tcp/4001" in failure.message


def test_connect_to_itself_and_to_an_unknown_peer_is_refused():
    rig = Rig()
    assert rig.call("connect", f"{WHERE}/p2p/{peer_id_text(OWN)}").code == "argument_invalid"
    assert rig.call("connect", peer_id_text(peer(5))).code == "not_found"


def test_a_withdrawn_connect_cancels_the_dial_and_frees_its_place():
    rig = Rig()
    for _ in range(CALLS_WAITING_MAX):
        assert rig.call("connect", WHERE) is None
    assert rig.call("connect", WHERE).code == "limit_reached"
    dial = rig.dials()[0]
    assert rig.tell(Withdrawn(1)) == [Cancel(dial.token)]
    assert rig.call("connect", WHERE) is None


def test_a_disconnected_contact_stays_so_until_connected_again():
    rig = Rig()
    rig.call("contact_add", card(1))
    (dial,) = rig.dials()
    rig.up(1)
    rig.tell(Answered(dial.token, Dialed(peer(1), WHERE)))
    rig.effects = []
    rig.call("disconnect", peer(1))
    (hang_up,) = rig.drain(Call, port="transport.hang_up")
    assert hang_up.arguments.peer == peer(1)
    rig.tell(PeerDown(peer(1), "disconnected by command"))
    rig.wait(2 * DIAL_BACKOFF_US_MAX)
    assert rig.dials() == []
    rig.call("connect", peer_id_text(peer(1)))
    rig.up(1)
    rig.tell(PeerDown(peer(1), "it left"))
    rig.effects = []
    rig.wait(2 * DIAL_BACKOFF_US_MAX)
    assert rig.dials() != []


# Probes


def test_ping_answers_the_round_trip():
    rig = Rig()
    rig.up(1)
    rig.probed(1)
    assert rig.call("ping", peer(1)) is None
    rig.wait(1234)
    assert rig.probed(1) == [Reply(rig.count, 1234)]
    (row,) = rig.call("list")
    assert row.rtt_us == 1234


def test_ping_of_an_absent_peer_and_of_one_that_goes():
    rig = Rig()
    assert rig.call("ping", peer(1)).code == "peer_unreachable"
    rig.up(1)
    rig.call("ping", peer(1))
    effects = rig.tell(PeerDown(peer(1), "it left"))
    assert effects[0].body.code == "peer_unreachable"
    assert len([e for e in effects if isinstance(e, Cancel)]) == 2
    assert rig.tell(Answered("probe/1", b"")) == []


def test_a_probe_of_a_peer_is_answered_in_kind_and_a_bad_one_costs():
    rig = Rig()
    rig.up(1)
    body = encode(Probe(b"12345678"))
    assert rig.tell(Requested(peer(1), PROTOCOL, body, 9)) == [Reply(9, body)]
    (reply,) = rig.tell(Requested(peer(1), PROTOCOL, b"junk", 10))
    assert reply.body.code == "body_malformed"
    (row,) = rig.call("list")
    assert row.points == CONDUCT["body_malformed"][0]


# Conduct


def denounce(rig, number, code="content_invalid"):
    assert rig.call("conduct", Conducted(peer(number), code)) is None


def test_points_add_up_to_a_refusal_that_ends():
    rig = Rig()
    rig.up(1)
    times = -(-SCORE_REFUSE_MIN // CONDUCT["content_invalid"][0])
    for _ in range(times - 1):
        denounce(rig, 1)
    assert rig.drain(Call, port="transport.refuse") == []
    denounce(rig, 1)
    (refuse,) = [e for e in rig.effects if isinstance(e, Call)]
    assert refuse.arguments == Refuse(peer(1), REFUSE_US)
    rig.tell(PeerDown(peer(1), "refused"))
    text = f"{WHERE}/p2p/{peer_id_text(peer(1))}"
    assert rig.call("connect", text).code == "peer_refused"
    again = Rig(state=rig.state, at=rig.now.mono_us + 1000)
    (refuse,) = again.drain(Call, port="transport.refuse")
    assert refuse.arguments == Refuse(peer(1), REFUSE_US - 1000)
    rig.wait(REFUSE_US)
    assert rig.call("connect", text) is None


def test_a_refused_contact_is_not_dialled_until_the_refusal_ends():
    rig = Rig()
    rig.call("contact_add", card(1))
    rig.up(1)
    denounce(rig, 1)
    denounce(rig, 1)
    rig.tell(PeerDown(peer(1), "refused"))
    rig.effects = []
    rig.wait(REFUSE_US - DIAL_BACKOFF_US_MAX)
    assert rig.dials() == []
    rig.wait(2 * DIAL_BACKOFF_US_MAX)
    assert len(rig.dials()) == 1


def test_points_are_forgotten_with_time():
    score = Score()
    assert not score.add("content_invalid", 0)
    points = CONDUCT["content_invalid"][0]
    assert score.at(SCORE_LEAK_US - 1) == points
    assert score.at(SCORE_LEAK_US) == points - 1
    assert score.at(SCORE_LEAK_US * points) == 0
    assert not score.add("content_invalid", SCORE_LEAK_US)
    assert score.add("content_invalid", SCORE_LEAK_US)


def test_conduct_of_a_peer_that_nobody_knows_is_not_kept():
    rig = Rig()
    for _ in range(10):
        denounce(rig, 1)
    assert rig.call("list") == ()
    assert rig.state == {}


def test_conduct_without_a_price_is_refused():
    rig = Rig()
    rig.up(1)
    assert rig.call("conduct", Conducted(peer(1), "bad_manners")).code == "argument_invalid"


def test_a_bucket_allows_a_burst_and_then_a_pace():
    bucket = Bucket(3, 10)
    assert [bucket.admit(0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.admit(9)
    assert bucket.admit(10)
    assert not bucket.admit(19)
    assert bucket.admit(20)
    assert [bucket.admit(1000) for _ in range(4)] == [True, True, True, False]


# The book


def test_addresses_a_peer_tells_of_itself_are_kept_within_bounds():
    rig = Rig()
    rig.up(1, inbound=True)
    told = tuple(f"/ip4/192.0.2.{n}/tcp/1" for n in range(20))
    rig.call("introduced", Introduced(peer(1), ("/" + "x" * 300, *told)))
    (row,) = rig.call("list")
    assert row.addresses == told[:ADDRESSES_PER_PEER_MAX]
    rig.effects = []
    rig.call("introduced", Introduced(peer(1), told))
    assert rig.drain(Persist) == []
    rig.call("introduced", Introduced(peer(2), told))
    assert len(rig.call("list")) == 1


def test_the_list_shows_connected_peers_first():
    rig = Rig()
    rig.call("contact_add", card(2, "Bob"))
    rig.up(1)
    rig.tell(PeerDown(peer(1), "it left"))
    rig.wait(SECOND_US)
    rig.up(2, inbound=True)
    first, second = rig.call("list")
    assert (first.peer, first.name, first.connected, first.inbound) == (peer(2), "Bob", True, True)
    assert (second.peer, second.connected, second.seen_us) == (peer(1), False, WALL)


def test_the_book_forgets_the_longest_unseen_that_nobody_needs():
    rig = Rig()
    rig.call("contact_add", card(1))
    for number in range(1, PEERS_KNOWN_MAX + 1):
        rig.tell(PeerUp(peer(number), WHERE, True))
        if number != 2:
            rig.tell(PeerDown(peer(number), "it left"))
        rig.now = dataclasses.replace(rig.now, wall_us=rig.now.wall_us + 1)
    rig.effects = []
    rig.tell(PeerUp(peer(PEERS_KNOWN_MAX + 1), WHERE, True))
    assert [effect.key for effect in rig.drain(Delete)] == [peer(3)], "1 is a contact, 2 connected"
    known = [key for table, key in rig.state if table == "known"]
    assert len(known) == PEERS_KNOWN_MAX


def test_unknown_operations_and_events_of_no_concern():
    rig = Rig()
    assert rig.call("dance").code == "method_unknown"
    assert rig.tell(Answered("dial/unknown", GONE)) == []
    assert rig.tell(Withdrawn(99)) == []
