"""The sandbox in one process: loads programs, judges operations, calls functions; blocks meanwhile.

Source: docs/sandbox.md; IPS paper, DNA. What judging says is said by a fresh copy of the runner,
but for Valid within half of the fuel, which a used copy may say, too: what runs before cannot make
an operation hold, and what a used copy has less of is memory. `io/sandbox.py` runs this in worker
processes; simulations and tests run it as it is.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import wasmtime
from wasmtime.component import Component

from dms3.chain.dapp_data import content_hash, is_signed
from dms3.chain.sandboxing import WASM, Called, CallFunction, Judge, Judged, Loaded, Program
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    HOST_CALLS_MAX,
    SANDBOX_CODES_MAX,
    SANDBOX_INSTANCES_MAX,
    SANDBOX_LOAD_FUEL_MAX,
    SANDBOX_MAKER_BYTES_MAX,
    SANDBOX_MESSAGE_BYTES_MAX,
    SANDBOX_RUNS_MAX,
    SANDBOX_TIDY_RUNS,
)
from dms3.io import wasm_engine
from dms3.io.runner_cache import Runner
from dms3.io.sandbox_instance import (
    Ask,
    Meter,
    PythonInstance,
    StoppedError,
    WasmInstance,
    module_of,
    parsed,
)
from dms3.io.sandbox_jobs import (
    VALID,
    call_text,
    called,
    invalid_text,
    judge_text,
    key_of,
    load_text,
    loaded,
    said,
    verdict_of,
)

Host = Callable[[str, Mapping[str, Any]], Any]
"""What a function asks the node: name and arguments; JSON values or a Failure come back."""

Answer = list[Any]
"""What a program has answered: a word, and what belongs to it; see `guest/app.py`."""

_TIDY = '{"do": "tidy"}'


class UnknownProgramError(Exception):
    """The program is not, or no longer, loaded here."""


@dataclass(slots=True)
class _Kept:
    """A program that was read: its code (base64) or module, and its declarations."""

    program: Program
    loaded: Loaded
    code: str = field(default="", repr=False)
    module: wasmtime.Module | None = None


class SandboxEngine:
    """Programs and the copies of the runner that run them."""

    def __init__(self, runner: Runner, *, instances: int = SANDBOX_INSTANCES_MAX) -> None:
        """`runner`: from `RunnerCache`. `instances`: programs kept ready."""
        self._engine = wasm_engine.engine(runner.optimization)
        self._component = Component.deserialize_file(self._engine, str(runner.path))
        self._most = instances
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._ready: OrderedDict[str, PythonInstance] = OrderedDict()
        self._maker: PythonInstance | None = None  # reads texts and runs none of them

    # What people of one process call.

    def load(self, program: Program) -> Loaded:
        """Read `program`; raises `rules_invalid` with file and line when it cannot be used."""
        return self.keep(key_of(program), program)

    def judge(self, judge: Judge) -> Judged:
        """Judge one operation; a program that cannot be used gives Abandoned."""
        key = key_of(judge.program)
        try:
            if key not in self._kept:
                self.keep(key, judge.program)
        except Dms3Error as error:
            return Judged(verdict_of(["abandoned", str(error)]), 0)
        answer, used = self.judge_job(key, judge_text(judge, key))
        return Judged(verdict_of(answer), used)

    def call(self, call: CallFunction, host: Host) -> Called:
        """What a function returns.

        Raises `rules_invalid`, `not_found` (no such function), `argument_invalid`,
        `function_failed`, `function_stopped`, and whatever code of the node it did not handle.
        """
        key = key_of(call.program)
        if key not in self._kept:
            self.keep(key, call.program)

        def ask(question: str) -> str:
            name, arguments = json.loads(question)
            found = host(name, arguments)
            if isinstance(found, Failure):
                return json.dumps({"error": {"code": found.code, "message": found.message}})
            return json.dumps({"value": found})

        answer, used, asked = self.call_job(key, call_text(call, key), ask)
        return called(call, answer, used, asked)

    # What a worker process calls: jobs as text.

    def keep(self, key: str, program: Program) -> Loaded:
        """Read `program` and keep it under `key`; raises `rules_invalid`."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._read_wasm(program) if program.level == WASM else self._read(key, program)
            self._kept[key] = kept
            while len(self._kept) > SANDBOX_CODES_MAX:
                old, _ = self._kept.popitem(last=False)
                self._ready.pop(old, None)
        return kept.loaded

    def judge_job(self, key: str, job: str) -> tuple[Answer, int]:
        """The answer to a judging, and the fuel that it took; UnknownProgramError."""
        kept = self._of(key)
        meter = Meter()
        if self._quickly(key, kept, job, meter):
            return [VALID], meter.used
        try:
            if kept.module is not None:
                module = WasmInstance(self._engine, kept.module, kept.program, meter)
                return _short(module.answer(job, meter, _Counted(_pure))), meter.used
            instance = self._fresh(key, kept, meter)
            answer = _short(instance.answer(job, kept.program.fuel, meter, _Counted(_pure)))
        except StoppedError as error:
            return ["abandoned", error.why], meter.used
        if key not in self._ready and answer[0] != "abandoned":
            self._put_ready(key, instance)
        return answer, meter.used

    def call_job(self, key: str, job: str, host: Ask) -> tuple[Answer, int, int]:
        """The answer to a call, the fuel that it took, and how often it asked `host`."""
        kept = self._of(key)
        asked = _Counted(host)
        meter = Meter()
        instance = self._ready.get(key)
        try:
            if instance is None or instance.busy or instance.runs > SANDBOX_RUNS_MAX:
                instance = self._fresh(key, kept, meter)
                if not (key in self._ready and self._ready[key].busy):
                    self._put_ready(key, instance)
            answer = _short(instance.answer(job, kept.program.fuel, meter, asked))
            self._tidy(key, instance)
        except StoppedError as error:
            self._drop(key, instance)
            return ["abandoned", error.why], meter.used, asked.times
        except BaseException:  # of the host; the copy has been left in the middle
            self._drop(key, instance)
            raise
        if answer[0] == "abandoned":
            self._drop(key, instance)
        return answer, meter.used, asked.times

    # Programs and instances.

    def _of(self, key: str) -> _Kept:
        kept = self._kept.get(key)
        if kept is None:
            raise UnknownProgramError(key)
        self._kept.move_to_end(key)
        return kept

    def _read(self, key: str, program: Program) -> _Kept:
        try:
            source = program.source.decode()
        except UnicodeDecodeError as error:
            raise invalid_text(program, 0, f"byte {error.start} is no UTF-8") from None
        meter = Meter()
        job = json.dumps({"do": "compile", "source": source, "name": program.part})
        try:
            code = _code_of(program, self._compiled(job, meter))
            instance = PythonInstance(self._engine, self._component, program.memory)
            job = load_text(program, key, code, declare=True)
            answer = parsed(instance.answer(job, program.fuel, meter))
        except StoppedError as error:
            raise invalid_text(program, 0, f"it was stopped: {said(error.why)}") from None
        kept = _Kept(program, loaded(program, answer), code)
        instance.loaded.add(key)
        self._put_ready(key, instance)
        return kept

    def _compiled(self, job: str, meter: Meter) -> Answer:
        maker, self._maker = self._maker, None  # kept when it went well
        if maker is None or maker.runs > SANDBOX_RUNS_MAX:
            maker = PythonInstance(self._engine, self._component, SANDBOX_MAKER_BYTES_MAX)
        answer = parsed(maker.answer(job, SANDBOX_LOAD_FUEL_MAX, meter))
        if answer[0] != "abandoned":
            self._maker = maker
        if maker.runs % SANDBOX_TIDY_RUNS == 0:
            maker.answer(_TIDY, SANDBOX_LOAD_FUEL_MAX, Meter())
        return answer

    def _read_wasm(self, program: Program) -> _Kept:
        try:
            module = module_of(self._engine, program.source)
            WasmInstance(self._engine, module, program, Meter())
        except StoppedError as error:
            raise invalid_text(program, 0, error.why) from None
        return _Kept(program, Loaded(()), module=module)

    def _quickly(self, key: str, kept: _Kept, job: str, meter: Meter) -> bool:
        """Whether a used copy says Valid, with half of the fuel left."""
        instance = self._ready.get(key)
        if instance is None or instance.busy:
            return False
        if instance.runs > SANDBOX_RUNS_MAX:
            self._drop(key, instance)
            return False
        try:
            answer = instance.answer(job, kept.program.fuel // 2, meter, _Counted(_pure))
            valid = answer == _VALID_TEXT
            if valid:
                self._tidy(key, instance)
                self._ready.move_to_end(key)
        except StoppedError:
            self._drop(key, instance)
            return False
        return valid

    def _fresh(self, key: str, kept: _Kept, meter: Meter) -> PythonInstance:
        instance = PythonInstance(self._engine, self._component, kept.program.memory)
        job = load_text(kept.program, key, kept.code, declare=False)
        answer = parsed(instance.answer(job, SANDBOX_LOAD_FUEL_MAX, meter))
        if answer != ["loaded"]:
            raise StoppedError(str(answer[-1]))
        return instance

    def _put_ready(self, key: str, instance: PythonInstance) -> None:
        self._ready[key] = instance
        self._ready.move_to_end(key)
        while len(self._ready) > self._most:
            self._ready.popitem(last=False)

    def _drop(self, key: str, instance: PythonInstance | None) -> None:
        if instance is not None and self._ready.get(key) is instance:
            del self._ready[key]

    def _tidy(self, key: str, instance: PythonInstance) -> None:
        if instance.runs % SANDBOX_TIDY_RUNS == 0:
            try:
                instance.answer(_TIDY, SANDBOX_LOAD_FUEL_MAX, Meter())
            except StoppedError:
                self._drop(key, instance)


@dataclass(slots=True)
class _Counted:
    """The node, asked so often and no oftener; what is pure is answered here."""

    host: Ask
    times: int = 0

    def __call__(self, question: str) -> str:
        self.times += 1
        if self.times > HOST_CALLS_MAX:
            raise StoppedError(f"more than {HOST_CALLS_MAX} questions to the node")
        if len(question) > SANDBOX_MESSAGE_BYTES_MAX:
            return _TOO_LONG
        if question.startswith(_PURE):
            return _pure(question)
        return self.host(question)


_VALID_TEXT = json.dumps([VALID])
_TOO_LONG = '{"error": {"code": "body_too_large", "message": "the question is too long"}}'
_PURE = ('["verifySignature"', '["makeHash"')


def _short(answer: str) -> Answer:
    """As `parsed`; StoppedError also when it is longer than what is passed on."""
    if len(answer) > SANDBOX_MESSAGE_BYTES_MAX:
        raise StoppedError("what it said is too long")
    return parsed(answer)


def _pure(question: str) -> str:
    """The answer to what rules may ask, too: the same on every node."""
    try:
        name, arguments = json.loads(question)
        if name == "verifySignature":
            return json.dumps({"value": is_signed(**arguments)})
        if name == "makeHash":
            return json.dumps({"value": content_hash(**arguments)})
    except (ValueError, TypeError) as error:
        return json.dumps({"error": {"code": "argument_invalid", "message": str(error)}})
    return json.dumps({"error": {"code": "forbidden", "message": "no rule may ask this"}})


def _code_of(program: Program, compiled: Answer) -> str:
    match compiled:
        case ["code", str(code)]:
            return code
        case ["source", int(line), str(message)]:
            raise invalid_text(program, line, message)
        case _:
            raise invalid_text(program, 0, f"it cannot be read: {compiled[-1]}")
