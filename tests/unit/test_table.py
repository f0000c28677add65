"""The table of commands: what a signature becomes, what is refused, how a command ends."""

# ruff: noqa: ARG001 - commands take a node, whether they need it or not
import asyncio
import inspect
from typing import Annotated

import pytest

from dms3.cli.generated import json_of
from dms3.core.errors import Dms3Error
from dms3.core.limits import ARGUMENT_CHARS_MAX, ARGUMENT_ITEMS_MAX
from dms3.node.commands import TABLE as REAL
from dms3.node.table import BlobOrPath, Json, Result, Secret, Table, command
from unit.fronts import TABLE, UPLOAD, FakeNode, count_up, echo, files, path_only, secret


def bind(row, given, *, paths=True):
    return row.bind(given, paths=paths)


def refusal(row, given, *, paths=True) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        row.bind(given, paths=paths)
    return caught.value


def test_a_signature_becomes_parameters():
    by_name = {parameter.name: parameter for parameter in echo.parameters}
    assert list(by_name) == ["words", "count", "loud", "maybe", "scope", "with"]
    assert by_name["words"].many
    assert by_name["words"].required
    assert by_name["words"].positional
    assert by_name["maybe"].optional
    assert by_name["scope"].choices == ("local", "peers")
    assert by_name["count"].default == 1
    assert by_name["with"].about.flag == "--with"
    assert echo.summary == "Say it again"
    assert echo.description == "As often as asked."
    assert count_up.streams
    assert not echo.streams


def test_arguments_are_checked_and_typed():
    bound = bind(echo, {"words": ["a", "b"], "count": -3, "loud": True, "with": "bob"})
    assert bound == {"words": ("a", "b"), "count": -3, "loud": True, "with_": "bob"}
    assert bind(echo, {"words": ["a"], "maybe": None})["maybe"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs words"),
        ({"words": []}, "is empty"),
        ({"words": "a"}, "must be a list of text"),
        ({"words": [1]}, "must be text, not 1"),
        ({"words": ["a"], "count": True}, "must be a whole number"),
        ({"words": ["a"], "count": 1.0}, "must be a whole number"),
        ({"words": ["a"], "count": 1 << 63}, "below 2**63"),
        ({"words": ["a"], "loud": 1}, "must be true or false"),
        ({"words": ["a"], "count": None}, "must be a whole number"),
        ({"words": ["\ud800"]}, "no text"),
        ({"words": ["a\0b"]}, "no text"),
        ({"words": ["a"], "scope": "peer"}, "value of scope called 'peer'"),
        ({"words": ["a" * (ARGUMENT_CHARS_MAX + 1)]}, "at most"),
        ({"words": ["a"] * (ARGUMENT_ITEMS_MAX + 1)}, "at most"),
    ],
)
def test_wrong_arguments_are_refused(given, words):
    error = refusal(echo, given)
    assert error.code == "argument_invalid"
    assert words in error.message


def test_both_sides_of_the_limits():
    assert bind(echo, {"words": ["a" * ARGUMENT_CHARS_MAX]})
    assert bind(echo, {"words": ["a"] * ARGUMENT_ITEMS_MAX})
    assert bind(echo, {"words": ["a"], "count": (1 << 63) - 1})


def test_an_unknown_name_is_answered_with_the_nearest():
    assert refusal(echo, {"wrods": ["a"]}).hint == "Did you mean words?"
    assert refusal(echo, {"words": ["a"], "scope": "peer"}).hint == "Did you mean peers?"
    with pytest.raises(Dms3Error) as caught:
        TABLE.find("ech", "all")
    assert caught.value.code == "method_unknown"
    assert caught.value.hint == "Did you mean echo all?"
    assert TABLE.find("search").name == "search"


