"""What comes is in hand while it is judged: written once, with its verdict, or when it waits."""

import pytest

from dms3.chain.messages import ChainQuestion, Reconcile, decode_reconciled
from dms3.chain.operations_validation import KeepRecords, OpenApp, Record
from dms3.chain.ops import op_id
from dms3.chain.sandboxing import Judged
from dms3.core.limits import IN_HAND_US_MAX, SECOND_US
from dms3.core.verdict import Abandoned, Valid
from dms3.validation import in_hand
from unit.chain.chain_kit import DNA, Chain
from unit.validation.validation_kit import PLAIN, Rig, begun, op, ops

TABLES = ("actions", "ops", "entries", "pending", "index")


def written(rig: Rig) -> dict[str, int]:
    """How many rows there are, by table."""
    return {table: len(rig.disk.values.get(table, {})) for table in TABLES}


def judged_app() -> tuple[Rig, Chain]:
    """A node with the first three actions of a chain, and its sandbox held back."""
    rig, chain = Rig(), begun(DNA)
    rig.codes(*ops(*chain.records), dna=DNA)
    rig.hold("sandbox.judge")
    return rig, chain


def test_nothing_is_written_before_the_verdict_and_all_of_it_with_the_verdict():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    before = written(rig)
    number = rig.begin_publish(*ops(record), dna=DNA)
    assert written(rig) == before
    assert rig.state(record) == "app", "it is there all the same"
    assert number not in rig.replies
    rig.release("sandbox.judge")
    assert {each.code for each in rig.results(number, 3)} == {"held"}
    after = written(rig)
    assert {table: after[table] - before[table] for table in TABLES} == {
        "actions": 1, "ops": 3, "entries": 1, "pending": 0, "index": 2,
    }  # fmt: skip
    assert rig.call("figures", DNA.id).states == rig.restarted().call("figures", DNA.id).states


def test_what_a_crash_takes_is_brought_again():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    rig.begin_publish(*ops(record), dna=DNA)
    again = rig.restarted()
    assert again.state(record) == ""
    assert set(again.codes(*ops(record), dna=DNA)) == {"held"}
    assert again.state(record) == "integrated"


def lacking(rig: Rig, *records: Record) -> int:
    """How many of their ops the node wants of a partner that says it lacks them."""
    names = tuple(op_id(each) for each in ops(*records))
    answer = rig.ask(ChainQuestion(DNA.id, reconcile=Reconcile(lacks=names)))
    return decode_reconciled(answer, 0).wanted


def test_what_is_in_hand_is_not_brought_again_and_what_a_crash_took_is():
    rig, chain = judged_app()
    rig.go(1)
    record = chain.create({"text": "hello"})
    rig.begin_publish(*ops(record), dna=DNA)
    assert lacking(rig, record) == 0
    again = rig.restarted()
    again.go(1)
    assert lacking(again, record) == len(ops(record)) == 3
    other = Chain(chain.signing, chain.root, DNA)
    other.records[:] = chain.records[:-1]
    assert lacking(rig, other.create({"text": "at the same place"})) == 3
    rig.release("sandbox.judge")
    assert written(rig)["ops"] == len(ops(*chain.records))
    assert lacking(rig, record) == 0
    assert rig.machine._parts.holding.in_hand._ids == set()


def test_whoever_is_told_that_it_waits_is_told_what_is_written():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    number = rig.begin_publish(*ops(record), dna=DNA)
    rig.go(IN_HAND_US_MAX / SECOND_US)
    assert {each.code for each in rig.results(number, 3)} == {"pending"}
    assert written(rig)["pending"] == 1
    again = rig.restarted()
    assert again.state(record) == "integrated"


def test_what_waits_for_something_that_is_not_here_is_written_at_once():
    rig, chain = Rig(), begun()
    chain.create({"text": "hello"}, "note")
    assert rig.codes(*ops(chain.records[3])) == ["pending"] * 3
    assert (written(rig)["pending"], written(rig)["ops"]) == (1, 3)


def test_what_nobody_is_told_of_is_written_after_a_second():
    """As what was brought by comparing: its partner waits for no answer."""
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    rig.withdraw(rig.begin_publish(*ops(record), dna=DNA))
    rig.go(IN_HAND_US_MAX / SECOND_US - 0.01)
    assert written(rig)["pending"] == 0
    rig.go(0.01)
    assert written(rig)["pending"] == 1
    rig.release("sandbox.judge")
    assert rig.state(record) == "integrated"
    assert written(rig)["pending"] == 0


@pytest.mark.parametrize("bound", ["IN_HAND_ACTIONS_MAX", "IN_HAND_BYTES_MAX"])
def test_what_has_no_room_in_hand_is_written_at_once(monkeypatch, bound):
    rig, chain = judged_app()
    one, two = chain.create({"text": "one"}), chain.create({"text": "two"})
    size = len(one.signed.data) + len(one.entry)
    monkeypatch.setattr(in_hand, bound, 1 if bound == "IN_HAND_ACTIONS_MAX" else size)
    rig.begin_publish(*ops(one), dna=DNA)
    rig.begin_publish(*ops(two), dna=DNA)
    assert [bytes(key[-32:]) for key in rig.disk.values["pending"]] == [two.signed.hash.digest]
    rig.release("sandbox.judge")
    assert rig.state(one) == rig.state(two) == "integrated"
    assert written(rig)["pending"] == 0


