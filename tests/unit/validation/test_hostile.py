"""What peers may try: altered bytes, forged signatures, floods, and others' secrets."""

from dataclasses import replace

import pytest

from dms3.chain.action import sign_action
from dms3.chain.entry import make_entry, seal_private
from dms3.chain.messages import OpResult, ReceiptNote
from dms3.chain.operations_validation import Record
from dms3.chain.ops import Op, encode_op, op_id, ops_of
from dms3.chain.receipt import issue_receipt
from dms3.chain.sandboxing import Judged
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.limits import (
    CHAIN_ASK_BURST_US,
    CHAIN_ASK_COST_US,
    CHAIN_QUESTION_BYTES_MAX,
    FUEL_LOST_AUTHOR_MAX,
    PENDING_OLD_US,
    PUBLISHES_OF_ONE_MAX,
    SECOND_US,
)
from dms3.core.overlay import RANK_MAX
from dms3.core.verdict import Invalid, Valid
from dms3.validation import queue
from unit.chain.chain_kit import DNA, T0, key
from unit.validation.validation_kit import (
    ALICE_PEER,
    MALLORY_PEER,
    OTHERS,
    PLAIN,
    Rig,
    begun,
    op,
    ops,
)


def test_altered_bytes_are_refused_and_their_sender_reported():
    rig, chain = Rig(), begun()
    data = encode_op(op(chain.create({"text": "hello"}, "note"), "record"))
    places = range(0, len(data), 23)
    for place in places:
        altered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        (result,) = rig.publish(altered, peer=MALLORY_PEER)
        assert result.code == "refused"
    assert rig.conduct == [(MALLORY_PEER, "content_invalid")] * len(places)
    assert rig.disk.values.get("actions", {}) == {}


def test_a_forged_signature_neither_enters_nor_keeps_the_true_one_out():
    rig, chain = Rig(), begun()
    good = op(chain.records[0], "record")
    forged = replace(good, signed=replace(good.signed, signature=bytes(64)))
    (result,) = rig.publish(forged, peer=MALLORY_PEER)
    assert (result.code, result.rule) == ("refused", "signature")
    assert rig.conduct == [(MALLORY_PEER, "content_invalid")]
    assert rig.codes(good) == ["held"]


def test_an_op_of_another_app_is_refused():
    rig, chain = Rig(), begun()
    (result,) = rig.publish(op(chain.records[0], "record"), dna=DNA)
    assert result.code == "refused"


def test_one_bad_op_does_not_spoil_the_others():
    rig, chain = Rig(), begun()
    assert rig.codes(b"nothing", op(chain.records[0], "record")) == ["refused", "held"]


@pytest.mark.parametrize("body", [b"", b"\xa0", bytes(CHAIN_QUESTION_BYTES_MAX + 1)])
def test_what_is_no_question_is_reported(body):
    rig = Rig()
    answer = rig.ask(body, MALLORY_PEER)
    assert isinstance(answer, Failure)
    assert rig.conduct == [(MALLORY_PEER, "body_malformed")]


def test_what_lies_far_is_not_held():
    rig, chain = Rig(), begun()
    rig.rank = RANK_MAX
    assert rig.codes(*ops(chain.records[0])) == ["far", "far"]
    assert rig.disk.values.get("actions", {}) == {}
    rig.rank = RANK_MAX - 1
    assert rig.codes(*ops(chain.records[0])) == ["held", "held"]


def test_an_author_whose_actions_wait_in_vain_fills_a_part_of_the_queue(monkeypatch):
    monkeypatch.setattr(queue, "PENDING_PER_AUTHOR_MAX", 3)
    rig, chain = Rig(), begun()
    for number in range(5):
        chain.create({"text": str(number)}, "note")
    codes = [rig.codes(op(record, "record"))[0] for record in chain.records[1:7]]
    assert codes == ["pending"] * 3 + ["busy"] * 3
    assert rig.codes(op(begun(PLAIN, 5).records[0], "record")) == ["held"]


def test_a_peer_that_brings_what_nobody_can_judge_is_refused_and_others_are_not(monkeypatch):
    monkeypatch.setattr(queue, "PENDING_PER_PEER_MAX", 3)
    rig = Rig()
    waiting = [op(begun(PLAIN, number).records[1], "record") for number in range(11, 16)]
    codes = [rig.codes(each, peer=MALLORY_PEER)[0] for each in waiting]
    assert codes == ["pending"] * 3 + ["busy"] * 2
    assert rig.codes(waiting[4], peer=ALICE_PEER) == ["pending"]


def test_who_has_waited_long_in_vain_gives_way_when_there_is_no_room(monkeypatch):
    monkeypatch.setattr(queue, "PENDING_ACTIONS_MAX", 2)
    rig = Rig()
    chains = [begun(PLAIN, number) for number in range(11, 15)]
    for chain in chains:
        chain.create({"text": str(chain.signing.public[0])}, "note")
    first, second, third = (op(chain.records[3], "record") for chain in chains[:3])
    assert rig.codes(first) == rig.codes(second) == ["pending"]
    assert rig.codes(third) == ["busy"]
    entries = len(rig.disk.values["entries"])
    rig.go(PENDING_OLD_US / SECOND_US)
    assert rig.codes(third) == ["pending"]
    assert rig.state(chains[0].records[3]) == ""
    rig.go(1)
    assert len(rig.disk.values["entries"]) == entries, "nothing of it stays"
    assert len(rig.disk.values["pending"]) == 2


