"""A delivery service with a real database and names of a test: for tests of what it does."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dms3.api.dm3 import Dm3
from dms3.api.dm3_push import Pushes
from dms3.api.dm3_storage import storage_handlers
from dms3.api.public import PublicFront
from dms3.core.errors import Dms3Error
from dms3.core.machine import Now
from dms3.crypto.keys import address_of
from dms3.delivery.properties import Properties
from dms3.dm3.envelope import Envelope, enclose
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import OwnNames, Resolve, Resolved
from dms3.dm3.message import Message, MessageType, compose
from dms3.dm3.profile import SignedProfile, UserProfile, fingerprint, sign_profile
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.delivering import Delivering
from dms3.node.delivery_secrets import service_secrets
from unit.dm3_kit import Stream

SERVICE_NAME = "ds.example.eth"
BASE = "http://service"
DAY_US = 24 * 3_600 * 1_000_000
BEGIN = Now(1_000_000_000, 1_800_000_000_000_000)


@dataclass(frozen=True)
class Person:
    """Somebody with a wallet and a profile; `number` makes the keys."""

    name: str
    number: int

    @property
    def secret(self) -> bytes:
        return bytes([self.number]) * 32

    @property
    def address(self) -> str:
        return address_of(self.secret)

    @property
    def keys(self) -> ProfileKeys:
        return ProfileKeys.of_seed(bytes([self.number + 100]) * 32)

    def signed(self, keys: ProfileKeys | None = None) -> SignedProfile:
        keys = keys or self.keys
        profile = UserProfile((SERVICE_NAME,), keys.encryption_public, keys.signing_public)
        return sign_profile(self.secret, profile)


ALICE, BOB, MALLORY = Person("alice.eth", 1), Person("bob.eth", 2), Person("mallory.eth", 3)


class World:
    """Names, a clock, Ethereum: what a service asks."""

    def __init__(self) -> None:
        self.time = BEGIN
        self.names: dict[str, Resolved] = {}
        self.numbers: dict[tuple[str, Any], int] = {}
        self.asked: list[Resolve] = []
        self.own = "nobody.dms3"  # whose node it is
        self.failing: str = ""  # the code with which everything fails
        for person in (ALICE, BOB, MALLORY):
            self.know(person)

    def now(self) -> Now:
        return self.time

    def pass_us(self, us: int) -> None:
        self.time = Now(self.time.mono_us + us, self.time.wall_us + us)

    def know(self, person: Person, name: str = "", signed: SignedProfile | None = None) -> None:
        name, signed = name or person.name, signed or person.signed()
        mark = fingerprint(signed.profile)
        self.names[name] = Resolved(name, person.address, signed, None, "ens", mark)

    async def call(self, operation: str, arguments: Any) -> Any:
        if operation == "names.own":
            return OwnNames(self.own, self.own, SERVICE_NAME, (self.own,))
        assert operation == "names.resolve"
        self.asked.append(arguments)
        if self.failing:
            raise Dms3Error(self.failing, "names do not answer")
        if arguments.name not in self.names:
            raise Dms3Error("not_found", f"nobody is called {arguments.name}")
        return self.names[arguments.name]

    async def chain(self, operation: str, arguments: Any) -> int:
        if self.failing:
            raise Dms3Error(self.failing, "Ethereum does not answer")
        return self.numbers.get((operation, arguments), 0)


@dataclass
class Post:
    """A running service and a client of it."""

    world: World
    store: Store
    service: Delivering
    pushes: Pushes
    front: PublicFront
    client: httpx.AsyncClient
    reports: list[BaseException] = field(default_factory=list)
    drawn: Stream = field(default_factory=lambda: Stream(7))

    @property
    def profile(self):
        return self.service.profile("http://service/dm3")

    def message(self, text: str = "hello", *, by: Person = ALICE, to: Person = BOB) -> Message:
        return compose(
            by.keys,
            sender=by.name,
            receiver=to.name,
            sent_ms=1_700_000_000_000,
            type=MessageType.NEW,
            text=text,
            attachments=(),
            reference=None,
        )

    def envelope(
        self,
        text: str = "hello",
        *,
        by: Person = ALICE,
        to: Person = BOB,
        legacy: bool = False,
    ) -> Envelope:
        message = self.message(text, by=by, to=to)
        profile = to.signed().profile
        return enclose(message, by.keys, profile, self.profile, self.drawn, legacy=legacy)

    async def rpc(self, method: str | None, *params: Any, **more: Any) -> httpx.Response:
        body = {"jsonrpc": "2.0", "params": list(params), **more}
        if method is not None:
            body["method"] = method
        return await self.client.post("/dm3/rpc", json=body)

    async def submit(self, envelope: Envelope | str) -> httpx.Response:
        text = envelope if isinstance(envelope, str) else envelope.text()
        return await self.rpc("dm3_submitMessage", text)

    async def register(self, person: Person, name: str = "") -> str:
        body = person.signed().value()
        answer = await self.client.post(f"/dm3/profile/{name or person.name}", json=body)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()
        return token

    async def login(self, person: Person, name: str = "") -> dict[str, str]:
        """The header of a session."""
        path = f"/dm3/auth/{name or person.name}"
        challenge = (await self.client.get(path)).json()
        signature = person.keys.sign(challenge)
        answer = await self.client.post(path, json={"challenge": challenge, "signature": signature})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()}"}

    async def incoming(self, person: Person, session: dict[str, str], **query: Any) -> Any:
        path = f"/dm3/delivery/messages/incoming/{person.name}"
        answer = await self.client.get(path, headers=session, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def acknowledge(
        self, person: Person, session: dict[str, str], *pairs: tuple[str, str]
    ) -> httpx.Response:
        given = [{"contactAddress": one, "messageHash": other} for one, other in pairs]
        path = f"/dm3/delivery/messages/{person.name}/syncAcknowledgements/"
        return await self.client.post(path, headers=session, json={"acknowledgements": given})

    def rows(self, table: str) -> int:
        with self.store.read() as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])


@contextlib.asynccontextmanager
async def post_office(
    tmp_path: Path, world: World | None = None, properties: Properties | None = None
) -> AsyncIterator[Post]:
    """A service over a real store in `tmp_path`, asked in process."""
    world = world or World()
    store = Store.open(tmp_path / "store.db", bytes(32), MIGRATIONS, reserve=0)
    drawn = Stream(1)
    try:
        secrets = service_secrets(store, drawn)
        service = Delivering(
            secrets, store, world.call, world.chain, properties or Properties(), (world, drawn)
        )
        reports: list[BaseException] = []
        pushes = Pushes(lambda: service)
        storage = storage_handlers(lambda: store, world.now, service.properties.total_bytes)
        dm3 = Dm3(lambda: service, pushes.app, storage)
        front = PublicFront(
            {"dm3": dm3, "socket.io": pushes.app}, lambda _, error: reports.append(error)
        )
        transport = httpx.ASGITransport(front)
        async with (
            pushes.running(),
            httpx.AsyncClient(transport=transport, base_url=BASE) as client,
        ):
            yield Post(world, store, service, pushes, front, client, reports)
        assert not reports, reports
    finally:
        store.close()


async def refused(post: Post, envelope, code: str, status: int = 400) -> dict[str, object]:
    """The error with which the envelope is refused; nothing of it is kept."""
    before = post.rows("mail_message")
    answer = await post.submit(envelope)
    error = answer.json()["error"]
    assert (answer.status_code, error["data"]["code"]) == (status, code), error
    assert error["message"]
    assert post.rows("mail_message") == before
    return error


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, unchecked."""
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return found
