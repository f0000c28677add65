"""Port "sandbox" as the apps of a node use it: readiness, declarations, calls.

Source: docs/sandbox.md; `chain/sandboxing.py`. Only words: what runs where is the port's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dms3.chain.sandboxing import Called, CallFunction, Loaded
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import CALL_SECONDS_MAX
from dms3.node.dapps_parts import Parts
from dms3.node.table import Progress

Host = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
CALLBACK = "callback"
OWN = "own"  # the person of this node alone
_PHASES = {
    "waiting": "Waiting for another node that makes the runner of apps",
    "building": "Building the runner of apps, once on this machine",
    "compiling": "Compiling the runner of apps, once on this machine",
    "ready": "Starting",
}
UNRESTRICTED = "unrestricted"  # every agent of the app


@dataclass(frozen=True, slots=True)
class Function:
    """A function of an app: who may call it ("callback": the node alone), its line, its words."""

    name: str
    access: str
    line: int
    doc: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of an app: its line, its words."""

    name: str
    line: int
    doc: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What the texts of an app declare; `functions` by name."""

    rules: tuple[Rule, ...] = ()
    functions: Mapping[str, Function] = field(default_factory=dict)

    def exposed(self) -> list[Function]:
        """What can be called from outside."""
        return [one for one in self.functions.values() if one.access != CALLBACK]

    def has_callback(self, name: str) -> bool:
        """Whether the node has something to call."""
        found = self.functions.get(name)
        return found is not None and found.access == CALLBACK


@dataclass(frozen=True, slots=True)
class Asked:
    """A call: `arguments` by name; `who` the function runs for; `host` answers what it asks.

    `callback`: of one that only the node calls.
    """

    function: str
    arguments: Mapping[str, Any]
    who: Mapping[str, str]
    host: Host
    callback: bool = False


class Phase(Protocol):
    """How far the runner is."""

    @property
    def phase(self) -> str:
        """What is being done."""
        ...

    @property
    def seconds(self) -> float:
        """For how long."""
        ...


class Engine(Protocol):
    """The sandbox of a node (`io/sandbox.py`)."""

    @property
    def making(self) -> Phase | None:
        """How far the runner is; None when it is there, or nobody has looked yet."""
        ...

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Its port."""
        ...

    async def call(self, asked: CallFunction, host: Host) -> Called:
        """Call a function, whose questions `host` answers."""
        ...


class Sandbox:
    """The sandbox of this node, as apps use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def progress(self) -> Progress | None:
        """How far the runner's first making is; None when it can be used."""
        making = self._engine.making
        if making is None:
            return None
        text = f"{_PHASES.get(making.phase, making.phase)}, {making.seconds:.0f} s so far"
        return Progress(int(making.seconds), None, "seconds", text)

    async def declared(self, parts: Parts) -> Declared:
        """What the rules and functions declare; raises what is wrong with the text."""
        rules: Loaded = await self._engine.serve("load", parts.program)
        functions = Loaded(())
        if parts.functions:
            functions = await self._engine.serve("load", parts.code)
        return Declared(
            tuple(Rule(*one) for one in rules.rules),
            {one[0]: Function(*one) for one in functions.functions},
        )

    async def call(self, parts: Parts, asked: Asked) -> Any:
        """What a function returns, JSON values; raises what it fails with."""

        async def host(name: str, arguments: Mapping[str, Any]) -> Any:
            try:
                return await asked.host(name, arguments)
            except Dms3Error as error:
                return Failure.of(error)

        call = CallFunction(
            parts.code,
            asked.function,
            asked.arguments,
            asked.who["key"],
            asked.who["person"],
            callback=asked.callback,
            seconds=CALL_SECONDS_MAX,
        )
        called = await self._engine.call(call, host)
        return called.value
