"""Backups: only what is new, of one moment, whole or not at all, back again on a new home."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.machine import Persist
from dms3.core.network import MAIN
from dms3.crypto import backup as backup_module
from dms3.crypto.backup import BackupKeys
from dms3.dm3.keys import ProfileKeys
from dms3.io import objects as objects_module
from dms3.io.clock import SystemEntropy
from dms3.io.objects import ObjectFolder, folder_of
from dms3.io.packs import Packs
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node import backing as backing_module
from dms3.node import restoring as restoring_module
from dms3.node.backing import SAVED_STATES, SAVED_TABLES, Backed, Backing, Backup, Source
from dms3.node.checking import Verified
from dms3.node.finding import Question
from dms3.node.home import Home
from dms3.node.identity import Identity, create_identity, keep_identity, load_identity
from dms3.node.library import Library
from dms3.node.noting import NOTED
from dms3.node.restoring import Restoration
from unit.test_library import FixedClock

MARKER = "the quick brown marker sentence nobody may read"
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
KEYS = (b"k" * 32, b"p" * 32)
OTHER_KEYS = (b"n" * 32, b"q" * 32)


class Kept:
    """A home with documents, as a node has it open."""

    def __init__(self, path: Path, keys: tuple[bytes, bytes] = KEYS, words: str = WORDS) -> None:
        self.home = Home(path)
        self.home.create()
        self.store = Store.open(self.home.database, keys[0], MIGRATIONS, reserve=0)
        self.packs = Packs(self.home.packs, keys[1], self.store, SystemEntropy(), reserve=0)
        self.pool = Pool(1)
        clock = FixedClock()
        self.library = Library(self.store, self.packs, self.pool, clock, SystemEntropy())
        found = load_identity(self.store.view())
        self.identity = found or create_identity(SystemEntropy(), "alice", words)
        if found is None:
            self.store.commit([keep_identity(self.identity)], []).result()
        self.source = Source(self.identity, self.store, self.packs, SystemEntropy())

    def keep(self, table: str, key: bytes, value: bytes) -> None:
        self.store.commit([Persist(table, key, value)], []).result()

    def backup(self, folder: Path, now_us: int = 5) -> Backed:
        run = Backup(self.source, ObjectFolder(folder, reserve=0), now_us)
        run.run()
        assert run.result is not None
        return run.result

    async def add(self, *paths: Path) -> None:
        async for _ in self.library.add([str(path) for path in paths]):
            pass

    async def verified(self) -> Verified:
        last = [step async for step in self.library.verify()][-1]
        assert isinstance(last, Verified)
        return last


@contextlib.asynccontextmanager
async def kept(path: Path, keys: tuple[bytes, bytes] = KEYS, **more: Any) -> AsyncIterator[Kept]:
    one = Kept(path, keys, **more)
    try:
        await one.library.start()
        yield one
    finally:
        await one.pool.close()
        one.packs.close()
        one.store.close()


def restoration(
    folder: Path, path: Path, *, words: str = WORDS, generation: int | None = None
) -> Restoration:
    home = Home(path)
    home.create()
    identity = create_identity(SystemEntropy(), "", words)
    where = ObjectFolder(folder, reserve=0)
    return Restoration(where, home, OTHER_KEYS, identity, SystemEntropy(), generation)


def bring_back(folder: Path, path: Path, **more: Any) -> Restoration:
    run = restoration(folder, path, **more)
    run.run()
    assert run.home.adopt()
    return run


@pytest.fixture(name="docs")
def fixture_docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "heron.txt").write_text(f"The heron waits beside the ninth lock. {MARKER}\n")
    (folder / "page.html").write_text("<title>Canal</title><p>heron on a boat")
    (folder / "photo.bin").write_bytes(os.urandom(300_000))
    (folder / "log.txt").write_text(f"log\n{MARKER}\n" + "night after night\n" * 30_000)
    return folder


def run(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def objects_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "objects").glob("*/*"))}


def test_everything_comes_back_and_the_node_is_another(tmp_path: Path, docs: Path) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            one.keep("peers/contact", b"bob", b"a contact")
            one.keep("noting/noted", b"last backup", b"not of the next home")
            one.keep("consensus/votes", b"1", b"never twice")
            before = (await one.library.documents()).documents
            done = one.backup(tmp_path / "backup")
            assert (done.manifest.documents, done.manifest.generation) == (3, 1)
            old = one.identity
        back = bring_back(tmp_path / "backup", tmp_path / "new")
        assert back.result is not None
        assert back.result.verified.damaged == ()
        assert not back.home.staged.exists()
        async with kept(tmp_path / "new", OTHER_KEYS) as two:
            assert two.identity.root == old.root
            assert two.identity.name == "alice"
            assert two.identity.peer != old.peer
            assert two.identity.device != old.device
            assert (await two.library.documents()).documents == before
            assert (await two.verified()).damaged == ()
            hits, _ = await two.library.search(Question("heron"))
            assert {hit.title for hit in hits.hits} == {"heron.txt", "Canal"}
            view = two.store.view()
            assert view.get("peers/contact", b"bob") == b"a contact"
            assert view.get("consensus/votes", b"1") is None
            assert view.get(NOTED, b"last backup") is None
            assert view.range("restoring/pieces", b"", 9) == []
            assert two.store.check() == []
            await two.add(docs)  # the index takes more, and knows what is there
            assert len((await two.library.documents()).documents) == len(before)
            (docs / "new.txt").write_text("a heron that is new")
            await two.add(docs / "new.txt")
            hits, _ = await two.library.search(Question("heron"))
            assert hits.total == 3
            assert (await two.verified()).damaged == ()
            assert two.backup(tmp_path / "backup").manifest.generation == 2

    run(scenario)


def test_nothing_in_a_backup_can_be_read_without_the_words(tmp_path: Path, docs: Path) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            one.backup(tmp_path / "backup")
            seed, key = one.identity.node_key.seed, one.identity.tree.backup()
        for path in sorted((tmp_path / "backup").rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path
            if path.is_file():
                data = path.read_bytes()
                for secret in (MARKER.encode(), b"heron", seed, key, *KEYS, WORDS.encode()):
                    assert secret not in data, path
        # Nor is it in what the words open: neither store key nor node key is in a backup at all.
        keys, folder = BackupKeys(one.identity.tree), ObjectFolder(tmp_path / "backup")
        manifest = keys.open_manifest(1, folder.manifest(1))
        opened = [folder.manifest(1)]
        for table in manifest.tables:
            opened += [keys.open(name, folder.get(name, 1 << 26)) for name in table.pieces]
        assert any(MARKER.encode() in data for data in opened)
        for data in opened:
            for secret in (seed, *KEYS, WORDS.encode(), one.identity.device):
                assert secret not in data

    run(scenario)


def test_the_next_backup_writes_what_is_new(tmp_path: Path, docs: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "backup"
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            first = one.backup(folder)
            assert first.written_bytes == sum(map(len, objects_of(folder).values()))
            again = one.backup(folder)
            assert (again.objects, again.written_bytes) == (0, 0)
            large = docs / "large.bin"
            large.write_bytes(os.urandom(9_000_000))
            await one.add(large)
            one.backup(folder)
            grown = objects_of(folder)
            (docs / "small.txt").write_text("one more")
            await one.add(docs / "small.txt")
            one.backup(folder)
            new = set(objects_of(folder)) - set(grown)
            assert sum(len(objects_of(folder)[name]) for name in new) < 1_500_000

    run(scenario)


def test_packs_of_the_generation_before_are_not_read_again(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(backing_module, "BACKUP_PART_BYTES", 65_536)
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            first = one.backup(tmp_path / "backup").manifest
            (docs / "more.bin").write_bytes(os.urandom(100_000))
            await one.add(docs / "more.bin")
            read: list[int] = []
            opened = Backup._opened

            def noting(path: Path) -> Any:
                file = opened(path)
                seek = file.seek

                class Noted:
                    def __enter__(self) -> Self:
                        return self

                    def __exit__(self, *_: object) -> None:
                        file.close()

                    def seek(self, place: int) -> None:
                        read.append(place)
                        seek(place)

                    def read(self, size: int) -> bytes:
                        return bytes(file.read(size))

                return Noted()

            monkeypatch.setattr(Backup, "_opened", staticmethod(noting))
            second = one.backup(tmp_path / "backup").manifest
            (old,), (new,) = first.packs, second.packs
            whole = old.end // 65_536
            assert new.parts[:whole] == old.parts[:whole]
            assert read == [place * 65_536 for place in range(whole, len(new.parts))]

    run(scenario)


def test_old_generations_go_and_what_they_alone_needed(tmp_path: Path, docs: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "backup"
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            one.backup(folder)
            rows = {row.name: row for row in (await one.library.documents()).documents}
            await one.library.remove(rows["photo.bin"].cid)
            await one.library.remove(rows["log.txt"].cid)
            await one.library.sweep()
            held = len(objects_of(folder))
            freed = [one.backup(folder).freed_bytes for _ in range(3)]
            assert freed[:2] == [0, 0]
            assert freed[2] > 300_000
            assert ObjectFolder(folder).generations() == [2, 3, 4]
            assert len(objects_of(folder)) < held + 3
            broken = folder / "generation-00000003.manifest"
            broken.write_bytes(broken.read_bytes()[:-1])
            stray = folder / "objects" / "00"
            stray.mkdir(exist_ok=True)
            (stray / ("00" * 32)).write_bytes(b"of an interrupted backup")
            assert one.backup(folder).freed_bytes == 0  # one manifest cannot be read: all stays
            assert one.backup(folder).freed_bytes == 24
        bring_back(folder, tmp_path / "new")

    run(scenario)


def test_a_backup_is_of_one_moment_while_the_home_changes(tmp_path: Path, docs: Path) -> None:
    """Packs are rewritten and rows go between the snapshot and the copying of packs."""

    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            rows = {row.name: row for row in (await one.library.documents()).documents}
            work = Backup(one.source, ObjectFolder(tmp_path / "backup", reserve=0), 5)
            database = work._database
            loop = asyncio.get_running_loop()

            def then_change() -> Any:
                found = database()
                for name in ("photo.bin", "log.txt"):
                    gone = one.library.remove(rows[name].cid)
                    asyncio.run_coroutine_threadsafe(gone, loop).result()
                asyncio.run_coroutine_threadsafe(one.library.sweep(), loop).result()
                return found

            work._database = then_change  # type: ignore[method-assign]
            await asyncio.to_thread(work.run)
            assert (await one.library.sweep()).packs == 1  # the old pack goes only now
            assert (await one.verified()).damaged == ()
        back = bring_back(tmp_path / "backup", tmp_path / "new")
        assert back.result is not None
        assert back.result.verified.damaged == ()
        async with kept(tmp_path / "new", OTHER_KEYS) as two:
            assert "photo.bin" in {row.name for row in (await two.library.documents()).documents}

    run(scenario)


class KilledError(BaseException):
    """Where the process would be gone."""


def dying(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which works `calls` times and is never heard of again."""
    left = [calls]

    def works(*arguments: Any, **more: Any) -> Any:
        if left[0] == 0:
            raise KilledError
        left[0] -= 1
        return function(*arguments, **more)

    return works


