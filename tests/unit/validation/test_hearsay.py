"""Two liars near an action that another one follows: what rests on their word convicts nobody."""

import pytest

from dms3.chain.sandboxing import Judged
from dms3.chain.warrant import rule_evidence
from dms3.core.verdict import Invalid, Unresolved, Valid
from dms3.validation import doubts
from unit.chain.chain_kit import DNA
from unit.validation.test_warranting import convicted, hear, warned
from unit.validation.validation_kit import (
    ALICE_PEER,
    MALLORY_PEER,
    OTHERS,
    Rig,
    begun,
    fetched,
    ops,
)


class Town:
    """Mallory's `bad` breaks a rule, two holders call it valid, and `later` follows it.

    Honest nodes refuse `later`, so that Carol, who reads it, writes what holds when it does not:
    `reader`. This node was told by the two that `bad` is valid. `wrong`: what the rule of the
    reader says of a `later` that holds.
    """

    def __init__(self, *, holds: bool) -> None:
        self.rig, self.mallory, self.carol = Rig(), begun(DNA), begun(DNA, 2)
        self.bad = self.mallory.create({"text": "bad"})
        self.later = self.mallory.create({"text": "later"})
        self.about = f"record:{self.later.signed.hash}"
        self.reader = self.carol.create({"text": "reader"})
        self.holds = holds
        self.rig.rules = self.rules
        self.rig.network = lambda fetch: [(peer, fetched(fetch, self.bad)) for peer in OTHERS[:2]]

    def rules(self, judge):
        if judge.entry == {"text": "bad"}:
            return Judged(Invalid("short", "it is too long", 1), 1)
        if judge.entry != {"text": "reader"}:
            return Judged(Valid(), 1)
        known = dict(judge.known)
        if self.about not in known:
            return Judged(Unresolved((self.about.encode(),)), 1)
        fits = bool(known[self.about]) == self.holds
        return Judged(Valid() if fits else Invalid("reads", "that holds", 2), 1)

    def deceive(self) -> None:
        """This node has never seen `bad`, and takes `later` for valid."""
        begun_, later = self.mallory.records[:3], self.later
        self.rig.codes(*ops(*begun_), peer=OTHERS[0], dna=DNA)
        self.rig.codes(*ops(later), peer=MALLORY_PEER, dna=DNA)
        self.rig.go(10)
        assert self.rig.state(later) == "integrated"


def test_a_reader_who_was_not_deceived_is_not_convicted():
    town = Town(holds=False)
    town.deceive()
    town.rig.codes(*ops(*town.carol.records), peer=ALICE_PEER, dna=DNA)
    assert town.rig.state(town.reader) == "rejected"
    assert convicted(town.rig, DNA) == {}
    assert town.rig.shunned == ()


def test_who_rightly_warns_of_a_deceived_reader_is_not_convicted_in_its_place():
    town, honest = Town(holds=True), begun(DNA, 5)
    town.deceive()
    town.rig.codes(*ops(*town.carol.records, *honest.records), peer=ALICE_PEER, dna=DNA)
    assert town.rig.state(town.reader) == "integrated"
    evidence = rule_evidence(town.reader.signed, "reads")
    assert hear(town.rig, warrant=warned(honest, town.carol.signing.public, evidence), dna=DNA) is (
        False
    )
    assert convicted(town.rig, DNA) == {}


@pytest.mark.parametrize("steps", [1, 64])
def test_what_was_hearsay_convicts_when_this_node_has_judged_all_of_it_itself(monkeypatch, steps):
    """What is looked at again is bounded: beyond that nobody is convicted."""
    monkeypatch.setattr(doubts, "LEANING_STEPS_MAX", steps)
    town = Town(holds=False)
    good = [town.mallory.records.pop() for _ in range(2)] and town.mallory.create({"text": "good"})
    town.later = town.mallory.create({"text": "later"})
    last = town.mallory.create({"text": "last"})
    town.about = f"record:{last.signed.hash}"
    town.rig.network = lambda fetch: [(peer, fetched(fetch, good)) for peer in OTHERS[:2]]
    town.deceive()
    town.rig.codes(*ops(last), peer=OTHERS[1], dna=DNA)
    town.rig.codes(*ops(good), peer=OTHERS[2], dna=DNA)
    assert town.rig.state(good) == "integrated"
    town.rig.codes(*ops(*town.carol.records), peer=ALICE_PEER, dna=DNA)
    assert town.rig.state(town.reader) == "rejected"
    assert set(convicted(town.rig, DNA)) == ({town.carol.signing.public} if steps == 64 else set())


def test_where_all_of_a_chain_is_judged_here_a_reader_is_convicted():
    town = Town(holds=False)
    town.mallory.records.pop(3)
    town.mallory.records.pop()
    later = town.mallory.create({"text": "later"})
    town.about = f"record:{later.signed.hash}"
    town.rig.network = lambda _: ()
    town.rig.codes(*ops(*town.mallory.records), peer=OTHERS[0], dna=DNA)
    town.rig.codes(*ops(*town.carol.records), peer=ALICE_PEER, dna=DNA)
    assert set(convicted(town.rig, DNA)) == {town.carol.signing.public}
