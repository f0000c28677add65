"""How much a question of /dms3/dht/1 weighs; the line of time is `core/pace.py`.

Source: docs/wire.md, "/dms3/dht/1".
"""

from __future__ import annotations

from dms3.core.limits import DHT_ITEMS_MAX


def weight_of(contents: int) -> int:
    """The weight of a question with so many offers or puts; of a find or get it is 1."""
    return 1 + contents // (DHT_ITEMS_MAX // 4)
