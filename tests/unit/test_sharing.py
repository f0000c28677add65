"""The sharing machine driven by hand: what it asks, answers, keeps and refuses, event by event."""

import dataclasses

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, RequestId, Root, SpaceId
from dms3.core.limits import (
    CLOCK_AHEAD_US_MAX,
    DELIVERY_BACKOFF_US_MIN,
    GRANTS_PER_ISSUER_MAX,
    SEARCH_BURST_US,
    SEARCH_COST_US,
    SERVED_PER_PEER_MAX,
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
from dms3.crypto.certificate import issue_certificate
from dms3.crypto.grant import Proof, issue_grant
from dms3.crypto.signing import SigningKey
from dms3.search.messages import (
    BLOCK_PROTOCOL,
    GRANT_PROTOCOL,
    RECEIPT,
    SEARCH_PROTOCOL,
    BlockQuestion,
    GrantMessage,
    SearchQuestion,
    decode_grant_message,
    decode_search_answer,
    decode_search_question,
)
from dms3.search.operations import (
    Found,
    FoundHit,
    LibraryBlock,
    LibrarySearch,
    Penalty,
    SearchPeers,
    Share,
    Sources,
    Unshare,
)
from dms3.search.sharing import Sharing

HOUR = 3_600_000_000
START = Now(1_000, 1_800_000_000_000_000)
ALICE, BOB, EVE = (SigningKey.of_seed(letter * 32) for letter in (b"a", b"b", b"e"))
A, B, E, A2 = (
    PeerId(bytes.fromhex("002408011220") + letter * 32) for letter in (b"A", b"B", b"E", b"2")
)
SPACE, OTHER = SpaceId(b"s" * 32), SpaceId(b"t" * 32)
CID = Cid.of(RAW, b"block")
HIT = FoundHit(CID, "title", "snippet", "text", 5)


class Drawn:
    def __init__(self) -> None:
        self.count = 0

    def draw(self, count):
        self.count += 1
        return self.count.to_bytes(count, "big")


class Memory:
    """Committed state of one machine."""

    def __init__(self) -> None:
        self.tables = {}

    def apply(self, effects):
        for effect in effects:
            if isinstance(effect, Persist):
                self.tables.setdefault(effect.table, {})[effect.key] = effect.value
            elif isinstance(effect, Delete):
                self.tables.get(effect.table, {}).pop(effect.key, None)

    def get(self, table, key):
        return self.tables.get(table, {}).get(key)

    def range(self, table, start, limit):
        rows = sorted(self.tables.get(table, {}).items())
        return [row for row in rows if row[0] >= start][:limit]


class Node:
    """A machine with its memory, moved by hand; `said` are the effects of the last event."""

    def __init__(self, key, peer) -> None:
        self.key, self.peer, self.memory, self.now = key, peer, Memory(), START
        self.entropy = Drawn()
        self.count = 0
        self.restart()

    def restart(self):
        self.machine = Sharing(self.key, self.peer, "a device", self.entropy)
        self.say(self.machine.on_start(self.memory, self.now))

    def say(self, effects):
        self.memory.apply(effects)
        self.said = effects
        return effects

    def event(self, event):
        return self.say(self.machine.on_event(event, self.now))

    def later(self, us):
        self.now = Now(self.now.mono_us + us, self.now.wall_us + us)
        due = self.machine.next_timer()
        return self.say(self.machine.on_timer(self.now) if due and due <= self.now.mono_us else [])

    def call(self, operation, arguments=None):
        self.count += 1
        self.event(Called(operation, arguments, RequestId(self.count)))
        replies = self.of(Reply)
        return replies[0].body if replies else RequestId(self.count)

    def ask(self, peer, protocol, body):
        self.count += 1
        self.event(Requested(peer, protocol, body, RequestId(self.count)))
        replies = self.of(Reply)
        return replies[0].body if replies else RequestId(self.count)

    def of(self, kind):
        return [effect for effect in self.said if isinstance(effect, kind)]

    def one(self, kind):
        (effect,) = self.of(kind)
        return effect

    def penalties(self):
        return [call.arguments.code for call in self.of(Call) if call.port == "peers.conduct"]


@dataclasses.dataclass(frozen=True)
class Contact:
    root: Root


def share(reader=BOB, peers=(B,), space=SPACE, name="papers", **more):  # noqa: ANN003 - of Share
    return Share(space, name, Root(reader.public), peers, **more)


def accept(reader, request, sender=A, *, known=True):
    """Deliver an offer to `reader`, whose peer book answers; the machine's reply."""
    answer = reader.ask(sender, GRANT_PROTOCOL, request.body)
    lookups = [call for call in reader.of(Call) if call.port == "peers.contact_find"]
    if not lookups:
        return answer
    (lookup,) = lookups
    root = Root(bytes.fromhex(lookup.arguments))
    reader.event(Answered(lookup.token, Contact(root) if known else Failure("not_found", "no")))
    return reader.one(Reply).body


@pytest.fixture
def alice():
    return Node(ALICE, A)


@pytest.fixture
def bob():
    return Node(BOB, B)


@pytest.fixture
def shared(alice, bob):
    """Alice has shared with bob, whose node has answered; both are connected."""
    alice.event(PeerUp(B, "", True))
    bob.event(PeerUp(A, "", False))
    alice.call("share", share())
    offer = alice.one(Request)
    assert accept(bob, offer) == RECEIPT
    alice.event(Answered(offer.token, RECEIPT))
    return alice, bob


def proof_of(bob):
    (source,) = bob.call("sources", Sources(SPACE))
    return Proof(source.grant, source.certificate)


# Giving and delivering


def test_a_share_is_kept_before_it_is_told(alice):
    answer = alice.call("share", share())
    assert answer.fresh
    kinds = [type(effect) for effect in alice.said]
    assert kinds == [Persist, Persist, Persist, Persist, Notify, Reply]
    assert alice.one(Notify).topic == "space.shared"
    assert not alice.of(Request)  # bob is not connected
    again = alice.call("share", share())
    assert (again.serial, again.fresh) == (answer.serial, False)
    assert alice.call("share", share(rights=("search",))).serial != answer.serial


def test_delivered_when_the_reader_connects_and_again_after_a_restart(alice, bob):
    alice.call("share", share())
    alice.event(PeerUp(B, "", True))
    first = alice.one(Request)
    assert (first.peer, first.protocol) == (B, GRANT_PROTOCOL)
    alice.restart()
    alice.event(PeerUp(B, "", True))
    assert decode_grant_message(alice.one(Request).body).grant
    assert accept(bob, alice.one(Request)) == RECEIPT
    assert bob.one(Notify).topic == "grant.received"
    alice.event(Answered(alice.one(Request).token, RECEIPT))
    assert alice.one(Delete).table == "outbox"
    assert alice.one(Notify).topic == "grant.delivered"
    assert alice.call("grants").given[0].delivered == (B,)
    alice.restart()
    alice.event(PeerUp(B, "", True))
    assert not alice.of(Request)


def test_backs_off_while_connected_and_starts_afresh_on_the_next_connection(alice):
    alice.event(PeerUp(B, "", True))
    alice.call("share", share())
    waits = []
    for _ in range(5):
        request = alice.one(Request)
        alice.event(Answered(request.token, Failure("timed_out", "late", Retry.LATER)))
        due = alice.machine.next_timer()
        waits.append(due - alice.now.mono_us)
        assert not alice.later(due - alice.now.mono_us - 1)
        alice.later(1)
    assert waits == [DELIVERY_BACKOFF_US_MIN << n for n in range(5)]
    alice.event(Answered(alice.one(Request).token, Failure("peer_unreachable", "", Retry.LATER)))
    alice.event(PeerDown(B, "gone"))
    assert not alice.later(HOUR)
    alice.event(PeerUp(B, "", True))
    assert alice.one(Request)


def test_a_final_refusal_ends_the_delivery_and_is_shown(alice):
    alice.event(PeerUp(B, "", True))
    alice.call("share", share())
    alice.event(Answered(alice.one(Request).token, Failure("grant_invalid", "for another")))
    assert alice.one(Notify).topic == "grant.refused"
    assert alice.call("grants").given[0].refused == "for another"
    assert not alice.later(HOUR)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reader": ALICE},
        {"peers": ()},
        {"peers": (b"not a peer",)},
        {"peers": (B,) * 9},
        {"until_us": START.wall_us},
        {"rights": ()},
        {"rights": ("Write!",)},
        {"space": bytes(32)},
        {"name": "x" * 129},
    ],
    ids=str,
)
def test_what_cannot_be_shared(alice, wrong):
    assert alice.call("share", share(**wrong)).code == "argument_invalid"
    assert not alice.of(Persist)


