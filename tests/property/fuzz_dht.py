"""What nodes of an overlay say to each other, and the rows of what is held."""

from dataclasses import replace

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError
from dms3.core.ids import Root
from dms3.core.limits import PRESENCE_LIFE_US, SECOND_US
from dms3.core.overlay import PUBLIC
from dms3.core.verdict import Invalid
from dms3.crypto.certificate import issue_certificate
from dms3.crypto.signing import SigningKey
from dms3.dht.chunks import chunk_key, decode_chunk, issue_chunk, solve
from dms3.dht.holding import Counts, Row
from dms3.dht.messages import (
    Code,
    Codes,
    Find,
    Get,
    Nodes,
    Offered,
    PutValue,
    Question,
    Values,
    Within,
    decode_codes,
    decode_nodes,
    decode_question,
    decode_values,
)
from dms3.dht.presence import Ticket, Verified, decode_presence, issue_presence
from dms3.dht.radius import Radius, RadiusRow
from dms3.libp2p.peer_id import NodeKey
from dms3.node.overlay_place import Head
from dms3.p2p.reach import prefix_of

_WALL_US = 1_800_000_000 * SECOND_US
_PRESENCE = issue_presence(
    NodeKey(bytes(32)), PUBLIC, ("/ip4/10.0.0.1/tcp/1", "/dns4/a.example.org/tcp/1"), _WALL_US
)
_ROOT = SigningKey.of_seed(b"r" * 32)
_CERTIFICATE = issue_certificate(
    _ROOT, NodeKey(bytes(32)).peer_id, "home", _WALL_US, _WALL_US + PRESENCE_LIFE_US
)
_TICKET = Ticket(Root(_ROOT.public), encode(_CERTIFICATE), b"a proof", _WALL_US + PRESENCE_LIFE_US)
_CLOSED = issue_presence(NodeKey(bytes(32)), PUBLIC, (), _WALL_US, _TICKET)


def open_presence(data: bytes) -> None:
    """A presence as it is met: one that does not hold is never accepted."""
    verdict = Verified().open(data, PUBLIC, _WALL_US)
    if isinstance(verdict, Invalid):
        raise DecodeError(0, verdict.detail)


FUZZ = {
    "question": decode_question,
    "nodes": decode_nodes,
    "values": decode_values,
    "codes": lambda data: decode_codes(data, 2),
    "presence": decode_presence,
    "presence as met": open_presence,
    "prefix of an address": lambda data: prefix_of(data.decode("utf-8", "replace")),
    "chunk": decode_chunk,
    "head of an object": lambda data: decode(Head, data, strict=True),
    "held row": lambda data: decode(Row, data),
    "counts row": lambda data: decode(Counts, data),
    "radius row": lambda data: decode(RadiusRow, data),
}

_KEY = chunk_key(bytes(32), "ab" * 32, 0, 0)
_CHUNK = issue_chunk(_KEY, b"sealed", sequence=1, work=solve(_KEY.public), wall_us=_WALL_US)
_FIND = Question(PUBLIC, _PRESENCE, find=Find(bytes(32)))
SEEDS = {
    "question": [
        encode(_FIND),
        encode(replace(_FIND, find=None, get=Get("note", b"key", b"slot"))),
        encode(replace(_FIND, find=None, offers=(Offered("note", b"key", bytes(16), _WALL_US),))),
        encode(replace(_FIND, find=None, puts=(PutValue("note", b"key", b"value", _WALL_US),))),
    ],
    "nodes": [encode(Nodes((_PRESENCE,), _PRESENCE)), encode(Nodes(()))],
    "values": [encode(Values((b"one", b"two"), True, (_PRESENCE,))), encode(Values((), False, ()))],
    "codes": [
        encode(Codes((Code.HELD, Code.FAR), _PRESENCE)),
        encode(Codes((Code.OUTSIDE, Code.WANTED), b"", (Within("block", bytes(32)),))),
    ],
    "presence": [_PRESENCE, _CLOSED],
    "presence as met": [_PRESENCE],
    "prefix of an address": [b"/ip4/8.8.4.4/tcp/1", b"/ip6/2a00::1/tcp/1", b"/dns/a.b/tcp/1"],
    "chunk": [_CHUNK.value],
    "head of an object": [encode(Head(1, 2, 60_000, bytes(32), b""))],
    "held row": [encode(Row(1, b"key", 5, _WALL_US + PRESENCE_LIFE_US, bytes(16), b"value"))],
    "counts row": [encode(Counts(1, 2))],
    "radius row": [encode(RadiusRow.of(Radius(5, 100)))],
}

SLOW = {"codes", "presence as met", "question"}
