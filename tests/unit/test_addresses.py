"""Which addresses a stranger may make this node connect to."""

import pytest

from dms3.core.addresses import is_public
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.message_ports import is_local, may_lie_at

HERE = (Multiaddr.parse("/ip4/127.0.0.1/tcp/7701"),)
OUTSIDE = (*HERE, Multiaddr.parse("/ip4/192.168.1.5/tcp/7701"))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "fec0::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::1",
        "2001:0:a00:1::1",
        "::127.0.0.1",
        "localhost",
        "127.1",
        "",
    ],
)
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)
    assert not may_lie_at(address, OUTSIDE)


def test_this_machine_is_for_nodes_that_are_nowhere_else() -> None:
    assert is_local(HERE)
    assert not is_local(OUTSIDE)
    assert not is_local(())
    assert may_lie_at("127.0.0.1", HERE)
    assert may_lie_at("::1", HERE)
    assert not may_lie_at("127.0.0.1", OUTSIDE)
    assert not may_lie_at("127.0.0.1", ())
    assert not may_lie_at("169.254.169.254", HERE)
