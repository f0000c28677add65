"""Networks of people while the node runs: made, joined, left, renewed; who is in them.

Source: docs/networks.md. Keeps nothing itself (`node/networks_book.py`) and judges nothing
(`chain/membrane.py`); machine "dht" takes part. A network whose proof has run out stays in the
book, and says so, until it is renewed or left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from dms3.chain.membership import Invited, Link, cosign, decode_proof, encode_proof, invite
from dms3.chain.membrane import Invite, Member, Membrane, founders
from dms3.chain.networks import (
    SECRET_BYTES,
    VERSION,
    At,
    Invitation,
    Network,
    encode_network,
    is_network_name,
    make_network,
    parse_invitation,
)
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import Root
from dms3.core.limits import (
    ADDRESSES_PER_PEER_MAX,
    NETWORK_NAME_CHARS_MAX,
    NETWORK_NODES_MAX,
    NETWORK_RENEW_US,
    NETWORKS_MAX,
)
from dms3.core.machine import Entropy, View
from dms3.core.units import SECOND_US
from dms3.dht.presence import Presence, decode_presence, is_local
from dms3.io.clock import SystemClock
from dms3.node.identity import Identity
from dms3.node.networks_book import Book, Joined, Row, seed_key

Make = Callable[[bytes], Membrane]
"""A membrane, when the secret of its network is known."""


class Around(Protocol):
    """What networks need of a node."""

    @property
    def identity(self) -> Identity:
        """Whose node it is."""
        ...

    @property
    def clock(self) -> SystemClock:
        """Its clock."""
        ...

    @property
    def reachable(self) -> tuple[str, ...]:
        """Where it can be reached."""
        ...

    async def call(self, operation: str, arguments: Any = None) -> Any:
        """What a machine answers."""
        ...


class Networks:
    """The networks of the home of node `around`; `book`: which they are.

    `beside`: renews what apps show in their overlays.
    """

    def __init__(
        self,
        around: Around,
        book: Book,
        entropy: Entropy,
        beside: Callable[[], Awaitable[None]],
    ) -> None:
        self._around = around
        self._entropy = entropy
        self._beside = beside
        self._changing = asyncio.Lock()
        self.book = book
        self.problems: dict[bytes, str] = {}  # why this node is not in a network just now

    async def start(self, view: View) -> None:
        """Read the book."""
        await asyncio.to_thread(self.book.load, view)
        self.problems = {each.network.id: _COMING for each in self.book.all()}

    async def run(self) -> None:
        """Join what is in the book, and make proofs and certificates anew, until cancelled."""
        while True:
            await self._renew()
            await asyncio.sleep(NETWORK_RENEW_US / SECOND_US)
            await self._beside()

    async def _renew(self) -> None:
        for joined in self.book.all():
            async with self._changing:
                try:
                    await self._enter(joined.row)
                except Dms3Error as error:
                    self.problems[joined.network.id] = str(error)

    async def _enter(self, row: Row) -> Joined:
        """Take part with a proof that holds; durable before anybody hears of it."""
        wall_us = self._around.clock.now().wall_us
        joined = await self.book.keep(await self.book.proven(row, wall_us))
        await self._around.call("dht.join", self.book.joining(joined, wall_us))
        self.problems.pop(joined.network.id, None)
        return joined

    # Making, joining, leaving

    async def create(self, name: str, make: Make, *, local: bool, seed: str) -> Joined:
        """A network of this name; `make`: who may be in; `seed`: of a network behind one, else "".

        Raises `argument_invalid`, `already_exists`, `limit_reached`.
        """
        self._check_room()
        self._check_name(name, "Choose another name.")
        secret = self._entropy.draw(SECRET_BYTES)
        key = await asyncio.to_thread(seed_key, seed, secret) if seed else b""
        try:
            rule = await asyncio.to_thread(make, key)
            network = make_network(name, rule, secret, local=local)
        except ValueError as error:
            raise Dms3Error("argument_invalid", f"No network can be made: {error}.") from error
        return await self._begin(network, name, b"", key, ())

    async def join(self, text: str, name: str | None, seed: str) -> Joined:
        """Join by an invitation; again: with a newer proof, or to call it something else here.

        Raises `not_admitted`, and as `create`.
        """
        invitation, network = read_invitation(text)
        known = self.book.get(network.id)
        if known is None:
            self._check_room()
            self._check_name(name or network.name, "Join it under another name: --name OTHER.")
        elif name and name != known.name:
            self._check_name(name, "Choose another name.")
        key = await asyncio.to_thread(seed_key, seed, network.secret) if seed else b""
        if known is not None:
            row = known.row
            renewed = replace(
                row,
                name=name or row.name,
                proof=invitation.proof or row.proof,
                seed_key=key or row.seed_key,
                nodes=invitation.nodes or row.nodes,
            )
            async with self._changing:
                return await self._enter(renewed)
        return await self._begin(
            network, name or network.name, invitation.proof, key, invitation.nodes
        )

    async def leave(self, joined: Joined) -> None:
        """Take part no more."""
        async with self._changing:
            await self._around.call("dht.leave", joined.network.id)
            await self.book.drop(joined)
            self.problems.pop(joined.network.id, None)

    async def _begin(
        self, network: Network, name: str, proof: bytes, key: bytes, nodes: tuple[At, ...]
    ) -> Joined:
        wall_us = self._around.clock.now().wall_us
        row = Row(VERSION, name, encode_network(network), proof, key, nodes, wall_us)
        async with self._changing:
            try:
                return await self._enter(row)
            except Dms3Error:
                if (kept := self.book.get(network.id)) is not None:
                    await self.book.drop(kept)
                raise

    def _check_name(self, name: str, otherwise: str) -> None:
        if not is_network_name(name):
            why = f"A network has a name of one line, at most {NETWORK_NAME_CHARS_MAX} characters."
            raise Dms3Error("argument_invalid", why)
        if any(each.name == name for each in self.book.all()):
            raise Dms3Error(
                "already_exists",
                f"This node is in a network called {name} already.",
                hint=otherwise,
            )

    def _check_room(self) -> None:
        if len(self.book.all()) >= NETWORKS_MAX:
            why = f"This node is in {NETWORKS_MAX} networks, the most that it can be in."
            raise Dms3Error("limit_reached", why, hint="Leave one: dms3 network leave NAME.")

    # Inviting

    async def invite(self, joined: Joined, to: Root, until_us: int) -> Invitation:
        """An invitation of `to` until `until_us`, signed as far as this person can sign it.

        Raises `not_admitted` when this person may not invite, `argument_invalid`.
        """
        if not self.book.may_invite(joined):
            raise Dms3Error(
                "not_admitted",
                f"Only its admins invite to {joined.name}.",
                hint="Ask one of them: dms3 network list names them.",
            )
        proof = b""
        if isinstance(joined.rule, Invite | Member):
            proof = encode_proof(self._signed(joined, to, until_us))
        nodes = await self._nodes(joined)
        return Invitation(VERSION, joined.row.network, to, proof, nodes)

    def sign(self, text: str) -> tuple[Invitation, Network]:
        """An invitation that other admins began, signed by this person too; raises as `invite`."""
        invitation, network = read_invitation(text)
        proof = decode_proof(invitation.proof) if invitation.proof else None
        is_admin = self._around.identity.root in founders(network.rule)
        if not (isinstance(proof, Invited) and isinstance(network.rule, Invite) and is_admin):
            raise Dms3Error(
                "not_admitted",
                f"You are not an admin of {network.name}, who could sign it.",
                hint="Give the line to one of its admins.",
            )
        if (proof.overlay, proof.to) != (network.id, invitation.to):
            raise Dms3Error(
                "argument_invalid",
                "The invitation does not fit its own network.",
                hint="Ask whoever began it for a new one.",
            )
        signed = encode_proof(cosign(self._around.identity.tree.root(), proof))
        return replace(invitation, proof=signed), network

    def _signed(self, joined: Joined, to: Root, until_us: int) -> Invited:
        wall_us, key = self._around.clock.now().wall_us, self._around.identity.tree.root()
        under = None
        if key.public not in founders(joined.rule) and joined.row.proof:
            found = decode_proof(joined.row.proof)
            under = found if isinstance(found, Invited) else None
        try:
            return invite(key, joined.network.id, Link(to, wall_us, until_us), under)
        except ValueError as error:
            raise Dms3Error("argument_invalid", f"No such invitation: {error}.") from error

    async def _nodes(self, joined: Joined) -> tuple[At, ...]:
        """Where to begin: this node, and some that are there."""
        local = joined.network.local
        here = [each for each in self._around.reachable if not local or is_local(each)]
        nodes = [At(self._around.identity.peer, tuple(here[:ADDRESSES_PER_PEER_MAX]))]
        nodes += [
            At(each.peer, each.addresses)
            for each in await self.presences(joined)
            if each.peer != self._around.identity.peer and each.addresses
        ]
        return tuple(nodes[:NETWORK_NODES_MAX])

    # Looking

    def entered(self) -> list[Joined]:
        """The networks that this node is in now, by name."""
        return [each for each in self.book.all() if each.network.id not in self.problems]

    async def presences(self, joined: Joined) -> list[Presence]:
        """Of the members' nodes that are there now, this one's last; none while it is not in."""
        if joined.network.id in self.problems:
            return []
        found: tuple[bytes, ...] = await self._around.call("dht.members", joined.network.id)
        return [decode_presence(each) for each in found]


_COMING = "It is being joined; look again in a moment."


def read_invitation(text: str) -> tuple[Invitation, Network]:
    """The invitation written as `text`; raises `argument_invalid` with the next step."""
    try:
        return parse_invitation(text)
    except DecodeError as error:
        raise Dms3Error(
            "argument_invalid",
            f"This is no invitation: {error.reason}.",
            hint="Copy the whole line that begins with dms3net: once more.",
        ) from error
