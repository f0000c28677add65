"""The network file: its hash is the network, and it is read strictly."""

import dataclasses

import pytest

from dms3.core.codec import decode_plain, encode, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.network import MAIN, NetworkParameters, decode_network, network_id


def test_round_trip_and_id():
    parameters = NetworkParameters("test", allocation={"0x01": "5"}, members=(b"\1" * 32,))
    again = decode_network(encode(parameters))
    assert again == parameters
    assert network_id(again) == network_id(parameters)
    assert len(network_id(parameters)) == 32


def test_the_id_of_the_main_network_is_fixed():
    # Changing any default would cut every node off from those that run today.
    assert network_id(MAIN).hex() == MAIN_ID


MAIN_ID = "d836ffb0f9b2963276fd31701bbe24f47e7d96b7ceec6e5523af0159d8a3ad23"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"lookup_parallelism": 4},
        {"bucket_size": 21},
        {"chain_id": 1},
        {"allocation": {"a": "1"}},
        {"members": (b"m",)},
    ],
)
def test_every_parameter_makes_another_network(change):
    assert network_id(dataclasses.replace(MAIN, **change)) != network_id(MAIN)


def test_unknown_keys_and_missing_names_are_refused():
    raw = decode_plain(encode(MAIN))
    with pytest.raises(DecodeError, match="no field 'extra'"):
        decode_network(encode_plain({**raw, "extra": 1}))
    del raw["name"]
    with pytest.raises(DecodeError, match="lacks field 'name'"):
        decode_network(encode_plain(raw))
    with pytest.raises(DecodeError):
        decode_network(b"")
