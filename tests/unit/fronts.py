"""A node that keeps nothing, with its commands and its front: for tests of the fronts."""

# ruff: noqa: ARG001, ARG002 - commands take a node, whether they need it or not
import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Literal

import httpx

from dms3.api.http import Front, build_front
from dms3.api.sessions import Sessions
from dms3.core.cid import RAW, Cid
from dms3.core.database import StoredEvent
from dms3.core.errors import Dms3Error
from dms3.core.machine import Now
from dms3.io.loop import Gap, Subscription
from dms3.node.commands_system import doctor, id_show, status
from dms3.node.services import Health
from dms3.node.table import (
    About,
    BlobOrPath,
    InputPath,
    Item,
    Progress,
    Result,
    Secret,
    Table,
    command,
)

TOKEN = "t" * 43
BASE = "http://127.0.0.1:7700"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
FILE = bytes(range(256)) * 40
FILE_CID = Cid.of(RAW, FILE)
LOST_CID = Cid.of(RAW, b"lost")
BROKEN_CID = Cid.of(RAW, b"broken")
UPLOAD = "ab" * 16


class Ticking:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.us = 1_000_000

    def now(self) -> Now:
        return Now(self.us, self.us)


class Counting:
    """Entropy that never repeats and is the same in every run."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


@dataclass
class Stored:
    id: str
    size: int


class Pieces:
    """The content of a file; `broken` fails after the first piece."""

    def __init__(self, data: bytes, *, broken: bool = False) -> None:
        self.data = data
        self.size = len(data)
        self.name = 'le "tt" er.txt'
        self.broken = broken

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        for place in range(start, end, 1000):
            if self.broken and place > start:
                raise Dms3Error("content_unavailable", "A block is missing.")
            yield self.data[place : min(end, place + 1000)]


@dataclass
class FakeNode:
    """NodeServices with everything in memory."""

    why_not_ready: str = ""
    stored: list[StoredEvent] = field(default_factory=list)
    readers: list[Subscription] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    said: list[object] = field(default_factory=list)

    async def status(self):
        ready = not self.why_not_ready
        rest = {"name": "<b>alice</b>", "peers": {"connected": 2, "known": 3}, "documents": 7}
        return {"ready": ready, "locked": self.why_not_ready == "locked", **(rest if ready else {})}

    async def doctor(self, *, quick: bool = False):
        return [Health("disk", "pass", "enough"), Health("peers", "fail", "none", "dms3 up")]

    async def identity(self):
        if self.why_not_ready == "locked":
            raise Dms3Error("node_locked", "This node is locked.", hint="dms3 unlock")
        return {"name": "alice"}

    def ready(self):
        return self.why_not_ready

    @property
    def dapps(self):
        return self

    def known(self, dapp):
        return False

    async def metrics(self):
        return b"dms3_node_ready 1\n"

    @contextlib.contextmanager
    def subscribe(self):
        reader = Subscription()
        self.readers.append(reader)
        try:
            yield reader
        finally:
            self.readers.remove(reader)
            self.left.set()

    async def events(self, since, limit):
        return [event for event in self.stored if event.id > since][:limit]

    async def receive(self, chunks):
        taken = bytearray()
        async for chunk in chunks:
            self.started.set()
            taken += chunk
        self.uploads.append(bytes(taken))
        return Stored(UPLOAD, len(taken))

    async def content(self, cid):
        if cid == LOST_CID:
            raise Dms3Error("content_unavailable", "Nobody has it.")
        return Pieces(FILE, broken=cid == BROKEN_CID)

    def happen(self, topic: str, **data: object) -> StoredEvent:
        event = StoredEvent(len(self.stored) + 1, topic, data, 1_700_000_000_000_000)
        self.stored.append(event)
        for reader in self.readers:
            reader.put(event)
        return event

    def lose(self, first: int, last: int) -> None:
        for reader in self.readers:
            reader._missed = Gap(first, last)
            reader._arrived.set()


@command("echo", "all", example="dms3 echo all a b")
async def echo(
    node: FakeNode,
    words: Annotated[tuple[str, ...], "words"],
    count: Annotated[int, "how often"] = 1,
    loud: Annotated[bool, "shout"] = False,
    maybe: Annotated[str | None, "or nothing"] = None,
    scope: Annotated[Literal["local", "peers"], "where"] = "local",
    with_: Annotated[str | None, About("whom", "--with", "CONTACT")] = None,
) -> Result:
    """Say it again.

    As often as asked.
    """
    said = {"words": list(words), "count": count, "loud": loud, "maybe": maybe, "scope": scope}
    return Result(said | {"with": with_})


@command("echo", "files", example="dms3 echo files a.txt")
async def files(
    node: FakeNode, paths: Annotated[tuple[BlobOrPath, ...], About("files", metavar="PATH")]
) -> Result:
    """Name the files."""
    return Result({"paths": [path.value for path in paths], "blobs": [p.blob for p in paths]})


@command("echo", "path", example="dms3 echo path /etc")
async def path_only(node: FakeNode, path: Annotated[InputPath, "a path"]) -> Result:
    """Name one path."""
    return Result({"path": path.path})


@command("echo", "secret", example="dms3 echo secret")
async def secret(node: FakeNode, passphrase: Annotated[Secret, "a secret"]) -> Result:
    """Take a secret and tell its length."""
    node.said.append(passphrase)
    return Result({"length": len(passphrase.text)})


@command("work", "count", example="dms3 work count 3")
async def count_up(
    node: FakeNode,
    to: Annotated[int, "how far"],
    fail: Annotated[str, "code of the error at the end, or bug"] = "",
) -> AsyncIterator[Progress | Item | Result]:
    """Count, with progress."""
    for number in range(to):
        yield Progress(number + 1, to, "steps", "Counting")
        yield Item({"number": number})
    if fail == "bug":
        raise ZeroDivisionError
    if fail:
        raise Dms3Error(fail, "It failed.", hint="Do not.")
    yield Result({"counted": to})


@command("work", "wait", example="dms3 work wait")
async def wait_long(
    node: FakeNode, streaming: Annotated[bool, "say that it begins"] = False
) -> AsyncIterator[Progress | Result]:
    """Wait until nobody waits."""
    try:
        if streaming:
            yield Progress(0, None, "steps")
        node.started.set()
        await asyncio.Event().wait()
    except (asyncio.CancelledError, GeneratorExit):
        node.cancelled.set()
        raise
    yield Result({})


@command("work", "fail", example="dms3 work fail timed_out")
async def fail(node: FakeNode, code: Annotated[str, "the code"]) -> Result:
    """Fail."""
    if code == "bug":
        raise ZeroDivisionError
    raise Dms3Error(code, "It failed.", hint="Do not.")


@command("search", example="dms3 search words")
async def search(
    node: FakeNode,
    query: Annotated[str, "words"],
    limit: Annotated[int, "hits"] = 20,
    scope: Annotated[Literal["local", "peers", "all"], "where"] = "local",
) -> Result:
    """Find."""
    if query == "refuse":
        raise Dms3Error("argument_invalid", "A query needs <words>.")
    hit = {"cid": str(FILE_CID), "title": "<script>x</script>", "snippet": "a <i>b</i> c"}
    hit |= {"marks": [[2, 5], [4, 900]], "kind": "text", "space": "letters", "node": "here"}
    opened = {"opened": 1, "skipped": 0, "unreachable": 0}
    found = {"hits": [hit][:limit], "total": 1, "milliseconds": 1.5}
    return Result(found | {"containers": opened, "unreachable": []})


@command("store", "list", example="dms3 store list")
async def store_list(
    node: FakeNode, space: Annotated[str | None, "of this space"] = None
) -> Result:
    """List."""
    reader = {"name": "<b>carol</b>", "root": "cd" * 32, "until_us": 1_803_945_599_999_999}
    mine = {"name": "<letters>", "mine": True, "owner": "me", "documents": 7, "bytes": 12_345}
    mine |= {"readers": [reader | {"delivered": True, "refused": ""}]}
    hers = {"name": "hers", "mine": False, "owner": None, "root": "ab" * 32, "space": "ef" * 32}
    hers |= {"until_us": 0, "connected": False}
    return Result({"spaces": [mine, hers]})


@command("store", "get", example="dms3 store get CID", download=True)
async def store_get(node: FakeNode, cid: Annotated[str, "cid"]) -> Result:
    """Get."""
    return Result({"cid": cid, "size": len(FILE), "name": "<u>name</u>", "documents": []})


@command("store", "recent", example="dms3 store recent")
async def store_recent(
    node: FakeNode,
    space: Annotated[str | None, "of this space"] = None,
    before: Annotated[int | None, "before this one"] = None,
    limit: Annotated[int, "at most"] = 20,
) -> Result:
    """List the last ones."""
    one = {"number": 7, "cid": str(FILE_CID), "name": "<i>name</i>", "title": "<b>title</b>"}
    one |= {"kind": "text", "bytes": 1234, "source": "upload:x/a/b", "modified_us": 0, "note": ""}
    one |= {"added_us": 1_700_000_000_000_000, "space": "<letters>"}
    return Result({"documents": [one][:limit] if before is None else [], "next": 7})


@command("store", "containers", example="dms3 store containers")
async def store_containers(node: FakeNode) -> Result:
    """List what lies where."""
    one = {"number": 1, "space": "<letters>", "kind": "text", "documents": 7, "room": 0}
    one |= {"bytes": 12_345, "added_us": [1_700_000_000_000_000] * 2, "where": "here"}
    return Result({"containers": [one], "documents_max": 50_000})


@command("contact", "list", example="dms3 contact list")
async def contact_list(node: FakeNode) -> Result:
    """List people."""
    carol = {"name": "<b>carol</b>", "root": "cd" * 32, "peer_id": "12D3KooWcarol"}
    return Result({"contacts": [carol | {"addresses": ["/ip4/192.0.2.1"], "added_us": 0}]})


@command("contact", "card", example="dms3 contact card")
async def contact_card(node: FakeNode) -> Result:
    """Give the card."""
    return Result({"card": "dms3:abcdefgh234567", "until_us": 1_900_000_000_000_000})


@command("peer", "list", example="dms3 peer list")
async def peer_list(node: FakeNode) -> Result:
    """List nodes."""
    one = {"peer_id": "here", "name": "<b>carol</b>", "root": "cd" * 32, "connected": True}
    return Result({"peers": [one | {"milliseconds": 1.5, "problem": None}], "connected": 1})


TABLE = Table(
    (
        *(status, doctor, id_show, echo, files, path_only, secret),
        *(count_up, wait_long, fail, search, store_list, store_get, store_recent),
        *(store_containers, contact_list, contact_card, peer_list),
    )
)


@dataclass
class Fixture:
    """A front on a fake node, and what it reported."""

    node: FakeNode
    front: Front
    clock: Ticking
    reported: list[tuple[str, BaseException]]

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.front.app), base_url=BASE, headers=AUTH | headers
        )


def make(hosts: tuple[str, ...] = (), node: FakeNode | None = None) -> Fixture:
    node, clock = node or FakeNode(), Ticking()
    reported: list[tuple[str, BaseException]] = []
    front = build_front(
        node,
        TABLE,
        token=TOKEN,
        sessions=Sessions(Counting(), clock),
        hosts=hosts,
        report=lambda path, error: reported.append((path, error)),
    )
    return Fixture(node, front, clock, reported)


@asynccontextmanager
async def asked(**headers: str):
    fixture = make()
    async with fixture.client(**headers) as client:
        yield fixture, client


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test function."""

    @functools.wraps(test)
    def run(*arguments: object, **named: object) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return run
