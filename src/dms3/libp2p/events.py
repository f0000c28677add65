"""What a connection tells its owner, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.ids import PeerId
from dms3.libp2p.identify import IdentifyInfo


@dataclass(frozen=True, slots=True)
class Secured:
    """The peer has proved that it is `peer`; streams can be opened."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """Both sides agreed that `stream` speaks `protocol`; `inbound`: the peer opened it."""

    stream: int
    protocol: str
    inbound: bool


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes of a stream; call `consume` when they have been used."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The peer will send no more on this stream; ours may still be open."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The stream is over in both directions and what was under way is lost."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamDrained:
    """A send queue that had exceeded STREAM_QUEUE_NOTICE_BYTES is at or below it again."""

    stream: int


@dataclass(frozen=True, slots=True)
class Identified:
    """What the peer says about itself: its word, but for `info.signed_record`, which is verified.

    `forged`: it also sent a record that another peer, or nobody, has signed; that is left out.
    """

    info: IdentifyInfo
    forged: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over, with every stream; `code` is a key of core/errors.CODES."""

    code: str
    reason: str


ConnectionEvent = (
    Secured
    | StreamOpened
    | StreamData
    | StreamFinished
    | StreamReset
    | StreamDrained
    | Identified
    | Closed
)
