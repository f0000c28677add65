from dataclasses import replace

import pytest

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.varint import encode_varint
from dms3.libp2p.identify import (
    IdentifyInfo,
    IdentifyReader,
    decode_identify,
    encode_identify,
    frame_identify,
    merge_identify,
)
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_record import PeerRecord, open_record, seal_record
from dms3.libp2p.protobuf import bytes_field, text_field
from unit.libp2p.wire_kit import key

ADDRESS = Multiaddr.parse("/ip4/127.0.0.1/tcp/4001")
INFO = IdentifyInfo(
    protocol_version="dms3/1",
    agent="dms3/0.1",
    addresses=(ADDRESS,),
    protocols=("/a", "/b"),
    observed=ADDRESS,
    public_key=key(1).public_bytes,
    signed_record=seal_record(key(1), 7, [ADDRESS]),
)


def test_round_trip():
    assert decode_identify(encode_identify(INFO)) == INFO


def test_the_reader_takes_any_cut_and_several_messages():
    second = bytes_field(3, b"/c")
    wire = frame_identify(INFO) + encode_varint(len(second)) + second
    reader = IdentifyReader()
    for byte in wire:
        reader.receive(bytes([byte]))
    assert reader.finish() == replace(INFO, protocols=("/a", "/b", "/c"))


def test_a_cut_description_is_refused():
    reader = IdentifyReader()
    reader.receive(frame_identify(INFO)[:-1])
    with pytest.raises(DecodeError, match="cut off"):
        reader.finish()
    with pytest.raises(DecodeError, match="cut off"):
        IdentifyReader().finish()


def test_too_much_is_refused_and_what_is_allowed_is_not():
    reader = IdentifyReader()
    reader.receive(bytes(limits.IDENTIFY_BYTES_MAX))
    with pytest.raises(DecodeError, match="without end"):
        reader.receive(b"\0")
    with pytest.raises(DecodeError, match="too long"):
        IdentifyReader().receive(encode_varint(limits.IDENTIFY_BYTES_MAX + 1))


def test_unknown_addresses_are_left_out():
    data = bytes_field(2, b"\xff\xff\x01unknown") + bytes_field(2, ADDRESS.encode())
    assert decode_identify(data).addresses == (ADDRESS,)


def test_what_is_kept_is_bounded():
    data = bytes_field(2, ADDRESS.encode()) * (limits.IDENTIFY_ADDRESSES_MAX + 1)
    data += text_field(3, "/p") * (limits.IDENTIFY_PROTOCOLS_MAX + 1)
    data += text_field(3, "/" * (limits.PROTOCOL_ID_BYTES_MAX + 1)) + text_field(6, "a" * 10_000)
    info = decode_identify(data)
    assert len(info.addresses) == limits.IDENTIFY_ADDRESSES_MAX
    assert len(info.protocols) == limits.IDENTIFY_PROTOCOLS_MAX
    assert len(info.agent) == limits.IDENTIFY_TEXT_CHARS_MAX


def test_a_description_that_is_too_long_is_shortened():
    long = replace(INFO, protocols=tuple(f"/{n:0200}" for n in range(100)))
    framed = frame_identify(long)
    assert len(framed) <= limits.IDENTIFY_MESSAGE_BYTES_MAX + 3
    reader = IdentifyReader()
    reader.receive(framed)
    assert reader.finish().agent == INFO.agent


def test_a_broken_key_is_refused():
    with pytest.raises(DecodeError):
        decode_identify(bytes_field(1, b"no key"))


def test_merging_keeps_what_the_push_leaves_out():
    assert merge_identify(INFO, IdentifyInfo()) == INFO
    assert merge_identify(INFO, IdentifyInfo(agent="new")) == replace(INFO, agent="new")


def test_signed_record_round_trip():
    record = open_record(INFO.signed_record)
    assert record == PeerRecord(key(1).peer_id, 7, (ADDRESS,))


def test_a_changed_or_foreign_record_is_refused():
    for index in range(0, len(INFO.signed_record), 5):
        damaged = bytearray(INFO.signed_record)
        damaged[index] ^= 1
        with pytest.raises(DecodeError):
            open_record(bytes(damaged))
    with pytest.raises(DecodeError):
        open_record(b"")
