"""Names are the words of others: none of them can stand for somebody's key or outlive a clock."""

import pytest

from dms3.core.ids import Root
from dms3.core.limits import REFUSE_US
from dms3.core.machine import Call, Now
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.contacts import ROOT_HEX_CHARS_MIN
from dms3.p2p.port import Refuse
from unit.test_peers import WALL, Rig, card, denounce, peer, person


@pytest.mark.parametrize("mallory_first", [True, False])
def test_a_name_that_is_anothers_root_or_peer_id_does_not_stand_for_it(mallory_first):
    root, peer_id = person(1).public.hex(), peer_id_text(peer(1))
    rig = Rig()
    others = [card(2, root), card(3, peer_id)]
    for text in [*others, card(1, "Alice")] if mallory_first else [card(1, "Alice"), *others]:
        rig.call("contact_add", text)
    assert rig.call("contact_find", root).root == person(1).public
    assert rig.call("contact_find", root.upper()).root == person(1).public
    assert rig.call("contact_find", peer_id).root == person(1).public


def test_a_name_that_is_the_beginning_of_anothers_root_is_ambiguous():
    rig = Rig()
    beginning = person(1).public.hex()[:ROOT_HEX_CHARS_MIN]
    rig.call("contact_add", card(1, "Alice"))
    rig.call("contact_add", card(2, beginning))
    failure = rig.call("contact_find", beginning)
    assert failure.code == "argument_invalid"
    assert person(1).public.hex() in failure.message, "what is offered instead decides it"
    assert rig.call("contact_find", "Alice").root == Root(person(1).public)


def test_names_that_look_alike_by_composition_are_one_name():
    rig = Rig()
    rig.call("contact_add", card(1, "Jos\u00e9"))
    assert rig.call("contact_find", "Jose\u0301").root == person(1).public
    rig.call("contact_add", card(2, "Jose\u0301"))
    assert rig.call("contact_find", "Jos\u00e9").code == "argument_invalid"


def test_a_refusal_does_not_outlive_a_clock_that_was_wrong():
    rig = Rig()
    wrong = 10**6 * REFUSE_US
    rig.now = Now(0, WALL + wrong)
    rig.up(1)
    denounce(rig, 1)
    denounce(rig, 1)
    (row,) = rig.call("list")
    assert row.refused_until_us == WALL + wrong + REFUSE_US
    rig.now = Now(5, WALL)  # somebody has set the clock right
    text = f"/ip4/192.0.2.1/tcp/4001/p2p/{peer_id_text(peer(1))}"
    answer = rig.call("connect", text)
    assert getattr(answer, "code", "") != "peer_refused"
    again = Rig(state=rig.state)
    assert [
        e for e in again.drain(Call, port="transport.refuse") if type(e.arguments) is Refuse
    ] == []
