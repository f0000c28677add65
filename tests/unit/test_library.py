import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import SpaceId
from dms3.core.limits import IMPORT_PART_BYTES
from dms3.core.machine import Now
from dms3.core.unixfs import build_file
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs, Swept
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.checking import Verified
from dms3.node.finding import Hits, Question
from dms3.node.importing import BINARY, Imported, Progress, Upload
from dms3.node.library import Library
from dms3.search import operations


class FixedClock:
    def now(self) -> Now:
        return Now(1, 1_700_000_000_000_000)


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Library]:
    """A library on a real store, opened as a node does."""
    home.mkdir(exist_ok=True)
    store = Store.open(home / "database", b"k" * 32, MIGRATIONS, reserve=0)
    packs = Packs(home / "packs", b"p" * 32, store, SystemEntropy(), reserve=0)
    pool = Pool(1)
    library = Library(store, packs, pool, FixedClock(), SystemEntropy())
    try:
        await library.start()
        yield library
    finally:
        await pool.close()
        packs.close()
        store.close()


async def add(library: Library, *paths: Path | Upload, kind: str | None = None) -> Imported:
    names = [path if isinstance(path, Upload) else str(path) for path in paths]
    steps = [step async for step in library.add(names, kind=kind)]
    progress = [step for step in steps if isinstance(step, Progress)]
    assert progress[-1].done == progress[-1].total
    assert [step.done for step in progress] == sorted(step.done for step in progress)
    result = steps[-1]
    assert isinstance(result, Imported)
    return result


async def search(library: Library, text: str, **more: object) -> Hits:
    found, milliseconds = await library.search(Question(text, **more))  # type: ignore[arg-type]
    assert milliseconds > 0
    return found


async def verified(library: Library) -> Verified:
    last = [step async for step in library.verify()][-1]
    assert isinstance(last, Verified)
    return last


async def content(library: Library, cid: Cid, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([piece async for piece in library.get(cid, start, stop)])


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "inner").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "heron.txt").write_text("The heron waits beside the ninth lock.")
    (folder / "inner" / "page.html").write_text("<title>Canal</title><p>heron on a boat")
    (folder / "inner" / "code.py").write_text("def heron():\n    return 9\n")
    (folder / "inner" / "photo.jpg").write_bytes(b"\xff\xd8\0\1\2")
    return folder


