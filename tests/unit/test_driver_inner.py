"""The driver: what machines of one node tell each other is heard at once, and kept together."""

from __future__ import annotations

from typing import Any

from dms3.core.machine import Answered, Call, Called, Cancel, Persist, Reply, Send
from dms3.core.ports import AskPort, Finish
from dms3.sim.disk import Disk
from unit.driver_kit import GOSSIP, PEER, Bench, Script, bodies, token


def writer(**more: Any) -> Script:
    """Writes, asks machine two, and says so to a peer when it has the answer."""
    rules: dict[Any, Any] = {
        b"go": [Persist("t", b"one", b"1"), Call("two.keep", None, token("t"))],
        Answered: [Send(PEER, GOSSIP, b"done")],
    }
    return Script(rules | more)


def keeper() -> Script:
    """Writes what it is asked to."""
    return Script(
        {"keep": lambda asked: [Persist("t", b"two", b"2"), Reply(asked.request, "kept")]}
    )


def test_what_two_machines_write_for_one_event_is_one_transaction() -> None:
    bench = Bench(one=writer(), two=keeper())
    bench.tell(b"go")
    assert bench.step() == [], "it left before anything was durable"
    assert [write.key for write in bench.pending.writes] == [b"one", b"two"]
    assert bodies(bench.commit()) == [b"done"]
    assert bench.pending is None, "a second transaction for the same event"


def test_whoever_has_heard_what_is_not_durable_waits_for_it() -> None:
    def tell(asked: Called) -> list[Any]:
        return [Send(PEER, GOSSIP, b"heard"), Reply(asked.request, None)]

    bench = Bench(one=writer(), two=Script({"keep": tell, "ask": tell}))
    bench.tell(b"go")
    assert bench.step() == []
    bench.driver.call("two.ask", None, print)
    assert bench.step() == [], "its memory may rest on what is lost in a crash"
    released = bench.commit()
    assert bodies(released) == [b"heard", b"done", b"heard", None]
    bench.driver.call("two.ask", None, print)
    assert bodies(bench.step()) == [b"heard", None], "nothing is left to wait for"


def test_a_crash_before_the_commit_loses_both() -> None:
    disk = Disk()
    bench = Bench(one=writer(), two=keeper(), disk=disk)
    bench.tell(b"go")
    bench.step()
    again = Bench(one=writer(), two=keeper(), disk=disk)
    assert again.scripts["one"].view.get("t", b"one") is None
    assert again.scripts["two"].view.get("t", b"two") is None
    assert again.actions == []


def test_who_asks_during_a_commit_waits_for_the_next_one() -> None:
    bench = Bench(one=writer(), two=keeper())
    bench.tell(b"go")
    bench.step()
    bench.tell(b"go")
    bench.step()
    assert bodies(bench.commit()) == [b"done"]
    assert bodies(bench.commit()) == [b"done"]


def test_an_effect_of_the_same_token_is_not_overtaken() -> None:
    effects = [
        Persist("t", b"k", b"v"),
        Call("port.work", None, token("t")),
        Cancel(token("t")),
        Call("two.keep", None, token("t")),
    ]
    bench = Bench(one=Script({b"go": effects}), two=keeper())
    bench.tell(b"go")
    assert bench.step() == []
    assert bench.scripts["two"].seen == [], "heard before what was said before it"
    asked, _forgotten = bench.commit()
    assert isinstance(asked, AskPort)
    bench.step()
    assert [type(event) for event in bench.scripts["two"].seen] == [Called]


def test_a_command_hears_nothing_before_it_is_durable() -> None:
    said: list[Any] = []
    one = Script({"write": lambda asked: [Call("two.keep", asked.request, token("t"))]})
    requests: list[Any] = []

    def keep(asked: Called) -> list[Any]:
        requests.append(asked.arguments)
        return [Persist("t", b"two", b"2"), Reply(asked.request, "kept")]

    one.rules[Answered] = lambda _: [Reply(requests[0], "written")]
    bench = Bench(one=one, two=Script({"keep": keep}))
    bench.driver.call("one.write", None, said.append)
    assert bench.step() == []
    (finish,) = bench.commit()
    assert isinstance(finish, Finish)
    assert finish.body == "written"
