"""What the fronts ask of a node that is a delivery service, as a Protocol.

Source: docs/delivery.md. `node/delivering.py` implements it. No behaviour is defined here.
"""

from __future__ import annotations

from typing import Any, Protocol


class DeliveryServices(Protocol):
    """This node as a delivery service; answers are JSON values."""

    async def status(self) -> dict[str, Any]:
        """Where it answers, what waits, what was taken and refused since the start."""
        ...
