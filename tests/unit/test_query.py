import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import QUERY_CHARS_MAX, QUERY_WORDS_MAX, SECOND_US, SNIPPET_CHARS
from dms3.search.condition import Condition, parse_conditions
from dms3.search.container import Container, plan
from dms3.search.kind import check_kind, kind_of_name
from dms3.search.query import fold, match_text, parse_query
from dms3.search.rank import Statistics, correction, merge, rarity, summed
from dms3.search.snippet import cut_snippet, find_marks, make_snippet


@pytest.mark.parametrize(
    ("typed", "engine"),
    [
        ("heron", '("heron")'),
        ("heron lock", '("heron") AND ("lock")'),
        ('"ninth lock" heron', '("ninth lock") AND ("heron")'),
        ("heron OR egret lock", '("heron" OR "egret") AND ("lock")'),
        ("heron -lock", '(("heron")) NOT ("lock")'),
        ('heron -"ninth lock" -tow', '(("heron")) NOT ("ninth lock" OR "tow")'),
        ("her*", '("her" *)'),
        ("NEAR(a b)", '("NEAR(a") AND ("b)")'),
        ("title:heron", '("title:heron")'),
        ("OR heron OR", '("heron")'),
        ("* - -- heron", '("heron")'),
        ('say "unclosed phrase', '("say") AND ("unclosed phrase")'),
        ("or", '("or")'),
    ],
)
def test_what_is_typed_becomes_an_engine_expression(typed: str, engine: str) -> None:
    assert match_text(parse_query(typed)) == engine


@pytest.mark.parametrize("typed", ["", "   ", "-only", '""', "* !! ?", "-a -b", "OR"])
def test_a_query_without_a_word_to_look_for_is_refused(typed: str) -> None:
    with pytest.raises(Dms3Error) as caught:
        parse_query(typed)
    assert caught.value.code == "argument_invalid"
    assert caught.value.hint


def test_length_and_number_of_words_are_bounded() -> None:
    parse_query("a" * QUERY_CHARS_MAX)
    parse_query("a " * QUERY_WORDS_MAX)
    with pytest.raises(Dms3Error, match="longer than"):
        parse_query("a" * (QUERY_CHARS_MAX + 1))
    with pytest.raises(Dms3Error, match="more than 32 words"):
        parse_query("a " * (QUERY_WORDS_MAX + 1))
    with pytest.raises(Dms3Error, match="more than 32 words"):
        parse_query("a -b" + "-c" * QUERY_WORDS_MAX)


def test_folding_keeps_length_and_drops_case_and_accents() -> None:
    assert fold("Café ÄÖ") == "cafe ao"
    for text in ("İstanbul", "한국어", "ǅ", "ﬁ", "Straße", "e\u0301"):
        assert len(fold(text)) == len(text)
    assert fold("한") == "한"


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ("bytes:..10KB", Condition("bytes", None, 10_000)),
        ("bytes:1KiB..2MiB", Condition("bytes", 1_024, 2 << 20)),
        ("bytes:300", Condition("bytes", 300, 300)),
        ("modified:1970-01-01", Condition("modified", 0, 86_400 * SECOND_US - 1)),
        ("modified:1970-01-01T00:00:01Z..", Condition("modified", SECOND_US, None)),
        ("modified:1970-01-01T02:00:00+02:00..", Condition("modified", 0, None)),
        ("added:1970..1970", Condition("added", 0, 365 * 86_400 * SECOND_US - 1)),
        ("modified:..1972-02", Condition("modified", None, 790 * 86_400 * SECOND_US - 1)),
        ("name:*.py", Condition("name", pattern="*.py")),
        ("language:python", Condition("language", pattern="python")),
    ],
)
def test_conditions(written: str, condition: Condition) -> None:
    assert parse_conditions([written]) == (condition,)


@pytest.mark.parametrize(
    "written",
    [
        "bytes", "size:1", "bytes:", "bytes:..", "bytes:x", "bytes:1..2..3", "modified:yesterday",
        "modified:2026-13", "modified:2026-02-30", "modified:0000", "bytes:999999999999999999TB",
        "name:*a*b*c*d*e", "name:" + "x" * 300,
    ],
)  # fmt: skip
def test_conditions_that_are_refused_say_what_was_expected(written: str) -> None:
    with pytest.raises(Dms3Error) as caught:
        parse_conditions([written])
    assert caught.value.code == "argument_invalid"
    assert "Expected" in caught.value.hint


def test_the_number_of_conditions_is_bounded() -> None:
    parse_conditions(["bytes:1"] * 16)
    with pytest.raises(Dms3Error, match="too many"):
        parse_conditions(["bytes:1"] * 17)


