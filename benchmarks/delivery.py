"""A delivery service over real HTTP: messages per second, and the CPU that one costs.

    python benchmarks/delivery.py serve FOLDER

`serve` prints {"service", "bare"}: where the service and an application that only says OK listen,
and ends with its stdin. Names are answered from memory, as a service does for names it has seen
within the minute. CPU is that of the process of the service, by the kernel's account.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from measure import Row, note
from nacl import bindings as sodium

from dms3.api.dm3 import Dm3
from dms3.api.public import PublicFront
from dms3.api.serve import PUBLIC, serve
from dms3.core.errors import Dms3Error
from dms3.crypto.keys import address_of, keccak256
from dms3.delivery.properties import Properties
from dms3.dm3.envelope import Envelope, enclose
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import Resolve, Resolved
from dms3.dm3.message import MessageType, compose
from dms3.dm3.profile import ServiceProfile, UserProfile, decode_service_profile, sign_profile
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.delivering import Delivering
from dms3.node.delivery_secrets import service_secrets

MESSAGES = 1_500
SENDERS, RECEIVERS = 30, 5
CONNECTIONS = 16
ACKNOWLEDGED_AT_ONCE = 100
ROUNDS = 400  # of the cryptography and of commits
SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Person:
    name: str
    secret: bytes
    keys: ProfileKeys

    @classmethod
    def numbered(cls, number: int) -> Person:
        seed = hashlib.sha256(b"%d" % number).digest()
        return cls(f"person{number}.eth", seed, ProfileKeys.of_seed(seed))

    @property
    def profile(self) -> UserProfile:
        return UserProfile(("ds.eth",), self.keys.encryption_public, self.keys.signing_public)


PEOPLE = [Person.numbered(number) for number in range(SENDERS + RECEIVERS)]


# the service, in a process of its own


async def names() -> Callable[[str, Any], Any]:
    known = {}
    for person in PEOPLE:
        signed = sign_profile(person.secret, person.profile)
        address = address_of(person.secret)
        known[person.name] = Resolved(person.name, address, signed, None, "ens", "")

    async def call(_operation: str, wanted: Resolve) -> Resolved:
        if wanted.name not in known:
            raise Dms3Error("not_found", wanted.name)
        return known[wanted.name]

    return call


async def bare(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"OK"})


async def serving(folder: Path) -> None:
    store = Store.open(folder / "store.db", bytes(32), MIGRATIONS)
    world = SystemClock(), SystemEntropy()
    secrets = service_secrets(store, world[1])
    service = Delivering(secrets, store, await names(), None, Properties(), world)
    front = PublicFront({"dm3": Dm3(lambda: service, bare, {})}, lambda *_: None)
    async with (
        serve(front, "127.0.0.1", 0, PUBLIC) as one,
        serve(bare, "127.0.0.1", 0, PUBLIC) as other,
        asyncio.TaskGroup() as group,
    ):
        running = group.create_task(service.run())
        profile = service.profile(f"{one.url}/dm3").value()
        print(json.dumps({"service": profile, "bare": other.port, "port": one.port}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        running.cancel()
    store.close()


# the client


@dataclass
class Service:
    """A running service: its process, profile and ports."""

    process: subprocess.Popen[str]
    profile: ServiceProfile
    port: int
    bare: int

    def cpu(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * SECONDS_PER_TICK


@contextlib.contextmanager
def started(folder: Path) -> Any:
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        told = json.loads(process.stdout.readline())
        profile = decode_service_profile(told["service"])
        yield Service(process, profile, told["port"], told["bare"])
    finally:
        process.stdin.close()
        process.wait()


class Connection:
    """One HTTP/1.1 connection, one request at a time, with as little work as can be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"", session: str = "") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: service\r\nContent-Length: {len(body)}\r\n"
        if session:
            head += f"Authorization: Bearer {session}\r\n"
        self._writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        size = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await self._reader.readexactly(size)


