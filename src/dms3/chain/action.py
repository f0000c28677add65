"""Actions: the links of a source chain, each signed by its author and named by its hash.

Source: IPS paper, source chains; docs/wire.md, "Source chains". One frozen type for all kinds,
since the codec has no unions: which fields a kind has is in `KINDS`, and a field that a kind does
not have is empty. An action has exactly one byte form: canonical dag-cbor of all its fields; its
hash is the CID of these bytes. Says nothing about whether it fits its chain: see `chain/rules.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import INTEGER_MAX, check_items, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ACTION_BYTES_MAX,
    ACTIONS_DECODED_MAX,
    DNA_NAME_CHARS_MAX,
    EVIDENCE_BYTES_MAX,
    MEMBRANE_PROOF_BYTES_MAX,
    WARRANT_BYTES_MAX,
)
from dms3.core.multibase import encode_base32
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey, verify

DOMAIN = b"action"
VERSION = 1
KEY_BYTES = PUBLIC_BYTES
SESSION_ID_BYTES = 32
BASE_BYTES_MAX = 64  # a CID has 36 bytes, an agent 32
GENESIS = ("dna", "proof", "agent")
"""The kinds of the first three actions of every chain."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action of `author` in `dna`; hashes of 36 bytes are Cid, keys and DNA ids 32 bytes.

    `root`: the person behind the author, as the certificate of action 2 proves. `prev`: the action
    before, None at seq 0. `time_us`: wall clock of the author. Fields of single kinds:
    `entry`, `entry_kind`, `private`: create, update, countersign; open and close carry the state
    that moves along as `entry`. `sealed`: CID (raw) of the sealed bytes of a private entry.
    `target`, `target_entry`: the action (and its entry) that is updated or deleted, the link action
    that is unlinked, the close action of the other chain (open). `base`, `to`, `tag`, `link_kind`:
    a link; `to` is also the agent's key in the other DNA (close), and who is warned of (warrant).
    `proof`: membrane proof (proof; create and update of a kind that asks for one), signed close
    action (open), evidence (warrant).
    `certificate`: of this agent key (seq 2) or of the next one; `revocation`: of an agent key.
    `other_dna`: where a chain goes on (close) or comes from (open). `session`: of a countersigning.
    """

    v: int
    dna: bytes
    author: bytes
    root: bytes
    seq: int
    prev: Cid | None
    time_us: int
    kind: str
    entry: Cid | None = None
    entry_kind: str = ""
    private: bool = False
    sealed: Cid | None = None
    target: Cid | None = None
    target_entry: Cid | None = None
    base: bytes = b""
    to: bytes = b""
    tag: bytes = b""
    link_kind: str = ""
    proof: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    revocation: bytes = field(default=b"", repr=False)
    other_dna: bytes = b""
    session: bytes = b""

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of actions is not known")
        for name in ("dna", "author", "root"):
            need(len(getattr(self, name)) == KEY_BYTES, f"{name} has 32 bytes")
        need(0 <= self.seq <= INTEGER_MAX, "seq is not a place in a chain")
        need((self.prev is None) == (self.seq == 0), "prev is of every action but the first")
        need(0 <= self.time_us <= INTEGER_MAX, "the time is out of range")
        need(self.kind in KINDS, f"{self.kind[:32]!r} is no kind of action")
        _check_fields(self)
        _check_sizes(self)


_ENTRY = frozenset({"entry", "entry_kind"})
_HIDDEN = frozenset({"private", "sealed"})
# kind -> fields that it must have, and those that it may have
KINDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "dna": (frozenset(), frozenset()),
    "proof": (frozenset(), frozenset({"proof"})),
    "agent": (frozenset(), frozenset({"certificate", "revocation"})),
    "create": (_ENTRY, _HIDDEN | {"proof"}),
    "update": (_ENTRY | {"target", "target_entry"}, _HIDDEN | {"proof"}),
    "delete": (frozenset({"target", "target_entry"}), frozenset()),
    "link": (frozenset({"base", "to", "link_kind"}), frozenset({"tag"})),
    "unlink": (frozenset({"base", "target"}), frozenset()),
    "open": (frozenset({"other_dna", "target", "proof"}), frozenset({"entry"})),
    "close": (frozenset({"other_dna", "to"}), frozenset({"entry"})),
    "countersign": (_ENTRY | {"session"}, frozenset()),
    "warrant": (frozenset({"to", "proof"}), frozenset()),
}
_COMMON = 8  # fields that every kind has come first
_SPECIAL = tuple(each.name for each in dataclasses.fields(Action))[_COMMON:]


def _check_fields(action: Action) -> None:
    must, may = KINDS[action.kind]
    for name in _SPECIAL:
        present = bool(getattr(action, name))
        if name in must:
            need(present, f"{action.kind} lacks {name}")
        elif name not in may:
            need(not present, f"{action.kind} has no {name}")
    if action.kind == "agent":
        one = bool(action.certificate) != bool(action.revocation)
        need(one, "agent has either a certificate or a revocation")
    need(action.private or action.sealed is None, "only a private entry is sealed")


def _check_sizes(action: Action) -> None:
    for name in ("entry", "target", "target_entry"):
        cid = getattr(action, name)
        need(cid is None or cid.codec == DAG_CBOR, f"{name} is the hash of a dag-cbor block")
    need(action.prev is None or action.prev.codec == DAG_CBOR, "prev is the hash of an action")
    need(action.sealed is None or action.sealed.codec == RAW, "sealed is the hash of raw bytes")
    for name in ("base", "to"):
        need(len(getattr(action, name)) <= BASE_BYTES_MAX, f"{name} is too long")
    for name in ("entry_kind", "link_kind"):
        need(len(getattr(action, name)) <= DNA_NAME_CHARS_MAX, f"{name} is too long")
    need(len(action.other_dna) in (0, KEY_BYTES), "a DNA id has 32 bytes")
    need(len(action.session) in (0, SESSION_ID_BYTES), "a session id has 32 bytes")
    if action.kind in ("close", "warrant"):
        need(len(action.to) == KEY_BYTES, "an agent has 32 bytes")
    most = EVIDENCE_BYTES_MAX if action.kind == "warrant" else MEMBRANE_PROOF_BYTES_MAX
    need(len(action.proof) <= most, "the proof is too long")


@dataclass(frozen=True, slots=True)
class SignedAction:
    """An action with its signature; `data` are its canonical bytes, `hash` is their CID.

    Made by `sign_action` and `decode_signed` alone. The signature is not checked yet: see
    `check_signature`. It is not part of the hash.
    """

    action: Action
    signature: bytes = field(repr=False)
    data: bytes = field(repr=False)
    hash: Cid


@dataclass(frozen=True, slots=True)
class _Signed:
    action: bytes
    signature: bytes

    def __post_init__(self) -> None:
        need(len(self.signature) == SIGNATURE_BYTES, "a signature has 64 bytes")


SIGNED_BYTES_MAX = ACTION_BYTES_MAX + 128
SIGNED_WARRANT_BYTES_MAX = WARRANT_BYTES_MAX + 128
_ITEMS_MAX = 64  # names and values of an action


def sign_action(key: SigningKey, action: Action) -> SignedAction:
    """`action` signed by `key`, which is its author's; ValueError when its bytes are too many."""
    assert key.public == action.author, "an action is signed by its author"
    data = encode(action)
    need(len(data) <= _bytes_max(action), "the action is too long")
    return SignedAction(action, key.sign(DOMAIN, data), data, action_hash(data))


