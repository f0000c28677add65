"""One holder that lies: it makes nothing valid, lets nobody in, and blocks nobody."""

from dataclasses import replace

from dms3.chain.agent import AgentPlace, issue_agent, revoke_agent
from dms3.chain.dna import Dna, EntryKind
from dms3.chain.messages import Fetched
from dms3.chain.operations_validation import GetActivity, GetLinks, Record
from dms3.chain.sandboxing import Judged
from dms3.core.verdict import Invalid, Valid
from unit.chain.chain_kit import DNA, T0, Chain
from unit.validation.validation_kit import (
    OTHERS,
    PLAIN,
    Rig,
    begun,
    fetched,
    holding,
    key,
    ops,
)


def lone(*records: Record):
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


def activity(rig, chain, seconds=30, **more: object):
    request = rig.begin("activity", GetActivity(chain.dna.id, chain.signing.public, **more))
    rig.go(seconds)
    return rig.replies[request]


def test_a_chain_that_one_holder_makes_up_lets_nobody_in():
    rig, chain = Rig(), begun(DNA)
    rig.rules = closed
    rig.network = lone(*chain.records)
    assert activity(rig, chain, limit=1).state == "invalid"


def test_a_good_chain_that_one_holder_alone_has_lets_its_agent_in():
    rig, chain = Rig(), begun(DNA)
    rig.network = lone(*chain.records)
    assert activity(rig, chain, limit=1).state == "valid"


def test_who_shows_no_proof_has_not_begun():
    rig, chain = Rig(), begun(DNA)
    rig.codes(*ops(chain.records[0]), dna=DNA)
    rig.network = holding(chain.records[0])
    assert activity(rig, chain, limit=1).state == "empty"
    rig.codes(*ops(*chain.records), dna=DNA)
    assert activity(rig, chain, limit=1).state == "valid"


def test_a_head_that_nobody_shows_is_no_head():
    rig, chain = Rig(), begun()
    rig.codes(*ops(*chain.records))

    def network(fetch):
        shown = fetched(fetch, chain.records[-1])
        return [(OTHERS[0], Fetched(shown.ops, True, 900, 1_000))]

    rig.network = network
    found = activity(rig, chain, after=1)
    assert (found.head, found.highest) == (2, 2)


def revocations(chain, number, count):
    """A stranger that takes a certificate of his own for the key of `chain` back, again and again.

    Nobody has asked for it, and the rules of the system have nothing against it.
    """
    root = key(number + 1)
    certificate = issue_agent(root, AgentPlace(chain.dna.id, chain.signing.public, b"d" * 16), T0)
    stranger = Chain.begun(key(number), root, chain.dna)
    for _ in range(count):
        stranger.add("agent", revocation=revoke_agent(root, certificate, 2, T0))
    return stranger


def test_what_strangers_say_of_a_key_is_not_in_its_way():
    rig, chain = Rig(), begun()
    stranger = revocations(chain, 21, 12)
    rig.codes(*ops(*chain.records))
    for record in stranger.records:
        rig.codes(*ops(record))
    assert rig.state(stranger.records[-1]) == "integrated"
    answer = rig.fetch("activity", chain.signing.public, limit=3)
    assert [len(answer.ops), answer.more] == [3, False]
    found = activity(rig, chain)
    assert (found.state, found.head, found.revoked) == ("valid", 2, False)


def test_the_next_key_of_a_chain_goes_on_where_the_first_ended():
    rig, chain = Rig(), begun()
    after = key(31)
    place = AgentPlace(PLAIN.id, after.public, b"d" * 16, 1)
    chain.add("agent", certificate=issue_agent(chain.root, place, T0))
    chain.signing = after
    chain.create({"text": "mine"}, "note")
    rig.codes(*ops(*chain.records))
    assert rig.state(chain.records[-1]) == "integrated"
    found = activity(rig, chain)
    assert (found.state, found.head, found.highest, len(found.actions)) == ("valid", 4, 4, 1)
    assert not found.revoked
    chain.signing = key(1)
    assert activity(rig, chain, limit=1).revoked, "it was replaced"


def test_who_ends_his_pages_early_does_not_hide_what_others_show():
    """Of pages of unequal length only what all of them cover is taken."""
    rig, chain = Rig(), begun()
    for number in range(70):
        chain.add("link", base=b"b" * 32, to=str(number).encode(), link_kind="by")

    def network(fetch):
        honest = fetched(fetch, *chain.records)
        if fetch.what != "links":
            return [(OTHERS[0], honest), (OTHERS[1], honest)]
        liar = replace(honest, ops=honest.ops[:1], more=True)
        return [(OTHERS[0], honest), (OTHERS[1], honest), (OTHERS[2], liar)]

    rig.network = network
    number = rig.begin("links", GetLinks(PLAIN.id, b"b" * 32))
    rig.go(30)
    assert len(rig.replies[number]) == 70
    assert rig.conduct == [(OTHERS[2], "content_invalid")]
