"""Who breaks the rules of an app is convicted, by this node's own verdict; and what follows."""

import pytest

from dms3.chain.action import encode_signed, sign_action
from dms3.chain.messages import decode_chain_question
from dms3.chain.operations_validation import Block, GetActivity, GetRecord, Pardon, Record
from dms3.chain.ops import encode_op
from dms3.chain.sandboxing import Judged
from dms3.chain.warrant import (
    FALSE,
    Evidence,
    WarrantNews,
    decode_news,
    encode_evidence,
    encode_news,
    fork_evidence,
    rule_evidence,
)
from dms3.core.errors import Failure
from dms3.core.gossip import UNJUDGED, HeardGossip
from dms3.core.limits import (
    WARRANT_ANSWER_US,
    WARRANT_RETRY_US,
    WARRANT_TRIES_MAX,
    WARRANT_WAIT_US_MAX,
    WARRANTS_OF_ONE_MAX,
    WARRANTS_WRITTEN_MAX,
)
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from dms3.validation import accusing, hearing
from unit.chain.chain_kit import DNA
from unit.validation.validation_kit import (
    ALICE_PEER,
    MALLORY_PEER,
    OTHERS,
    PLAIN,
    Rig,
    begun,
    fetched,
    holding,
    op,
    ops,
)

WAIT = WARRANT_WAIT_US_MAX / 1_000_000
BAD = {"base": b"b" * 32, "to": b"t" * 32, "link_kind": "unheard"}


def member(number=7, dna=PLAIN):
    """A rig whose node has a chain of its own."""
    rig = Rig()
    rig.own = begun(dna, number)
    rig.keep(*rig.own.records, dna=dna)
    return rig


def forked(number=1):
    """A chain, and two records at its end."""
    chain = begun(PLAIN, number)
    one = chain.create({"text": "to you"}, "note")
    chain.records.pop()
    two = chain.create({"text": "to others"}, "note")
    return chain, one, two


def lawless(number=1):
    """A chain whose last record breaks a rule."""
    chain = begun(PLAIN, number)
    return chain, chain.add("link", **BAD)


def convicted(rig, dna=PLAIN):
    return {one.agent: one for one in rig.call("warrants", dna.id)}


def hear(rig, *, warrant, accused=b"", dna=PLAIN, peer=ALICE_PEER):
    """What gossip is told of news."""
    body = encode_news(WarrantNews(1, encode_signed(warrant.signed), accused))
    return rig.call("heard", HeardGossip(dna.id, "warrants", peer, body))


def warned(chain, agent, evidence):
    return chain.add("warrant", to=agent, proof=evidence)


# What convicts


def test_two_actions_at_one_place_convict_and_are_warned_of_once():
    rig, (chain, one, two) = member(), forked()
    rig.codes(*ops(*chain.records))
    assert convicted(rig) == {}
    rig.codes(*ops(one), peer=OTHERS[0])
    found = convicted(rig)[chain.signing.public]
    assert (found.kind, found.standing, found.seq, found.issuer) == ("fork", "convicted", 3, b"")
    assert set(found.actions) == {one.signed.hash, two.signed.hash}
    assert rig.shunned == (), "each of the two may be handed on by an honest node"
    rig.go(WAIT)
    (asked,) = rig.warrants
    assert (asked.agent, asked.evidence) == (chain.signing.public, found.evidence)
    assert convicted(rig)[chain.signing.public].warrant == rig.own.head.hash
    assert [each["kind"] for each in rig.topics("chain.convicted")] == ["fork"]
    assert [each["action"] for each in rig.topics("chain.warranted")] == [str(rig.own.head.hash)]
    rig.go(WARRANT_RETRY_US / 1_000_000 + 1)
    assert len(rig.warrants) == len(rig.spread) == 1


