"""What may stand in the text of a dapp, looked at without running anything."""

import ast

import pytest

from dms3.guest.source import METHODS, SourceError, attribute_refused, compiled


def why(text):
    with pytest.raises(SourceError) as caught:
        compiled(text, "rules.py")
    return caught.value.line, caught.value.message


def test_a_plain_text_is_taken_and_its_functions_have_lines():
    code, lines = compiled("import json\n\n@f\n@g\ndef a(): pass\n\ndef b(): pass\n", "rules.py")
    assert code.co_filename == "rules.py"
    assert lines == {"a": 5, "b": 7}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\ny = x.__class__", 2),
        ("def f(__x): pass", 1),
        ("x = 1\nfor __y in x: pass", 2),
        ("[x for __x in y]", 1),
        ("lambda __x: 1", 1),
        ("import json as __json", 1),
        ("try: pass\nexcept Exception as __e: pass", 2),
        ("match x:\n  case {'a': __y}: pass", 2),
        ("match x:\n  case [*__y]: pass", 2),
        ("match x:\n  case {**__y}: pass", 2),
        ("(__x := 1)", 1),
        ("class __X: pass", 1),
        ("def f():\n  nonlocal_ = 1\n  global __x", 3),
    ],
)
def test_names_of_python_are_refused_wherever_they_are_given(text, line):
    assert why(text)[0] == line


@pytest.mark.parametrize(
    "text",
    [
        *("with x: pass", "async def f(): pass", "await x", "from . import x", "from x import *"),
        *("from json import codecs as c, _default_decoder_", "import os.path", "x is y"),
        *("x.y %= 3", "class A(B, metaclass=C): pass", "class A(**x): pass"),
        "match x:\n  case y.keys: pass",
        *("def f():\n  try:\n    yield 1\n  except E: pass", "str = 1", "def type(): pass"),
        *("try: pass\nfinally:\n  while x: break", "def f():\n  try: pass\n  finally: return 1"),
    ],
)
def test_parts_of_the_language_that_are_not_here(text):
    assert why(text)


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n  try: pass\n  finally:\n    def g(): return 1\n    h = lambda: 1",
        "def f():\n  try:\n    def g(): yield 1\n  except E: pass",
        "class A(B):\n  def __init__(self):\n    super().__init__()\n    self._x = 1",
        "from __future__ import annotations",
        "x is None or type(x) is int or x is not True",
        "x = y % 3\nx %= 4",
        "f'{x!r:>{width}} {y=}'",
        "{1, 2} | {x for x in y}",
        "x._private",
        "match x:\n  case y._z: pass",
        "try: pass\nexcept E: pass\nelse: pass",
    ],
)
def test_the_rest_of_the_language_is_here(text):
    assert compiled(text, "rules.py")


def test_methods_that_hashes_or_memory_would_call_are_none():
    assert not METHODS & {"__eq__", "__ne__", "__hash__", "__del__", "__new__", "__getattr__"}


def test_every_attribute_with_a_way_to_a_frame_is_refused():
    def generator():
        yield

    async def coroutine():
        pass

    waiting = coroutine()
    waiting.close()
    try:
        int("x")
    except ValueError as error:
        trace = error.__traceback__
    for value in (generator(), waiting, trace, trace.tb_frame, generator.__code__, generator):
        kept = {*dir(value)} - {*dir(object())}
        open_names = {name for name in kept if name[0] != "_" and not attribute_refused(name)}
        assert open_names <= {"close", "send", "throw", "clear", "replace"}


def test_a_guard_has_a_name_that_no_text_can_hold():
    with pytest.raises(SyntaxError):
        ast.parse(".own(x)")
