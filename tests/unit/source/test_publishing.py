"""Publishing by hand: receipts, when they are enough, pauses, restarts, liars."""

import pytest

from dms3.chain.dna import Dna
from dms3.chain.operations import Change, NoteReceipts
from dms3.chain.ops import bases_of
from dms3.chain.receipt import issue_receipt
from dms3.core.errors import Failure
from dms3.core.limits import (
    CHAIN_OPS_MAX,
    PUBLISH_AT_ONCE_MAX,
    PUBLISH_GATHER_US,
    PUBLISH_NODES_MAX,
    PUBLISH_RETRY_US_MAX,
    PUBLISH_RETRY_US_MIN,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.source.holding import Need, OpRow, Round, after_round, count_of, with_signers
from unit.source.chain_kit import DNA, NOWHERE, Device, Holder, Overlay


def begun(overlay) -> Device:
    device = Device(overlay)
    device.begin()
    return device


def published(device, action):
    return device.call("published", action)


def test_in_a_small_overlay_everybody_signs_and_that_is_enough():
    device = begun(Overlay(3))
    (action,) = device.note().actions
    told = published(device, action)
    assert told.complete
    assert {op.enough for op in told.ops} == {"everybody"}
    assert all(len(op.signers) == 3 == op.members for op in told.ops)
    assert [op.op for op in told.ops] == ["record", "entry", "activity"]
    assert device.notices[-1] == (
        "chain.published",
        {"app": DNA.id.hex(), "action": str(action), "holders": 3, "enough": ["everybody"]},
    )
    asks = len(device.overlay.asks)
    device.wait(10 * PUBLISH_RETRY_US_MAX)
    assert len(device.overlay.asks) == asks  # it is done


def test_who_lies_too_far_is_not_waited_for_and_the_result_says_so():
    overlay = Overlay(HOLDERS_MIN + 3)
    device = begun(overlay)
    for holder in overlay.holders[:3]:
        holder.code = "far"
    (action,) = device.note().actions
    device.wait(PUBLISH_RETRY_US_MIN)
    told = published(device, action)
    assert told.complete
    assert {op.enough for op in told.ops} == {"near"}
    assert {len(op.signers) for op in told.ops} == {HOLDERS_MIN}
    assert device.notices[-1][1]["enough"] == ["near"]


def test_all_ops_of_an_action_travel_in_one_question_when_the_overlay_is_small():
    device = begun(Overlay(3))
    before = len(device.overlay.asks)
    device.note()
    assert len(device.overlay.asks) == before + 1


def test_uptimes_of_the_signers_are_enough_before_everybody_signed():
    overlay = Overlay(HOLDERS_MIN + 2)
    overlay.uptime = 1.0
    overlay.holders[0].code = "busy"
    device = begun(overlay)
    (action,) = device.note().actions
    told = published(device, action)
    assert told.complete
    assert {op.enough for op in told.ops} == {"uptime"}
    assert all(op.uptime >= DNA.r for op in told.ops)


def test_who_is_pending_or_busy_is_asked_again_with_pauses_that_double():
    overlay = Overlay(2)
    overlay.holders[0].code = "pending"
    device = begun(overlay)
    (action,) = device.note().actions
    told = published(device, action)
    assert not told.complete
    assert told.ops[0].signers == (overlay.holders[1].peer,)
    assert told.ops[0].again_us == device.now.wall_us + PUBLISH_RETRY_US_MIN
    asks = []
    for _ in range(10):
        overlay.asks.clear()
        device.wait(PUBLISH_RETRY_US_MIN)
        asks.append(bool(overlay.asks))
    assert asks == [True, False, True, False, False, False, True, False, False, False]
    overlay.holders[0].code = "held"
    device.wait(PUBLISH_RETRY_US_MAX)
    assert published(device, action).complete


def test_pauses_are_five_minutes_at_most():
    overlay = Overlay(2)
    overlay.holders[0].code = "busy"
    device = begun(overlay)
    (action,) = device.note().actions
    pauses = []
    while len(pauses) < 9:
        again_us = published(device, action).ops[0].again_us
        pauses.append(again_us - device.now.wall_us)
        device.wait(pauses[-1])
    assert pauses[:3] == [PUBLISH_RETRY_US_MIN << n for n in range(3)]
    assert max(pauses) == pauses[-1] == PUBLISH_RETRY_US_MAX == 300_000_000


def test_alone_it_waits_and_whoever_comes_is_asked_at_once():
    overlay = Overlay(0)
    device = begun(overlay)
    (action,) = device.note().actions
    assert not published(device, action).complete
    device.wait(PUBLISH_RETRY_US_MAX // 2)
    overlay.holders.append(Holder(9))
    device.come(overlay.holders[0])
    device.wait(1_000_000)
    assert published(device, action).complete


def test_nodes_that_are_gone_are_no_members():
    overlay = Overlay(3)
    overlay.holders[1].down = True
    device = begun(overlay)
    (action,) = device.note().actions
    told = published(device, action)
    assert told.complete
    assert {op.members for op in told.ops} == {2}
    for holder in overlay.holders:
        holder.down = True
    (action,) = device.note().actions
    assert not published(device, action).complete


def test_a_forged_receipt_counts_nothing_and_is_held_against_its_peer():
    overlay = Overlay(2)
    overlay.holders[0].code = "forged"
    device = begun(overlay)
    (action,) = device.note().actions
    told = published(device, action)
    assert {op.signers for op in told.ops} == {(overlay.holders[1].peer,)}
    assert not told.complete
    assert (overlay.holders[0].peer, "receipt_forged") in device.conduct
    assert {peer for peer, _ in device.conduct} == {overlay.holders[0].peer}


def test_who_refuses_is_named_with_the_rule():
    overlay = Overlay(2)
    device = begun(overlay)
    overlay.holders[0].code = "refused"
    (action,) = device.note().actions
    refused = [data for topic, data in device.notices if topic == "chain.refused"]
    assert refused[0]["rule"] == "x"
    assert refused[0]["action"] == str(action)
    assert not published(device, action).complete


def test_a_large_overlay_is_asked_place_by_place_and_then_farther():
    overlay = Overlay(PUBLISH_NODES_MAX + 4)
    device = begun(overlay)
    device.wait(1)
    overlay.asks.clear()
    (action,) = device.note().actions
    device.wait(1)
    told = published(device, action)
    assert told.complete
    assert {op.enough for op in told.ops} == {"uptime"}  # of forty newcomers
    assert {len(op.signers) for op in told.ops} == {PUBLISH_NODES_MAX}
    counts = [asked.count for asked in overlay.asks]
    assert counts == [HOLDERS_MIN] * 3 + [PUBLISH_NODES_MAX] * 3
    signed = device.chain[-1]
    assert len({asked.target for asked in overlay.asks}) == len(bases_of(signed))


def test_in_a_large_overlay_good_uptimes_spare_the_second_round():
    overlay = Overlay(PUBLISH_NODES_MAX + 4)
    overlay.uptime = 1.0
    device = begun(overlay)
    overlay.asks.clear()
    (action,) = device.note().actions
    assert published(device, action).complete
    assert {asked.count for asked in overlay.asks} == {HOLDERS_MIN}


def test_ops_of_one_place_travel_together_in_a_large_overlay():
    overlay = Overlay(PUBLISH_NODES_MAX + 4)
    overlay.uptime = 1.0
    device = Device(overlay)
    device.begin()
    assert len(overlay.asks) < sum(len(bases_of(each)) for each in device.chain)
    assert len({asked.target for asked in overlay.asks}) == len(overlay.asks)


def test_who_is_asked_too_much_is_asked_less_and_soon_again():
    overlay = Overlay(1)
    device = begun(overlay)
    (holder,) = overlay.holders
    link = Change("link", "all", base=b"b" * 32, to=b"t" * 32)
    overlay.asks.clear()
    holder.takes = 300
    device.commit(*[link] * 256)
    rows = len(device.rows.of("pending"))
    assert 0 < rows < 256  # some of it was taken
    asks = []
    for _ in range(16):
        holder.takes = 100  # each second
        before = len(overlay.asks)
        device.wait(1_000_000)
        asks.append(len(overlay.asks) - before)
    assert not device.rows.of("pending")
    assert max(asks) <= 8  # not all at once, again and again


def test_a_restart_goes_on_where_it_was():
    overlay = Overlay(2)
    overlay.holders[0].code = "busy"
    device = begun(overlay)
    (action,) = device.note().actions
    device.restart()
    assert published(device, action).ops[0].signers == (overlay.holders[1].peer,)
    overlay.holders[0].code = "held"
    overlay.asks.clear()
    device.wait(PUBLISH_RETRY_US_MAX)
    assert overlay.asks == []  # nobody has taken the app up
    device.begin()
    assert published(device, action).complete
    assert device.rows.of("pending") == {}


def test_an_app_that_was_removed_asks_nobody():
    overlay = Overlay(1)
    overlay.holders[0].code = "busy"
    device = begun(overlay)
    device.note()
    assert device.call("end", DNA.id) is None
    overlay.asks.clear()
    device.wait(10 * PUBLISH_RETRY_US_MAX)
    assert overlay.asks == []
    overlay.holders[0].code = "held"
    device.begin()
    assert device.rows.of("pending") == {}


def test_a_start_takes_up_as_many_as_there_is_room_for_and_the_rest_later(monkeypatch):
    monkeypatch.setattr("dms3.source.waiting.PUBLISH_ACTIONS_MAX", 4)
    monkeypatch.setattr("dms3.source.publishing.PUBLISH_ACTIONS_MAX", 4)
    overlay = Overlay(1)
    overlay.holders[0].code = "busy"
    device = begun(overlay)
    actions = [device.note(str(number)).actions[0] for number in range(10)]
    device.kept.clear()
    device.restart()
    device.begin()
    assert sum(len(asked.records) for asked in device.kept) == 4
    overlay.holders[0].code = "held"
    device.wait(20 * PUBLISH_RETRY_US_MAX)
    assert all(published(device, action).complete for action in actions)


def test_when_it_cannot_be_kept_for_reading_it_is_tried_again():
    device = begun(Overlay(1))
    device.failing["validation.keep"] = Failure("limit_reached", "Later.")
    (action,) = device.note().actions
    assert not published(device, action).complete
    device.failing.clear()
    device.wait(PUBLISH_RETRY_US_MIN)
    assert published(device, action).complete


def test_receipts_may_come_later_by_themselves():
    overlay = Overlay(1)
    (holder,) = overlay.holders
    device = begun(overlay)
    holder.code = "pending"
    (action,) = device.note().actions
    assert not published(device, action).complete
    ids = [name for name, op in holder.ops.items() if op.signed.hash == action]
    receipts = tuple(
        (name, issue_receipt(holder.signing, DNA.id, name, device.now.wall_us)) for name in ids
    )
    forged = ((ids[0], receipts[1][1]),)
    device.call("receipts", NoteReceipts(DNA.id, holder.peer, forged))
    assert device.conduct == [(holder.peer, "receipt_forged")]
    device.call("receipts", NoteReceipts(DNA.id, holder.peer, receipts))
    assert published(device, action).complete


def test_receipts_of_nodes_that_were_not_asked_count_nothing():
    """However many connect, and whatever they hold: only those near an op hold it for me."""
    overlay = Overlay(2)
    overlay.uptime = 1.0
    device = begun(overlay)
    overlay.holders[0].code = "pending"
    (action,) = device.note().actions
    names = [name for name, op in overlay.holders[0].ops.items() if op.signed.hash == action]
    for number in range(20, 32):
        stranger = Holder(number)
        device.call("receipts", NoteReceipts(DNA.id, stranger.peer, tuple(
            (name, issue_receipt(stranger.signing, DNA.id, name, device.now.wall_us))
            for name in names
        )))  # fmt: skip
    told = published(device, action)
    assert not told.complete
    assert {op.signers for op in told.ops} == {(overlay.holders[1].peer,)}
    assert device.conduct == []


def test_a_receipt_that_overtakes_the_answers_counts_when_they_are_there():
    overlay = Overlay(2)
    overlay.uptime = 4.0
    device = begun(overlay)
    holder = overlay.holders[0]
    holder.code = overlay.holders[1].code = "pending"
    early = []

    def ask_near(asked):
        answer = overlay.ask_near(asked, device.now.wall_us)
        early[:] = list(holder.ops)
        for each in overlay.holders:
            receipts = tuple(
                (name, issue_receipt(each.signing, DNA.id, name, device.now.wall_us))
                for name in early
            )
            device.call("receipts", NoteReceipts(DNA.id, each.peer, receipts))
        return answer

    device.ports["dht.ask_near"] = ask_near
    (action,) = device.note().actions
    assert published(device, action).complete


def test_nothing_is_known_of_actions_of_others():
    assert published(begun(Overlay(0)), NOWHERE).code == "not_found"


@pytest.mark.parametrize(
    ("signers", "round_", "enough"),
    [
        (1, Round(40, 1, 1, settled=True), "everybody"),
        (1, Round(40, 1, 1, settled=False), ""),
        (0, Round(40, 1, 0, settled=True), ""),
        (7, Round(8, 8, 8, settled=True), ""),
        (8, Round(8, 8, 8, settled=True), ""),  # a large overlay: there are others
        (8, Round(40, 20, 20, settled=True, far=True), "near"),  # the others lie too far
        (7, Round(40, 20, 20, settled=True, far=True), ""),  # fewer than hold it whatever they are
        (8, Round(40, 20, 20, settled=False, far=True), ""),
        (40, Round(40, 40, 40, settled=True), "everybody"),
        (39, Round(40, 40, 40, settled=False), ""),
        (7, Round(40, 40, 40, settled=True, far=True), ""),
    ],
)
def test_when_everybody_has_signed(signers, round_, enough):
    op = OpRow("record", b"b", tuple(bytes([n]) for n in range(signers)))
    assert after_round(op, round_, Need.of(None)).enough == enough


@pytest.mark.parametrize(
    ("needed", "tries", "count"),
    [
        (0, 0, 8),
        (0, 1, 40),  # nobody has said how many
        (12, 0, 8),
        (12, 1, 12),
        (12, 2, 20),
        (12, 9, 40),
        (8, 1, 8),
        (40, 1, 40),
    ],
)
def test_as_many_are_asked_as_are_to_hold_it_and_then_more(needed, tries, count):
    assert count_of(OpRow("record", b"b", needed=needed), tries, Need.of(None)) == count


@pytest.mark.parametrize(("count", "enough"), [(15, ""), (16, "uptime")])
def test_when_uptimes_are_enough(count, enough):
    peers = {bytes([n]) for n in range(count)}
    op = with_signers(OpRow("record", b"b"), peers, dict.fromkeys(peers, 0.5))
    assert after_round(op, Round(8, 8, 8, settled=False), Need.of(None)).enough == enough


def test_an_app_may_ask_for_less():
    need = Need.of(Dna("small", source=b"x", r=1, q_min=1, q_max=2))
    assert (need.uptime, need.few, need.most) == (1_000_000, 1, 2)


def test_alone_one_look_is_taken_for_all_that_waits():
    overlay = Overlay(0)
    device = begun(overlay)
    asks = len(overlay.asks)
    actions = [device.note(str(number)).actions[0] for number in range(20)]
    assert len(overlay.asks) == asks, "somebody was looked for a moment ago"
    device.wait(60_000_000)
    assert 4 <= len(overlay.asks) - asks <= 12
    overlay.holders.append(Holder(9))
    device.wait(PUBLISH_RETRY_US_MIN * 4)
    assert all(published(device, action).complete for action in actions)


def test_what_is_written_behind_a_few_questions_travels_together():
    overlay = Overlay(2)
    device = begun(overlay)
    device.wait(PUBLISH_AT_ONCE_MAX * PUBLISH_GATHER_US)
    overlay.asks.clear()
    first = [device.note(str(number)).actions[0] for number in range(PUBLISH_AT_ONCE_MAX)]
    assert len(overlay.asks) == PUBLISH_AT_ONCE_MAX
    assert all(published(device, action).complete for action in first)
    device.silent.add("dht.ask_near")  # a slow answer holds nobody up for longer
    device.wait(PUBLISH_GATHER_US)
    device.note("slow")
    device.silent.clear()
    others = [device.note(f"more {number}").actions[0] for number in range(5)]
    assert len(overlay.asks) == PUBLISH_AT_ONCE_MAX
    device.wait(PUBLISH_GATHER_US)
    assert len(overlay.asks) == PUBLISH_AT_ONCE_MAX + 1
    assert all(published(device, action).complete for action in others)


def test_a_full_question_waits_for_nothing():
    overlay = Overlay(2)
    device = begun(overlay)
    device.wait(PUBLISH_AT_ONCE_MAX * PUBLISH_GATHER_US)
    for number in range(PUBLISH_AT_ONCE_MAX):
        device.note(str(number))
    overlay.asks.clear()
    for number in range(CHAIN_OPS_MAX // 3 + 1):  # three ops each
        device.note(f"more {number}")
    assert len(overlay.asks) == 1
    device.wait(2 * PUBLISH_GATHER_US)  # it counts like the others
    assert len(overlay.asks) == 2
