"""The app of scenario "chain": its DNA, and its rules as a function in place of the sandbox.

Source: docs/simulator.md, "The scenario chain".
"""

from __future__ import annotations

from typing import Any

from dms3.chain.dna import Dna, EntryKind, LinkKind
from dms3.chain.sandboxing import Judge, Judged
from dms3.core.verdict import Invalid, Unresolved, Valid
from dms3.sim.world import SimNode

TEXT_CHARS_MAX = 40
DNA = Dna(
    "sim",
    source=b"# the rules are judge() below",
    entries=(EntryKind("note"),),
    links=(LinkKind("all"),),
)


def judge(asked: Judge) -> Judged:
    """The rules of the app: a note is short, and what it is about is a valid record."""
    if asked.action["kind"] != "create":
        return Judged(Valid(), 1)
    about = asked.entry.get("about")
    question = f"record:{about}"
    known = dict(asked.known)
    if len(asked.entry["text"]) > TEXT_CHARS_MAX:
        return Judged(Invalid("short", "the note is too long", 1), 1)
    if about is not None and question not in known:
        return Judged(Unresolved((question.encode(),)), 1)
    if about is not None and known[question] is None:
        return Judged(Invalid("about", "what it is about is not valid", 2), 1)
    return Judged(Valid(), 1)


def sandbox(_node: SimNode, operation: str, arguments: Any) -> Judged:
    """The io port "sandbox" of every node."""
    assert operation == "judge", "nothing else is asked of the sandbox here"
    return judge(arguments)
