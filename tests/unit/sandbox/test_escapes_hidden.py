"""Ways out by what built-in functions hand to an app's objects, or drop on the way."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import HOST_CALLS_MAX
from dms3.core.verdict import Invalid, Unresolved, Valid
from dms3.io.sandbox_engine import SandboxEngine
from unit.sandbox.kit import called, refused, stopped, verdict

DROPPED = """
class F:
    def __index__(self):
        "Called by Python."
        {end}
        return 1
    def __float__(self):
        {end}
        return 1.0
try:
    {drop}
except (TypeError, ValueError, struct.error):
    return True
return False
"""
DROPS = ('F() in b"x"', "itertools.islice([], F())", 'struct.pack("d", F())')
THIEF = """
class Thief:
    got = None
    def __gt__(self, other):
        self.got = other
        return True
    def __ge__(self, other):
        self.got = other
        return True
thief = Thief()
"""


@pytest.mark.parametrize("drop", DROPS, ids=("bytes", "islice", "struct"))
def test_what_is_missing_counts_also_where_python_drops_the_error(engine, drop):
    body = DROPPED.format(end='must_get_entry("x")', drop=drop)
    assert verdict(engine, body) == Unresolved((b"entry:x",))


@pytest.mark.parametrize("drop", DROPS, ids=("bytes", "islice", "struct"))
def test_memory_counts_also_where_python_drops_the_error(engine, drop):
    assert "memory" in stopped(engine, DROPPED.format(end="bytes(300_000_000)", drop=drop))


def test_recursion_counts_also_where_python_drops_the_error(engine):
    end = "(lambda f: f(f))(lambda f: f(f))"
    assert "too deep" in stopped(engine, DROPPED.format(end=end, drop=DROPS[0]))


@pytest.mark.parametrize(
    "body",
    [
        "collections.ChainMap.register(int)\nreturn isinstance(5, collections.ChainMap)",
        "class M(collections.ChainMap): pass\nM.register(int)\nreturn True",
        f'{THIEF}\ndataclasses.field().metadata < thief\nthief.got["x"] = 1\nreturn True',
        f'{THIEF}\nre.compile("(?P<a>x)").groupindex < thief\nthief.got["x"] = 1\nreturn True',
    ],
    ids=("registered", "registered in a subclass", "metadata", "groups"),
)
def test_what_all_runs_share_cannot_be_changed(engine, body):
    assert isinstance(verdict(engine, body), Invalid)


def test_what_cannot_be_read_by_name_cannot_be_matched_either(engine):
    body = 'match {"a": 1}.keys():\n    case object(_view=raw): return False\nreturn True'
    assert "_view cannot be matched" in refused(engine, body)
    assert "obj cannot be matched" in refused(engine, body.replace("_view", "obj"))


@pytest.mark.parametrize(
    "compare",
    ['"a" in dict.fromkeys("abcdef").keys() < thief', 'set("abcdef") <= thief'],
    ids=("chained", "set"),
)
def test_sets_of_python_are_not_reached_by_a_comparison(engine, compare):
    body = f'{THIEF}\n{compare}\nreturn list(thief.got & list("fedcba")) == list("abcdef")'
    assert verdict(engine, body) == Valid()


def test_a_set_is_compared_by_what_is_in_it_and_not_by_what_it_says(engine):
    body = f"""
{THIEF}
class Own(set):
    pass
class Keys:
    def keys(self): return thief
own = Own("abc")
own._items = Keys()
for compare in (lambda: set("abc") <= own, lambda: own.issubset("abc"), lambda: own == set("abc")):
    try:
        compare()
    except TypeError:
        pass
return thief.got is None
"""
    assert verdict(engine, body) == Valid()


def test_the_object_behind_an_error_cannot_be_read(engine):
    body = "try: str.nothing\nexcept AttributeError as error: return f'{error.obj}'"
    found = verdict(engine, body)
    assert isinstance(found, Invalid)
    assert found.detail.startswith("TypeError")
    assert verdict(engine, body.replace("error.obj", 'getattr(error, "obj")')) == found


def test_no_object_is_made_with_names_of_python(engine):
    found = verdict(engine, 'type(json)("x", {"__reduce_ex__": lambda level: (list, ())})')
    assert isinstance(found, Invalid)
    assert "takes no arguments" in found.detail


def test_an_app_may_have_such_names_of_its_own(engine):
    body = """
class Own:
    def __init__(self):
        self.obj, self.groupindex = 1, 2
    def __iter__(self):
        yield self.obj
        yield getattr(self, "groupindex")
return list(Own()) == [1, 2] and set("ab") <= set("abc") and not set("ab") < set("ab")
"""
    assert verdict(engine, body) == Valid()


def test_rules_ask_only_so_often(engine):
    asking = 'for _ in range({}): verifySignature("a", "b", "c")'
    assert "questions" in stopped(engine, asking.format(HOST_CALLS_MAX + 1))
    assert verdict(engine, asking.format(HOST_CALLS_MAX)) == Valid()


def test_an_answer_is_only_so_long(runner, monkeypatch):
    monkeypatch.setattr("dms3.io.sandbox_engine.SANDBOX_MESSAGE_BYTES_MAX", 1_000)
    source = "from dapp import expose\n@expose()\ndef f(size): return 'x' * size"
    engine = SandboxEngine(runner)
    most = 1_000 - len('["result", ""]')
    assert len(called(engine, source, "f", size=most)) == most
    with pytest.raises(Dms3Error, match="too long") as caught:
        called(engine, source, "f", size=most + 1)
    assert caught.value.code == "function_stopped"
