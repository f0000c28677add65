"""The source rules: the project keeps them, and each of them catches a violation."""

import ast
import sys
from collections import Counter
from importlib import util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_spec = util.spec_from_file_location("source_rules", ROOT / "scripts" / "source_rules.py")
rules = util.module_from_spec(_spec)
sys.modules["source_rules"] = rules
_spec.loader.exec_module(rules)

GOOD = '"""A module."""\n\n\ndef double(n: int) -> int:\n    """Twice `n`."""\n    return n * 2\n'
LIMITS = '"""L."""\n\nKIB = 1024\nUSED_MAX = 4 * KIB  # reason\n'
ERRORS = '"""E."""\n\nCODES: dict[str, int] = {"raised": 1, "own": 2}\n\nown = Row("own")\n'
TREE = [
    rules.Source("src/dms3/core/limits.py", LIMITS),
    rules.Source("src/dms3/core/errors.py", ERRORS),
    rules.Source("src/dms3/p2p/link.py", GOOD + "x = USED_MAX\ny = 'raised'\n"),
]


def source(text: str, path: str = "p2p/link.py") -> "rules.Source":
    return rules.Source("src/dms3/" + path, '"""A module."""\n' + text)


def violations(rule, given) -> list[str]:
    return list(rule(given))


def test_the_project_keeps_the_rules():
    found = rules.check(ROOT)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", rules.FILE_RULES, ids=lambda rule: rule.__name__)
def test_a_good_file_breaks_no_rule(rule):
    assert violations(rule, rules.Source("src/dms3/p2p/link.py", GOOD)) == []


def lines(count: int) -> str:
    return "x = 1\n" * count


def function(count: int) -> str:
    return "def f():\n" + "    x = 1\n" * (count - 1)


def many_imports(count: int) -> str:
    return "".join(f"from dms3.io.m{n} import x\n" for n in range(count))


@pytest.mark.parametrize(
    ("rule", "text", "path", "says"),
    [
        ("sizes", lines(600), "p2p/link.py", "601 lines"),
        ("sizes", lines(300), "node/node.py", "301 lines"),
        ("sizes", function(71), "p2p/link.py", "f has 71 lines"),
        ("sizes", "x = '" + "a" * 96 + "'", "p2p/link.py", "102 characters"),
        ("names", "", "p2p/utils.py", "'utils' says nothing"),
        ("names", "", "common/link.py", "'common' says nothing"),
        ("docstrings", "def f(): ...", "p2p/link.py", "f has no docstring"),
        ("docstrings", "class F: ...", "p2p/link.py", "F has no docstring"),
        ("calls", "asyncio.create_task(x)", "io/loop.py", "TaskGroup"),
        ("calls", "asyncio.ensure_future(x)", "io/loop.py", "TaskGroup"),
        ("calls", "time.time()", "node/node.py", "take `now`"),
        ("calls", "time.monotonic()", "io/loop.py", "take `now`"),
        ("calls", "time.sleep(1)", "io/loop.py", "wait for an event"),
        ("calls", "import random\nrandom.choice(x)", "io/loop.py", "Entropy"),
        ("calls", "print(1)", "node/node.py", "print outside cli/"),
        ("calls", "open('x')", "core/codec.py", "open in layers 0-2"),
        ("catch_alls", "try: x\nexcept Exception: pass", "io/transport.py", "catches Exception"),
        ("catch_alls", "try: x\nexcept (OSError, BaseException): y", "io/x.py", "BaseException"),
        ("catch_alls", "try: x\nexcept: pass", "io/transport.py", "catches everything"),
        ("assertions", "assert x > 1", "p2p/link.py", "without a message"),
        ("state", "def f():\n    global x", "p2p/link.py", "global x"),
        ("state", "for x in {1, 2}: y", "p2p/link.py", "sort it first"),
        ("state", "y = [x for x in set(z)]", "p2p/link.py", "sort it first"),
        ("imports", many_imports(13), "p2p/link.py", "imports 13 modules"),
        ("imports", "import dms3.node.node", "sim/world.py", "sim knows only the driver"),
        ("imports", "from dms3.node.commands import x", "sim/world.py", "dms3.node.commands"),
    ],
)
def test_a_violation_is_found(rule, text, path, says):
    found = violations(getattr(rules, rule), source(text, path))
    assert len(found) == 1, found
    assert says in found[0]