def test_a_broken_rule_convicts_and_what_is_judged_again_goes_with_the_warrant():
    rig, (chain, bad) = member(), lawless()
    rig.codes(*ops(*chain.records), peer=MALLORY_PEER)
    found = convicted(rig)[chain.signing.public]
    assert (found.kind, found.rule, found.seq) == ("rule", "link-kind", 3)
    assert found.actions == (bad.signed.hash,)
    assert rig.shut_out == (chain.signing.public,)
    assert rig.shunned == (MALLORY_PEER,)
    rig.go(WAIT)
    (spread,) = rig.spread
    warrant, accused = decode_news(spread.body)
    assert warrant.hash == rig.own.head.hash
    assert accused == encode_op(op(bad, "record"))
    shown = decode_chain_question(rig.shown[0].body).publish
    assert shown.ops == (encode_op(op(rig.own.records[-1], "record")), accused)


def test_what_a_read_has_found_out_is_shown_with_its_entry():
    rig, chain = member(), begun()
    rig.codes(*ops(*chain.records))
    bad = chain.create({"text": "hello"}, "unheard")
    rig.network = holding(*chain.records)
    assert isinstance(rig.call("get", GetRecord(PLAIN.id, bad.signed.hash)).verdict, Invalid)
    rig.go(WAIT)
    (spread,) = rig.spread
    assert decode_news(spread.body)[1] == encode_op(op(bad, "record"))


def test_who_shows_a_warrant_with_what_it_accuses_did_not_do_it():
    rig, (chain, bad) = member(), lawless()
    rig.codes(*ops(*chain.records[:3]))
    issuer = begun(PLAIN, 5)
    rig.codes(*ops(*issuer.records))
    warrant = warned(issuer, chain.signing.public, rule_evidence(bad.signed, "link-kind"))
    rig.codes(op(warrant, "record"), op(bad, "record"), peer=OTHERS[0])
    assert chain.signing.public in convicted(rig)
    assert rig.shunned == ()


def test_what_was_refused_before_its_author_was_let_in_convicts_then():
    rig, (chain, bad) = member(), lawless()
    rig.codes(*ops(bad))
    assert convicted(rig) == {}, "nobody has that key"
    rig.codes(*ops(*chain.records[:3]))
    assert set(convicted(rig)) == {chain.signing.public}


def test_a_stranger_who_was_never_let_in_is_not_worth_a_warrant():
    rig, (_, bad) = member(), lawless()
    other = begun(PLAIN, 9)
    stolen = other.next("link", prev=bad.signed.hash, seq=4, **BAD)
    assert rig.codes(*ops(Record(sign_action(other.signing, stolen)))) == ["refused"] * 3
    rig.go(60)
    assert convicted(rig) == {}
    assert rig.warrants == []


def test_what_follows_or_refers_to_a_refused_action_is_no_offence():
    """An honest author may have been told that it is valid."""
    rig, (chain, bad) = member(), lawless()
    rig.codes(*ops(*chain.records))
    honest = begun(PLAIN, 5)
    honest.add("delete", target=bad.signed.hash, target_entry=bad.signed.hash)
    rig.codes(*ops(*honest.records), peer=OTHERS[0])
    assert rig.state(honest.records[-1]) == "rejected"
    assert set(convicted(rig)) == {chain.signing.public}


def test_abandoned_and_unresolved_convict_nobody():
    rig, chain, other = Rig(), begun(DNA), begun(DNA, 2)
    endless, asking = chain.create({"text": "endless"}), other.create({"text": "?"})
    lacking = Unresolved((b"record:" + str(begun(PLAIN, 3).head.hash).encode(),))

    def rules(judge):
        if judge.entry == {"text": "endless"}:
            return Judged(Abandoned("too much fuel"), 1)
        return Judged(lacking if judge.entry == {"text": "?"} else Valid(), 1)

    rig.rules = rules
    rig.codes(*ops(*chain.records, *other.records), dna=DNA)
    assert (rig.state(endless), rig.state(asking)) == ("abandoned", "app")
    issuer = begun(DNA, 5)
    rig.codes(*ops(*issuer.records), dna=DNA)
    for bad in (endless, asking):
        before = len(issuer.records)
        warrant = warned(issuer, bad.signed.action.author, rule_evidence(bad.signed, "short"))
        assert hear(rig, warrant=warrant, dna=DNA) in (False, None)
        rig.go(WARRANT_ANSWER_US / 1_000_000 + 1)
        del issuer.records[before:]
    assert convicted(rig, DNA) == {}


