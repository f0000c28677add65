"""Texts signed by an Ethereum account with `personal_sign`, and the account that signed.

Source: EIP-191 (version 0x45), EIP-55. A contract's signature (EIP-1271) cannot be checked without
a chain and is not supported. Does not keep keys.
"""

from __future__ import annotations

import re

from coincurve import PrivateKey, PublicKey

from dms3.core.errors import DecodeError
from dms3.crypto.keys import checksum_address, keccak256

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
_RECOVERY = {0: 0, 1: 1, 27: 0, 28: 1}  # the last byte: 27 and 28 since Bitcoin, 0 and 1 of some


def personal_hash(text: str) -> bytes:
    """The 32-byte digest that a wallet signs for `text`."""
    data = text.encode()
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(data)).encode() + data)


def personal_sign(secret: bytes, text: str) -> str:
    """The signature of `text` by the secp256k1 key `secret` (32 bytes): "0x" and 130 hex digits.

    Deterministic (RFC 6979), as every wallet whose keys of dm3 can be made again must be.
    """
    signature = PrivateKey(secret).sign_recoverable(personal_hash(text), hasher=None)
    return "0x" + (signature[:64] + bytes([signature[64] + 27])).hex()


def personal_signer(text: str, signature: str) -> str:
    """The EIP-55 address of the account that signed `text`; raises DecodeError for no signature.

    Any well-formed signature has a signer: compare the address with the one you expect.
    """
    data = bytes.fromhex(check_wallet_signature(signature)[2:])
    recovery = _RECOVERY.get(data[64])
    if recovery is None:
        raise DecodeError(64, "a signature ends in 27 or 28 (or 0 or 1)")
    try:
        key = PublicKey.from_signature_and_message(
            data[:64] + bytes([recovery]), personal_hash(text), hasher=None
        )
    except ValueError as cause:
        raise DecodeError(0, "not a signature of secp256k1") from cause
    return checksum_address(keccak256(key.format(compressed=False)[1:])[-20:])


def check_wallet_signature(value: object) -> str:
    """`value`, when it is "0x" and 130 hex digits; raises DecodeError otherwise."""
    if type(value) is not str or not _SIGNATURE.fullmatch(value):
        raise DecodeError(0, "expected a wallet's signature: 0x and 130 hex digits")
    return value


def address_bytes(address: str) -> bytes:
    """The 20 bytes of the Ethereum address `address`, in any case; raises DecodeError."""
    if not _ADDRESS.fullmatch(address):
        raise DecodeError(0, f"{address[:48]!r} is no Ethereum address")
    return bytes.fromhex(address[2:])
