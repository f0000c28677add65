"""Every way of an op from its arrival to its verdict."""

import pytest

from dms3.chain.operations_validation import GetRecord, OpenApp, Pardon
from dms3.chain.ops import op_id
from dms3.chain.receipt import check_receipt, decode_receipt
from dms3.chain.sandboxing import Judged
from dms3.core.errors import Failure, Retry
from dms3.core.limits import (
    ABANDONED_US,
    CLOCK_AHEAD_US_MAX,
    FUEL_LOST_AUTHOR_MAX,
    JUDGE_FUEL_MAX,
    PARKED_US_MAX,
    PENDING_US_MAX,
    SECOND_US,
)
from dms3.core.multibase import encode_base32
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from unit.chain.chain_kit import DNA, T0
from unit.validation.validation_kit import (
    ALICE_PEER,
    MALLORY_PEER,
    PLAIN,
    Rig,
    begun,
    holding,
    op,
    ops,
)


def test_a_chain_in_order_is_integrated_and_receipts_are_signed():
    rig, chain = Rig(), begun()
    chain.create({"text": "hello"}, "note")
    results = rig.publish(*ops(*chain.records))
    assert {each.code for each in results} == {"held"}
    for each, published in zip(results, ops(*chain.records), strict=True):
        receipt = decode_receipt(each.receipt)
        assert check_receipt(receipt, PLAIN.id, op_id(published))
    assert [rig.state(record) for record in chain.records] == ["integrated"] * 4
    assert rig.judged == [], "an app without rules asks nothing of the sandbox"


def test_ops_in_reverse_order_wait_for_each_other_and_a_note_says_when_they_are_decided():
    rig, chain = Rig(), begun()
    chain.create({"text": "hello"}, "note")
    last = chain.records[-1]
    assert rig.codes(*ops(last)) == ["pending"] * 3
    assert rig.state(last) == "system"
    assert rig.trace(last)[0].waiting == (f"action:{chain.records[2].signed.hash}",)
    for record in reversed(chain.records[1:3]):
        assert set(rig.codes(*ops(record))) == {"pending"}
    assert rig.notes == []
    assert set(rig.codes(*ops(chain.records[0]))) == {"held"}
    assert [rig.state(record) for record in chain.records] == ["integrated"] * 4
    assert len(rig.notes) == 3
    assert {peer for peer, _ in rig.notes} == {ALICE_PEER}


def test_what_is_missing_is_fetched_once_and_not_polled():
    rig, chain = Rig(), begun()
    chain.create({"text": "hello"}, "note")
    rig.network = holding(*chain.records[:3])
    assert rig.codes(*ops(chain.records[3])) == ["pending"] * 3
    rig.go(1)
    assert rig.state(chain.records[3]) == "integrated"
    assert len(rig.fetches) == 1, "the action before it, and nothing before that"
    rig.go(600)
    assert len(rig.fetches) == 1
    assert rig.state(chain.records[2]) == "", "what was only looked at is not held"


def test_an_activity_op_is_judged_with_the_entry_that_others_hold():
    rig, chain = Rig(), begun()
    chain.create({"text": "hello"}, "note")
    rig.network = holding(*chain.records)
    assert rig.codes(op(chain.records[3], "activity")) == ["pending"]
    rig.go(1)
    assert rig.state(chain.records[3]) == "integrated"


def test_what_nobody_has_is_asked_for_ever_more_rarely_and_then_given_up():
    rig, chain = Rig(), begun()
    rig.codes(*ops(chain.records[1]))
    rig.go(3_600)
    assert 10 < len(rig.fetches) < 30
    assert rig.state(chain.records[1]) == "system"
    rig.go(PENDING_US_MAX / SECOND_US)
    assert rig.state(chain.records[1]) == "abandoned"
    asked = len(rig.fetches)
    rig.go(3_600)
    assert len(rig.fetches) == asked
    assert rig.notes == [], "of what was given up nothing is said"
    assert rig.topics("chain.rejected") == []


def test_what_was_given_up_is_judged_again_when_it_comes_again_later():
    rig, chain = Rig(), begun()
    rig.codes(*ops(chain.records[1]))
    rig.go(PENDING_US_MAX / SECOND_US + 600)
    assert rig.state(chain.records[1]) == "abandoned"
    rig.network = holding(chain.records[0])
    assert set(rig.codes(*ops(chain.records[1]))) == {"pending"}
    rig.go(1)
    assert rig.state(chain.records[1]) == "integrated"


