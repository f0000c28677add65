"""Commands about the node itself: `status`, `doctor`, `id show`.

Source: docs/architecture.md, "Commands". What they show is gathered by the node.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import Result, command


@command("status", example="dms3 status")
async def status(node: NodeServices) -> Result:
    """How the node is: peers, roles, sizes, and what needs attention."""
    return Result(await node.status())


@command("doctor", example="dms3 doctor --json")
async def doctor(
    node: NodeServices,
    quick: Annotated[bool, "leave out the check that reads the whole database"] = False,
) -> Result:
    """Checks of the node's health, each with a fix when it does not pass."""
    checks = await node.doctor(quick=quick)
    failed = sum(check.verdict == "fail" for check in checks)
    warned = sum(check.verdict == "warn" for check in checks)
    return Result(
        {
            "ok": failed == 0,
            "failed": failed,
            "warned": warned,
            "checks": [asdict(check) for check in checks],
        }
    )


@command("id", "show", example="dms3 id show")
async def id_show(node: NodeServices) -> Result:
    """Who this node is: the person's root, the node's peer id, the name."""
    return Result(await node.identity())
