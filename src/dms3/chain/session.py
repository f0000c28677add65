"""Countersigning: what parties agree on beforehand, each one's acceptance, and the whole of it.

Source: IPS paper, appendix C (countersigning); docs/wire.md, "Source chains". The proposer signs a
preflight; each party answers with an acceptance that fixes where its action will stand in its own
chain; the entry carries all of it, so every action proves that all have signed. Locks no chain:
see `source/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from dms3.chain.action import KEY_BYTES, Action
from dms3.chain.entry import Entry, make_entry
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import INTEGER_MAX, check_items, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ACCEPTANCE_BYTES_MAX,
    COUNTERSIGNERS_MAX,
    COUNTERSIGNERS_MIN,
    DNA_NAME_CHARS_MAX,
    PREFLIGHT_BYTES_MAX,
    SESSION_BYTES_MAX,
    SESSION_WINDOW_US_MAX,
    SESSION_WINDOW_US_MIN,
)
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey

DOMAIN = b"countersign preflight"
ACCEPTANCE_DOMAIN = b"countersign acceptance"
VERSION = 1
_ITEMS_MAX = 64


@dataclass(frozen=True, slots=True)
class Preflight:
    """`proposer` asks `parties` (sorted, itself included) to countersign an entry of `kind`.

    `entry`: hash of the entry as `make_entry(content)` makes it, without a session. All actions
    bear a time from `since_us` until `until_us` (wall clock).
    """

    v: int
    overlay: bytes
    proposer: bytes
    parties: tuple[bytes, ...]
    entry: Cid
    kind: str
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of sessions is not known")
        need(len(self.overlay) == KEY_BYTES, "an overlay has 32 bytes")
        some = COUNTERSIGNERS_MIN <= len(self.parties) <= COUNTERSIGNERS_MAX
        need(some, f"a session has {COUNTERSIGNERS_MIN} to {COUNTERSIGNERS_MAX} parties")
        need(all(len(each) == KEY_BYTES for each in self.parties), "an agent has 32 bytes")
        need(self.parties == tuple(sorted(set(self.parties))), "each party is named once, sorted")
        need(self.proposer in self.parties, "the proposer is one of the parties")
        need(self.entry.codec == DAG_CBOR, "the entry is a dag-cbor block")
        need(0 < len(self.kind) <= DNA_NAME_CHARS_MAX, "not the name of an entry kind")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        window = self.until_us - self.since_us
        fits = SESSION_WINDOW_US_MIN <= window <= SESSION_WINDOW_US_MAX
        need(fits, "the window is shorter than a second or longer than a day")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")

    @property
    def id(self) -> bytes:
        """The id of the session: SHA-256 of all that is agreed on, 32 bytes."""
        return hashlib.sha256(encode(dataclasses.replace(self, signature=b""))).digest()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`agent` accepts `session`: its action has place `seq` in its chain, behind `prev`."""

    v: int
    session: bytes
    agent: bytes
    seq: int
    prev: Cid
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of sessions is not known")
        need(len(self.session) == KEY_BYTES, "a session id has 32 bytes")
        need(len(self.agent) == KEY_BYTES, "an agent has 32 bytes")
        need(0 < self.seq <= INTEGER_MAX, "seq is not a place behind another action")
        need(self.prev.codec == DAG_CBOR, "prev is the hash of an action")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a countersigned entry carries: the preflight and all acceptances, in order of parties.

    Both encoded; nothing is checked yet: see `check_session`.
    """

    preflight: bytes
    acceptances: tuple[bytes, ...]

    def __post_init__(self) -> None:
        need(len(self.preflight) <= PREFLIGHT_BYTES_MAX, "the preflight is too long")
        need(len(self.acceptances) <= COUNTERSIGNERS_MAX, "too many acceptances")
        for each in self.acceptances:
            need(len(each) <= ACCEPTANCE_BYTES_MAX, "an acceptance is too long")


def propose_session(key: SigningKey, bare: Preflight) -> bytes:
    """The encoded preflight `bare` (its signature empty), signed by its proposer `key`."""
    assert bare.proposer == key.public, "a preflight is signed by its proposer"
    return encode(signed_by(key, DOMAIN, bare))


def accept_session(key: SigningKey, session: bytes, seq: int, prev: Cid) -> bytes:
    """The encoded acceptance of `session` by agent `key` for place `seq` behind `prev`."""
    bare = Acceptance(VERSION, session, key.public, seq, prev, b"")
    return encode(signed_by(key, ACCEPTANCE_DOMAIN, bare))


def decode_preflight(data: bytes) -> Preflight:
    """The preflight in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, PREFLIGHT_BYTES_MAX, "a preflight")
    check_items(data, _ITEMS_MAX)
    found = decode(Preflight, data, strict=True)
    if not found.signature:
        raise DecodeError(0, "the preflight is not signed")
    return found


