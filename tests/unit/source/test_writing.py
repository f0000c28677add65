"""Genesis and commits of an own chain, driven by hand: all or nothing, in order, durable first."""

import pytest

from dms3.chain.dna import Dna, EntryKind
from dms3.chain.operations import (
    ChainHead,
    Change,
    Close,
    Commit,
    Committed,
    Query,
    Rejected,
)
from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.core.limits import BUNDLE_ACTIONS_MAX, COMMITS_WAITING_MAX
from dms3.core.machine import Called, Now
from dms3.core.verdict import Abandoned, Unresolved, Valid
from unit.source.chain_kit import DNA, NOWHERE, OTHER, REFUSAL, WALL, Device, Overlay, check_chain


def begun() -> Device:
    device = Device()
    assert isinstance(device.begin(), ChainHead)
    return device


def test_a_chain_begins_with_its_app_its_proof_and_its_certified_key():
    device = Device()
    head = device.begin()
    assert [each.action.kind for each in device.chain] == ["dna", "proof", "agent"]
    check_chain(device.chain)
    assert (head.seq, head.head, head.standing) == (2, device.chain[-1].hash, "writable")
    assert device.begin() == head  # it is taken up, not begun again
    assert len(device.chain) == 3


def test_a_membrane_that_refuses_is_named_and_nothing_is_begun():
    device = Device()
    device.verdict = REFUSAL
    refused = device.begin()
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.line) == ("short", 7)
    assert {table for table, _ in device.rows.rows} == {"home"}
    device.verdict = None
    assert isinstance(device.begin(), ChainHead)


def test_a_bundle_is_kept_whole_and_readable_when_it_is_answered():
    device = begun()
    done = device.commit(
        Change("create", "note", {"text": "one"}),
        Change("link", "all", base=b"b" * 32, to=b"t" * 32, tag=b"x"),
    )
    assert isinstance(done, Committed)
    assert done.entries[1] is None
    check_chain(device.chain)
    assert [each.hash for each in device.chain[3:]] == list(done.actions)
    assert set(done.actions) <= set(device.records)
    found = device.call("query", Query(DNA.id, after=2))
    assert [each.signed.hash for each in found] == list(done.actions)
    assert found[0].entry is not None


def test_what_a_rule_refuses_leaves_nothing():
    device = begun()
    before = dict(device.rows.rows)
    device.verdict = REFUSAL
    refused = device.note("x" * 601)
    assert isinstance(refused, Rejected)
    assert "Rule short (line 7) refuses entry" in refused.message
    assert refused.author == device.call("head", DNA.id).agent
    assert device.rows.rows == before
    assert [topic for topic, _ in device.notices][-1] == "chain.rejected"
    device.verdict = None
    assert isinstance(device.note(), Committed)
    check_chain(device.chain)


@pytest.mark.parametrize("bad", range(5))
def test_of_a_bundle_the_action_that_breaks_the_rule_is_named(bad):
    device = begun()

    def judge(asked):
        long = any(len(record.entry or b"") > 600 for record in asked.records)
        return REFUSAL if long else Valid()

    device.ports["validation.judge"] = judge
    texts = ["x" * (700 if number >= bad else 5) for number in range(5)]
    refused = device.commit(*[Change("create", "note", {"text": text}) for text in texts])
    assert refused.action == bad
    assert str(refused.entry) in refused.message
    assert len(device.chain) == 3


@pytest.mark.parametrize(
    ("verdict", "code"),
    [(Unresolved((b"entry:x",)), "content_unavailable"), (Abandoned("fuel"), "content_invalid")],
)
def test_what_cannot_be_judged_is_not_kept(verdict, code):
    device = begun()
    device.verdict = verdict
    answer = device.note()
    assert isinstance(answer, Failure)
    assert answer.code == code
    assert len(device.chain) == 3


def test_commits_wait_for_each_other_and_for_no_one_else():
    device = begun()
    device.silent.add("validation.judge")
    first = device.ask("commit", device_commit("one"))
    second = device.ask("commit", device_commit("two"))
    assert not device.answers.get(first)
    device.silent.clear()
    device.restart()  # what was not answered is not written
    assert len(device.chain) == 3
    assert second not in device.answers
    device.begin()
    assert isinstance(device.note("three"), Committed)
    check_chain(device.chain)


def device_commit(text):
    return Commit(DNA.id, (Change("create", "note", {"text": text}),))


def test_a_whole_queue_may_fail_at_once():
    device = begun()
    waiting = [device_commit(str(number)) for number in range(COMMITS_WAITING_MAX - 1)]
    for number, (name, asked) in enumerate(
        [("close", Close(DNA.id, OTHER.id)), *(("commit", each) for each in waiting)]
    ):
        event = Called(name, asked, RequestId(1_000 + number))
        device._absorb(device.machine.on_event(event, device.now))  # nothing is answered yet
    device.run()
    refused = [device.answers[1_001 + number].code for number in range(len(waiting))]
    assert refused == ["chain_closed"] * len(waiting)
    check_chain(device.chain)


