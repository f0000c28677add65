"""Every way out of the sandbox that we know, each a test of its own (docs/attacks.md)."""

import pytest

from dms3.chain.sandboxing import Judge
from dms3.core.errors import Dms3Error
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from unit.sandbox.kit import called, program, refused, ruled, stopped, verdict

FUEL = "fuel was used up"
MEMORY = "used up its memory"
DEEP = "called itself too deep"


# What never ends, or eats everything: Abandoned, whatever the rule catches.


def test_an_endless_loop_is_stopped(engine):
    assert FUEL in stopped(engine, "while True: pass")


def test_a_loop_that_catches_everything_is_stopped_nevertheless(engine):
    assert FUEL in stopped(
        engine,
        """
        while True:
            try:
                while True: pass
            except:
                pass
            finally:
                x = 1
        """,
    )


def test_a_loop_inside_a_built_in_function_is_stopped(engine):
    assert FUEL in stopped(engine, "sum(range(10**12))")


def test_endless_iterators_are_stopped(engine):
    assert FUEL in stopped(engine, "collections.deque(itertools.count(), maxlen=1)")


def test_a_huge_number_is_stopped(engine):
    assert FUEL in stopped(engine, "10 ** 10 ** 8")


def test_a_pattern_that_backtracks_forever_is_stopped(engine):
    assert FUEL in stopped(engine, "re.match(r'(a+)+$', 'a' * 64 + 'b')")


def test_a_loop_while_an_error_is_described_is_stopped(engine):
    assert FUEL in stopped(
        engine,
        """
        class Endless(ValueError):
            def __str__(self):
                while True: pass
        raise Endless
        """,
    )


@pytest.mark.parametrize("after", ["except: return True", "finally: x = 1"])
def test_a_memory_bomb_is_stopped_and_cannot_be_caught(engine, after):
    body = f"""
        kept = []
        try:
            while True: kept.append(bytes(1_000_000))
        {after}
        return True
        """
    assert MEMORY in stopped(engine, body)


def test_one_value_beyond_all_memory_is_stopped(engine):
    assert MEMORY in stopped(engine, "try: bytes(2**31 - 64)\nexcept: return True")
    assert MEMORY in stopped(engine, "try: 'a' * 2**30\nexcept: return True")


@pytest.mark.parametrize("after", ["except: return True", "finally: x = 1"])
def test_recursion_is_stopped_and_cannot_be_caught(engine, after):
    body = f"""
        def f(n):
            try:
                return f(n + 1)
            {after}
            return True
        f(0)
        return True
        """
    assert DEEP in stopped(engine, body)


def test_recursion_that_becomes_another_error_is_stopped(engine):
    body = """
        def f():
            return f()
        def g():
            try:
                f()
            except 1 / 0:
                pass
        try:
            g()
        except ZeroDivisionError:
            return True
        """
    assert DEEP in stopped(engine, body)


def test_recursion_through_built_in_functions_is_stopped(engine):
    assert DEEP in stopped(engine, "def f(x): return sorted([1, 2], key=f)\nf(1)")
    assert DEEP in stopped(engine, "def f(x): return max(map(f, [x]))\nf(1)")


def test_deep_json_is_stopped(engine):
    assert DEEP in stopped(engine, "try: json.loads('[' * 100_000)\nexcept: return True")
    assert DEEP in stopped(engine, "x = []\nfor _ in range(100_000): x = [x]\nrepr(x)")
    rules = ruled("return True")
    deep: list = []
    for _ in range(900):
        deep = [deep]
    found = engine.judge(Judge(rules, {"kind": "create", "entry_kind": "note"}, deep)).verdict
    assert isinstance(found, Valid | Abandoned)


def test_a_deep_text_is_refused_or_given_up_when_it_is_loaded(engine):
    for text in ("(" * 5_000 + ")" * 5_000, "-" * 50_000 + "1"):
        with pytest.raises(Dms3Error, match=r"rules\.py"):
            engine.load(program(f"x = {text}"))


