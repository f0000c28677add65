"""One thing has one name: another codec over the same digest is another thing, which nobody has."""

from dms3.chain.ops import ops_of
from dms3.chain.sandboxing import Judged
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.verdict import Invalid, Unresolved, Valid
from unit.chain.chain_kit import DNA
from unit.validation.validation_kit import Rig, begun, ops


def told(rig, chain, question):
    """What the rules are told when they ask `question` for an entry that comes; how it ends."""
    seen = []

    def rules(judge):
        known = dict(judge.known)
        if judge.action["kind"] != "create":
            return Judged(Valid(), 1)
        if question not in known:
            return Judged(Unresolved((question.encode(),)), 1)
        seen.append(known[question])
        return Judged(Valid() if known[question] is None else Invalid("there", "it is"), 1)

    rig.rules = rules
    chain.create({"text": question})
    rig.codes(*ops(*chain.records), dna=DNA)
    return seen, rig.state(chain.records[-1])


def test_rules_are_told_the_same_of_a_name_in_another_codec_whoever_holds_the_thing():
    for held in (True, False):
        rig, other = Rig(), begun(DNA, 5)
        other.create({"text": "elsewhere"})
        if held:
            rig.codes(*ops(*other.records), dna=DNA)
        last = other.records[-1].signed
        things = ("action", last.hash), ("record", last.hash), ("entry", last.action.entry)
        for of, hash_ in things:
            name = f"{of}:{Cid.of_digest(RAW, hash_.digest)}"
            assert told(rig, begun(DNA, 7 + len(of)), name) == ([None], "integrated")


def test_sealed_bytes_are_no_entry_whoever_holds_them():
    states = []
    for held in (True, False):
        rig, other = Rig(), begun(DNA, 5)
        record, sealed = other.create_private({"text": "mine"})
        if held:
            carried = [each for one in other.records[:3] for each in ops(one)]
            rig.codes(*carried, dna=DNA)
            rig.codes(*ops_of(record.signed, record.entry, sealed), dna=DNA)
            assert rig.state(record) == "integrated"
        name = Cid.of_digest(DAG_CBOR, record.signed.action.sealed.digest)
        states.append(told(rig, begun(DNA, 9), f"entry:{name}"))
    assert states == [([], "app"), ([], "app")]


def test_no_holder_looks_like_a_liar_for_a_name_in_another_codec():
    rig, chain = Rig(), begun()
    rig.codes(*ops(*chain.records))
    hash_ = chain.records[0].signed.hash
    assert len(rig.fetch("record", hash_.binary).ops) == 1
    assert rig.fetch("record", Cid.of_digest(RAW, hash_.digest).binary).ops == ()
