"""What `dms3 doctor` says about other nodes, in words for one and for several."""

import asyncio
from types import SimpleNamespace

import pytest

from dms3.core.errors import Failure
from dms3.node import health


def said(check, answer):
    async def call(_operation):
        return answer

    return asyncio.run(check(SimpleNamespace(call=call)))


def rows(*connected: bool):
    problem = Failure("peer_unreachable", "nobody answers")
    return tuple(SimpleNamespace(connected=one, problem=problem) for one in connected)


@pytest.mark.parametrize(
    ("known", "verdict", "words"),
    [
        ((True,), "pass", "Connected to 1 node."),
        ((True, True, False), "pass", "Connected to 2 nodes."),
        ((False,), "warn", "1 node known, none connected: nobody answers"),
        ((False, False), "warn", "2 nodes known, none connected: nobody answers"),
        ((), "warn", "No other node is known."),
    ],
)
def test_nodes_are_counted_in_words(known, verdict, words):
    check = said(health._peers, rows(*known))
    assert (check.verdict, check.detail) == (verdict, words)


@pytest.mark.parametrize(("waiting", "words"), [(1, "1 grant not"), (2, "2 grants not")])
def test_grants_that_wait_are_counted_in_words(waiting, words):
    given = [SimpleNamespace(delivered=False, name="letters")] * waiting
    check = said(health._contacts, SimpleNamespace(given=given))
    assert check.detail.startswith(words)