def decode_acceptance(data: bytes) -> Acceptance:
    """The acceptance in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, ACCEPTANCE_BYTES_MAX, "an acceptance")
    found = decode(Acceptance, data, strict=True)
    if not found.signature:
        raise DecodeError(0, "the acceptance is not signed")
    return found


def decode_agreed(data: bytes) -> tuple[Preflight, tuple[Acceptance, ...]]:
    """The session that a countersigned entry carries, not yet checked; raises DecodeError only."""
    need_at_most(data, SESSION_BYTES_MAX, "a session")
    check_items(data, _ITEMS_MAX)
    found = decode(Agreed, data, strict=True)
    accepted = tuple(decode_acceptance(each) for each in found.acceptances)
    return decode_preflight(found.preflight), accepted


def check_preflight(preflight: Preflight) -> bool:
    """Whether its proposer has signed it."""
    return is_signed_by(preflight.proposer, DOMAIN, preflight)


def check_acceptance(acceptance: Acceptance) -> bool:
    """Whether its agent has signed it."""
    return is_signed_by(acceptance.agent, ACCEPTANCE_DOMAIN, acceptance)


def session_entry(
    content: object, preflight: bytes, accepted: Sequence[bytes]
) -> tuple[Cid, bytes]:
    """The hash and bytes of the countersigned entry; `accepted`: encoded, of every party."""
    order = sorted(accepted, key=lambda each: decode_acceptance(each).agent)
    return make_entry(content, session=encode(Agreed(preflight, tuple(order))))


def check_session(action: Action, entry: Entry) -> str:
    """What is wrong with the countersigning of `entry` by `action`, as one clause; "": nothing."""
    try:
        preflight, accepted = decode_agreed(entry.session)
    except DecodeError as error:
        return error.reason
    faults = chain(
        _faults_of_preflight(preflight, action, entry),
        _faults_of_acceptances(preflight, accepted, action),
    )
    return next(faults, "")


def _faults_of_preflight(preflight: Preflight, action: Action, entry: Entry) -> Iterator[str]:
    if not check_preflight(preflight):
        yield "the proposer has not signed the preflight"
    if preflight.overlay != action.dna:
        yield "the session is of another app"
    if preflight.id != action.session:
        yield "the action is of another session"
    if preflight.kind != action.entry_kind:
        yield "the session is about another kind of entry"
    if make_entry(entry.content)[0] != preflight.entry:
        yield "the parties agreed on another content"
    if not preflight.since_us <= action.time_us <= preflight.until_us:
        yield "the action is outside the window of the session"


def _faults_of_acceptances(
    preflight: Preflight, accepted: Sequence[Acceptance], action: Action
) -> Iterator[str]:
    if tuple(each.agent for each in accepted) != preflight.parties:
        yield "not every party has accepted, each once and in order"
    if any(each.session != preflight.id or not check_acceptance(each) for each in accepted):
        yield "an acceptance is not signed by its party for this session"
    places = [(each.seq, each.prev) for each in accepted if each.agent == action.author]
    if not places:
        yield "its author is not one of the parties"
    if (action.seq, action.prev) not in places:
        yield "its author has accepted for another place in the chain"