def test_unknown_operations_are_named(alice):
    assert alice.call("steal").code == "method_unknown"


# Receiving


def test_offers_from_strangers_are_refused_by_name_and_taken_later(alice, bob):
    alice.event(PeerUp(B, "", True))
    alice.call("share", share())
    refusal = accept(bob, alice.one(Request), known=False)
    assert refusal.code == "contact_unknown"
    assert refusal.retry is Retry.LATER  # alice keeps trying: bob may add her
    assert ALICE.public.hex()[:12] in refusal.message
    assert accept(bob, alice.one(Request)) == RECEIPT


def test_a_contact_found_by_name_with_another_root_is_no_contact(alice, bob):
    alice.event(PeerUp(B, "", True))
    alice.call("share", share())
    bob.ask(A, GRANT_PROTOCOL, alice.one(Request).body)
    bob.event(Answered(bob.one(Call).token, Contact(Root(EVE.public))))
    assert bob.one(Reply).body.code == "contact_unknown"


def offer(issuer=ALICE, reader=BOB, peer=A, certifier=None, dates=None, serial=b"#" * 16):
    dates = dates or (START.wall_us, START.wall_us + HOUR)
    grant = issue_grant(issuer, SPACE, Root(reader.public), ("read",), dates, serial)
    certificate = issue_certificate(certifier or issuer, peer, "", START.wall_us, dates[1] + 1)
    return encode(GrantMessage(encode(certificate), encode(grant), "name"))


