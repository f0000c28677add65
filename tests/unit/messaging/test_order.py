"""The order of a conversation: the same on all devices, whatever came first."""

from hypothesis import given
from hypothesis import strategies as st

from dms3.dm3.message import MessageType
from dms3.messaging.operations import Kept, State
from dms3.messaging.order import arranged


def kept(name, sender, sent_ms, order_ms):
    return Kept(
        name, "p", sender == "me", sender, sent_ms, order_ms, MessageType.NEW, "", State.RECEIVED,
        "",
    )  # fmt: skip


rows = st.lists(
    st.tuples(
        st.integers(0, 40), st.sampled_from(["me", "bob", "eve"]), st.integers(0, 9),
        st.integers(0, 9),
    ),
    unique_by=lambda row: row[0],
    max_size=24,
)  # fmt: skip


@given(rows, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_what_arrived_first(given_rows, random):
    messages = [kept(f"0x{row[0]:02}", *row[1:]) for row in given_rows]
    shuffled = list(messages)
    random.shuffle(shuffled)
    assert arranged(messages) == arranged(shuffled)
    assert sorted(one.hash for one in arranged(messages)) == sorted(one.hash for one in messages)


@given(rows)
def test_each_sender_keeps_its_own_order(given_rows):
    messages = arranged(kept(f"0x{row[0]:02}", *row[1:]) for row in given_rows)
    for sender in ("me", "bob", "eve"):
        line = [(one.sent_ms, one.hash) for one in messages if one.sender == sender]
        assert line == sorted(line)


def test_senders_are_interleaved_by_postmark():
    first, second = kept("a", "bob", 900, 10), kept("b", "me", 100, 11)
    third = kept("c", "bob", 901, 12)
    assert arranged([third, second, first]) == [first, second, third]


def test_a_late_message_stands_before_what_its_sender_said_next_and_moves_nothing():
    late, said = kept("a", "bob", 1, 5_000), kept("b", "bob", 2, 20)
    answer, before = kept("c", "me", 3, 30), kept("d", "me", 0, 10)
    assert arranged([late, said, answer, before]) == [before, late, said, answer]
