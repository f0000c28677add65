"""The ports "ethereum" and "web" and the gateways, against servers that misbehave in every way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    CCIP_ANSWER_BYTES_MAX,
    CCIP_BATCH_MAX,
    CCIP_ROUNDS_MAX,
    CCIP_URLS_MAX,
    ETHEREUM_ANSWER_BYTES_MAX,
)
from dms3.dm3 import ens
from dms3.dm3.abi import Many, decode_abi, encode_abi
from dms3.dm3.ens import LOCAL_BATCH, OffchainLookup
from dms3.dm3.outside import FetchUrl, LookUpName, TokenBalance
from dms3.io.ccip import Ccip
from dms3.io.ethereum import Ethereum
from dms3.io.web import Web

NODE = "https://key:secret@node.example/v3/apikey"
OFFCHAIN = bytes.fromhex("556f1830")
UR = bytes.fromhex(ens.UNIVERSAL_RESOLVER[2:])
ACCOUNT = "0x" + "11" * 20
NAME = LookUpName("bob.eth", ("k",))

Server = Callable[[str, str, bytes | None], tuple[int, bytes]]


def opener(server: Server) -> Any:
    """A door to `server`; whatever it raises is raised by the door."""

    @contextlib.asynccontextmanager
    async def open_(method: str, url: str, body: bytes | None) -> AsyncIterator[Any]:
        status, data = server(method, url, body)

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(data), 65_536):
                yield data[at : at + 65_536]

        yield status, pieces()

    return open_


async def no_gateway(_: OffchainLookup) -> bytes:
    raise AssertionError("no gateway is asked here")


def asked(server: Server, operation: str, arguments: Any, gateway: Any = no_gateway) -> Any:
    port = Ethereum((NODE,), opener(server), gateway)
    return asyncio.run(port.serve(operation, arguments))


def rpc(answer: Callable[[str, list[Any]], Any]) -> Server:
    """A JSON-RPC server: `answer` gives a result, or a dict that is an error."""

    def server(method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
        assert (method, url) == ("POST", NODE)
        question = json.loads(body or b"")
        found = answer(question["method"], question["params"])
        key = "error" if isinstance(found, dict) else "result"
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, key: found}).encode()

    return server


def refused(server: Server, code: str, operation: str = "name", arguments: Any = NAME) -> str:
    with pytest.raises(Dms3Error) as error:
        asked(server, operation, arguments)
    assert error.value.code == code, error.value
    assert "secret" not in str(error.value)
    assert "apikey" not in str(error.value)
    return str(error.value)


def reverted(data: bytes) -> dict[str, Any]:
    return {"code": 3, "message": "execution reverted", "data": "0x" + data.hex()}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"result":1}', b'{"result":"zz"}', b"[" * 100_000],
)
def test_a_node_that_answers_no_json_rpc_is_named(body: bytes) -> None:
    text = refused(lambda *_: (200, body), "peer_misbehaved")
    assert "The Ethereum node at node.example answers what is no" in text


def test_a_node_that_answers_too_much() -> None:
    body = b" " * (ETHEREUM_ANSWER_BYTES_MAX + 1)
    assert "answers more than" in refused(lambda *_: (200, body), "peer_misbehaved")


def test_a_node_that_refuses_says_why() -> None:
    error = {"code": -32005, "message": "rate limit\x1b[31m reached"}
    text = refused(rpc(lambda *_: error), "peer_unreachable")
    assert "refused: rate limit[31m reached" in text


def test_a_node_that_cannot_be_reached() -> None:
    def server(*_: Any) -> tuple[int, bytes]:
        raise Dms3Error("peer_unreachable", "The service node.example cannot be reached.")

    text = refused(server, "peer_unreachable")
    assert text.startswith("The Ethereum node at node.example did not answer")


def test_numbers_of_accounts() -> None:
    results = {"eth_getTransactionCount": "0x2a", "eth_getBalance": "0x" + "f" * 64}
    server = rpc(lambda method, _: results[method])
    assert asked(server, "nonce", ACCOUNT) == 42
    assert asked(server, "balance", ACCOUNT) == 2**256 - 1
    text = refused(rpc(lambda *_: "0x" + "f" * 65), "peer_misbehaved", "nonce", ACCOUNT)
    assert "no number" in text


def test_tokens_of_an_account() -> None:
    def answer(method: str, params: list[Any]) -> Any:
        assert method == "eth_call"
        assert params[0]["data"] == "0x70a08231" + "00" * 12 + "11" * 20
        return "0x" + (7).to_bytes(32, "big").hex()

    wanted = TokenBalance("0x" + "22" * 20, ACCOUNT)
    assert asked(rpc(answer), "token_balance", wanted) == 7
    refused(rpc(lambda *_: "0x"), "content_invalid", "token_balance", wanted)
    refused(rpc(lambda *_: reverted(b"")), "content_invalid", "token_balance", wanted)


def test_what_the_port_does_not_know() -> None:
    server = rpc(lambda *_: "0x")
    for operation, arguments in (("mine", None), ("nonce", 5), ("name", "bob.eth")):
        answer = asked(server, operation, arguments)
        assert isinstance(answer, Failure)
        assert answer.code == "method_unknown"


def test_a_chain_without_names() -> None:
    assert "chain without ENS" in refused(rpc(lambda *_: "0x"), "peer_unreachable")


def test_contracts_that_answer_oddly() -> None:
    refused(rpc(lambda *_: "0x1234"), "content_invalid")
    not_found = reverted(ens.RESOLVER_NOT_FOUND)
    assert "no name bob.eth" in refused(rpc(lambda *_: not_found), "not_found")
    other = asked(rpc(lambda *_: reverted(b"else")), "name", NAME)
    assert (other.address, other.texts) == ("", ("",))


def lookup(sender: bytes = UR, urls: tuple[str, ...] = ("https://g/{data}",)) -> bytes:
    types = ("address", Many("string"), "bytes", "bytes4", "bytes")
    return OFFCHAIN + encode_abi(types, (sender, list(urls), b"q", b"back", b"extra"))


def test_a_contract_that_asks_for_ever_or_in_the_name_of_another() -> None:
    count = 0

    async def gateway(_: OffchainLookup) -> bytes:
        nonlocal count
        count += 1
        return b"answer"

    with pytest.raises(Dms3Error, match="one gateway after the other"):
        asked(rpc(lambda *_: reverted(lookup())), "name", NAME, gateway)
    assert count == 2 * (CCIP_ROUNDS_MAX + 1)  # for the address and one text
    with pytest.raises(Dms3Error, match="speaks for another"):
        asked(rpc(lambda *_: reverted(lookup(b"\x01" * 20))), "name", NAME, gateway)


# Gateways


def gateways(server: Server, wanted: OffchainLookup, *, local: bool = False) -> bytes:
    return asyncio.run(Ccip(opener(server), lambda: local).answer(wanted))


def offchain(*urls: str, data: bytes = b"q") -> OffchainLookup:
    return OffchainLookup("0x" + "Aa" * 20, urls, data, b"back", b"extra")


def test_a_gateway_is_asked_by_get_or_by_post() -> None:
    seen = []

    def server(method: str, url: str, body: bytes | None) -> tuple[int, bytes]:
        seen.append((method, url, body))
        return 200, b'{"data":"0x1234"}'

    assert gateways(server, offchain("https://g/{sender}/{data}.json")) == b"\x12\x34"
    assert gateways(server, offchain("https://g/{sender}")) == b"\x12\x34"
    sender = "0x" + "aa" * 20
    assert seen[0] == ("GET", f"https://g/{sender}/0x71.json", None)
    assert seen[1][:2] == ("POST", f"https://g/{sender}")
    assert json.loads(seen[1][2] or b"") == {"data": "0x71", "sender": sender}


def test_a_broken_gateway_gives_way_to_the_next_and_a_refusal_is_final() -> None:
    seen = []

    def server(_: str, url: str, __: bytes | None) -> tuple[int, bytes]:
        seen.append(url)
        return {"a": (500, b""), "b": (200, b"[]"), "c": (404, b"")}.get(
            url[8:9], (200, b'{"data":"0x00"}')
        )

    assert gateways(server, offchain("https://a/{data}", "https://b/", "https://d/")) == b"\0"
    with pytest.raises(Dms3Error, match="status 404") as error:
        gateways(server, offchain("https://c/", "https://d/"))
    assert error.value.code == "content_unavailable"
    assert len(seen) == 4


def test_only_so_many_gateways_are_tried_and_none_over_plain_http() -> None:
    seen = []

    def server(_: str, url: str, __: bytes | None) -> tuple[int, bytes]:
        seen.append(url)
        return 502, b""

    with pytest.raises(Dms3Error, match="status 502"):
        gateways(server, offchain(*["https://g/"] * (CCIP_URLS_MAX + 5)))
    assert len(seen) == CCIP_URLS_MAX
    for url in ("http://g/", "ftp://g/", "file:///etc/passwd", "//g/", ""):
        with pytest.raises(Dms3Error, match="not reached by https"):
            gateways(server, offchain(url))
    assert len(seen) == CCIP_URLS_MAX
    with pytest.raises(Dms3Error, match="status 502"):
        gateways(server, offchain("http://g/"), local=True)
    with pytest.raises(Dms3Error, match="no gateway"):
        gateways(server, offchain())


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"data":5}', b'{"data":"1234"}', b'{"data":"0x123"}', b'{"data":"0xzz"}'],
)
def test_what_is_no_answer_of_a_gateway(body: bytes) -> None:
    with pytest.raises(Dms3Error, match="no data"):
        gateways(lambda *_: (200, body), offchain("https://g/"))


def test_a_gateway_that_answers_too_much() -> None:
    with pytest.raises(Dms3Error, match="too much"):
        gateways(lambda *_: (200, b" " * (CCIP_ANSWER_BYTES_MAX + 1)), offchain("https://g/"))


def batch(count: int) -> OffchainLookup:
    one = (b"\x01" * 20, ["https://a/{data}"], b"q")
    bad = (b"\x01" * 20, ["https://b/{data}"], b"q")
    each = [one] + [bad] * (count - 1)
    types = (Many(("address", Many("string"), "bytes")),)
    return offchain(LOCAL_BATCH, data=bytes.fromhex("a780bab6") + encode_abi(types, (each,)))


def test_a_batch_is_answered_here() -> None:
    def server(_: str, url: str, __: bytes | None) -> tuple[int, bytes]:
        return (200, b'{"data":"0x01"}') if url.startswith("https://a/") else (500, b"")

    answer = gateways(server, batch(CCIP_BATCH_MAX))
    failed, bodies = decode_abi((Many("bool"), Many("bytes")), answer)
    assert failed == [False] + [True] * (CCIP_BATCH_MAX - 1)
    assert bodies[0] == b"\x01"
    with pytest.raises(Dms3Error, match="over"):
        gateways(server, batch(CCIP_BATCH_MAX + 1))
    with pytest.raises(Dms3Error, match="status 500"):
        gateways(lambda *_: (500, b""), batch(2))


def test_a_batch_asks_no_more_gateways_than_one_look_up() -> None:
    seen = []

    def server(_: str, url: str, __: bytes | None) -> tuple[int, bytes]:
        seen.append(url)
        return 502, b""

    many = (b"\x01" * 20, ["https://g/{data}"] * (CCIP_URLS_MAX + 5), b"q")
    types = (Many(("address", Many("string"), "bytes")),)
    for count in (1, 3, CCIP_BATCH_MAX):
        seen.clear()
        data = bytes.fromhex("a780bab6") + encode_abi(types, ([many] * count,))
        with pytest.raises(Dms3Error, match="status 502"):
            gateways(server, offchain(LOCAL_BATCH, data=data))
        assert len(seen) == count * (CCIP_URLS_MAX // count)


def test_the_url_of_a_gateway_does_not_grow_without_end() -> None:
    with pytest.raises(Dms3Error, match="too long"):
        gateways(lambda *_: (200, b'{"data":"0x"}'), offchain("https://g/{data}{data}"))
    with pytest.raises(Dms3Error, match="too long"):
        gateways(lambda *_: (200, b'{"data":"0x"}'), offchain("https://g/" + "x" * 2_048))


# Links


def fetched(server: Server, most: int = 100) -> Any:
    return asyncio.run(Web(opener(server)).serve("fetch", FetchUrl("https://w/p", most)))


def test_what_lies_at_a_url() -> None:
    assert fetched(lambda *_: (200, b"x" * 100)) == b"x" * 100
    for answer, code in (
        ((200, b"x" * 101), "content_invalid"),
        ((404, b""), "content_unavailable"),
        ((503, b""), "peer_unreachable"),
    ):
        with pytest.raises(Dms3Error) as error:
            fetched(lambda *_, answer=answer: answer)  # type: ignore[misc]
        assert error.value.code == code
    answer = asyncio.run(Web(opener(lambda *_: (200, b""))).serve("drop", None))
    assert answer.code == "method_unknown"