def test_the_queue_of_a_chain_has_an_end():
    device = begun()
    device.silent.add("validation.judge")
    for number in range(COMMITS_WAITING_MAX + 1):  # one is being judged
        assert device.call("commit", device_commit(str(number))) is None
    assert device.call("commit", device_commit("more")).code == "limit_reached"


@pytest.mark.parametrize("count", [0, BUNDLE_ACTIONS_MAX + 1])
def test_a_bundle_has_some_changes_and_not_too_many(count):
    device = begun()
    link = Change("link", "all", base=b"b" * 32, to=b"t" * 32)
    assert device.commit(*[link] * count).code == "argument_invalid"


def test_the_largest_bundle_is_one_transaction():
    device = Device(Overlay(0))  # publishing is another matter
    device.begin()
    link = Change("link", "all", base=b"b" * 32, to=b"t" * 32)
    assert len(device.commit(*[link] * BUNDLE_ACTIONS_MAX).actions) == BUNDLE_ACTIONS_MAX
    check_chain(device.chain)


def test_no_action_is_dated_before_the_one_before_it():
    device = begun()
    device.now = Now(device.now.mono_us, WALL - 3_600_000_000)
    assert isinstance(device.note(), Committed)
    check_chain(device.chain)
    assert device.chain[-1].action.time_us == device.chain[2].action.time_us


def test_a_commit_may_name_the_head_that_it_was_made_for():
    device = begun()
    head = device.call("head", DNA.id).head
    assert isinstance(device.note(head=head), Committed)
    assert device.note(head=head).code == "chain_moved"


def test_entries_of_any_size_are_kept_in_parts():
    device = begun()
    for size in (61_000, 61_440, 200_000):
        device.note("x" * size)
        found = device.call("query", Query(DNA.id, kind="note"))[-1]
        assert found.signed.action.entry.matches(found.entry)
    assert device.note("x" * (1 << 20)).code == "argument_invalid"


def test_changes_refer_to_own_actions_and_to_those_of_others():
    device = begun()
    (action,) = device.note().actions
    update = device.commit(Change("update", target=action, content={"text": "two"}))
    assert isinstance(update, Committed)
    other = Device(device=b"e" * 16)
    other.begin()
    other.note("theirs")
    theirs = other.call("query", Query(DNA.id, kind="note"))[0]
    device.found = {theirs.signed.hash: theirs}
    device.records |= other.records
    assert isinstance(device.commit(Change("delete", target=theirs.signed.hash)), Committed)
    assert device.commit(Change("delete", target=NOWHERE)).code == "not_found"
    assert device.commit(Change("unlink", target=action)).code == "argument_invalid"
    check_chain(device.chain)


def test_kinds_that_the_app_does_not_have_are_named():
    device = begun()
    assert "note, secret" in device.commit(Change("create", "poem", {})).message
    assert device.commit(Change("link", "none", base=b"b" * 32, to=b"t" * 32)).code == (
        "argument_invalid"
    )
    assert device.commit(Change("create", "note", {"x": 1.5})).code == "argument_invalid"
    assert device.commit(Change("create", "note", {}, private=True)).code == "argument_invalid"


def test_a_private_entry_stays_in_a_table_of_its_own():
    device = begun()
    device.commit(Change("create", "secret", {"text": "the marker sentence"}))
    action = device.chain[-1].action
    assert action.private
    assert action.sealed is not None
    assert next(iter(device.rows.of("private"))).startswith(action.entry.binary)
    assert device.rows.of("entry") == {}
    for holder in device.overlay.holders:
        for op in holder.ops.values():
            assert b"marker" not in (op.entry or b"") + (op.sealed or b"") + op.signed.data
    found = device.call("query", Query(DNA.id, kind="secret"))
    assert b"marker" in found[0].entry


def test_no_chain_no_commit():
    device = Device()
    assert device.note().code == "not_found"
    assert device.call("head", DNA.id).code == "not_found"
    assert device.call("nothing", None).code == "method_unknown"


@pytest.mark.parametrize("gated", [True, False])
def test_a_proof_stands_where_the_kind_of_an_entry_asks_for_one(gated):
    admin = {"scheme": "invite", "by": ["ab" * 32], "needed": 1}
    inner = {"note": admin} if gated else {"other": admin}
    dna = Dna("gated", entries=(EntryKind("note"), EntryKind("other")),
              membrane={"outer": "open", "inner": inner})  # fmt: skip
    device = Device()
    device.ports["validation.judge"] = lambda _: Valid()
    device.begin(dna)
    made = device.commit(Change("create", "note", {"text": "one"}, proof=b"shown"), dna=dna)
    assert isinstance(made, Committed)
    (target,) = made.actions
    changed = Change("update", "note", {"text": "two"}, target=target, proof=b"shown")
    assert isinstance(device.commit(changed, dna=dna), Committed)
    shown = [each.action.proof for each in device.chain[3:]]
    assert shown == [b"shown" if gated else b""] * 2
