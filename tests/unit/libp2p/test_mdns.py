"""The TXT record of libp2p's mDNS discovery: what others write is read, within bounds."""

import pytest

from dms3.core.errors import DecodeError
from dms3.core.limits import MDNS_ADDRESSES_MAX, MDNS_TXT_BYTES_MAX
from dms3.libp2p.mdns import Heard, decode_txt, encode_txt
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import peer_id_text
from unit.libp2p.wire_kit import key

ONE, TWO = key(1).peer_id, key(2).peer_id
HERE = Multiaddr.parse("/ip4/192.168.1.7/tcp/4001")
SIX = Multiaddr.parse("/ip6/fd00::7/tcp/4001")


def strings(*texts: str) -> bytes:
    return b"".join(bytes((len(text),)) + text.encode() for text in texts)


def test_round_trip():
    data = encode_txt(ONE, [HERE, SIX])
    assert data == strings(
        f"dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/{peer_id_text(ONE)}",
        f"dnsaddr=/ip6/fd00::7/tcp/4001/p2p/{peer_id_text(ONE)}",
    )
    assert decode_txt(data) == Heard(ONE, (HERE, SIX))


def test_what_is_not_ours_to_read_is_left_out():
    name = peer_id_text(ONE)
    data = strings(
        "",
        "txtvers=1",
        "dnsaddr=",
        "dnsaddr=/ip4/192.168.1.7/udp/4001/quic-v1/webtransport/p2p/x",
        "dnsaddr=/ip4/192.168.1.8/tcp/1",  # of nobody
        f"dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/{name}",
        f"dnsaddr=/ip4/192.168.1.9/tcp/4001/p2p/{peer_id_text(TWO)}",  # another peer
        f"dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/{name}",
    )
    assert decode_txt(data) == Heard(ONE, (HERE,))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x05abc", strings("a=b"), strings("dnsaddr=/ip4/1.2.3.4/tcp/1"), b"\xff" * 300],
)
def test_a_record_without_a_peer_or_cut_off_is_refused(data):
    with pytest.raises(DecodeError):
        decode_txt(data)


def test_bounds_of_both_directions():
    many = [Multiaddr.parse(f"/ip4/10.0.0.{n}/tcp/1") for n in range(1, 60)]
    name = peer_id_text(ONE)
    assert len(decode_txt(encode_txt(ONE, many)).addresses) == MDNS_ADDRESSES_MAX
    crowd = strings(*(f"dnsaddr={address}/p2p/{name}" for address in many[:40]))
    assert len(decode_txt(crowd).addresses) == MDNS_ADDRESSES_MAX
    fill = strings(f"dnsaddr={HERE}/p2p/{name}")
    fill += b"\0" * (MDNS_TXT_BYTES_MAX - len(fill))
    assert decode_txt(fill).addresses == (HERE,)
    with pytest.raises(DecodeError, match="too long"):
        decode_txt(fill + b"\0")


def test_an_address_that_fits_no_string_is_left_out():
    long = Multiaddr.parse(f"/dns4/{'a' * 63}.{'b' * 63}.{'c' * 63}.example/tcp/1")
    assert decode_txt(encode_txt(ONE, [long, HERE])).addresses == (HERE,)