def test_the_rules_of_the_system_refuse_with_their_name_and_who_published_is_told():
    rig, chain = Rig(), begun()
    rig.publish(*ops(*chain.records))
    bad = chain.draft("link", base=b"b" * 32, to=b"t" * 32, link_kind="unheard")
    results = rig.publish(*ops(bad))
    assert {(each.code, each.rule) for each in results} == {("refused", "link-kind")}
    assert rig.state(bad) == "rejected"
    (told,) = rig.topics("chain.rejected")
    assert told["rule"] == "link-kind"
    assert told["action"] == str(bad.signed.hash)
    assert set(told) == {"app", "agent", "action", "entry", "rule", "detail", "line"}


def test_rejected_ops_are_evidence_and_never_served_as_valid():
    rig, chain = Rig(), begun()
    rig.publish(*ops(*chain.records))
    bad = chain.draft("link", base=b"b" * 32, to=b"t" * 32, link_kind="unheard")
    rig.publish(*ops(bad))
    assert rig.fetch("links", b"b" * 32).ops == ()
    (record,) = rig.fetch("record", bad.signed.hash.binary).ops
    assert (record.state, record.rule) == ("rejected", "link-kind")
    last = rig.fetch("activity", chain.signing.public).ops[-1]
    assert last.state == "rejected"
    assert rig.fetch("activity", chain.signing.public).highest == 2


def test_who_asks_for_an_entry_is_shown_the_refused_behind_the_valid():
    rig, good, bad = Rig(), begun(number=1), begun(number=2)
    fine = good.create({"text": "hello"}, "note")
    broken = bad.create({"text": "hello"}, "unheard")
    rig.publish(*ops(*bad.records), peer=MALLORY_PEER)
    basis = broken.signed.action.entry.binary
    (alone,) = rig.fetch("entry", basis).ops
    assert (alone.state, alone.rule) == ("rejected", "entry-kind")
    (found,) = rig.call("get", GetRecord(PLAIN.id, broken.signed.action.entry)).records
    assert found.signed.hash == broken.signed.hash
    rig.publish(*ops(*good.records))
    assert fine.signed.action.entry == broken.signed.action.entry
    assert [each.state for each in rig.fetch("entry", basis).ops] == ["integrated", "rejected"]
    first = rig.fetch("entry", basis, limit=1)
    assert first.more
    cursor = op_id(op(fine, "entry"))
    (last,) = rig.fetch("entry", basis, cursor=cursor).ops
    assert last.state == "rejected"
    cursor = op_id(op(broken, "entry"))
    assert rig.fetch("entry", basis, cursor=cursor).ops == ()


def test_what_follows_a_refused_action_is_refused_before_or_after():
    chain = begun()
    chain.add("link", base=b"b" * 32, to=b"t" * 32, link_kind="unheard")
    chain.create({"text": "next"}, "note")
    for order in (chain.records, chain.records[::-1]):
        rig = Rig()
        for record in order:
            rig.codes(*ops(record))
            for one in rig.call("warrants", PLAIN.id):  # else nothing more of it is taken
                rig.call("pardon", Pardon(PLAIN.id, one.agent))
        assert [rig.state(record) for record in chain.records[3:]] == ["rejected"] * 2
        assert [each["rule"] for each in rig.topics("chain.rejected")] == [
            "link-kind",
            "previous-refused",
        ]


def test_the_rules_of_the_app_are_asked_once_for_all_ops_of_an_action():
    rig, chain = Rig(), begun(DNA)
    chain.create({"text": "hello"})
    assert set(rig.codes(*ops(*chain.records), dna=DNA)) == {"held"}
    assert len(rig.judged) == 4
    judge = rig.judged[-1]
    assert judge.entry == {"text": "hello"}
    assert judge.action["hash"] == str(chain.records[-1].signed.hash)
    assert judge.program.dna == DNA.id


def test_a_verdict_serves_ops_that_come_later():
    rig, chain = Rig(), begun(DNA)
    chain.create({"text": "hello"})
    rig.codes(*(op(record, "record") for record in chain.records), dna=DNA)
    assert len(rig.judged) == 4
    assert set(rig.codes(*ops(*chain.records), dna=DNA)) == {"held"}
    assert len(rig.judged) == 4
    again = begun(DNA, 3)
    rig.rules = lambda _: Judged(Invalid("no", "because", 7), 5)
    rig.codes(op(again.records[0], "record"), dna=DNA)
    (result,) = rig.publish(op(again.records[0], "activity"), dna=DNA)
    assert (result.code, result.rule, result.line) == ("refused", "no", 7)
    assert len(rig.judged) == 5


