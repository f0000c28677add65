"""Peers tell each other of peers: /dms3/exchange/1, its messages, whom to ask and what to answer.

Source: docs/wire.md, "/dms3/exchange/1". What is passed on are records that their own peers have
signed, of peers that take part in what is public; nothing else that this node knows of anybody.
Plain state that `p2p/peers.py` drives; what is learned is dialled by `p2p/finds.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.codec import decode, encode, need_at_most
from dms3.core.ids import PeerId
from dms3.core.limits import (
    EXCHANGE_ANSWER_BYTES_MAX,
    EXCHANGE_ASK_US,
    EXCHANGE_ASKED_MAX,
    EXCHANGE_BURST_MAX,
    EXCHANGE_LEAK_US,
    EXCHANGE_QUESTION_BYTES_MAX,
    EXCHANGE_RECORD_BYTES_MAX,
    EXCHANGE_RECORDS_MAX,
    HEARSAY_WORDS_MAX,
    PEERS_WANTED_MIN,
)
from dms3.core.machine import Entropy
from dms3.libp2p.peer_record import PeerRecord, open_record
from dms3.p2p.conduct import Bucket
from dms3.p2p.hearsay import Word, check_words
from dms3.p2p.reach import Reach, others_word

PROTOCOL = "/dms3/exchange/1"
MINORS = (0,)
_SALT_BYTES = 8


@dataclass(frozen=True, slots=True)
class Ask:
    """How many peers the asker would like to hear of, and how many words on their uptime."""

    count: int
    words: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= EXCHANGE_RECORDS_MAX:
            raise ValueError(f"one asks for 1 to {EXCHANGE_RECORDS_MAX} peers")
        if not 0 <= self.words <= HEARSAY_WORDS_MAX:
            raise ValueError(f"one asks for {HEARSAY_WORDS_MAX} words at most")


@dataclass(frozen=True, slots=True)
class Records:
    """The answer: signed peer records as they came from their peers, and the answerer's words."""

    records: tuple[bytes, ...]
    words: tuple[Word, ...] = ()

    def __post_init__(self) -> None:
        if len(self.records) > EXCHANGE_RECORDS_MAX:
            raise ValueError("too many records")
        if any(len(record) > EXCHANGE_RECORD_BYTES_MAX for record in self.records):
            raise ValueError("a record is too long")
        check_words(self.words)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer whose records hold."""

    records: tuple[PeerRecord, ...]
    words: tuple[Word, ...]


def decode_ask(body: bytes) -> Ask:
    """The question in `body`; raises DecodeError, and nothing else."""
    need_at_most(body, EXCHANGE_QUESTION_BYTES_MAX, "a question for peers")
    return decode(Ask, body)


def decode_records(body: bytes) -> Told:
    """The answer `body`, its records verified; raises DecodeError when one does not hold."""
    need_at_most(body, EXCHANGE_ANSWER_BYTES_MAX, "an answer with peers")
    answer = decode(Records, body)
    return Told(tuple(open_record(record) for record in answer.records), answer.words)


def choose(
    records: Sequence[tuple[bytes, PeerRecord]], count: int, near: Reach, entropy: Entropy
) -> tuple[bytes, ...]:
    """At most `count` of `records`, drawn at random, that somebody at `near` may make use of.

    At random, so that whoever asks again and again learns slowly whom this node is connected to.
    """
    useful = [
        sealed
        for sealed, record in records
        if len(sealed) <= EXCHANGE_RECORD_BYTES_MAX and others_word(record.addresses, near)
    ]
    salt = entropy.draw(_SALT_BYTES)
    useful.sort(key=lambda record: hashlib.sha256(salt + record).digest())
    return tuple(useful[:count])


class Exchange:
    """Whom this node has asked and who has asked it; all of connected peers only."""

    def __init__(self) -> None:
        self.timer: int | None = None
        self._asked: dict[PeerId, int] = {}  # when, on the monotonic clock
        self._unable: set[PeerId] = set()  # does not speak the protocol
        self._askers: dict[PeerId, Bucket] = {}

    def due(self, ours: Sequence[PeerId], now_us: int) -> list[tuple[PeerId, bytes]]:
        """Which of the connected peers `ours` to ask now, and what; nobody when they are enough."""
        self.timer = None
        missing = PEERS_WANTED_MIN - len(ours)
        if missing <= 0:
            return []
        able = self.able(ours)
        ready = [peer for peer in able if self._due_us(peer) <= now_us]
        ready.sort(key=lambda peer: (self._asked.get(peer, -1), peer))
        chosen = ready[:EXCHANGE_ASKED_MAX]
        for peer in chosen:
            self._asked[peer] = now_us
        if able:
            self.timer = max(now_us + 1, min(map(self._due_us, able)))
        question = encode(Ask(min(EXCHANGE_RECORDS_MAX, missing)))
        return [(peer, question) for peer in chosen]

    def able(self, ours: Sequence[PeerId]) -> list[PeerId]:
        """Which of `ours` speak the protocol, as far as is known."""
        return [peer for peer in ours if peer not in self._unable]

    def admit(self, peer: PeerId, now_us: int) -> bool:
        """Whether a question of `peer` is answered now."""
        bucket = self._askers.setdefault(peer, Bucket(EXCHANGE_BURST_MAX, EXCHANGE_LEAK_US))
        return bucket.admit(now_us)

    def unable(self, peer: PeerId) -> None:
        """The peer does not speak the protocol: not asked again on this connection."""
        self._unable.add(peer)

    def gone(self, peer: PeerId) -> None:
        """The connection has closed."""
        self._asked.pop(peer, None)
        self._unable.discard(peer)
        self._askers.pop(peer, None)

    def _due_us(self, peer: PeerId) -> int:
        asked = self._asked.get(peer)
        return 0 if asked is None else asked + EXCHANGE_ASK_US
