import asyncio

import pytest

from dms3.chain.operations import Incoming, Rejected, Session
from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import Root
from dms3.core.limits import (
    CALLS_NESTED_MAX,
    DAPPS_MAX,
    HOST_CALLS_MAX,
    SIGNAL_BYTES_MAX,
    SIGNALS_PER_CALL_MAX,
)
from dms3.core.multibase import encode_base32
from dms3.node.dapps_folder import SHIPPED, read_folder
from unit.dapps_kit import guestbook, kit, with_functions
from unit.fronts import in_loop

LINE = {"text": "I was here", "name": "Alice"}


async def refused(awaited, code: str) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        await awaited
    assert caught.value.code == code, caught.value
    return caught.value


@in_loop
async def test_an_app_is_installed_called_and_there_after_a_restart(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(guestbook())
        assert app.state == "ready", app.problem
        entry = await made.dapps.call(app, "sign", LINE)
        assert entry.startswith("bafyrei")
        (line,) = await made.dapps.call(app, "entries", {})
        assert (line["text"], line["name"]) == ("I was here", "Alice")
        assert made.chains.signals[0].name == "signed"
        asked = [operation for operation, _ in made.chains.asked]
        assert asked.index("validation.open") < asked.index("source.begin")
    async with kit(tmp_path) as made:
        (app,) = made.dapps.apps()
        while app.state == "starting":
            app.changed.clear()
            await app.changed.wait()
        assert app.state == "ready"
        assert (await made.dapps.files(app))["rules.py"] == guestbook()["rules.py"]


@in_loop
async def test_other_functions_and_page_are_the_same_app_other_rules_are_not(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(guestbook())
        overlay = app.overlay
        text = 'from dapp import expose\n@expose()\ndef hello():\n    "Say it."\n    return "hi"\n'
        changed = guestbook(functions__py=text, page__css="") | {"page/index.html": b"<p>new</p>"}
        again, was_there = await made.dapps.install(changed, "folder", None, None)
        assert was_there
        assert again is app
        assert app.overlay == overlay
        assert await made.dapps.call(app, "hello", {}) == "hi"
        assert (await made.dapps.files(app))["page/index.html"] == b"<p>new</p>"
        await refused(made.dapps.call(app, "sign", LINE), "method_unknown")
        stricter = guestbook(rules__py="# stricter\n" + guestbook()["rules.py"].decode())
        error = await refused(made.dapps.install(stricter, "folder", None, None), "already_exists")
        assert "migrate" in error.hint
        other = await made.ready(stricter, "second")
        assert other.overlay != overlay
        assert [one.name for one in made.dapps.apps()] == ["guestbook", "second"]


@in_loop
async def test_what_others_published_takes_the_place_of_an_app_only_by_its_name(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(guestbook())
        lying = guestbook(functions__py=ACCESS)
        error = await refused(made.dapps.install(lying, "bafyother", None, None), "already_exists")
        assert "--name guestbook" in error.hint
        await refused(made.dapps.install(lying, "bafyother", "game", None), "already_exists")
        assert "sign" in app.declared.functions
        again, _ = await made.dapps.install(lying, "bafyother", "guestbook", None)
        assert again is app
        assert "mine" in app.declared.functions
        await made.dapps.install(lying, "bafyother", None, None)  # from where it is
        await made.dapps.install(guestbook(), "folder", None, None)  # the person's own
        assert "sign" in app.declared.functions


@in_loop
async def test_a_removed_app_is_gone_and_its_chain_is_only_ended(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(guestbook())
        session = made.dapps.logins.session(app.row.number)
        await made.dapps.remove(app)
        assert made.dapps.apps() == []
        assert made.dapps.logins.admitted(session) is None
        asked = [operation for operation, _ in made.chains.asked]
        assert asked[-3:] == ["source.end", "validation.shut", "noting.dapp"]
        error = await refused(_app(made, "guestbook"), "not_found")
        assert "dapp install guestbook" in error.hint
        assert (await made.ready(guestbook())).state == "ready"


async def _app(made, name):
    return made.dapps.app(name)


@in_loop
async def test_an_app_that_does_not_begin_says_why_and_begins_when_it_is_installed_again(tmp_path):
    async with kit(tmp_path) as made:
        made.chains.failing["source.begin"] = Dms3Error("content_invalid", "No proof was given.")
        app = await made.ready(guestbook())
        assert app.state == "failed"
        error = await refused(made.dapps.call(app, "entries", {}), "not_ready")
        assert "No proof was given." in error.message
        made.chains.failing.clear()
        again = await made.ready(guestbook())
        assert again is app
        assert app.state == "ready"


@in_loop
async def test_more_apps_than_the_bound_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dms3.node.dapps.DAPPS_MAX", 1)
    assert DAPPS_MAX > 1
    async with kit(tmp_path) as made:
        await made.ready(guestbook())
        notes = read_folder(SHIPPED / "notes")
        await refused(made.dapps.install(notes, "folder", None, None), "limit_reached")


@in_loop
async def test_a_broken_rule_is_named_to_whoever_called(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(guestbook())
        entry = Cid.of(0x71, b"entry")
        made.chains.refusing = Rejected(
            "content_invalid",
            "Rule short (line 9) refuses it: too long.",
            rule="short",
            detail="too long",
            line=9,
            entry=entry,
            author=b"a" * 32,
        )
        error = await refused(made.dapps.call(app, "sign", LINE), "content_invalid")
        assert error.about == {
            "rule": "short",
            "line": 9,
            "detail": "too long",
            "entry": str(entry),
            "author": encode_base32(b"a" * 32),
        }


BUNDLES = """
from dapp import bundleClose, bundleStart, commit, expose

@expose()
def forgotten():
    bundleStart()
    commit("entry", {"text": "a", "name": ""})
    bundleClose(False)

@expose()
def unclosed():
    bundleStart()
    commit("entry", {"text": "a", "name": ""})

@expose()
def both():
    bundleStart()
    commit("entry", {"text": "a", "name": ""})
    commit("entry", {"text": "b", "name": ""})
    return bundleClose()

@expose()
def twice():
    bundleStart()
    bundleStart()
"""


@in_loop
async def test_a_bundle_is_one_commit_or_none(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(BUNDLES))
        done = await made.dapps.call(app, "both", {})
        commits = [given for name, given in made.chains.asked if name == "source.commit"]
        assert [len(commit.changes) for commit in commits] == [2]
        assert [set(one) for one in done] == [{"action", "entry"}] * 2
        await made.dapps.call(app, "forgotten", {})
        await refused(made.dapps.call(app, "unclosed", {}), "function_failed")
        await refused(made.dapps.call(app, "twice", {}), "argument_invalid")
        assert len([1 for name, _ in made.chains.asked if name == "source.commit"]) == 1


DEEP = """
from dapp import call, debug, emit, expose

@expose()
def deep(left):
    return call("", "deep", {"left": left - 1}) if left else "bottom"

@expose()
def often(times, name):
    for number in range(times):
        call("", "nothing", {}) if name == "call" else emit("x", "y")
    return times

@expose()
def wide(times):
    return [call("", "nothing", {}) for number in range(times)]

@expose()
def large(size):
    emit("x", "y" * size)

@expose()
def nothing():
    debug(["seen", 1])
"""


@in_loop
async def test_calls_of_calls_signals_and_questions_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("dms3.node.dapps_host.HOST_CALLS_MAX", 80)
    assert HOST_CALLS_MAX > 80
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(DEEP))
        call = made.dapps.call
        assert await call(app, "deep", {"left": CALLS_NESTED_MAX}) == "bottom"
        await refused(call(app, "deep", {"left": CALLS_NESTED_MAX + 1}), "limit_reached")
        assert len(await call(app, "wide", {"times": 40})) == 40  # 40 and what they ask: 80
        await refused(call(app, "wide", {"times": 41}), "limit_reached")
        given = {"times": SIGNALS_PER_CALL_MAX, "name": "emit"}
        assert await call(app, "often", given) == SIGNALS_PER_CALL_MAX
        await refused(call(app, "often", given | {"times": 65}), "limit_reached")
        await refused(call(app, "large", {"size": SIGNAL_BYTES_MAX}), "limit_reached")
        await call(app, "large", {"size": SIGNAL_BYTES_MAX - 16})
        assert ("guestbook", "seen 1") in made.said


ACCESS = """
from dapp import expose

@expose()
def mine():
    return "mine"

@expose("unrestricted")
def open():
    return "open"

@expose("assigned")
def given():
    return "given"

def receive(sender, body):
    return [sender, body]

def countersign(session):
    return session["kind"] == "entry" or None

def carry():
    return {"moves": 1}
"""


@in_loop
async def test_others_call_what_is_open_to_them_and_nothing_else(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(ACCESS))

        def asks(function, root=b"r" * 32, *, granted=False):
            body = {} if function else "hello"
            asked = Incoming(app.overlay, b"s" * 32, Root(root), function, body, granted=granted)
            return made.dapps.serve("receive", asked)

        assert await asks("open") == "open"
        await refused(asks("mine"), "forbidden")
        await refused(asks("mine", granted=True), "forbidden")
        await refused(asks("given"), "grant_missing")
        assert await asks("given", granted=True) == "given"
        assert await asks("mine", made.identity.root) == "mine"
        assert await asks("") == [encode_base32(b"s" * 32), "hello"]
        for private in ("receive", "carry", "nowhere"):
            await refused(asks(private), "method_unknown")
        made.dapps.check_grantable(app, "given")
        with pytest.raises(Dms3Error, match="for you alone"):
            made.dapps.check_grantable(app, "mine")
        assert await made.dapps.carried(app) == {"moves": 1}
        assert await made.dapps.call(app, "mine", {}) == "mine"
        await refused(made.dapps.call(app, "receive", {}), "method_unknown")
        assert isinstance(await made.dapps.serve("other", None), Failure)


@in_loop
async def test_one_app_does_not_take_all_places_for_calls(tmp_path, monkeypatch):
    monkeypatch.setattr("dms3.node.dapps_calling.CALLS_OF_APP_MAX", 2)
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(ACCESS))
        given = [made.dapps.call(app, "mine", {}) for _ in range(3)]
        found = await asyncio.gather(*given, return_exceptions=True)
        assert found[:2] == ["mine", "mine"]
        assert isinstance(found[2], Dms3Error)
        assert found[2].code == "node_busy"
        assert await made.dapps.call(app, "mine", {}) == "mine"


ASKING = """
from dapp import call, expose

@expose()
def ask(function):
    return call("asked", function, {})
"""


@in_loop
async def test_an_app_calls_what_another_app_opens_to_everybody_and_nothing_else(tmp_path):
    async with kit(tmp_path) as made:
        stricter = guestbook(rules__py="# other\n" + guestbook()["rules.py"].decode())
        await made.ready(stricter | {"functions.py": ACCESS.encode()}, "asked")
        app = await made.ready(with_functions(ASKING))
        assert await made.dapps.call(app, "ask", {"function": "open"}) == "open"
        for function in ("mine", "given"):
            await refused(made.dapps.call(app, "ask", {"function": function}), "forbidden")
        assert await made.dapps.call(made.dapps.app("asked"), "mine", {}) == "mine"


@in_loop
async def test_an_app_may_sign_by_itself_what_it_says_yes_to_and_the_rest_the_person(tmp_path):
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(ACCESS))
        one = Session(b"i" * 32, app.overlay, "entry", {}, (), (), 1, "proposed")
        other = Session(b"i" * 32, app.overlay, "other", {}, (), (), 1, "proposed")
        assert await made.dapps.serve("countersign", one) is True
        assert await made.dapps.serve("countersign", other) is None
        plain = await made.ready(read_folder(SHIPPED / "notes"))
        asked = Session(b"i" * 32, plain.overlay, "note", {}, (), (), 1, "proposed")
        assert await made.dapps.serve("countersign", asked) is None


@pytest.mark.parametrize(
    ("function", "arguments", "code"),
    [
        ("raw", {"name": "get", "given": {"hash": "no"}}, "argument_invalid"),
        ("raw", {"name": "get", "given": {"hash": 7}}, "argument_invalid"),
        ("raw", {"name": "get", "given": {}}, "argument_invalid"),
        ("raw", {"name": "getLinks", "given": {"base": "a", "limit": "x"}}, "argument_invalid"),
        ("raw", {"name": "getLinks", "given": {"base": ""}}, "argument_invalid"),
        ("raw", {"name": "activity", "given": {"agent": "nobody"}}, "argument_invalid"),
        ("raw", {"name": "revoke", "given": {"grant": "zz"}}, "argument_invalid"),
        ("raw", {"name": "propose", "given": {"kind": "a", "content": 1, "parties": 2}}, None),
        ("raw", {"name": "bundleClose", "given": {}}, "argument_invalid"),
        ("raw", {"name": "sign", "given": {"data": 0.5}}, "argument_invalid"),
    ],
)
@in_loop
async def test_what_a_function_asks_wrongly_is_refused_by_name(tmp_path, function, arguments, code):
    text = "import dapp\n@dapp.expose()\ndef raw(name, given):\n"
    text += "    return getattr(dapp, name)(**given)\n"
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(text))
        await refused(made.dapps.call(app, function, arguments), code or "argument_invalid")


@in_loop
async def test_signatures_of_agents_are_checked(tmp_path):
    text = """
from dapp import agent, expose, sign, verifySignature

@expose()
def both(data, other):
    mark = sign(data)
    return [verifySignature(mark, data, agent.key), verifySignature(mark, other, agent.key),
            verifySignature("aa", data, agent.key)]
"""
    async with kit(tmp_path) as made:
        app = await made.ready(with_functions(text))
        found = await made.dapps.call(app, "both", {"data": {"a": 1}, "other": {"a": 2}})
        assert found == [True, False, False]


@in_loop
async def test_while_the_runner_is_made_the_app_says_how_far_it_is(tmp_path):
    async with kit(tmp_path) as made:
        serve, ready = made.engine.serve, asyncio.Event()

        async def later(operation, program):
            if not ready.is_set():
                raise Dms3Error("not_ready", "The runner is being made.")
            return await serve(operation, program)

        class Phase:
            phase, seconds = "compiling", 3.0

        made.engine.serve, made.engine.making = later, Phase()
        app, _ = await made.dapps.install(guestbook(), "folder", None, None)
        while app.progress is None:
            app.changed.clear()
            await app.changed.wait()
        assert "Compiling the runner" in app.progress.text
        error = await refused(made.dapps.call(app, "entries", {}), "not_ready")
        assert "Compiling" in error.message
        made.engine.making = None
        ready.set()
        while app.state == "starting":
            app.changed.clear()
            await app.changed.wait()
        assert app.state == "ready"


@in_loop
async def test_an_app_goes_on_under_its_name_with_other_rules(tmp_path):
    async with kit(tmp_path) as made:
        old = await made.ready(with_functions(ACCESS))
        same = made.dapps.install_beside(old, guestbook(), "folder", None)
        await refused(same, "argument_invalid")
        stricter = guestbook(rules__py="# stricter\n" + guestbook()["rules.py"].decode())
        new = await made.dapps.install_beside(old, stricter, "folder", None)
        assert new.name == "guestbook-next"
        await made.dapps.take_over(old, new)
        assert [one.name for one in made.dapps.apps()] == ["guestbook"]
        assert made.dapps.app("guestbook") is new
    async with kit(tmp_path) as made:
        assert made.dapps.app("guestbook").overlay == new.overlay
