"""The sandbox of the process that runs the tests, shared by all nodes; apps from their folders.

Source: docs/testing.md, "How it works"; docs/sandbox.md. A program is read once, whichever node
needs it. The runner is made at the first use on a machine.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from dms3.chain.sandboxing import Loaded
from dms3.io.runner_cache import RunnerCache
from dms3.io.sandbox_engine import SandboxEngine
from dms3.node.dapps_folder import read_folder, shipped_folder
from dms3.node.dapps_parts import Parts, parts_of
from dms3.node.dapps_sandbox import Sandbox
from dms3.sim.world import SimNode
from dms3.testing.tasks import Sandboxed


@cache
def sandbox_engine() -> SandboxEngine:
    """The one sandbox; raises `runner_missing` when it cannot be made here."""
    runners = RunnerCache()
    return SandboxEngine(runners.find() or runners.make(_say))


def sandbox() -> Sandbox:
    """The same, as apps use it."""
    return Sandbox(Sandboxed(sandbox_engine()))


def judged(_node: SimNode, operation: str, arguments: Any) -> Any:
    """Port "sandbox" of every node."""
    assert operation == "judge", "machines ask nothing else of the sandbox"
    return sandbox_engine().judge(arguments)


def parts_at(dapp: str | Path) -> Parts:
    """The app of a folder, or of the name of one that comes with dms3.

    Raises `not_found`, `content_invalid` with what is wrong.
    """
    folder = Path(dapp)
    if isinstance(dapp, str) and not folder.is_dir():
        folder = shipped_folder(dapp)
    return parts_of(read_folder(folder.absolute()))


def has_init(parts: Parts) -> bool:
    """Whether the app does something whenever it begins; raises `rules_invalid`."""
    declared = sandbox_engine().load(parts.code) if parts.functions else Loaded(())
    return any(name == "init" for name, *_ in declared.functions)


def _say(phase: str) -> None:
    sys.stderr.write(f"The runner of apps, made once on this machine: {phase}\n")
