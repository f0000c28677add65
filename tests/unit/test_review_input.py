"""What a stranger can make this node chew on is bounded before it is decoded."""

import pytest

from dms3.core import limits
from dms3.core.cid import RAW, Cid
from dms3.core.codec import check_items, encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import PeerId, Token
from dms3.core.machine import Now, Request, Requested
from dms3.core.varint import read_varint
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.libp2p import identify
from dms3.libp2p.identify import IdentifyReader
from dms3.p2p import frames, probing
from dms3.p2p.probing import PROTOCOL, Probe
from dms3.search import messages
from dms3.search.delivery import PREFIX, Outbox
from dms3.search.messages import decode_search_answer
from dms3.search.operations import Found, FoundHit
from unit.test_peers import Rig, peer

CROWD = b"\x9a\x00\x1f\xff\xff" + b"\x80" * 0x1FFFFF  # two million empty lists: seconds to decode


def forbidden(*_arguments: object, **_named: object) -> None:
    raise AssertionError("it was decoded")


def test_a_probe_is_measured_before_it_is_decoded(monkeypatch):
    rig = Rig()
    rig.up(1)
    longest = encode(Probe(bytes(200)))
    assert len(longest) <= limits.PROBE_BYTES_MAX
    (reply,) = rig.tell(Requested(peer(1), PROTOCOL, longest, 1))
    assert reply.body == longest
    monkeypatch.setattr(probing, "decode", forbidden)
    for body in (bytes(limits.PROBE_BYTES_MAX + 1), CROWD):
        (reply, *_) = rig.tell(Requested(peer(1), PROTOCOL, body, 2))
        assert reply.body.code == "body_malformed"


def test_a_failure_is_measured_before_it_is_decoded(monkeypatch):
    longest = Failure("c" * 64, "\U0001f512" * limits.FAILURE_MESSAGE_CHARS_MAX, Retry.OTHER_PEER)
    assert frames.decode_failure(frames.encode_failure(longest)) == longest
    monkeypatch.setattr(frames, "decode", forbidden)
    for body in (bytes(limits.FAILURE_BODY_BYTES_MAX + 1), CROWD):
        with pytest.raises(DecodeError):
            frames.decode_failure(body)


@pytest.mark.parametrize("message", [b"\0", b"\1\x08"])
def test_many_small_identify_messages_are_not_copied_for_each_of_them(monkeypatch, message):
    looked_at: list[bytes] = []  # kept, so that no two have one address

    def look(data: bytes, offset: int = 0) -> tuple[int, int] | None:
        looked_at.append(data)
        return read_varint(data, offset)

    monkeypatch.setattr(identify, "read_varint", look)
    data = message * 1_000
    IdentifyReader().receive(data)
    assert len(looked_at) == 1_001
    assert len({id(each) for each in looked_at}) == 1


def test_identify_messages_are_the_same_however_they_are_cut():
    whole = b"\x03\x2a\x01a" + b"\x03\x32\x01b"  # protocol version a; agent b
    for size in range(1, len(whole) + 1):
        reader = IdentifyReader()
        for start in range(0, len(whole), size):
            reader.receive(whole[start : start + size])
        info = reader.finish()
        assert (info.protocol_version, info.agent) == ("a", "b")
    cut = IdentifyReader()
    cut.receive(whole[:-1])
    with pytest.raises(DecodeError, match="cut off"):
        cut.finish()


def test_an_offer_queued_again_while_it_is_under_way_takes_one_place():
    outbox, serial = Outbox(), bytes(16)
    reader = PeerId(PEER_ID_PREFIX + bytes(32))
    now = Now(0, 0)
    outbox.peer_up(reader, now)
    for turn in range(2 * limits.DELIVERIES_AT_ONCE_MAX):
        now = Now(turn, turn)
        outbox.offer(serial, reader, b"grant", "name", 10**15, now)
        (ask,) = outbox.send_due(b"certificate", now)
        assert isinstance(ask, Request)
        token = Token(PREFIX + (b"o" + serial + reader).hex())
        assert ask.token == token  # asked anew: only this one is answered
    entry = outbox.answered(token)
    assert entry is not None
    outbox.done(entry)
    for number in range(limits.DELIVERIES_AT_ONCE_MAX):
        outbox.offer(number.to_bytes(16, "big"), reader, b"grant", "name", 10**15, now)
    assert len(outbox.send_due(b"certificate", now)) == limits.DELIVERIES_AT_ONCE_MAX


def test_a_search_answer_of_too_many_items_is_not_decoded(monkeypatch):
    text = "w" * limits.HIT_SNIPPET_CHARS_MAX
    hit = FoundHit(Cid.of(RAW, b"heron"), text[: limits.HIT_TITLE_CHARS_MAX], text, "text", 7)
    most = Found((hit,) * limits.SEARCH_HITS_MAX, 1_000, 2, 3)
    assert decode_search_answer(encode(most)) == most
    monkeypatch.setattr(messages, "decode", forbidden)
    with pytest.raises(DecodeError, match="items"):
        decode_search_answer(CROWD[: limits.SEARCH_ANSWER_BYTES_MAX])


def test_items_are_counted_as_the_decoder_counts_them():
    heads = [b"\x17", b"\x18\x18", b"\x1b" + b"\xff" * 8, b"\x38\xff", b"\xd8\x2a\x42\0\0"]
    heads += [b"\xf6", b"\xf5", b"\x62ab", b"\x78\x18" + b"a" * 24, b"\x59\x01\0" + bytes(256)]
    items = len(heads) + 1 + 1  # the list, and what is tagged
    data = bytes([0x80 + len(heads)]) + b"".join(heads)
    check_items(data, items)
    with pytest.raises(DecodeError, match="more than"):
        check_items(data, items - 1)
    for odd in (b"\x9f\xff", b"\x1c", b"\x5f"):
        with pytest.raises(DecodeError, match="length"):
            check_items(odd, 9)
    for cut in range(len(data)):
        check_items(data[:cut], items)  # that it is cut off is for the decoder to say
