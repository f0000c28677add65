"""Ops in any order, twice, in pieces: the tables of who holds them are the same in the end.

As long as nobody is blocked: what is taken of a convicted agent ends with the evidence against it.
"""

import random

import pytest

from dms3.chain.entry import make_entry
from dms3.chain.operations_validation import Record
from dms3.chain.ops import Op
from dms3.core.ids import PeerId
from dms3.core.limits import CHAIN_OPS_MAX
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.validation.blocking import Blocking
from dms3.validation.digest import digest
from unit.chain.chain_kit import T0, Chain
from unit.validation.validation_kit import PLAIN, Disk, Rig, begun, ops

ORDERS = 8
"""How many orders are tried, each with its own duplicates and pieces."""


def people() -> list[Record]:
    """Chains with everything that actions can do to each other, forks and broken rules included."""
    alice, bob = begun(PLAIN, 1), begun(PLAIN, 5)
    base = b"b" * 32
    for number in range(3):
        alice.create({"text": f"alice {number}"}, "wiki")
        bob.create({"text": f"alice {number}"}, "wiki")  # equal content, one entry
    first, second = alice.records[3].signed, alice.records[4].signed
    for chain in (alice, bob):
        update(chain, first, {"text": f"better {chain.signing.public.hex()[:4]}"})
        chain.add("delete", target=second.hash, target_entry=second.action.entry)
        chain.add("link", base=base, to=first.hash.binary, link_kind="topic", tag=b"t")
    link = alice.records[-1].signed
    bob.add("unlink", base=base, target=link.hash)
    fork = alice.draft("link", base=base, to=b"x" * 32, link_kind="by", time_us=T0 + 500)
    alice.add("link", base=base, to=b"y" * 32, link_kind="by")
    carol = begun(PLAIN, 9)
    carol.add("link", base=base, to=b"z" * 32, link_kind="unheard")  # refused
    carol.create({"text": "behind it"}, "note")  # and so is this
    update(carol, carol.records[3].signed, {"text": "of no entry"}, carol.records[4].signed)
    return [*alice.records, fork, *bob.records, *carol.records]


def update(chain: Chain, target, content, of=None) -> None:
    entry, data = make_entry(content)
    old = (of or target).action.entry
    chain.add("update", data, entry=entry, entry_kind="wiki", target=target.hash, target_entry=old)


def delivered(deliveries: list[list[Op]]) -> tuple[bytes, Rig]:
    rig = Rig(Disk(), PLAIN)
    for some in deliveries:
        rig.begin_publish(*some)
    return digest(rig.disk, PLAIN.id), rig


def pieces(everything: list[Op]) -> list[list[Op]]:
    """As few deliveries as possible."""
    return [everything[at : at + CHAIN_OPS_MAX] for at in range(0, len(everything), CHAIN_OPS_MAX)]


@pytest.fixture
def nobody_is_blocked(monkeypatch) -> None:
    monkeypatch.setattr(Blocking, "put", lambda *_: None)


@pytest.fixture
def expected(nobody_is_blocked) -> tuple[bytes, Rig]:
    del nobody_is_blocked
    return delivered([[each] for each in ops(*people())])


@pytest.mark.parametrize("seed", range(ORDERS))
def test_the_same_ops_in_any_order_give_the_same_state(seed, expected):
    print("seed", seed)
    draw = random.Random(seed)
    records = people()
    everything = ops(*records)
    state_expected, first = expected
    mixed = [*everything, *draw.sample(everything, len(everything) // 3)]
    draw.shuffle(mixed)
    deliveries = []
    while mixed:
        size = draw.randint(1, 12)
        deliveries.append(mixed[:size])
        mixed = mixed[size:]
    state, rig = delivered(deliveries)
    for record in records:
        assert rig.state(record) == first.state(record) != "pending"
    assert rig.call("figures", PLAIN.id) == first.call("figures", PLAIN.id)
    assert state == state_expected


@pytest.mark.parametrize("seed", range(ORDERS))
def test_who_is_convicted_does_not_depend_on_the_order(seed):
    draw = random.Random(seed)
    records = people()
    mixed = ops(*records)
    draw.shuffle(mixed)
    rig = Rig(Disk(), PLAIN)
    for number, some in enumerate(pieces(mixed)):  # each brought by somebody else
        rig.begin_publish(*some, peer=PeerId(PEER_ID_PREFIX + bytes([number]) * 32))
    found = {one.agent: one.kind for one in rig.call("warrants", PLAIN.id)}
    alice, carol = records[0].signed.action.author, records[-1].signed.action.author
    assert found == {alice: "fork", carol: "rule"}


def test_one_op_less_is_another_state(expected):
    less, _ = delivered(pieces(ops(*people())[:-1]))
    assert less != expected[0]


def test_a_restart_in_between_changes_nothing(expected):
    reverse = ops(*people())[::-1]
    half = len(reverse) // 2
    _, rig = delivered(pieces(reverse[:half]))
    again = Rig(rig.disk, PLAIN)
    for some in pieces(reverse[half:]):
        again.begin_publish(*some)
    assert digest(again.disk, PLAIN.id) == expected[0]
