"""Which hosts are this machine talking to itself, where the private API listens and its token goes.

Source: docs/attacks.md, "Somebody else on this machine, or a page in my browser". Resolves no
name.
"""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without brackets, is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
