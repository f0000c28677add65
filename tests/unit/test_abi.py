"""Contract calls as bytes, and what hostile answers of contracts cannot do."""

import pytest

from dms3.core.errors import DecodeError
from dms3.core.limits import ABI_ITEMS_MAX, ABI_TEXT_BYTES_MAX
from dms3.crypto.keys import keccak256
from dms3.dm3 import ens
from dms3.dm3.abi import Many, decode_abi, encode_abi

ADDRESS = bytes(range(20))


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def test_the_examples_of_the_specification() -> None:
    """Solidity, "Contract ABI Specification", Examples: sam and f."""
    sam = encode_abi(("bytes", "bool", Many("uint")), (b"dave", True, [1, 2, 3]))
    assert sam == words(0x60, 1, 0xA0, 4) + b"dave".ljust(32, b"\0") + words(3, 1, 2, 3)
    f = encode_abi(
        ("uint", Many("uint"), "bytes32", "bytes"),
        (0x123, [0x456, 0x789], b"1234567890".ljust(32, b"\0"), b"Hello, world!"),
    )
    assert f == (
        words(0x123, 0x80)
        + b"1234567890".ljust(32, b"\0")
        + words(0xE0, 2, 0x456, 0x789, 13)
        + b"Hello, world!".ljust(32, b"\0")
    )


@pytest.mark.parametrize(
    ("types", "values"),
    [
        (("address", "uint", "bool"), [ADDRESS, 2**256 - 1, True]),
        (("bytes4", "bytes32"), [b"abcd", b"x" * 32]),
        (("string", Many("string")), ["é", ["", "a" * 100]]),
        (
            (Many(("address", Many("string"), "bytes")),),
            [[(ADDRESS, ["u"], b"d"), (ADDRESS, [], b"")]],
        ),
        ((("uint", "uint"), "bytes"), [(1, 2), b"z"]),
    ],
)
def test_what_is_encoded_is_decoded(types: tuple, values: list) -> None:
    assert decode_abi(types, encode_abi(types, values)) == values


@pytest.mark.parametrize(
    ("types", "data"),
    [
        (("bytes",), words(0x20)),
        (("bytes",), words(0x20, 33) + bytes(32)),
        (("bytes",), words(2**255)),
        (("string",), words(0x20, 1) + b"\xff".ljust(32, b"\0")),
        (("address",), words(1 << 160)),
        (("bool",), words(2)),
        (("bytes4",), words(1)),
        ((Many("uint"),), words(0x20, 2**64)),
        (("uint",), b"\0" * 31),
    ],
)
def test_what_is_not_of_the_type_is_refused(types: tuple, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_abi(types, data)


def test_offsets_to_one_place_do_not_multiply_it() -> None:
    """3,000 texts that are all the same 96 KiB would be 288 MiB."""
    count = 3_000
    size = 96 * 1024
    data = words(0x20, count) + words(count * 32) * count + words(size) + bytes(size)
    with pytest.raises(DecodeError, match=str(ABI_TEXT_BYTES_MAX)):
        decode_abi((Many("bytes"),), data)


def test_arrays_are_bounded() -> None:
    assert len(decode_abi((Many("uint"),), words(0x20, 4_000) + bytes(32 * 4_000))[0]) == 4_000
    with pytest.raises(DecodeError, match=str(ABI_ITEMS_MAX)):
        decode_abi((Many("uint"),), words(0x20, ABI_ITEMS_MAX) + bytes(32 * ABI_ITEMS_MAX))


def test_the_selectors_are_those_of_the_functions() -> None:
    def selector(signature: str) -> bytes:
        return keccak256(signature.encode())[:4]

    zero = "0x" + "00" * 20
    assert ens.ask_address("a")[:4] == selector("addr(bytes32)")
    assert ens.ask_text("a", "k")[:4] == selector("text(bytes32,string)")
    assert ens.ask_name("a")[:4] == selector("name(bytes32)")
    assert ens.ask_extended("a", b"")[:4] == selector("resolve(bytes,bytes)")
    assert ens.ask_reverse(zero)[:4] == selector("reverse(bytes,uint256)")
    assert ens.ask_resolver("a")[:4] == selector("resolver(bytes32)")
    assert ens.ask_supports(ens.EXTENDED)[:4] == selector("supportsInterface(bytes4)")
    assert ens.ask_balance(zero)[:4] == selector("balanceOf(address)")
    assert selector("ResolverNotFound(bytes)") == ens.RESOLVER_NOT_FOUND
    lookup = selector("OffchainLookup(address,string[],bytes,bytes4,bytes)")
    types = ("address", Many("string"), "bytes", "bytes4", "bytes")
    body = encode_abi(types, (ADDRESS, ["https://g"], b"d", b"back", b"e"))
    found = ens.read_offchain(lookup + body)
    assert found is not None
    assert (found.urls, found.data, found.callback, found.extra) == (
        ("https://g",),
        b"d",
        b"back",
        b"e",
    )
    assert ens.read_offchain(b"else" + body) is None


def test_a_name_as_dns_writes_it() -> None:
    assert ens.dns_name("bob.eth") == b"\x03bob\x03eth\0"
    with pytest.raises(DecodeError):
        ens.dns_name("a" * 256)
