"""What is asked of the contracts of the Ethereum Name Service, and what their answers say.

Source: ENSIP-1 (registry), ENSIP-5 (text records), ENSIP-10 (wildcards), ENSIP-21 (batches of
gateway look-ups), ERC-3668 (data off the chain), ERC-20 (balances). Asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.errors import DecodeError
from dms3.crypto.keys import checksum_address
from dms3.dm3.abi import Many, decode_abi, encode_abi
from dms3.dm3.naming import namehash

REGISTRY = "0x00000000000C2E074eC69A0dFb2997BA6C7d2e1e"
UNIVERSAL_RESOLVER = "0xeEeEEEeE14D718C2B47D9923Deab1335E144EeEe"
ETHER = 60  # coin type, SLIP-44
LOCAL_BATCH = "x-batch-gateway:true"  # ENSIP-21: whoever asks is the gateway of the batch

RESOLVER_NOT_FOUND = bytes.fromhex("77209fe8")
EXTENDED = bytes.fromhex("9061b923")  # resolve(bytes,bytes), also the interface id of ENSIP-10
_RESOLVER = bytes.fromhex("0178b8bf")
_SUPPORTS = bytes.fromhex("01ffc9a7")
_ADDRESS = bytes.fromhex("3b3b57de")
_TEXT = bytes.fromhex("59d1d43c")
_NAME = bytes.fromhex("691f3431")
_REVERSE = bytes.fromhex("5d78a217")
_BALANCE = bytes.fromhex("70a08231")
_OFFCHAIN = bytes.fromhex("556f1830")
_QUERY = bytes.fromhex("a780bab6")
_HTTP_ERROR = bytes.fromhex("01800152")
_LOOKUP = ("address", Many("string"), "bytes", "bytes4", "bytes")
_LABEL_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class OffchainLookup:
    """A contract says: ask one of `urls` about `data`, and give me the answer (ERC-3668)."""

    sender: str
    urls: tuple[str, ...]
    data: bytes
    callback: bytes
    extra: bytes

    def answered(self, response: bytes) -> bytes:
        """The call that gives the contract the answer of a gateway."""
        return self.callback + encode_abi(("bytes", "bytes"), (response, self.extra))


@dataclass(frozen=True, slots=True)
class Query:
    """One look-up of a batch."""

    sender: str
    urls: tuple[str, ...]
    data: bytes


def dns_name(name: str) -> bytes:
    """`name` (normalised) as DNS writes it; raises DecodeError when a part is too long."""
    out = bytearray()
    for label in name.split("."):
        data = label.encode()
        if not 0 < len(data) <= _LABEL_BYTES_MAX:
            raise DecodeError(0, "a part of the name is too long")
        out += bytes([len(data)]) + data
    return bytes(out) + b"\0"


def ask_address(name: str) -> bytes:
    """The question for the address behind `name`."""
    return _ADDRESS + namehash(name)


def ask_text(name: str, key: str) -> bytes:
    """The question for the text record `key` of `name`."""
    return _TEXT + encode_abi(("bytes32", "string"), (namehash(name), key))


def ask_name(name: str) -> bytes:
    """The question for the name that a reverse node names."""
    return _NAME + namehash(name)


def ask_extended(name: str, question: bytes) -> bytes:
    """`question` about `name` to a resolver of ENSIP-10, or to the universal resolver."""
    return EXTENDED + encode_abi(("bytes", "bytes"), (dns_name(name), question))


def ask_reverse(address: str) -> bytes:
    """The question to the universal resolver for the name of an account."""
    account = bytes.fromhex(address[2:])
    return _REVERSE + encode_abi(("bytes", "uint"), (account, ETHER))


def ask_resolver(name: str) -> bytes:
    """The question to the registry for the resolver of `name`."""
    return _RESOLVER + namehash(name)


def ask_supports(interface: bytes) -> bytes:
    """The question whether a contract has an interface (ERC-165)."""
    return _SUPPORTS + encode_abi(("bytes4",), (interface,))


def ask_balance(address: str) -> bytes:
    """The question to an ERC-20 token for the units of an account."""
    return _BALANCE + encode_abi(("address",), (bytes.fromhex(address[2:]),))


def read_address(data: bytes) -> str:
    """The checksummed address in an answer, "" for none; raises DecodeError."""
    if not data:
        return ""
    (found,) = decode_abi(("address",), data)
    return checksum_address(found) if any(found) else ""


def read_text(data: bytes) -> str:
    """The text in an answer; raises DecodeError."""
    return str(decode_abi(("string",), data)[0]) if data else ""


def read_number(data: bytes) -> int:
    """The number in an answer; raises DecodeError."""
    return int(decode_abi(("uint",), data)[0])


def read_truth(data: bytes) -> bool:
    """The truth value in an answer; raises DecodeError."""
    return bool(decode_abi(("bool",), data)[0])


def read_bytes(data: bytes) -> bytes:
    """The bytes that are the first value of an answer; raises DecodeError."""
    return bytes(decode_abi(("bytes",), data)[0])


def read_offchain(revert: bytes) -> OffchainLookup | None:
    """The look-up that a contract asks for; None when it failed otherwise. Raises DecodeError."""
    if revert[:4] != _OFFCHAIN:
        return None
    sender, urls, data, callback, extra = decode_abi(_LOOKUP, revert[4:])
    return OffchainLookup(checksum_address(sender), tuple(urls), data, callback, extra)


def read_batch(data: bytes) -> tuple[Query, ...]:
    """The look-ups of a batch; raises DecodeError."""
    if data[:4] != _QUERY:
        raise DecodeError(0, "not a batch of look-ups")
    (found,) = decode_abi((Many(("address", Many("string"), "bytes")),), data[4:])
    return tuple(Query(checksum_address(one[0]), tuple(one[1]), one[2]) for one in found)


def answer_batch(answers: Sequence[bytes | None]) -> bytes:
    """What a gateway of batches answers; None: that look-up failed."""
    failed = [answer is None for answer in answers]
    error = _HTTP_ERROR + encode_abi(("uint", "string"), (502, "no gateway answered"))
    bodies = [error if answer is None else answer for answer in answers]
    return encode_abi((Many("bool"), Many("bytes")), (failed, bodies))