def test_a_slow_sandbox_does_not_hold_up_the_answer():
    rig, chain = Rig(), begun(DNA)
    rig.hold("sandbox.judge")
    number = rig.begin_publish(*ops(chain.records[0]), dna=DNA)
    assert number not in rig.replies
    rig.go(1)
    assert [each.code for each in rig.results(number, 2)] == ["pending"] * 2
    assert rig.state(chain.records[0]) == "app"
    rig.release("sandbox.judge")
    assert rig.state(chain.records[0]) == "integrated"
    assert len(rig.notes) == 1


def test_rules_that_ask_are_told_from_here_and_from_others():
    rig, chain = Rig(), begun(DNA)
    other = begun(DNA, 5)
    other.create({"text": "elsewhere"})
    entry = other.records[-1].signed.action.entry
    question = f"entry:{entry}"

    def rules(judge):
        if judge.action["kind"] != "create":
            return Judged(Valid(), 1)
        known = dict(judge.known)
        if question not in known:
            return Judged(Unresolved((question.encode(),)), 1)
        return Judged(Valid() if known[question] == {"text": "elsewhere"} else Invalid("x", "y"), 1)

    rig.rules = rules
    chain.create({"text": "hello"})
    rig.codes(*ops(*chain.records), dna=DNA)
    assert rig.state(chain.records[-1]) == "app"
    assert rig.trace(chain.records[-1])[0].waiting == (question,)
    rig.network = holding(*other.records)
    rig.go(5)
    assert rig.state(chain.records[-1]) == "integrated"


@pytest.mark.parametrize(
    "question",
    [b"entry:nothing", b"whatever", b"activity:abc", b"\xff\xfe", b"record:"],
    ids=["cid", "kind", "activity", "bytes", "empty"],
)
def test_what_has_no_name_is_nothing(question):
    rig, chain = Rig(), begun(DNA)
    name = question.decode(errors="replace")

    def rules(judge):
        known = dict(judge.known)
        assert known.get(name) is None
        return Judged(Valid() if name in known else Unresolved((question,)), 1)

    rig.rules = rules
    assert set(rig.codes(*ops(chain.records[0]), dna=DNA)) == {"held"}


def test_rules_that_ask_for_activity_get_the_chain_up_to_an_action():
    rig, chain = Rig(), begun(DNA)
    other = begun(DNA, 5)
    for number in range(3):
        other.create({"text": str(number)})
    until = other.records[4].signed
    agent = _agent(until.action.author)
    question = f"activity:{agent}:{until.hash}"
    seen = []

    def rules(judge):
        known = dict(judge.known)
        if question not in known:
            return Judged(Unresolved((question.encode(),)), 1)
        seen.append([each["seq"] for each in known[question]])
        return Judged(Valid(), 1)

    rig.rules = rules
    rig.network = holding(*other.records)
    rig.codes(*ops(chain.records[0]), dna=DNA)
    rig.go(2)
    assert rig.state(chain.records[0]) == "integrated"
    assert seen == [[0, 1, 2, 3, 4]]


def test_a_sandbox_that_fails_is_asked_again_and_convicts_nobody():
    rig, chain = Rig(), begun(DNA)
    answers = [Failure("internal", "dead", Retry.LATER)] * 3
    rig.rules = lambda _: answers.pop() if answers else Judged(Valid(), 1)
    rig.codes(*ops(chain.records[0]), dna=DNA)
    assert rig.state(chain.records[0]) == "app"
    rig.go(60)
    assert rig.state(chain.records[0]) == "integrated"


def test_a_sandbox_that_never_answers_ends_it_without_a_word():
    rig, chain = Rig(), begun(DNA)
    rig.rules = lambda _: Failure("internal", "dead", Retry.LATER)
    rig.codes(*ops(chain.records[0]), dna=DNA)
    rig.go(300)
    assert rig.state(chain.records[0]) == "abandoned"
    assert rig.notes == []
    assert rig.topics("chain.rejected") == []


