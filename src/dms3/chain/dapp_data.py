"""What apps sign and hash: JSON values in the form that an entry of them has.

Source: docs/sandbox.md, "What rules may read". Pure, so that rules may ask it: the same answer on
every node. Signing itself is the node's (`node/dapps_host.py`), with the same domain.
"""

from __future__ import annotations

from typing import Any

from dms3.chain.entry import make_entry
from dms3.core.errors import DecodeError
from dms3.core.multibase import decode_base32
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, verify

DOMAIN = b"dapp data"


def is_signed(signature: Any, data: Any, key: Any) -> bool:
    """Whether `signature` is that of `key` over `data`; both are base32 text, as in actions.

    ValueError when `data` are values that no entry can have. What is no signature is a wrong one.
    """
    encoded = make_entry(data)[1]
    if type(signature) is not str or type(key) is not str:
        return False
    try:
        given, public = decode_base32(signature), decode_base32(key)
    except DecodeError:
        return False
    if len(given) != SIGNATURE_BYTES or len(public) != PUBLIC_BYTES:
        return False
    return verify(public, DOMAIN, encoded, given)


def content_hash(content: Any) -> str:
    """The hash that a public entry with `content` has, as text; ValueError as above."""
    return str(make_entry(content)[0])
