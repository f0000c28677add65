"""Machine "storage" of a node, put together: whose conversations, and which device this is.

Source: docs/storage.md. What a place is and how it is reached is in `node/placing.py`.
"""

from __future__ import annotations

import platform

from dms3.core.limits import DEVICE_NAME_CHARS_MAX
from dms3.core.machine import Entropy
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted
from dms3.storage.storage import NAME, Storage


def storage_machines(identity: Identity, entropy: Entropy) -> list[Hosted]:
    """The machine of conversation storage of this device."""
    name = device_name(identity.name, platform.node())
    return [Hosted(NAME, Storage(identity.tree, identity.device, name, entropy))]


def device_name(name: str, host: str) -> str:
    """How a device is called on the person's other ones."""
    both = name if not host or host in name else f"{name} on {host}"
    return "".join(char for char in both if char.isprintable())[:DEVICE_NAME_CHARS_MAX]
