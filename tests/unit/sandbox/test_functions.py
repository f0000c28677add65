"""Calling functions of an app, and what they ask the node."""

import pytest

from dms3.chain.sandboxing import CallFunction
from dms3.core.errors import Dms3Error, Failure
from unit.sandbox.kit import AGENT, called, program

FUNCTIONS = """
    from dapp import Failure, agent, commit, expose, get, getLinks, makeHash, query, send, debug

    @expose("unrestricted")
    def add(a, b=2, *, c=0):
        \"\"\"The sum.\"\"\"
        return a + b + c

    @expose("transferable")
    def who():
        return [agent.key, agent.person]

    @expose("assigned")
    def write(text):
        try:
            return commit("note", {"text": text})
        except Failure as error:
            return [error.code, str(error)]

    @expose()
    def read(hash):
        return get(hash)["entry"]

    @expose()
    def links():
        return getLinks("base", tag="t", kind="k")

    @expose()
    def sets():
        return {1, 2}

    @expose()
    def wrong():
        x = 1
        return x / 0

    @expose()
    def hashed():
        print("a", 1)
        return makeHash(1)

    def internal():
        return 1

    def init():
        return "ready"

    def receive(message, sender):
        return [sender, message]
    """


def test_a_program_declares_its_functions(engine):
    found = engine.load(program(FUNCTIONS, part="functions")).functions
    assert found[0] == ("add", "unrestricted", 5, "The sum.")
    assert [(name, access) for name, access, _, _ in found][1:3] == [
        ("who", "transferable"),
        ("write", "assigned"),
    ]
    assert {name for name, access, _, _ in found if access == "callback"} == {"init", "receive"}
    assert "internal" not in {name for name, *_ in found}


def test_arguments_go_in_by_name_and_a_value_comes_out(engine):
    assert called(engine, FUNCTIONS, "add", a=1) == 3
    assert called(engine, FUNCTIONS, "add", a=1, b=1, c=1) == 3
    assert called(engine, FUNCTIONS, "who") == [AGENT, "p" * 52]


@pytest.mark.parametrize(
    ("function", "arguments", "code", "said"),
    [
        ("add", {}, "argument_invalid", "argument a is missing"),
        ("add", {"a": 1, "d": 2}, "argument_invalid", "no argument d; there are: a, b, c"),
        ("internal", {}, "not_found", "internal"),
        ("init", {}, "not_found", "init"),
        ("nothing", {}, "not_found", "nothing"),
        ("wrong", {}, "function_failed", "functions.py line 35: ZeroDivisionError"),
        ("sets", {}, "function_failed", "not JSON serializable"),
        ("read", {"hash": "h"}, "content_unavailable", "nobody has it"),
    ],
)
def test_what_goes_wrong_is_said_with_name_and_line(engine, function, arguments, code, said):
    def host(_name, _arguments):
        return Failure("content_unavailable", "nobody has it")

    with pytest.raises(Dms3Error, match=said.replace(".", r"\.")) as caught:
        called(engine, FUNCTIONS, function, host, **arguments)
    assert caught.value.code == code


def test_the_node_is_asked_with_every_argument_named(engine):
    asked = []

    def host(name, arguments):
        asked.append((name, arguments))
        return "h"

    assert called(engine, FUNCTIONS, "write", host, text="a") == "h"
    called(engine, FUNCTIONS, "links", host)
    assert asked == [
        ("commit", {"kind": "note", "content": {"text": "a"}, "private": False}),
        ("getLinks", {"base": "base", "kind": "k", "tag": "t", "author": "", "limit": 1_000}),
    ]


def test_what_the_node_refuses_can_be_caught(engine):
    def host(_name, _arguments):
        return Failure("forbidden", "rule text_is_short is broken")

    assert called(engine, FUNCTIONS, "write", host, text="a") == [
        "forbidden",
        "rule text_is_short is broken",
    ]


def test_hashes_are_made_here_and_debug_goes_to_the_node(engine):
    asked = []

    def host(name, arguments):
        asked.append((name, arguments))

    assert called(engine, FUNCTIONS, "hashed", host).startswith("bafyrei")
    assert asked == [("debug", {"values": ["a", "1"]})]


def test_callbacks_are_for_the_node_alone(engine):
    functions = program(FUNCTIONS, part="functions")
    call = CallFunction(functions, "receive", ["hello", "bob"], callback=True)
    assert engine.call(call, lambda *_: None).value == ["bob", "hello"]
    with pytest.raises(Dms3Error, match="add"):
        engine.call(CallFunction(functions, "add", [1], callback=True), lambda *_: None)


def test_a_function_that_calls_itself_over_the_node_gets_another_copy(engine):
    def host(_name, arguments):
        depth = arguments["hash"]
        deeper = depth < 3
        return {"entry": called(engine, FUNCTIONS, "read", host, hash=depth + 1) if deeper else 3}

    assert called(engine, FUNCTIONS, "read", host, hash=0) == 3


def test_what_the_host_raises_comes_out_and_the_next_call_goes_on(engine):
    def host(_name, _arguments):
        raise LookupError("of the test")

    with pytest.raises(LookupError):
        called(engine, FUNCTIONS, "read", host, hash="h")
    assert called(engine, FUNCTIONS, "add", a=1) == 3


def test_a_function_is_stopped_as_a_rule_is(engine):
    source = """
        from dapp import expose
        @expose()
        def loop():
            while True: pass
        @expose()
        def deep(): return deep()
        @expose()
        def bomb():
            x = []
            while True: x.append(bytes(1_000_000))
        @expose()
        def fine(): return 1
        """
    for name, why in (("loop", "fuel"), ("deep", "too deep"), ("bomb", "memory")):
        with pytest.raises(Dms3Error, match=why) as caught:
            called(engine, source, name)
        assert caught.value.code == "function_stopped"
        assert called(engine, source, "fine") == 1


def test_functions_cannot_read_as_rules_do_nor_ask_while_they_are_loaded(engine):
    source = (
        "from dapp import must_get_entry, expose\n@expose()\ndef f(): return must_get_entry('h')"
    )
    with pytest.raises(Dms3Error, match="a function calls get"):
        called(engine, source, "f")
    with pytest.raises(Dms3Error, match="not available while a program is loaded"):
        engine.load(program("from dapp import get\nget('x')", part="functions"))
