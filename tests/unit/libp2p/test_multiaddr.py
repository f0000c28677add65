import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.libp2p.multiaddr import Multiaddr
from unit.libp2p.wire_kit import key

PEER = key(1).peer_id
TEXTS = [
    "/ip4/127.0.0.1/tcp/4001",
    "/ip6/::1/tcp/0",
    "/dns/example.org/tcp/443/wss",
    "/dns4/example.org/tcp/80/ws",
    "/dns6/a-b.example/udp/4001/quic-v1",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
    "/ip4/10.0.0.1/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit",
    "/p2p-circuit",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_binary_round_trip(text):
    address = Multiaddr.parse(text)
    assert str(address) == text
    assert Multiaddr.decode(address.encode()) == address


def test_binary_form_is_that_of_the_multicodec_table():
    assert Multiaddr.parse("/ip4/127.0.0.1/tcp/4001").encode().hex() == "047f000001060fa1"


def test_ipfs_is_the_old_name_of_p2p():
    peer = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
    assert Multiaddr.parse(f"/ipfs/{peer}") == Multiaddr.parse(f"/p2p/{peer}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/1.2.3.4",
        "/ip4",
        "/ip4/1.2.3",
        "/ip4/1.2.3.4/",
        "/ip6/fe80::1%eth0/tcp/1",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/٣",
        "/ip4/1.2.3.4/tcp/",
        "/dns4//tcp/1",
        "/dns4/a b/tcp/1",
        "/dns4/" + "a" * (limits.DNS_NAME_CHARS_MAX + 1),
        "/p2p/nobody",
        "/garlic64/x",
        "/ws" * (limits.MULTIADDR_PARTS_MAX + 1),
        "/dns/" + "a" * limits.MULTIADDR_CHARS_MAX,
    ],
)
def test_texts_that_are_no_addresses_are_refused(text):
    with pytest.raises(DecodeError):
        Multiaddr.parse(text)


def test_bounds_hold_on_both_sides():
    assert len(Multiaddr.parse("/ws" * limits.MULTIADDR_PARTS_MAX).parts) == 16
    assert Multiaddr.parse("/dns/" + "a" * limits.DNS_NAME_CHARS_MAX)
    assert str(Multiaddr.parse("/ip4/1.2.3.4/tcp/65535")).endswith("/65535")
    three = ("/dns/" + "a" * 200) * 3  # each part is in order, the whole is too long
    with pytest.raises(DecodeError):
        Multiaddr.parse(three)


@given(st.binary(max_size=64))
def test_binary_decoding_is_exact(data):
    try:
        address = Multiaddr.decode(data)
    except DecodeError:
        return
    assert address.encode() == data


def test_endpoint_and_peer():
    address = Multiaddr.parse("/ip4/127.0.0.1/tcp/9")
    assert address.peer is None
    assert address.tcp_endpoint == ("ip4", "127.0.0.1", 9)
    named = address.with_peer(PEER)
    assert named.peer == PEER
    assert named.tcp_endpoint == address.tcp_endpoint
    assert named.without_peer() == address
    assert named.with_peer(key(2).peer_id).without_peer() == address
    assert Multiaddr.parse("/dns/x.example/tcp/9/ws").tcp_endpoint is None
    assert Multiaddr.parse("/ip4/1.2.3.4/udp/9/quic-v1").tcp_endpoint is None
    assert Multiaddr.tcp("::1", 7) == Multiaddr.parse("/ip6/::1/tcp/7")
    assert Multiaddr.tcp("fe80::1%eth0", 7) == Multiaddr.parse("/ip6/fe80::1/tcp/7")
