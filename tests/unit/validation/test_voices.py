"""Warrants of several people against one agent: who has said so, and whom that puts out."""

import pytest

from dms3.chain.membrane import Who
from dms3.chain.operations_validation import OpenApp, Pardon, Recall, WarnedOf
from dms3.chain.ops import encode_op
from dms3.chain.warrant import fork_evidence, rule_evidence
from dms3.core.admission import Heeded
from dms3.core.ids import OverlayId
from dms3.core.limits import RECALL_US, WARRANT_RETRY_US
from dms3.validation import people, voices
from unit.chain.chain_kit import Chain, certificate, key
from unit.validation.test_warranting import (
    WAIT,
    convicted,
    forked,
    hear,
    lawless,
    member,
    warned,
)
from unit.validation.validation_kit import ALICE_PEER, OTHERS, PLAIN, Rig, begun, fetched, op, ops

CLUB = OverlayId(b"c" * 32)
ANN, BEN = begun(PLAIN, 20), begun(PLAIN, 21)
BY = tuple(sorted((ANN.root.public, BEN.root.public)))
APPS = (bytes(PLAIN.id),)


def heeding(rig, own=b"n" * 32, by=BY):
    """`rig` is in a network for which warrants of Ann and Ben count."""
    rig.machine._admission.heed(CLUB, Heeded(APPS, by, own))
    rig.call("heed", (PLAIN.id,))
    return rig


def against(rig, chain):
    return rig.machine._admission.warrants(APPS, Who(chain.root.public), BY)


def by(issuer, chain, evidence):
    """A warrant of `issuer`, whose chain goes on as it was."""
    warrant = warned(issuer, chain.signing.public, evidence)
    issuer.records.pop()
    return warrant


def accused():
    chain, one, two = forked()
    return chain, fork_evidence(one.signed, two.signed)


def known(rig, *chains: Chain):
    for number, chain in enumerate(chains):
        rig.codes(*ops(*chain.records), peer=OTHERS[number % 8])


def test_each_member_that_warns_counts_once_and_it_is_said_when_that_changes():
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, BEN, chain)
    assert against(rig, chain) == 0
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    assert (against(rig, chain), rig.warned) == (1, [PLAIN.id])
    assert hear(rig, warrant=by(ANN, chain, evidence)) is False
    again, bad = lawless(1)
    again.records[:3] = chain.records[:3]
    other = rule_evidence(bad.signed, "link-kind")
    assert hear(rig, warrant=by(ANN, chain, other)) is False, "she has spoken"
    assert against(rig, chain) == 1
    assert hear(rig, warrant=by(BEN, chain, evidence)) is True, "a second member is news"
    assert (against(rig, chain), rig.warned) == (2, [PLAIN.id] * 2)
    assert against(rig, ANN) == 0
    asked = WarnedOf(APPS, BY)
    assert rig.call("voices", asked) == ((chain.root.public, 2),)
    restarted = heeding(rig.restarted())
    assert against(restarted, chain) == 2


def test_a_person_with_two_agents_is_one_voice():
    rig, (chain, evidence) = heeding(Rig()), accused()
    phone = Chain.begun(key(22), ANN.root, PLAIN)
    known(rig, ANN, phone, chain)
    for issuer in (ANN, phone):
        assert hear(rig, warrant=by(issuer, chain, evidence)) is True
    assert against(rig, chain) == 1


def test_who_only_says_that_a_member_is_behind_them_does_not_count():
    """Ben has not certified that key: its chain breaks a rule, whatever two holders say of it."""
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, chain)
    liar = Chain(key(30), BEN.root, PLAIN)
    liar.add("dna")
    liar.add("proof", proof=b"invited")
    liar.add("agent", certificate=certificate(key(30), key(31), PLAIN))
    rig.network = lambda fetch: [(peer, fetched(fetch, *liar.records)) for peer in OTHERS[:2]]
    hear(rig, warrant=by(liar, chain, evidence))
    rig.go(2 * WARRANT_RETRY_US / 1_000_000)
    assert against(rig, chain) == 0
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    assert against(rig, chain) == 1


def test_what_somebody_signs_in_anothers_name_puts_nobody_else_out():
    """An action that names Ben as its person, whom it is not of: only its own author offends."""
    rig, chain = heeding(Rig()), begun()
    known(rig, ANN, BEN, chain)
    bad = chain.draft("link", root=BEN.root.public, base=b"b" * 32, to=b"t" * 32, link_kind="by")
    evidence = rule_evidence(bad.signed, "author")
    warrant = by(ANN, chain, evidence)
    assert hear(rig, warrant=warrant, accused=encode_op(op(bad, "record"))) is True
    assert (against(rig, BEN), against(rig, chain)) == (0, 1)


