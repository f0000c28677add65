"""The open index of a space: it finds what local search finds, in the same order, and its blocks
are bounded, equal for equal documents, and worth nothing when they contradict themselves."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import SpaceId
from dms3.core.limits import (
    INDEX_BLOCK_BYTES_MAX,
    INDEX_PLACES_MAX,
    INDEX_TERM_BYTES_MAX,
    PUBLIC_DOCUMENTS_MAX,
    PUBLIC_PREFIX_TERMS_MAX,
)
from dms3.core.machine import Now
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.finding import Question
from dms3.node.library import Library
from dms3.node.published import Published
from dms3.search import operations_public as asked
from dms3.search.condition import parse_conditions
from dms3.search.indexing import IndexBuilder, Indexed, Posting
from dms3.search.openindex import (
    Fact,
    Facts,
    Row,
    Shard,
    decode_root,
    decode_row,
    decode_rows,
    write_number,
)
from dms3.search.openrank import Opened, Ranking, needed_parts, rank
from dms3.search.query import parse_query
from dms3.search.wordfilter import make_filter, may_have, term_mark

WALL_US = 1_800_000_000_000_000
WORDS = (
    *("heron", "lock", "canal", "boat", "Äpfel", "été", "naïve", "water", "stone", "bridge"),
    *("reed", "mill", "gate", "swan", "otter", "42", "x.y", "snake_case", "https"),
    *("the", "the", "the", "of", "a"),
)


class FixedClock:
    def now(self) -> Now:
        return Now(1, WALL_US)


async def nobody(operation: str, arguments: Any) -> bool:
    """Nothing is held for others here."""
    del operation, arguments
    return False


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[tuple[Library, Published]]:
    home.mkdir()
    store = Store.open(home / "database", b"k" * 32, MIGRATIONS, reserve=0)
    packs = Packs(home / "packs", b"p" * 32, store, SystemEntropy(), reserve=0)
    pool = Pool(1)
    library = Library(store, packs, pool, FixedClock(), SystemEntropy())
    try:
        await library.start()
        yield library, Published(store, packs, nobody)
    finally:
        await pool.close()
        packs.close()
        store.close()


async def add(library: Library, *paths: Path) -> None:
    async for _ in library.add([str(path) for path in paths]):
        pass


async def built(library: Library, port: Published) -> tuple[asked.IndexBuilt, SpaceId]:
    space = await library.space("documents")
    made = await port.serve("build", asked.BuildIndex(space, WALL_US))
    assert isinstance(made, asked.IndexBuilt)
    return made, space


async def find(
    library: Library, made: asked.IndexBuilt, text: str, kind: str | None = None, *where: str
) -> tuple[Ranking, list[Cid]]:
    """What a stranger finds who has only the blocks."""
    block = await library.load(made.built.root)
    assert block is not None
    root = decode_root(block)
    query = parse_query(text)
    blocks = {cid: await library.load(cid) for cid in needed_parts(root, query)}
    assert all(data is not None and len(data) <= INDEX_BLOCK_BYTES_MAX for data in blocks.values())
    one = Opened(root, {cid: data for cid, data in blocks.items() if data is not None})
    ranking = rank([one], query, kind, parse_conditions(where), 20)
    assert ranking.faults == {}
    rows: list[bytes] = []
    for part in root.rows:
        data = await library.load(part.cid)
        assert data is not None
        rows += decode_rows(data).rows
    return ranking, [decode_row(rows[best.number]).cid for best in ranking.best]


def write_documents(folder: Path, seed: int) -> None:
    """Sixty files of three kinds, some long, in words of several alphabets."""
    folder.mkdir()
    source = random.Random(seed)
    for number in range(60):
        text = " ".join(source.choices(WORDS, k=source.choice([3, 30, 300])))
        suffix = source.choice(["txt", "md", "py"])
        (folder / f"{source.choice(WORDS[:9])} {number}.{suffix}").write_text(text)


def test_public_search_finds_what_local_search_finds_in_its_order(tmp_path: Path) -> None:
    """Costs 2 s."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")

    async def scenario() -> None:
        write_documents(tmp_path / "docs", seed)
        async with opened(tmp_path / "home") as (library, port):
            await add(library, tmp_path / "docs")
            made, _ = await built(library, port)
            assert made.built.documents == 60
            for text in (
                "heron", "HERON", "apfel", "ete", "heron lock", '"heron lock"', "her*",
                "heron OR otter",
                "canal -the", "snake", "snake_case", "x.y", "42", '"the the"', '"heron lo"*',
                "https canal", "naive", "nowhere", '"lock heron canal"', "heron nowhere",
                "o* -heron",
            ):  # fmt: skip
                local, _ = await library.search(Question(text, limit=200))
                ranking, cids = await find(library, made, text)
                assert ranking.total == local.total, text
                mine = [
                    (best.score, cid.binary) for best, cid in zip(ranking.best, cids, strict=True)
                ]
                theirs = {hit.cid.binary: hit.score for hit in local.hits}
                assert [score for score, _ in mine] == sorted((s for s, _ in mine), reverse=True)
                assert {cid for _, cid in mine} <= set(theirs)

    asyncio.run(scenario())


