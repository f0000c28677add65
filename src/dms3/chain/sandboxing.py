"""What the node asks of port "sandbox": judge an operation, call a function. Types only.

Source: docs/sandbox.md; docs/architecture.md, "The machine" (Call). `io/sandbox.py` is the port of
a node, `io/sandbox_engine.py` the same in one process for simulations. Judging is pure: whatever
a rule reads beyond its operation comes in `known`, and what is not there ends it Unresolved.

| call | arguments | answer |
|---|---|---|
| `sandbox.load` | Program | Loaded: the declarations that the program makes |
| `sandbox.judge` | Judge | Judged |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dms3.core.verdict import Verdict

PYTHON = "python-1"
WASM = "wasm-1"


@dataclass(frozen=True, slots=True)
class Program:
    """The integrity rules of a DNA: `source` is Python text (level python-1) or a WASM module.

    `dna`: its id, 32 bytes, under which it is kept loaded; `properties`: JSON values of the DNA.
    """

    dna: bytes
    level: str
    source: bytes = field(repr=False)
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a program declares: names of its rules, with line and first line of their docstring."""

    rules: tuple[tuple[str, int, str], ...]


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
