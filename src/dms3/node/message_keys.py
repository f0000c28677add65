"""Messaging keys that a wallet makes: for people who were on dm3 before.

Source: dm3, key derivation (docs/messages.md, "Keys from a wallet"). A signature is checked before
its hash becomes a key: a text signed for another nonce makes other keys, and nobody would know.
"""

from __future__ import annotations

from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.crypto.keys import checksum_address
from dms3.dm3.keys import DEFAULT_NONCE, seed_of_wallet_signature, wallet_text
from dms3.dm3.profile import SignedProfile, fingerprint
from dms3.dm3.wallet import address_bytes, personal_signer
from dms3.messaging.operations import AdoptSeed
from dms3.node.node import Node


async def adopt(node: Node, address: str, signature: str, nonce: str | None) -> dict[str, Any]:
    """Make the keys of a wallet's signature those of this person; the earlier ones stay."""
    seed = wallet_seed(address, signature, nonce or DEFAULT_NONCE)
    signed: SignedProfile = await node.call("mailbox.adopt", AdoptSeed(seed))
    return {"address": address, "fingerprint": fingerprint(signed.profile)}


def wallet_seed(address: str, signature: str, nonce: str) -> bytes:
    """The seed of the keys that a wallet's signature makes; raises `argument_invalid`."""
    try:
        signer = personal_signer(wallet_text(address, nonce), signature)
        fits = signer == checksum_address(address_bytes(address))
    except DecodeError as error:
        raise Dms3Error("argument_invalid", f"That cannot be used: {error.reason}.") from error
    if not fits:
        raise Dms3Error(
            "argument_invalid",
            f"The signature was not made by {address} for the nonce {nonce[:80]!r}.",
            hint="Sign the text that a dm3 app asks for, with the nonce of that app.",
        )
    return seed_of_wallet_signature(signature)
