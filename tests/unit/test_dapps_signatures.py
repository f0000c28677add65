"""Forms of functions: what their text says they are given, read without running or parsing it."""

import pytest

from dms3.core.limits import FORM_PARAMETERS_MAX, SIGNATURE_CHARS_MAX
from dms3.node.dapps_folder import SHIPPED
from dms3.node.dapps_signatures import Field, fields


def read(signature: str) -> tuple[Field, ...] | None:
    return fields(f"@expose()\ndef act({signature}):\n    pass\n", "act", 2)


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


def test_a_function_that_is_not_there_or_before_its_line_is_no_form():
    text = "def one(a): pass\ndef two(b): pass\n"
    assert fields(text, "three", 1) is None
    assert fields(text, "one", 2) is None
    assert fields(text, "two", 9) is None
    assert fields("", "one", 0) is None


def test_every_function_of_the_apps_that_come_along_has_a_form():
    for folder in sorted(SHIPPED.glob("*/functions.py")):
        text = folder.read_text()
        names = [line[4 : line.index("(")] for line in text.splitlines() if line.startswith("def ")]
        assert names
        for name in names:
            assert fields(text, name, 1) is not None, (folder, name)
