"""One holder that lies: it makes nothing valid, lets nobody in, and blocks nobody."""

from dms3.chain.dna import Dna, EntryKind
from dms3.chain.messages import Fetched
from dms3.chain.sandboxing import Judged
from dms3.core.verdict import Invalid, Valid
from unit.chain.chain_kit import DNA
from unit.validation.validation_kit import (
    OTHERS,
    Rig,
    begun,
    fetched,
    ops,
)


def lone(*records):
    """A network in which one node says that it holds `records`, and two know nothing."""

    def answer(fetch):
        return [
            (OTHERS[0], fetched(fetch, *records)),
            (OTHERS[1], Fetched(())),
            (OTHERS[2], Fetched(())),
        ]

    return answer


def closed(judge):
    """Rules of an app that let nobody in by the proof of these chains."""
    if judge.action["kind"] == "proof":
        return Judged(Invalid("invited", "nobody has invited you"), 1)
    return Judged(Valid(), 1)


def test_what_one_holder_alone_calls_valid_is_judged_before_anything_follows_it():
    rig, chain = Rig(), begun(DNA)
    rig.rules = closed
    chain.create({"text": "hello"})
    rig.network = lone(*chain.records[:3])
    rig.codes(*ops(chain.records[3]), dna=DNA)
    rig.go(30)
    assert rig.state(chain.records[3]) == "rejected"
    assert rig.trace(chain.records[3])[0].rule == "previous-refused"


def test_what_one_holder_alone_has_is_valid_when_it_is():
    rig, chain = Rig(), begun(DNA)
    chain.create({"text": "hello"})
    rig.network = lone(*chain.records[:3])
    rig.codes(*ops(chain.records[3]), dna=DNA)
    rig.go(5)
    assert rig.state(chain.records[3]) == "integrated"
    assert len(rig.judged) == 4, "each once"


def test_a_chain_that_one_holder_makes_up_costs_bounded_memory(monkeypatch):
    monkeypatch.setattr("dms3.validation.bringing.BORROWED_MAX", 5)
    rig, chain = Rig(), begun()
    for number in range(40):
        chain.create({"text": str(number)}, "note")
    rig.network = lone(*chain.records[20:])
    rig.codes(*ops(chain.records[-1]))
    rig.go(60)
    assert rig.state(chain.records[-1]) == "system"
    assert len({fetch.target for fetch in rig.fetches}) <= 7


def test_the_bounds_of_the_dna_are_those_of_the_sandbox():
    dna = Dna("slow", source=b"rules", entries=(EntryKind("note"),), fuel=7_000, memory=9_000_000)
    rig, chain = Rig(None, dna), begun(dna)
    rig.codes(*ops(chain.records[0]), dna=dna)
    assert (rig.judged[0].program.fuel, rig.judged[0].program.memory) == (7_000, 9_000_000)
