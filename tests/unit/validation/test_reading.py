"""Reading: rows here and several holders joined; liars add nothing and hide nothing."""

from dataclasses import replace

import pytest

from dms3.chain.entry import make_entry
from dms3.chain.messages import Fetched
from dms3.chain.operations_validation import (
    GetActivity,
    GetLinks,
    GetRecord,
    JudgeRecords,
)
from dms3.chain.ops import decode_op, encode_op
from dms3.chain.sandboxing import Judged
from dms3.core.errors import Failure
from dms3.core.limits import CHAIN_FETCH_MAX, READ_OFFERS_MAX, SECOND_US
from dms3.core.verdict import Invalid, Valid
from unit.chain.chain_kit import DNA, T0
from unit.validation.validation_kit import (
    OTHERS,
    PLAIN,
    Rig,
    begun,
    fetched,
    holding,
    op,
    ops,
)

BASE = b"b" * 32


def written(*, dna=PLAIN, number=1, kind="note"):
    chain = begun(dna, number)
    return chain, chain.create({"text": "hello"}, kind)


def get(rig, hash_, dna=PLAIN, seconds=0, **more: object):
    number = rig.begin("get", GetRecord(dna.id, hash_, **more))
    rig.go(seconds)
    return rig.replies[number]


def linked(chain, count, tag=b""):
    return [
        chain.add("link", base=BASE, to=bytes([n]) * 32, link_kind="by", tag=tag)
        for n in range(count)
    ]


def links(rig, **more: object):
    return rig.call("links", GetLinks(PLAIN.id, BASE, **more))


def test_what_lies_here_is_found_by_action_and_by_entry():
    rig = Rig()
    chain, record = written()
    rig.codes(*ops(*chain.records))
    for hash_ in (record.signed.hash, record.signed.action.entry):
        found = get(rig, hash_, local=True)
        assert [each.signed.hash for each in found.records] == [record.signed.hash]
        assert found.records[0].entry == record.entry
        assert (found.live, found.verdict) == (True, Valid())
    assert rig.fetches == []


def test_what_is_nowhere_is_none():
    rig = Rig()
    _, record = written()
    assert get(rig, record.signed.hash) is None
    assert len(rig.fetches) == 3


def test_what_others_hold_is_judged_before_it_is_shown():
    rig = Rig()
    chain, record = written(dna=DNA, kind="signature")
    rig.network = holding(*chain.records)
    found = get(rig, record.signed.hash, DNA, 1)
    assert found.records[0].entry == record.entry
    assert found.holders == 3
    assert [judge.action["seq"] for judge in rig.judged] == [3]
    assert rig.state(record) == "", "it is not held for that"


def test_what_breaks_a_rule_is_shown_as_that_although_holders_say_it_is_valid():
    rig = Rig()
    chain, record = written(dna=DNA, kind="signature")
    rig.network = holding(*chain.records)
    rig.rules = lambda _: Judged(Invalid("no", "not so"), 1)
    found = get(rig, record.signed.hash, DNA, 1)
    assert isinstance(found.verdict, Invalid)
    assert not found.live


def test_what_cannot_be_checked_in_time_is_said_to_be_so():
    rig = Rig()
    chain, record = written()
    rig.network = holding(record)
    answer = get(rig, record.signed.hash, seconds=6, patience_us=5 * SECOND_US)
    assert isinstance(answer, Failure)
    assert answer.code == "timed_out"
    rig.go(600)
    assert rig.machine._parts.judging._waiting == {}
    assert rig.machine._parts.bench.bringing.open == 0
    rig.network = holding(*chain.records)
    assert get(rig, record.signed.hash, seconds=1).live


def test_a_holder_that_serves_altered_bytes_is_reported_and_the_others_are_believed():
    rig = Rig()
    chain, record = written()
    honest = holding(*chain.records)

    def network(fetch):
        answers = dict(honest(fetch))
        ours = answers[OTHERS[0]]
        if fetch.what == "record" and ours.ops and fetch.basis == record.signed.hash.binary:
            data = ours.ops[0].op
            altered = data.replace(b"hello", b"hullo")
            assert altered != data
            answers[OTHERS[0]] = replace(ours, ops=(replace(ours.ops[0], op=altered),))
        return list(answers.items())

    rig.network = network
    found = get(rig, record.signed.hash, seconds=1)
    assert found.records[0].entry == record.entry
    assert rig.conduct == [(OTHERS[0], "content_invalid")]


