"""The io port "ethereum": names and accounts, as an Ethereum node of the person's choice says.

Source: `dm3/outside.py` lists the operations; Ethereum JSON-RPC. Names go through the universal
resolver, and through the registry where a chain has none. What the node says is believed: it is the
person's, or one they chose (docs/names.md). Own calls instead of a library that takes three seconds
and 66 MB to import. URLs may carry keys, so errors show the host alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.limits import (
    CCIP_ROUNDS_MAX,
    ETHEREUM_ANSWER_BYTES_MAX,
    ETHEREUM_CALLS_MAX,
    ETHEREUM_SECONDS_MAX,
)
from dms3.dm3 import ens
from dms3.dm3.outside import LookUpName, NameOnChain, TokenBalance

T = TypeVar("T")

Open = Callable[
    [str, str, bytes | None], AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]
]
"""(method, URL, JSON body) -> status and body of the answer; raises Dms3Error."""

Gateway = Callable[[ens.OffchainLookup], Awaitable[bytes]]
"""The answer of a gateway of a name (`io/ccip.py`)."""

OFF = Dms3Error(
    "peer_unreachable",
    "This node asks no Ethereum node, so it knows no name of ENS and no account.",
    hint='Set one: ethereum = ["https://..."] in config.toml, or dms3 up --ethereum URL.',
)
_AWAY = ("timed_out", "peer_unreachable", "peer_misbehaved", "peer_refused")
_REVERTED = 3  # JSON-RPC error code of a contract that failed
_NUMBER_CHARS_MAX = 66


class RevertedError(Exception):
    """A contract failed and gave `data` as the reason."""

    def __init__(self, data: bytes) -> None:
        super().__init__("the contract failed")
        self.data = data


@dataclass(frozen=True, slots=True)
class Chain:
    """One Ethereum node: JSON-RPC at `url` through the door `open_`."""

    url: str = field(repr=False)
    open_: Open

    @property
    def place(self) -> str:
        """The part of the URL that may be shown."""
        return urlsplit(self.url).netloc.rpartition("@")[2][:120]

    async def ask(self, method: str, params: list[Any]) -> str:
        """The result, a hex text; raises RevertedError, and Dms3Error when it does not answer."""
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with asyncio.timeout(ETHEREUM_SECONDS_MAX):
                body = await self._post(json.dumps(question).encode())
        except TimeoutError as cause:
            why = f"The Ethereum node at {self.place} did not answer."
            raise Dms3Error("timed_out", why, hint="Is it running, and reachable?") from cause
        except Dms3Error as error:
            why = f"The Ethereum node at {self.place} did not answer: {error.message}"
            raise Dms3Error(error.code, why) from error
        return self.result(body)

    async def read(self, to: str, data: bytes) -> bytes:
        """What the contract at `to` answers to the call `data`."""
        return self._bytes(await self.ask("eth_call", [{"to": to, "data": _hex(data)}, "latest"]))

    async def _post(self, body: bytes) -> bytes:
        async with self.open_("POST", self.url, body) as (_, pieces):
            answer = bytearray()
            async for piece in pieces:
                answer += piece
                if len(answer) > ETHEREUM_ANSWER_BYTES_MAX:
                    raise self._misbehaved(f"answers more than {ETHEREUM_ANSWER_BYTES_MAX} bytes")
            return bytes(answer)

    def result(self, body: bytes) -> str:
        """The result in an answer; raises RevertedError, and Dms3Error `peer_misbehaved`."""
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as cause:
            raise self._misbehaved("answers what is no JSON") from cause
        if isinstance(answer, dict):
            if isinstance(answer.get("result"), str):
                return str(answer["result"])
            if isinstance(answer.get("error"), dict):
                raise self._failure(answer["error"])
        raise self._misbehaved("answers what is no JSON-RPC")

    def _failure(self, error: dict[str, Any]) -> Exception:
        data = error.get("data")
        if isinstance(data, dict):  # as some nodes nest it
            data = data.get("data") or data.get("result")
        message = error.get("message")
        text = message if isinstance(message, str) else ""
        found = data.rpartition("0x")[2] if isinstance(data, str) and "0x" in data else None
        if found is None and error.get("code") != _REVERTED and "revert" not in text.lower():
            said = "".join(char for char in text[:120] if char.isprintable())
            why = f"The Ethereum node at {self.place} refused: {said or 'without a reason'}"
            return Dms3Error("peer_unreachable", why)
        try:
            return RevertedError(bytes.fromhex(found or ""))
        except ValueError:
            return self._misbehaved("answers what is no data")

    def _bytes(self, text: str) -> bytes:
        try:
            if text.startswith("0x"):
                return bytes.fromhex(text[2:])
        except ValueError:
            pass
        raise self._misbehaved("answers what is no data")

    def number(self, text: str) -> int:
        """The number in a result."""
        try:
            if text.startswith("0x") and len(text) <= _NUMBER_CHARS_MAX:
                return int(text, 16)
        except ValueError:
            pass
        raise self._misbehaved("answers what is no number")

    def _misbehaved(self, what: str) -> Dms3Error:
        return Dms3Error("peer_misbehaved", f"The Ethereum node at {self.place} {what}.")


class Ethereum:
    """The port over the nodes at `urls`, the first one that answers; none: every answer is OFF."""

    def __init__(self, urls: Sequence[str], open_: Open, gateway: Gateway) -> None:
        self._chains = [Chain(url, open_) for url in urls]
        self._gateway = gateway
        self._turn = asyncio.Semaphore(ETHEREUM_CALLS_MAX)
        self._operations: dict[str, tuple[type, Callable[[Chain, Any], Awaitable[Any]]]] = {
            "name": (LookUpName, self._name),
            "reverse": (str, self._reverse),
            "nonce": (str, _nonce),
            "balance": (str, _balance),
            "token_balance": (TokenBalance, _token_balance),
        }

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation named in `dm3/outside.py`."""
        kind, method = self._operations.get(operation, (object, None))
        if method is None or not isinstance(arguments, kind):
            return Failure("method_unknown", f"There is no operation {operation!r} of this port.")
        failure = OFF
        async with self._turn:
            for chain in self._chains:
                try:
                    return await method(chain, arguments)
                except Dms3Error as error:
                    if error.code not in _AWAY:
                        raise
                    failure = error
                except RevertedError:
                    failure = Dms3Error("content_invalid", "The contract refuses to answer.")
                    break
        raise Dms3Error(failure.code, failure.message, hint=failure.hint)

    async def _name(self, chain: Chain, wanted: LookUpName) -> NameOnChain:
        name = wanted.name
        questions = [ens.ask_address(name), *(ens.ask_text(name, key) for key in wanted.texts)]
        answers = await _together(self._universal(chain, name, each) for each in questions)
        if None in answers:
            resolver = await self._resolver(chain, name)
            ways = (self._resolved(chain, resolver, name, each) for each in questions)
            answers = await _together(ways)
        known = [answer or b"" for answer in answers]
        try:
            address = ens.read_address(known[0])
            texts = tuple(ens.read_text(answer) for answer in known[1:])
        except DecodeError as error:
            raise _odd(name, error.reason) from error
        return NameOnChain(address, texts)

    async def _reverse(self, chain: Chain, address: str) -> str:
        try:
            raw = await self._read(chain, ens.UNIVERSAL_RESOLVER, ens.ask_reverse(address), address)
        except RevertedError as error:
            if error.data:
                return ""  # no name, or one that does not lead back
            raw = b""
        try:
            return ens.read_text(raw or await self._registered(chain, address))
        except DecodeError as error:
            raise _odd(address, error.reason) from error

    async def _registered(self, chain: Chain, address: str) -> bytes:
        """The name of an account as the registry has it."""
        name = f"{address[2:].lower()}.addr.reverse"
        try:
            resolver = await self._resolver(chain, name)
        except Dms3Error as error:
            if error.code == "not_found":
                return b""
            raise
        return await self._resolved(chain, resolver, name, ens.ask_name(name))

    async def _universal(self, chain: Chain, name: str, question: bytes) -> bytes | None:
        """The answer through the universal resolver; None: this chain has none."""
        try:
            asked = ens.ask_extended(name, question)
            raw = await self._read(chain, ens.UNIVERSAL_RESOLVER, asked, name)
            return ens.read_bytes(raw) if raw else None
        except RevertedError as error:
            if error.data[:4] == ens.RESOLVER_NOT_FOUND:
                raise _unknown(name) from error
            return b""  # its resolver knows no such record
        except DecodeError as error:
            raise _odd(name, error.reason) from error

    async def _resolver(self, chain: Chain, name: str) -> tuple[str, bool]:
        """The resolver of `name` or of the nearest name above, and whether it is of ENSIP-10."""
        labels = name.split(".")
        for number in range(len(labels)):
            raw = await chain.read(ens.REGISTRY, ens.ask_resolver(".".join(labels[number:])))
            if not raw:
                why = f"The Ethereum node at {chain.place} is of a chain without ENS."
                raise Dms3Error("peer_unreachable", why)
            try:
                found = ens.read_address(raw)
                if found:
                    extended = await self._is_extended(chain, found)
                    if number and not extended:
                        break
                    return found, extended
            except DecodeError as error:
                raise _odd(name, error.reason) from error
        raise _unknown(name)

    async def _is_extended(self, chain: Chain, resolver: str) -> bool:
        try:
            raw = await chain.read(resolver, ens.ask_supports(ens.EXTENDED))
        except RevertedError:
            return False
        return bool(raw) and ens.read_truth(raw)

    async def _resolved(
        self, chain: Chain, resolver: tuple[str, bool], name: str, question: bytes
    ) -> bytes:
        """The answer of a resolver of the registry."""
        address, extended = resolver
        try:
            if not extended:
                return await self._read(chain, address, question, name)
            raw = await self._read(chain, address, ens.ask_extended(name, question), name)
            return ens.read_bytes(raw) if raw else b""
        except RevertedError:
            return b""  # it knows no such record
        except DecodeError as error:
            raise _odd(name, error.reason) from error

    async def _read(self, chain: Chain, to: str, data: bytes, about: str) -> bytes:
        """What a contract answers, after as many gateways as it asks for (ERC-3668)."""
        for asked in range(CCIP_ROUNDS_MAX + 1):
            try:
                return await chain.read(to, data)
            except RevertedError as error:
                lookup = ens.read_offchain(error.data)
                if lookup is None and asked:
                    raise _odd(about, "they do not accept what its gateway says") from error
                if lookup is None:
                    raise
                if lookup.sender.lower() != to.lower():
                    raise _odd(about, "one speaks for another") from error
                data = lookup.answered(await self._gateway(lookup))
        raise _odd(about, "they ask for one gateway after the other")


