"""Nothing of a message remains at a delivery service once it was picked up.

The node runs with the page key of its database off, and with backups that are not sealed, so that
looking for bytes in files says something: first it finds what waits, afterwards nothing.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dms3.core.network import NetworkParameters
from dms3.crypto.backup import BackupKeys
from dms3.crypto.seal import TAG_BYTES
from dms3.delivery.properties import Properties
from dms3.dm3.envelope import Envelope, enclose
from dms3.dm3.message import MessageType, compose
from dms3.io import sqlcipher
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node import delivering
from dms3.node.delivering import Delivering
from dms3.node.delivery_secrets import service_secrets
from dms3.node.home import Home
from dms3.node.node import Node, open_node
from dms3.node.settings import Settings
from network.homes import contents
from unit.delivery_kit import ALICE, BOB, World
from unit.dm3_kit import Stream
from unit.fronts import in_loop

KEY = bytes(32)
CONTROL = "the grebe nests below the lock"  # something that every backup has
TEXTS = ["short", "long " * 12_000]


class Quiet:
    """A log and a watch that keep nothing."""

    def info(self, event: str, **values: object) -> None:
        pass

    error = info

    def lag(self, lag_us: int) -> None:
        pass

    def failed(self) -> None:
        raise AssertionError("a part of the node failed")


class Desk:
    """The service over a running node, and what it was given."""

    def __init__(self, node: Node, world: World) -> None:
        self.drawn = Stream(3)
        self.secrets = service_secrets(node.store, self.drawn)
        self.service = Delivering(
            self.secrets, node.store, world.call, None, Properties(), (world, self.drawn)
        )
        self.emptied = watched(self.service)

    def envelope(self, text: str) -> Envelope:
        message = compose(
            ALICE.keys,
            sender=ALICE.name,
            receiver=BOB.name,
            sent_ms=1_700_000_000_000,
            type=MessageType.NEW,
            text=text,
            attachments=(),
            reference=None,
        )
        service = self.service.profile("http://service/dm3")
        return enclose(message, ALICE.keys, BOB.signed().profile, service, self.drawn)


def watched(service: Delivering) -> asyncio.Event:
    """Set when the service has found the log of the database empty."""
    emptied = asyncio.Event()
    truncate = service._room.truncate

    def noted():
        future = truncate()
        loop = asyncio.get_running_loop()
        future.add_done_callback(
            lambda done: done.result() and loop.call_soon_threadsafe(emptied.set)
        )
        return future

    service._room.truncate = noted
    return emptied


def marks_of(envelope: Envelope) -> dict[str, bytes]:
    """Parts of an envelope by which it would be known again."""
    assert isinstance(envelope.delivery, str)
    return {
        "ciphertext": envelope.message[40:104].encode(),
        "end of the ciphertext": envelope.message[-200:-136].encode(),
        "signature": envelope.signature.encode(),
        "hash": envelope.message_hash.encode(),
        "delivery information": envelope.delivery[40:104].encode(),
    }


def files_with(folder: Path, mark: bytes) -> list[str]:
    return [str(path.relative_to(folder)) for path, data in contents(folder) if mark in data]


@contextlib.asynccontextmanager
async def running(home: Home) -> AsyncIterator[Node]:
    settings = Settings(
        "dave",
        ("/ip4/127.0.0.1/tcp/0",),
        (),
        NetworkParameters("pickup"),
        mdns=False,
        overlay=False,
    )
    async with open_node(home, KEY, settings, Quiet(), Quiet()) as node:
        yield node


@pytest.fixture
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is encrypted on disk."""
    monkeypatch.setattr(sqlcipher, "_set_key", lambda *_: None)
    monkeypatch.setattr(BackupKeys, "seal", lambda *given: given[-1] + bytes(TAG_BYTES))
    monkeypatch.setattr(delivering, "MAIL_TRUNCATE_SECONDS", 0)


async def backed_up(node: Node, folder: Path) -> None:
    async with contextlib.aclosing(node.backing.backup(str(folder))) as steps:
        async for _ in steps:
            pass
    assert files_with(folder, CONTROL.encode()), "a backup can be read in this test"


@pytest.mark.usefixtures("readable")
@in_loop
async def test_nothing_remains_after_pick_up(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    with home.locked():
        async with running(home) as node:
            insert = "INSERT INTO space (space, name, created_us) VALUES (x'01', ?, 1)"
            node.store.transact(lambda c: c.execute(insert, (CONTROL,)) and None).result()
            desk = Desk(node, World())
            accounts = desk.service.accounts
            await accounts.register("bob.eth", BOB.signed().value())
            receiver = await accounts.of_name("bob.eth")
            assert receiver is not None
            envelopes = [desk.envelope(text) for text in TEXTS]
            for envelope in envelopes:
                await desk.service.submit(envelope.text())
            every = [(what, mark) for one in envelopes for what, mark in marks_of(one).items()]
            for what, mark in every:
                found = files_with(home.path, mark)
                assert found, what
                assert set(found) <= {"store.db", "store.db-wal"}
            # Also in the database itself, whose pages deletion has to overwrite.
            assert await asyncio.wrap_future(node.store.truncate())
            assert {name for _, mark in every for name in files_with(home.path, mark)} == {
                "store.db"
            }
            for name in (ALICE.name, BOB.name):
                assert files_with(home.path, name.encode()) == []
            await backed_up(node, tmp_path / "backup")
            for what, mark in every:
                assert (what, files_with(tmp_path / "backup", mark)) == (what, [])

            pairs = [(ALICE.name, envelope.message_hash) for envelope in envelopes]
            assert await desk.service.acknowledge(receiver, pairs) == len(pairs)
            crashed = tmp_path / "crashed"  # the files as a crash at this moment leaves them
            crashed.mkdir()
            for name in ("store.db", "store.db-wal"):
                shutil.copy(home.path / name, crashed)
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(desk.service.run())
                await desk.emptied.wait()
                serving.cancel()
            await backed_up(node, tmp_path / "backup")
            for folder in (home.path, tmp_path / "backup"):
                for what, mark in every:
                    assert (what, files_with(folder, mark)) == (what, []), folder
        for what, mark in every:
            assert (what, files_with(home.path, mark)) == (what, []), "after the end"
    await after_a_crash(crashed, [mark for _, mark in every])


async def after_a_crash(folder: Path, marks: list[bytes]) -> None:
    """A crash between the deletion and the emptying of the log is made good at the next start."""
    assert any(files_with(folder, mark) for mark in marks)
    store = Store.open(folder / "store.db", KEY, MIGRATIONS, reserve=0)
    try:
        drawn, world = Stream(4), World()
        secrets = service_secrets(store, drawn)
        service = Delivering(secrets, store, world.call, None, Properties(), (world, drawn))
        emptied = watched(service)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(service.run())
            await emptied.wait()
            serving.cancel()
        assert [files_with(folder, mark) for mark in marks] == [[]] * len(marks)
    finally:
        store.close()