def test_scores_are_those_of_fts5_in_one_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "docs"
        folder.mkdir()
        for number in range(12):
            (folder / f"{number}.txt").write_text("heron " * (number % 4) + "boat lock " * number)
        async with opened(tmp_path / "home") as (library, port):
            await add(library, folder)
            made, _ = await built(library, port)
            for text in ("heron", "heron lock", '"boat lock"', "txt boat"):
                local, _ = await library.search(Question(text))
                ranking, cids = await find(library, made, text)
                scores = {hit.cid: hit.score for hit in local.hits}
                for best, cid in zip(ranking.best, cids, strict=True):
                    assert abs(best.score - scores[cid]) <= 1, (text, best)

    asyncio.run(scenario())


def test_kinds_and_conditions_hold(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / "a.txt").write_text("heron")
        (folder / "b.py").write_text("heron = 1\n" * 100)
        async with opened(tmp_path / "home") as (library, port):
            await add(library, folder)
            made, _ = await built(library, port)
            for kind, where in (
                ("code", ()), (None, ("bytes:..10",)), (None, ("bytes:11..",)),
                ("text", ("bytes:11..",)),
                (None, ("modified:..1999",)),
            ):  # fmt: skip
                local, _ = await library.search(Question("heron", kind=kind, where=where))
                _, cids = await find(library, made, "heron", kind, *where)
                assert {hit.cid for hit in local.hits} == set(cids)

    asyncio.run(scenario())


