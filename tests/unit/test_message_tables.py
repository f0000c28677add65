"""Tables of messages: written once by hash, read in order by one index, counted as they change."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dms3.core.database import Connection
from dms3.core.errors import Failure
from dms3.dm3.canonical import canonical
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import MessageType, compose
from dms3.io import messages
from dms3.io.messages import Messages
from dms3.io.schema import MIGRATIONS
from dms3.io.sqlcipher import connect
from dms3.io.store import Store
from dms3.messaging.operations import Join, Kept, Mark, State
from dms3.messaging.order import arranged
from dms3.node.message_search import shelve
from unit.fronts import in_loop

KEY = b"k" * 32


@pytest.fixture(name="connection")
def fixture_connection(tmp_path: Path) -> Iterator[Connection]:
    Store.open(tmp_path / "database", KEY, MIGRATIONS, reserve=0).close()
    connection = connect(tmp_path / "database", KEY, writer=True)
    yield connection
    connection.close()


def kept(number: int, person: str = "bob.dms3", **more: Any) -> Kept:
    """Message `number`; of others and received unless `more` says otherwise."""
    values: dict[str, Any] = {
        "hash": f"0x{number:064x}",
        "person": person,
        "mine": False,
        "sender": person,
        "sent_ms": number,
        "order_ms": number,
        "type": MessageType.NEW,
        "reference": "",
        "state": State.RECEIVED,
        "text": f'{{"message":"number {number}"}}',
    }
    return Kept(**values | more)


def nothing(_: Connection, __: Sequence[Kept]) -> None:
    """Nobody searches."""


def keep(connection: Connection, *some: Kept) -> tuple[bool, ...]:
    return messages.keep(connection, some, nothing)


def order(connection: Connection, person: str = "bob.dms3") -> list[int]:
    return [one.kept.sent_ms for one in messages.page(connection, person, None, 500)]


def counts(connection: Connection) -> dict[str, tuple[int, int]]:
    return {one.person: (one.total, one.unread) for one in messages.conversations(connection, 9)}


def test_a_message_is_kept_once(connection: Connection) -> None:
    assert keep(connection, kept(1), kept(2), kept(1)) == (True, True, False)
    assert keep(connection, kept(2)) == (False,)
    assert counts(connection) == {"bob.dms3": (2, 2)}
    found = messages.by_hash(connection, kept(2).hash)
    assert found is not None
    assert found.kept == kept(2)
    assert messages.by_hash(connection, "0x") is None


def test_a_conversation_is_in_order_and_paged_backwards(connection: Connection) -> None:
    keep(connection, *(kept(number) for number in (5, 3, 9, 1, 7)))
    keep(connection, kept(4, "carol.dms3"))
    assert order(connection) == [1, 3, 5, 7, 9]
    pages, before = [], None
    while rows := messages.page(connection, "bob.dms3", before, 2):
        pages.append([one.kept.sent_ms for one in rows])
        before = rows[0].number
    assert pages == [[7, 9], [3, 5], [1]]
    assert messages.page(connection, "bob.dms3", 10**9, 2) == ()
    assert messages.page(connection, "nobody", None, 2) == ()


def test_a_page_lies_on_both_sides_of_a_message(connection: Connection) -> None:
    keep(connection, *(kept(number) for number in range(1, 10)), kept(20, "carol.dms3"))
    third = messages.behind(connection, kept(3).hash, 2)
    assert third is not None
    page = messages.page(connection, "bob.dms3", third, 4)
    assert [one.kept.sent_ms for one in page] == [2, 3, 4, 5]
    assert messages.behind(connection, kept(7).hash, 1) is not None
    assert messages.behind(connection, kept(7).hash, 2) is None, "the last page has it"
    assert messages.behind(connection, "0x", 0) is None


def test_the_order_does_not_depend_on_the_order_of_arrival(connection: Connection) -> None:
    """Equal instants are told apart by sender, then the sender's clock, then the hash."""
    some = [
        kept(1, order_ms=50, sender="b"),
        kept(2, order_ms=50, sender="a"),
        kept(4, order_ms=50, sender="a", sent_ms=3),
        kept(3, order_ms=50, sender="a", sent_ms=3),
    ]
    keep(connection, *some)
    first = [one.kept.hash for one in messages.page(connection, "bob.dms3", None, 9)]
    connection.execute("DELETE FROM message")
    keep(connection, *reversed(some))
    assert [one.kept.hash for one in messages.page(connection, "bob.dms3", None, 9)] == first
    assert first == [kept(number).hash for number in (2, 3, 4, 1)]


