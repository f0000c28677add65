"""Networks for people and programs: what the `network` commands do.

Source: docs/networks.md; docs/interfaces.md, `network`. Implements `NetworkServices` of
node/services_network.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dms3.chain.membership import Invited, decode_proof
from dms3.chain.membrane import (
    Immune,
    Invite,
    Membrane,
    proof_end_us,
    words,
)
from dms3.chain.networks import Invitation, invitation_text
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import INVITATION_LIFE_US_MAX
from dms3.core.units import SECOND_US
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.dapps_invites import invite_to
from dms3.node.networks import Networks
from dms3.node.networks_book import Joined
from dms3.node.networks_rules import (
    LOCAL,
    admins_of,
    app_names,
    app_words,
    own_problem,
    put_out,
    root_of,
    rule_of,
    scheme_of,
)
from dms3.node.node import Node
from dms3.node.overlay_held import overlay_rows
from dms3.node.publishing import publications, unpublish_all
from dms3.node.services_network import Wish

DAY_US = 24 * 3_600 * SECOND_US
_DAYS_MAX = INVITATION_LIFE_US_MAX // DAY_US


def _microseconds(days: int) -> int:
    """For how long an invitation for so many days lasts; raises `argument_invalid`."""
    if 1 <= days <= _DAYS_MAX:
        return days * DAY_US
    why = f"An invitation is for 1 to {_DAYS_MAX:,} days, not {days:,}."
    raise Dms3Error("argument_invalid", why, hint="Say for how many with --days.")


def _next_step(whom: str, missing: int) -> str:
    """What to do with an invitation that so many admins have still to sign."""
    if missing <= 0:
        return f"Give this line to {whom}, and to nobody else."
    more = "1 more admin has" if missing == 1 else f"{missing} more admins have"
    return f"{more} to sign it before it counts: give this line to one of them."


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
        make = await rule_of(self._node, wish)
        made = await self._networks.create(
            name, make, local=wish.membrane == LOCAL, seed=wish.seed or ""
        )
        return await self._row(made)

    async def invite(self, name: str, who: str, days: int) -> dict[str, Any]:
        """An invitation as text, and who else has to sign it."""
        joined = self._networks.book.find(name)
        to = await root_of(self._node, who)
        until_us = self._node.clock.now().wall_us + _microseconds(days)
        invitation = await self._networks.invite(joined, to, until_us)
        return await self._invitation(invitation, joined.name, joined.rule)

    async def sign(self, invitation: str) -> dict[str, Any]:
        """An invitation with this person's signature, too."""
        signed, network = self._networks.sign(invitation)
        return await self._invitation(signed, network.name, network.rule)

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
        proof = invite_to(app, key, to, now_us, now_us + _microseconds(days))
        return {"dapp": app.name, "to": to.hex(), "proof": proof}

    async def leave(self, name: str) -> dict[str, Any]:
        """The network that was left."""
        joined = self._networks.book.find(name)
        await unpublish_all(self._node, joined.name)
        await self._networks.leave(joined)
        return {"name": joined.name, "id": joined.network.id.hex(), "left": True}

    async def list(self) -> dict[str, Any]:
        """Networks, and the other overlays that this node is in."""
        rows = [await self._row(each) for each in self._networks.book.all()]
        return {"networks": rows, "overlays": await overlay_rows(self._node, self._networks.book)}

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
                    "admin": each.agent in admins_of(joined.rule),
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
            {"root": root.hex(), "name": names.get(root, ""), "by": count}
            for root, count in await put_out(self._node, joined.rule)
        ]
        return {"network": joined.name, "members": members, "put_out": out}

    # Small parts

    async def _names(self) -> dict[bytes, str]:
        contacts: Sequence[Any] = await self._node.call("peers.contact_list")  # p2p Contact
        identity = self._node.identity
        return {each.root: each.name for each in contacts} | {identity.root: identity.name}

    async def _row(self, joined: Joined) -> dict[str, Any]:
        network, names = joined.network, await self._names()
        present = await self._networks.presences(joined)
        problem = self._networks.problems.get(network.id, "")
        return {
            "name": joined.name,
            "id": network.id.hex(),
            "membrane": LOCAL if network.local else scheme_of(joined.rule),
            "words": "whoever is on your local network" if network.local else words(joined.rule),
            "local": network.local,
            "admins": self._admins(joined.rule, names),
            "apps": app_names(self._node, joined.rule),
            "apps_words": app_words(self._node, joined.rule),
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
            "problem": problem or await own_problem(self._node, network.id, joined.rule),
        }

    def _admins(self, rule: Membrane, names: Mapping[bytes, str]) -> Sequence[dict[str, Any]]:
        """Whose word counts in a network: this person first, the others by name."""
        own = self._node.identity.root
        rows = [
            {"root": root.hex(), "name": names.get(root, ""), "you": root == own}
            for root in admins_of(rule)
        ]
        return sorted(rows, key=lambda row: (not row["you"], row["name"], row["root"]))

    async def _invitation(self, made: Invitation, name: str, rule: Membrane) -> dict[str, Any]:
        proof = decode_proof(made.proof) if made.proof else None
        signed = len(proof.links[-1].signed) if isinstance(proof, Invited) else 0
        needed = rule.needed if isinstance(rule, Invite) else min(1, signed)
        names = await self._names()
        whom = names.get(made.to, "") or f"{made.to.hex()[:12]}..."
        return {
            "network": name,
            "invitation": invitation_text(made),
            "to": made.to.hex(),
            "to_name": names.get(made.to, ""),
            "until_us": proof_end_us(made.proof),
            "signed": signed,
            "needed": needed,
            "complete": signed >= needed,
            "next": _next_step(whom, needed - signed),
        }
