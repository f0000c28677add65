from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dms3.core.cid import RAW, Cid
from dms3.core.database import Connection
from dms3.core.errors import Dms3Error
from dms3.core.ids import Root, SpaceId
from dms3.io import catalogue, index
from dms3.io.schema import MIGRATIONS
from dms3.io.sqlcipher import connect
from dms3.io.store import Store
from dms3.search.condition import parse_conditions
from dms3.search.container import plan
from dms3.search.query import parse_query

KEY = b"k" * 32
SPACE = SpaceId(b"s" * 32)


@pytest.fixture(name="connection")
def fixture_connection(tmp_path: Path) -> Iterator[Connection]:
    Store.open(tmp_path / "database", KEY, MIGRATIONS, reserve=0).close()
    connection = connect(tmp_path / "database", KEY, writer=True)
    catalogue.add_space(connection, SPACE, "documents", None, 1)
    yield connection
    connection.close()


def add(connection: Connection, *bodies: str, kind: str = "text", size: int = 5) -> list[int]:
    first = catalogue.next_number(connection)
    numbers = list(range(first, first + len(bodies)))
    entries = [
        index.Entry(number, f"title {number}", body, size, 1_000, 2_000)
        for number, body in zip(numbers, bodies, strict=True)
    ]
    places = index.put(connection, 1, kind, entries)
    catalogue.put(
        connection,
        (
            catalogue.DocumentRow(
                number, 1, place, f"/{number}", f"{number}.txt", f"title {number}", kind, "",
                "utf-8", Cid.of(RAW, str(number).encode()), size, size, 1_000, 2_000, 1, True, "",
            )
            for number, place in zip(numbers, places, strict=True)
        ),
    )  # fmt: skip
    return numbers


def look(
    connection: Connection, text: str, *where: str, kind: str | None = None, limit: int = 10
) -> index.Result:
    conditions = parse_conditions(where)
    opened = plan(index.containers(connection, [1]), kind, conditions)
    return index.search(connection, opened, parse_query(text), conditions, limit)


def numbers_of(result: index.Result) -> list[int]:
    return [row.document for row in result.ranked]


def test_documents_are_found_by_words_phrases_and_exclusion(connection: Connection) -> None:
    one, two, three = add(connection, "heron waits", "Heron lock", "the ninth lock")
    assert set(numbers_of(look(connection, "héron"))) == {one, two}
    assert numbers_of(look(connection, "heron lock")) == [two]
    assert numbers_of(look(connection, "heron -lock")) == [one]
    assert numbers_of(look(connection, '"ninth lock"')) == [three]
    assert set(numbers_of(look(connection, "wai* OR ninth"))) == {one, three}
    assert numbers_of(look(connection, "zebra")) == []


def test_a_word_in_the_title_weighs_more(connection: Connection) -> None:
    (one, two) = add(connection, "2 " + "word " * 20, "word " * 21)
    add(connection, *["filler"] * 8)
    assert numbers_of(look(connection, "2"))[0] == two
    assert one in numbers_of(look(connection, "2"))


def test_total_counts_beyond_the_limit(connection: Connection) -> None:
    add(connection, *["heron lock"] * 7)
    add(connection, *["heron"] * 5, kind="code")
    result = look(connection, "heron", limit=3)
    assert (len(result.ranked), result.total) == (3, 12)
    assert look(connection, "heron lock", limit=3).total == 7
    assert look(connection, "heron", "bytes:5", limit=3).total == 12
    assert look(connection, "heron", "bytes:6", limit=3).total == 0


def test_conditions_and_kinds_narrow_a_search(connection: Connection) -> None:
    (small,) = add(connection, "heron", size=5)
    (large,) = add(connection, "heron", size=5_000, kind="code")
    assert numbers_of(look(connection, "heron", "bytes:1KB..")) == [large]
    assert numbers_of(look(connection, "heron", "name:1.*")) == [small]
    assert numbers_of(look(connection, "heron", "name:[1].txt")) == []
    assert numbers_of(look(connection, "heron", kind="code")) == [large]


def test_a_removed_document_is_not_found_and_leaves_no_difference(connection: Connection) -> None:
    one, two = add(connection, "heron", "heron")
    index.drop(connection, 1, one)
    catalogue.drop(connection, one)
    assert numbers_of(look(connection, "heron")) == [two]
    index.check_table(connection, 1)
    assert index.differences(connection, 1) == []


def test_differences_are_seen(connection: Connection) -> None:
    one, two = add(connection, "heron", "heron")
    catalogue.drop(connection, one)
    connection.execute("DELETE FROM index_1 WHERE rowid = ?", (two,))
    found = " ".join(index.differences(connection, 1))
    assert f"document {two} is not in its index" in found
    assert f"holds document {one}" in found
    assert "counts 2 documents and has 1" in found


def test_a_full_container_rolls_over(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dms3.io.index.CONTAINER_DOCUMENTS_MAX", 3)
    monkeypatch.setattr("dms3.search.container.CONTAINER_DOCUMENTS_MAX", 3)
    numbers = add(connection, *["heron"] * 8)
    rows = index.containers(connection, [1])
    assert [row.taken for row in rows] == [3, 3, 2]
    index.drop(connection, rows[0].number, numbers[0])  # a full one is never added to
    catalogue.drop(connection, numbers[0])
    add(connection, "heron", "heron")
    assert [row.taken for row in index.containers(connection, [1])] == [3, 3, 3, 1]
    assert look(connection, "heron", limit=4).total == 9


def test_documents_of_several_containers_rank_like_those_of_one(connection: Connection) -> None:
    """`lock` is common in code and rare in text; taken together both are the same word."""
    (text,) = add(connection, "lock one two three", *["canal"] * 40)[:1]
    code = add(connection, *["lock " + "filler " * 20] * 40, kind="code")
    ranked = look(connection, "lock", limit=50).ranked
    assert ranked[0].document == text
    weights = {row.document: row.score for row in ranked}
    assert weights[text] < 6 * weights[code[0]], "without correction it is thousands of times more"


def test_spaces_and_their_blocks(connection: Connection) -> None:
    other = SpaceId(b"o" * 32)
    cid, absent = Cid.of(RAW, b"x"), Cid.of(RAW, b"y")
    assert catalogue.add_space(connection, other, "theirs", Root(b"r" * 32), 1) == 2
    assert catalogue.add_space(connection, other, "again", None, 1) == 2
    catalogue.need_blocks(connection, [(cid, 1, 1), (cid, 1, 1)])
    assert catalogue.contains(connection, SPACE, cid)
    assert not catalogue.contains(connection, other, cid)
    assert not catalogue.contains(connection, SPACE, absent)
    assert catalogue.space_numbers(connection, None) == {1: SPACE}
    assert catalogue.space_numbers(connection, [other]) == {2: other}
    assert catalogue.missing_blocks(connection, 5) == [(1, cid)]
    assert catalogue.my_space(connection, "documents") == (1, SPACE)
    assert catalogue.my_space(connection, "theirs") is None


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text(max_size=60) | st.text(alphabet="ab \"*-OR()^:+{}'\0\n", max_size=40))
def test_no_text_is_an_engine_error(connection: Connection, typed: str) -> None:
    if not index.containers(connection, [1]):
        add(connection, "a b")
        add(connection, "a or b", kind="code")
    try:
        result = look(connection, typed, limit=1)
    except Dms3Error as error:
        assert error.code == "argument_invalid"  # noqa: PT017 - a refusal is the other outcome
    else:
        assert result.total >= len(result.ranked)
