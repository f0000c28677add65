"""The networks this home is in: one durable row each, and the proofs that it makes for itself.

Source: docs/networks.md. Rows lie in the encrypted database, the key made from a seed too; the seed
itself is kept nowhere. Speaks to nobody: `node/networks.py` joins.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from dms3.chain.membership import encode_proof, prove_seed, prove_work
from dms3.chain.membrane import (
    Immune,
    Member,
    Membrane,
    Open,
    Seed,
    Who,
    Work,
    check,
    founders,
    proof_end_us,
)
from dms3.chain.networks import At, Network, decode_network
from dms3.chain.values import decode_values
from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import (
    ARGON2_LANES,
    ARGON2_MEMORY_KIB,
    ARGON2_PASSES,
    MEMBERSHIP_LIFE_US_MAX,
    PASSPHRASE_BYTES_MAX,
    PASSPHRASE_CHARS_MIN,
)
from dms3.core.machine import Delete, Persist, View, scan
from dms3.core.overlay import JoinOverlay, NodeAt
from dms3.core.verdict import Invalid
from dms3.crypto.signing import SEED_BYTES, SigningKey
from dms3.io.store import Store
from dms3.node.identity import Identity

TABLE = "networks/joined"
_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Row:
    """What is durable of a network: `network`, its description; `name`, what it is called here.

    `proof`: that this person may be in, b"" for who needs none; `seed_key`: made from the seed of
    the network, b"" without one; `nodes`: members to ask first.
    """

    v: int
    name: str
    network: bytes = field(repr=False)
    proof: bytes = field(repr=False)
    seed_key: bytes = field(repr=False)
    nodes: tuple[At, ...]
    joined_us: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A network and its row."""

    row: Row
    network: Network

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.row.name

    @property
    def rule(self) -> Membrane:
        """Who may be in it."""
        return self.network.rule


class Book:
    """The rows of the home of `identity`, in `store`."""

    def __init__(self, identity: Identity, store: Store) -> None:
        self._identity = identity
        self._store = store
        self._joined: dict[bytes, Joined] = {}

    def load(self, view: View) -> None:
        """Read the rows; for a thread."""
        for key, data in scan(view, TABLE):
            row = decode(Row, data)
            self._joined[key] = Joined(row, decode_network(row.network))

    def all(self) -> list[Joined]:
        """Every network, by name."""
        return sorted(self._joined.values(), key=lambda each: each.name)

    def get(self, overlay: bytes) -> Joined | None:
        """The network with that id."""
        return self._joined.get(overlay)

    def find(self, text: str) -> Joined:
        """The network of that name, or whose id begins so; raises `not_found`."""
        found = [each for each in self.all() if each.name == text]
        found = found or [
            each for each in self.all() if len(text) >= 8 and each.network.id.hex().startswith(text)
        ]
        if len(found) == 1:
            return found[0]
        raise Dms3Error(
            "not_found",
            f"This node is in no network called {text[:64]!r}.",
            hint="See dms3 network list.",
        )

    async def keep(self, row: Row) -> Joined:
        """Make `row` durable."""
        network = decode_network(row.network)
        written = self._store.commit([Persist(TABLE, network.id, encode(row))], [])
        await asyncio.wrap_future(written)
        made = self._joined[network.id] = Joined(row, network)
        return made

    async def drop(self, joined: Joined) -> None:
        """Forget a network."""
        written = self._store.commit([Delete(TABLE, joined.network.id)], [])
        await asyncio.wrap_future(written)
        del self._joined[joined.network.id]

    # Proofs

    async def proven(self, row: Row, wall_us: int) -> Row:
        """`row` with a proof that holds now; a new one when half of that by seed or work is over.

        Raises `not_admitted` when this person may not be in.
        """
        network, root = decode_network(row.network), self._identity.root
        end_us = proof_end_us(row.proof)
        is_fresh = end_us is not None and end_us - wall_us > MEMBERSHIP_LIFE_US_MAX // 2
        match network.rule:
            case Seed() if row.seed_key and not is_fresh:
                key = SigningKey.of_seed(row.seed_key)
                proof = encode_proof(prove_seed(key, network.id, root, wall_us))
                row = replace(row, proof=proof)
            case Work(bits) if not is_fresh:
                made = await asyncio.to_thread(prove_work, network.id, root, wall_us, bits)
                row = replace(row, proof=encode_proof(made))
        verdict = check(network.rule, network.id, Who(root), row.proof, wall_us)
        if isinstance(verdict, Invalid):
            raise Dms3Error(
                "not_admitted",
                f"You may not be in {row.name} ({verdict.rule}): {verdict.detail}.",
                hint=_next_step(network.rule, verdict.rule),
            )
        return row

    def joining(self, joined: Joined, wall_us: int) -> JoinOverlay:
        """How machine "dht" takes part in a network from now on."""
        row, network = joined.row, joined.network
        return JoinOverlay(
            overlay=network.id,
            membrane=decode_values(network.membrane, "membrane"),
            proof=row.proof,
            certificate=encode(self._identity.certify(wall_us)),
            secret=network.secret,
            nodes=tuple(NodeAt(PeerId(each.peer), each.addresses) for each in row.nodes),
            local=network.local,
        )

    def may_invite(self, joined: Joined) -> bool:
        """Whether this person's word is one that lets others in."""
        open_to_all = isinstance(joined.rule, Open | Seed | Work | Member | Immune)
        return open_to_all or self._identity.root in founders(joined.rule)


_NEXT_STEP = {
    "membrane-missing": "Ask a member for an invitation to your root (dms3 id show).",
    "membrane-member": "It is an invitation of somebody else: ask for one to your root.",
    "membrane-needed": "Give it to another admin: dms3 network sign INVITATION.",
    "membrane-expired": "Ask for a fresh invitation.",
    "membrane-early": "Compare the clocks of the two machines.",
    "membrane-admin": "Ask one of its admins for an invitation to your root (dms3 id show).",
}
_NEXT_STEP_SEED = {
    "membrane-missing": "Type its seed unseen: dms3 network join INVITATION --seed-file -",
    "membrane-admin": "The seed is another one. Ask who invited you for it, and type it again.",
}


def _next_step(rule: Membrane, broken: str) -> str:
    """What a person can do whose proof was refused because rule `broken` says so."""
    steps = _NEXT_STEP | (_NEXT_STEP_SEED if isinstance(rule, Seed) else {})
    return steps.get(broken, "Ask a member for an invitation to your root (dms3 id show).")


def seed_key(text: str, network_secret: bytes) -> bytes:
    """The 32 bytes made from the seed `text` (Argon2id, RFC 9106); about 0.1 s, for a thread.

    Raises `argument_invalid` for a seed that is too short or too long.
    """
    secret = text.strip().encode()
    if len(text.strip()) < PASSPHRASE_CHARS_MIN or len(secret) > PASSPHRASE_BYTES_MAX:
        why = (
            f"A seed has {PASSPHRASE_CHARS_MIN} characters or more, and at most "
            f"{PASSPHRASE_BYTES_MAX:,} bytes."
        )
        raise Dms3Error("argument_invalid", why, hint="A few words that nobody guesses will do.")
    salt = hashlib.sha256(b"dms3 network seed" + network_secret).digest()[:_SALT_BYTES]
    return Argon2id(
        salt=salt,
        length=SEED_BYTES,
        iterations=ARGON2_PASSES,
        lanes=ARGON2_LANES,
        memory_cost=ARGON2_MEMORY_KIB,
    ).derive(secret)
