"""The driver: nothing leaves before it is durable, in order, with crashes at every point."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PERSIST_VALUE_BYTES_MAX,
)
from dms3.core.machine import (
    Call,
    Delete,
    Persist,
    Received,
    Reply,
    Send,
)
from dms3.core.ports import Transaction
from dms3.sim.disk import Disk
from unit.driver_kit import (
    GOSSIP,
    OTHER,
    PEER,
    START,
    Bench,
    Script,
    bodies,
    token,
)

# Persist before send


def test_an_event_that_writes_nothing_is_released_at_once() -> None:
    bench = Bench(one=Script({b"hi": [Send(PEER, GOSSIP, b"ho")]}))
    bench.tell(b"hi")
    assert bodies(bench.step()) == [b"ho"]
    assert bench.pending is None


def test_an_event_that_writes_is_released_after_its_commit() -> None:
    bench = Bench(
        one=Script(
            {b"hi": [Send(PEER, GOSSIP, b"1"), Persist("t", b"k", b"v"), Send(PEER, GOSSIP, b"2")]}
        )
    )
    bench.tell(b"hi")
    assert bench.step() == []
    assert bench.pending.writes == [Persist("one/t", b"k", b"v")]
    assert bodies(bench.commit()) == [b"1", b"2"]
    assert bench.disk.get("one/t", b"k") == b"v"


def test_later_events_of_a_machine_wait_for_its_uncommitted_write() -> None:
    bench = Bench(
        one=Script(
            {
                b"write": [Persist("t", b"k", b"v"), Send(PEER, GOSSIP, b"first")],
                b"plain": [Send(PEER, GOSSIP, b"second")],
            }
        )
    )
    bench.tell(b"write")
    bench.step()
    bench.tell(b"plain")
    assert bench.step() == [], "released before what its machine wrote was durable"
    assert bodies(bench.commit()) == [b"first", b"second"]
    assert bench.pending is None, "an event without a write needs no transaction"


def test_events_during_a_commit_form_the_next_one() -> None:
    def save(event):
        return [Persist("t", event.body, b"v"), Send(PEER, GOSSIP, event.body)]

    bench = Bench(one=Script({Received: save}))
    bench.tell(b"a")
    bench.step()
    for body in (b"b", b"c"):
        bench.tell(body)
        bench.step()
    assert [write.key for write in bench.pending.writes] == [b"a"]
    assert bodies(bench.commit()) == [b"a"]
    assert [write.key for write in bench.pending.writes] == [b"b", b"c"]
    assert bench.pending.number == 2
    assert bodies(bench.commit()) == [b"b", b"c"]
    assert bench.pending is None


def test_a_machine_without_writes_does_not_wait_for_another() -> None:
    bench = Bench(
        one=Script({b"w": [Persist("t", b"k", b"v"), Call("two.go", None, token("t"))]}),
        two=Script({"go": lambda event: [Reply(event.request, "done")]}),
    )
    bench.driver.call("two.go", None, print)
    bench.tell(b"w")
    (finish,) = bench.step()
    assert finish.body == "done"


def test_order_is_kept_when_a_plain_event_follows_writes_of_two_transactions() -> None:
    def act(event):
        send = Send(PEER, GOSSIP, event.body)
        return [Persist("t", b"k", event.body), send] if event.body[:1] == b"w" else [send]

    bench = Bench(one=Script({Received: act}))
    for body in (b"w1", b"p1", b"w2", b"p2"):
        bench.tell(body)
        bench.step()
    assert bodies(bench.commit()) == [b"w1", b"p1"]
    assert bodies(bench.commit()) == [b"w2", b"p2"]
    bench.tell(b"p3")
    assert bodies(bench.step()) == [b"p3"]


def test_the_last_write_of_a_key_wins_within_a_transaction() -> None:
    bench = Bench(
        one=Script({b"w": [Persist("t", b"k", b"1"), Delete("t", b"k"), Persist("t", b"k", b"2")]})
    )
    bench.tell(b"w")
    bench.step()
    assert bench.pending.writes == [Persist("one/t", b"k", b"2")]


def test_effects_of_the_start_wait_as_others_do() -> None:
    script = Script()
    script.starting = [Persist("t", b"k", b"v"), Send(PEER, GOSSIP, b"hello")]
    bench = Bench(one=script)
    assert bench.actions == []
    assert bodies(bench.commit()) == [b"hello"]


def test_a_failed_commit_stops_the_driver_and_releases_nothing() -> None:
    bench = Bench(one=Script({b"w": [Persist("t", b"k", b"v"), Send(PEER, GOSSIP, b"said")]}))
    bench.tell(b"w")
    bench.step()
    full = Dms3Error("disk_full", "No space is left on /data.", hint="Free some.")
    error = bench.driver.commit_failed(bench.pending.number, full)
    assert error.code == "disk_full"
    assert "No space is left" in error.message
    for use in (
        lambda: bench.driver.step(START),
        lambda: bench.driver.committed(1),
        lambda: bench.driver.call("one.x", None, print),
    ):
        with pytest.raises(Dms3Error) as caught:
            use()
        assert caught.value is error
    assert bench.actions == []


def test_a_crash_at_every_point_restarts_into_a_state_that_was_not_contradicted() -> None:
    def count(event):
        del event
        number = int(script.view.get("t", b"n") or b"0") + 1
        text = b"%d" % number
        return [Persist("t", b"n", text), Send(PEER, GOSSIP, text), Send(OTHER, GOSSIP, text)]

    heard = {"before the commit": 0, "after it": 0, "after one release": 1, "after both": 2}
    for crash, count_heard in heard.items():
        script = Script({Received: count})
        bench = Bench(one=script)
        said: list[bytes] = []
        bench.tell(b"x")
        assert bench.step() == [], crash
        if crash != "before the commit":
            said = bodies(bench.commit())[:count_heard]
        script = Script({Received: count})
        again = Bench(disk=bench.disk, one=script)
        remembered = int(script.view.get("t", b"n") or b"0")
        assert remembered >= max(map(int, said), default=0), crash
        assert remembered == (0 if crash == "before the commit" else 1), crash
        again.tell(b"x")
        again.step()
        assert bodies(again.commit())[0] == b"%d" % (remembered + 1)


# The view


def test_a_machine_sees_its_own_uncommitted_writes_and_no_others() -> None:
    def write(event):
        return [Persist("t", event.body, b"new"), Delete("t", b"gone")]

    one, two = Script({Received: write}), Script()
    disk = Disk()
    disk.apply(
        Transaction(1, [Persist("one/t", b"gone", b"x"), Persist("one/t", b"kept", b"y")], [])
    )
    bench = Bench(disk=disk, one=one, two=two)
    assert two.view.get("t", b"kept") is None
    for body in (b"a", b"z"):
        bench.tell(body)
        bench.step()  # the second one waits in the filling transaction
    expected = [(b"a", b"new"), (b"kept", b"y"), (b"z", b"new")]
    for _ in range(3):
        assert one.view.get("t", b"gone") is None
        assert list(one.view.range("t", b"", 10)) == expected
        assert list(one.view.range("t", b"", 2)) == expected[:2]
        assert list(one.view.range("t", b"b", 10)) == expected[1:]
        if bench.pending is not None:
            bench.commit()
    assert list(two.view.range("t", b"", 10)) == []


WRITES = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.none() | st.binary(max_size=2)),
    max_size=4,
)


@given(st.lists(st.tuples(WRITES, st.booleans()), max_size=8), st.integers(1, 6), st.binary())
def test_the_view_equals_a_plain_map(turns: list[Any], limit: int, start: bytes) -> None:
    model: dict[bytes, bytes] = {}
    script = Script()
    bench = Bench(one=script)
    for writes, commit in turns:
        script.rules[Received] = [
            Delete("t", key) if value is None else Persist("t", key, value) for key, value in writes
        ]
        for key, value in writes:
            model.pop(key, None)
            if value is not None:
                model[key] = value
        bench.tell(b"x")
        bench.step()
        if commit and bench.pending is not None:
            bench.commit()
        rows = sorted((key, value) for key, value in model.items() if key >= start)
        assert list(script.view.range("t", start, limit)) == rows[:limit]
        assert {key: script.view.get("t", key) for key in model} == model


def test_a_value_must_be_below_its_bound() -> None:
    for size, fits in ((PERSIST_VALUE_BYTES_MAX - 1, True), (PERSIST_VALUE_BYTES_MAX, False)):
        bench = Bench(one=Script({b"w": [Persist("t", b"k", bytes(size))]}))
        bench.tell(b"w")
        if fits:
            bench.step()
            assert bench.pending is not None
        else:
            with pytest.raises(Dms3Error):
                bench.step()
            assert "belongs in a pack" in str(bench.bugs[0][2])
