"""Neighbours that compare what they hold: both get all of it, and liars get nothing by it."""

import pytest

from dms3.chain.messages import (
    Bring,
    ChainQuestion,
    Fetched,
    FetchedOp,
    Reconcile,
    Reconciled,
    decode_fetched,
    decode_reconciled,
)
from dms3.chain.operations_validation import Block
from dms3.chain.ops import encode_op, op_id
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.limits import (
    CHAIN_OPS_MAX,
    GOSSIP_REST_US,
    RECONCILE_ITEMS_MAX,
    RECONCILE_QUESTIONS_MAX,
    SECOND_US,
)
from dms3.core.machine import ClockJumped, PeerUp
from dms3.core.reconcile import EVERYTHING, Summary, Told, Tree
from dms3.validation.digest import digest
from unit.validation.town_kit import SILENT, House, Town, given, written
from unit.validation.validation_kit import MALLORY_PEER, PLAIN, begun, ops

NOTHING = Tree().summary(EVERYTHING)


def tree(house: House) -> Tree:
    found = house.machine._parts.holding.located.tree(PLAIN.id)
    assert found is not None
    return found


def state(house: House) -> bytes:
    return digest(house.disk, PLAIN.id)


# Two that differ


def test_what_is_missing_is_brought_and_judged_here():
    town = Town(2)
    one, two = town.houses
    chain = written(count=30)
    given(one, chain)
    town.go(8)
    assert all(two.holds(record) for record in chain.records)
    assert state(one) == state(two)
    assert two.repair().brought == len(ops(*chain.records))
    assert (two.repair().absent, two.repair().refused, two.repair().failed) == (0, 0, 0)


def test_what_a_partner_lacks_is_named_and_it_brings_it_itself():
    town = Town(2)
    one, two = town.houses
    two.around = []  # it asks nobody by itself
    chain = written()
    given(one, chain)
    town.go(8)
    assert state(one) == state(two)
    assert one.repair().offered == two.repair().brought == len(ops(*chain.records))


def test_each_has_what_the_other_lacks_after_one_comparison():
    town = Town(2)
    one, two = town.houses
    given(one, written(1))
    given(two, written(2))
    two.around = []
    town.go(8)
    assert state(one) == state(two)


def test_many_more_than_fit_one_comparison_come_one_after_another():
    town = Town(2)
    one, two = town.houses
    chains = [written(number, 40) for number in range(1, 6)]
    for chain in chains:
        given(one, chain)
    town.go(20)
    count = sum(len(ops(*chain.records)) for chain in chains)
    assert len(tree(two)) == count
    bringing = [q.bring.ops for _, _, q in town.questions if q.bring is not None]
    assert max(map(len, bringing)) <= CHAIN_OPS_MAX
    assert count < RECONCILE_ITEMS_MAX


def test_what_waits_for_its_verdict_is_told_to_nobody():
    town = Town(2)
    one, two = town.houses
    chain = written()
    one.codes(*ops(chain.records[-1]))  # what comes before it is nowhere
    town.go(30)
    assert len(tree(one)) == 0
    assert two.trace(chain.records[-1]) == ()


def test_after_a_restart_the_same_is_compared():
    town = Town(2)
    one, two = town.houses
    given(one, written(count=100))
    town.go(5)
    before = tree(one).summary(EVERYTHING)
    again = town.rejoin(0)
    assert again.machine._parts.holding.located.tree(PLAIN.id) is None
    answer = again.ask(ChainQuestion(PLAIN.id, reconcile=Reconcile((before,))), two.peer)
    assert isinstance(answer, Failure), "it still reads what it holds"
    town.go(8)
    assert tree(again).summary(EVERYTHING) == before == tree(two).summary(EVERYTHING)


@pytest.mark.parametrize("known", [0, 3, 1_000])
def test_after_a_restart_ops_without_a_verdict_are_told_to_nobody(monkeypatch, known):
    monkeypatch.setattr("dms3.validation.located.LOCATED_KNOWN_MAX", known)
    monkeypatch.setattr("dms3.validation.located.LOCATED_SLICE_ROWS", 7)
    town = Town(1)
    given(town.houses[0], written(count=20))
    town.houses[0].codes(*ops(written(2).records[-1]))  # what comes before it is nowhere
    town.go(5)
    before = tree(town.houses[0]).summary(EVERYTHING)
    again = town.rejoin(0)
    town.go(20)
    assert tree(again).summary(EVERYTHING) == before
    assert before.count == len(ops(*written(count=20).records))


# How often


def asked_in(town: Town, seconds: float) -> int:
    before = len(town.questions)
    town.go(seconds)
    return len(town.questions) - before