def test_a_block_swept_between_reading_and_storing_is_stored_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is known when the file is read, and gone when its transaction begins."""

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            path = folder / "heron.txt"
            cid = (await add(library, path)).root
            assert cid is not None
            with monkeypatch.context() as patch:  # its block stays for the next import to know
                patch.setattr(Packs, "release", lambda *_: Swept())
                await library.remove(cid)
            stage, swept = Packs.stage, list[object]()

            def stage_then_lose(packs: Packs, blocks: list[tuple[Cid, bytes]]) -> object:
                staged = stage(packs, blocks)
                if cid in staged.known:
                    gone = library._database.transact(lambda db: db.execute("DELETE FROM block"))
                    swept.append(gone.result())
                return staged

            monkeypatch.setattr(Packs, "stage", stage_then_lose)
            assert (await add(library, path)).documents == 1
            assert len(swept) == 1
            assert (await verified(library)).damaged == ()
            assert await content(library, cid) == path.read_bytes()

    asyncio.run(scenario())


def test_import_search_and_read_back(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            done = await add(library, folder)
            assert (done.documents, done.unchanged, done.skipped_count) == (3, 0, 1)
            assert done.kept_count == 1
            assert done.skipped[0].path == str(folder / "inner" / "photo.jpg")
            assert (done.skipped[0].reason, done.skipped[0].kept) == (BINARY, True)
            assert done.root is not None
            assert [link.name for link in await library.folder(done.root)] == [
                "empty",
                "heron.txt",
                "inner",
            ]
            found = await search(library, "heron lock")
            (hit,) = found.hits
            assert (found.total, found.opened, found.skipped) == (1, 4, 0)
            assert hit.snippet == "The heron waits beside the ninth lock."
            assert [hit.snippet[a:b] for a, b in hit.marks] == ["heron", "lock"]
            assert await content(library, hit.cid) == (folder / "heron.txt").read_bytes()
            assert await content(library, hit.cid, 4, 9) == b"heron"
            everything = await search(library, "heron")
            assert {one.title for one in everything.hits} == {"heron.txt", "Canal", "code.py"}
            page = next(one for one in everything.hits if one.kind == "html")
            assert page.snippet == "Canal heron on a boat"
            code = await search(library, "heron", kind="code")
            assert (code.total, code.opened, code.skipped) == (1, 1, 3)
            assert (await search(library, "photo")).hits[0].kind == "file"
            report = await verified(library)
            assert (report.documents, report.damaged) == (4, ())

    asyncio.run(scenario())


def test_a_second_import_finds_nothing_new(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            first = await add(library, folder)
            again = await add(library, folder)
            assert (again.documents, again.bytes, again.unchanged) == (0, 0, 3)
            assert again.root == first.root
            os.utime(folder / "heron.txt", (5, 5))  # touched, not changed
            touched = await add(library, folder)
            assert (touched.documents, touched.unchanged) == (0, 3)
            assert len((await library.documents()).documents) == 4
            (space,) = await library.spaces()
            assert (space.name, space.documents) == ("documents", 3)

    asyncio.run(scenario())


def test_a_changed_file_replaces_its_old_version(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            first = await add(library, folder)
            old = (await search(library, "ninth")).hits[0].cid
            (folder / "heron.txt").write_text("The egret left.")
            second = await add(library, folder)
            assert (second.documents, second.unchanged) == (1, 2)
            assert second.root != first.root
            assert (await search(library, "ninth")).total == 0
            assert (await search(library, "egret")).total == 1
            swept = await library.sweep()
            assert swept.blocks >= 1
            assert await library.load(old) is None
            assert (await verified(library)).damaged == ()

    asyncio.run(scenario())


def test_large_files_are_read_in_parts_and_their_beginning_is_found(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    data = b"heron " + b"filler text\n" * (IMPORT_PART_BYTES // 12) + b"egret at the end\n" * 9
    assert len(data) > IMPORT_PART_BYTES
    path.write_bytes(data)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            done = await add(library, path)
            assert (done.documents, done.bytes) == (1, len(data))
            assert done.root == build_file(data).cid
            assert (await search(library, "heron")).total == 1
            assert (await search(library, "egret")).total == 0
            assert await library.size(done.root) == len(data)
            assert await content(library, done.root, len(data) - 10) == data[-10:]
            assert (await add(library, path)).unchanged == 1
            assert (await verified(library)).damaged == ()

    asyncio.run(scenario())


def test_a_file_named_by_a_person_is_a_document_even_when_binary(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"\0" * 300_000)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            done = await add(library, path)
            assert (done.documents, done.skipped_count) == (1, 0)
            assert done.root == build_file(b"\0" * 300_000).cid
            assert (await search(library, "data")).hits[0].cid == done.root

    asyncio.run(scenario())


def test_uploads_are_documents_and_the_same_one_again_is_unchanged(tmp_path: Path) -> None:
    def pieces(text: bytes) -> Iterator[bytes]:
        yield text[:3]
        yield text[3:]

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            upload = Upload("note.txt", 11, lambda: pieces(b"heron waits"))
            done = await add(library, upload)
            assert (done.documents, done.root) == (1, Cid.of(RAW, b"heron waits"))
            assert (await add(library, upload)).unchanged == 1
            other = Upload("note.txt", 5, lambda: pieces(b"egret"))
            assert (await add(library, other)).documents == 1
            assert (await search(library, "note")).total == 2
            empty = Upload("empty.txt", 0, lambda: iter(()))
            assert (await add(library, empty)).root == build_file(b"").cid
            with pytest.raises(Dms3Error, match="usable name"):
                await add(library, Upload("../x", 1, lambda: pieces(b"x")))

    asyncio.run(scenario())


def test_what_cannot_be_imported_is_named_and_counted(tmp_path: Path, folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "two\nlines.txt").write_text("x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("x")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate((8 << 30) + 1)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            done = await add(library, folder)
            assert done.documents == 3
            reasons = {skip.path.removeprefix(f"{folder}/"): skip.reason for skip in done.skipped}
            assert done.skipped_count == len(reasons) == 7
            assert done.kept_count == sum(skip.kept for skip in done.skipped) == 1
            assert "symbolic link" in reasons["loop"]
            assert "symbolic link" in reasons["broken"]
            assert reasons["pipe"] == "not a regular file"
            assert "control characters" in reasons["two\\nlines.txt"]
            assert "UTF-8" in reasons["\\xff.txt"]
            assert "larger than 8 GiB" in reasons["huge.txt"]

    asyncio.run(scenario())


def test_paths_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            for path, code in (("/no/such", "not_found"), ("a\0b", "argument_invalid")):
                with pytest.raises(Dms3Error) as caught:
                    await anext(library.add([path]))
                assert caught.value.code == code
            with pytest.raises(Dms3Error, match="nothing to import"):
                await anext(library.add([]))
            with pytest.raises(Dms3Error, match="no kind"):
                await anext(library.add([str(tmp_path)], kind="poem"))
            with pytest.raises(Dms3Error, match="cannot be the name"):
                await anext(library.add([str(tmp_path)], space="a\nb"))

    asyncio.run(scenario())


def test_an_import_that_is_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number:03}.txt").write_text(f"heron number{number}")

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            steps = library.add([str(folder)])
            async for step in steps:
                if isinstance(step, Progress) and 0 < step.done < step.total:
                    break
            await steps.aclose()  # type: ignore[attr-defined]  # it is a generator
            found = await search(library, "heron")
            assert 0 < found.total < 100, "what was stored is found while the import runs"
        async with opened(tmp_path / "home") as library:
            done = await add(library, folder)
            assert done.documents + done.unchanged == 100
            assert done.unchanged >= found.total
            assert (await search(library, "heron")).total == 100
            assert (await verified(library)).damaged == ()

    asyncio.run(scenario())


def test_several_paths_become_one_folder(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other" / "docs"
    other.mkdir(parents=True)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            done = await add(library, folder, other, folder / "heron.txt")
            assert done.root is not None
            names = [link.name for link in await library.folder(done.root)]
            assert names == ["docs", "docs (2)", "heron.txt"]
            assert done.documents + done.unchanged == 4
            assert len((await library.documents()).documents) == 4

    asyncio.run(scenario())


def test_removed_documents_are_gone_from_search_and_store(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            await add(library, folder / "heron.txt")
            cid = (await search(library, "heron")).hits[0].cid
            assert await library.remove(cid) == 1
            assert await library.remove(cid) == 0
            assert (await search(library, "heron")).total == 0
            assert await library.load(cid) is None
            assert (await library.sweep()).blocks == 0
            with pytest.raises(Dms3Error) as caught:
                await content(library, cid)
            assert caught.value.code == "content_unavailable"

    asyncio.run(scenario())


def test_pages_of_documents(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            await add(library, folder)
            first = await library.documents(limit=3)
            assert first.next is not None
            rest = await library.documents(after=first.next, limit=3)
            assert (len(rest.documents), rest.next) == (1, None)
            with pytest.raises(Dms3Error, match="no space"):
                await library.documents("elsewhere")

    asyncio.run(scenario())


def test_the_port_serves_search_blocks_and_fetched_content(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            done = await add(library, folder)
            assert done.root is not None
            space = await library.space("documents")
            other = SpaceId(b"o" * 32)
            asked = operations.LibrarySearch(space, "heron", 5, None, ())
            found = await library.serve("search", asked)
            assert isinstance(found, operations.Found)
            assert found.total == 3
            nothing = await library.serve(
                "search", operations.LibrarySearch(other, "heron", 5, None, ())
            )
            assert (nothing.total, nothing.opened) == (0, 0)
            cid = found.hits[0].cid
            assert await library.serve("block", operations.LibraryBlock(space, cid)) is not None
            assert isinstance(
                await library.serve("block", operations.LibraryBlock(space, done.root)), bytes
            )
            refused = await library.serve("block", operations.LibraryBlock(other, cid))
            assert isinstance(refused, Failure)
            assert refused.code == "not_found"
            assert isinstance(await library.serve("dance", None), Failure)

    asyncio.run(scenario())


def test_fetched_blocks_are_kept_and_belong_to_no_space(tmp_path: Path) -> None:
    data = b"f" * 300_000
    built = build_file(data)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            space = await library.space("documents")
            for position, block in enumerate(built.blocks):
                last = position == len(built.blocks) - 1
                kept = operations.LibraryKeep(built.cid, space, (block,), last)
                await library.serve("keep", kept)
            cids = tuple(cid for cid, _ in built.blocks)
            assert all(await library.serve("has", cids))
            assert await library.serve("has", (Cid.of(RAW, b"absent"),)) == (False,)
            assert await library.serve("load", built.cid) == built.blocks[-1][1]
            await library.sweep()
            assert await content(library, built.cid) == data
            assert not await library.contains(space, built.cid)
            assert [row.name for row in await library.spaces()] == ["documents"]
            assert (await verified(library)).damaged == ()

    asyncio.run(scenario())


def test_damage_is_found(tmp_path: Path, folder: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            await add(library, folder)
            hit = (await search(library, "ninth")).hits[0]
            database = library._database
            database.transact(
                lambda db: db.execute("DELETE FROM block WHERE cid = ?", (hit.cid.binary,))
            ).result()
            database.transact(lambda db: db.execute("UPDATE container SET documents = 9")).result()
            damaged = (await verified(library)).damaged
            assert any("missing" in one.reason for one in damaged)
            assert any("counts 9 documents" in one.reason for one in damaged)

    asyncio.run(scenario())


def test_a_path_that_is_not_there_stops_the_import_before_it_begins(
    tmp_path: Path, folder: Path
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            before = await library.spaces()
            for missing in (tmp_path / "nope", folder / "heron.txt" / "nope"):
                with pytest.raises(Dms3Error) as refused:
                    await anext(library.add([str(folder), str(missing)], "new"))
                assert refused.value.code == "not_found"
                assert refused.value.message == f"There is no file or folder {missing}."
            assert await library.spaces() == before

    asyncio.run(scenario())