def test_a_loop_at_the_top_of_the_text_is_refused_when_it_is_loaded(engine):
    with pytest.raises(Dms3Error, match="fuel"):
        engine.load(program("while True: pass"))


def test_what_a_rule_must_have_cannot_be_caught(engine):
    body = "try: must_get_entry('x')\nexcept: return True"
    assert verdict(engine, body) == Unresolved((b"entry:x",))


# What leads out.


@pytest.mark.parametrize(
    "name",
    ["os", "sys", "socket", "ctypes", "subprocess", "time", "random", "builtins", "importlib"],
)
def test_a_module_that_leads_out_cannot_be_imported(engine, name):
    assert f"{name} cannot be imported here" in refused(engine, f"import {name}")
    assert f"{name} cannot be imported here" in refused(engine, f"from {name} import x")


@pytest.mark.parametrize(
    "call",
    [
        *("open('/etc/passwd')", "__import__('os')", "eval('1')", "exec('x = 1')", "compile('1')"),
        *("globals()", "locals()", "vars()", "dir()", "input()", "breakpoint()", "help()"),
        *("memoryview(b'')", "id(note)", "hash('a')"),
    ],
)
def test_a_built_in_function_that_leads_out_is_not_there(engine, call):
    if call.startswith("__"):
        assert "Python's own" in refused(engine, call)
    else:
        found = verdict(engine, call)
        assert isinstance(found, Invalid)
        assert found.detail.startswith("NameError")


def test_what_modules_use_themselves_cannot_be_reached(engine):
    for body in (
        *("json.codecs", "base64.binascii", "dataclasses.sys", "functools.GenericAlias"),
        *("collections.abc", "datetime.sys", "enum.sys", "re.functools", "hashlib.new"),
    ):
        found = verdict(engine, f"return {body}")
        assert isinstance(found, Invalid)
        assert "has no attribute" in found.detail
    for body in ("re._compiler", "getattr(re, '_comp' + 'iler')", "json._default_decoder"):
        assert "nor private read" in verdict(engine, f"return {body}").detail


@pytest.mark.parametrize(
    "walk",
    [
        "().__class__.__base__.__subclasses__()",
        "note.__class__",
        "r.__globals__",
        "r.__code__",
        "r.__builtins__",
        "(lambda: 0).__closure__",
        "len.__self__",
        "rule.__closure__",
        "[].__reduce_ex__(2)",
        "int.mro()",
        "enum.Enum._member_map_",
    ],
)
def test_a_walk_over_names_of_python_is_refused(engine, walk):
    assert "is not available" in refused(engine, f"return {walk}")


def test_frames_cannot_be_reached(engine):
    for name in ("gi_frame", "gi_code", "f_globals", "f_back", "tb_frame", "cr_frame", "ag_frame"):
        assert "is not available" in refused(engine, f"return note.{name}")
    assert "Python's own" in refused(engine, "try: 1/0\nexcept Exception as __traceback__: pass")
    body = "try: 1/0\nexcept Exception as e: return getattr(e, '__trace' + 'back__')"
    assert isinstance(verdict(engine, body), Invalid)


def test_names_made_at_run_time_are_looked_at_too(engine):
    for name in ("'__cl' + 'ass__'", "'gi_' + 'frame'", "'_member' + '_map_'", "'for' + 'mat'"):
        found = verdict(engine, f"return getattr(note, {name}, 1)")
        assert isinstance(found, Invalid)
        assert "is not available" in found.detail
    body = "class S(str):\n    def startswith(self, *x): return False\nreturn getattr(note, S('x'))"
    assert isinstance(verdict(engine, body), Invalid)


def test_a_format_cannot_walk(engine):
    assert "use an f-string" in refused(engine, "return '{0.__class__}'.format(note)")
    assert "use an f-string" in refused(engine, "return str.format_map('{x}', note)")
    assert "use an f-string" in refused(engine, "f = 'x'.format\nreturn f(1)")
    found = verdict(engine, "return '%(x)s' % note")
    assert "use an f-string" in found.detail