def test_an_answer_to_another_question_is_a_lie():
    rig = Rig()
    chain, record = written()
    other = chain.records[0]
    rig.network = lambda fetch: [
        (OTHERS[0], fetched(replace(fetch, basis=other.signed.hash.binary), other))
    ]
    assert get(rig, record.signed.hash) is None
    assert (OTHERS[0], "content_invalid") in rig.conduct
    rig.network = lambda _: [(OTHERS[1], b"nonsense")]
    assert get(rig, record.signed.hash) is None
    assert (OTHERS[1], "body_malformed") in rig.conduct


def test_holders_that_miss_what_was_found_are_offered_it():
    rig = Rig()
    chain, record = written()
    rig.codes(*ops(*chain.records))
    has, lacks = OTHERS[0], OTHERS[1]
    rig.network = lambda fetch: [(has, fetched(fetch, *chain.records)), (lacks, Fetched(()))]
    get(rig, record.signed.hash)
    assert {peer for peer, _ in rig.offers} == {lacks}
    (_, offered), *_ = rig.offers
    assert decode_op(offered[0]).signed.hash == record.signed.hash


def test_equal_content_of_two_authors_is_one_entry_alive_while_one_of_them_is():
    rig = Rig()
    alice, first = written(kind="wiki")
    bob, second = written(number=5, kind="wiki")
    entry = first.signed.action.entry
    rig.codes(*ops(*alice.records, *bob.records))
    found = get(rig, entry, local=True)
    assert {each.signed.hash for each in found.records} == {first.signed.hash, second.signed.hash}
    delete(rig, alice, first)
    assert get(rig, entry, local=True).live
    assert not get(rig, first.signed.hash, local=True).live
    delete(rig, bob, second)
    assert not get(rig, entry, local=True).live


def delete(rig, chain, record):
    gone = chain.add("delete", target=record.signed.hash, target_entry=record.signed.action.entry)
    assert set(rig.codes(*ops(gone))) == {"held"}


def update(chain, record, text):
    entry, data = make_entry({"text": text})
    old = record.signed
    return chain.add(
        "update", data, entry=entry, entry_kind=old.action.entry_kind,
        target=old.hash, target_entry=old.action.entry,
    )  # fmt: skip


def test_the_latest_of_several_updates_is_followed():
    rig = Rig()
    chain, record = written()
    better = update(chain, record, "better")
    best = update(chain, better, "best")
    rig.codes(*ops(*chain.records))
    found = get(rig, record.signed.hash, latest=True, local=True)
    assert found.records[0].signed.hash == best.signed.hash
    plain = get(rig, record.signed.hash, local=True)
    assert plain.updates == (better.signed.hash,)


def test_marks_of_one_lonely_holder_are_judged_before_they_count():
    rig = Rig()
    chain, record = written()
    rig.codes(*ops(*chain.records))
    thief = begun(PLAIN, 5)
    entry = record.signed.action.entry
    theft = thief.add("delete", target=record.signed.hash, target_entry=entry)
    rig.network = lambda fetch: [(OTHERS[0], fetched(fetch, *chain.records, *thief.records))]
    found = get(rig, record.signed.hash, seconds=2)
    assert found.live
    assert found.deletes == ()
    assert rig.state(theft) == ""


