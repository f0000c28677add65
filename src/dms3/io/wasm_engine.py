"""How WASM runs here: metered, bounded, and the same on every machine.

Source: docs/sandbox.md, "The same everywhere"; wasmtime, "Deterministic Wasm Execution". Fuel
counts instructions; NaNs have one form; no threads, no relaxed SIMD, no clock. What may still
differ between machines (where a stack or memory ends) ends a run as Abandoned, never otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dms3.core.limits import WASM_MODULES_MAX, WASM_STACK_BYTES_MAX, WASM_TABLE_ITEMS_MAX

if TYPE_CHECKING:  # whoever only looks for a compiled runner does not wait for it
    import wasmtime

Optimization = Literal["none", "speed"]
OPTIONS = "fuel nan1 threads0 relaxed0 memory64-0 exceptions0"
"""What `engine` sets, as part of the name of what is compiled with it."""

_REASONS = (
    ("all fuel consumed", "fuel"),
    ("call stack exhausted", "stack"),
    ("out of bounds memory", "memory"),
    ("unreachable", "forbidden"),
)


def engine(optimization: Optimization = "speed") -> wasmtime.Engine:
    """An engine with our options; `optimization` changes speed and nothing else."""
    import wasmtime  # noqa: PLC0415

    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    config.wasm_memory64 = False
    config.max_wasm_stack = WASM_STACK_BYTES_MAX
    config.cranelift_opt_level = optimization
    return wasmtime.Engine(config)


def store(made_by: wasmtime.Engine, memory: int) -> wasmtime.Store:
    """A store whose instances have `memory` bytes each, and no fuel yet."""
    import wasmtime  # noqa: PLC0415

    found = wasmtime.Store(made_by)
    found.set_limits(
        memory_size=memory,
        table_elements=WASM_TABLE_ITEMS_MAX,
        instances=WASM_MODULES_MAX,
        tables=WASM_MODULES_MAX,
        memories=WASM_MODULES_MAX,
    )
    found.set_fuel(0)
    return found


def reason(error: Exception, left: int) -> str:
    """Why a run was stopped, in one word; `left`: its fuel."""
    if not left:
        return "fuel"
    said = str(error)
    return next((word for sign, word in _REASONS if sign in said), "trap")
