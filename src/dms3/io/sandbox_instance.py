"""One running copy of the runner, or of a WASM module, with the programs it was given.

Source: docs/sandbox.md, "What goes in and out", "Level wasm-1". A job goes in as JSON text and its
answer comes out so; what the program asks meanwhile goes to `ask`. Decides nothing about verdicts.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime.component import Component, Func
from wasmtime.component import Linker as ComponentLinker
from wasmtime.component._enter import enter_wasm

from dms3.chain.sandboxing import Program
from dms3.core.limits import (
    SANDBOX_LOAD_FUEL_MAX,
    SANDBOX_MESSAGE_BYTES_MAX,
    WASM_FUEL_FACTOR,
)
from dms3.io import wasm_engine

Ask = Callable[[str], str]
"""The node's answer to a question of a program: JSON texts, see `guest/dapp.py`."""

NOTHING = '{"error": {"code": "forbidden", "message": "nothing can be asked here"}}'


def nobody(_question: str) -> str:
    """What a program is told where it may ask nothing."""
    return NOTHING


class StoppedError(Exception):
    """The run was ended from outside, and the instance with it; `why` is one word."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class Meter:
    """Fuel used so far by what belongs together."""

    used: int = 0


@dataclass(slots=True)
class _Asking:
    ask: Ask = field(default=nobody)


class _TextFunction:
    """A function of a component, from text to text.

    As `wasmtime.component.Func`, which asks the engine for the types of the function at every call
    and makes one of Python's for every length of a text: that is a third of a short call.
    """

    def __init__(self, store: wasmtime.Store, function: Func) -> None:
        self._store = store
        self._function = ctypes.byref(function._func)  # noqa: SLF001 - there is no other way
        self._given = (ffi.wasmtime_component_val_t * 1)()
        self._found = ffi.wasmtime_component_val_t()

    def __call__(self, text: str) -> str:
        """What the function returns; raises WasmtimeError, and what the host has raised."""
        data = text.encode()
        given, found = self._given[0], self._found
        context = self._store._context()  # noqa: SLF001 - as above
        given.kind = ffi.WASMTIME_COMPONENT_STRING
        ffi.wasm_byte_vec_new_uninitialized(ctypes.byref(given.of.string), len(data))
        ctypes.memmove(given.of.string.data, data, len(data))
        try:
            enter_wasm(
                lambda: ffi.wasmtime_component_func_call(
                    self._function, context, self._given, 1, ctypes.byref(found), 1
                )
            )
        finally:
            ffi.wasmtime_component_val_delete(ctypes.byref(given))
        try:
            answer: bytes = ctypes.string_at(found.of.string.data, found.of.string.size)
        finally:
            ffi.wasmtime_component_val_delete(ctypes.byref(found))
        enter_wasm(lambda: ffi.wasmtime_component_func_post_return(self._function, context))
        return answer.decode()


class PythonInstance:
    """A copy of the runner: CPython with one person's programs in it."""

    def __init__(self, engine: wasmtime.Engine, component: Component, memory: int) -> None:
        self.busy = False
        self.runs = 0
        self.loaded: set[str] = set()
        self._asking = _Asking()
        self._store = wasm_engine.store(engine, memory)
        linker = ComponentLinker(engine)
        asking = self._asking  # not self: what the engine keeps must not keep the instance
        with linker.root() as root:
            root.add_func("host", lambda _store, question: asking.ask(question))
        self._store.set_fuel(SANDBOX_LOAD_FUEL_MAX)
        instance = linker.instantiate(self._store, component)
        run = instance.get_func(self._store, "run")
        assert run is not None, "the runner has a function run"
        self._run = _TextFunction(self._store, run)

    def answer(self, job: str, fuel: int, meter: Meter, ask: Ask = nobody) -> str:
        """The answer to `job` within `fuel`; raises StoppedError, after which it is of no use.

        What `ask` raises ends the run, too, and comes out as it is.
        """
        self.busy, self._asking.ask = True, ask
        store = self._store
        store.set_fuel(fuel)
        try:
            answer = self._run(job)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise StoppedError(wasm_engine.reason(error, store.get_fuel())) from None
        finally:
            meter.used += fuel - store.get_fuel()
            self.busy, self._asking.ask = False, nobody
            self.runs += 1
        return answer


