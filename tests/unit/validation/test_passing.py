"""Activity told along its holders: once, to the next one, and past those who do not answer."""

import pytest

from dms3.chain.messages import Reconciled
from dms3.chain.ops import op_id
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import CHAIN_NAMES_MAX, PASS_TRIES_MAX, PASS_US, PASSED_MAX, SECOND_US
from dms3.core.overlay import distance, location
from dms3.validation.reconciling import Reconciling
from unit.chain.chain_kit import DNA, T0
from unit.validation.town_kit import SILENT, Town, written
from unit.validation.validation_kit import ALICE_PEER, OTHERS, PLAIN, Rig, begun, op, ops

SOON = 1.5 * PASS_US / SECOND_US
HEARD = encode(Reconciled((), 0))


@pytest.fixture(autouse=True)
def nobody_compares(monkeypatch):
    monkeypatch.setattr(Reconciling, "_begin", lambda *_: None)


def rig_among(*around: PeerId) -> Rig:
    rig = Rig()
    rig.around = list(around)
    rig.partner = lambda *_: HEARD
    rig.go(1)
    return rig


def told(rig: Rig) -> list:
    """Whom it told what."""
    return [(peer, q.reconcile.lacks) for peer, q in rig.asked if q.reconcile is not None]


def ring(rig: Rig, agent: bytes, around) -> list:
    """The others, in order of distance to `agent`, from this node on."""
    target = location(agent)
    own = distance(rig._neighbours().at, target)
    order = sorted(around, key=lambda peer: distance(location(peer), target))
    farther = [peer for peer in order if distance(location(peer), target) > own]
    return [*farther, *(peer for peer in order if peer not in farther)]


def test_what_an_author_publishes_is_told_to_the_next_holder_once():
    rig = rig_among(*OTHERS[:5])
    chain = written()
    assert set(rig.codes(*ops(*chain.records))) == {"held"}
    rig.go(SOON)
    names = tuple(op_id(op(each, "activity")) for each in chain.records)
    (following, *_) = ring(rig, chain.signing.public, OTHERS[:5])
    assert told(rig) == [(following, names)]
    rig.codes(*ops(*chain.records), peer=OTHERS[0])  # a second time
    rig.go(SOON)
    assert len(told(rig)) == 1


def test_the_node_that_published_it_is_not_told():
    rig = rig_among(ALICE_PEER)
    rig.codes(*ops(*written().records))
    rig.go(SOON)
    assert told(rig) == []


def test_who_does_not_answer_is_passed_over_and_others_are_not_asked_for_ever():
    rig = rig_among(*OTHERS[:5])
    silent = ring(rig, written().signing.public, OTHERS[:5])[:2]
    rig.partner = lambda peer, _: SILENT if peer in silent else HEARD
    rig.codes(*ops(*written().records))
    rig.go(SOON)
    order = ring(rig, written().signing.public, OTHERS[:5])
    assert [peer for peer, _ in told(rig)] == order[:3]
    rig.asked.clear()
    rig.partner = lambda *_: b"nonsense"
    rig.codes(*ops(*written(2).records))
    rig.go(SOON)
    assert len(told(rig)) == PASS_TRIES_MAX


def test_what_is_not_taken_is_not_told():
    rig = rig_among(*OTHERS[:3])
    rig.rank = 12
    assert set(rig.codes(*ops(*written().records))) == {"far"}
    rig.go(SOON)
    assert told(rig) == []


def test_what_waits_for_its_verdict_is_told_when_it_has_one_and_not_waited_for_for_ever():
    rig = rig_among(*OTHERS[:3])
    chain = written(count=1)
    last = chain.records[-1]
    rig.codes(*ops(last))  # what comes before it is nowhere
    rig.go(SOON)
    assert told(rig) == []
    rig.codes(*ops(*chain.records[:-1]))
    rig.go(SOON)
    assert op_id(op(last, "activity")) in [name for _, names in told(rig) for name in names]
    rig.asked.clear()
    rig.codes(*ops(written(2).records[-1]))
    rig.go(60)
    assert told(rig) == []
    assert rig.machine._parts.alignment.passing._places[PLAIN.id].news == {}


def test_what_is_still_in_hand_is_told_when_it_has_its_verdict():
    """Whoever shows two halves different actions can choose when: just before the period ends."""
    rig, chain = rig_among(*OTHERS[:3]), begun(DNA)
    rig.codes(*ops(*chain.records), dna=DNA)
    rig.go(SOON)
    rig.asked.clear()
    first = chain.create({"text": "first"})
    rig.codes(*ops(first), dna=DNA)
    rig.go(PASS_US / SECOND_US - 0.5)
    rig.hold("sandbox.judge")
    last = chain.create({"text": "last"})
    rig.begin_publish(*ops(last), dna=DNA)
    rig.go(0.6)
    assert [name for _, names in told(rig) for name in names] == [op_id(op(first, "activity"))]
    rig.release("sandbox.judge")
    rig.go(SOON)
    assert op_id(op(last, "activity")) in [name for _, names in told(rig) for name in names]


def test_many_at_once_are_told_in_few_questions_and_no_more_than_may_be(monkeypatch):
    monkeypatch.setattr("dms3.validation.passing.PASSED_MAX", 10)
    monkeypatch.setattr("dms3.validation.passing.CHAIN_NAMES_MAX", 4)
    rig = rig_among(*OTHERS[:3])
    chain = written(count=13)
    assert set(rig.codes(*ops(*chain.records))) == {"held"}
    rig.go(SOON)
    assert [len(names) for _, names in told(rig)] == [4, 4, 2]
    assert PASSED_MAX > CHAIN_NAMES_MAX


def test_an_app_that_is_shut_passes_nothing_on():
    rig = rig_among(*OTHERS[:3])
    rig.codes(*ops(*written().records))
    rig.call("shut", PLAIN.id)
    rig.go(60)
    assert told(rig) == []


def test_halves_that_were_shown_different_actions_find_out_whichever_halves_they_are():
    """Six honest nodes: however they are divided, somebody soon holds both sides."""
    for number in (0b11111, 0b10, 0b111, 0b10101, 0b110010):  # who was shown the second one
        town = Town(6)
        chain = written(1, 1)
        for house in town.houses:
            house.codes(*ops(*chain.records), peer=ALICE_PEER)
        one = chain.draft("link", base=b"1" * 32, to=b"1" * 32, link_kind="by")
        two = chain.draft("link", base=b"2" * 32, to=b"2" * 32, link_kind="by")
        for place, house in enumerate(town.houses):
            side = two if number >> place & 1 else one
            assert house.codes(op(side, "activity"), peer=ALICE_PEER) == ["held"]
        town.go(SOON)
        convicted = [h for h in town.houses if h.topics("chain.forked")]
        assert convicted, number


def test_a_neighbour_that_lacks_it_is_counted():
    rig = rig_among(*OTHERS[:3])
    rig.partner = lambda *_: encode(Reconciled((), 2))
    rig.codes(*ops(*begun(PLAIN, 3).records))
    rig.go(SOON)
    assert rig.call("figures", PLAIN.id).repair.offered == 2
    assert T0
    assert isinstance(SILENT, Failure)
