"""Blocks that the overlay has here and that are documents too, in the library of a real node."""

import asyncio
from pathlib import Path

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Failure
from dms3.core.overlay import PUBLIC, GetContent, HoldBlocks
from dms3.node.library import Library
from dms3.node.published import Published
from dms3.search.operations_public import PublicBlock
from unit.test_library import add, content, opened, verified

DATA = b"The heron waits beside the ninth lock."
CID = Cid.of(RAW, DATA)


async def hold(library: Library) -> None:
    assert await library.serve("hold", HoldBlocks(((CID, DATA),))) is True
    assert await library.serve("held", None) == (CID,)


async def is_here(library: Library) -> bool:
    """Whether the block outlasts a sweep, undamaged."""
    await library.sweep()
    assert (await verified(library)).damaged == ()
    (here,) = await library.serve("has", (CID,))
    assert not here or await library.serve("load", CID) == DATA
    return bool(here)


def test_a_document_stays_when_the_overlay_releases_its_block(tmp_path: Path) -> None:
    path = tmp_path / "heron.txt"
    path.write_bytes(DATA)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            assert (await add(library, path)).root == CID
            await hold(library)
            library.loosened.clear()
            await library.serve("release", (CID,))
            assert library.loosened.is_set()
            assert await library.serve("held", None) == ()
            assert await is_here(library)
            assert await content(library, CID) == DATA
            await library.remove(CID)
            assert not await is_here(library)

    asyncio.run(scenario())


def test_the_overlay_keeps_its_block_when_the_document_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "heron.txt"
    path.write_bytes(DATA)

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            await hold(library)
            assert (await add(library, path)).root == CID
            assert await library.remove(CID) == 1
            assert await is_here(library)
            await library.serve("release", (CID,))
            assert not await is_here(library)

    asyncio.run(scenario())


def test_what_is_held_for_a_network_is_not_given_to_everybody(tmp_path: Path) -> None:
    asked = []

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            await hold(library)
            for is_public in (False, True):

                async def call(operation: str, get: GetContent, held: bool = is_public) -> bool:
                    asked.append((operation, get.overlay, get.key))
                    return held

                port = Published(library._database, library._packs, call)
                found = await port.serve("block", PublicBlock((), CID))
                assert (found == DATA) is is_public
                assert isinstance(found, Failure) is not is_public
            unknown = await port.serve("block", PublicBlock((), Cid.of(RAW, b"nowhere")))
            assert isinstance(unknown, Failure)

    asyncio.run(scenario())
    assert asked == [("dht.holds", PUBLIC, CID.binary)] * 2