def test_a_state_only_goes_forward(connection: Connection) -> None:
    keep(connection, kept(1, mine=True, state=State.QUEUED))
    one = kept(1).hash

    def state() -> tuple[State, str, int]:
        found = messages.by_hash(connection, one)
        assert found is not None
        return found.kept.state, found.kept.problem, found.kept.retry_us

    messages.mark(connection, Mark(one, State.QUEUED, "no answer", 77))
    assert state() == (State.QUEUED, "no answer", 77)
    messages.mark(connection, Mark(one, State.FAILED, "refused"))
    messages.mark(connection, Mark(one, State.QUEUED, "late"))
    assert state() == (State.FAILED, "refused", 0)
    messages.mark(connection, Mark(one, State.DELIVERED))  # a service lied: it was delivered
    messages.mark(connection, Mark(one, State.SENT))
    assert state() == (State.DELIVERED, "", 0)
    keep(connection, kept(1, mine=True, state=State.READ))
    keep(connection, kept(1, mine=True, state=State.SENT))
    assert state() == (State.READ, "", 0)
    messages.mark(connection, Mark("0x77", State.READ))  # nobody knows it


def test_unread_counts_are_kept_as_messages_come_and_are_read(connection: Connection) -> None:
    keep(connection, kept(1), kept(2), kept(3, mine=True, state=State.QUEUED))
    keep(connection, kept(4, type=MessageType.REACTION, reference=kept(1).hash))
    assert counts(connection) == {"bob.dms3": (3, 2)}
    assert messages.unread(connection, "bob.dms3") == (kept(1).hash, kept(2).hash)
    for _ in range(2):
        messages.mark(connection, Mark(kept(1).hash, State.READ))
    assert counts(connection) == {"bob.dms3": (3, 1)}
    assert messages.unread(connection, "bob.dms3") == (kept(2).hash,)


def test_what_was_held_takes_its_place_once_it_is_verified(connection: Connection) -> None:
    told: list[str] = []

    def shelve(_: Connection, some: Sequence[Kept]) -> None:
        told.extend(f"{one.sent_ms} {one.state}" for one in some)

    held = kept(5, "somebody", state=State.HELD, problem="waits for the profile", order_ms=99)
    messages.keep(connection, (kept(1), held), shelve)
    assert counts(connection) == {"bob.dms3": (1, 1), "somebody": (1, 0)}
    number = messages.page(connection, "somebody", None, 1)[0].number
    assert messages.keep(connection, (kept(5),), shelve) == (True,)
    assert counts(connection) == {"bob.dms3": (2, 2)}
    assert order(connection) == [1, 5]
    assert messages.page(connection, "bob.dms3", None, 1)[0].number == number
    assert told == ["1 received", "5 held", "5 received"]


def test_what_was_held_and_is_proven_wrong_goes(connection: Connection) -> None:
    held = kept(5, state=State.HELD, problem="waits for the profile")
    keep(connection, held, kept(1))
    failed = Mark(held.hash, State.FAILED, "It says that it is from bob.dms3, who did not sign it.")
    messages.mark(connection, failed)
    assert order(connection) == [1]
    assert counts(connection) == {"bob.dms3": (1, 1)}
    messages.mark(connection, replace(failed, hash=kept(1).hash))  # what was verified stays
    assert counts(connection) == {"bob.dms3": (1, 1)}


