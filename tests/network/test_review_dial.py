"""Addresses that a peer or a card may name and that no resolver takes: a failed dial, no more."""

import asyncio

import pytest

from dms3.core.errors import Dms3Error
from dms3.libp2p.multiaddr import Multiaddr
from network.test_transport import TIMEOUT_US, Node


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".example", ".", "-" + "x" * 70])
def test_a_name_no_resolver_takes_is_a_failed_dial(name):
    async def test() -> None:
        node = Node(1)
        with pytest.raises(Dms3Error) as failure:
            await node.transport.dial([Multiaddr.parse(f"/dns4/{name}/tcp/1")], None, TIMEOUT_US)
        assert failure.value.code == "peer_unreachable"
        assert node.transport._dials == 0

    asyncio.run(test())