async def _nonce(chain: Chain, address: str) -> int:
    return chain.number(await chain.ask("eth_getTransactionCount", [address, "latest"]))


async def _balance(chain: Chain, address: str) -> int:
    return chain.number(await chain.ask("eth_getBalance", [address, "latest"]))


async def _token_balance(chain: Chain, wanted: TokenBalance) -> int:
    raw = await chain.read(wanted.token, ens.ask_balance(wanted.address))
    try:
        return ens.read_number(raw)
    except DecodeError as error:
        why = f"{wanted.token} is no token: {error.reason}."
        raise Dms3Error("content_invalid", why) from error


async def _together(ways: Any) -> list[bytes | None]:
    """The results, side by side; raises the first failure."""

    async def quiet(way: Awaitable[bytes | None]) -> bytes | Dms3Error | None:
        try:
            return await way
        except Dms3Error as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(quiet(way)) for way in ways]
    results: list[bytes | None] = []
    for task in tasks:
        result = task.result()
        if isinstance(result, Dms3Error):
            raise result
        results.append(result)
    return results


def _unknown(name: str) -> Dms3Error:
    return Dms3Error("not_found", f"There is no name {name} in ENS, or it leads nowhere.")


def _odd(name: str, why: str) -> Dms3Error:
    return Dms3Error("content_invalid", f"The contracts of {name} answer oddly: {why}.")


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
