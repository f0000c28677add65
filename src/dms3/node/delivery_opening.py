"""Making the delivery service of a node that has the role, from its parts and settings.

Source: docs/delivery.md. Decides nothing; `node/node.py` runs what it makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dms3.core.database import Database
from dms3.delivery.properties import Properties
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.node.delivering import Delivering
from dms3.node.delivery_names import Call
from dms3.node.delivery_secrets import ServiceSecrets
from dms3.node.delivery_senders import Chain


class Offered(Protocol):
    """The settings of a node that make it a delivery service."""

    @property
    def delivery(self) -> Properties | None:
        """What it takes and keeps."""
        ...

    @property
    def public_url(self) -> str:
        """Where it says that it answers."""
        ...


def opened(
    secrets: ServiceSecrets,
    store: Database,
    call: Call,
    ports: Mapping[str, Chain],
    settings: Offered,
) -> Delivering:
    """The delivery service of a node with these parts, not running yet."""
    assert settings.delivery is not None, "the node has the role"
    world = SystemClock(), SystemEntropy()
    made = Delivering(secrets, store, call, ports.get("ethereum"), settings.delivery, world)
    made.url = settings.public_url
    return made
