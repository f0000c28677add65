"""The public listener of a running node, with the routes of its roles.

Source: docs/api.md, "The public listener"; docs/delivery.md; docs/ipfs.md. It listens before the
node is opened, so that the node knows where it is reached; until then every route says that it is
starting.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.types import ASGIApp

from dms3.api import ipfs
from dms3.api.dm3 import PREFIX, Dm3
from dms3.api.dm3_push import Pushes
from dms3.api.dm3_storage import storage_handlers
from dms3.api.http import Report
from dms3.api.public import PublicFront
from dms3.api.serve import PUBLIC, serve
from dms3.delivery.properties import Properties
from dms3.io.clock import SystemClock
from dms3.node.config import Config, parse_host_port
from dms3.node.host import Host


def delivery_of(config: Config) -> Properties | None:
    """What the node is as a delivery service; None without the role."""
    if "delivery" not in config.role:
        return None
    return Properties(
        config.delivery_days, config.delivery_size, config.delivery_quota, config.delivery_total
    )


@contextlib.asynccontextmanager
async def public_listener(host: Host, config: Config, report: Report) -> AsyncIterator[str | None]:
    """The public routes of the node's roles, from before it is opened; gives where they answer."""
    if not config.public:
        yield None
        return

    pushes = Pushes(lambda: host.delivery)
    roles: dict[str, ASGIApp] = {}
    if "delivery" in config.role:
        storage = storage_handlers(
            lambda: host.delivery.store, SystemClock().now, config.delivery_total
        )
        dm3 = Dm3(lambda: host.delivery, pushes.app, storage)
        roles |= {PREFIX: dm3, "socket.io": pushes.app}
    if "gateway" in config.role:
        roles[ipfs.PREFIX] = ipfs.Ipfs(lambda: host.gateway)
    front = PublicFront(roles, report, {ipfs.PREFIX: ipfs.refusal})
    name, port = parse_host_port(config.public)
    async with pushes.running(), serve(front, name, port, PUBLIC) as listening:
        if "delivery" in config.role:
            url = (config.public_url or listening.url).rstrip("/")
            host.offer(f"{url}/{PREFIX}")
        yield listening.url.removeprefix("http://")
