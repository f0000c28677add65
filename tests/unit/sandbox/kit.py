"""What tests of the sandbox share: programs made of a few lines, and the engine that runs them."""

import hashlib
from textwrap import dedent, indent

import pytest

from dms3.chain.sandboxing import PYTHON, CallFunction, Judge, Judged, Program
from dms3.core.errors import Dms3Error
from dms3.core.verdict import Abandoned
from dms3.io.sandbox_engine import SandboxEngine

HEAD = """\
import base64, collections, dataclasses, datetime, enum, functools, hashlib, itertools, json
import math, re, string, struct, unicodedata
from dapp import rule, must_get_action, must_get_agent_activity, must_get_entry, makeHash
from dapp import must_get_valid_record, property, verifySignature
"""
HASH = "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
AGENT = "a" * 52
ACTION = {
    "hash": HASH,
    "dna": "d" * 52,
    "author": AGENT,
    "person": "p" * 52,
    "seq": 7,
    "prev": HASH,
    "time": 1_700_000_000_000_000,
    "kind": "create",
    "entry": HASH,
    "entry_kind": "note",
    "private": False,
    "sealed": None,
}


def program(source: str, part: str = "rules", **options: object) -> Program:
    """A program of `source`; its id is made from the text, as that of a DNA is."""
    data = dedent(source).encode()
    return Program(hashlib.sha256(data).digest(), PYTHON, data, part=part, **options)


def ruled(body: str, **options: object) -> Program:
    """A program with one rule about notes, `r`, made of `body`."""
    lines = indent(dedent(body).strip("\n"), "    ")
    text = f'{HEAD}\n@rule("note")\ndef r(note, action):\n    """It is so."""\n{lines}\n'
    return program(text, **options)


def judged(engine: SandboxEngine, rules: Program, entry=None, known=(), **action: object) -> Judged:
    """What `rules` say of a note."""
    entry = {"text": "hello"} if entry is None else entry
    return engine.judge(Judge(rules, ACTION | action, entry, tuple(known)))


def verdict(engine: SandboxEngine, body: str, **options: object):
    """What one rule made of `body` says, of a new and of a used copy alike."""
    rules = ruled(body, **options)
    first = judged(engine, rules).verdict
    assert judged(engine, rules).verdict == first
    return first


def refused(engine: SandboxEngine, body: str) -> str:
    """Why a rule made of `body` is not taken at all."""
    with pytest.raises(Dms3Error) as caught:
        engine.load(ruled(body))
    assert caught.value.code == "rules_invalid"
    return caught.value.message


def stopped(engine: SandboxEngine, body: str, **options: object) -> str:
    """Why a rule made of `body` was given up."""
    found = verdict(engine, body, **options)
    assert isinstance(found, Abandoned), found
    return found.reason


def called(engine: SandboxEngine, source: str, function: str, host=None, **arguments: object):
    """What a function of an app returns."""
    text = "from dapp import *\n" if "from dapp" not in source else ""
    functions = program(text + dedent(source), part="functions")
    call = CallFunction(functions, function, arguments, agent=AGENT, person="p" * 52)
    return engine.call(call, host or (lambda name, given: [name, dict(given)])).value
