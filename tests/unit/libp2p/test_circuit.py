"""Messages of Circuit Relay v2: bytes of the specification, bounds, vouchers, addresses."""

import pytest

from dms3.core.errors import DecodeError
from dms3.core.limits import CIRCUIT_MESSAGE_BYTES_MAX
from dms3.core.varint import encode_varint
from dms3.libp2p.circuit import (
    Hop,
    HopMessage,
    Limit,
    MessageReader,
    Reservation,
    Status,
    Stop,
    StopMessage,
    Voucher,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_stop,
    frame,
    open_voucher,
    seal_voucher,
)
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_record import open_record, seal_record
from dms3.libp2p.protobuf import bytes_field, uint_field
from unit.libp2p.wire_kit import key

A, B = key(1).peer_id, key(2).peer_id
OK = HopMessage(Hop.STATUS, limit=Limit(120, 1 << 17), status=Status.OK)
PLACE = Multiaddr.parse("/ip4/192.0.2.1/tcp/4001")


@pytest.mark.parametrize(
    ("message", "data"),
    [  # the fields of the specification by hand: tag = number << 3 | wire type
        (HopMessage(Hop.RESERVE), "0800"),
        (HopMessage(Hop.STATUS, status=Status.NO_RESERVATION), "080228cc01"),
        (OK, "0802220608781080800828 64"),
    ],
    ids=["reserve", "status", "ok"],
)
def test_the_bytes_are_those_of_the_specification(message, data):
    assert encode_hop(message) == bytes.fromhex(data)
    assert decode_hop(bytes.fromhex(data)) == message


def test_every_field_comes_back():
    reservation = Reservation(1_800_000_000, (PLACE, PLACE.with_peer(A)), b"voucher")
    for hop in (
        HopMessage(Hop.CONNECT, B),
        HopMessage(Hop.STATUS, None, reservation, Limit(7, 8), Status.OK),
        HopMessage(Hop.STATUS, status=999),  # of a later version
    ):
        assert decode_hop(encode_hop(hop)) == hop
    for stop in (StopMessage(Stop.CONNECT, A, Limit(0, 9)), StopMessage(Stop.STATUS, status=203)):
        assert decode_stop(encode_stop(stop)) == stop


@pytest.mark.parametrize(
    "data",
    [
        b"",
        uint_field(1, 3),
        uint_field(1, 1) + bytes_field(2, b""),
        uint_field(1, 1) + bytes_field(2, bytes_field(1, b"nobody")),
        uint_field(1, 2) + uint_field(5, 1 << 32),
    ],
    ids=["no kind", "unknown kind", "peer without id", "no peer id", "status too large"],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(DecodeError):
        decode_hop(data)


def test_addresses_of_unknown_kinds_are_left_out():
    reservation = (
        uint_field(1, 9) + bytes_field(2, b"\xff\xff\x03") + bytes_field(2, PLACE.encode())
    )
    found = decode_hop(uint_field(1, 2) + bytes_field(3, reservation)).reservation
    assert found == Reservation(9, (PLACE,))


def test_what_follows_a_message_belongs_to_the_circuit():
    body = encode_hop(HopMessage(Hop.CONNECT, B))
    wire = frame(body) + b"noise"
    for cut in range(len(wire)):
        reader = MessageReader()
        found, rest = reader.receive(wire[:cut]), wire[cut:]
        if found is None:
            found, rest = reader.receive(rest), b""
        assert found is not None
        assert (found[0], found[1] + rest) == (body, b"noise")


def test_a_message_has_its_greatest_length():
    most = CIRCUIT_MESSAGE_BYTES_MAX
    assert MessageReader().receive(frame(bytes(most))) == (bytes(most), b"")
    with pytest.raises(DecodeError, match="too long"):
        MessageReader().receive(encode_varint(most + 1))


def test_a_voucher_holds_for_its_hop_and_peer():
    envelope = seal_voucher(key(1), B, 1_800_000_000)
    assert open_voucher(envelope) == Voucher(A, B, 1_800_000_000)
    changed = bytearray(envelope)
    changed[-1] ^= 1
    with pytest.raises(DecodeError, match="signature"):
        open_voucher(bytes(changed))


def test_a_record_is_no_voucher_and_a_voucher_no_record():
    with pytest.raises(DecodeError, match="of this kind"):
        open_voucher(seal_record(key(1), 1, [PLACE]))
    with pytest.raises(DecodeError, match="of this kind"):
        open_record(seal_voucher(key(1), B, 1))


def test_the_address_of_a_circuit_names_its_hop():
    circuit = PLACE.through(A)
    assert circuit.circuit == (PLACE, A)
    assert circuit.with_peer(B).circuit == (PLACE, A)
    assert circuit.with_peer(B).peer == B
    assert circuit.tcp_endpoint is None
    assert Multiaddr.parse(f"{PLACE}/p2p-circuit").circuit is None
    assert Multiaddr.parse(f"/p2p/{str(circuit).split('/')[-2]}/p2p-circuit").circuit is None
    assert PLACE.circuit is None
    twice = Multiaddr((*circuit.parts, *circuit.parts[2:]))
    assert twice.circuit is None
