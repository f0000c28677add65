"""Who may be in a network: made from what a person wishes, and shown to people.

Source: docs/networks.md. Judges nothing: `chain/membrane.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence

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
)
from dms3.chain.operations_validation import WarnedOf
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, Root
from dms3.core.limits import INVITATION_SIGNERS_MAX, MEMBERSHIP_WORK_BITS_MAX
from dms3.core.multibase import encode_base32
from dms3.crypto.signing import PUBLIC_BYTES, SigningKey
from dms3.node.networks import Make
from dms3.node.node import Node
from dms3.node.services_network import Wish
from dms3.p2p.contacts import Contact

LOCAL = "lan"


async def rule_of(node: Node, wish: Wish) -> Make:
    """What makes the membrane that is wished for.

    Raises `argument_invalid` for what does not belong together, `not_found` for contacts and apps.
    """
    _check_named(wish)
    others = [await root_of(node, each) for each in wish.admins]
    by = tuple(sorted({node.identity.root, *others}))
    assert node.dapps is not None, "apps are a part of every node"
    apps = tuple(sorted({bytes(node.dapps.app(name).overlay) for name in wish.apps}))
    _check_numbers(wish, len(by))
    return _makers(by, wish, apps)[wish.membrane]


def _check_named(wish: Wish) -> None:
    """Whether a seed and apps are given where they belong; raises `argument_invalid`."""
    if wish.membrane == "seed" and wish.seed is None:
        why = "A network behind a seed needs one."
        hint = "Type it unseen: dms3 network create NAME --membrane seed --seed-file -"
    elif wish.membrane != "seed" and wish.seed is not None:
        why = "A seed belongs to a network behind one, and to no other."
        hint = "Leave it out, or choose --membrane seed."
    elif wish.membrane == "immune" and not wish.apps:
        why = "A network that puts people out names an app in which its admins warn of them."
        hint = "Name it: --apps APP. dms3 dapp list shows yours."
    elif wish.membrane != "immune" and wish.apps:
        why = "Apps belong to a network that puts people out, and to no other."
        hint = "Leave them out, or choose --membrane immune."
    else:
        return
    raise Dms3Error("argument_invalid", why, hint=hint)


def _check_numbers(wish: Wish, admins: int) -> None:
    """Whether --needed and --bits can be; raises `argument_invalid` with what could be."""
    most = min(admins, INVITATION_SIGNERS_MAX) if wish.membrane == "invite" else admins
    if wish.membrane in ("invite", "immune") and not 1 <= wish.needed <= most:
        raise Dms3Error(
            "argument_invalid",
            f"With {_admins(admins)} --needed is {_from_one(most)}, not {wish.needed}.",
            hint="Name more admins: --admins CONTACT, as often as there are.",
        )
    if wish.membrane == "work" and not 1 <= wish.bits <= MEMBERSHIP_WORK_BITS_MAX:
        why = f"--bits is 1 to {MEMBERSHIP_WORK_BITS_MAX}, not {wish.bits}."
        raise Dms3Error("argument_invalid", why, hint="Each bit doubles the work; 20 is usual.")


def _from_one(most: int) -> str:
    return "1" if most == 1 else f"1 to {most}"


def _admins(count: int) -> str:
    return "one admin" if count == 1 else f"{count} admins"


def _makers(by: tuple[bytes, ...], wish: Wish, apps: tuple[bytes, ...]) -> dict[str, Make]:
    return {
        "invite": lambda _: Invite(by, wish.needed),
        "member": lambda _: Member(by),
        "seed": lambda key: Seed(SigningKey.of_seed(key).public),
        "work": lambda _: Work(wish.bits),
        "immune": lambda _: Immune(by, wish.needed, apps),
        LOCAL: lambda _: Open(),
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


def admins_of(rule: Membrane) -> tuple[bytes, ...]:
    """Whose word counts: who invites, or who puts out."""
    return rule.by if isinstance(rule, Immune) else founders(rule)


def app_names(node: Node, rule: Membrane) -> Sequence[str]:
    """The apps whose warrants count, as they are called here, or their ids."""
    known = () if node.dapps is None else node.dapps.apps()
    names = {each.overlay: each.name for each in known}
    apps = rule.apps if isinstance(rule, Immune) else ()
    return [names.get(OverlayId(app), encode_base32(app)) for app in apps]


def app_words(node: Node, rule: Membrane) -> str:
    """The same for people, who do not know an app by its id; "" without apps."""
    known = set() if node.dapps is None else {each.name for each in node.dapps.apps()}
    return ", ".join(
        name if name in known else f"an app that is not installed here ({name[:12]}...)"
        for name in app_names(node, rule)
    )


async def put_out(node: Node, rule: Membrane) -> Sequence[tuple[Root, int]]:
    """Who is put out, as this node sees it, and how many have warned of them."""
    if not isinstance(rule, Immune):
        return []
    found = await node.call("validation.voices", WarnedOf(rule.apps, rule.by))
    return [(Root(root), count) for root, count in found if count >= rule.needed]


async def own_problem(node: Node, overlay: OverlayId, rule: Membrane) -> str:
    """Why this person may not be in a network any more; "" when they may."""
    return str(await node.call("dht.standing", overlay)) if isinstance(rule, Immune) else ""