def test_two_people_become_one(connection: Connection) -> None:
    keep(connection, kept(1, "old"), kept(3, "old"), kept(2))
    for _ in range(2):
        messages.join(connection, Join("old", "bob.dms3"))
    assert order(connection) == [1, 2, 3]
    assert counts(connection) == {"bob.dms3": (3, 3)}
    messages.join(connection, Join("bob.dms3", "new"))
    messages.join(connection, Join("new", "new"))
    assert counts(connection) == {"new": (3, 3)}


def test_the_earliest_postmark_counts(connection: Connection) -> None:
    mine = {"mine": True, "state": State.SENT}
    keep(connection, kept(5), kept(6, **mine))
    keep(connection, kept(6, order_ms=2, **mine), kept(5, order_ms=9))
    assert order(connection) == [6, 5]


def test_what_is_about_a_message_is_found_through_chains(connection: Connection) -> None:
    edit = kept(2, type=MessageType.EDIT, reference=kept(1).hash)
    again = kept(3, type=MessageType.EDIT, reference=edit.hash)
    receipt = kept(4, type=MessageType.READ_OPENED, reference=kept(1).hash)
    reply = kept(5, type=MessageType.REPLY, reference=kept(1).hash)
    keep(connection, again, kept(1), reply, receipt, edit)
    assert order(connection) == [1, 5]
    found = messages.about(connection, [kept(1).hash, reply.hash])
    assert [one.kept.hash for one in found] == [edit.hash, again.hash]


def test_circles_of_references_end(connection: Connection) -> None:
    first = kept(1, type=MessageType.EDIT, reference=kept(2).hash)
    second = kept(2, type=MessageType.EDIT, reference=kept(1).hash)
    keep(connection, first, second)
    assert len(messages.about(connection, [first.hash])) == 2