def test_links_are_joined_filtered_and_without_the_unlinked():
    rig = Rig()
    alice, bob = begun(PLAIN, 1), begun(PLAIN, 5)
    ours = [*linked(alice, 2, b"red"), *linked(alice, 1, b"blue")]
    theirs = linked(bob, 2, b"redder")
    unlink = alice.add("unlink", base=BASE, target=ours[0].signed.hash)
    rig.codes(*ops(*alice.records[:-1]))
    rig.network = holding(*alice.records, *bob.records)
    found = links(rig)
    assert {each.action for each in found} == {each.signed.hash for each in [*ours[1:], *theirs]}
    tags = [each.tag for each in links(rig, kind="by", tag=b"red")]
    assert tags == [b"red", b"redder", b"redder"]
    assert [each.tag for each in links(rig, tag=b"blue")] == [b"blue"]
    assert {each.author for each in links(rig, author=bob.signing.public)} == {bob.signing.public}
    assert len(links(rig, limit=2)) == 2
    assert links(rig, since_us=T0 + 1_000_000) == ()
    assert rig.state(unlink) == ""


def test_a_link_that_one_holder_alone_names_is_judged():
    rig = Rig()
    good, bad = begun(PLAIN, 1), begun(PLAIN, 5)
    linked(good, 1)
    bad.add("link", base=BASE, to=b"x" * 32, link_kind="unheard")

    def network(fetch):
        answers = [(peer, fetched(fetch, *good.records)) for peer in OTHERS[1:3]]
        return [(OTHERS[0], fetched(fetch, *good.records, *bad.records)), *answers]

    rig.network = network
    assert [each.kind for each in links(rig)] == ["by"]


def test_more_links_than_one_answer_holds_are_read_page_by_page():
    count = CHAIN_FETCH_MAX + 10
    rig, server = Rig(), Rig()
    chain = begun(PLAIN, 1)
    linked_ = [
        chain.add("link", base=BASE, to=n.to_bytes(32, "big"), link_kind="by") for n in range(count)
    ]
    assert server.keep(*chain.records) is None

    def network(fetch):
        more = {"kind": fetch.kind, "tag": fetch.tag, "cursor": fetch.cursor}
        answer = server.fetch(fetch.what, fetch.basis, limit=fetch.limit, **more)
        return [(peer, answer) for peer in OTHERS[:2]]

    rig.network = network
    found = links(rig)
    assert {each.action for each in found} == {each.signed.hash for each in linked_}
    assert len(rig.fetches) == 2


def activity(rig, agent, **more: object):
    return rig.call("activity", GetActivity(PLAIN.id, agent, **more))


def test_activity_is_what_most_of_the_neighbourhood_says():
    rig = Rig()
    chain, _ = written()
    rig.network = holding(*chain.records)
    rig.members, rig.near = 5, False
    found = activity(rig, chain.signing.public)
    assert (found.state, found.head, found.highest, found.holders) == ("valid", 3, 3, 3)
    assert [each.action.seq for each in found.actions] == [0, 1, 2, 3]
    assert found.quorum
    rig.members = 7
    assert not activity(rig, chain.signing.public).quorum
    assert [each.action.seq for each in activity(rig, chain.signing.public, after=1).actions] == [
        2,
        3,
    ]


def test_a_hidden_head_and_a_fork_are_seen_when_one_honest_holder_shows_them():
    rig = Rig()
    chain, record = written()
    fork = chain.draft("link", base=BASE, to=b"f" * 32, link_kind="by", seq=3,
                       prev=record.signed.action.prev)  # fmt: skip
    hidden = [(peer, chain.records[:3]) for peer in OTHERS[:2]]
    for shown, state, head in (
        ([*chain.records], "valid", 3),
        ([*chain.records, fork], "forked", 3),
    ):
        told = [*hidden, (OTHERS[2], shown)]
        rig.network = lambda fetch, told=told: [
            (peer, fetched(fetch, *some)) for peer, some in told
        ]
        found = activity(rig, chain.signing.public)
        assert (found.state, found.head, found.highest) == (state, head, 3)


def test_nobody_is_called_invalid_on_the_word_of_a_holder():
    rig = Rig()
    chain, _ = written()

    def network(fetch):
        lies = fetched(fetch, *chain.records, state="rejected", rule="hearsay")
        return [(OTHERS[0], lies), (OTHERS[1], fetched(fetch, *chain.records))]

    rig.network = network
    number = rig.begin("activity", GetActivity(PLAIN.id, chain.signing.public))
    rig.go(30)
    assert rig.replies[number].state == "valid"