# Warrants of others


@pytest.mark.parametrize("kind", ["fork", "rule"])
def test_a_warrant_that_holds_convicts_who_is_warned_of(kind):
    rig, issuer = member(), begun(PLAIN, 5)
    rig.codes(*ops(*issuer.records))
    if kind == "fork":
        chain, one, two = forked()
        evidence, accused = fork_evidence(one.signed, two.signed), b""
    else:
        chain, bad = lawless()
        evidence, accused = rule_evidence(bad.signed, "link-kind"), encode_op(op(bad, "record"))
    warrant = warned(issuer, chain.signing.public, evidence)
    assert hear(rig, warrant=warrant, accused=accused) is True
    found = convicted(rig)[chain.signing.public]
    assert (found.kind, found.issuer, found.warrant) == (
        kind,
        issuer.signing.public,
        warrant.signed.hash,
    )
    assert hear(rig, warrant=warrant, accused=accused) is False, "it is not news twice"
    rig.go(60)
    assert rig.warrants == [], "one warrant is enough"


def test_a_warrant_among_ops_convicts_as_well():
    rig, issuer = member(), begun(PLAIN, 5)
    chain, one, two = forked()
    warned(issuer, chain.signing.public, fork_evidence(one.signed, two.signed))
    rig.codes(*ops(*issuer.records))
    assert convicted(rig)[chain.signing.public].issuer == issuer.signing.public


def test_the_entry_that_is_to_be_judged_comes_with_the_news_or_is_fetched():
    for brought in (True, False):
        rig, chain, issuer = Rig(), begun(DNA), begun(DNA, 5)
        chain.create({"text": "long"})
        bad = chain.records[-1]
        rig.rules = lambda judge: Judged(
            Invalid("short", "too long", 4) if judge.entry == {"text": "long"} else Valid(), 1
        )
        rig.codes(*ops(*issuer.records, *chain.records[:3]), dna=DNA)
        warrant = warned(issuer, chain.signing.public, rule_evidence(bad.signed, "short"))
        if not brought:
            rig.network = holding(bad, state="rejected", rule="short")
        accused = encode_op(op(bad, "entry")) if brought else b""
        assert hear(rig, warrant=warrant, accused=accused, dna=DNA) is (True if brought else None)
        rig.go(1)
        found = convicted(rig, DNA)[chain.signing.public]
        assert (found.rule, found.line, found.detail) == ("short", 4, "too long")


@pytest.mark.parametrize("way", ["gossip", "publish"])
def test_a_false_warrant_convicts_its_issuer_and_not_its_victim(way):
    rig, victim, framer = member(), begun(), begun(PLAIN, 5)
    good = victim.create({"text": "hello"}, "note")
    rig.codes(*ops(*victim.records, *framer.records))
    warrant = warned(framer, victim.signing.public, rule_evidence(good.signed, "short"))
    if way == "gossip":
        assert hear(rig, warrant=warrant) is True, "everybody is to hear who lies"
    else:
        assert set(rig.codes(*ops(warrant), peer=MALLORY_PEER)) == {"refused"}
    (found,) = convicted(rig).values()
    assert (found.agent, found.rule) == (framer.signing.public, FALSE)
    rig.go(WAIT)
    (asked,) = rig.warrants
    assert asked.agent == framer.signing.public


