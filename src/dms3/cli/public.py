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

    roles: dict[str, ASGIApp] = {}
    async with contextlib.AsyncExitStack() as until_stopped:
        if "delivery" in config.role:
            roles |= await until_stopped.enter_async_context(_delivery_routes(host, config))
        if "gateway" in config.role:
            roles[ipfs.PREFIX] = ipfs.Ipfs(lambda: host.gateway)
        front = PublicFront(roles, report, {ipfs.PREFIX: ipfs.refusal})
        name, port = parse_host_port(config.public)
        listening = await until_stopped.enter_async_context(serve(front, name, port, PUBLIC))
        if "delivery" in config.role:
            url = (config.public_url or listening.url).rstrip("/")
            host.offer(f"{url}/{PREFIX}")
        yield listening.url.removeprefix("http://")


@contextlib.asynccontextmanager
async def _delivery_routes(host: Host, config: Config) -> AsyncIterator[dict[str, ASGIApp]]:
    # A fifth of a node's start: only who is a delivery service waits for socket.io.
    from dms3.api.dm3_push import Pushes  # noqa: PLC0415

    pushes = Pushes(lambda: host.delivery)
    storage = storage_handlers(
        lambda: host.delivery.store, SystemClock().now, config.delivery_total
    )
    dm3 = Dm3(lambda: host.delivery, pushes.app, storage)
    async with pushes.running():
        yield {PREFIX: dm3, "socket.io": pushes.app}