@contextlib.asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Connection]]:
    pairs = [await asyncio.open_connection("127.0.0.1", port, limit=1 << 26) for _ in range(count)]
    yield [Connection(*pair) for pair in pairs]
    for _, writer in pairs:
        writer.close()


def envelopes(service: ServiceProfile) -> list[Envelope]:
    made = []
    for number in range(MESSAGES):
        sender, receiver = PEOPLE[number % SENDERS], PEOPLE[SENDERS + number % RECEIVERS]
        message = compose(
            sender.keys,
            sender=sender.name,
            receiver=receiver.name,
            sent_ms=1_700_000_000_000 + number,
            type=MessageType.NEW,
            text=f"message {number}",
            attachments=(),
            reference=None,
        )
        made.append(enclose(message, sender.keys, receiver.profile, service, SystemEntropy()))
    return made


def requests(made: Sequence[Envelope]) -> list[bytes]:
    body = {"jsonrpc": "2.0", "method": "dm3_submitMessage"}
    return [json.dumps(body | {"params": [one.text()]}).encode() for one in made]


async def spread(port: int, path: str, bodies: Sequence[bytes]) -> float:
    """Seconds until every body was answered over some connections."""
    async with connected(port, CONNECTIONS) as connections:
        waiting = iter(bodies)
        started = time.perf_counter()

        async def work(connection: Connection) -> None:
            for body in waiting:
                await connection.ask("POST", path, body)

        await asyncio.gather(*(work(connection) for connection in connections))
        return time.perf_counter() - started


async def sessions(service: Service) -> dict[str, str]:
    found = {}
    async with connected(service.port, 1) as (connection,):
        for person in PEOPLE[SENDERS:]:
            signed = sign_profile(person.secret, person.profile).text().encode()
            await connection.ask("POST", f"/dm3/profile/{person.name}", signed)
            path = f"/dm3/auth/{person.name}"
            challenge = json.loads(await connection.ask("GET", path))
            given = {"challenge": challenge, "signature": person.keys.sign(challenge)}
            body = json.dumps(given).encode()
            found[person.name] = json.loads(await connection.ask("POST", path, body))
    return found


async def pick_up(service: Service, tokens: dict[str, str]) -> tuple[float, int]:
    """Seconds in which every receiver fetches and acknowledges what waits, and how much did."""
    count = 0
    started = time.perf_counter()

    async def one(connection: Connection, name: str, token: str) -> None:
        nonlocal count
        path = f"/dm3/delivery/messages/incoming/{name}"
        while found := json.loads(await connection.ask("GET", path, session=token)):
            acks = [
                {
                    "contactAddress": each["metadata"]["deliveryInformation"]["from"],
                    "messageHash": each["metadata"]["messageHash"],
                }
                for each in found
            ]
            for start in range(0, len(acks), ACKNOWLEDGED_AT_ONCE):
                some = {"acknowledgements": acks[start : start + ACKNOWLEDGED_AT_ONCE]}
                where = f"/dm3/delivery/messages/{name}/syncAcknowledgements/"
                await connection.ask("POST", where, json.dumps(some).encode(), token)
            count += len(found)

    async with connected(service.port, len(tokens)) as connections:
        pairs = zip(connections, tokens.items(), strict=True)
        await asyncio.gather(*(one(connection, *pair) for connection, pair in pairs))
    return time.perf_counter() - started, count


@dataclass(frozen=True)
class Measured:
    """Seconds of submitting and of picking up, CPU seconds of one submit and of bare HTTP."""

    submit: float
    pick_up: float
    cpu: float
    bare: float