def test_a_pattern_cannot_walk(engine):
    body = "match note:\n    case dict(__class__=c): return c\nreturn True"
    assert "is not available" in refused(engine, body)


def test_built_in_names_cannot_be_poisoned(engine):
    assert "Python's own" in refused(engine, "__builtins__['len'] = print")
    assert "Python's own" in refused(engine, "global __name__\n__name__ = 'x'")
    assert "cannot be given another meaning" in refused(engine, "str = repr")
    for body in ("math.pi = 3", "json.loads = print", "del math.pi", "setattr(math, 'pi', 3)"):
        found = verdict(engine, body)
        assert "cannot be set here" in found.detail
    for target in ("collections.Counter", "datetime.date", "enum.Enum", "rule", "dict", "note"):
        assert isinstance(verdict(engine, f"{target}.x = 1"), Invalid)
    for body in (
        "functools.total_ordering(collections.Counter)",
        "dataclasses.dataclass(collections.Counter)",
        "enum.unique(enum.Enum)",
    ):
        assert "of the dapp's own" in verdict(engine, body).detail


def test_classes_are_made_by_class_alone(engine):
    for body in (
        "return type('X', (), {'__eq__': 1})",
        "return type(type(note))('X', (), {})",
        "return type(int)('X', (), {})",
        "return enum.Enum('X', {'__eq__': 1})",
        "return type(r)(1, {})",
    ):
        assert isinstance(verdict(engine, body), Invalid)
    assert "in its brackets" in refused(engine, "class X(metaclass=type): pass")


@pytest.mark.parametrize("name", ["__eq__", "__hash__", "__del__", "__getattr__", "__new__"])
def test_methods_that_python_calls_by_itself_are_refused(engine, name):
    assert "Python's own" in refused(engine, f"class X:\n    def {name}(self, *a): pass")
    assert "Python's own" in refused(engine, f"class X:\n    {name} = 1")


def test_nothing_runs_when_a_generator_is_given_up(engine):
    body = "def g():\n    try:\n        yield 1\n    finally:\n        note['x'] = 1"
    assert "yield cannot stand inside try" in refused(engine, body)
    assert "with cannot be used here" in refused(engine, "with note: pass")
    assert "async cannot be used here" in refused(engine, "async def f(): pass")


def test_the_run_cannot_be_ended_by_the_rule(engine):
    for body in ("raise SystemExit", "exit()", "raise KeyboardInterrupt", "raise BaseException"):
        found = verdict(engine, body)
        assert isinstance(found, Invalid)
        assert found.detail.startswith("NameError")


def test_a_warning_of_python_says_nothing_and_stops_nothing(engine):
    assert verdict(engine, "x = '\\d'\nassert (1, 'always')\nreturn True") == Valid()


# What differs from one run to the next.


def test_there_is_no_time(engine):
    for body in ("datetime.datetime.now()", "datetime.date.today()", "datetime.datetime.utcnow()"):
        assert "there is no clock here" in refused(engine, body)
    for body in (
        "getattr(datetime.datetime, 'n' + 'ow')()",
        "getattr(datetime.date, 'tod' + 'ay')",
    ):
        assert "there is no clock here" in verdict(engine, body).detail


def test_there_is_no_chance(engine):
    assert "cannot be imported" in refused(engine, "import random")
    assert "cannot be imported" in refused(engine, "import secrets")
    assert "cannot be imported" in refused(engine, "import uuid")


def test_sets_have_an_order_that_no_hash_decides(engine):
    assert (
        verdict(
            engine,
            """
            given = ["pear", "fig", "apple", "kiwi", "date", "plum"]
            assert list(set(given)) == given
            assert list(frozenset(given)) == given
            assert list({"pear", "fig", "apple"}) == given[:3]
            assert [x for x in {x for x in given}] == given
            assert list(dict.fromkeys(given).keys() & {"plum", "fig"}) == ["fig", "plum"]
            assert list(dict.fromkeys(given).keys() - {"fig"})[:2] == ["pear", "apple"]
            view = getattr(dict.fromkeys(given), "keys")
            assert list(view() | {"x"})[-1] == "x"
            assert list(dict.keys(dict.fromkeys(given)) ^ {"pear"})[0] == "fig"
            assert list(collections.ChainMap({"b": 1}, {"a": 1}).keys() & {"a"}) == ["a"]
            assert type({1}) is set and isinstance({1}, set) and {1, 2} == {2, 1}
            return True
            """,
        )
        == Valid()
    )


