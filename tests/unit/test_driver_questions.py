"""The driver: who asked gets the answer, once, unless it no longer wants it."""

from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.machine import (
    Answered,
    Call,
    Cancel,
    PeerDown,
    Persist,
    Reply,
    Request,
    Withdrawn,
)
from dms3.core.ports import AskPeer, AskPort, Forget, ReplyPeer
from unit.driver_kit import (
    ASK,
    OTHER,
    PEER,
    Bench,
    Script,
    token,
)

# Questions


def test_a_peers_question_is_answered_under_its_own_number() -> None:
    bench = Bench(one=Script({b"q": lambda event: [Reply(event.request, b"a")]}))
    bench.driver.requested(PEER, ASK, b"q", 7)
    bench.driver.requested(OTHER, ASK, b"q", 7)
    assert bench.step() == [ReplyPeer(PEER, 7, b"a"), ReplyPeer(OTHER, 7, b"a")]


def test_a_question_in_an_unknown_protocol_is_refused_by_name() -> None:
    bench = Bench(one=Script())
    bench.driver.requested(PEER, "/dms3/other/1", b"q", 1)
    assert bench.driver.busy
    (action,) = bench.step()
    assert action.body.code == "protocol_unsupported"
    assert not bench.driver.busy


def test_a_withdrawn_question_is_told_and_its_reply_dropped() -> None:
    script = Script({b"go": lambda _: [Reply(script.seen[0].request, b"late")]})
    bench = Bench(one=script)
    bench.driver.requested(PEER, ASK, b"q", 7)
    bench.step()
    bench.driver.withdrawn(PEER, 7)
    bench.driver.withdrawn(PEER, 8)
    bench.tell(b"go")
    assert bench.step() == []
    assert script.seen[1] == Withdrawn(script.seen[0].request)
    assert len(script.seen) == 3


def test_a_peer_that_goes_withdraws_its_questions_before_it_is_gone() -> None:
    script = Script()
    bench = Bench(one=script)
    bench.driver.requested(PEER, ASK, b"q", 1)
    bench.driver.requested(OTHER, ASK, b"q", 1)
    bench.driver.peer_down(PEER, "reset")
    bench.step()
    assert script.seen[2:] == [Withdrawn(script.seen[0].request), PeerDown(PEER, "reset")]


def test_a_call_joins_the_tail_of_the_other_machines_inbox() -> None:
    one = Script({b"go": [Call("two.add", (1, 2), token("sum"))]})
    two = Script({"add": lambda event: [Reply(event.request, sum(event.arguments))]})
    bench = Bench(one=one, two=two)
    bench.driver.call("two.first", None, print)
    bench.tell(b"go")
    bench.step()
    assert [event.operation for event in two.seen] == ["first", "add"]
    assert one.seen[-1] == Answered(token("sum"), 3)


def test_a_call_to_an_io_port_leaves_and_its_answer_returns() -> None:
    one = Script({b"go": [Call("library.add", ("x",), token("t"))]})
    bench = Bench(one=one)
    bench.tell(b"go")
    (action,) = bench.step()
    assert action == AskPort("library", "add", ("x",), action.handle)
    bench.driver.answered(action.handle, "result")
    bench.driver.answered(action.handle, "twice")
    bench.driver.answered(9_999, "unknown")
    bench.step()
    assert one.seen[1:] == [Answered(token("t"), "result")]


def test_a_command_gets_its_answer_after_the_commit() -> None:
    answers: list[Any] = []
    one = Script({"put": lambda event: [Persist("t", b"k", b"v"), Reply(event.request, "kept")]})
    bench = Bench(one=one)
    bench.driver.call("one.put", None, answers.append)
    assert bench.step() == []
    (finish,) = bench.commit()
    finish.done(finish.body)
    assert answers == ["kept"]


def test_a_command_to_nobody_is_refused() -> None:
    with pytest.raises(Dms3Error) as caught:
        Bench(one=Script()).driver.call("three.put", None, print)
    assert caught.value.code == "method_unknown"


def test_a_cancelled_request_is_forgotten_and_its_answer_dropped() -> None:
    one = Script(
        {
            b"ask": [Request(PEER, ASK, b"q", token("t"), 99)],
            b"stop": [Persist("t", b"k", b"v"), Cancel(token("t")), Cancel(token("none"))],
        }
    )
    bench = Bench(one=one)
    bench.tell(b"ask")
    (ask,) = bench.step()
    assert ask == AskPeer(PEER, ASK, b"q", ask.handle, 99)
    bench.tell(b"stop")
    bench.step()
    bench.driver.answered(ask.handle, b"too late")  # before the Cancel is released
    bench.step()
    assert not any(isinstance(event, Answered) for event in one.seen)
    bench.commit()


def test_a_cancel_that_finds_the_answer_in_the_inbox_drops_it() -> None:
    one = Script(
        {b"ask": [Request(PEER, ASK, b"q", token("t"), 99)], b"stop": [Cancel(token("t"))]}
    )
    bench = Bench(one=one)
    bench.tell(b"ask")
    (ask,) = bench.step()
    bench.tell(b"stop")
    bench.driver.answered(ask.handle, b"in the same turn")
    assert bench.step() == [Forget(ask.handle)]
    assert not any(isinstance(event, Answered) for event in one.seen)


def test_cancelling_a_call_withdraws_it_from_the_other_machine() -> None:
    one = Script({b"go": [Call("two.x", None, token("t"))], b"stop": [Cancel(token("t"))]})
    two = Script()
    bench = Bench(one=one, two=two)
    bench.tell(b"go")
    bench.step()
    bench.tell(b"stop")
    bench.step()
    assert two.seen[1:] == [Withdrawn(two.seen[0].request)]


def test_asking_anew_under_one_token_forgets_the_first() -> None:
    one = Script({b"ask": [Request(PEER, ASK, b"q", token("t"), 99)]})
    bench = Bench(one=one)
    bench.tell(b"ask")
    bench.tell(b"ask")
    first, forget, second = bench.step()
    assert forget == Forget(first.handle)
    bench.driver.answered(first.handle, b"old")
    bench.driver.answered(second.handle, b"new")
    bench.step()
    assert one.seen[2:] == [Answered(token("t"), b"new")]
