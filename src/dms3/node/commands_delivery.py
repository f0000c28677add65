"""Commands of whoever runs a delivery service: `delivery status`.

Source: docs/interfaces.md, "Command line"; docs/delivery.md. Cheap to import: what they do is in
`node/delivering.py`.
"""

from __future__ import annotations

from dms3.node.services import NodeServices
from dms3.node.table import Result, command


@command("delivery", "status", example="dms3 delivery status")
async def delivery_status(node: NodeServices) -> Result:
    """What this node does as a delivery service: where it answers, what waits, what was refused."""
    return Result(await node.delivery.status())


COMMANDS = (delivery_status,)
