"""One installed app while the node runs: its parts, what it declares, its chain, its state.

Source: docs/dapps.md, "Running". `begin` brings it from its files to ready: rules are judged for
others first, then the own chain begins. Waits for the runner of the sandbox, and says how long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from dms3.chain.membrane import Open
from dms3.chain.operations import Begin, ChainHead
from dms3.chain.operations_validation import OpenApp
from dms3.chain.values import encode_values
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, Root
from dms3.core.multibase import encode_base32
from dms3.crypto.keys import GENERATION_MAX, KeyTree
from dms3.crypto.signing import SigningKey
from dms3.io.dapp_tables import DappRow
from dms3.node.dapps_parts import Parts
from dms3.node.dapps_sandbox import Declared, Sandbox
from dms3.node.table import Progress

Call = Callable[[str, Any], Awaitable[Any]]
_LOOK_SECONDS = 0.25  # between two looks at a runner that is being compiled


class Person(Protocol):
    """Whose node this is, on which device (`node/identity.py`)."""

    @property
    def root(self) -> Root:
        """The person's public key."""
        ...

    @property
    def device(self) -> bytes:
        """This home's device."""
        ...

    @property
    def tree(self) -> KeyTree:
        """The person's keys."""
        ...


@dataclass(slots=True, eq=False)
class App:
    """An app: `row` and `parts` from its files, the rest since it has begun."""

    row: DappRow
    parts: Parts
    proof: Any = None
    state: Literal["starting", "ready", "failed"] = "starting"
    problem: str = ""
    progress: Progress | None = None
    declared: Declared = field(default_factory=Declared)
    head: ChainHead | None = None
    kept_who: tuple[bytes, dict[str, str]] | None = None  # made once for each key: it is slow
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.row.name

    @property
    def overlay(self) -> OverlayId:
        """Its overlay, which is the id of its DNA."""
        return self.parts.dna.id

    def check_ready(self) -> None:
        """Raises `not_ready` while it begins, or what it failed with."""
        if self.state == "ready":
            return
        if self.state == "failed":
            raise Dms3Error("not_ready", f"The app {self.name} does not run: {self.problem}")
        done = f" ({self.progress.text})" if self.progress and self.progress.text else ""
        raise Dms3Error(
            "not_ready", f"The app {self.name} is starting{done}.", hint="Ask again in a moment."
        )

    def who(self, person: Person) -> dict[str, str]:
        """Who this node is in the app, as functions read it."""
        assert self.head is not None, "a chain has begun"
        agent = self.head.agent
        if self.kept_who is None or self.kept_who[0] != agent:
            found = {"key": encode_base32(agent), "person": encode_base32(person.root)}
            self.kept_who = (agent, found)
        return self.kept_who[1]

    def rotated(self, head: ChainHead) -> None:
        """Its agent has another key from now on."""
        self.head = head

    def set(self, state: Literal["starting", "ready", "failed"], problem: str = "") -> None:
        """The state changes; whoever waits is told."""
        self.state, self.problem = state, problem
        self.changed.set()


async def enter(app: App, call: Call, certificate: bytes) -> None:
    """Judge and hold for `app` from now on; again: with another proof or `certificate`.

    Raises `not_admitted` where its membrane does not let this person in.
    """
    dna = app.parts.dna
    is_open = isinstance(dna.gates.outer, Open)
    asked = OpenApp(dna) if is_open else OpenApp(dna, proof_of(app), certificate)
    await call("validation.open", asked)


def proof_of(app: App) -> bytes:
    """The membrane proof of this person; ValueError when it is no JSON that can be kept."""
    return b"" if app.proof is None else encode_values(app.proof, "proof")


async def begin(app: App, call: Call, sandbox: Sandbox, certificate: bytes = b"") -> None:
    """Bring `app` to ready; what goes wrong is its state, never an exception.

    `certificate`: of this node, for an app with a membrane.
    """
    try:
        await enter(app, call, certificate)
        app.declared = await _declared(app, sandbox)
        proof = proof_of(app)
        app.head = await call("source.begin", Begin(app.parts.dna, proof))
    except Dms3Error as error:
        app.set("failed", str(error))
    except ValueError as error:
        app.set("failed", f"The proof cannot be kept: {error}.")
    else:
        app.set("ready")


async def end(app: App, call: Call) -> None:
    """Publish, judge and hold no more for `app`; its chain stays."""
    await call("source.end", app.overlay)
    await call("validation.shut", app.overlay)
    app.set("failed", "It was removed.")


async def _declared(app: App, sandbox: Sandbox) -> Declared:
    """What the app declares, as soon as the sandbox can say."""
    while True:
        app.progress = sandbox.progress()
        try:
            return await sandbox.declared(app.parts)
        except Dms3Error as error:
            if error.code != "not_ready":
                raise
        app.changed.set()
        await asyncio.sleep(_LOOK_SECONDS)


def agent_key(app: App, person: Person) -> SigningKey:
    """The key of this device's agent in `app`."""
    assert app.head is not None, "a chain has begun"
    generation = 0
    while generation <= GENERATION_MAX:
        key = person.tree.agent(person.device, app.overlay, generation)
        if key.public == app.head.agent:
            return key
        if generation >= _GENERATIONS_TRIED_MAX:
            break
        generation += 1
    raise Dms3Error("internal", f"No key of this device writes for {app.name}.")


_GENERATIONS_TRIED_MAX = 1_024  # rotations of one agent; each is a command of a person
