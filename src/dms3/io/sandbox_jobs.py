"""Jobs of the sandbox as text, and what its answers mean.

Source: docs/sandbox.md, "What goes in and out"; `guest/app.py` is the other side. Pure.
"""

from __future__ import annotations

import json
from typing import Any

from dms3.chain.sandboxing import Called, CallFunction, Judge, Loaded, Program
from dms3.core.errors import CODES, Dms3Error
from dms3.core.limits import DETAIL_CHARS_MAX
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid, Verdict

VALID = "valid"
STOPPED = {
    "fuel": "it went on and on, and its fuel was used up",
    "memory": "it used up its memory",
    "recursion": "it called itself too deep",
    "stack": "it called itself too deep",
    "forbidden": "it did what no app may do",
    "trap": "it was ended by an error of its code",
    "message": "what it said cannot be read",
}


def said(why: str) -> str:
    """Why a run was stopped, for people."""
    return STOPPED.get(why, why)[:DETAIL_CHARS_MAX]


def key_of(program: Program) -> str:
    """What `program` is kept under: two that differ have two keys."""
    source = hash(program.source) & 0xFFFFFFFFFFFFFFFF  # remembered by Python, unlike a SHA-256
    bounds = f"{program.fuel}-{program.memory}-{len(program.source)}"
    return f"{program.dna.hex()}-{program.part}-{program.level}-{bounds}-{source:x}"


def load_text(program: Program, key: str, code: str, *, declare: bool) -> str:
    """The job that gives an instance a program; `code`: as the runner has made it of its text."""
    return json.dumps(
        {
            "do": "load",
            "id": key,
            "name": program.part,
            "code": code,
            "properties": dict(program.properties),
            "declare": declare,
        }
    )


def judge_text(judge: Judge, key: str) -> str:
    """The job of a judging."""
    return json.dumps(
        {
            "do": "judge",
            "id": key,
            "action": dict(judge.action),
            "entry": judge.entry,
            "known": dict(judge.known),
        }
    )


def call_text(call: CallFunction, key: str) -> str:
    """The job of a call; raises `argument_invalid` when the arguments are no JSON values."""
    try:
        return json.dumps(
            {
                "do": "call",
                "id": key,
                "function": call.function,
                "arguments": call.arguments,
                "callback": call.callback,
                "who": {"key": call.agent, "person": call.person},
            },
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise Dms3Error("argument_invalid", f"{call.function}: {error}.") from error


def verdict_of(answer: list[Any]) -> Verdict:
    """The verdict that a judging has answered."""
    match answer:
        case ["valid"]:
            return Valid()
        case ["invalid", str(rule), str(detail), int(line)]:
            return Invalid(rule, detail[:DETAIL_CHARS_MAX], line)
        case ["unresolved", *questions] if questions and all(
            isinstance(question, str) for question in questions
        ):
            return Unresolved(tuple(question.encode() for question in questions))
        case ["abandoned", str(reason)]:
            return Abandoned(said(reason))
        case _:
            return Abandoned("the program gave no verdict")


def loaded(program: Program, answer: list[Any]) -> Loaded:
    """The declarations in the answer to a load; raises `rules_invalid`."""
    match answer:
        case ["loaded", list(rules), list(functions)]:
            return Loaded(
                tuple((str(name), int(line), str(doc)) for name, line, doc in rules),
                tuple((str(n), str(access), int(ln), str(doc)) for n, access, ln, doc in functions),
            )
        case ["source", int(line), str(message)]:
            raise invalid_text(program, line, message)
        case _:
            raise invalid_text(program, 0, f"it was stopped: {said(str(answer[-1]))}")


def invalid_text(program: Program, line: int, message: str) -> Dms3Error:
    """The error for people: which file, which line, what."""
    place = f"{program.part}.py line {line}" if line else f"{program.part}.py"
    return Dms3Error(
        "rules_invalid",
        f"{place}: {message[:DETAIL_CHARS_MAX]}",
        hint="docs/sandbox.md says what may stand there.",
    )


def called(call: CallFunction, answer: list[Any], fuel: int, asked: int) -> Called:
    """What a call has returned; raises what `SandboxEngine.call` does."""
    name = call.function[:64]
    match answer:
        case ["result", value]:
            return Called(value, fuel, asked)
        case ["unknown", *_]:
            raise Dms3Error("not_found", f"The app has no function {name!r} for this.")
        case ["misfit", str(message)]:
            raise Dms3Error("argument_invalid", f"{name}: {message}.")
        case ["failed", str(code), str(detail), int(line)]:
            if code in CODES:  # what the node said, and the function let through
                raise Dms3Error(code, f"{name}: {detail.partition(': ')[2]}")
            raise Dms3Error("function_failed", f"{name}, functions.py line {line}: {detail}")
        case ["source", *_]:
            raise invalid_text(call.program, 0, str(answer[-1]))
        case _:
            raise Dms3Error(
                "function_stopped",
                f"{name} was stopped: {said(str(answer[-1]))}.",
                hint="Less at once, or less deep, is let through.",
            )