def test_a_missing_module_docstring_is_found():
    (found,) = rules.docstrings(rules.Source("src/dms3/p2p/link.py", "x = 1\n"))
    assert "no module docstring" in found


@pytest.mark.parametrize(
    ("rule", "text", "path"),
    [
        ("sizes", lines(599), "p2p/link.py"),
        ("sizes", function(70), "p2p/link.py"),
        ("sizes", "x = '" + "a" * 94 + "'", "p2p/link.py"),
        ("calls", "time.monotonic()", "io/clock.py"),
        ("calls", "random.choice(x)", "sim/world.py"),  # a seeded Random under that name
        ("calls", "print(1)", "cli/main.py"),
        ("catch_alls", "try: x\nexcept Exception: pass", "api/http.py"),
        ("catch_alls", "try: x\nexcept BaseException:\n    y()\n    raise", "io/spool.py"),
        ("catch_alls", "try: x\nexcept OSError: pass", "io/spool.py"),
        ("assertions", "assert x > 1, 'why'", "p2p/link.py"),
        ("assertions", "assert x is not None", "p2p/link.py"),
        ("state", "for x in sorted({1, 2}): y", "p2p/link.py"),
        ("sizes", "x = 1  # noqa: S104  " + "a" * 96, "p2p/link.py"),
        ("imports", many_imports(12) + "import dms3.core.x\n", "p2p/link.py"),
        ("imports", many_imports(13), "node/node.py"),
        ("imports", "import dms3.node.driver", "sim/world.py"),
    ],
)
def test_the_other_side_of_a_rule_passes(rule, text, path):
    assert violations(getattr(rules, rule), source(text, path)) == []


def test_limits_are_used_and_explained():
    assert violations(rules.limits, TREE) == []
    text = LIMITS + "UNUSED_MAX = 1  # reason\nSILENT_MAX = 2\nx = SILENT_MAX\n"
    found = violations(rules.limits, [rules.Source("src/dms3/core/limits.py", text), *TREE[1:]])
    assert len(found) == 3  # x is a bound too, and unexplained
    assert "UNUSED_MAX bounds nothing" in found[0]
    assert "SILENT_MAX does not say why" in found[1]


def test_no_limit_hides_another_of_the_same_name():
    names = [
        name.id
        for path in sorted((ROOT / "src/dms3/core").glob("limits*.py"))
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    ]
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_codes_are_used():
    assert violations(rules.codes, TREE) == []
    text = ERRORS.replace('"own": 2', '"own": 2, "never": 3')
    found = violations(rules.codes, [TREE[0], rules.Source(TREE[1].path, text), TREE[2]])
    assert len(found) == 1
    assert "nothing raises 'never'" in found[0]


def test_a_function_written_twice_is_found():
    text = '"""M."""\ndef {}(a):\n    if a:\n        b = 1\n    c = 2\n    return b + c\n'
    first = rules.Source("src/dms3/p2p/a.py", text.format("one"))
    second = rules.Source("src/dms3/p2p/b.py", text.format("two"))
    (found,) = rules.duplicates([first, second])
    assert "two is the same as src/dms3/p2p/a.py:2: one" in found
    short = '"""M."""\ndef {}(a):\n    return a\n'
    pair = [rules.Source(f"src/dms3/p2p/{n}.py", short.format(n)) for n in "ab"]
    assert violations(rules.duplicates, pair) == []


@pytest.mark.parametrize("mark", ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"])
def test_a_leftover_mark_is_found(mark):
    (found,) = rules.marks("docs/x.md", f"fine\n# {mark}: later\n")
    assert found.startswith("docs/x.md:2: a leftover mark")
    assert not list(rules.marks("docs/x.md", f"{mark.lower()} {mark}S\n"))
