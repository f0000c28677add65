"""Networks for people and programs: what the `network` commands do.

Source: docs/networks.md; docs/interfaces.md, `network`. Implements `NetworkServices` of
node/services_network.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dms3.chain.membership import Invited, decode_proof
from dms3.chain.membrane import (
    Immune,
    Invite,
    Member,
    Membrane,
    Open,
    Seed,
    Work,
    founders,
    membrane_values,
    proof_end_us,
    words,
)
from dms3.chain.networks import Invitation, invitation_text
from dms3.chain.operations import WarnedOf
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, PeerId, Root
from dms3.core.multibase import encode_base32
from dms3.core.overlay import PUBLIC, OverlayFigures
from dms3.core.units import SECOND_US
from dms3.crypto.signing import PUBLIC_BYTES, SigningKey
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.dapps_invites import invite_to
from dms3.node.networks import Make, Networks
from dms3.node.networks_book import Joined
from dms3.node.node import Node
from dms3.node.overlay_held import holds
from dms3.node.publishing import publications, unpublish_all
from dms3.node.services_network import Wish
from dms3.p2p.contacts import Contact

DAY_US = 24 * 3_600 * SECOND_US
LOCAL = "lan"


class NetworkAnswers:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def _networks(self) -> Networks:
        assert self._node.networks is not None, "networks are a part of every node"
        return self._node.networks

    async def create(self, name: str, wish: Wish) -> dict[str, Any]:
        """The network that was made."""
        membrane, seed = wish.membrane, wish.seed
        if (membrane == "seed") != (seed is not None):
            raise Dms3Error(
                "argument_invalid",
                "A seed belongs to --membrane seed, and to no other.",
                hint="dms3 network create NAME --membrane seed --seed-file FILE",
            )
        if (membrane == "immune") != bool(wish.apps):
            raise Dms3Error(
                "argument_invalid",
                "Apps belong to --membrane immune: members warn of each other there.",
                hint="dms3 network create NAME --membrane immune --needed 2 --apps guestbook",
            )
        others = [await root_of(self._node, each) for each in wish.admins]
        by = tuple(sorted({self._node.identity.root, *others}))
        make = _makers(by, wish, self._overlays_of(wish.apps))[membrane]
        made = await self._networks.create(
            name, make, local=membrane == LOCAL, seed="" if seed is None else seed
        )
        return await self._row(made)

    async def invite(self, name: str, who: str, days: int) -> dict[str, Any]:
        """An invitation as text, and who else has to sign it."""
        joined = self._networks.book.find(name)
        to = await root_of(self._node, who)
        until_us = self._node.clock.now().wall_us + days * DAY_US
        invitation = await self._networks.invite(joined, to, until_us)
        return self._invitation(invitation, joined.name, joined.rule)

    async def sign(self, invitation: str) -> dict[str, Any]:
        """An invitation with this person's signature, too."""
        signed, network = self._networks.sign(invitation)
        return self._invitation(signed, network.name, network.rule)

    async def join(self, invitation: str, name: str | None, seed: str | None) -> dict[str, Any]:
        """The network that was joined."""
        joined = await self._networks.join(invitation, name, seed or "")
        return await self._row(joined)

    async def invite_to_app(self, dapp: str, who: str, days: int) -> dict[str, Any]:
        """The proof with which somebody may install an app."""
        assert self._node.dapps is not None, "apps are a part of every node"
        app = self._node.dapps.app(dapp)
        to = await root_of(self._node, who)
        now_us, key = self._node.clock.now().wall_us, self._node.identity.tree.root()
        proof = invite_to(app, key, to, now_us, now_us + days * DAY_US)
        return {"dapp": app.name, "to": to.hex(), "proof": proof}

    async def leave(self, name: str) -> dict[str, Any]:
        """The network that was left."""
        joined = self._networks.book.find(name)
        await unpublish_all(self._node, joined.name)
        await self._networks.leave(joined)
        return {"name": joined.name, "id": joined.network.id.hex(), "left": True}

    async def list(self) -> dict[str, Any]:
        """Networks, and the other overlays that this node is in."""
        figures: tuple[OverlayFigures, ...] = await self._node.call("dht.figures")
        known = {each.overlay: each for each in figures}
        rows = [await self._row(each) for each in self._networks.book.all()]
        return {"networks": rows, "overlays": self._overlays(known)}

    async def members(self, name: str) -> dict[str, Any]:
        """Who is there now."""
        joined = self._networks.book.find(name)
        names = await self._names()
        people: dict[bytes, dict[str, Any]] = {}
        for each in await self._networks.presences(joined):
            row = people.setdefault(
                each.agent,
                {
                    "root": each.agent.hex(),
                    "name": names.get(each.agent, ""),
                    "you": each.agent == self._node.identity.root,
                    "admin": each.agent in _admins(joined.rule),
                    "until_us": proof_end_us(each.proof),
                    "nodes": [],
                },
            )
            peer = peer_id_text(PeerId(each.peer))
            row["nodes"].append({"peer_id": peer, "addresses": list(each.addresses)})
        members = sorted(
            people.values(), key=lambda row: (not row["you"], row["name"], row["root"])
        )
        out = [
            {"root": root.hex(), "name": names.get(Root(root), ""), "by": count}
            for root, count in await self._put_out(joined.rule)
        ]
        return {"network": joined.name, "members": members, "put_out": out}

    # Small parts

    def _overlays_of(self, apps: Sequence[str]) -> tuple[bytes, ...]:
        assert self._node.dapps is not None, "apps are a part of every node"
        found = {self._node.dapps.app(name).overlay for name in apps}
        return tuple(sorted(found))

    async def _put_out(self, rule: Membrane) -> Sequence[tuple[bytes, int]]:
        """Who is put out, as this node sees it, and how many have warned of them."""
        if not isinstance(rule, Immune):
            return []
        found = await self._node.call("validation.voices", WarnedOf(rule.apps, rule.by))
        return [(root, count) for root, count in found if count >= rule.needed]

    async def _names(self) -> dict[bytes, str]:
        contacts: Sequence[Contact] = await self._node.call("peers.contact_list")
        identity = self._node.identity
        return {each.root: each.name for each in contacts} | {identity.root: identity.name}

    async def _row(self, joined: Joined) -> dict[str, Any]:
        network, names = joined.network, await self._names()
        present = await self._networks.presences(joined)
        return {
            "name": joined.name,
            "id": network.id.hex(),
            "membrane": LOCAL if network.local else scheme_of(joined.rule),
            "words": "whoever is on your local network" if network.local else words(joined.rule),
            "local": network.local,
            "admins": [
                {"root": root.hex(), "name": names.get(root, "")} for root in _admins(joined.rule)
            ],
            "apps": self._app_names(joined.rule),
            "needed": joined.rule.needed if isinstance(joined.rule, Invite | Immune) else None,
            "may_invite": self._networks.book.may_invite(joined),
            "members": len({each.agent for each in present}),
            "nodes": len(present),
            "until_us": proof_end_us(joined.row.proof),
            "joined_us": joined.row.joined_us,
            "spaces": [
                {"name": one.name, "stage": one.stage}
                for one in (await publications(self._node)).values()
                if one.overlay == network.id
            ],
            "problem": await self._problem(joined),
        }

    async def _problem(self, joined: Joined) -> str:
        """Why this node is not in a network just now, or its person is put out."""
        found = self._networks.problems.get(joined.network.id, "")
        if not found and isinstance(joined.rule, Immune):
            found = str(await self._node.call("dht.standing", joined.network.id))
        return found

    def _app_names(self, rule: Membrane) -> Sequence[str]:
        """The apps whose warrants count, as they are called here, or their ids."""
        known = {} if self._node.dapps is None else self._node.dapps.apps()
        names = {each.overlay: each.name for each in known}
        apps = rule.apps if isinstance(rule, Immune) else ()
        return [names.get(OverlayId(app), encode_base32(app)) for app in apps]

    def _overlays(self, known: dict[Any, OverlayFigures]) -> Sequence[dict[str, Any]]:
        """Every overlay: what it is, how many nodes it has, what is held for it."""
        apps = (
            {}
            if self._node.dapps is None
            else {each.overlay: each.name for each in self._node.dapps.apps()}
        )
        rows = []
        for overlay, figures in known.items():
            joined = self._networks.book.get(overlay)
            if overlay == PUBLIC:
                kind, name = "public", ""
            elif joined is not None:
                kind, name = "network", joined.name
            else:
                kind, name = "app", apps.get(overlay, "")
            rows.append(
                {
                    "id": overlay.hex(),
                    "kind": kind,
                    "name": name,
                    "member": figures.member,
                    "nodes": len(figures.nodes),
                    "values": sum(values for _, values, _ in figures.held),
                    "bytes": sum(size for _, _, size in figures.held),
                    "holds": holds(figures),
                }
            )
        return rows

    def _invitation(self, made: Invitation, name: str, rule: Membrane) -> dict[str, Any]:
        proof = decode_proof(made.proof) if made.proof else None
        signed = len(proof.links[-1].signed) if isinstance(proof, Invited) else 0
        needed = rule.needed if isinstance(rule, Invite) else min(1, signed)
        return {
            "network": name,
            "invitation": invitation_text(made),
            "to": made.to.hex(),
            "until_us": proof_end_us(made.proof),
            "signed": signed,
            "needed": needed,
            "complete": signed >= needed,
        }


async def root_of(node: Node, text: str) -> Root:
    """A contact by name, or any root in hex; raises `not_found`."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) == PUBLIC_BYTES:
        return Root(data)
    found: Contact = await node.call("peers.contact_find", text)
    return Root(found.root)


def scheme_of(rule: Membrane) -> str:
    """What `network create --membrane` calls it."""
    values = membrane_values(rule)
    return str(values) if isinstance(values, str) else str(values["scheme"])


def _admins(rule: Membrane) -> tuple[bytes, ...]:
    """Whose word counts: who invites, or who puts out."""
    return rule.by if isinstance(rule, Immune) else founders(rule)


def _makers(by: tuple[bytes, ...], wish: Wish, apps: tuple[bytes, ...]) -> dict[str, Make]:
    return {
        "invite": lambda _: Invite(by, wish.needed),
        "member": lambda _: Member(by),
        "seed": lambda key: Seed(SigningKey.of_seed(key).public),
        "work": lambda _: Work(wish.bits),
        "immune": lambda _: Immune(by, wish.needed, apps),
        LOCAL: lambda _: Open(),
    }
