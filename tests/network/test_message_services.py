"""Messages over delivery services that others run: killed one after the other, and a day away."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from network import running as network_running
from network import shifted
from network.running import Running, running, wait_until
from network.test_messages import rows, send, state, texts

DAY_US = 24 * 3600 * 1_000_000


class World:
    """Nodes in `folder`: dave and erin carry messages for alice and bob, who have cards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stacks: dict[str, contextlib.ExitStack] = {}
        self.nodes: dict[str, Running] = {}
        self._ports: dict[str, str] = {}
        self._public: dict[str, str] = {}

    def start(self, name: str) -> Running:
        """Start a node, at the addresses it had before."""
        words = ["--name", name]
        if name in ("dave", "erin"):
            public = self._public.get(name, "127.0.0.1:0")
            words += ["--role", "delivery", "--public", public]
        if "dave" in self._ports:
            words += ["--join", self._ports["dave"]]
        stack = contextlib.ExitStack()
        node = stack.enter_context(running(self.folder / name, *words))
        self._stacks[name], self.nodes[name] = stack, node
        if name in ("dave", "erin"):
            self._ports[name] = node.data["address"]
            self._public[name] = node.data["public"].removeprefix("http://")
        return node

    def stop(self, name: str) -> None:
        """Stop a node as people do."""
        self._stacks.pop(name).close()

    def kill(self, name: str) -> None:
        """kill -9."""
        self.nodes[name].process.kill()
        with contextlib.suppress(AssertionError):
            self._stacks.pop(name).close()
        assert self.nodes[name].process.returncode == -signal.SIGKILL

    def close(self) -> None:
        """Stop whatever runs."""
        for name in list(self._stacks):
            self.stop(name)


@pytest.fixture(name="world")
def fixture_world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        populate(world)
        yield world
    finally:
        world.close()


def populate(world: World) -> None:
    for name in ("dave", "erin", "alice", "bob"):
        world.start(name)
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    bob.call("contact", "add", card=alice.call("contact", "card")["card"])
    alice.call("contact", "add", card=bob.call("contact", "card")["card"])
    for service in ("dave", "erin"):
        name = world.nodes[service].call("name", "list")["service_name"]
        for person in (alice, bob):
            wait_until(lambda person=person, name=name: carries(person, name))


def carries(person: Running, name: str) -> bool:
    return bool(person.call("message", "carry", name=name)["reachable"])


def sent(alice: Running, some: list[str]) -> bool:
    """Whether a service, or bob, has each of them."""
    return {state(alice, "bob", one) for one in some} <= {"sent", "delivered", "read"}


def everything(node: Running, name: str, expected: list[str]) -> None:
    """Each text once, in order."""
    wait_until(lambda: len(rows(node, name)) >= len(expected), 60)
    assert texts(node, name) == expected


def test_services_come_and_go_and_every_message_arrives_once(world: World) -> None:
    alice, bob = world.nodes["alice"], world.nodes["bob"]
    expected = ["0"]
    send(alice, "bob", "0")
    everything(bob, "alice", expected)

    world.stop("bob")  # both services keep it; one is killed before bob returns
    some = [send(alice, "bob", text) for text in ("1", "2", "3")]
    expected += ["1", "2", "3"]
    wait_until(lambda: sent(alice, some))
    world.kill("dave")
    bob = world.start("bob")
    everything(bob, "alice", expected)
    assert all(row["information"] == "" for row in rows(bob, "alice"))

    world.start("dave")  # it still has them: nothing is there twice
    bob.call("message", "fetch")
    everything(bob, "alice", expected)
    send(bob, "alice", "Thank you.")
    wait_until(lambda: "Thank you." in texts(alice, "bob"))
    expected.append("Thank you.")

    world.stop("bob")  # nobody is there to take anything
    world.kill("dave")
    world.kill("erin")
    some = [send(alice, "bob", text) for text in ("4", "5")]
    expected += ["4", "5"]
    wait_until(lambda: all(problem(alice, one) for one in some[:1]), 60)
    assert {state(alice, "bob", one) for one in some} == {"queued"}
    world.start("dave")
    world.start("erin")
    bob = world.start("bob")
    everything(bob, "alice", expected)
    everything(alice, "bob", expected)


def problem(node: Running, message: str) -> str:
    found: list[dict[str, Any]] = [row for row in rows(node, "bob") if row["hash"] == message]
    return str(found[0]["problem"])


def test_a_day_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = tmp_path / "clock"
    shifted.shift(clock, 0)
    plain = network_running.command

    def command(home: Path, *words: str) -> list[str]:
        return [sys.executable, shifted.__file__, str(clock), *plain(home, *words)[3:]]

    monkeypatch.setattr(network_running, "command", command)
    world = World(tmp_path)
    try:
        populate(world)
        alice = world.nodes["alice"]
        expected = []
        world.stop("bob")
        for quarter in range(5):
            shifted.shift(clock, quarter * DAY_US // 4)
            one = send(alice, "bob", f"after {6 * quarter} hours")
            expected.append(f"after {6 * quarter} hours")
            wait_until(lambda one=one: sent(alice, [one]))
            if quarter == 2:
                world.stop("erin")
        bob = world.start("bob")
        everything(bob, "alice", expected)
        places = [row["order_us"] for row in rows(bob, "alice")]
        assert places == sorted(places)
        assert places[-1] - places[0] > 23 * 3600 * 1_000_000
        wait_until(lambda: state(alice, "bob", one) == "delivered", 60)
    finally:
        world.close()