@pytest.mark.parametrize(
    ("body", "sender", "code", "conduct"),
    [
        (offer(), E, "certificate_invalid", ["proof_invalid"]),  # replayed by another peer
        (offer(certifier=EVE, peer=E), E, "grant_invalid", ["proof_invalid"]),
        (offer(reader=EVE), A, "grant_invalid", ["proof_invalid"]),  # for another root
        (offer(dates=(1, START.wall_us)), A, "grant_expired", []),
        (b"\xff", A, "decode_failed", ["body_malformed"]),
    ],
    ids=["replayed", "certified by another", "for another", "dates", "malformed"],
)
def test_bad_offers(bob, body, sender, code, conduct):
    assert bob.ask(sender, GRANT_PROTOCOL, body).code == code
    assert bob.penalties() == conduct
    assert not bob.of(Persist)


def test_an_offer_from_the_future_is_parked_not_judged(bob):
    ahead = START.wall_us + CLOCK_AHEAD_US_MAX + 1
    early = bob.ask(A, GRANT_PROTOCOL, offer(dates=(ahead, ahead + HOUR)))
    assert (early.code, early.retry) == ("not_yet_valid", Retry.LATER)
    assert bob.penalties() == []


def test_one_contact_cannot_fill_the_table(bob):
    for number in range(GRANTS_PER_ISSUER_MAX + 1):
        bob.later(200_000)
        request = Request(B, GRANT_PROTOCOL, offer(serial=number.to_bytes(16, "big")), "", 0)
        answer = accept(bob, request)
        full = number == GRANTS_PER_ISSUER_MAX
        assert (answer.code == "limit_reached") if full else (answer == RECEIPT)