def test_two_who_accuse_falsely_together_are_both_convicted():
    rig, victim = member(), begun()
    good = victim.create({"text": "hello"}, "note")
    framers = [begun(PLAIN, 5), begun(PLAIN, 6)]
    rig.codes(*ops(*victim.records, *(each for framer in framers for each in framer.records)))
    for framer in framers:
        evidence = rule_evidence(good.signed, "short")
        hear(rig, warrant=warned(framer, victim.signing.public, evidence))
    assert set(convicted(rig)) == {framer.signing.public for framer in framers}


def test_two_holders_that_lie_about_a_record_convict_nobody():
    """The author believed them, or this node does: either may be deceived."""
    rig, chain, accuser = Rig(), begun(DNA), begun(DNA, 5)
    theirs = begun(DNA, 6).create({"text": "theirs"})
    about = f"record:{theirs.signed.hash}"
    chain.create({"text": "about"})

    def rules(judge):
        if judge.entry != {"text": "about"}:
            return Judged(Valid(), 1)
        known = dict(judge.known)
        if about not in known:
            return Judged(Unresolved((about.encode(),)), 1)
        return Judged(Valid() if known[about] else Invalid("about", "it does not hold", 2), 1)

    rig.rules = rules
    rig.network = lambda fetch: [(peer, fetched(fetch, theirs)) for peer in OTHERS[:2]]
    rig.codes(*ops(*chain.records, *accuser.records), dna=DNA)
    rig.go(10)
    assert rig.state(chain.records[-1]) == "integrated"
    evidence = rule_evidence(chain.head, "about")
    assert hear(rig, warrant=warned(accuser, chain.signing.public, evidence), dna=DNA) is False
    assert convicted(rig, DNA) == {}


def test_forged_evidence_and_foreign_hands_are_the_senders_fault():
    rig, issuer = member(), begun(PLAIN, 5)
    chain, one, two = forked()
    rig.codes(*ops(*issuer.records))
    good = fork_evidence(one.signed, two.signed)
    sides = sorted((one.signed, two.signed), key=lambda signed: signed.hash)
    forged = Evidence(1, "fork", tuple(encode_signed(each)[:-1] + b"\0" for each in sides))
    cases = {
        "content_invalid": [
            warned(issuer, chain.signing.public, encode_evidence(forged)),
            warned(issuer, issuer.signing.public, good),
            warned(begun(DNA, 5), chain.signing.public, good),
            Record(sign_action(issuer.signing, issuer.next("warrant", to=b"x" * 32, proof=b"?"))),
        ],
        "body_malformed": [issuer.records[0]],
    }
    for code, records in cases.items():
        for record in records:
            answer = hear(rig, warrant=record)
            assert isinstance(answer, Failure)
            assert answer.code == code
    assert rig.call("heard", HeardGossip(PLAIN.id, "warrants", ALICE_PEER, b"?")).code == (
        "body_malformed"
    )
    assert convicted(rig) == {}


def test_news_with_an_op_of_another_action_are_malformed():
    rig, issuer = member(), begun(PLAIN, 5)
    chain, bad = lawless()
    rig.codes(*ops(*issuer.records))
    warrant = warned(issuer, chain.signing.public, rule_evidence(bad.signed, "link-kind"))
    other = encode_op(op(chain.records[0], "record"))
    assert hear(rig, warrant=warrant, accused=other).code == "body_malformed"


def test_a_flood_of_one_issuer_is_not_looked_at_and_the_next_hour_is():
    rig, issuer = member(), begun(PLAIN, 5)
    rig.codes(*ops(*issuer.records))
    answers = []
    for number in range(WARRANTS_OF_ONE_MAX + 1):
        chain, one, two = forked(10 + number)
        evidence = fork_evidence(one.signed, two.signed)
        warrant = warned(issuer, chain.signing.public, evidence)
        answers.append(hear(rig, warrant=warrant))
        issuer.records.pop()
    assert answers == [True] * WARRANTS_OF_ONE_MAX + [False]
    assert len(convicted(rig)) == WARRANTS_OF_ONE_MAX
    rig.go(3_600)
    assert hear(rig, warrant=warrant) is True