def test_people_who_are_not_known_here_are_asked_for_until_they_are():
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN)
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    assert against(rig, chain) == 0, "whose agent it is nobody has said"
    rig.network = lambda fetch: [(OTHERS[0], fetched(fetch, *chain.records))]
    rig.go(WARRANT_RETRY_US / 1_000_000 + 1)
    assert against(rig, chain) == 1


def test_a_member_writes_a_warrant_of_its_own_although_others_have():
    rig, (chain, evidence) = member(), accused()
    heeding(rig, own=rig.own.root.public, by=tuple(sorted((*BY, rig.own.root.public))))
    known(rig, ANN, chain)
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    rig.go(WAIT)
    assert [each.agent for each in rig.warrants] == [chain.signing.public]
    assert against(rig, chain) == 1
    heard = rig.machine._admission.warrants(APPS, Who(chain.root.public), (rig.own.root.public,))
    assert heard == 1
    rig.go(60)
    again = rig.restarted()
    again.own = rig.own
    heeding(again, own=rig.own.root.public, by=tuple(sorted((*BY, rig.own.root.public))))
    again.go(60)
    assert (len(rig.warrants), again.warrants) == (1, []), "once is enough"


def test_who_joins_a_network_later_counts_what_was_said_before_and_warns_too():
    rig, (chain, evidence) = member(), accused()
    known(rig, ANN, chain)
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    rig.go(60)
    assert (rig.warrants, against(rig, chain)) == ([], 0)
    heeding(rig, own=rig.own.root.public, by=tuple(sorted((*BY, rig.own.root.public))))
    assert against(rig, chain) == 1
    rig.go(WAIT)
    assert len(rig.warrants) == 1


def test_a_pardon_ends_what_was_said():
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, BEN, chain)
    warrants = [by(each, chain, evidence) for each in (ANN, BEN)]
    for each in warrants:
        hear(rig, warrant=each)
    rig.call("pardon", Pardon(PLAIN.id, chain.signing.public))
    assert against(rig, chain) == 0
    for each in warrants:
        hear(rig, warrant=each)
    assert against(rig, chain) == 0, "it was looked over"
    assert against(heeding(rig.restarted()), chain) == 0


def test_strangers_who_warn_too_take_no_place_of_a_member(monkeypatch):
    monkeypatch.setattr(voices, "VOICES_MAX", 3)
    monkeypatch.setattr(voices, "VOICES_TOLD_MAX", 2)
    rig, (chain, evidence) = heeding(Rig()), accused()
    strangers = [begun(PLAIN, 25 + number) for number in range(4)]
    known(rig, ANN, BEN, chain, *strangers)
    heard = [hear(rig, warrant=by(each, chain, evidence)) for each in strangers]
    assert heard == [True, True, False, False], "so many are handed on"
    for each in (ANN, BEN):
        assert hear(rig, warrant=by(each, chain, evidence)) is True
    assert against(rig, chain) == 2


def test_a_false_warrant_counts_against_its_issuer_only():
    rig, victim = heeding(member()), begun()
    good = victim.create({"text": "hello"}, "note")
    known(rig, ANN, BEN, victim)
    assert hear(rig, warrant=by(BEN, victim, rule_evidence(good.signed, "short"))) is True
    assert set(convicted(rig)) == {BEN.signing.public}
    assert against(rig, victim) == 0


@pytest.mark.parametrize("shut", [True, False])
def test_of_an_app_that_does_not_run_here_nothing_counts(shut):
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, chain)
    hear(rig, warrant=by(ANN, chain, evidence), peer=ALICE_PEER)
    if shut:
        rig.call("shut", PLAIN.id)
    assert against(rig, chain) == (0 if shut else 1)


# Who comes later


def two_warned(chain, evidence):
    """What holders have: the chains of three, with a warrant by each of two."""
    warrants = [by(each, chain, evidence) for each in (ANN, BEN)]
    return [*ANN.records, *BEN.records, *chain.records, *warrants]


def test_who_comes_later_asks_holders_who_was_warned_of():
    rig, (chain, evidence) = heeding(Rig()), accused()
    asked = []
    held = two_warned(chain, evidence)

    def holders(fetch):
        asked.append(fetch.what)
        return [(peer, fetched(fetch, *held)) for peer in OTHERS[:2]]

    rig.network = holders
    rig.call("recall", Recall(APPS, chain.root.public))
    rig.go(10)
    assert against(rig, chain) == 2
    assert chain.signing.public in convicted(rig)
    rig.call("recall", Recall(APPS, ANN.root.public))
    rig.go(10)
    assert against(rig, ANN) == 0
    asked.clear()
    rig.call("recall", Recall(APPS, chain.root.public))
    assert asked == [], "that was done lately"
    rig.go(RECALL_US / 1_000_000)
    rig.call("recall", Recall(APPS, chain.root.public))
    assert asked[:1] == ["agents"]