def test_an_action_that_gives_way_takes_no_entry_of_another_with_it(monkeypatch):
    """Else who copies an entry, and has the copy forgotten, takes it from its author."""
    monkeypatch.setattr(queue, "PENDING_ACTIONS_MAX", 1)
    rig, chain = Rig(), begun()
    chain.create({"text": "mine"}, "note")
    near = [each for each in ops(*chain.records) if each.kind != "entry"]
    rig.codes(*near)
    copier, other = begun(PLAIN, 11), begun(PLAIN, 12)
    copy = copier.create({"text": "mine"}, "note")
    assert rig.codes(op(copy, "record")) == ["pending"]
    rig.go(PENDING_OLD_US / SECOND_US)
    assert rig.codes(op(other.records[1], "record")) == ["pending"]
    rig.go(1)
    assert rig.state(copy) == ""
    (found,) = rig.fetch("record", chain.head.hash.binary).ops
    assert found.state == "integrated"


def test_too_much_at_once_is_refused_by_its_bytes(monkeypatch):
    monkeypatch.setattr(queue, "PENDING_BYTES_MAX", 50_000)
    rig, chain = Rig(), begun()
    chain.create({"text": "x" * 60_000}, "note")
    assert rig.codes(op(chain.records[3], "record")) == ["busy"]
    assert rig.codes(op(chain.records[2], "record")) == ["pending"]


def test_what_comes_later_for_an_action_that_waits_counts_too(monkeypatch):
    """Else small ops that nobody can judge would each open the door for a large one."""
    monkeypatch.setattr(queue, "PENDING_BYTES_MAX", 100_000)
    rig, chain = Rig(), begun()
    large = [chain.create({"text": "x" * 40_000, "number": n}, "note") for n in range(3)]
    assert rig.codes(*(op(record, "activity") for record in large)) == ["pending"] * 3
    assert rig.codes(*(op(record, "record") for record in large)) == ["pending"] * 2 + ["busy"]
    assert rig.codes(*(op(record, "entry") for record in large)) == ["pending"] * 2 + ["busy"]
    for record in chain.records[:3]:
        rig.codes(*ops(record))
    assert rig.state(large[1]) == "integrated"
    rig.codes(*ops(large[2]))
    assert rig.state(large[2]) == "integrated"


def test_who_asks_without_end_is_told_to_wait():
    rig = Rig()
    most = CHAIN_ASK_BURST_US // CHAIN_ASK_COST_US
    answers = [rig.ask(b"", MALLORY_PEER).code for _ in range(most + 5)]
    assert answers[-1] == "limit_reached"
    assert answers[0] == "body_malformed"
    assert rig.ask(b"", ALICE_PEER).code == "body_malformed"


def test_receipts_that_come_later_go_to_who_publishes_and_malformed_ones_are_reported():
    rig, chain = Rig(), begun()
    name = op_id(op(chain.records[0], "record"))
    receipt = issue_receipt(key(91), PLAIN.id, name, T0)
    note = ReceiptNote(PLAIN.id, (name, b"x" * 32), (OpResult("held", receipt), OpResult("busy")))
    rig.receive(encode(note))
    (told,) = rig.receipts
    assert (told.overlay, told.peer, told.receipts) == (PLAIN.id, ALICE_PEER, ((name, receipt),))
    rig.receive(encode(replace(note, overlay=b"?" * 32)))
    assert len(rig.receipts) == 1
    rig.receive(b"nonsense", MALLORY_PEER)
    assert rig.conduct == [(MALLORY_PEER, "body_malformed")]


def test_a_private_entry_is_neither_kept_nor_given():
    rig, chain = Rig(), begun()
    secret, _sealed = _private(chain)
    assert rig.keep(*chain.records) is None
    assert rig.state(secret) == "integrated"
    rows = b"".join(value for table in rig.disk.values.values() for value in table.values())
    assert b"my secret" not in rows
    assert rig.fetch("entry", secret.signed.action.entry.binary).ops == ()
    thief = begun(PLAIN, 5)  # a public action that names the hash of the secret
    named = thief.add("create", entry=secret.signed.action.entry, entry_kind="note")
    rig.codes(*ops(*thief.records[:3]))
    rig.codes(Op("activity", thief.signing.public, named.signed))
    rig.go(60)
    assert rig.state(named) == "system"
    assert rig.fetch("record", named.signed.hash.binary).ops == ()


def test_a_sealed_entry_is_held_for_its_author():
    rig, chain = Rig(), begun()
    secret, sealed = _private(chain)
    rig.codes(*ops(*chain.records[:3]))
    published = ops_of(secret.signed, secret.entry, sealed)
    assert set(rig.codes(*published)) == {"held"}
    (record,) = rig.fetch("record", secret.signed.hash.binary).ops
    assert sealed in record.op
    assert b"my secret" not in record.op