def test_what_was_abandoned_is_not_signed_for_and_not_run_again_soon():
    rig, chain = Rig(), begun(DNA)
    rig.rules = lambda _: Judged(Abandoned("out of fuel"), 10)
    (result, _) = rig.publish(*ops(chain.records[0]), dna=DNA)
    assert (result.code, result.receipt, result.detail) == ("busy", b"", "out of fuel")
    rig.rules = lambda _: Judged(Valid(), 10)
    assert rig.codes(*ops(chain.records[0]), dna=DNA) == ["busy"] * 2
    assert len(rig.judged) == 1
    assert rig.fetch("record", chain.records[0].signed.hash.binary, DNA).ops == ()
    rig.go(ABANDONED_US / SECOND_US)
    assert rig.codes(*ops(chain.records[0]), dna=DNA) == ["held"] * 2


def test_work_that_came_to_nothing_is_charged_to_its_author():
    rig = Rig()
    rig.rules = lambda _: Judged(Abandoned("out of fuel"), FUEL_LOST_AUTHOR_MAX)
    chain = begun(DNA)
    rig.codes(*ops(chain.records[0]), dna=DNA)
    rig.rules = lambda _: Judged(Valid(), 1)
    fork = begun(DNA, 1)
    other = fork.draft("dna", seq=0, prev=None, time_us=T0 + 99)
    (result,) = rig.publish(op(other, "record"), dna=DNA, peer=MALLORY_PEER)
    assert result.code == "busy"
    assert "too much" in result.detail
    assert len(rig.judged) == 1
    assert rig.codes(*ops(begun(DNA, 5).records[0]), dna=DNA) == ["held"] * 2
    rig.go(3_601)
    assert rig.codes(op(other, "record"), dna=DNA) == ["held"]


def test_rules_that_ask_for_ever_are_abandoned():
    rig, chain = Rig(), begun(DNA)
    rig.rules = lambda _: Judged(Unresolved((b"whatever",)), 1)
    assert rig.codes(*ops(chain.records[0]), dna=DNA) == ["busy"] * 2
    assert len(rig.judged) == 2, "it was told once"
    count = iter(range(10_000))
    rig.rules = lambda _: Judged(Unresolved((b"x%d" % next(count),)), JUDGE_FUEL_MAX // 10)
    assert rig.codes(*ops(begun(DNA, 7).records[0]), dna=DNA) == ["busy"] * 2
    assert len(rig.judged) < 20


def test_actions_from_later_than_clocks_may_differ_are_parked_until_they_are_due():
    rig, chain = Rig(), begun()
    ahead = rig.now.wall_us + CLOCK_AHEAD_US_MAX + 5 * SECOND_US
    rig.publish(*ops(*chain.records))
    late = chain.add("link", base=b"b" * 32, to=b"t" * 32, link_kind="by", time_us=ahead)
    assert set(rig.codes(*ops(late))) == {"pending"}
    assert rig.state(late) == "pending"
    rig.go(6)
    assert rig.state(late) == "integrated"
    assert rig.topics("chain.rejected") == []
    far = chain.draft(
        "link", base=b"b" * 32, to=b"t" * 32, link_kind="by",
        time_us=rig.now.wall_us + PARKED_US_MAX + SECOND_US,
    )  # fmt: skip
    assert set(rig.codes(*ops(far))) == {"busy"}
    assert rig.state(far) == ""


def test_what_waits_goes_on_after_a_restart():
    rig, chain = Rig(), begun()
    chain.create({"text": "x" * 200_000}, "note")
    rig.codes(*ops(*chain.records[1:]))
    again = rig.restarted()
    assert [again.state(record) for record in chain.records] == ["", *["system"] * 3]
    again.codes(*ops(chain.records[0]))
    assert [again.state(record) for record in chain.records] == ["integrated"] * 4
    (entry,) = again.fetch("entry", chain.records[3].signed.action.entry.binary).ops
    assert b"x" * 200_000 in entry.op


def test_a_verdict_is_kept_over_a_restart():
    rig, chain = Rig(), begun(DNA)
    rig.codes(*ops(*chain.records), dna=DNA)
    again = rig.restarted()
    assert set(again.codes(*ops(*chain.records), dna=DNA)) == {"held"}
    assert again.judged == []


def test_a_shut_app_takes_nothing_and_goes_on_when_it_is_opened_again():
    rig, chain = Rig(), begun()
    rig.codes(*ops(*chain.records[1:]))
    rig.call("shut", PLAIN.id)
    answer = rig.publish(*ops(chain.records[0]))
    assert isinstance(answer, Failure)
    assert answer.code == "not_found"
    rig.call("open", OpenApp(PLAIN))
    assert set(rig.codes(*ops(chain.records[0]))) == {"held"}
    assert [rig.state(record) for record in chain.records] == ["integrated"] * 3


def _agent(author: bytes) -> str:
    return encode_base32(author)
