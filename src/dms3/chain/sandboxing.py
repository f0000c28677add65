"""What the node asks of port "sandbox": judge an operation, call a function. Types only.

Source: docs/sandbox.md; docs/architecture.md, "The machine" (Call). `io/sandbox.py` is the port of
a node, `io/sandbox_engine.py` the same in one process for simulations. Judging is pure: whatever
a rule reads beyond its operation comes in `known`, and what is not there ends it Unresolved.

| call | arguments | answer |
|---|---|---|
| `sandbox.load` | Program | Loaded: the declarations that the program makes |
| `sandbox.judge` | Judge | Judged |

Functions are called with `io/sandbox.py:Sandbox.call(CallFunction, host)`, where `host` is asked
whatever the function asks the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dms3.core.units import MIB
from dms3.core.verdict import Verdict

PYTHON = "python-1"
WASM = "wasm-1"


@dataclass(frozen=True, slots=True)
class Program:
    """The rules of a DNA, or the functions of an app beside it (`part`).

    `source`: Python text (level python-1) or a WASM module (rules at level wasm-1). `dna`: its id,
    32 bytes; `properties`: JSON values of the DNA. `fuel` and `memory` (bytes): bounds of one
    judging or call.
    """

    dna: bytes
    level: str
    source: bytes = field(repr=False)
    properties: Mapping[str, Any] = field(default_factory=dict)
    part: Literal["rules", "functions"] = "rules"
    fuel: int = 500_000_000
    memory: int = 96 * MIB


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a program declares: its rules (name, line, first line of the docstring), its functions.

    A function: name, access (own: this person alone; unrestricted, transferable, assigned: agents
    of others; "callback" for init, receive and others that only the node calls), line, first line
    of the docstring.
    """

    rules: tuple[tuple[str, int, str], ...]
    functions: tuple[tuple[str, str, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Judge:
    """Judge one operation by the rules of `program`.

    `action`: the action as JSON values (see `chain/action.py:plain`), with its "hash"; `entry`:
    the entry's content as JSON values, None when there is none (or it is private).
    `known`: what rules may read beyond that: (question, answer) pairs, where a question is
    "entry:HASH", "action:HASH", "record:HASH" or "activity:AGENT:HASH" (all actions of AGENT up to
    HASH) and an answer JSON values.
    """

    program: Program
    action: Mapping[str, Any]
    entry: Any
    known: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """`verdict`; Unresolved names the questions as bytes. `fuel`: what the judging has used."""

    verdict: Verdict
    fuel: int


@dataclass(frozen=True, slots=True)
class CallFunction:
    """Call `function` of `program` (its part "functions") with `arguments`, JSON values.

    A mapping is passed by name, a list by place. `agent`, `person`: who this node is in the app,
    as text. `callback`: init, receive or post_commit, which the node alone calls. `seconds`: how
    long it may take, waiting for the node included.
    """

    program: Program
    function: str
    arguments: Mapping[str, Any] | list[Any] = field(default_factory=dict, repr=False)
    agent: str = ""
    person: str = ""
    callback: bool = False
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Called:
    """What the function has returned, JSON values; `fuel` that it used; `asked`: host calls."""

    value: Any
    fuel: int
    asked: int = 0
