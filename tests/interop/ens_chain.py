"""An Ethereum node (anvil) with the contracts of ENS at their addresses, and a gateway beside it.

Contracts come from the npm packages of ENS (registry, public resolver, offchain resolver); the
universal resolver is `peers/ens/universal.vy`. `make peers` installs and compiles all.
"""

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from coincurve import PrivateKey

from dms3.crypto.keys import address_of, keccak256
from dms3.dm3 import ens
from dms3.dm3.abi import Many, decode_abi, encode_abi
from dms3.dm3.naming import namehash
from dms3.io.clock import SystemClock
from interop.peer import PEERS, need

HOME = PEERS / "ens"
SIGNER = b"g" * 32  # of the gateway
TRIES = 2_000  # looks at something that takes milliseconds


def _artifact(package: str, path: str) -> bytes:
    data = json.loads((HOME / "contracts" / package / "package" / path).read_text())
    return bytes.fromhex(data["bytecode"].removeprefix("0x"))


class Chain:
    """The node at `url`; what is written is mined at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(trust_env=False, timeout=30)

    def close(self) -> None:
        self._client.close()

    def rpc(self, method: str, *params: Any) -> Any:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self._client.post(self.url, json=question).json()
        assert "error" not in answer, answer
        return answer["result"]

    @property
    def account(self) -> str:
        return str(self.rpc("eth_accounts")[0])

    def send(self, to: str | None, data: bytes) -> dict[str, Any]:
        call = {"from": self.account, "data": "0x" + data.hex(), "gas": "0x989680"}
        if to is not None:
            call["to"] = to
        sent = self.rpc("eth_sendTransaction", call)
        for _ in range(TRIES):
            receipt = self.rpc("eth_getTransactionReceipt", sent)
            if receipt is not None:
                break
            time.sleep(0.002)
        assert receipt["status"] == "0x1", receipt
        return dict(receipt)

    def deploy(self, code: bytes, types: tuple[Any, ...] = (), values: tuple[Any, ...] = ()) -> str:
        return str(self.send(None, code + encode_abi(types, values))["contractAddress"])

    def place(self, made: str, at: str) -> None:
        self.rpc("anvil_setCode", at, self.rpc("eth_getCode", made, "latest"))

    def call(self, to: str, signature: str, *values: Any) -> None:
        types = tuple(part for part in signature.partition("(")[2].rstrip(")").split(",") if part)
        words = tuple("uint" if each.startswith("uint") else each for each in types)
        self.send(to, keccak256(signature.encode())[:4] + encode_abi(words, values))


class Names:
    """ENS on `chain`."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        registry = chain.deploy(
            _artifact("ensdomains-ens-0.6.2", "build/contracts/ENSRegistry.json")
        )
        chain.place(registry, ens.REGISTRY)
        root = "0x" + keccak256(bytes(64)).hex()  # records[0].owner, in slot 0
        owner = "0x" + bytes.fromhex(chain.account[2:]).rjust(32, b"\0").hex()
        chain.rpc("anvil_setStorageAt", ens.REGISTRY, root, owner)
        code = _artifact("ensdomains-resolver-0.3.1", "build/contracts/PublicResolver.json")
        self.resolver = chain.deploy(code, ("address",), (bytes.fromhex(ens.REGISTRY[2:]),))
        universal = (HOME / "universal.hex").read_text().strip().removeprefix("0x")
        self._universal = chain.deploy(bytes.fromhex(universal))
        self.with_universal(True)

    def with_universal(self, there: bool) -> None:
        if there:
            self.chain.place(self._universal, ens.UNIVERSAL_RESOLVER)
        else:
            self.chain.rpc("anvil_setCode", ens.UNIVERSAL_RESOLVER, "0x")

    def offchain(self, urls: str) -> str:
        """A resolver whose answers come from a gateway that SIGNER signs for."""
        path = "artifacts/contracts/OffchainResolver.sol/OffchainResolver.json"
        code = _artifact("ensdomains-offchain-resolver-contracts-0.2.1", path)
        signer = bytes.fromhex(address_of(SIGNER)[2:])
        return self.chain.deploy(code, ("string", Many("address")), (urls, [signer]))

    def register(self, name: str, resolver: str | None = None) -> None:
        labels = name.split(".")
        account = bytes.fromhex(self.chain.account[2:])
        for number in range(len(labels) - 1, -1, -1):
            parent = namehash(".".join(labels[number + 1 :]))
            label = keccak256(labels[number].encode())
            self.chain.call(
                ens.REGISTRY, "setSubnodeOwner(bytes32,bytes32,address)", parent, label, account
            )
        target = bytes.fromhex((resolver or self.resolver)[2:])
        self.chain.call(ens.REGISTRY, "setResolver(bytes32,address)", namehash(name), target)

    def set_address(self, name: str, address: str) -> None:
        target = bytes.fromhex(address[2:])
        self.chain.call(self.resolver, "setAddr(bytes32,address)", namehash(name), target)

    def set_text(self, name: str, key: str, text: str) -> None:
        signature = "setText(bytes32,string,string)"
        self.chain.call(self.resolver, signature, namehash(name), key, text)

    def set_name(self, address: str, name: str) -> None:
        reverse = f"{address[2:].lower()}.addr.reverse"
        self.register(reverse)
        self.chain.call(self.resolver, "setName(bytes32,string)", namehash(reverse), name)


