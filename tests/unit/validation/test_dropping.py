"""What lies far goes when all nearer holders have signed for it, and not before."""

from collections.abc import Callable

import pytest

from dms3.chain.messages import (
    ChainQuestion,
    OpResult,
    Published,
    Reconciled,
    Vouch,
    decode_published,
)
from dms3.chain.ops import op_id
from dms3.chain.receipt import check_receipt, decode_receipt, issue_receipt
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import (
    DROP_PERIODS,
    GOSSIP_PERIOD_US,
    HOLDERS_SLACK,
    PASS_US,
    SECOND_US,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.validation import leftovers
from dms3.validation.rows import ACTIONS, AUTHORS, ENTRIES, INDEX, OPS
from unit.chain.chain_kit import T0, key
from unit.validation.town_kit import Town, written
from unit.validation.validation_kit import OTHERS, PLAIN, Rig, begun, op, ops

HOLDERS = {
    PeerId(PEER_ID_PREFIX + key(150 + number).public): key(150 + number) for number in range(20)
}
FAR = HOLDERS_MIN + HOLDERS_SLACK
PERIOD_S = GOSSIP_PERIOD_US / SECOND_US
TABLES = (ACTIONS, AUTHORS, ENTRIES, INDEX, OPS)

Vouches = Callable[[PeerId, bytes], OpResult]


def signs(peer: PeerId, op_: bytes) -> OpResult:
    return OpResult("held", issue_receipt(HOLDERS[peer], PLAIN.id, op_, T0))


def among(rig: Rig, vouches: Vouches = signs) -> Rig:
    """`rig` has twenty neighbours, who vouch as `vouches` says and compare nothing."""

    def answer(peer: PeerId, question: ChainQuestion) -> bytes | Failure:
        if question.vouch is not None:
            return encode(Published(tuple(vouches(peer, each) for each in question.vouch.ops)))
        if question.reconcile is not None and not question.reconcile.ranges:
            return encode(Reconciled())
        return Failure("timed_out", "It compares nothing.")

    rig.around, rig.partner = sorted(HOLDERS), answer
    return rig


def holding(count: int = 3) -> Rig:
    """A node that holds a chain, as one of the nearest."""
    rig = Rig(None, PLAIN)
    assert set(rig.codes(*ops(*written(count=count).records))) == {"held"}
    return among(rig)


def held(rig: Rig) -> int:
    return len(rig.disk.values.get(OPS, {}))


def vouched(rig: Rig) -> set[PeerId]:
    return {peer for peer, question in rig.asked if question.vouch is not None}


def test_what_lies_far_goes_when_all_nearer_holders_have_signed():
    rig = holding()
    rig.rank = FAR
    rig.go(60)
    assert held(rig) == 0
    assert all(rig.disk.values.get(table, {}) == {} for table in TABLES), "nothing is left of it"
    figures = rig.call("figures", PLAIN.id)
    assert figures.repair.dropped == figures.repair.asked == len(ops(*written().records))
    assert (figures.states, figures.bytes) == ((), 0)
    assert len(rig.machine._parts.holding.located.tree(PLAIN.id)) == 0
    assert rig.conduct == []


def test_nothing_goes_while_this_node_is_among_those_who_keep_it():
    rig = holding()
    rig.rank = FAR - 1
    before = held(rig)
    rig.go(300)
    assert held(rig) == before
    assert not vouched(rig)


def test_nobody_is_asked_before_it_was_far_for_two_periods():
    rig = holding()
    rig.rank = FAR
    rig.go(DROP_PERIODS * PERIOD_S - 0.1)
    assert not vouched(rig)
    rig.go(3 * PERIOD_S)
    assert vouched(rig)


def test_who_becomes_near_again_in_between_keeps_it():
    rig = holding()
    for _ in range(10):
        rig.rank = FAR
        rig.go(2 * PERIOD_S)
        rig.rank = FAR - 1
        rig.go(2 * PERIOD_S)
    assert not vouched(rig)
    assert held(rig) == len(ops(*written().records))


def test_only_the_nodes_that_are_to_hold_it_are_asked():
    rig = holding()
    rig.rank = FAR
    rig.go(20)
    asked = [peers for peers in [vouched(rig)] if peers]
    assert asked
    for _, question in rig.asked:
        if question.vouch is not None:
            per_question = [peer for peer, other in rig.asked if other is question]
            assert len(per_question) == HOLDERS_MIN


@pytest.mark.parametrize(
    "answer",
    [
        OpResult("far"),
        OpResult("pending"),
        OpResult("unknown"),
        OpResult("held", b"no receipt"),
        OpResult("held", issue_receipt(key(99), PLAIN.id, bytes(32), T0)),
    ],
    ids=["far", "pending", "unknown", "nonsense", "of another"],
)
def test_one_holder_that_does_not_sign_keeps_everything(answer):
    rig = holding()
    all_ops = held(rig)
    rig.go(2 * PASS_US / SECOND_US)  # what came is passed on
    rig.asked.clear()
    among(rig, lambda peer, name: answer if peer in sorted(HOLDERS)[::3] else signs(peer, name))
    rig.rank = FAR
    rig.go(60)
    touched = sorted(HOLDERS)[::3]
    assert vouched(rig) & set(touched)
    assert 0 < held(rig) <= all_ops
    forgers = {peer for peer, code in rig.conduct if code == "receipt_forged"}
    assert bool(forgers) == (answer.code == "held")
    assert forgers <= set(touched)
    told = [(peer, q.reconcile.lacks) for peer, q in rig.asked if q.reconcile and q.reconcile.lacks]
    assert {peer for peer, _ in told} <= set(touched)
    assert told, "who does not hold it is told of it"


def test_a_holder_that_does_not_answer_keeps_everything():
    rig = holding()
    before = held(rig)
    rig.partner = lambda *_: Failure("timed_out", "It is gone.")
    rig.rank = FAR
    rig.go(60)
    assert held(rig) == before


def test_own_actions_stay():
    rig = Rig(None, PLAIN)
    chain = written()
    rig.keep(*chain.records)
    among(rig).rank = FAR
    rig.go(60)
    assert held(rig) == len(ops(*chain.records))
    assert not vouched(rig)


def test_what_waits_and_what_is_evidence_stays():
    rig = Rig(None, PLAIN)
    bad = begun(PLAIN, 7)
    bad.add("link", base=b"b" * 32, to=b"z" * 32, link_kind="unheard")
    rig.codes(*ops(bad.records[-1]), *ops(*bad.records[:3]))
    rig.codes(*ops(written(2).records[-1]), peer=OTHERS[0])  # its past is nowhere
    among(rig).rank = FAR
    rig.go(60)
    assert rig.state(bad.records[-1]) == "rejected"
    assert rig.state(written(2).records[-1]) in ("pending", "system")
    assert rig.trace(bad.records[0]) == (), "what is neither goes"


def test_both_sides_of_a_fork_stay():
    rig = Rig(None, PLAIN)
    chain = written()
    fork = chain.draft("link", base=b"b" * 32, to=b"x" * 32, link_kind="by", time_us=T0 + 500)
    chain.add("link", base=b"b" * 32, to=b"y" * 32, link_kind="by")
    rig.codes(*ops(*chain.records))
    rig.codes(*ops(fork))
    before = held(rig)
    among(rig).rank = FAR
    rig.go(60)
    assert held(rig) == before


def test_an_entry_that_another_action_has_made_too_stays_with_it():
    rig = Rig(None, PLAIN)
    one, two = begun(PLAIN, 1), begun(PLAIN, 5)
    for chain in (one, two):
        chain.create({"text": "hello"}, "note")
    rig.codes(*ops(*one.records))
    rig.keep(*two.records)
    among(rig).rank = FAR
    rig.go(120)
    assert rig.trace(one.records[-1]) == ()
    assert rig.disk.values[ENTRIES], "of the own action"
    rig.rank = 0
    (again,) = rig.fetch("record", two.records[-1].signed.hash.binary).ops
    assert again.state == "integrated"


def test_an_entry_that_is_doubted_in_the_middle_of_a_walk_is_looked_for_from_the_first_action(
    monkeypatch,
):
    monkeypatch.setattr(leftovers, "DOUBT_SLICE_ROWS", 1)
    rig = Rig(None, PLAIN)
    one, two = begun(PLAIN, 1), begun(PLAIN, 5)
    for chain in (one, two):
        chain.create({"text": "hello"}, "note")
    rig.codes(*ops(*one.records, *two.records))
    first, last = sorted((one.head, two.head), key=lambda signed: signed.hash.digest)
    walk = rig.machine._parts.alignment.dropping._leftovers
    walk.doubt(PLAIN.id, (first.hash,))  # no entry: the walk begins for nothing
    while walk._at[PLAIN.id] <= PLAIN.id + first.hash.digest:
        rig.go(0.01)
    holding_, entry = rig.machine._parts.holding, last.action.entry
    for op_ in ops(*(one if last is one.head else two).records[-1:]):
        walk.doubt(PLAIN.id, holding_.drop_op(PLAIN.id, op_id(op_)))
    rig.go(2)
    assert not walk._at
    assert not holding_.doubted
    assert holding_.has_entry(PLAIN.id, entry), "the first action has made it, too"


def test_what_came_back_while_its_entry_was_doubted_keeps_it():
    rig = holding(1)
    record = written(count=1).records[-1]
    rig.rank = FAR
    for _ in range(100):
        rig.go(0.25)
        if held(rig) == 0:
            break
    rig.rank = 0
    assert rig.codes(op(record, "record"), *ops(*written(count=1).records[:3]))
    rig.go(5)
    assert rig.disk.values[ENTRIES]


def test_a_chain_of_which_a_part_goes_is_held_up_to_the_gap():
    rig = holding()
    holding_ = rig.machine._parts.holding
    chain = written()
    author = chain.records[0].signed.action.author
    assert holding_.author(PLAIN.id, author).head == len(chain.records) - 1
    holding_.drop_op(PLAIN.id, op_id(op(chain.records[4], "activity")))
    assert holding_.author(PLAIN.id, author).head == 3
    assert rig.codes(op(chain.records[4], "activity")) == ["held"]
    assert holding_.author(PLAIN.id, author).head == len(chain.records) - 1


def test_a_small_overlay_drops_nothing():
    rig = holding()
    rig.around = sorted(HOLDERS)[: FAR - 1]
    rig.rank = FAR
    rig.go(120)
    assert not vouched(rig)


# Vouching


def test_a_holder_signs_for_what_it_holds_and_is_to_hold():
    one = Town(1).houses[0]
    chain = written()
    assert set(one.codes(*ops(*chain.records))) == {"held"}
    name = op_id(ops(*chain.records)[0])
    answer = one.ask(ChainQuestion(PLAIN.id, vouch=Vouch((name, bytes(32)))))
    good, unknown = decode_published(answer, 2).results
    receipt = decode_receipt(good.receipt)
    assert receipt.peer == one.peer
    assert check_receipt(receipt, PLAIN.id, name)
    assert unknown.code == "far"


@pytest.mark.parametrize(("rank", "code"), [(HOLDERS_MIN - 1, "held"), (HOLDERS_MIN, "far")])
def test_who_may_itself_let_go_of_it_does_not_sign(rank, code):
    one = Town(1).houses[0]
    record = written().records[0]
    one.codes(*ops(record))
    one.rank = rank
    answer = one.ask(ChainQuestion(PLAIN.id, vouch=Vouch((op_id(ops(record)[0]),))))
    assert decode_published(answer, 1).results[0].code == code


def test_what_is_not_judged_is_not_signed_for():
    one = Town(1).houses[0]
    record = written().records[-1]
    one.codes(*ops(record))
    answer = one.ask(ChainQuestion(PLAIN.id, vouch=Vouch((op_id(ops(record)[0]),))))
    assert decode_published(answer, 1).results[0].code == "pending"
