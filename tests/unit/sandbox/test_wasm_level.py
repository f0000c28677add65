"""Level wasm-1: an app's own module, with the same bounds."""

import hashlib
import json

import pytest
import wasmtime

from dms3.chain.sandboxing import WASM, Judge, Loaded, Program
from dms3.core.errors import Dms3Error
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from unit.sandbox.kit import ACTION

HEAD = """
  (import "dms3" "host" (func $host (param i32 i32) (result i64)))
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 4096))
  (func (export "alloc") (param $size i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size))))
"""


def module(validate: str, head: str = HEAD, **options: object) -> Program:
    source = bytes(wasmtime.wat2wasm(f"(module {head} {validate})"))
    return Program(hashlib.sha256(source).digest(), WASM, source, **options)


def says(text: str) -> Program:
    """A module that says `text` to everything."""
    data = "".join(f"\\{byte:02x}" for byte in text.encode())
    packed = 16 << 32 | len(text.encode())
    return module(
        f'(data (i32.const 16) "{data}")'
        f'(func (export "validate") (param i32 i32) (result i64) (i64.const {packed}))'
    )


def judged(engine, program, entry=None):
    return engine.judge(Judge(program, ACTION, entry)).verdict


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("true", Valid()),
        ('["valid"]', Valid()),
        ('["invalid", "short", "too long", 4]', Invalid("short", "too long", 4)),
        ('["unresolved", "entry:x"]', Unresolved((b"entry:x",))),
        ('["abandoned", "tired"]', Abandoned("tired")),
    ],
)
def test_a_module_says_what_it_thinks(engine, text, found):
    program = says(text)
    assert engine.load(program) == Loaded(())
    assert judged(engine, program) == found


@pytest.mark.parametrize(
    "text", ["false", "1", "{}", "[]", "[1]", '["invalid"]', "no json", "[" * 9]
)
def test_what_is_no_verdict_says_nothing(engine, text):
    assert isinstance(judged(engine, says(text)), Abandoned)


def test_a_module_is_given_the_operation_and_may_ask_what_is_pure(engine):
    question = json.dumps(["makeHash", {"content": "hello"}])
    data = "".join(f"\\{byte:02x}" for byte in question.encode())
    program = module(
        f"""
        (data (i32.const 16) "{data}")
        (func (export "validate") (param i32 i32) (result i64)
          (call $host (i32.const 16) (i32.const {len(question)})))
        """
    )
    assert isinstance(judged(engine, program), Abandoned)  # {{"value": ...}} is no verdict
    echo = module(
        """
        (func (export "validate") (param $at i32) (param $size i32) (result i64)
          (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
                  (i64.extend_i32_u (local.get $size))))
        """
    )
    assert isinstance(judged(engine, echo, {"text": "a"}), Abandoned)


def test_nothing_stays_from_one_judging_to_the_next(engine):
    program = module(
        """
        (global $seen (mut i32) (i32.const 0))
        (data (i32.const 16) "true")
        (func (export "validate") (param i32 i32) (result i64)
          (if (global.get $seen) (then (unreachable)))
          (global.set $seen (i32.const 1))
          (i64.const 68719476740))
        """
    )
    assert [judged(engine, program) for _ in range(3)] == [Valid()] * 3


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("(loop (br 0)) (i64.const 0)", "fuel"),
        ("(call 1 (i32.const 0)) (drop) (call 2 (i32.const 0) (i32.const 0))", "too deep"),
        ("(unreachable)", "no app may do"),
        ("(i64.const -1)", "cannot be read"),
        ("(i64.load (i32.const -8))", "memory"),
        ("(i64.const 0x7fffff00_00000010)", "cannot be read"),
    ],
)
def test_a_module_is_stopped_as_python_is(engine, body, why):
    program = module(f'(func (export "validate") (param i32 i32) (result i64) {body})')
    found = judged(engine, program)
    assert isinstance(found, Abandoned)
    assert why in found.reason


def test_memory_has_a_bound(engine):
    program = module(
        """
        (data (i32.const 16) "true")
        (func (export "validate") (param i32 i32) (result i64)
          (if (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)) (then (unreachable)))
          (i64.const 68719476740))
        """,
        memory=32 * 1024 * 1024,
    )
    assert judged(engine, program) == Valid()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('(import "wasi_snapshot_preview1" "fd_write" (func (param i32)))', "there is dms3.host"),
        ('(import "env" "memory" (memory 1))', "there is dms3.host"),
        ("(memory 1 1 shared)", "threads"),
        ("(memory i64 1)", "memory64|64-bit"),
        ("(func (loop (br 0))) (start 0)", "fuel"),
    ],
)
def test_a_module_that_asks_for_more_is_refused(engine, text, said):
    source = bytes(wasmtime.wat2wasm(f"(module {text})"))
    with pytest.raises(Dms3Error, match=said) as caught:
        engine.load(Program(hashlib.sha256(source).digest(), WASM, source))
    assert caught.value.code == "rules_invalid"


def test_what_is_no_module_is_refused(engine):
    for source in (b"", b"\0asm", b"print(1)", b"\0asm\1\0\0\0" + b"\xff" * 64):
        with pytest.raises(Dms3Error) as caught:
            engine.load(Program(hashlib.sha256(source).digest(), WASM, source))
        assert caught.value.code == "rules_invalid"
    empty = Program(bytes(32), WASM, b"\0asm\1\0\0\0")
    assert isinstance(judged(engine, empty), Abandoned)