def test_what_was_removed_is_in_no_new_index_and_equal_documents_give_equal_indexes(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        folder = tmp_path / "docs"
        folder.mkdir()
        (folder / "a.txt").write_text("heron")
        (folder / "b.txt").write_text("otter")
        async with opened(tmp_path / "home") as (library, port):
            await add(library, folder)
            first, space = await built(library, port)
            again, _ = await built(library, port)
            assert again.built == first.built
            assert again.number > first.number
            _, cids = await find(library, first, "otter")
            assert await library.remove(cids[0]) == 1
            assert await port.serve("marks", (space,)) != (first.mark,)
            made, _ = await built(library, port)
            assert (await find(library, made, "otter"))[0].total == 0
            assert (await find(library, made, "heron"))[0].total == 1
            listed = await port.serve("blocks", asked.ListBlocks(space, 0, b"", 100))
            assert made.built.root in {each.cid for each in listed}
            assert first.built.root not in {each.cid for each in listed}
            assert [row.documents for row in await library.spaces()] == [1]
            assert [one async for one in library.verify()][-1].damaged == ()
            assert await port.serve("forget", space)
            await library.sweep()
            assert await library.load(made.built.root) is None

    asyncio.run(scenario())


def test_blocks_are_listed_by_location_each_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "docs"
        folder.mkdir()
        for number in range(10):
            (folder / f"{number}.txt").write_text(f"text {number % 5}")
        async with opened(tmp_path / "home") as (library, port):
            await add(library, folder)
            space = await library.space("documents")
            everything = await port.serve("blocks", asked.ListBlocks(space, 0, b"", 100))
            places = [each.location for each in everything]
            assert places == sorted(set(places))
            assert len(everything) == 6  # five contents and the folder
            some: list[asked.BlockAt] = []
            while len(some) < len(everything):
                after = some[-1].location if some else b""
                some += await port.serve("blocks", asked.ListBlocks(space, 0, after, 4))
            assert tuple(some) == everything
            roots = await port.serve("roots", asked.ListRoots(space, 0, 100))
            assert len(roots) == 11
            later = await port.serve("roots", asked.ListRoots(space, roots[4].number, 100))
            assert later == roots[5:]

    asyncio.run(scenario())


def test_a_block_is_public_only_through_a_public_space(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "a.txt").write_text("heron")
        async with opened(tmp_path / "home") as (library, port):
            await add(library, tmp_path / "a.txt")
            space = await library.space("documents")
            (at,) = await port.serve("blocks", asked.ListBlocks(space, 0, b"", 9))
            assert await port.serve("block", asked.PublicBlock((space,), at.cid)) == b"heron"
            for spaces in ((), (SpaceId(b"o" * 32),)):
                refused = await port.serve("block", asked.PublicBlock(spaces, at.cid))
                assert refused.code == "not_found"

    asyncio.run(scenario())


# built by hand


def posting(number: int, *places: int) -> Posting:
    body = sum(place & 1 for place in places)
    return Posting(number, len(places) - body, body, places)


def hand_built(
    terms: dict[str, list[Posting]], documents: int
) -> tuple[Opened, dict[Cid, bytes], bytes]:
    builder = IndexBuilder(documents)
    for term in sorted(terms, key=str.encode):
        builder.add_term(term.encode(), terms[term])
    for number in range(documents):
        row = Row(Cid.of(0x55, bytes([number % 256])), "title", "name", "", "beginning")
        builder.add_document(Indexed(row, "text", 10, WALL_US))
    made, rest = builder.finish()
    blocks = dict(rest)
    root = decode_root(blocks[made.root])
    return Opened(root, blocks), blocks, made.filter


def counted(space: Opened, text: str) -> int:
    ranking = rank([space], parse_query(text), None, (), 10)
    assert ranking.faults == {}
    return ranking.total


def test_a_word_of_many_documents_goes_on_in_further_blocks() -> None:
    count = PUBLIC_DOCUMENTS_MAX
    terms = {
        "a": [posting(0, 1)],
        "often": [posting(number, 3, 5) for number in range(count)],
        "z": [posting(count - 1, 9)],
    }
    space, blocks, held = hand_built(terms, count)
    assert max(map(len, blocks.values())) <= INDEX_BLOCK_BYTES_MAX
    assert len(space.root.words) > 1
    assert len(space.root.places) > 1
    assert counted(space, "often") == count
    assert counted(space, "often z") == 1
    assert counted(space, '"often often"') == count
    assert counted(space, "a OR z") == 2
    assert all(may_have(held, word) for word in (b"a", b"often", b"z"))


def test_bounds_of_words_places_and_documents() -> None:
    long, longer = "l" * INDEX_TERM_BYTES_MAX, "l" * (INDEX_TERM_BYTES_MAX + 1)
    many = [2 * at + 1 for at in range(INDEX_PLACES_MAX + 1)]
    space, _, _ = hand_built(
        {long: [posting(0, 1)], longer: [posting(0, 3)], "m": [posting(0, *many)]}, 1
    )
    assert counted(space, long) == 1
    assert counted(space, longer) == 0
    assert counted(space, "m") == 1
    ranking = rank([space], parse_query('"m m"'), None, (), 10)
    assert ranking.total == 1
    with pytest.raises(Dms3Error, match="at most"):
        IndexBuilder(PUBLIC_DOCUMENTS_MAX + 1)
    IndexBuilder(PUBLIC_DOCUMENTS_MAX)


def test_a_prefix_of_too_many_words_is_said_to_be_one() -> None:
    terms = {
        f"w{number:05}": [posting(0, 2 * number + 1)]
        for number in range(PUBLIC_PREFIX_TERMS_MAX + 1)
    }
    space, _, _ = hand_built(terms, 1)
    ranking = rank([space], parse_query("w*"), None, (), 10)
    assert ranking.faults == {0: "too many words begin like this"}
    assert counted(space, "w000*") == 1


def test_an_index_that_contradicts_itself_is_left_out_and_named() -> None:
    good, _, _ = hand_built({"heron": [posting(0, 1)]}, 1)
    liar, blocks, _ = hand_built({"heron": [posting(0, 1, 3, 5)]}, 1)
    query = parse_query("heron")

    def faulty(facts: bytes) -> Opened:
        block = encode(Facts(1, 0, facts))
        part = replace(liar.root.facts[0], cid=Cid.of(0x71, block))
        return Opened(replace(liar.root, facts=(part,)), blocks | {part.cid: block})

    cases = {
        "fewer words than are found": faulty(bytes([1, 0, 10, 5])),
        "a kind that is not named": faulty(bytes([9, 7, 10, 5])),
        "1 documents are claimed": faulty(bytes([9, 0, 10, 5] * 2)),
        "cut off": faulty(bytes([9, 0, 10])),
        "is missing": Opened(liar.root, {}),
    }
    for reason, space in cases.items():
        ranking = rank([space, good], query, None, (), 10)
        assert reason in ranking.faults[0]
        assert [best.space for best in ranking.best] == [1]


def test_no_count_makes_a_document_dominate() -> None:
    """A word that stands in a text a million times weighs little more than one of ten times."""
    honest, _, _ = hand_built({"heron": [posting(0, *range(1, 21, 2))]}, 1)
    words = encode(
        type("Words", (), {}) and Facts(1, 0, b"")  # a block of another form is a fault, no crash
    )
    broken = Opened(honest.root, dict.fromkeys(honest.blocks, words))
    assert 0 in rank([broken], parse_query("heron"), None, (), 10).faults
    greedy, _, _ = hand_built({"heron": [Posting(0, 0, 1_000_000, (1,))], "x": [posting(1, 1)]}, 2)
    ranking = rank([honest, greedy], parse_query("heron"), None, (), 10)
    scores = {best.space: best.score for best in ranking.best}
    assert scores[1] < 3 * scores[0] or scores[0] <= 10  # 1 + k1 is the most a count can give


def test_the_filter_knows_every_word_and_few_others() -> None:
    words = [f"word{number}".encode() for number in range(3_000)]
    held = make_filter(b"".join(map(term_mark, words)))
    assert all(may_have(held, word) for word in words)
    wrong = sum(may_have(held, f"other{number}".encode()) for number in range(3_000))
    assert wrong < 150, f"{wrong} of 3,000 words that are not there"
    assert not may_have(b"\x07", b"word")


def test_facts_are_plain() -> None:
    assert Fact(1, 2, 3, 4).kind == 2
    with pytest.raises(DecodeError):
        decode_root(b"\xa0")


def test_a_root_that_names_one_block_a_thousand_times_is_none() -> None:
    space, _, _ = hand_built({"heron": [posting(0, 1)]}, 1)
    for name in ("words", "places", "facts", "rows"):
        once = getattr(space.root, name)
        block = encode(replace(space.root, **{name: once}))
        assert decode_root(block) == space.root
        with pytest.raises(ValueError, match="named twice"):
            replace(space.root, **{name: once * 1_000})
    crowd = b"\x9a\x00\x03\xff\x00" + b"\x80" * 0x3FF00  # a quarter of a million empty lists
    with pytest.raises(DecodeError, match="items"):
        decode_root(crowd)


def test_a_word_that_claims_more_places_than_a_document_can_have_is_a_fault() -> None:
    space, blocks, _ = hand_built({"heron": [posting(0, 1)]}, 1)

    def found(count: int) -> Ranking:
        data = bytearray()
        for value in (1, count, *[2] * count):  # the first document, and that often in it
            write_number(data, value)
        ends = len(data).to_bytes(4, "little")
        block = encode(Shard(1, b"heron\n", ends, bytes(data)))
        facts = encode(Facts(1, 0, bytes([0xFF, 0xFF, 3, 0, 10, 5])))
        cids = [Cid.of(0x71, each) for each in (block, facts)]
        places = (replace(space.root.places[0], cid=cids[0]),)
        root = replace(
            space.root, places=places, facts=(replace(space.root.facts[0], cid=cids[1]),)
        )
        opened = Opened(root, blocks | dict(zip(cids, (block, facts), strict=True)))
        return rank([opened], parse_query('"heron heron"'), None, (), 10)

    assert found(INDEX_PLACES_MAX).faults == {}
    assert "too many places" in found(INDEX_PLACES_MAX + 1).faults[0]