def test_a_refused_action_makes_activity_invalid_and_a_closed_chain_is_closed():
    rig = Rig()
    chain, _ = written()
    chain.add("link", base=BASE, to=b"x" * 32, link_kind="unheard")
    rig.codes(*ops(*chain.records))
    assert activity(rig, chain.signing.public).state == "invalid"
    other = begun(PLAIN, 5)
    other.add("close", other_dna=b"n" * 32, to=b"k" * 32)
    rig.codes(*ops(*other.records), peer=OTHERS[0])
    assert activity(rig, other.signing.public).state == "closed"
    assert activity(rig, b"?" * 32).state == "empty"


def test_activity_until_an_action_is_its_chain_to_the_beginning():
    rig = Rig()
    chain, _ = written()
    rig.codes(*ops(*chain.records))
    until = chain.records[2].signed.hash
    found = activity(rig, chain.signing.public, until=until)
    assert [each.action.seq for each in found.actions] == [0, 1, 2]


def test_own_actions_are_judged_in_order_and_readable_when_they_are_kept():
    rig, chain = Rig(), begun(DNA)
    chain.create({"text": "one"})
    update(chain, chain.records[3], "two")
    assert rig.judge(*chain.records, dna=DNA) == Valid()
    assert rig.keep(*chain.records, dna=DNA) is None
    rig.rank = 99
    assert rig.fetch("record", chain.records[4].signed.hash.binary, DNA).ops
    assert (
        get(rig, chain.records[3].signed.hash, DNA, latest=True, local=True).records[0].signed
        == chain.records[4].signed
    )


def test_the_verdict_on_a_bundle_is_that_of_the_first_that_breaks_a_rule():
    rig, chain = Rig(), begun()
    chain.add("link", base=BASE, to=b"x" * 32, link_kind="unheard")
    chain.create({"text": "behind"}, "note")
    verdict = rig.judge(*chain.records)
    assert isinstance(verdict, Invalid)
    assert verdict.rule == "link-kind"
    assert rig.topics("chain.rejected") == []
    assert rig.disk.values.get("actions", {}) == {}


def test_own_actions_that_refer_to_what_cannot_be_found_fail_with_its_name():
    rig, chain, other = Rig(), begun(), begun(PLAIN, 5)
    rig.keep(*chain.records)
    far = other.create({"text": "far"}, "wiki")
    entry, data = make_entry({"text": "mine"})
    change = chain.draft("update", data, entry=entry, entry_kind="wiki",
                         target=far.signed.hash, target_entry=far.signed.action.entry)  # fmt: skip
    number = rig.begin("judge", JudgeRecords(PLAIN.id, (change,), 2 * SECOND_US))
    rig.go(3)
    answer = rig.replies[number]
    assert answer.code == "timed_out"
    assert str(far.signed.hash) in answer.message
    rig.network = holding(*other.records)
    number = rig.begin("judge", JudgeRecords(PLAIN.id, (change,), 2 * SECOND_US))
    rig.go(1)
    assert rig.replies[number] == Valid()


def test_reads_are_paid_for_by_what_they_find_not_by_what_is_held():
    rig = Rig()
    rig.go(1.0)  # what is held has been counted
    counts = []
    for people in (range(60, 63), range(63, 72)):
        for person in people:
            chain = begun(PLAIN, person)
            for text in range(4):
                chain.create({"text": f"{person} {text}"}, "note")
            assert set(rig.codes(*ops(*chain.records))) == {"held"}
        rig.disk.reads = 0
        get(rig, chain.records[3].signed.hash, local=True)
        counts.append(rig.disk.reads)
    assert counts[0] == counts[1]