def test_a_later_op_that_has_no_room_has_the_action_written(monkeypatch):
    rig, chain = judged_app()
    record = chain.create({"text": "x" * 1_000})
    monkeypatch.setattr(in_hand, "IN_HAND_BYTES_MAX", len(record.signed.data) + 100)
    rig.network = lambda _: ()
    rig.begin_publish(op(record, "activity"), op(record, "record"), dna=DNA)
    assert written(rig)["pending"] == 1
    rig.release("sandbox.judge")
    assert rig.state(record) == "integrated"


def test_an_entry_of_two_actions_is_written_with_the_first_of_them():
    rig, chain = judged_app()
    other = begun(DNA, 5)
    rig.release("sandbox.judge")
    rig.codes(*ops(*other.records), dna=DNA)
    one, two = chain.create({"text": "same"}), other.create({"text": "same"})
    rig.hold("sandbox.judge")
    rig.begin_publish(*ops(one), dna=DNA)
    number = rig.begin_publish(*ops(two), dna=DNA)
    first = rig.held_back["sandbox.judge"].pop(0)
    rig.release("sandbox.judge")
    assert first.token in rig.open, "it is still judged"
    assert {each.code for each in rig.results(number, 3)} == {"held"}
    again = rig.restarted()
    assert again.state(one) == ""
    (found,) = again.fetch("entry", two.signed.action.entry.binary, DNA).ops
    assert found.state == "integrated"


def test_ops_that_come_one_after_another_are_one_action():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    first = rig.begin_publish(op(record, "record"), dna=DNA)
    rest = rig.begin_publish(op(record, "entry"), op(record, "activity"), dna=DNA)
    rig.release("sandbox.judge")
    assert [each.code for each in rig.results(first, 1)] == ["held"]
    assert [each.code for each in rig.results(rest, 2)] == ["held"] * 2
    assert len(rig.judged) == 4


def test_an_op_that_brings_the_entry_goes_on_with_what_waits_for_it():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    rig.release("sandbox.judge")
    assert rig.codes(op(record, "activity"), op(record, "record"), dna=DNA) == ["pending"] * 2
    assert rig.state(record) == "integrated"
    assert len(rig.notes) == 1
    assert written(rig)["pending"] == 0


def test_an_own_action_that_others_have_brought_is_kept_as_own():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    number = rig.begin_publish(*ops(record), dna=DNA)
    assert rig.keep(record, dna=DNA) is None
    assert {each.code for each in rig.results(number, 3)} == {"held"}
    rig.release("sandbox.judge")
    assert rig.restarted().state(record) == "integrated"


def test_a_shut_app_has_what_was_in_hand_when_it_is_opened_again():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    rig.begin_publish(*ops(record), dna=DNA)
    rig.call("shut", DNA.id)
    assert written(rig)["pending"] == 1
    rig.release("sandbox.judge")
    rig.call("open", OpenApp(DNA))
    assert rig.state(record) == "integrated"


def test_what_was_given_up_is_written_once_too():
    rig, chain = judged_app()
    record = chain.create({"text": "hello"})
    rig.rules = lambda _: Judged(Abandoned("out of fuel"), 10)
    rig.begin_publish(*ops(record), dna=DNA)
    rig.release("sandbox.judge")
    assert rig.restarted().state(record) == "abandoned"
    rig.rules = lambda _: Judged(Valid(), 1)


def test_own_actions_are_answered_at_once_and_written_with_the_next_event():
    rig, chain = Rig(), begun()
    before = written(rig)
    assert rig.begin("keep", KeepRecords(PLAIN.id, tuple(chain.records))) in rig.replies
    assert written(rig) == before
    assert rig.state(chain.records[2]) == "integrated"
    first = rig.fetch("activity", chain.signing.public)
    assert [each.state for each in first.ops] == ["integrated"] * 3, "it can be read"
    rig.go(0)
    assert written(rig)["actions"] == before["actions"] + 3
    assert rig.fetch("activity", chain.signing.public) == first
    assert rig.restarted().fetch("activity", chain.signing.public) == first
    assert rig.call("figures", PLAIN.id).states == rig.restarted().call("figures", PLAIN.id).states


def test_own_actions_are_written_before_what_comes_behind_them():
    rig, chain = Rig(), begun()
    rig.begin("keep", KeepRecords(PLAIN.id, tuple(chain.records)))
    other = begun(number=2)
    assert set(rig.codes(*ops(other.records[0]))) == {"held"}
    assert rig.restarted().state(chain.records[2]) == "integrated"


def test_no_more_than_one_bundle_is_late_however_many_come():
    """As after a backup was restored: thousands of own actions are kept in one turn of the node."""
    rig, chain = Rig(), begun()
    late = rig.machine._parts.rows
    rig.begin("keep", KeepRecords(PLAIN.id, tuple(chain.records)))
    first = len(late._late)
    most = 0
    for number in range(6):
        rig.begin("keep", KeepRecords(PLAIN.id, (chain.create({"text": str(number)}, "note"),)))
        most = max(most, len(late._late))
    assert most <= first
    rig.go(0)
    assert rig.restarted().state(chain.records[-1]) == "integrated"