# What follows


def test_of_warrants_that_wait_for_what_nobody_has_so_many_are_kept(monkeypatch):
    """Else ever new keys fill the memory with what is never judged."""
    monkeypatch.setattr(hearing, "WARRANTS_WAITING_MAX", 3)
    rig, (chain, one, two) = Rig(), forked()
    evidence = fork_evidence(one.signed, two.signed)
    issuers = [begun(PLAIN, 20 + number) for number in range(5)]
    for issuer in issuers:
        hear(rig, warrant=warned(issuer, chain.signing.public, evidence))
        rig.go(WAIT)
    assert len(rig.machine._parts.judging._waiting) == 3
    rig.codes(*ops(*issuers[0].records[:3]))
    assert convicted(rig) == {}, "it gave way"
    rig.codes(*ops(*issuers[4].records[:3]))
    assert set(convicted(rig)) == {chain.signing.public}


def test_of_accused_actions_that_wait_for_what_nobody_has_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(accusing, "ACCUSED_OPEN_MAX", 2)
    rig, issuer = member(), begun(PLAIN, 5)
    rig.codes(*ops(*issuer.records))
    chains, warrants = [begun(PLAIN, 20 + number) for number in range(4)], []
    for chain in chains:
        bad = chain.add("link", base=b"b" * 32, to=b"t" * 32, link_kind="by")
        evidence = rule_evidence(bad.signed, "short")
        warrants.append(warned(issuer, chain.signing.public, evidence))
        issuer.records.pop()
        hear(rig, warrant=warrants[-1])
        rig.go(WAIT)
    waiting = rig.machine._parts.judging._waiting
    assert len(waiting) == 2 * 2, "what each waits for, and its warrant"
    rig.codes(*ops(*chains[0].records[:3]))
    assert hear(rig, warrant=warrants[0]) is True, "nothing was remembered of what gave way"


def test_what_comes_behind_the_evidence_is_not_taken_and_what_lies_before_is():
    rig, (chain, one, two) = member(), forked()
    rig.codes(*ops(*chain.records[:2], *chain.records[3:], one))
    rig.codes(*ops(chain.records[2]))
    assert chain.signing.public in convicted(rig)
    later = chain.create({"text": "later"}, "note")
    (result, *_) = rig.publish(*ops(later), peer=OTHERS[0])
    assert (result.code, result.rule) == ("refused", "agent-blocked")
    assert rig.state(later) == ""
    assert {rig.state(one), rig.state(two)} == {"integrated"}, "evidence stays readable"


def test_a_node_that_brought_the_offence_is_answered_no_more_in_that_app():
    rig, (chain, _) = member(), lawless()
    rig.codes(*ops(*chain.records), peer=MALLORY_PEER)
    good = begun(PLAIN, 5)
    answer = rig.publish(*ops(*good.records), peer=MALLORY_PEER)
    assert isinstance(answer, Failure)
    assert answer.code == "agent_blocked"
    assert set(rig.codes(*ops(*good.records), peer=ALICE_PEER)) == {"held"}
    elsewhere = begun(DNA, 5)
    assert set(rig.codes(*ops(*elsewhere.records), peer=MALLORY_PEER, dna=DNA)) == {"held"}


def test_a_pardon_lets_it_in_again_and_holds_for_what_was_looked_over():
    rig, (chain, _) = member(), lawless()
    rig.codes(*ops(*chain.records), peer=MALLORY_PEER)
    rig.call("pardon", Pardon(PLAIN.id, chain.signing.public))
    assert convicted(rig)[chain.signing.public].standing == "pardoned"
    assert (rig.shut_out, rig.shunned) == ((), ())
    rig.go(60)
    assert rig.warrants == [], "the person has looked over it"
    again = rig.restarted()
    assert again.codes(*ops(chain.records[-1]), peer=MALLORY_PEER)[0] == "refused"
    assert again.shut_out == ()
    chain.records.pop()
    again.codes(*ops(chain.add("link", tag=b"new", **BAD)), peer=MALLORY_PEER)
    assert convicted(again)[chain.signing.public].standing == "convicted", "that is another one"