def test_paths_need_the_token_and_are_absolute():
    blob, named = UPLOAD, f"{UPLOAD}/notes.txt"
    bound = bind(files, {"paths": [blob, named]}, paths=False)["paths"]
    assert [(item.blob, item.name) for item in bound] == [(UPLOAD, ""), (UPLOAD, "notes.txt")]
    [inside] = bind(files, {"paths": [f"{UPLOAD}/a/b/c.txt"]}, paths=False)["paths"]
    assert (inside.blob, inside.folders, inside.name) == (UPLOAD, ("a", "b"), "c.txt")
    assert bind(files, {"paths": ["/tmp/x/y.md"]})["paths"][0].name == "y.md"
    assert refusal(files, {"paths": ["/etc/passwd"]}, paths=False).code == "forbidden"
    assert refusal(path_only, {"path": "/etc"}, paths=False).code == "forbidden"
    for relative in ("etc/passwd", "../x", "", f"{UPLOAD}/../../etc", f"{UPLOAD}//b", "AB" * 16):
        assert refusal(files, {"paths": [relative]}).code == "argument_invalid", relative
    assert refusal(path_only, {"path": UPLOAD}).code == "argument_invalid"


def test_a_secret_is_never_shown():
    value = bind(secret, {"passphrase": "correct horse"})["passphrase"]
    assert value.text == "correct horse"
    assert "horse" not in f"{value} {value!r}"
    error = refusal(secret, {"passphrase": ["correct horse"]})
    assert "horse" not in str(error)


def test_a_command_ends_with_its_result():
    async def steps(row, **arguments: object):
        return [step async for step in row.run(FakeNode(), arguments)]

    assert asyncio.run(steps(echo, words=("a",)))[-1].data["words"] == ["a"]
    counted = asyncio.run(steps(count_up, to=2))
    assert [type(step).__name__ for step in counted] == [
        "Progress",
        "Item",
        "Progress",
        "Item",
        "Result",
    ]


def test_a_table_with_a_name_twice_is_refused():
    with pytest.raises(AssertionError, match="echo all"):
        Table((echo, echo))


@pytest.mark.parametrize("kind", [float, dict[str, str], tuple[str, int], str | int])
def test_a_type_the_table_does_not_know_is_refused(kind):
    async def odd(node, value) -> Result:
        """Odd."""
        return Result({})

    odd.__annotations__ = {"value": Annotated[kind, "help"], "return": Result}
    with pytest.raises((AssertionError, ValueError)):
        assert command("odd", example="odd")(odd).parameters


def test_help_is_not_optional():
    async def silent(node, value: str) -> Result:
        """Silent."""
        return Result({})

    with pytest.raises(AssertionError, match="has no help"):
        assert command("odd", example="odd")(silent).parameters


def test_every_real_command_has_words_an_example_and_json_defaults():
    for row in REAL:
        assert row.summary, row.name
        assert row.example.startswith(f"dms3 {row.name}"), row.name
        assert row.noun not in ("blob", "events", "login"), "taken by routes of the API"
        for parameter in row.parameters:
            assert parameter.default is inspect.Parameter.empty or isinstance(
                parameter.default, str | int | bool | tuple | None
            )
    assert isinstance(Secret("x"), Secret)
    assert BlobOrPath("/a").blob is None


@command("echo", "json", example="dms3 echo json '[1]'")
async def any_value(
    node: FakeNode,
    value: Annotated[Json, "anything"],
    more: Annotated[Json | None, "or nothing"] = None,
) -> Result:
    """Say it again."""
    return Result({"value": value.value})


@pytest.mark.parametrize("value", [None, 7, "text", [1, {"a": None}], {"a": [True]}])
def test_a_parameter_may_take_any_json_value(value):
    assert bind(any_value, {"value": value}) == {"value": Json(value)}
    assert bind(any_value, {"value": 1, "more": None}) == {"value": Json(1), "more": None}
    assert refusal(any_value, {}).code == "argument_invalid"


def test_json_is_typed_as_text_on_the_command_line():
    (value, _) = any_value.parameters
    assert value.positional
    assert json_of('{"a": [1]}') == {"a": [1]}
    with pytest.raises(Dms3Error, match=r"'{a: 1}' is not JSON"):
        json_of("{a: 1}")
