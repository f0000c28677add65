"""One thing has one name: another codec over the same digest is another thing, which nobody has."""

from dms3.chain.agent import AgentPlace, issue_agent
from dms3.chain.ops import ops_of
from dms3.chain.sandboxing import Judged
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.multibase import encode_base32
from dms3.core.verdict import Invalid, Unresolved, Valid
from unit.chain.chain_kit import DNA, T0
from unit.validation.validation_kit import Rig, begun, holding, key, ops


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


def activity_told(rig, chain, of):
    """What rules about an entry of `chain` are told of all that the last author of `of` did."""
    last = of.records[-1].signed
    question = f"activity:{encode_base32(last.action.author)}:{last.hash}"
    seen = []

    def rules(judge):
        known = dict(judge.known)
        if question not in known:
            return Judged(Unresolved((question.encode(),)), 1)
        seen.append([each["seq"] for each in known[question]])
        return Judged(Valid(), 1)

    rig.rules = rules
    rig.codes(*ops(chain.records[0]), dna=DNA)
    rig.go(20)
    return seen, rig.state(chain.records[0])


def test_activity_reaches_behind_the_key_that_writes_now_whoever_holds_it():
    for held in (True, False):
        other = begun(DNA, 5)
        after = key(31)
        place = AgentPlace(DNA.id, after.public, b"d" * 16, 1)
        other.add("agent", certificate=issue_agent(other.root, place, T0))
        other.signing = after
        other.create({"text": "mine"})
        rig = Rig()
        if held:
            rig.codes(*ops(*other.records), dna=DNA)
        rig.network = holding(*other.records)
        told_ = activity_told(rig, begun(DNA, 7), other)
        assert told_ == ([[0, 1, 2, 3, 4]], "integrated")


def test_a_second_action_at_a_place_does_not_hide_the_first_from_rules():
    other = begun(DNA, 5)
    forks = [other.draft("link", base=bytes([n]) * 32, to=b"t", link_kind="by") for n in range(9)]
    for number in range(300):
        other.add("link", base=b"b" * 32, to=str(number).encode(), link_kind="by")
    rig = Rig()
    rig.network = holding(*other.records[:3], *forks, *other.records[3:])
    seen, state = activity_told(rig, begun(DNA, 7), other)
    assert (len(seen[0]), state) == (303, "integrated")
