"""Decoders of the p2p protocols for the fuzz harness: frames, version frames, failures, cards."""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.machine import Now
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.libp2p.peer_record import seal_record
from dms3.p2p.announcing import Own
from dms3.p2p.card import Card, card_text, decode_card, encode_card, issue_card, parse_card
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.contacts import Contact
from dms3.p2p.dialing import parse_place
from dms3.p2p.exchange import Ask, Records, decode_ask, decode_records
from dms3.p2p.frames import (
    Version,
    decode_failure,
    decode_frames,
    decode_version,
    encode_failure,
    encode_frame,
    encode_version,
)
from dms3.p2p.hearsay import Row, Said, Word
from dms3.p2p.known import Known, KnownPeers
from dms3.p2p.link import Link
from dms3.p2p.port import Introduced
from dms3.p2p.probing import Probe
from dms3.p2p.stream import Asked, Given, Misconduct, Refused

_KEY = SigningKey.of_seed(bytes(range(32)))
_PEER = PeerId(PEER_ID_PREFIX + _KEY.public)
_NETWORK = bytes(range(32))
_PROTOCOL = "/dms3/test/1"
_ADDRESS = "/ip4/127.0.0.1/tcp/4001"


class _Sink:
    """A connection on which everything is sent at once."""

    def open_stream(self, protocols: Sequence[str]) -> int:
        return len(protocols)

    def send(self, stream: int, data: bytes) -> int:
        del stream, data
        return 0

    def consume(self, stream: int, count: int) -> None:
        del stream
        assert count > 0

    def finish(self, stream: int) -> None:
        pass

    def reset(self, stream: int) -> None:
        pass


def _card() -> Card:
    return issue_card(
        _KEY,
        name="Alice",
        peer=_PEER,
        addresses=[_ADDRESS],
        certificate=b"certificate",
        since_us=1,
        until_us=2,
    )


def read_text(data: bytes) -> Card:
    """The card in text that came as UTF-8."""
    return parse_card(data.decode("utf-8", "replace"))


def answer_stream(data: bytes) -> None:
    """A link is asked with `data` and answers everything; misconduct must have a known name."""
    link = Link(_Sink(), {_PROTOCOL: (0,)}, _NETWORK)
    link.on_opened(2, _PROTOCOL, 0)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        for event in link.on_data(2, piece, 0):
            if isinstance(event, Asked):
                link.taken(event)
                link.reply(event.request, event.body, 0)
            elif isinstance(event, Misconduct):
                assert event.code in CONDUCT
                raise DecodeError(0, event.code)
    link.on_timer(10**9)
    link.close()


def ask_stream(data: bytes) -> None:
    """A link has asked two questions and reads `data`: each must end exactly once."""
    link = Link(_Sink(), {_PROTOCOL: (0,)}, _NETWORK)
    for handle in (1, 2):
        assert link.request(_PROTOCOL, b"question", handle, 10**9, 0) is None
    events = link.on_data(1, data, 0) + link.on_timer(10**10) + link.close()
    ended = sorted(event.handle for event in events if isinstance(event, Given))
    assert ended == [1, 2]
    if any(isinstance(event, Misconduct | Refused) for event in events):
        raise DecodeError(0, "refused")


def read_place(data: bytes) -> None:
    """An address as a person writes it; its refusal is the caller's fault, not a DecodeError."""
    try:
        parse_place(data.decode("utf-8", "replace"))
    except Dms3Error as error:
        raise DecodeError(0, error.code) from error


def introduce(data: bytes) -> None:
    """A connected peer sends `data` as its signed record: believed only when it is its own."""
    known = KnownPeers()
    peer = NodeKey(bytes(32)).peer_id
    known.on_up(peer, _ADDRESS, Now(1, 1), inbound=True, keep=lambda _: False)
    known.introduced(Introduced(peer, (), record=data))


FUZZ = {
    "frames": decode_frames,
    "version frame": decode_version,
    "failure frame": decode_failure,
    "stream of questions": answer_stream,
    "stream of answers": ask_stream,
    "card": decode_card,
    "card text": read_text,
    "place": read_place,
    "probe": lambda data: decode(Probe, data),
    "contact row": lambda data: decode(Contact, data),
    "known row": lambda data: decode(Known, data),
    "own row": lambda data: decode(Own, data),
    "exchange question": decode_ask,
    "exchange answer": decode_records,
    "heard row": lambda data: decode(Row, data),
    "introduction": introduce,
}

_VERSION = encode_version(Version(_NETWORK, (0, 1)))
_HELLO = encode_frame(0, 0, encode_version(Version(_NETWORK, (0,))))
_RECORD = seal_record(NodeKey(bytes(32)), 7, [Multiaddr.parse(_ADDRESS)])
_FAILURE = encode_failure(Failure("not_found", "There is no such block."))

SEEDS = {
    "frames": [encode_frame(1, 1, b"question") + encode_frame(4, 1, b""), encode_frame(5, 0, b"m")],
    "version frame": [_VERSION],
    "failure frame": [_FAILURE],
    "stream of questions": [
        _HELLO + encode_frame(1, 1, b"a") + encode_frame(4, 1, b"") + encode_frame(5, 0, b"m")
    ],
    "stream of answers": [_HELLO + encode_frame(2, 1, b"a") + encode_frame(3, 2, _FAILURE)],
    "card": [encode_card(_card())],
    "card text": [card_text(_card()).encode()],
    "place": [_ADDRESS.encode(), peer_id_text(_PEER).encode()],
    "probe": [encode(Probe(b"12345678"))],
    "contact row": [encode(Contact(_KEY.public, "Alice", _PEER, (_ADDRESS,), b"", 1))],
    "known row": [encode(Known(_PEER, (_ADDRESS,), 1, found="lan"))],
    "own row": [encode(Own(1, (_ADDRESS,)))],
    "exchange question": [encode(Ask(8)), encode(Ask(1, 32))],
    "exchange answer": [
        encode(Records((_RECORD,))),
        encode(Records((_RECORD, _RECORD), (Word(_PEER, 1, 2), Word(b"other", 1_000_000, 0)))),
    ],
    "heard row": [encode(Row(_PEER, (Said("198.51.100.0/24", 1, 2, 3),)))],
    "introduction": [_RECORD],
}
# Their signatures are verified; the record itself has the full count in fuzz_libp2p.py.
COUNTS = {
    "exchange answer": (20_000, "every record in it is verified"),
    "introduction": (10_000, "a peer book is made for each input, and a record verified"),
}

SLOW = {"card", "card text", "stream of answers", "stream of questions"}