def test_rounds_become_seldom_while_nothing_differs_and_quick_at_a_difference():
    town = Town(3)
    town.go(600)
    at_rest = asked_in(town, 600)
    assert at_rest <= 3 * (600 * SECOND_US // GOSSIP_REST_US + 3)
    given(town.houses[0], written())
    town.go(GOSSIP_REST_US / SECOND_US * 1.5)
    assert len({state(house) for house in town.houses}) == 1


def test_at_rest_the_peer_book_draws_the_partner_and_nobody_waits_for_ever():
    town = Town(4)
    town.go(600)
    one = town.houses[0]
    one.drawn = (town.houses[3].peer,)
    town.questions.clear()
    town.go(1_200)
    asked = [target.peer for source, target, _ in town.questions if source is one]
    assert set(asked) == set(one.around)
    assert max(set(asked), key=asked.count) == town.houses[3].peer


def test_a_comparison_begins_at_once_when_it_is_asked_for():
    town = Town(2)
    town.go(600)
    one, two = town.houses
    two.around = []
    given(one, written())
    before = len(town.questions)
    assert one.call("reconcile", PLAIN.id) is None
    town.go(0.25)
    assert len(town.questions) > before
    assert state(one) == state(two)


def test_who_slept_compares_with_everybody_at_once():
    town = Town(4)
    town.go(600)
    one = town.houses[0]
    town.questions.clear()
    one._tell(ClockJumped(3_600 * SECOND_US))
    town.go(4)
    assert {target.peer for source, target, _ in town.questions if source is one} == set(one.around)


def test_a_newcomer_is_compared_with_at_once():
    town = Town(2)
    one, two = town.houses
    one.around, two.around = [], []
    given(one, written())
    town.go(300)
    one.around = [two.peer]
    one._tell(PeerUp(two.peer, "/ip4/127.0.0.1/tcp/1", inbound=False))
    town.go(8)
    assert state(one) == state(two)


def test_a_neighbour_that_connects_after_a_long_time_is_compared_with():
    town = Town(2)
    one, two = town.houses
    two.around = []
    town.go(20)
    town.wires = lambda *_: SILENT
    town.go(700)
    town.wires = lambda *_: None
    town.questions.clear()
    one._tell(PeerUp(two.peer, "/ip4/127.0.0.1/tcp/1", inbound=True))
    town.go(1)
    assert town.questions


def test_an_app_that_is_shut_compares_no_more():
    town = Town(2)
    one, _ = town.houses
    town.go(8)
    one.call("shut", PLAIN.id)
    town.questions.clear()
    town.go(60)
    assert all(source is not one for source, _, _ in town.questions)


# Lies


def lying(town: Town, answer) -> None:
    """The second house answers by `answer(question)` (None: as it is)."""
    liar = town.houses[1]
    liar.around = []
    town.wires = lambda _, target, question: answer(question) if target is liar else None


def altered(question: ChainQuestion) -> bytes | None:
    if question.bring is None:
        return None
    chain = written()
    found = [each for each in ops(*chain.records) if op_id(each) in question.bring.ops]
    data = encode_op(found[0])
    return encode(Fetched((FetchedOp(data[:-3] + bytes((data[-3] ^ 1,)) + data[-2:]),)))


def another(question: ChainQuestion) -> bytes | None:
    if question.bring is None:
        return None
    return encode(Fetched((FetchedOp(encode_op(ops(*written(9).records)[0])),)))


def senseless(question: ChainQuestion) -> bytes | None:
    return b"\x01" if question.bring is not None else None


@pytest.mark.parametrize(
    ("answer", "code"),
    [(altered, "content_invalid"), (another, "content_invalid"), (senseless, "body_malformed")],
)
def test_ops_that_were_not_asked_for_or_altered_are_their_senders_fault(answer, code):
    town = Town(2)
    one, two = town.houses
    chain = written()
    given(two, chain)
    lying(town, answer)
    town.go(8)
    assert one.conduct[0] == (two.peer, code)
    assert len(tree(one)) == 0
    assert not any(one.trace(record) for record in chain.records)
    assert one.repair().failed > 0


def test_an_answer_about_other_ranges_is_a_lie():
    town = Town(2)
    one, two = town.houses
    elsewhere = Told(at=b"\1", below=(Summary(b"\1\1", 9, bytes(16)),))

    def answer(question):
        if question.reconcile is None or not question.reconcile.ranges:
            return None
        path = question.reconcile.ranges[0].path
        if path:
            return encode(Reconciled((Told(at=b"\2", below=(Summary(b"\2\1", 9, bytes(16)),)),)))
        return encode(Reconciled((elsewhere,)))

    lying(town, answer)
    town.go(8)
    assert (two.peer, "content_invalid") in one.conduct


def test_who_claims_to_hold_what_it_never_gives_is_asked_seldom():
    town = Town(2)
    one, _ = town.houses
    claimed = tuple(bytes((number,)) * 32 for number in range(1, 31))

    def answer(question):
        if question.bring is not None:
            return encode(Fetched(()))
        if question.reconcile.ranges:
            return encode(Reconciled((Told(ids=claimed),)))
        return encode(Reconciled(wanted=len(question.reconcile.lacks)))

    lying(town, answer)
    town.go(600)
    figures = one.repair()
    assert figures.absent >= len(claimed)
    assert figures.brought == 0
    assert asked_in(town, 600) <= 2 * (600 * SECOND_US // GOSSIP_REST_US + 2)


def test_who_denies_what_it_holds_is_told_again_and_nothing_is_lost():
    town = Town(3)
    one, two, three = town.houses
    chain = written()
    given(one, chain)

    def denies(question):
        if question.reconcile is None:
            return None
        told = tuple(Told() for _ in question.reconcile.ranges)
        return encode(Reconciled(told, len(question.reconcile.lacks)))

    two.around = []
    town.wires = lambda _, target, question: denies(question) if target is two else None
    town.go(30)
    assert state(one) == state(three)


def test_sets_that_never_become_equal_end_a_comparison():
    """Whatever is asked, everything below is said to differ."""
    town = Town(2)
    one, _ = town.houses
    asked = []

    def answer(question):
        if question.reconcile is None or not question.reconcile.ranges:
            return None
        asked.append(question)
        return encode(Reconciled(tuple(deeper(each.path) for each in question.reconcile.ranges)))

    def deeper(path):
        if len(path) >= 60:
            return Told()
        ways = tuple(Summary(path + bytes((way,)), 9, bytes(16)) for way in range(16))
        return Told(at=path, below=ways)

    lying(town, answer)
    one.go(0.5)
    assert len(asked) == RECONCILE_QUESTIONS_MAX
    assert one.repair().brought == 0


def test_what_breaks_a_rule_is_its_authors_fault_not_the_partners():
    town = Town(2)
    one, two = town.houses
    chain = begun(PLAIN, 7)
    chain.add("link", base=b"b" * 32, to=b"z" * 32, link_kind="unheard")
    bad = chain.records[-1]
    two.codes(*ops(*chain.records))
    town.go(5)
    assert one.state(bad) == two.state(bad) == "rejected"
    assert one.conduct == []
    assert state(one) == state(two)


def test_what_does_not_lie_near_is_not_taken_and_not_brought_again():
    town = Town(2)
    one, two = town.houses
    given(two, written())
    one.rank = 12
    town.go(60)
    assert len(tree(one)) == 0
    count = len(ops(*written().records))
    assert one.repair().far == count
    brought = [q for source, _, q in town.questions if source is one and q.bring is not None]
    assert sum(len(q.bring.ops) for q in brought) == count


def test_what_did_not_lie_near_is_brought_as_soon_as_nearer_nodes_have_gone():
    town = Town(2)
    one, two = town.houses
    given(two, written())
    one.rank = 12
    town.go(60)
    assert len(tree(one)) == 0
    one.rank = 0
    town.go(1.5 * GOSSIP_REST_US / SECOND_US)  # no more than it takes to compare once more
    assert state(one) == state(two)


def test_what_an_agent_wrote_that_is_blocked_here_keeps_nothing_else_away():
    town = Town(2)
    one, two = town.houses
    bad, good = written(1), written(2)
    one.call("block", Block(PLAIN.id, bad.signing.public, "I know them"))
    given(two, bad)
    given(two, good)
    town.go(60)
    assert all(one.holds(record) for record in good.records)
    assert not any(one.holds(record) for record in bad.records)
    figures = one.repair()
    assert figures.barred == len(ops(*bad.records)), "each was brought once"
    assert (figures.refused, figures.short) == (0, 0)


def test_a_flood_of_comparisons_is_refused():
    one = Town(1).houses[0]
    one.go(1)
    ranges = tuple(
        Summary(bytes((way, other)), 1, bytes(16)) for way in range(4) for other in range(16)
    )
    question = ChainQuestion(PLAIN.id, reconcile=Reconcile(ranges))
    answers = [one.ask(question, MALLORY_PEER) for _ in range(1_000)]
    refused = [each for each in answers if isinstance(each, Failure)]
    assert {each.code for each in refused} == {"limit_reached"}
    assert len(answers) - len(refused) < 120


def test_ops_that_are_asked_for_by_id_are_given_as_far_as_they_are_held():
    one = Town(1).houses[0]
    chain = written()
    given(one, chain)
    names = tuple(op_id(each) for each in ops(*chain.records))
    answer = one.ask(ChainQuestion(PLAIN.id, bring=Bring((*names[:3], bytes(32)))))
    found = decode_fetched(answer, 4)
    assert len(found.ops) == 3
    assert not found.more
    one.go(1)
    told = one.ask(ChainQuestion(PLAIN.id, reconcile=Reconcile((NOTHING,))))
    assert set(decode_reconciled(told, 1).ranges[0].ids) == set(names)
