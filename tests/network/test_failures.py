"""What nobody expected is logged, counted and answered; the node goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Dms3Error
from dms3.core.network import MAIN
from dms3.node.home import Home
from dms3.node.library import Library
from dms3.node.metrics import Metrics
from dms3.node.node import open_node
from dms3.node.settings import Settings


class Lines:
    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_values: Any) -> None:
        self.events.append(event)

    def error(self, event: str, **_values: Any) -> None:
        self.events.append(event)


async def broken(_library: Library, _operation: str, _arguments: Any) -> None:
    raise ZeroDivisionError


def failures(text: bytes) -> float:
    return float(text.split(b"\ndms3_node_failures_total ")[1].split(b"\n")[0])


def test_a_failing_port_is_counted_and_the_node_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Library, "serve", broken)
    metrics, log = Metrics(), Lines()

    async def scenario() -> None:
        home = Home(tmp_path / "home")
        home.create()
        settings = Settings("alice", ("/ip4/127.0.0.1/tcp/0",), (), MAIN)
        async with open_node(home, bytes(32), settings, log, metrics) as node:
            before = failures(metrics.text(node))
            with pytest.raises(Dms3Error):
                await (await node.content(Cid.of(RAW, b"absent"))).read(0, 1).__anext__()
            assert failures(metrics.text(node)) > before
            assert await node.call("peers.list") == ()

    asyncio.run(scenario())
    assert "port_failed" in log.events