def test_two_actions_at_one_place_are_both_kept_and_told_once():
    rig, chain = Rig(), begun()
    one = chain.draft("link", base=b"b" * 32, to=b"1" * 32, link_kind="by")
    two = chain.draft("link", base=b"b" * 32, to=b"2" * 32, link_kind="by")
    for _ in range(2):
        assert set(rig.codes(*ops(*chain.records, one, two))) == {"held"}
    (told,) = rig.topics("chain.forked")
    assert told["seq"] == 3
    assert sorted(told["actions"]) == sorted((str(one.signed.hash), str(two.signed.hash)))
    activity = rig.fetch("activity", chain.signing.public)
    assert len(activity.ops) == 5
    assert (activity.head, activity.highest) == (3, 3)


def test_of_two_good_signatures_of_one_action_all_nodes_keep_the_same():
    chain = begun()
    record = chain.records[0]
    other = sign_action(chain.signing, record.signed.action)
    assert other.signature == record.signed.signature, "this library signs alike each time"
    rig = Rig()
    assert rig.codes(*ops(record), *ops(Record(other, None))) == ["held"] * 4


def test_a_publish_that_nobody_waits_for_is_judged_all_the_same():
    rig, chain = Rig(), begun(DNA)
    rig.hold("sandbox.judge")
    number = rig.begin_publish(*ops(chain.records[0]), dna=DNA)
    rig.withdraw(number)
    rig.release("sandbox.judge")
    assert rig.state(chain.records[0]) == "integrated"
    assert number not in rig.replies


def test_nothing_is_left_in_memory_of_what_is_done():
    rig = Rig()
    for number in range(20, 26):
        chain = begun(PLAIN, number)
        chain.create({"text": "hello"}, "note")
        rig.codes(*ops(*chain.records), peer=OTHERS[number % 3])
    parts = rig.machine._parts
    assert len(parts.deciding.queue) == parts.intake.open == parts.bench.bringing.open == 0
    assert parts.judging._waiting == {}
    assert parts.deciding._watched == {}
    rig.go(600)
    for dna in (DNA, PLAIN):
        rig.call("shut", dna.id)
    assert rig.machine.next_timer() is None


def _private(chain):
    entry, data = make_entry({"text": "my secret"}, b"s" * 16)
    cid, sealed = seal_private(b"k" * 32, entry, data)
    record = chain.add("create", data, entry=entry, entry_kind="secret", private=True, sealed=cid)
    return record, sealed


def test_what_is_refused_is_paid_for_by_who_wrote_and_who_brought_it():
    """Else one could keep every node busy with expensive nonsense."""
    rig = Rig()
    rig.rules = lambda _: Judged(Invalid("x", "y"), FUEL_LOST_AUTHOR_MAX)
    codes = [rig.codes(op(begun(DNA, 3 + n).records[0], "record"), dna=DNA)[0] for n in range(6)]
    assert codes == ["refused"] * 4 + ["busy"] * 2
    rig.rules = lambda _: Judged(Valid(), 1)
    mine = begun(DNA, 30).records[0]
    assert rig.codes(op(mine, "record"), dna=DNA, peer=MALLORY_PEER) == ["held"]


def test_one_peer_does_not_take_every_place_of_those_that_wait():
    rig, chain = Rig(), begun(DNA)
    rig.hold("sandbox.judge")
    numbers = [
        rig.begin_publish(op(begun(DNA, 3 + n).records[0], "record"), dna=DNA, peer=MALLORY_PEER)
        for n in range(PUBLISHES_OF_ONE_MAX + 1)
    ]
    assert isinstance(rig.replies[numbers[-1]], Failure)
    assert not any(number in rig.replies for number in numbers[:-1])
    number = rig.begin_publish(op(chain.records[0], "record"), dna=DNA)
    rig.release("sandbox.judge")
    assert [each.code for each in rig.results(number, 1)] == ["held"]


def test_who_has_cost_too_much_does_not_keep_others_actions_out():
    rig, chain = Rig(), begun(DNA)
    rig.codes(*ops(chain.records[1]), dna=DNA, peer=MALLORY_PEER)  # it waits for the first
    rig.rules = lambda _: Judged(Invalid("x", "y"), FUEL_LOST_AUTHOR_MAX)
    for number in range(4):
        bad = op(begun(DNA, 3 + number).records[0], "record")
        assert rig.codes(bad, dna=DNA, peer=MALLORY_PEER) == ["refused"]
    rig.rules = lambda _: Judged(Valid(), 1)
    assert rig.codes(*ops(chain.records[0]), dna=DNA) == ["held"] * 2
    assert rig.state(chain.records[1]) == ""
    assert rig.codes(*ops(chain.records[1]), dna=DNA) == ["held"] * 2
    figures = dict(rig.call("figures", DNA.id).states)
    assert figures == {"integrated": 4, "rejected": 4}