def test_a_withdrawal_is_told_and_a_late_offer_does_not_bring_the_grant_back(shared):
    alice, bob = shared
    held = alice.call("grants").given[0]
    assert alice.call("unshare", Unshare(SPACE, held.reader)).count == 1
    old_offer = offer()
    withdrawal = alice.one(Request)
    bob.restart()
    assert len(bob.call("grants").received) == 1
    assert accept(bob, withdrawal) == RECEIPT
    assert bob.one(Notify).topic == "grant.withdrawn"
    assert bob.call("grants").received == ()
    assert accept(bob, withdrawal) == RECEIPT  # repeated: the answer was lost
    bob.restart()
    message = decode_grant_message(withdrawal.body)
    again = issue_grant(
        ALICE, SPACE, Root(BOB.public), ("read",), (1, START.wall_us + HOUR), message.serial
    )
    late = encode(dataclasses.replace(decode_grant_message(old_offer), grant=encode(again)))
    answer = accept(bob, Request(B, GRANT_PROTOCOL, late, "", 0))
    assert answer.code == "grant_missing"


def test_only_the_issuer_withdraws(shared):
    _, bob = shared
    serial = bob.memory.range("received", b"", 1)[0][0][32:]
    certificate = encode(issue_certificate(EVE, E, "", START.wall_us, START.wall_us + HOUR))
    request = Request(B, GRANT_PROTOCOL, encode(GrantMessage(certificate, serial=serial)), "", 0)
    assert accept(bob, request, E) == RECEIPT  # eve may withdraw her own grant of that serial
    assert len(bob.call("grants").received) == 1


# Serving


def test_search_and_blocks_are_passed_on_and_answered(shared):
    alice, bob = shared
    proof = proof_of(bob)
    alice.ask(B, SEARCH_PROTOCOL, encode(SearchQuestion(SPACE, "query", 5, proof, "text", ("w",))))
    call = alice.one(Call)
    assert call.port == "library.search"
    assert call.arguments == LibrarySearch(SPACE, "query", 5, "text", ("w",))
    alice.event(Answered(call.token, Found((HIT,), 1, 1, 0)))
    assert decode_search_answer(alice.one(Reply).body).hits == (HIT,)
    alice.ask(B, BLOCK_PROTOCOL, encode(BlockQuestion(SPACE, CID, proof)))
    call = alice.one(Call)
    assert (call.port, call.arguments) == ("library.block", LibraryBlock(SPACE, CID))
    alice.event(Answered(call.token, b"block"))
    assert alice.one(Reply).body == b"block"


def test_a_block_outside_the_space_is_refused_like_one_that_does_not_exist(shared):
    alice, bob = shared
    answers = []
    for failure in (Failure("not_found", "not in this space"), Failure("forbidden", "secret")):
        alice.ask(B, BLOCK_PROTOCOL, encode(BlockQuestion(SPACE, CID, proof_of(bob))))
        alice.event(Answered(alice.one(Call).token, failure))
        answers.append(alice.one(Reply).body)
    assert answers[0] == answers[1] == Failure("not_found", "This space holds no such block.")


def test_what_the_library_says_in_trouble_stays_here(shared):
    alice, bob = shared
    alice.ask(B, SEARCH_PROTOCOL, encode(SearchQuestion(SPACE, "query", 5, proof_of(bob))))
    alice.event(Answered(alice.one(Call).token, Failure("store_corrupt", "/home/alice is broken")))
    assert alice.one(Reply).body.code == "node_busy"
    assert "alice" not in alice.one(Reply).body.message


@pytest.mark.parametrize("protocol", [SEARCH_PROTOCOL, BLOCK_PROTOCOL])
def test_a_proof_counts_for_its_peer_its_space_and_its_time_only(shared, protocol):
    alice, bob = shared
    proof = proof_of(bob)

    def ask(peer=B, space=SPACE, proof=proof):
        if protocol == SEARCH_PROTOCOL:
            return alice.ask(peer, protocol, encode(SearchQuestion(space, "q", 5, proof)))
        return alice.ask(peer, protocol, encode(BlockQuestion(space, CID, proof)))

    assert not isinstance(ask(), Failure)
    assert ask(peer=E).code == "certificate_invalid"  # eve replays bob's proof
    assert alice.penalties() == ["proof_invalid"]
    assert ask(space=OTHER).code == "grant_invalid"
    own = encode(issue_certificate(EVE, E, "", START.wall_us, START.wall_us + HOUR))
    assert ask(peer=E, proof=Proof(proof.grant, own)).code == "certificate_invalid"
    made_up = issue_grant(
        EVE, SPACE, Root(EVE.public), ("read", "search"), (1, START.wall_us + HOUR), b"#" * 16
    )
    assert ask(peer=E, proof=Proof(encode(made_up), own)).code == "grant_invalid"
    assert ask(proof=Proof(b"", b"")).code == "grant_invalid"
    alice.later(31 * 24 * HOUR)
    assert ask().code == "certificate_expired"  # a proof checked before is checked again


