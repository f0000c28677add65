"""CARs in and out over a real store: whole or not at all, once, and back byte for byte."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dms3.core import car_tree
from dms3.core.car import encode_head, encode_section
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import encode_plain
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import Dms3Error
from dms3.core.unixfs import build_directory, build_file
from dms3.core.unixfs_read import links_of
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.packs import Packs
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node import car_import
from dms3.node.car_export import CarFile, Measuring
from dms3.node.car_import import CarImported
from dms3.node.finding import Question
from dms3.node.importing import Upload
from dms3.node.library import Library

TEXT = b"The heron waits beside the ninth lock."
LEAF = build_file(TEXT)
LARGE = build_file(os.urandom(400_000))
INNER = build_directory([LEAF.link("heron.txt")])
TREE = build_directory([LARGE.link("large.bin"), INNER.link("inner"), LEAF.link("copy.txt")])
BLOCKS = dict(LEAF.blocks + LARGE.blocks + INNER.blocks + TREE.blocks)


class Home:
    """A library with its store beside it."""

    def __init__(self, store: Store, packs: Packs, pool: Pool, library: Library) -> None:
        self.store, self.packs, self.library = store, packs, library
        self.pool = pool

    async def add(self, data: bytes, name: str = "canal.car", space: str = "canal") -> CarImported:
        upload = Upload(name, len(data), lambda: iter([data[:1000], data[1000:]]))
        last = [step async for step in self.library.add_car(upload, space)][-1]
        assert isinstance(last, CarImported)
        return last

    async def refused(self, data: bytes) -> Dms3Error:
        """The error; nothing of the file is left, not even the space."""
        with pytest.raises(Dms3Error) as caught:
            await self.add(data, space="refused")
        assert [row.name for row in await self.library.spaces()] == ["documents"]
        assert self.count("document") == self.count("block") == self.count("space_block") == 0
        return caught.value

    def count(self, table: str) -> int:
        with self.store.read() as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    async def export(self, cid: Cid) -> bytes:
        car = await CarFile(self.packs, cid).measured()
        data = b"".join([piece async for piece in car.read(0, car.size)])
        assert len(data) == car.size
        return data


@asynccontextmanager
async def home(path: Path) -> AsyncIterator[Home]:
    store = Store.open(path / "database", b"k" * 32, MIGRATIONS, reserve=0)
    packs = Packs(path / "packs", b"p" * 32, store, SystemEntropy(), reserve=0)
    pool = Pool(1)
    library = Library(store, packs, pool, SystemClock(), SystemEntropy())
    try:
        await library.start()
        yield Home(store, packs, pool, library)
    finally:
        await pool.close()
        packs.close()
        store.close()


def car(roots: Iterable[Cid], blocks: Iterable[tuple[Cid, bytes]]) -> bytes:
    return encode_head(list(roots)) + b"".join(encode_section(*pair) for pair in blocks)


WHOLE = car([TREE.cid], sorted(BLOCKS.items()))


async def whole(path: Path) -> None:
    async with home(path) as one:
        done = await one.add(WHOLE)
        assert (done.imported.documents, done.imported.kept_count) == (2, 1)
        assert (done.roots, done.blocks) == ((TREE.cid,), len(BLOCKS))
        found, _ = await one.library.search(Question("heron lock"))
        assert [hit.cid for hit in found.hits] == [LEAF.cid]
        listed = (await one.library.documents("canal")).documents
        places = {row.source.removeprefix(f"car:{TREE.cid}/") for row in listed}
        assert places == {"copy.txt", "inner/heron.txt", "large.bin"}
        rows = one.count("document"), one.count("block"), one.count("space_block")
        again = await one.add(WHOLE, name="other.car")
        assert (again.imported.documents, again.imported.unchanged) == (0, 3)
        assert rows == (one.count("document"), one.count("block"), one.count("space_block"))
        data = await one.export(TREE.cid)
        assert data == car([TREE.cid], depth_first(TREE.cid))
        middle = [piece async for piece in (await measured(one)).read(1_000, 1_500)]
        assert b"".join(middle) == data[1_000:1_500]
        assert await one.library.remove(LEAF.cid) == 2
        with pytest.raises(Dms3Error, match="is not on this node"):
            await measured(one)


async def measured(one: Home) -> CarFile:
    return await CarFile(one.packs, TREE.cid).measured()


def depth_first(cid: Cid) -> list[tuple[Cid, bytes]]:
    """Every block once, at its first place."""
    found = {cid: BLOCKS[cid]}
    for below in links_of(cid, BLOCKS[cid]):
        for each, block in depth_first(below):
            found.setdefault(each, block)
    return list(found.items())


def test_a_whole_car_becomes_documents_once_and_comes_out_again(tmp_path):
    asyncio.run(whole(tmp_path))


def mended(block: bytes) -> tuple[Cid, bytes]:
    return Cid.of(TREE.cid.codec, block), block


CBOR = encode_plain({"a": 1})
CBOR_CID = Cid.of(DAG_CBOR, CBOR)
LIAR = mended(encode_node(Node((Link(LEAF.cid, "", 5),), b"\x08\x02\x18\x05\x20\x05")))
PLAIN_DAG = mended(encode_node(Node((), b"no file")))
BOMB = [build_directory([LEAF.link("a"), LEAF.link("b")])]
while len(BOMB) < 20:  # 2**20 paths in 20 blocks
    BOMB.append(build_directory([BOMB[-1].link("a"), BOMB[-1].link("b")]))
DEEP = [build_directory([])]
while len(DEEP) < 67:
    DEEP.append(build_directory([DEEP[-1].link("d")]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (car([TREE.cid], [p for p in BLOCKS.items() if p[0] != LEAF.cid]), f"{LEAF.cid} is miss"),
        (car([TREE.cid], []), f"{TREE.cid} is missing"),
        (WHOLE[:-1], "cut off"),
        (WHOLE[:-1] + b"\xff", "that is not"),
        (b"Dear Bob,", "not a CAR"),
        (car([CBOR_CID], [(CBOR_CID, CBOR)]), "not a file or folder"),
        (car([PLAIN_DAG[0]], [PLAIN_DAG]), "UnixFS"),
        (car([LIAR[0]], [LIAR, *LEAF.blocks]), "a part of 38 bytes where 5 belong"),
        (car([BOMB[-1].cid], [b for one in (LEAF, *BOMB) for b in one.blocks]), "more than 1000"),
        (car([DEEP[-1].cid], [b for one in DEEP for b in one.blocks]), "deeper than 64"),
    ],
    ids=("missing", "empty", "cut", "changed", "text", "cbor", "plain", "liar", "bomb", "deep"),
)
def test_of_a_car_that_is_not_whole_nothing_is_kept(tmp_path, monkeypatch, data, said):
    monkeypatch.setattr(car_tree, "CAR_FILES_MAX", 1000)

    async def run() -> None:
        async with home(tmp_path) as one:
            error = await one.refused(data)
            assert error.code == "content_invalid"
            assert said in error.message
            assert "canal.car" in error.message
            assert "Nothing of it was kept" in error.hint

    asyncio.run(run())


def test_the_number_of_blocks_is_bounded(tmp_path, monkeypatch):
    async def run() -> None:
        async with home(tmp_path) as one:
            monkeypatch.setattr(car_import, "CAR_BLOCKS_MAX", len(BLOCKS) - 1)
            assert (await one.refused(WHOLE)).code == "limit_reached"
            monkeypatch.setattr(car_import, "CAR_BLOCKS_MAX", len(BLOCKS))
            assert (await one.add(WHOLE)).blocks == len(BLOCKS)

    asyncio.run(run())


def test_an_import_that_was_killed_leaves_nothing_behind_the_next_one(tmp_path):
    async def run() -> None:
        async with home(tmp_path) as one:
            upload = Upload("x.car", len(WHOLE), lambda: iter([WHOLE[:300_000], WHOLE[300_000:]]))
            run = car_import.CarImport(one.store, one.packs, one.pool, 1)
            async for _ in run.take(upload.name, upload.size, upload.pieces()):
                break  # as far as a process came that was killed
            assert one.count("document") == 1
            assert await one.library.spaces() != []
            done = await one.add(car([LEAF.cid], LEAF.blocks))
            assert done.imported.documents == 1
            assert one.count("document") == 1
            await one.library.sweep()
            assert one.count("block") == 1

    asyncio.run(run())


def test_several_roots_links_and_names_that_no_file_has(tmp_path):
    link = mended(encode_node(Node((), b"\x08\x04\x12\x04/etc")))
    odd = mended(
        encode_node(
            Node(
                (
                    Link(link[0], "to", 1),
                    Link(LEAF.cid, "x\x1b[2J", 1),
                    Link(LEAF.cid, "fine.txt", 1),
                ),
                b"\x08\x01",
            )
        )
    )
    data = car([odd[0], LEAF.cid, odd[0]], [odd, link, *LEAF.blocks, *LARGE.blocks])

    async def run() -> None:
        async with home(tmp_path) as one:
            done = await one.add(data, name="../odd.car")
            assert done.roots == (odd[0], LEAF.cid)
            assert done.imported.documents == 2
            reasons = {skip.reason for skip in done.imported.skipped}
            assert reasons == {"a symbolic link", "its name contains control characters"}
            names = {row.name for row in (await one.library.documents("canal")).documents}
            assert names == {"fine.txt", "imported-2"}
            await one.library.sweep()
            assert one.count("block") == 3, "blocks that no root needs are not kept"
            assert Measuring(one.packs, odd[0]).step().blocks == 3

    asyncio.run(run())


def test_files_that_are_there_by_another_way_are_not_there_twice(tmp_path):
    folder = tmp_path / "canal"
    folder.mkdir()
    (folder / "heron.txt").write_bytes(TEXT)

    async def run() -> None:
        async with home(tmp_path) as one:
            async for _ in one.library.add([str(folder)], "canal"):
                pass
            rows = one.count("document")
            again = await one.add(await one.export(INNER.cid))
            assert (again.imported.unchanged, one.count("document")) == (1, rows)
            other = await one.add(await one.export(INNER.cid), space="other")
            assert other.imported.documents == 1

    asyncio.run(run())


def test_a_path_is_read_and_a_folder_refused(tmp_path):
    (tmp_path / "leaf.txt.car").write_bytes(car([LEAF.cid], LEAF.blocks))

    async def run() -> None:
        async with home(tmp_path) as one:
            steps = one.library.add_car(str(tmp_path / "leaf.txt.car"), "canal")
            assert [step async for step in steps][-1].imported.documents == 1
            (row,) = (await one.library.documents("canal")).documents
            assert (row.name, row.kind) == ("leaf.txt", "text")
            for path, code in ((tmp_path, "argument_invalid"), (tmp_path / "no", "not_found")):
                with pytest.raises(Dms3Error) as caught:
                    async for _ in one.library.add_car(str(path), "canal"):
                        pass
                assert caught.value.code == code

    asyncio.run(run())
