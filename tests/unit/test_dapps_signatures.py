"""Forms of functions: what their text says they are given, read without running or parsing it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.limits import FORM_PARAMETERS_MAX, SIGNATURE_CHARS_MAX
from dms3.node.dapps_folder import SHIPPED
from dms3.node.dapps_signatures import Field, fields


def read(signature: str) -> tuple[Field, ...] | None:
    return fields(f"@expose()\ndef act({signature}):\n    pass\n".split("\n"), "act", 2)


@pytest.mark.parametrize(
    ("signature", "found"),
    [
        ("", ()),
        ("text", (Field("text", "text", needed=True),)),
        ('text, name=""', (Field("text", "text", needed=True), Field("name", "text", False, ""))),
        ("hours=24", (Field("hours", "number", False, 24),)),
        ("hours: int = -1", (Field("hours", "number", False, -1),)),
        ("open=True,", (Field("open", "yes", False, True),)),
        ("tags: list[str]", (Field("tags", "json", needed=True),)),
        ("tags: dict[str, int] = None", (Field("tags", "json", False, None),)),
        ("name: str | None = None", (Field("name", "text", False, None),)),
        (
            "a,\n    b='x, y)'",
            (Field("a", "text", needed=True), Field("b", "text", False, "x, y)")),
        ),
    ],
    ids=range(10),
)
def test_plain_parameters_become_fields(signature, found):
    assert read(signature) == found


@pytest.mark.parametrize(
    "signature",
    [
        "*rest",
        "**more",
        "a, /, b",
        "a=sum((1, 2))",
        "a='it\\'s'",
        "a='open",
        "a  # why\n",
        "1a",
        "a" * SIGNATURE_CHARS_MAX,
        ", ".join(f"a{number}" for number in range(FORM_PARAMETERS_MAX + 1)),
    ],
    ids=range(10),
)
def test_what_cannot_be_read_at_a_glance_is_no_form(signature):
    assert read(signature) is None


def test_as_many_fields_as_a_form_has():
    found = read(", ".join(f"a{number}" for number in range(FORM_PARAMETERS_MAX)))
    assert found is not None
    assert len(found) == FORM_PARAMETERS_MAX


def test_a_function_that_is_not_in_its_line_is_no_form():
    lines = ["def one(a): pass", "def two(b): pass"]
    assert fields(lines, "two", 2) == (Field("b", "text", needed=True),)
    for function, line in (("three", 1), ("one", 2), ("two", 1), ("two", 9), ("one", 0)):
        found = fields(lines, function, line)
        assert found == (None if line else (Field("a", "text", needed=True),)), (function, line)
    assert fields([], "one", 1) is None


@given(st.text(alphabet="def act(,)=:'\"[]{}*#\\\n\t0a", max_size=60))
def test_whatever_is_written_there_is_read_or_not_and_never_fails(text):
    found = fields(["def act(" + line for line in text.split("\n")], "act", 1)
    assert found is None or len({field.name for field in found}) <= FORM_PARAMETERS_MAX


def test_every_function_of_the_apps_that_come_along_has_a_form():
    for folder in sorted(SHIPPED.glob("*/functions.py")):
        lines = folder.read_text().split("\n")
        heads = [(at, line) for at, line in enumerate(lines, 1) if line.startswith("def ")]
        assert heads
        for at, line in heads:
            name = line[4 : line.index("(")]
            assert fields(lines, name, at) is not None, (folder, name)
