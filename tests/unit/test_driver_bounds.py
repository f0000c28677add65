"""The driver: bounded queues, turns, timers, clocks, event ids and machines that raise."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    ASKS_OPEN_MAX,
    CLOCK_JUMP_US_MAX,
    COMMIT_EVENTS_MAX,
    STEP_EVENTS_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    ClockJumped,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Received,
    Reply,
    Request,
    Send,
)
from dms3.node.driver import Driver
from dms3.node.inbox import Hosted
from dms3.sim.disk import Disk
from unit.driver_kit import (
    ASK,
    GOSSIP,
    PEER,
    START,
    VOTE,
    Bench,
    Script,
    bodies,
    token,
)

# Bounds


def test_questions_and_commands_are_refused_by_a_full_inbox() -> None:
    bench = Bench(inbox_limit=3, one=Script())
    for number in range(3):
        bench.driver.requested(PEER, ASK, b"q", number)
    bench.driver.requested(PEER, ASK, b"q", 3)
    with pytest.raises(Dms3Error) as caught:
        bench.driver.call("one.put", None, print)
    assert caught.value.code == "limit_reached"
    (refused,) = bench.step()
    assert (refused.wire, refused.body.code, refused.body.retry) == (3, "limit_reached", "later")
    bench.driver.requested(PEER, ASK, b"q", 4)
    assert bench.step() == [], "there is room again"


def test_a_machines_call_to_a_full_machine_is_answered_with_a_failure() -> None:
    one = Script({b"go": [Call("two.x", None, token("t"))]})
    bench = Bench(inbox_limit=1, one=one, two=Script())
    bench.driver.call("two.x", None, print)
    bench.driver._exchange.ready.rotate(-1)  # machine one first
    bench.tell(b"go")
    bench.driver._exchange.ready.rotate(1)
    bench.step()
    assert one.seen[-1].body.code == "limit_reached"


def test_gossip_drops_the_oldest_and_votes_are_held() -> None:
    script = Script()
    bench = Bench(inbox_limit=3, one=script)
    assert bench.tell(b"vote", VOTE)
    assert all(bench.tell(body) for body in (b"old", b"mid", b"new"))
    assert not bench.tell(b"held", VOTE)
    bench.step()
    assert [event.body for event in script.seen] == [b"vote", b"mid", b"new"]
    assert bench.driver.dropped() == {"one": 1}
    assert bench.tell(b"held", VOTE)


def test_gossip_never_drops_a_vote_or_a_question() -> None:
    script = Script()
    bench = Bench(inbox_limit=2, one=script)
    bench.tell(b"vote", VOTE)
    bench.driver.requested(PEER, ASK, b"q", 1)
    bench.tell(b"gossip")
    bench.step()
    assert [event.body for event in script.seen] == [b"vote", b"q"]


def test_answers_enter_a_full_inbox() -> None:
    one = Script({b"ask": [Request(PEER, ASK, b"q", token("t"), 99)]})
    bench = Bench(inbox_limit=1, one=one)
    bench.tell(b"ask")
    (ask,) = bench.step()
    bench.tell(b"fills it")
    bench.driver.answered(ask.handle, b"a")
    bench.driver.peer_down(PEER, "gone")
    bench.step()
    assert [type(event) for event in one.seen[1:]] == [Received, Answered, PeerDown]


def test_a_step_runs_at_most_its_bound() -> None:
    script = Script()
    bench = Bench(inbox_limit=1_000, one=script)
    for _ in range(STEP_EVENTS_MAX + 1):
        bench.tell(b"x")
    bench.step()
    assert len(script.seen) == STEP_EVENTS_MAX
    assert bench.driver.busy
    bench.step()
    assert len(script.seen) == STEP_EVENTS_MAX + 1
    assert not bench.driver.busy


def test_a_full_transaction_holds_further_events_back() -> None:
    script = Script({Received: [Persist("t", b"k", b"v")]})
    script.timer = START.mono_us + 1
    bench = Bench(inbox_limit=5_000, one=script)
    bench.tell(b"x")
    bench.step()
    for _ in range(COMMIT_EVENTS_MAX + 10):
        bench.tell(b"x")
    while bench.driver.busy:
        bench.step()
    assert len(script.seen) == 1 + COMMIT_EVENTS_MAX
    assert bench.driver.next_timer() is None, "a timer that cannot run must not wake the loop"
    bench.commit()
    assert bench.driver.busy
    assert bench.driver.next_timer() is not None


def test_asks_of_a_machine_are_bounded() -> None:
    asks = [Request(PEER, ASK, b"q", token(str(n)), 99) for n in range(ASKS_OPEN_MAX + 1)]
    one = Script({b"go": asks})
    bench = Bench(one=one)
    bench.tell(b"go")
    assert len(bench.step()) == ASKS_OPEN_MAX
    bench.step()
    (answer,) = one.seen[1:]
    assert (answer.token, answer.body.code) == (str(ASKS_OPEN_MAX), "limit_reached")


# Fairness, time, events, bugs


def test_machines_take_turns() -> None:
    order: list[str] = []
    one = Script({"x": lambda _: order.append("one") or []})
    two = Script({"x": lambda _: order.append("two") or []})
    bench = Bench(one=one, two=two)
    for _ in range(3):
        bench.driver.call("one.x", None, print)
    bench.driver.call("two.x", None, print)
    bench.step()
    assert order == ["one", "two", "one", "one"]


def test_timers_run_when_they_are_due() -> None:
    script = Script({"timer": [Send(PEER, GOSSIP, b"tick")]})
    script.timer = 5_000
    bench = Bench(one=script)
    assert bench.driver.next_timer() == 5_000
    assert bench.step(Now(4_999, 5_003_999)) == []
    assert bodies(bench.step(Now(5_000, 5_004_000))) == [b"tick"]
    assert bench.driver.next_timer() is None


def test_a_jump_of_the_wall_clock_is_told_once() -> None:
    script = Script()
    bench = Bench(one=script)
    wall = START.wall_us - START.mono_us
    bench.step(Now(2_000, wall + 2_000 + CLOCK_JUMP_US_MAX))
    assert script.seen == [], "drift within the bound is no jump"
    jumped = wall + CLOCK_JUMP_US_MAX + 1
    bench.step(Now(3_000, jumped + 3_000))
    bench.step(Now(4_000, jumped + 4_000))
    assert script.seen == [ClockJumped(CLOCK_JUMP_US_MAX + 1)]
    bench.step(Now(5_000, wall + 5_000))
    assert script.seen[1:] == [ClockJumped(-CLOCK_JUMP_US_MAX - 1)]


def test_event_ids_rise_by_one_across_transactions_and_restarts() -> None:
    rules = {Received: [Notify("topic", {"a": 1}), Notify("topic", {"a": 2})]}
    bench = Bench(one=Script(rules))
    for _ in range(3):
        bench.tell(b"x")
        bench.step()
    assert bench.notices == [], "told before they were durable"
    bench.commit()
    lost = bench.pending  # killed while the second transaction runs
    assert [event.id for event in lost.events] == [3, 4, 5, 6]
    again = Bench(disk=bench.disk, one=Script(rules))
    again.tell(b"x")
    again.step()
    again.commit()
    assert [event.id for event in again.disk.events] == [1, 2, 3, 4]
    assert again.notices[0].wall_us == START.wall_us


def test_a_machine_that_raises_stops_the_node() -> None:
    bench = Bench(one=Script({b"bad": lambda _: 1 // 0}), two=Script())
    bench.tell(b"bad")
    with pytest.raises(Dms3Error) as caught:
        bench.step()
    assert caught.value.code == "internal"
    assert "'one' failed on Received" in caught.value.message
    assert [(name, what) for name, what, _ in bench.bugs] == [("one", "Received")]
    with pytest.raises(Dms3Error):
        bench.driver.step(START)


def test_an_answer_to_a_peer_must_be_bytes() -> None:
    bench = Bench(one=Script({b"q": lambda event: [Reply(event.request, {"no": 1})]}))
    bench.driver.requested(PEER, ASK, b"q", 1)
    with pytest.raises(Dms3Error):
        bench.step()
    assert "bytes or a Failure" in str(bench.bugs[0][2])


def test_two_machines_may_not_share_a_name() -> None:
    with pytest.raises(AssertionError):
        Driver(
            [Hosted("one", Script()), Hosted("one", Script())],
            Disk(),
            last_event=0,
            on_bug=lambda *_: None,
        )


def test_a_connection_is_told_to_every_machine() -> None:
    one, two = Script(), Script()
    bench = Bench(one=one, two=two)
    bench.driver.peer_up(PEER, "/ip4/10.0.0.1/tcp/1", inbound=True)
    bench.step()
    assert one.seen == two.seen == [PeerUp(PEER, "/ip4/10.0.0.1/tcp/1", inbound=True)]