def test_a_withdrawn_grant_is_worth_nothing_at_once_and_after_a_restart(shared):
    alice, bob = shared
    question = encode(BlockQuestion(SPACE, CID, proof_of(bob)))
    assert not isinstance(alice.ask(B, BLOCK_PROTOCOL, question), Failure)
    alice.call("unshare", Unshare(SPACE, Root(BOB.public)))
    assert alice.ask(B, BLOCK_PROTOCOL, question).code == "grant_missing"
    alice.restart()
    assert alice.ask(B, BLOCK_PROTOCOL, question).code == "grant_missing"


def test_a_question_that_is_with_the_library_when_the_grant_goes_gets_nothing(shared):
    alice, bob = shared
    question = encode(BlockQuestion(SPACE, CID, proof_of(bob)))
    request = alice.ask(B, BLOCK_PROTOCOL, question)
    call = alice.one(Call)
    alice.call("unshare", Unshare(SPACE, Root(BOB.public)))
    alice.event(Answered(call.token, b"block"))
    assert alice.one(Reply).request == request
    assert alice.one(Reply).body.code == "grant_missing"


def test_a_right_that_was_not_given(alice, bob):
    alice.event(PeerUp(B, "", True))
    bob.event(PeerUp(A, "", False))
    alice.call("share", share(rights=("read",)))
    accept(bob, alice.one(Request))
    question = SearchQuestion(SPACE, "q", 5, proof_of(bob))
    assert alice.ask(B, SEARCH_PROTOCOL, encode(question)).code == "grant_missing"


