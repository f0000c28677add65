"""Decoders of names for the fuzz test: records, claims, answers of contracts and gateways."""

import json
from collections.abc import Callable

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.verdict import Valid
from dms3.crypto.signing import SigningKey
from dms3.dm3 import ens
from dms3.dm3.abi import Many, decode_abi, encode_abi
from dms3.io.ccip import read_answer
from dms3.io.ethereum import Chain, RevertedError
from dms3.names.claim import NameClaim, claim_key, decode_claim, find_work, sign_claim
from dms3.names.claim import validate as validate_claim
from dms3.names.forms import form_of
from dms3.names.record import ProfileRecord, decode_record, record_key, sign_record
from dms3.names.record import validate as validate_record

KEY = SigningKey.of_seed(b"a" * 32)
WALL_US = 1_800_000_000_000_000
UNTIL_US = WALL_US + 1_000_000
RECORD = sign_record(
    KEY,
    ProfileRecord(1, KEY.public, "0x" + "1" * 40, b"{}", b"{}", 1, WALL_US, UNTIL_US, b""),
).value
WORK = find_work("bob.dms3", KEY.public, 0, 1 << 24) or 0
CLAIM = sign_claim(KEY, NameClaim(1, "bob.dms3", KEY.public, WORK, WALL_US, UNTIL_US, b"")).value
NESTED = ("address", Many(("uint", Many("string"), "bytes")), "bool", "bytes4")
VALUES = encode_abi(NESTED, (b"a" * 20, [(1, ["a", "b"], b"c"), (2, [], b"")], True, b"abcd"))
OFFCHAIN = bytes.fromhex("556f1830") + encode_abi(
    ("address", Many("string"), "bytes", "bytes4", "bytes"),
    (b"a" * 20, ["https://g/{data}", "x-batch-gateway:true"], b"q", b"back", b"extra"),
)
BATCH = bytes.fromhex("a780bab6") + encode_abi(
    (Many(("address", Many("string"), "bytes")),), ([(b"a" * 20, ["https://g"], b"q")],)
)
CHAIN = Chain("https://node.example/", lambda *_: None)  # type: ignore[arg-type,return-value]


def held(check: Callable[[bytes, bytes, int], object], key: bytes) -> Callable[[bytes], object]:
    """The verdict of a holder, as a decoder."""

    def read(data: bytes) -> object:
        if not isinstance(check(key, data, WALL_US), Valid):
            raise DecodeError(0, "not valid")
        return data

    return read


def refusing(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """A reader whose expected failures are Dms3Error, as a decoder."""

    def decoder(data: bytes) -> object:
        try:
            return read(data)
        except RevertedError as reverted:
            return reverted.data
        except Dms3Error as error:
            raise DecodeError(0, "refused") from error

    return decoder


def typed(data: bytes) -> object:
    return form_of(data.decode("utf-8", "replace"))


FUZZ = {
    "profile_record": decode_record,
    "profile_record_held": held(validate_record, record_key(KEY.public)),
    "name_claim": decode_claim,
    "name_claim_held": held(validate_claim, claim_key("bob.dms3")),
    "abi": lambda data: decode_abi(NESTED, data),
    "offchain_lookup": ens.read_offchain,
    "offchain_batch": ens.read_batch,
    "chain_address": ens.read_address,
    "chain_text": ens.read_text,
    "gateway_answer": refusing(read_answer),
    "chain_answer": refusing(CHAIN.result),
    "name_form": refusing(typed),
}

SEEDS = {
    "profile_record": [RECORD],
    "profile_record_held": [RECORD],
    "name_claim": [CLAIM],
    "name_claim_held": [CLAIM],
    "abi": [VALUES],
    "offchain_lookup": [OFFCHAIN],
    "offchain_batch": [BATCH],
    "chain_address": [encode_abi(("address",), (b"a" * 20,))],
    "chain_text": [encode_abi(("string",), ("data:application/json,{}",))],
    "gateway_answer": [b'{"data":"0x1234"}'],
    "chain_answer": [
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x12"}).encode(),
        json.dumps({"error": {"code": 3, "message": "m", "data": {"data": "0x12"}}}).encode(),
    ],
    "name_form": [b"bob.eth", b"alice.dms3", b"0x" + b"1" * 40, b"bob"],
}

COUNTS = {
    "profile_record_held": (20_000, "a signature is checked for what decodes"),
    "name_claim_held": (20_000, "a signature is checked for what decodes"),
    "name_form": (5_000, "what is not ASCII goes through the tables of ENSIP-15"),
}

SLOW = {"abi", "chain_address", "chain_answer"}
