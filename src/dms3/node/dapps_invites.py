"""Invitations to apps whose membrane asks for them: proofs for `dapp install --proof`.

Source: docs/dapps.md, "Who may take part"; `chain/membership.py`. Decides nothing: the rules of the
system judge what is made here.
"""

from __future__ import annotations

from typing import Any

from dms3.chain.membership import Invited, Link, decode_proof, invite, proof_values
from dms3.chain.membrane import Gates, Invite, Member, Membrane, founders
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import Root
from dms3.crypto.signing import SigningKey
from dms3.node.dapps_running import App, proof_of


def invite_to(app: App, key: SigningKey, to: Root, since_us: int, until_us: int) -> dict[str, Any]:
    """The proof, as JSON values, that `to` may be in `app`, signed by root `key`.

    Raises `not_admitted` when this person invites nobody there, `argument_invalid`.
    """
    if _inviting(app.parts.dna.gates) is None:
        raise Dms3Error("argument_invalid", f"{app.name} asks nobody for an invitation.")
    is_founder = any(key.public in founders(each) for each in _every(app.parts.dna.gates))
    under = None if is_founder else _own(app)
    if not is_founder and under is None:
        raise Dms3Error(
            "not_admitted",
            f"You may not invite to {app.name}.",
            hint="Its dapp.toml names who may: dms3 dapp show shows it as `membrane`.",
        )
    try:
        made = invite(key, app.overlay, Link(to, since_us, until_us), under)
    except ValueError as error:
        raise Dms3Error("argument_invalid", f"No such invitation: {error}.") from error
    return proof_values(made)


def _inviting(gates: Gates) -> Membrane | None:
    return next((each for each in _every(gates) if isinstance(each, Invite | Member)), None)


def _every(gates: Gates) -> tuple[Membrane, ...]:
    return (gates.outer, *(each for _, each in gates.inner))


def _own(app: App) -> Invited | None:
    """The invitation of this person, when it lets them invite others."""
    if not any(isinstance(each, Member) for each in _every(app.parts.dna.gates)):
        return None
    try:
        found = decode_proof(proof_of(app))
    except (DecodeError, ValueError):
        return None
    return found if isinstance(found, Invited) else None