def test_a_peer_that_floods_is_told_to_wait_and_scored(shared):
    alice, bob = shared
    question = encode(SearchQuestion(SPACE, "q", 5, proof_of(bob)))
    for _ in range(SEARCH_BURST_US // SEARCH_COST_US):
        assert not isinstance(alice.ask(B, SEARCH_PROTOCOL, question), Failure)
    assert alice.ask(B, SEARCH_PROTOCOL, question).code == "limit_reached"
    assert alice.penalties() == ["requests_excess"]
    alice.later(SEARCH_COST_US)
    assert not isinstance(alice.ask(B, SEARCH_PROTOCOL, question), Failure)


def test_open_questions_of_one_peer_are_bounded_and_withdrawn_ones_count_no_more(shared):
    alice, bob = shared
    question = encode(BlockQuestion(SPACE, CID, proof_of(bob)))
    first = alice.ask(B, BLOCK_PROTOCOL, question)
    for _ in range(SERVED_PER_PEER_MAX - 1):
        alice.ask(B, BLOCK_PROTOCOL, question)
    assert alice.ask(B, BLOCK_PROTOCOL, question).code == "limit_reached"
    alice.event(Withdrawn(first))
    assert alice.one(Cancel)
    assert not isinstance(alice.ask(B, BLOCK_PROTOCOL, question), Failure)


def test_malformed_questions_are_named_and_scored(alice):
    for protocol in (SEARCH_PROTOCOL, BLOCK_PROTOCOL):
        assert alice.ask(B, protocol, b"\xa0").code == "decode_failed"
        assert alice.penalties() == ["body_malformed"]


# Searching


def test_a_search_asks_merges_and_names_who_gave_no_answer(shared):
    _, bob = shared
    bob.event(PeerUp(E, "", True))
    body = offer(issuer=EVE, peer=E)
    grant = issue_grant(
        EVE, OTHER, Root(BOB.public), ("search",), (START.wall_us, START.wall_us + HOUR), b"%" * 16
    )
    message = dataclasses.replace(decode_grant_message(body), grant=encode(grant))
    accept(bob, Request(B, GRANT_PROTOCOL, encode(message), "", 0), E)
    request = bob.call("search", SearchPeers("query", 3))
    first, second = bob.of(Request)
    assert {first.peer, second.peer} == {A, E}
    assert decode_search_question(first.body).limit == 3
    to_alice, to_eve = (first, second) if first.peer == A else (second, first)
    best = dataclasses.replace(HIT, score=9, cid=Cid.of(RAW, b"best"))
    bob.event(Answered(to_alice.token, encode(Found((HIT, best), 7, 2, 1))))
    assert not bob.said
    bob.event(Answered(to_eve.token, Failure("node_busy", "busy", Retry.LATER)))
    answer = bob.one(Reply)
    assert answer.request == request
    assert [hit.hit for hit in answer.body.hits] == [best, HIT]
    assert {hit.peer for hit in answer.body.hits} == {A}
    assert (answer.body.total, answer.body.opened, answer.body.skipped) == (7, 2, 1)
    (missing,) = answer.body.unreached
    assert (missing.space, missing.code, missing.issuer) == (OTHER, "node_busy", EVE.public)


def test_late_peers_are_reported_not_awaited(shared):
    _, bob = shared
    bob.call("search", SearchPeers("query", 3, timeout_us=1_000_000))
    bob.later(1_000_000)
    assert bob.one(Cancel)
    assert bob.one(Reply).body.unreached[0].code == "timed_out"
    assert bob.machine.next_timer() is None


def test_a_lying_answer_is_no_answer(shared):
    _, bob = shared
    for lie in (b"\xff", encode(Found((HIT, HIT), 2, 1, 0))):  # garbage; more than was asked for
        bob.call("search", SearchPeers("query", 1))
        bob.event(Answered(bob.one(Request).token, lie))
        assert bob.penalties() == ["body_malformed"]
        assert bob.one(Reply).body.unreached[0].code == "peer_misbehaved"


def test_without_grants_or_connections(alice, shared):
    _, bob = shared
    assert alice.call("search", SearchPeers("query", 3)).asked == 0
    bob.event(PeerDown(A, "gone"))
    answer = bob.call("search", SearchPeers("query", 3))
    assert answer.unreached[0].code == "peer_unreachable"
    assert bob.call("sources", Sources()) == ()


def test_a_search_that_nobody_waits_for_is_cancelled(shared):
    _, bob = shared
    request = bob.call("search", SearchPeers("query", 3))
    bob.event(Withdrawn(request))
    assert bob.one(Cancel)
    assert bob.machine.next_timer() is None


def test_another_device_of_the_owner_is_tried(shared):
    _, bob = shared
    serial_row = bob.memory.range("received", b"", 1)[0]
    assert serial_row
    (source,) = bob.call("sources", Sources(SPACE))
    certificate = encode(issue_certificate(ALICE, A2, "", START.wall_us, START.wall_us + HOUR))
    bob.event(PeerUp(A2, "", True))
    message = GrantMessage(certificate, source.grant, "papers")
    assert bob.ask(A2, GRANT_PROTOCOL, encode(message)) == RECEIPT
    bob.call("search", SearchPeers("query", 3))
    first = bob.one(Request)
    assert first.peer == A2  # the device that offered last
    bob.event(Answered(first.token, Failure("peer_unreachable", "", Retry.LATER)))
    assert bob.one(Request).peer == A


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 201}, {"query": "x" * 1025}, {"timeout_us": 0}],
    ids=str,
)
def test_searches_out_of_bounds(bob, wrong):
    asked = dataclasses.replace(SearchPeers("query", 3), **wrong)
    assert bob.call("search", asked).code == "argument_invalid"


def test_penalties_name_the_peer(alice):
    alice.ask(B, SEARCH_PROTOCOL, b"")
    assert [call.arguments for call in alice.of(Call)] == [Penalty(B, "body_malformed")]
    assert alice.event(Answered(alice.one(Call).token, None)) == []