def test_addresses_do_not_show(engine):
    assert (
        verdict(
            engine,
            """
            class A:
                pass
            class Text(str):
                pass
            things = [r, lambda: 0, A(), iter([]), (x for x in []), functools.partial(r)]
            shown = [repr(t) for t in things] + [str(t) for t in things] + [f"{t}" for t in things]
            shown += [f"{t!r}" for t in things] + [f"{t!s:>80}" for t in things]
            shown += [ascii(t) for t in things] + [format(t) for t in things]
            shown += list(map(str, things)) + [repr(things)] + [Text(t) for t in things]
            try:
                {}[lambda: 0]
            except KeyError as error:
                shown.append(str(error))
            try:
                functools.partial(lambda: 0)(**1)
            except TypeError as error:
                shown.append(f"{error}")
            for each in shown:
                rest = each.split(" at 0x")
                assert len(rest) > 1 or "partial" in each, each
                assert all(part[:2] in ("0>", "0") or part[0] == "0" for part in rest[1:]), each
            return True
            """,
        )
        == Valid()
    )


def test_identity_cannot_be_asked_for(engine):
    assert "use ==" in refused(engine, "return note is action")
    assert verdict(engine, "return note is not None and type(note) is dict") == Valid()


# What would stay for whoever is judged next.


def test_nothing_stays_from_one_judging_to_the_next(engine):
    rules = program(
        """
        from dapp import rule, property
        import functools
        seen = []
        @functools.cache
        def kept(): return []
        class Box:
            items = []
        def default(x=[]): return x
        @rule()
        def first_time(note, action):
            fresh = not seen and not kept() and not Box.items and not default()
            fresh = fresh and "x" not in property("names") and not hasattr(Box, "mark")
            seen.append(1); kept().append(1); Box.items.append(1); default().append(1)
            property("names").append("x")
            Box.mark = 1
            note["text"] = "changed"
            return fresh
        """,
        properties={"names": []},
    )
    for _ in range(3):
        found = engine.judge(Judge(rules, {"kind": "create", "entry_kind": "note"}, {"text": "a"}))
        assert found.verdict == Valid()


def test_nothing_stays_in_what_the_node_gives(engine):
    source = """
        from dapp import expose, commit, rule
        @expose()
        def change():
            found = []
            for body in (lambda: setattr(commit, "_name", "get"), lambda: commit._optional,
                         lambda: getattr(commit, "_opt" + "ional"), lambda: rule.x):
                try:
                    body()
                    found.append("done")
                except (TypeError, AttributeError):
                    found.append("refused")
            return found
        """
    assert called(engine, source, "change") == ["refused"] * 4


def test_a_rule_cannot_ask_the_node(engine):
    text = """
        from dapp import rule, commit, get, send, sign, query
        @rule("note")
        def r(note, action):
            return {}
        """
    for call in ("commit('note', 1)", "get('x')", "send('a', 1)", "sign(1)", "query()"):
        rules = program(text.replace("{}", call))
        found = engine.judge(Judge(rules, {"kind": "create", "entry_kind": "note"}, {})).verdict
        assert isinstance(found, Invalid)
        assert "is not available in a rule" in found.detail


def test_a_function_that_asks_without_end_is_stopped(engine):
    source = """
        from dapp import expose, get
        @expose()
        def ask():
            while True:
                try: get("x")
                except Exception: pass
        """
    with pytest.raises(Dms3Error, match="questions to the node") as caught:
        called(engine, source, "ask", lambda _name, _given: None)
    assert caught.value.code == "function_stopped"
