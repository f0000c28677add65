"""Nodes of a test in one process on simulated time: call their functions, part them, kill them.

Source: docs/testing.md. `Nodes` is what `dms3.testing.network` gives; every method advances the
world as far as it needs and no farther. Nothing here sleeps or opens a socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from dms3.chain.operations import Change, Commit
from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US
from dms3.core.multibase import encode_base32
from dms3.node import dapps_shown as shown
from dms3.testing import looking, sandboxes
from dms3.testing.byzantine import way_of
from dms3.testing.looking import Refusal
from dms3.testing.machines import Overlay
from dms3.testing.making import Making, proofs_of
from dms3.testing.member import Member
from dms3.testing.tasks import Task, ask

NAMES = (
    *("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"),
    *("kim", "leo", "mallory", "nina", "olivia", "peggy", "quinn", "rupert", "sybil", "trent"),
)
NODES_MAX = 64  # everybody hears of everything: the work grows with the square
CALL_SECONDS = 60  # of virtual time, as a real node lets a call take
SETTLE_SECONDS_MAX = 900  # of virtual time: three of the longest pauses of publishing
_STEP_US = 5_000  # between two looks at whether something is over
_LOOK_US = 200_000
_STILL_US = 3 * _LOOK_US  # without an event: nothing is on its way


class Started:
    """A call under way; `result()` advances the world until it is over."""

    def __init__(self, nodes: Nodes, task: Task[Any]) -> None:
        self._nodes = nodes
        self._task = task

    @property
    def over(self) -> bool:
        """Whether it has returned, or failed."""
        return self._task.over

    def result(self) -> Any:
        """What the function has returned; raises what it fails with."""
        return self._nodes.wait(self._task)


class Node:
    """One node: `name`; what its page was told (`signals`); what its app wrote (`log`)."""

    def __init__(self, nodes: Nodes, name: str, member: Member) -> None:
        self._nodes = nodes
        self.name = name
        self.member = member

    def __repr__(self) -> str:
        return f"<node {self.name}>"

    @property
    def agent(self) -> str:
        """Its agent in the app, as functions and links name it."""
        head = self.member.app.head
        if head is None:
            raise Dms3Error("not_ready", f"{self.name} has no chain: {self.problem or self.state}.")
        return encode_base32(head.agent)

    @property
    def person(self) -> str:
        """The person behind it."""
        return encode_base32(self.member.person.root)

    @property
    def state(self) -> str:
        """starting, ready, failed (`problem` says why), or down."""
        return self.member.app.state if self.member.sim.driver is not None else "down"

    @property
    def problem(self) -> str:
        """Why the app does not run here."""
        return self.member.app.problem

    @property
    def signals(self) -> list[tuple[str, Any]]:
        """What `emit` has told its page: name and value."""
        return self.member.signals

    @property
    def log(self) -> list[str]:
        """What `debug` has said, and callbacks that failed."""
        return self.member.log

    def call(self, function: str, /, **arguments: Any) -> Any:
        """What an exposed function of the app returns to the person of this node.

        Raises Dms3Error with what it fails with; of a refused commit `about` names the rule.
        """
        return self.start(function, **arguments).result()

    def start(self, function: str, /, **arguments: Any) -> Started:
        """Begin a call, without waiting for it."""
        return self._nodes.start_call(self, function, arguments)

    def ask(self, operation: str, arguments: Any = None) -> Any:
        """What a machine of the node answers; `chain/operations.py` has the operations."""
        return self._nodes.wait(self.member.task(ask(operation, arguments)))

    def put(self, kind: str, content: Any) -> dict[str, Any]:
        """Write an entry past the functions of the app; the hashes of its action and entry."""
        change = Change("create", kind, content)
        done = self.ask("source.commit", Commit(self._nodes.making.overlay, (change,)))
        return shown.committed(done, 0)

    def finds(self, text: bytes) -> list[str]:
        """The tables on the disk of this node in which `text` stands."""
        return self.member.sim.disk.tables_with(text)

    def refuses(self, function: str, /, **arguments: Any) -> str:
        """The name of the rule that refuses what a function writes; AssertionError if none does."""
        try:
            value = self.call(function, **arguments)
        except Dms3Error as error:
            if error.about and "rule" in error.about:
                return str(error.about["rule"])
            raise
        raise AssertionError(f"no rule refused it: {function} returned {value!r}")


class Nodes:
    """The nodes of a test; `nodes["alice"]`, `nodes[0]`, and a loop over all."""

    def __init__(
        self,
        names: Sequence[str],
        dapp: str | Path,
        seed: int,
        proofs: Mapping[str, Any],
        overlay: Overlay,
    ) -> None:
        self.seed = seed
        self.making = Making(sandboxes.parts_at(dapp), seed, proofs_of(names, proofs), overlay)
        self.patience = CALL_SECONDS
        self._world = self.making.world
        members = zip(names, self.making.members, strict=True)
        self._nodes = {name: Node(self, name, member) for name, member in members}
        self._liars: dict[str, str] = {}
        self._closed = False
        apart = self.making.may_share
        self.making.start(apart=apart)
        self._until(self._begun, "an app begins")
        if apart:
            self.run(seconds=_WRITTEN_SECONDS)
            self.making.share()
            self._until(self._begun, "an app begins")
        for node in self:
            if node.state == "failed" and node.name not in proofs:
                raise Dms3Error("not_ready", f"{node.name}: {node.problem}")
        self.settle()

    # As a collection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"The network of this test has seed {self.seed}.")
        self.close()

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __getitem__(self, which: str | int) -> Node:
        if isinstance(which, int):
            return list(self._nodes.values())[which]
        if which not in self._nodes:
            raise KeyError(f"no node is called {which!r}; there are {', '.join(self._nodes)}")
        return self._nodes[which]

    def close(self) -> None:
        """End what is still running."""
        if not self._closed:
            self._closed = True
            for node in self:
                node.member.end_tasks("The test is over.")

    # Time

    @property
    def time(self) -> float:
        """Virtual seconds since the nodes started."""
        return self._world.time_us / SECOND_US

    @property
    def trace(self) -> str:
        """A digest of everything that has happened: equal for equal seeds and equal tests."""
        return self._world.trace.digest()

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._world.run(self._world.time_us + int(seconds * SECOND_US))

    def settle(self, seconds: float = SETTLE_SECONDS_MAX) -> None:
        """Let time pass until everything is published, judged and quiet.

        AssertionError, with who waits for what, when it is not after so many virtual seconds.
        """
        until_us = self._world.time_us + int(seconds * SECOND_US)
        events, still_us = -1, 0
        while still_us < _STILL_US:
            if any(self._busy(node) for node in self._running()):
                still_us = 0
                if self._world.time_us >= until_us:
                    raise AssertionError(f"not quiet after {seconds:g} s: {self._unquiet()}")
            elif self._world.trace.events == events or self._world.time_us >= until_us:
                still_us += _LOOK_US
            events = self._world.trace.events
            self._world.run(self._world.time_us + _LOOK_US)

    def wait(self, task: Task[Any]) -> Any:
        """What `task` returns; raises what it raises, `timed_out` after `patience`."""
        self._until(lambda: task.over, "a function", task)
        return task.value

    def start_call(self, node: Node, function: str, arguments: Mapping[str, Any]) -> Started:
        """Begin a call of a function at `node`."""
        if node.state == "down":
            raise Dms3Error("node_unreachable", f"{node.name} is down.")
        member = node.member
        given = dict(arguments)
        if self._liars.get(node.name) == "forks":
            self._fork(node, function, given)
        call = member.calls.call(member.app, function, given)
        return Started(self, member.task(call))

    # Faults

    def partition(self, *groups: Sequence[str | int]) -> None:
        """Only nodes of one group hear each other; who is in none is alone with the others so."""
        named = [{self[which].member.sim.index for which in group} for group in groups]
        taken = [index for group in named for index in group]
        if len(taken) != len(set(taken)):
            raise Dms3Error("argument_invalid", "A node is in two groups.")
        rest = {node.member.sim.index for node in self} - set(taken)
        self.making.weather.split([*map(sorted, named), sorted(rest)])
        self._world.network.rewired()

    def heal(self) -> None:
        """All nodes hear each other again; crashed ones stay down."""
        self.making.weather.heal(self._world)

    def crash(
        self,
        which: str | int,
        *,
        when: Literal["now", "writing", "written"] = "now",
        transactions: int = 1,
    ) -> None:
        """Kill a node: now; or while its next transaction is written, which is lost; or just after.

        `transactions`: which of the next, 1 for the very next. Nothing is said after the crash.
        """
        member = self[which].member
        if when == "now":
            member.sim.crash(durable=False)
        else:
            member.crash_at, member.crash_durable = transactions, when == "written"
            member.counted = member.sim.committing
        self._world.run(self._world.time_us)

    def restart(self, which: str | int) -> None:
        """Start a crashed node from its disk, and wait until its app runs."""
        node = self[which]
        node.member.crash_at = 0
        self._world.restart(node.member.sim)
        self._until(lambda: node.state != "starting", f"{node.name} starts")

    def clock(self, which: str | int, seconds: float) -> None:
        """Move the wall clock of a node, forwards or back."""
        sim = self[which].member.sim
        sim.wall_offset_us += int(seconds * SECOND_US)
        sim.step()

    def byzantine(self, which: str | int, way: str) -> None:
        """From now on a node lies; "" makes it honest again.

        skips_own_rules: it writes whatever it is told, whoever refuses it. forks: each of its calls
        is made twice from one head of its chain. alters_answers: one bit of what it answers to
        peers is another. silent: it takes questions and answers none.
        """
        node = self[which]
        node.member.conduct.way = way_of(way) if way else ""
        if way:
            self._liars[node.name] = way
        else:
            self._liars.pop(node.name, None)

    # What is so

    def rejected(self) -> list[Refusal]:
        """What honest running nodes have refused, whoever wrote it."""
        names = {node.agent: node.name for node in self if node.member.app.head is not None}
        found: list[Refusal] = []
        for node in self._honest():
            found += looking.refusals(node.member.sim, node.name, self.making.overlay, names)
        return found

    def views(self) -> dict[str, str]:
        """A digest of what each running honest node holds of the app."""
        overlay = self.making.overlay
        return {node.name: looking.view_of(node.member.sim, overlay) for node in self._honest()}

    def same_view(self, *which: str | int) -> None:
        """AssertionError unless the nodes hold the same: those named, or all honest ones that run.

        Up to 12 nodes everybody holds everything; of more only who is near.
        """
        views = self.views()
        chosen = [self[each].name for each in which] or list(views)
        if len({views[name] for name in chosen}) > 1:
            raise AssertionError(self._differences(chosen))

    # Inside

    def _running(self) -> list[Node]:
        return [node for node in self if node.state != "down"]

    def _honest(self) -> list[Node]:
        return [node for node in self._running() if node.name not in self._liars]

    def _busy(self, node: Node) -> bool:
        """Whether it has something to do, and somebody to do it with.

        Who lies never signs for what others publish, so they try for ever.
        """
        if node.member.tasks or looking.judging(node.member.sim):
            return True
        index, blocked = node.member.sim.index, self.making.weather.blocked
        others = [other for other in self._running() if other is not node]
        alone = all(blocked(index, other.member.sim.index) for other in others)
        return not alone and not self._liars and looking.publishing(node.member.sim) > 0

    def _unquiet(self) -> str:
        said = []
        for node in self._running():
            sim = node.member.sim
            for what, count in (
                ("calls under way", len(node.member.tasks)),
                ("actions to publish", looking.publishing(sim)),
                ("actions to judge", looking.judging(sim)),
            ):
                if count:
                    said.append(f"{node.name} has {count} {what}")
        return ", ".join(said)

    def _begun(self) -> bool:
        return all(node.state != "starting" for node in self)

    def _until(self, over: Any, what: str, task: Task[Any] | None = None) -> None:
        until_us = self._world.time_us + int(self.patience * SECOND_US)
        while not over():
            if self._world.time_us >= until_us:
                why = f"{what} is not over after {self.patience:g} s"
                if task is not None:
                    task.end(why)
                raise Dms3Error("timed_out", f"{why}.")
            self._world.run(self._world.time_us + _STEP_US)

    def _fork(self, node: Node, function: str, arguments: Mapping[str, Any]) -> None:
        """Make the call once, publish it, and forget that it was made."""
        member = node.member
        before = member.sim.disk.copy()
        del self._liars[node.name]
        try:
            node.call(function, **arguments)
            self.run(_FORK_SECONDS)
        finally:
            self._liars[node.name] = "forks"
        self.crash(node.name)
        member.sim.disk = before
        self.restart(node.name)

    def _differences(self, names: Sequence[str]) -> str:
        overlay = self.making.overlay
        held = {name: looking.held(self[name].member.sim, overlay) for name in names}
        every = sorted({action for rows in held.values() for action in rows})
        lines = ["the nodes hold different things:"]
        for action in every:
            states = {name: rows.get(action, "nothing") for name, rows in held.items()}
            if len(set(states.values())) > 1:
                said = ", ".join(f"{name} {state}" for name, state in states.items())
                lines.append(f"{action}: {said}")
        return "\n".join(lines[:20])


_WRITTEN_SECONDS = 0.1  # what has begun is on the disk
_FORK_SECONDS = 2  # others hear of the first branch


def names_of(nodes: int | Sequence[str]) -> list[str]:
    """The names of so many nodes, or those given; raises `argument_invalid`."""
    if isinstance(nodes, int):
        numbered = [f"node-{number}" for number in range(len(NAMES), nodes)]
        named = [*NAMES[:nodes], *numbered]
    else:
        named = list(nodes)
    if not 0 < len(named) <= NODES_MAX or len(set(named)) != len(named):
        raise Dms3Error(
            "argument_invalid", f"A network has 1 to {NODES_MAX} nodes with different names."
        )
    return named


def network(
    nodes: int | Sequence[str] = 5,
    dapp: str | Path = "guestbook",
    *,
    seed: int = 0,
    proofs: Mapping[str, Any] | None = None,
    overlay: Overlay = "known",
) -> Nodes:
    """See `dms3.testing.network`."""
    return Nodes(names_of(nodes), dapp, seed, dict(proofs or {}), overlay)