async def through(service: Service) -> Measured:
    made = envelopes(service.profile)
    bodies = requests(made)
    tokens = await sessions(service)
    await spread(service.port, "/dm3/rpc", bodies[:SENDERS])  # every name was seen
    before = service.cpu()
    submit = await spread(service.port, "/dm3/rpc", bodies[SENDERS:])
    cpu = (service.cpu() - before) / (len(bodies) - SENDERS)
    seconds, count = await pick_up(service, tokens)
    assert count == MESSAGES, f"{count} of {MESSAGES} messages came through"
    before = service.cpu()
    await spread(service.bare, "/", bodies)
    return Measured(submit, seconds, cpu, (service.cpu() - before) / len(bodies))


def cryptography() -> float:
    """CPU seconds of the primitives of one submit, each called once, with nothing around them."""
    service, sender = ProfileKeys.of_seed(bytes(32)), PEOPLE[0]
    padded, text, message = bytes(2_048), bytes(3_200), bytes(3_000)
    key, nonce = bytes(32), bytes(12)
    sealed = sodium.crypto_aead_chacha20poly1305_ietf_encrypt(padded, None, nonce, key)
    signed = sodium.crypto_sign(text, sender.keys.signing_secret)
    started = time.process_time()
    for _ in range(ROUNDS):
        # The delivery information is opened.
        shared = sodium.crypto_scalarmult(service.encryption_secret, sender.keys.encryption_public)
        hashlib.blake2b(shared).digest()
        sodium.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, nonce, key)
        # The sender's signature is verified.
        sodium.crypto_sign_open(signed, sender.keys.signing_public)
        # The postmark is signed and sealed.
        hashlib.sha256(keccak256(message)).digest()
        sodium.crypto_sign(nonce, service.signing_secret)
        ephemeral = sodium.crypto_scalarmult_base(os.urandom(32))
        shared = sodium.crypto_scalarmult(service.encryption_secret, ephemeral)
        hashlib.blake2b(shared).digest()
        sodium.crypto_aead_chacha20poly1305_ietf_encrypt(padded, None, nonce, key)
    return (time.process_time() - started) / ROUNDS


def commit(folder: Path) -> float:
    """CPU seconds of one durable commit of a row as large as a stored envelope."""
    store = Store.open(folder / "commit.db", bytes(32), MIGRATIONS)
    insert = "INSERT INTO state (tbl, key, value) VALUES ('bench', ?, ?)"
    value = os.urandom(9_000)
    started = time.process_time()
    for number in range(ROUNDS):
        store.transact(
            lambda c, number=number: c.execute(insert, (b"%d" % number, value)) and None
        ).result()
    seconds = (time.process_time() - started) / ROUNDS
    store.close()
    return seconds


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor = cryptography() + commit(folder)
        with started(folder / "one") as one:
            alone = uvloop.run(through(one))
        note(
            f"delivery: submit {MESSAGES / alone.submit:,.0f}/s, "
            f"pick up {MESSAGES / alone.pick_up:,.0f}/s"
        )
        with started(folder / "two") as two, started(folder / "three") as three:

            async def both() -> list[Measured]:
                return await asyncio.gather(through(two), through(three))

            pair = uvloop.run(both())
    together = sum(each.cpu for each in pair) / 2
    rate = MESSAGES / (alone.submit + alone.pick_up)
    why = f"{CONNECTIONS} connections, {SENDERS} senders, {RECEIVERS} receivers, client beside it"
    return [
        Row("messages submitted, fetched and acknowledged", rate, None, "", "messages/s", 500, why),
        Row(
            "CPU of one submit",
            alone.cpu * 1000,
            floor * 1000,
            "its cryptography and one commit",
            "ms",
            3,
            "names in memory; commits of many share one flush",
        ),
        Row(
            "of that, bare HTTP", alone.bare * 1000, None, "", "ms", None, "uvicorn, the same bytes"
        ),
        Row(
            "CPU of one submit, two services at once",
            together * 1000,
            alone.cpu * 1000,
            "one service",
            "ms",
            1.1,
            "they share a machine and nothing else",
        ),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serving(Path(sys.argv[2])))
    else:
        for row in rows():
            print(row)