def container(**changed: int | str) -> Container:
    row: dict[str, int | str] = {
        "number": 1, "space": 1, "kind": "text", "documents": 3, "taken": 3,
        "bytes_low": 10, "bytes_high": 20, "modified_low": 5, "modified_high": 6,
        "added_low": 7, "added_high": 8,
    }  # fmt: skip
    return Container(**(row | changed))  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("kind", "where", "opened"),
    [
        (None, [], True),
        ("text", [], True),
        ("code", [], False),
        (None, ["bytes:20.."], True),
        (None, ["bytes:21.."], False),
        (None, ["bytes:..10"], True),
        (None, ["bytes:..9"], False),
        (None, ["name:x"], True),
        (None, ["bytes:10", "modified:1971.."], False),
    ],
)
def test_only_containers_that_can_match_are_opened(
    kind: str | None, where: list[str], opened: bool
) -> None:
    found = plan([container()], kind, parse_conditions(where))
    assert (len(found.opened), found.skipped) == ((1, 0) if opened else (0, 1))


def test_an_empty_container_is_not_opened_and_a_full_one_not_added_to() -> None:
    assert plan([container(documents=0)], None, ()).skipped == 1
    assert not container(taken=49_999).is_full
    assert container(taken=50_000, documents=1).is_full


def test_scores_of_containers_compare_after_correction() -> None:
    rare_here, common_there = Statistics(1_000, (1,)), Statistics(1_000, (400,))
    together = summed([rare_here, common_there])
    assert together == Statistics(2_000, (401,))
    assert correction(rare_here, together) < 1 < correction(common_there, together)
    weight = rarity(2_000, 401)
    assert correction(rare_here, together) * rarity(1_000, 1) == pytest.approx(weight)
    assert correction(Statistics(5, (0,)), together) == 1.0


def test_the_best_come_first_and_ties_go_by_document() -> None:
    merged = merge([(9, -2.0, 1.0), (3, -1.0, 2.0), (4, -3.0, 1.0), (5, -0.1, 1.0)], 3)
    assert [(row.document, row.score) for row in merged] == [
        (4, 3_000_000),
        (3, 2_000_000),
        (9, 2_000_000),
    ]


def test_a_snippet_shows_the_place_with_most_words_and_marks_them() -> None:
    text = "lock. " + "filler " * 200 + "The Heron waits\nby the  ninth lock. " + "more " * 100
    query = parse_query("heron lock")
    snippet = make_snippet(text, query)
    assert "The Heron waits by the ninth lock." in snippet.text
    assert [snippet.text[start:end] for start, end in snippet.marks] == ["Heron", "lock"]
    assert len(snippet.text) <= 200
    assert "\n" not in snippet.text


def test_marks_are_whole_words_without_case_and_accents() -> None:
    query = parse_query('cafe "ninth lock" tow*')
    text = "Café cafes ninth-LOCK towpath stow"
    assert [text[a:b] for a, b in find_marks(text, query)] == ["Café", "ninth-LOCK", "towpath"]


def test_without_a_match_a_snippet_is_the_beginning() -> None:
    snippet = make_snippet("one two three", parse_query("zebra"))
    assert (snippet.text, snippet.marks) == ("one two three", ())
    assert make_snippet("", parse_query("zebra")).text == ""


def test_bytes_are_searched_for_whole_words() -> None:
    query = parse_query("lock")
    assert cut_snippet(b"clock locks \xc3\xa9lock", "utf-8", query) is None
    for before in (0, 1, 39, 2_040, 2_048, 16_380, 20_000):  # around the bounds of the looks
        found = cut_snippet(b"x" * before + b" LOCK ", "utf-8", query)
        assert found is not None
        assert [found.text[start:end] for start, end in found.marks] == ["LOCK"]
    assert cut_snippet(b"caf\xc3\xa9", "utf-8", parse_query("cafe")) is None
    assert cut_snippet(b"locks", "utf-8", parse_query("loc*")) is not None


def test_a_snippet_of_bytes_shows_all_words_when_they_stand_together_far_behind() -> None:
    data = b"lock. " + b"filler " * 900 + "Überall: The Heron waits by the lock. ".encode()
    found = cut_snippet(data + b"more " * 900, "utf-8", parse_query("heron lock"))
    assert found is not None
    assert "Überall: The Heron waits by the lock." in found.text
    assert [found.text[start:end] for start, end in found.marks] == ["Heron", "lock"]
    assert len(found.text) <= SNIPPET_CHARS


def test_kinds_by_name() -> None:
    assert kind_of_name("a.py") == ("code", "python")
    assert kind_of_name("Makefile") == ("code", "make")
    assert kind_of_name("README.MD") == ("markdown", "")
    assert kind_of_name("noext") is None
    assert check_kind("code") == "code"
    with pytest.raises(Dms3Error, match="no kind"):
        check_kind("poem")
