"""Who this node is: the person's words, the node key of this home, and the certificate between.

Source: docs/architecture.md, "Who may read"; docs/adr/0001-key-tree.md. All of it lies in the
encrypted database and nowhere else. The node key is random per home and never restored.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, Root
from dms3.core.limits import CERTIFICATE_LIFE_US, ID_WORK_BITS, ID_WORK_TRIES_MAX
from dms3.core.machine import Entropy, Persist, View
from dms3.crypto.certificate import Certificate, issue_certificate
from dms3.crypto.keys import DEVICE_BYTES, KeyTree
from dms3.crypto.words import words_of_entropy
from dms3.libp2p.peer_id import NodeKey, id_work

TABLE = "node/identity"
_KEY = b"identity"
_SEED_BYTES = 32
_WORDS_ENTROPY_BYTES = 16  # BIP-39: 128 bits make twelve words


@dataclass(frozen=True, slots=True)
class _Stored:
    v: int
    words: str = field(repr=False)
    node_seed: bytes = field(repr=False)
    device: bytes
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """The person (`tree`, `words`), this home's `node_key` and `device`, a `name` for people."""

    words: str = field(repr=False)
    node_key: NodeKey
    device: bytes
    name: str
    tree: KeyTree

    @property
    def root(self) -> Root:
        """The person's public key."""
        return self.tree.root_id()

    @property
    def peer(self) -> PeerId:
        """This node's libp2p peer id."""
        return self.node_key.peer_id

    def certify(self, wall_us: int) -> Certificate:
        """A fresh certificate that this node acts for the person, valid from `wall_us` on."""
        return issue_certificate(
            self.tree.root(), self.peer, self.name, wall_us, wall_us + CERTIFICATE_LIFE_US
        )


def create_identity(entropy: Entropy, name: str, words: str = "") -> Identity:
    """A new node of the person of the twelve `words`, or of a new person without them.

    Raises `words_invalid`. Everything else about the node is new: its key is never restored.
    """
    words = words or words_of_entropy(entropy.draw(_WORDS_ENTROPY_BYTES))
    return Identity(
        words,
        draw_node_key(entropy),
        entropy.draw(DEVICE_BYTES),
        name,
        KeyTree.of_words(words),
    )


def draw_node_key(entropy: Entropy) -> NodeKey:
    """A fresh key whose peer id solves the puzzle of the network, `ID_WORK_BITS` zero bits.

    Every candidate comes from one draw of entropy, which is as secret as the key. Keys of homes
    that are older than the puzzle stay as they are.
    """
    drawn = entropy.draw(_SEED_BYTES)
    for number in range(ID_WORK_TRIES_MAX):
        key = NodeKey(hashlib.sha256(b"dms3 node key" + drawn + number.to_bytes(4, "big")).digest())
        if id_work(key.public.data) >= ID_WORK_BITS:
            return key
    raise Dms3Error("internal", f"None of {ID_WORK_TRIES_MAX} keys solves the puzzle of peer ids.")


def load_identity(view: View) -> Identity | None:
    """The identity kept in the database, or None in a new home."""
    data = view.get(TABLE, _KEY)
    if data is None:
        return None
    stored = decode(_Stored, data, strict=True)
    return Identity(
        stored.words,
        NodeKey(stored.node_seed),
        stored.device,
        stored.name,
        KeyTree.of_words(stored.words),
    )


def keep_identity(identity: Identity) -> Persist:
    """The write that keeps `identity`; commit it before anyone is told of it."""
    stored = _Stored(1, identity.words, identity.node_key.seed, identity.device, identity.name)
    return Persist(TABLE, _KEY, encode(stored))
