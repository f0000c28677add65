"""Nothing of a space that is not public is announced, held or asked for in public.

Three nodes on real sockets: an owner with a private, a shared and a public space, a reader of the
shared one, and a stranger. Everything that reaches a node is kept, and its home is opened with its
own key afterwards. Costs 6 s."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error
from dms3.core.network import MAIN
from dms3.core.overlay import location
from dms3.io.clock import SystemEntropy
from dms3.io.loop import Loop
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.documents import Documents
from dms3.node.home import Home
from dms3.node.metrics import Metrics
from dms3.node.node import Node, open_node, packs_key
from dms3.node.people import People
from dms3.node.services_store import SearchAsked
from dms3.node.settings import Settings
from dms3.node.table import BlobOrPath, Result

KEY = bytes(32)
NAMES = {"private": "diary of Lea", "shared": "letters to Bob", "public": "canal pages"}
MARKERS = {
    "private": "The kingfisher nests below the sluice at Startop",
    "shared": "A bittern booms beyond the reservoir of Wilstone",
    "later": "The grebe dances at the far end of Tringford",
    "public": "The heron waits beside the ninth lock at Marsworth",
}


class Quiet:
    """A log that fails the test for what should not happen."""

    def info(self, event: str, **values: object) -> None:
        """Nothing to remember."""

    def error(self, event: str, **values: object) -> None:
        raise AssertionError(f"{event} {values}")


@dataclass
class Heard:
    """All bytes that reached a node's machines from outside, by node."""

    of: dict[int, bytearray] = field(default_factory=dict)

    def note(self, loop: Loop, body: Any) -> None:
        if isinstance(body, bytes):
            self.of.setdefault(id(loop), bytearray()).extend(body)

    def by(self, node: Node) -> bytes:
        return bytes(self.of.get(id(node.loop), b""))


@pytest.fixture(name="heard")
def fixture_heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    heard = Heard()
    requested, received, answered = Loop.requested, Loop.received, Loop.answered

    def on_requested(self: Loop, peer: Any, protocol: str, body: bytes, wire: int) -> None:
        heard.note(self, body)
        requested(self, peer, protocol, body, wire)

    def on_received(self: Loop, peer: Any, protocol: str, body: bytes) -> bool:
        heard.note(self, body)
        return received(self, peer, protocol, body)

    def on_answered(self: Loop, handle: int, body: Any) -> None:
        heard.note(self, body)
        answered(self, handle, body)

    monkeypatch.setattr(Loop, "requested", on_requested)
    monkeypatch.setattr(Loop, "received", on_received)
    monkeypatch.setattr(Loop, "answered", on_answered)
    return heard


@contextlib.asynccontextmanager
async def opened(path: Path, name: str, *join: str) -> AsyncIterator[Node]:
    home = Home(path / name)
    home.create()
    settings = Settings(name, ("/ip4/127.0.0.1/tcp/0",), join, MAIN, mdns=False)
    async with open_node(home, KEY, settings, Quiet(), Metrics()) as node:
        yield node


async def run(steps: AsyncIterator[Any]) -> dict[str, Any]:
    done = [step async for step in steps]
    assert isinstance(done[-1], Result)
    return dict(done[-1].data)


async def add(node: Node, folder: Path, what: str, space: str) -> Cid:
    """The content identifier of a document in which the marker of `what` stands."""
    path = folder / f"{what}.txt"
    path.write_text(f"{MARKERS[what]}.\n")
    added = await run(Documents(node).add([BlobOrPath(str(path))], NAMES[space], None))
    return Cid.parse(added["root"])


async def share(alice: Node, bob: Node) -> None:
    for giver, taker in ((alice, bob), (bob, alice)):
        card = await People(giver).card()
        await People(taker).add(card["card"])
    await Documents(alice).share(NAMES["shared"], "bob", None)


async def search(node: Node, words: str, scope: str) -> list[str]:
    asked = SearchAsked(words, None, None, (), scope, 5)
    return [hit["cid"] for hit in (await Documents(node).search(asked))["hits"]]