def test_holders_that_lie_make_no_warrant_up():
    rig, (chain, _), victim = heeding(Rig()), accused(), begun(PLAIN, 3)
    good = victim.create({"text": "hello"}, "note")
    false = by(ANN, victim, rule_evidence(good.signed, "short"))
    rig.network = lambda fetch: [
        (peer, fetched(fetch, *ANN.records, *victim.records, *chain.records, false))
        for peer in OTHERS[:2]
    ]
    rig.call("recall", Recall(APPS, victim.root.public))
    rig.go(10)
    assert against(rig, victim) == 0
    assert victim.signing.public not in convicted(rig)


def test_who_has_come_before_the_app_runs_is_looked_up_then():
    rig, (chain, evidence) = heeding(Rig()), accused()
    rig.call("shut", PLAIN.id)
    held = two_warned(chain, evidence)
    rig.network = lambda fetch: [(OTHERS[0], fetched(fetch, *held))]
    rig.call("recall", Recall(APPS, chain.root.public))
    assert rig.fetches == []
    rig.call("open", OpenApp(PLAIN))
    rig.go(10)
    assert against(rig, chain) == 2


# Liars who say that a member is behind them, and have two holders that agree


def pretender(number, person):
    """A chain of somebody who names `person`, who has not certified that key."""
    liar = Chain(key(number), person, PLAIN)
    liar.add("dna")
    liar.add("proof", proof=b"invited")
    liar.add("agent", certificate=certificate(key(number), key(number + 1), PLAIN))
    return liar


def believed(rig, *liars: Chain):
    records = [each for liar in liars for each in liar.records]
    rig.network = lambda fetch: [(peer, fetched(fetch, *records)) for peer in OTHERS[:2]]


def test_who_pretends_to_be_this_person_does_not_speak_for_it():
    rig, (chain, evidence) = member(), accused()
    own = rig.own.root
    liar = pretender(30, own)
    heeding(rig, own=own.public, by=tuple(sorted((*BY, own.public))))
    known(rig, ANN, chain)
    believed(rig, liar)
    hear(rig, warrant=by(liar, chain, evidence))
    rig.go(WAIT)
    assert [each.agent for each in rig.warrants] == [chain.signing.public]


def test_pretenders_take_no_place_of_a_member(monkeypatch):
    monkeypatch.setattr(voices, "VOICES_MAX", 3)
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, BEN, chain)
    liars = [pretender(30 + 2 * number, BEN.root) for number in range(3)]
    believed(rig, *liars)
    for liar in liars:
        hear(rig, warrant=by(liar, chain, evidence))
    rig.go(5)
    for each in (ANN, BEN):
        assert hear(rig, warrant=by(each, chain, evidence)) is True
    assert against(rig, chain) == 2
    for liar in (pretender(40 + 2 * number, BEN.root) for number in range(3)):
        believed(rig, liar)
        hear(rig, warrant=by(liar, chain, evidence))
        rig.go(5)
    assert against(rig, chain) == 2


def test_pretenders_are_handed_on_only_until_the_member_has_warned(monkeypatch):
    """Before that nobody can tell which of them is the member: all are worth judging."""
    monkeypatch.setattr(voices, "VOICES_TOLD_MAX", 1)
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, BEN, chain)
    early, late = (pretender(number, BEN.root) for number in (30, 32))
    believed(rig, early, late)
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    assert hear(rig, warrant=by(early, chain, evidence)) is not False
    assert hear(rig, warrant=by(BEN, chain, evidence)) is True
    assert against(rig, chain) == 2
    assert hear(rig, warrant=by(late, chain, evidence)) is False


def test_who_is_behind_agents_of_whom_nothing_is_said_is_forgotten(monkeypatch):
    """Rows outlive the voices that asked for them: keys without end would fill the table."""
    monkeypatch.setattr(people, "PEOPLE_MAX", 4)
    rig, (chain, evidence) = heeding(Rig()), accused()
    known(rig, ANN, chain)
    assert hear(rig, warrant=by(ANN, chain, evidence)) is True
    strangers = [begun(PLAIN, 30 + number) for number in range(6)]
    known(rig, *strangers)
    for each in strangers:
        rig.machine._parts.court.voices._people.look(PLAIN.id, each.signing.public)
    rig.call("pardon", Pardon(PLAIN.id, begun(PLAIN, 40).signing.public))  # ends the event
    assert len(rig.disk.values["people"]) == 4
    assert against(rig, chain) == 1
    assert against(heeding(rig.restarted()), chain) == 1