class WasmInstance:
    """A copy of an app's own module, level wasm-1."""

    def __init__(
        self, engine: wasmtime.Engine, module: wasmtime.Module, program: Program, meter: Meter
    ) -> None:
        self._asking = _Asking()
        self._fuel = program.fuel // WASM_FUEL_FACTOR
        self._store = wasm_engine.store(engine, program.memory)
        linker = wasmtime.Linker(engine)
        kind = wasmtime.FuncType([wasmtime.ValType.i32()] * 2, [wasmtime.ValType.i64()])
        linker.define_func("dms3", "host", kind, self._host, access_caller=True)
        self._store.set_fuel(self._fuel)
        try:
            self._instance = linker.instantiate(self._store, module)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise StoppedError(wasm_engine.reason(error, self._store.get_fuel())) from None
        finally:
            self._charge(meter)

    def answer(self, job: str, meter: Meter, ask: Ask = nobody) -> str:
        """As PythonInstance.answer, by the module's functions `alloc` and `validate`."""
        self._asking.ask = ask
        self._store.set_fuel(self._fuel)
        try:
            place, length = self._put(self._store, job.encode())
            found = self._function("validate")(self._store, place, length)
            return self._text(self._store, int(found))
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise StoppedError(wasm_engine.reason(error, self._store.get_fuel())) from None
        finally:
            self._charge(meter)

    def _charge(self, meter: Meter) -> None:
        meter.used += (self._fuel - self._store.get_fuel()) * WASM_FUEL_FACTOR

    def _host(self, caller: wasmtime.Caller, place: int, length: int) -> int:
        """`host(pointer, length) -> pointer << 32 | length`: a question and its answer."""
        question = self._read(caller, place, length)
        answer = self._asking.ask(question).encode()
        at, size = self._put(caller, answer)
        return at << 32 | size

    def _put(self, where: wasmtime.Store | wasmtime.Caller, data: bytes) -> tuple[int, int]:
        place = int(self._function("alloc")(where, len(data))) & 0xFFFFFFFF
        self._memory().write(where, data, place)
        return place, len(data)

    def _text(self, where: wasmtime.Store | wasmtime.Caller, found: int) -> str:
        return self._read(where, found >> 32 & 0xFFFFFFFF, found & 0xFFFFFFFF)

    def _read(self, where: wasmtime.Store | wasmtime.Caller, place: int, length: int) -> str:
        if length < 0 or length > SANDBOX_MESSAGE_BYTES_MAX:
            raise StoppedError("message")
        data = self._memory().read(where, place & 0xFFFFFFFF, (place & 0xFFFFFFFF) + length)
        try:
            return bytes(data).decode()
        except UnicodeDecodeError:
            raise StoppedError("message") from None

    def _function(self, name: str) -> wasmtime.Func:
        found = self._instance.exports(self._store).get(name)
        if not isinstance(found, wasmtime.Func):
            raise StoppedError(f"no function {name}")
        return found

    def _memory(self) -> wasmtime.Memory:
        found = self._instance.exports(self._store).get("memory")
        if not isinstance(found, wasmtime.Memory):
            raise StoppedError("no memory")
        return found


def module_of(engine: wasmtime.Engine, source: bytes) -> wasmtime.Module:
    """The module in `source`; StoppedError when it is none, or asks for more than `dms3.host`."""
    try:
        module = wasmtime.Module(engine, source)
    except wasmtime.WasmtimeError as error:
        raise StoppedError(" ".join(str(error).split())) from None
    for each in module.imports:
        if (each.module, each.name) != ("dms3", "host"):
            raise StoppedError(f"it imports {each.module}.{each.name}; there is dms3.host")
    return module


def parsed(answer: str) -> list[Any]:
    """The answer of a program as a list with a word first; StoppedError when it is none."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        raise StoppedError("message") from None
    if found is True:
        return ["valid"]
    if type(found) is not list or not found or type(found[0]) is not str:
        raise StoppedError("message")
    return found