@dataclass
class Web:
    """A web server on loopback: `pages` by path, and a gateway at /gateway/{sender}/{data}."""

    url: str
    pages: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    signer: bytes = SIGNER

    @property
    def gateway(self) -> str:
        return f"{self.url}/gateway/{{sender}}/{{data}}"

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        if not path.startswith("/gateway/"):
            return self.pages.get(path, (404, b"nothing here"))
        _, _, sender, data = path.split("/")
        call = bytes.fromhex(data.removeprefix("0x"))
        name_bytes, question = decode_abi(("bytes", "bytes"), call[4:])
        result = self._result(_dotted(name_bytes), question)
        expires = SystemClock().now().wall_us // 1_000_000 + 300
        # EIP-191 version 0, as the contract of ENS checks it.
        digest = keccak256(
            b"\x19\x00"
            + bytes.fromhex(sender[2:])
            + expires.to_bytes(8, "big")
            + keccak256(call)
            + keccak256(result)
        )
        signed = PrivateKey(self.signer).sign_recoverable(digest, hasher=None)
        signature = signed[:64] + bytes([27 + signed[64]])
        answer = encode_abi(("bytes", "uint", "bytes"), (result, expires, signature))
        return 200, json.dumps({"data": "0x" + answer.hex()}).encode()

    def _result(self, name: str, question: bytes) -> bytes:
        if question[:4].hex() == "3b3b57de":
            address = self.addresses.get(name, "0x" + "00" * 20)
            return encode_abi(("address",), (bytes.fromhex(address[2:]),))
        _, key = decode_abi(("bytes32", "string"), question[4:])
        return encode_abi(("string",), (self.texts.get((name, key), ""),))


def _dotted(name: bytes) -> str:
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]].decode())
        at += 1 + name[at]
    return ".".join(labels)


@contextlib.contextmanager
def anvil() -> Iterator[Chain]:
    """A running node; skips the test when it is not installed."""
    need("ens")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (program,) = (HOME / "node_modules/@foundry-rs").glob("anvil-*/bin/anvil")
    process = subprocess.Popen(
        [program, "--silent", "--port", str(port), "--chain-id", "1"], stdin=subprocess.DEVNULL
    )
    chain = Chain(f"http://127.0.0.1:{port}")
    try:
        for _ in range(TRIES):
            try:
                chain.rpc("eth_chainId")
                break
            except httpx.TransportError:
                assert process.poll() is None, "anvil has ended"
                time.sleep(0.02)
        yield chain
    finally:
        chain.close()
        process.kill()
        process.wait()


@contextlib.contextmanager
def web() -> Iterator[Web]:
    """A web server on a free port of this machine."""
    state: list[Web] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            status, body = state[0].answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.append(Web(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state[0]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