async def until_found(node: Node, words: str, scope: str) -> list[str]:
    """A grant and a card take a moment to arrive."""
    with node.loop.subscribe() as events:
        async with asyncio.timeout(20):
            while not (found := await search(node, words, scope)):
                await anext(events)
    return found


async def read(node: Node, cid: Cid) -> bytes:
    content = await node.content(cid)
    return b"".join([piece async for piece in content.read(0, content.size)])


def traces(what: str, cid: Cid, space: bytes) -> list[bytes]:
    """What would give away the document or its space."""
    words = [MARKERS[what].encode(), *(word.encode() for word in MARKERS[what].split()[-1:])]
    return [*words, cid.digest, location(cid.binary), space]


def in_home(path: Path) -> bytes:
    """Everything a home holds, decrypted with its own key."""
    found = bytearray()
    home = Home(path)
    store = Store.open(home.database, KEY, MIGRATIONS)
    packs = Packs(home.packs, packs_key(KEY), store, SystemEntropy())
    try:
        with store.read() as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'"
            ).fetchall()
            for (table,) in tables:
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    for value in row:
                        found += value.encode() if isinstance(value, str) else b""
                        found += value if isinstance(value, bytes) else b""
            cids = [Cid(row[0]) for row in connection.execute("SELECT cid FROM block")]
        for cid in cids:
            found += packs.get(cid) or b""
    finally:
        packs.close()
        store.close()
    assert len(found) > 1_000, "the home was not read"
    return bytes(found)


def check(told: bytes, needles: list[bytes], where: str) -> None:
    for needle in needles:
        assert needle not in told, f"{needle!r} {where}"


async def scenario(tmp_path: Path, heard: Heard) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    async with (
        opened(tmp_path, "carol") as carol,
        opened(tmp_path, "bob", carol.addresses[0]) as bob,
    ):
        async with opened(tmp_path, "alice", carol.addresses[0]) as alice:
            cids = {what: await add(alice, folder, what, what) for what in NAMES}
            cids["later"] = await add(alice, folder, "later", "shared")
            spaces = {what: bytes(await alice.library.space(name)) for what, name in NAMES.items()}
            await share(alice, bob)
            answer = await run(Documents(alice).publish(NAMES["public"]))
            assert answer["stage"] == "done", answer
            assert await until_found(bob, "bittern", "peers") == [str(cids["shared"])]
            assert await until_found(bob, "grebe", "all") == [str(cids["later"])]
            assert await read(bob, cids["shared"]) == f"{MARKERS['shared']}.\n".encode()
            assert await search(carol, "heron Marsworth", "all") == [str(cids["public"])]
            for words in ("kingfisher", "bittern", "diary", "letters"):
                assert await search(carol, words, "all") == []
            assert await read(carol, cids["public"]) == f"{MARKERS['public']}.\n".encode()
        with pytest.raises(Dms3Error):  # its owner has gone; strangers are not asked
            await bob.content(cids["later"])
        to_carol, to_bob = heard.by(carol), heard.by(bob)
    secret = traces("private", cids["private"], spaces["private"])
    granted = traces("shared", cids["shared"], spaces["shared"])
    granted += traces("later", cids["later"], spaces["shared"])
    named = [NAMES["private"].encode(), NAMES["shared"].encode()]
    assert MARKERS["public"].encode() in to_carol
    assert MARKERS["later"].encode() in to_bob
    check(to_carol, [*secret, *granted, *named], "reached a stranger")
    check(to_bob, [*secret, named[0]], "reached a reader of another space")
    at_carol = in_home(tmp_path / "carol")
    assert MARKERS["public"].encode() in at_carol
    check(at_carol, [*secret, *granted, *named], "lies at a stranger's")
    check(in_home(tmp_path / "bob"), [*secret, named[0]], "lies at a reader's of another space")


def test_only_the_public_space_reaches_a_stranger(tmp_path: Path, heard: Heard) -> None:
    asyncio.run(scenario(tmp_path, heard))
