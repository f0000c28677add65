"""The rules of the system for what several agents say together, or of each other."""

import dataclasses
from collections.abc import Callable

import pytest

from dms3.chain.action import encode_signed, sign_action
from dms3.chain.entry import make_entry
from dms3.chain.judging import shown_to_rules
from dms3.chain.operations_validation import Record
from dms3.chain.session import decode_preflight
from dms3.chain.warrant import Evidence, encode_evidence
from dms3.core.multibase import encode_base32
from dms3.core.verdict import Valid
from unit.chain.chain_kit import (
    ALICE,
    ALICE_NEXT,
    ALICE_PHONE,
    BOB,
    BOB_ROOT,
    CONTENT,
    OTHER_DNA,
    T0,
    Chain,
    acceptance,
    countersigned,
    preflight,
)

ENTRY, DATA = make_entry({"text": "I was here"})
OTHER = make_entry({"text": "another"})


def state(chain, kind, **fields: object):
    return chain.judge(chain.draft(kind, **fields))


def forked():
    chain = Chain.begun(BOB, BOB_ROOT)
    both = [chain.draft("create", data, entry=cid, entry_kind="signature").signed
            for cid, data in (OTHER, (ENTRY, DATA))]  # fmt: skip
    return sorted(both, key=lambda each: each.hash)


def warrant(of="fork", rule="", actions=None):
    chosen = forked() if actions is None else actions
    evidence = Evidence(1, of, tuple(encode_signed(each) for each in chosen), rule)
    return encode_evidence(evidence)


# Countersigning


def both():
    return Chain.begun(), Chain.begun(BOB, BOB_ROOT)


def agreement(
    asked: bytes | None = None,
    order: Callable[[list[bytes]], list[bytes]] = list,
    **fields: object,
) -> list[tuple[Chain, Record]]:
    """(chain, record) of Alice and Bob who countersign; `fields` override hers."""
    alice, bob = both()
    asked = asked or preflight()
    session = decode_preflight(asked).id
    accepted = [acceptance(alice, session), acceptance(bob, session)]
    entry, data = countersigned(asked, order(accepted))
    common = {"entry": entry, "entry_kind": "contract", "session": session}
    records = []
    for chain, extra in ((alice, fields), (bob, {})):
        records.append((chain, chain.draft("countersign", data, **{**common, **extra})))
    return records


def test_an_agreement_is_valid_at_both():
    for chain, record in agreement():
        assert chain.judge(record) == Valid()


@pytest.mark.parametrize(
    "made",
    [
        lambda: agreement(preflight(overlay=OTHER_DNA.id)),
        lambda: agreement(preflight(kind="signature")),
        lambda: agreement(preflight(entry=OTHER[0])),
        lambda: agreement(preflight(since_us=T0 + 10)),
        lambda: agreement(session=b"s" * 32),
        lambda: agreement(time_us=T0 + 60_000_001),
        lambda: agreement(order=lambda accepted: accepted[:1]),
        lambda: agreement(order=lambda accepted: [accepted[0], accepted[0]]),
        lambda: agreement(order=lambda accepted: [accepted[0], accepted[1][:-1] + b"!"]),
        lambda: agreement(preflight()[:-1] + b"!"),
        lambda: agreement(preflight(parties=tuple(sorted((ALICE.public, ALICE_NEXT.public))))),
    ],
    ids=["overlay", "kind", "content", "early", "session", "late", "one", "twice", "forged",
         "unsigned", "stranger"],
)  # fmt: skip
def test_an_agreement_that_differs_in_anything_is_refused(made):
    chain, record = made()[0]
    assert chain.judge(record).rule == "countersign"


def test_rules_are_shown_who_takes_part():
    (_, record), _ = agreement()
    action, content = shown_to_rules(record)
    assert content == CONTENT
    assert action["proposer"] == encode_base32(ALICE.public)
    assert action["parties"] == sorted(map(encode_base32, (ALICE.public, BOB.public)))


def test_an_acceptance_holds_for_one_place_in_the_chain():
    chain, record = agreement()[0]
    chain.create({"text": "meanwhile"})
    fields = {"seq": 4, "prev": chain.head.hash, "time_us": T0 + 5}
    action = dataclasses.replace(record.signed.action, **fields)
    assert chain.judge(Record(sign_action(ALICE, action), record.entry)).rule == "countersign"


def test_who_takes_part_decides_and_nobody_else():
    asked = preflight()
    session = decode_preflight(asked).id
    alice, bob = both()
    entry, data = countersigned(asked, [acceptance(alice, session), acceptance(bob, session)])
    stranger = Chain.begun(ALICE_PHONE)
    fields = {"entry": entry, "entry_kind": "contract", "session": session}
    assert stranger.judge(stranger.draft("countersign", data, **fields)).rule == "countersign"


def test_a_session_is_part_of_a_countersigned_entry_alone():
    (chain, record), _ = agreement()
    fields = {"entry": record.signed.action.entry, "entry_kind": "contract"}
    assert chain.judge(chain.draft("create", record.entry, **fields)).rule == "entry-form"
    entry, data = make_entry(CONTENT)
    fields = {"entry": entry, "entry_kind": "contract", "session": b"s" * 32}
    assert chain.judge(chain.draft("countersign", data, **fields)).rule == "entry-form"


# Warrants


def test_a_fork_and_a_broken_rule_are_warned_of():
    chain = Chain.begun()
    assert state(chain, "warrant", to=BOB.public, proof=warrant()) == Valid()
    broken = warrant("rule", "entry-kind", forked()[:1])
    assert state(chain, "warrant", to=BOB.public, proof=broken) == Valid()


@pytest.mark.parametrize(
    ("to", "proof"),
    [
        (ALICE, warrant()),  # not hers
        (BOB, warrant(actions=forked()[::-1])),
        (BOB, warrant(actions=forked()[:1] * 2)),
        (BOB, warrant(actions=[Chain.begun(BOB, BOB_ROOT).head, forked()[0]])),
        (BOB, warrant("rule", "x", [Chain.begun(BOB, BOB_ROOT, OTHER_DNA).head])),
        (BOB, warrant("rule", "x", [dataclasses.replace(forked()[0], signature=bytes(64))])),
    ],
    ids=["of another", "out of order", "one action", "two places", "another app", "not signed"],
)  # fmt: skip
def test_evidence_that_proves_nothing_warns_of_nobody(to, proof):
    assert state(Chain.begun(), "warrant", to=to.public, proof=proof).rule == "warrant"