def test_folds_are_bounded(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MESSAGE_FOLDS_MAX", 5)
    about = {"type": MessageType.REACTION, "reference": kept(0).hash}
    keep(connection, kept(0), *(kept(number, **about) for number in range(1, 9)))
    found = messages.about(connection, [kept(0).hash])
    assert [one.kept.sent_ms for one in found] == [1, 2, 3, 4, 5]


def test_conversations_come_latest_first_with_their_last_message(connection: Connection) -> None:
    keep(connection, kept(1, "a"), kept(9, "b"), kept(5, "c"), kept(7, "a", mine=True))
    keep(connection, kept(8, "d", type=MessageType.READ_RECEIVED, reference="0x1"))
    found = messages.conversations(connection, 2)
    assert [(one.person, one.last and one.last.kept.sent_ms) for one in found] == [
        ("b", 9),
        ("a", 7),
    ]


def test_what_arrived_is_listed_by_its_number(connection: Connection) -> None:
    keep(connection, kept(9), kept(8, mine=True, state=State.SENT), kept(3, "carol"))
    keep(connection, kept(4, type=MessageType.REACTION, reference=kept(9).hash))
    found = messages.arrived(connection, 0, 10)
    assert [one.kept.sent_ms for one in found] == [9, 3]
    assert [one.kept.sent_ms for one in messages.arrived(connection, found[0].number, 1)] == [3]


def test_what_is_unsent_comes_in_order(connection: Connection) -> None:
    states = (State.QUEUED, State.SENT, State.HALTED, State.FAILED)
    keep(connection, *(kept(n, mine=True, state=state) for n, state in enumerate(states)))
    assert messages.unsent(connection) == (kept(0).hash, kept(2).hash)


QUERIES = [
    lambda c: messages.page(c, "p1", None, 50),
    lambda c: messages.page(c, "p1", 77, 50),
    lambda c: messages.behind(c, kept(8).hash, 25),
    lambda c: messages.arrived(c, 5, 50),
    lambda c: messages.about(c, [kept(1).hash, kept(2).hash]),
    lambda c: messages.conversations(c, 20),
    lambda c: messages.unread(c, "p1"),
    messages.unsent,
    lambda c: messages.by_hash(c, kept(1).hash),
    lambda c: messages.mark(c, Mark(kept(1).hash, State.READ)),
    lambda c: messages.join(c, Join("p1", "p2")),
]


class Explaining:
    """A connection that asks for the plan of every statement before it runs it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        rows = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        self.plans += [f"{row[3]} <- {sql}" for row in rows]
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Sequence[Any]) -> None:
        for row in parameters:
            self.execute(sql, row)


@pytest.mark.parametrize("query", QUERIES)
def test_no_question_reads_what_it_does_not_give(connection: Connection, query: Any) -> None:
    """No statement scans a table, nor sorts more than what is about one page."""
    keep(connection, *(kept(number, f"p{number % 7}") for number in range(200)))
    explaining = Explaining(connection)
    query(explaining)
    assert explaining.plans
    for plan in explaining.plans:
        assert not plan.startswith("SCAN") or "USING" in plan.partition("<-")[0], plan
        assert "TEMP B-TREE" not in plan or "reference IN" in plan, plan


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from("ab"), st.integers(0, 9)),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_is_that_of_every_device(
    connection: Connection, some: list[Any], chance: Any
) -> None:
    """Whatever arrives first, earlier postmarks later: the rows stand as the rule arranges them."""
    connection.execute("DELETE FROM message")
    connection.execute("DELETE FROM correspondence")
    wanted: dict[str, Kept] = {}
    arriving: list[Kept] = []
    for number, (sent, mine, sender, stamp) in enumerate(some):
        one = kept(number, mine=mine, sender=sender, sent_ms=sent, order_ms=stamp)
        later = replace(one, order_ms=stamp + chance.randrange(3))
        wanted[one.hash] = one
        arriving += [one, later]
    chance.shuffle(arriving)
    for one in arriving:
        keep(connection, one)
    found = [one.kept.hash for one in messages.page(connection, "bob.dms3", None, 500)]
    assert found == [one.hash for one in arranged(wanted.values())]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 6),
            st.sampled_from(["a", "b"]),
            st.booleans(),
            st.sampled_from([MessageType.NEW, MessageType.REACTION]),
            st.sampled_from(list(State)),
        ),
        max_size=30,
    )
)
def test_counts_are_what_counting_gives(connection: Connection, some: list[Any]) -> None:
    connection.execute("DELETE FROM message")
    connection.execute("DELETE FROM correspondence")
    for number, person, mine, kind, state in some:
        keep(connection, kept(number, person, mine=mine, type=kind, state=state))
    rows = connection.execute(
        "SELECT person, total, unread, "
        "(SELECT count(*) FROM message WHERE correspondence = c.id AND shown), "
        "(SELECT count(*) FROM message WHERE correspondence = c.id AND shown AND NOT mine "
        "AND state = 'received') FROM correspondence c"
    ).fetchall()
    for person, total, unread, counted, counted_unread in rows:
        assert (total, unread) == (counted, counted_unread), person


@in_loop
async def test_the_port_answers_as_it_says(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "database", KEY, MIGRATIONS, reserve=0)
    try:
        port = Messages(store, nothing).serve
        assert await port("keep", (kept(1), kept(2, mine=True, state=State.QUEUED))) == (True, True)
        assert await port("unsent", None) == (kept(2).hash,)
        assert await port("mark", Mark(kept(2).hash, State.SENT)) is None
        assert await port("unsent", None) == ()
        assert await port("body", kept(1).hash) == kept(1)
        assert await port("body", "0x0") is None
        assert await port("unread", "bob.dms3") == (kept(1).hash,)
        assert isinstance(await port("keep", "text"), Failure)
        assert isinstance(await port("nothing", None), Failure)
    finally:
        store.close()
    again = replace(kept(1), text="another")
    assert again.hash == kept(1).hash


def test_an_instant_that_no_calendar_has_ends_no_keeping(connection: Connection) -> None:
    """The year of a title was beyond what Python counts: the message could never be kept."""
    keys = ProfileKeys.of_seed(b"b" * 32)
    message = compose(keys, sender="bob.dms3", receiver="me.dms3", sent_ms=7, text="of tomorrow")
    far = kept(7, order_ms=(1 << 53) - 1, text=canonical(message.value()))
    assert messages.keep(connection, (far,), shelve) == (True,)