def test_a_person_blocks_an_agent_that_did_nothing_and_pardons_it():
    rig, chain = member(), begun()
    rig.codes(*ops(*chain.records))
    rig.call("block", Block(PLAIN.id, chain.signing.public, "rude"))
    (found,) = convicted(rig).values()
    assert (found.standing, found.why, found.kind) == ("blocked", "rude", "")
    later = chain.create({"text": "later"}, "note")
    assert set(rig.codes(*ops(later))) == {"refused"}
    rig.go(60)
    assert (rig.warrants, rig.spread) == ([], []), "that is nobody else's affair"
    rig.call("pardon", Pardon(PLAIN.id, chain.signing.public))
    assert set(rig.codes(*ops(later))) == {"held"}
    assert rig.call("pardon", Pardon(PLAIN.id, b"n" * 32)).code == "not_found"
    assert rig.call("block", Block(PLAIN.id, b"short")).code == "argument_invalid"


def test_convictions_and_what_is_not_written_yet_outlive_a_restart():
    rig, (chain, _) = member(), lawless()
    rig.codes(*ops(*chain.records))
    again = rig.restarted()
    again.own = rig.own
    assert again.shut_out == (chain.signing.public,)
    again.go(WAIT)
    assert len(again.warrants) == 1


def test_a_node_without_a_chain_keeps_the_conviction_and_writes_nothing():
    rig, (chain, _) = Rig(), lawless()
    rig.codes(*ops(*chain.records))
    rig.go(WARRANT_TRIES_MAX * WARRANT_RETRY_US / 1_000_000)
    assert len(rig.warrants) == 1, "there is no chain; it is not tried again"
    assert rig.spread == []
    assert chain.signing.public in convicted(rig)


def test_a_node_writes_so_many_warrants_an_hour_and_then_goes_on():
    rig = member()
    for number in range(WARRANTS_WRITTEN_MAX + 1):
        chain, one, _ = forked(10 + number)
        rig.codes(*ops(*chain.records, one), peer=OTHERS[number % 8])
    rig.go(WAIT)
    assert len(rig.spread) == WARRANTS_WRITTEN_MAX
    rig.go(3_600)
    assert len(rig.spread) == WARRANTS_WRITTEN_MAX + 1


def test_who_reads_both_sides_of_a_fork_convicts():
    rig, (chain, one, two) = member(), forked()
    sides = {OTHERS[0]: (*chain.records[:3], one), OTHERS[1]: (*chain.records[:3], two)}
    rig.network = lambda fetch: [(peer, fetched(fetch, *side)) for peer, side in sides.items()]
    number = rig.begin("activity", GetActivity(PLAIN.id, chain.signing.public))
    rig.go(30)
    assert rig.replies[number].state == "forked"
    assert chain.signing.public in convicted(rig)


# Who brings them


def unjudged(rig, number, peer, chain):
    """A warrant that waits: nobody has what its issuer wrote before."""
    evidence = fork_evidence(*(each.signed for each in forked(chain)[1:]))
    victim = forked(chain)[0].signing.public
    return hear(rig, warrant=warned(begun(PLAIN, number), victim, evidence), peer=peer)