def action_hash(data: bytes) -> Cid:
    """The hash of the action with canonical bytes `data`."""
    return Cid.of(DAG_CBOR, data)


def encode_signed(signed: SignedAction) -> bytes:
    """The bytes of a signed action, on the wire and on disk."""
    return _signed_bytes(signed.data, signed.signature)


@lru_cache(maxsize=ACTIONS_DECODED_MAX)  # one action goes out in each of its ops, and in its rows
def _signed_bytes(data: bytes, signature: bytes) -> bytes:
    return encode(_Signed(data, signature))


def decode_action(data: bytes) -> Action:
    """The action whose one byte form is `data`; raises DecodeError, and nothing else."""
    need_at_most(data, WARRANT_BYTES_MAX, "an action")
    check_items(data, _ITEMS_MAX)
    action = decode(Action, data, strict=True)
    need_at_most(data, _bytes_max(action), "an action")
    if encode(action) != data:  # a field that was left out
        raise DecodeError(0, "not the one byte form of this action")
    return action


@lru_cache(maxsize=ACTIONS_DECODED_MAX)  # one action comes in each of its ops, and in its rows
def decode_signed(data: bytes) -> SignedAction:
    """The signed action in `data`, its signature not yet checked; raises DecodeError only."""
    need_at_most(data, SIGNED_WARRANT_BYTES_MAX, "a signed action")
    check_items(data, _ITEMS_MAX)
    found = decode(_Signed, data, strict=True)
    action = decode_action(found.action)
    return SignedAction(action, found.signature, found.action, action_hash(found.action))


def check_signature(signed: SignedAction) -> bool:
    """Whether its author has signed it."""
    return _is_signed(signed.action.author, signed.data, signed.signature)


@lru_cache(maxsize=ACTIONS_DECODED_MAX)  # who takes an action in looks, and the rules look again
def _is_signed(author: bytes, data: bytes, signature: bytes) -> bool:
    return verify(author, DOMAIN, data, signature)


def plain(signed: SignedAction) -> dict[str, Any]:
    """The action as JSON values, for rules and pages: fields that its kind has, and its "hash".

    Hashes are CID text; keys, DNA ids and other bytes are lower-case base32 without padding. In
    `base` and `to` a hash is CID text (see `name_of`); `tag` is text, and what is not UTF-8 in it
    becomes U+FFFD. `root` is called "person", `time_us` "time".
    """
    action = signed.action
    found: dict[str, Any] = {"hash": str(signed.hash)}
    must, may = KINDS[action.kind]
    for each in dataclasses.fields(action):
        name = each.name
        if name in _PLAIN_COMMON or name in must or name in may:
            found[_PLAIN_NAMES.get(name, name)] = _plain_value(name, getattr(action, name))
    return found


def name_of(key: bytes) -> str:
    """`key` (the base or target of a link, a hash or agent) as text: CID text when it is one."""
    try:
        return str(Cid.decode(key))
    except DecodeError:
        return encode_base32(key)


_PLAIN_COMMON = frozenset({"dna", "author", "root", "seq", "prev", "time_us", "kind"})
_PLAIN_NAMES = {"time_us": "time", "root": "person"}


def _plain_value(name: str, value: Any) -> Any:
    if isinstance(value, Cid):
        return str(value)
    if not isinstance(value, bytes):
        return value
    if name == "tag":
        return value.decode("utf-8", "replace")
    return name_of(value) if name in ("base", "to") else encode_base32(value)


def _bytes_max(action: Action) -> int:
    return WARRANT_BYTES_MAX if action.kind == "warrant" else ACTION_BYTES_MAX