@pytest.mark.parametrize("after", range(0, 40, 7))
def test_an_interrupted_backup_leaves_the_one_before_it(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs / "heron.txt")
            one.backup(tmp_path / "backup")
            await one.add(docs)
            with monkeypatch.context() as patch:
                patch.setattr(objects_module.os, "fsync", dying(after, os.fsync))
                with contextlib.suppress(KilledError):
                    one.backup(tmp_path / "backup")
            newest = ObjectFolder(tmp_path / "backup").generations()[-1]
            back = bring_back(tmp_path / "backup", tmp_path / "new")
            assert back.result is not None
            assert back.result.manifest.documents == (1 if newest == 1 else 3)
            assert one.backup(tmp_path / "backup").manifest.generation == newest + 1
            assert not list((tmp_path / "backup").rglob("*.part"))

    run(scenario)


@pytest.mark.parametrize("after", range(0, 60, 9))
def test_an_interrupted_restoration_goes_on(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            one.backup(tmp_path / "backup")
        with monkeypatch.context() as patch:
            # Stopped between two objects, packs or pieces, or while the result is put in place.
            patch.setattr(Restoration, "_count", dying(after, Restoration._count))
            patch.setattr(Path, "rename", dying(after // 20, Path.rename))
            with contextlib.suppress(KilledError):
                bring_back(tmp_path / "backup", tmp_path / "new")
        if not Home(tmp_path / "new").staged_ready.exists():
            restoration(tmp_path / "backup", tmp_path / "new").run()
        Home(tmp_path / "new").adopt()
        async with kept(tmp_path / "new", OTHER_KEYS) as two:
            assert (await two.verified()).damaged == ()
            assert len((await two.library.documents()).documents) == 4

    run(scenario)


def refused(folder: Path, path: Path, **more: Any) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        bring_back(folder, path, **more)
    assert not Home(path).staged_ready.exists()
    assert not Home(path).database.exists()
    return caught.value


def test_damaged_truncated_foreign_and_newer_backups_are_named(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            one.backup(tmp_path / "backup")
            one.keep("peers/contact", b"bob", b"a contact")
            one.backup(tmp_path / "backup")

    run(scenario)
    new = tmp_path / "new"

    def spoilt(name: str, change: Callable[[Path], object]) -> Path:
        folder = tmp_path / name
        shutil.copytree(tmp_path / "backup", folder)
        change(folder)
        return folder

    def each_object(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
        def work(folder: Path) -> None:
            for path in (folder / "objects").glob("*/*"):
                path.write_bytes(change(path.read_bytes()))

        return work

    newest = "generation-00000002.manifest"
    cut = spoilt("cut", lambda folder: os.truncate(folder / newest, 100))
    error = refused(cut, new)
    assert (error.code, error.hint) == ("store_corrupt", "Take another one with --generation: 1.")
    bring_back(cut, tmp_path / "older", generation=1)

    flip = each_object(lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    assert "is damaged" in refused(spoilt("flipped", flip), new).message
    shorter = each_object(lambda data: data[:-1])
    assert refused(spoilt("shorter", shorter), new).code == "store_corrupt"
    longer = each_object(lambda data: data + b"x")
    assert refused(spoilt("longer", longer), new).code == "store_corrupt"

    def lose(folder: Path) -> None:
        next(iter(sorted((folder / "objects").glob("*/*")))).unlink()

    assert "lacks the file" in refused(spoilt("lost", lose), new).message
    swapped = spoilt(
        "swapped",
        lambda folder: shutil.copy(folder / "generation-00000001.manifest", folder / newest),
    )
    assert refused(swapped, new).code == "store_corrupt"  # an older one under the newest number
    foreign = refused(tmp_path / "backup", new, words=" ".join(["abandon"] * 11 + ["about"]))
    assert foreign.code == "words_invalid"
    later = spoilt(
        "later",
        lambda folder: (folder / newest).write_bytes(b"dms3 backup 2\n" + bytes(99)),
    )
    assert refused(later, new).code == "home_newer"
    assert refused(tmp_path / "nowhere", new).code == "not_found"
    assert refused(tmp_path / "backup", new, generation=7).code == "not_found"
    monkeypatch.setattr(restoring_module, "MIGRATIONS", MIGRATIONS[:1])
    assert refused(tmp_path / "backup", new).code == "home_newer"


def test_a_folder_is_of_one_home(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "backup"
        async with kept(tmp_path / "home") as one:
            one.backup(folder)
        async with kept(tmp_path / "second") as another:
            with pytest.raises(Dms3Error, match="another node of yours") as caught:
                another.backup(folder)
            assert caught.value.code == "already_exists"
        about = " ".join(["abandon"] * 11 + ["about"])
        async with kept(tmp_path / "third", words=about) as foreign:
            with pytest.raises(Dms3Error, match="another person") as caught:
                foreign.backup(folder)
            assert caught.value.code == "already_exists"
        assert ObjectFolder(folder).generations() == [1]
        (folder / "generation-00000001.manifest").write_bytes(b"dms3 backup 9\n" + bytes(99))
        async with kept(tmp_path / "home") as one:
            with pytest.raises(Dms3Error) as caught:
                one.backup(folder)
            assert caught.value.code == "home_newer"

    run(scenario)


def test_a_full_disk_and_a_folder_in_use_leave_the_backup_as_it_is(
    tmp_path: Path, docs: Path
) -> None:
    async def scenario() -> None:
        folder = tmp_path / "backup"
        async with kept(tmp_path / "home") as one:
            one.backup(folder)
            await one.add(docs)
            full = Backup(one.source, ObjectFolder(folder, reserve=1 << 60), 5)
            with pytest.raises(Dms3Error) as caught:
                full.run()
            assert caught.value.code == "disk_full"
            with ObjectFolder(folder).held(), pytest.raises(Dms3Error) as caught:
                one.backup(folder)
            assert caught.value.code == "home_in_use"
            (tmp_path / "file").write_text("no folder")
            with pytest.raises(Dms3Error) as caught:
                one.backup(tmp_path / "file")
            assert caught.value.code == "home_unusable"
            assert ObjectFolder(folder).generations() == [1]

    run(scenario)


def test_one_backup_at_a_time_and_leaving_stops_it(tmp_path: Path, docs: Path) -> None:
    async def scenario() -> None:
        told: list[tuple[str, Any]] = []

        async def call(operation: str, arguments: Any) -> None:
            told.append((operation, arguments))

        async with kept(tmp_path / "home") as one:
            await one.add(docs)
            backing = Backing(one.source, FixedClock(), call)
            assert backing.last is None
            steps = backing.backup(str(tmp_path / "backup"))
            stopped = await anext(steps)
            with pytest.raises(Dms3Error) as caught:
                await anext(backing.backup(str(tmp_path / "backup")))
            assert caught.value.code == "node_busy"
            await steps.aclose()
            assert stopped.stopped
            async for step in backing.backup(str(tmp_path / "backup")):
                assert step.done_bytes <= max(step.total_bytes, step.done_bytes)
            assert backing.last is not None
            assert told == [("noting.backed_up", backing.last)]
            assert backing.last.generation == ObjectFolder(tmp_path / "backup").generations()[-1]

    run(scenario)


def test_another_restoration_or_none_is_not_confused(tmp_path: Path, docs: Path) -> None:
    async def scenario() -> None:
        async with kept(tmp_path / "home") as one:
            await one.add(docs / "heron.txt")
            one.backup(tmp_path / "backup")
            await one.add(docs)
            one.backup(tmp_path / "backup")
        home = Home(tmp_path / "new")
        first = restoration(tmp_path / "backup", tmp_path / "new", generation=1)
        first.run()
        assert home.staged_ready.exists()
        bring_back(tmp_path / "backup", tmp_path / "new", generation=2)  # it begins anew
        assert not home.adopt()
        async with kept(tmp_path / "new", OTHER_KEYS) as two:
            assert len((await two.library.documents()).documents) == 4
        home.staged.mkdir()
        home.database.unlink()
        with pytest.raises(Dms3Error, match="interrupted"):
            home.check_store()

    run(scenario)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/media/disk", "/media/disk"),
        ("file:///media/my%20disk", "/media/my disk"),
        ("file://localhost/media", "/media"),
    ],
)
def test_a_folder_by_path_or_url(url: str, path: str) -> None:
    assert folder_of(url) == Path(path)


@pytest.mark.parametrize("url", ["s3://bucket/x", "file://far/away", "https://x/y", "media", ""])
def test_other_places_are_refused_by_name(url: str) -> None:
    with pytest.raises(Dms3Error) as caught:
        folder_of(url)
    assert caught.value.code == "argument_invalid"


def test_it_is_decided_for_each_machine_and_table_whether_it_is_saved(tmp_path: Path) -> None:
    from dms3.node.machines import machines_of  # noqa: PLC0415 - the whole node
    from dms3.node.settings import Settings  # noqa: PLC0415

    identity: Identity = create_identity(SystemEntropy(), "alice", WORDS)
    settings, keys = Settings("alice", (), (), MAIN), ProfileKeys.of_seed(bytes(32))
    machines = machines_of(identity, settings, SystemEntropy(), keys)
    assert {machine.name for machine in machines} == set(SAVED_STATES)
    store = Store.open(tmp_path / "store.db", KEYS[0], MIGRATIONS, reserve=0)
    with store.read() as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    store.close()
    assert {name for (name,) in names} == set(SAVED_TABLES)


def test_names_depend_on_the_person_and_the_content_only() -> None:
    one, again, other = (
        BackupKeys(create_identity(SystemEntropy(), "", words).tree) for words in (WORDS, WORDS, "")
    )
    assert one.name(b"content") == again.name(b"content") != other.name(b"content")
    assert one.seal(one.name(b"content"), b"content") == again.seal(
        one.name(b"content"), b"content"
    )
    assert one.person != other.person
    assert backup_module.VERSION == 1