def test_what_is_not_asked_for_costs_a_page_and_not_all_that_is_held(monkeypatch):
    """Else one small question, for links of somebody who made none, reads all of a long list."""
    monkeypatch.setattr("dms3.validation.serving.FETCH_PASSED_MAX", 10)
    rig, chain = Rig(), begun()
    for number in range(35):
        chain.add("link", base=BASE, to=str(number).encode(), link_kind="by")
    mine = begun(PLAIN, 5)
    mine.add("link", base=BASE, to=b"mine", link_kind="by", time_us=T0 + 900)
    for record in (*chain.records, *mine.records):
        rig.codes(*ops(record))
    rig.disk.reads = 0
    answer = rig.fetch("links", BASE, author=mine.signing.public)
    assert (len(answer.ops), answer.more) == (1, True)
    assert rig.disk.reads < 30
    asker = Rig()
    asker.network = lambda fetch: [(OTHERS[0], rig.fetch(fetch.what, fetch.basis, **{
        name: getattr(fetch, name) for name in ("kind", "tag", "author", "cursor", "limit")
    }))]  # fmt: skip
    number = asker.begin("links", GetLinks(PLAIN.id, BASE, author=mine.signing.public))
    asker.go(30)
    asker.network = holding(*mine.records)
    here = rig.call("links", GetLinks(PLAIN.id, BASE, author=mine.signing.public))
    assert [each.to for each in here] == [b"mine"]
    assert isinstance(asker.replies[number], tuple)
    assert len(asker.fetches) >= 4


def test_encoded_ops_are_what_was_published():
    rig, chain = Rig(), begun()
    record = chain.create({"text": "hello"}, "note")
    rig.codes(*ops(*chain.records))
    (served,) = rig.fetch("record", record.signed.hash.binary).ops
    assert served.op == encode_op(op(record, "record"))


def offered_to(rig, peer):
    """The actions of what `peer` was offered, in order."""
    return [decode_op(data).signed.hash for to, some in rig.offers if to == peer for data in some]


def test_who_misses_activity_that_was_read_is_offered_it():
    rig = Rig()
    chain, record = written()
    has, also, lacks = OTHERS[:3]
    some = [*chain.records[:-1]]
    rig.network = lambda fetch: [
        (has, fetched(fetch, *chain.records)),
        (also, fetched(fetch, *chain.records)),
        (lacks, fetched(fetch, *some)),
    ]
    assert activity(rig, chain.signing.public).head == 3
    rig.go(1)
    assert {peer for peer, _ in rig.offers} == {lacks}
    assert offered_to(rig, lacks) == [record.signed.hash]
    assert rig.state(record) == "", "it is judged for that, and not held"


def test_activity_that_this_node_does_not_find_valid_is_offered_to_nobody():
    """Two liars call it valid: whoever brings it on would be taken for its author's node."""
    rig = Rig()
    chain = begun(PLAIN, 1)
    chain.add("link", base=b"b" * 32, to=b"z" * 32, link_kind="unheard")
    liars, lacks = OTHERS[:2], OTHERS[2]
    rig.network = lambda fetch: [
        *((peer, fetched(fetch, *chain.records)) for peer in liars),
        (lacks, fetched(fetch, *chain.records[:-1])),
    ]
    activity(rig, chain.signing.public)
    rig.go(30)
    assert rig.offers == []


@pytest.mark.parametrize(
    ("missing", "count"), [(READ_OFFERS_MAX - 1, None), (READ_OFFERS_MAX + 5, READ_OFFERS_MAX)]
)
def test_a_read_offers_no_more_than_some_ops(missing, count):
    rig = Rig()
    chain = begun(PLAIN, 1)
    for number in range(missing):
        chain.create({"text": str(number)}, "note")
    has, lacks = OTHERS[:2], OTHERS[2]
    rig.network = lambda fetch: [
        *((peer, fetched(fetch, *chain.records)) for peer in has),
        (lacks, fetched(fetch, *chain.records[:-missing])),
    ]
    activity(rig, chain.signing.public)
    rig.go(5)
    assert len(offered_to(rig, lacks)) == (count or missing)


def test_a_holder_that_has_more_than_one_page_misses_nothing_for_that():
    rig = Rig()
    chain, _ = written()
    whole, cut = OTHERS[:2]

    def network(fetch):
        first = fetched(fetch, *chain.records[:2])
        return [(whole, fetched(fetch, *chain.records)), (cut, replace(first, more=True))]

    rig.network = network
    activity(rig, chain.signing.public)
    rig.go(5)
    assert cut not in {peer for peer, _ in rig.offers}