def test_one_node_with_very_many_keys_takes_a_share_of_those_that_wait(monkeypatch):
    monkeypatch.setattr(hearing, "WARRANTS_WAITING_MAX", 6)
    monkeypatch.setattr(hearing, "WARRANTS_OF_PEER_MAX", 4)
    rig, (chain, one, two) = Rig(), forked()
    honest = begun(PLAIN, 20)
    warrant = warned(honest, chain.signing.public, fork_evidence(one.signed, two.signed))
    assert hear(rig, warrant=warrant, peer=ALICE_PEER) is None
    for number in range(30, 50):
        unjudged(rig, number, MALLORY_PEER, 2)
        rig.go(WAIT)
    assert len(rig.machine._parts.judging._waiting) == 5, "four of hers, and the one before"
    rig.codes(*ops(*honest.records[:3]))
    assert set(convicted(rig)) == {chain.signing.public}


def test_nodes_that_bring_most_give_way_to_others_when_no_place_is_left(monkeypatch):
    monkeypatch.setattr(hearing, "WARRANTS_WAITING_MAX", 6)
    monkeypatch.setattr(hearing, "WARRANTS_OF_PEER_MAX", 4)
    rig, (chain, one, two) = Rig(), forked()
    for number in range(8):
        unjudged(rig, 30 + number, OTHERS[number % 2], 2)
        rig.go(WAIT)
    honest = begun(PLAIN, 20)
    warrant = warned(honest, chain.signing.public, fork_evidence(one.signed, two.signed))
    hear(rig, warrant=warrant, peer=ALICE_PEER)
    for number in range(8):
        unjudged(rig, 40 + number, OTHERS[number % 2], 2)
        rig.go(WAIT)
    rig.codes(*ops(*honest.records[:3]))
    assert set(convicted(rig)) == {chain.signing.public}


def test_so_many_of_one_node_are_judged_at_once_and_the_rest_may_come_again(monkeypatch):
    monkeypatch.setattr(hearing, "WARRANTS_OPEN_OF_PEER_MAX", 2)
    rig = Rig()
    answers = [unjudged(rig, 30 + number, MALLORY_PEER, 2) for number in range(3)]
    assert answers[:2] == [None, None]
    assert answers[2].code in UNJUDGED
    assert unjudged(rig, 40, ALICE_PEER, 2) is None, "another one is heard"


def test_a_warrant_that_is_judged_late_is_nobodys_fault_and_is_handed_on():
    rig, (chain, one, two) = Rig(), forked()
    issuer = begun(PLAIN, 5)
    warrant = warned(issuer, chain.signing.public, fork_evidence(one.signed, two.signed))
    body = encode_news(WarrantNews(1, encode_signed(warrant.signed)))
    number = rig.begin("heard", HeardGossip(PLAIN.id, "warrants", ALICE_PEER, body))
    rig.go(WARRANT_ANSWER_US / 1_000_000 + 1)
    assert rig.replies[number].code in UNJUDGED, "gossip may hear it again, and blames nobody"
    rig.codes(*ops(*issuer.records[:3]))
    assert chain.signing.public in convicted(rig)
    assert [each.body for each in rig.spread] == [body]


def test_a_warrant_that_came_as_an_op_first_is_handed_on_when_gossip_brings_it():
    rig, (chain, one, two) = Rig(), forked()
    issuer = begun(PLAIN, 5)
    warrant = warned(issuer, chain.signing.public, fork_evidence(one.signed, two.signed))
    rig.codes(*ops(*issuer.records))
    assert chain.signing.public in convicted(rig)
    assert hear(rig, warrant=warrant) is True


def test_a_warrant_that_waits_is_judged_once_however_often_it_is_brought():
    rig, (chain, one, two) = Rig(), forked()
    issuer = begun(PLAIN, 5)
    warrant = warned(issuer, chain.signing.public, fork_evidence(one.signed, two.signed))
    assert hear(rig, warrant=warrant) is None
    for peer in OTHERS:
        assert hear(rig, warrant=warrant, peer=peer).code in UNJUDGED
    assert len(rig.machine._parts.court.hearing._cases) == 1
    rig.codes(*ops(*issuer.records[:3]))
    assert chain.signing.public in convicted(rig)
