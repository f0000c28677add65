"""Functions that wait for other nodes, which run functions meanwhile."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.testing import network


@pytest.fixture
def nodes(talk):
    with network(4, talk) as nodes:
        yield nodes


def test_an_agent_answers_while_another_waits(nodes):
    alice, bob, *_ = nodes
    assert alice.call("ask", other=bob.agent, word="hello") == ["hello heard"]
    assert bob.signals == [("asked", "hello")]
    nodes.settle()
    assert alice.call("said") == 1  # bob wrote it while alice waited


def test_questions_of_questions_come_back_in_their_order(nodes):
    alice, bob, carol, dave = nodes
    found = alice.call("ask", other=bob.agent, word="x", rest=[carol.agent, dave.agent])
    assert found == ["x passed on", "x passed on", "x heard"]


def test_a_question_may_come_back_to_who_waits(nodes):
    alice, bob, *_ = nodes
    found = alice.call("ask", other=bob.agent, word="x", rest=[alice.agent])
    assert found == ["x passed on", "x heard"]


def test_calls_of_several_nodes_run_at_one_time(nodes):
    alice, bob, carol, dave = nodes
    calls = [
        alice.start("ask", other=bob.agent, word="one", rest=[carol.agent]),
        bob.start("ask", other=alice.agent, word="two", rest=[dave.agent]),
        carol.start("ask", other=alice.agent, word="three", rest=[bob.agent]),
    ]
    assert [call.result()[1] for call in calls] == ["one heard", "two heard", "three heard"]
    nodes.settle()
    assert dave.call("said") == 6


def test_what_an_agent_refuses_is_told_to_who_asks(nodes):
    alice, bob, *_ = nodes
    with pytest.raises(Dms3Error, match="not that word") as refused:
        alice.call("ask", other=bob.agent, word="fail")
    assert refused.value.code == "forbidden"


def test_who_cannot_be_reached_is_waited_for_in_virtual_time_only(nodes):
    alice, bob, *_ = nodes
    nodes.crash("bob")
    before = nodes.time
    with pytest.raises(Dms3Error) as refused:
        alice.call("ask", other=bob.agent, word="x")
    assert refused.value.code in ("peer_unreachable", "timed_out")
    assert nodes.time - before <= 21


def test_a_call_ends_after_its_virtual_time(nodes):
    alice, bob, *_ = nodes
    nodes.patience = 1
    nodes.partition(["alice"])
    with pytest.raises(Dms3Error) as late:
        alice.call("ask", other=bob.agent, word="x")
    assert late.value.code == "timed_out"
    assert alice.call("me") == alice.agent  # and the node goes on


def test_what_is_logged_and_refused_is_seen(nodes):
    alice, *_ = nodes
    assert alice.refuses("write", word="two words") == "a_word_has_no_spaces"
    alice.call("write", word="one")
    assert alice.log == ["committed 2"]
    with pytest.raises(AssertionError, match="no rule refused it"):
        alice.refuses("write", word="word")
