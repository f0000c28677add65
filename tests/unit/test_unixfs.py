import random
from collections.abc import Callable

import pytest

from dms3.core.cid import DAG_CBOR, DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import CHUNK_BYTES, DIRECTORY_BYTES_MAX, LINKS_PER_NODE_MAX
from dms3.core.unixfs import Block, Built, FileBuilder, build_directory, build_file, name_fault
from dms3.core.unixfs_read import (
    SymlinkNode,
    decode_block,
    file_size,
    links_of,
    list_folder,
    read_file,
    resolve,
)

EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def getter(*blocks: Block) -> Callable[[Cid], bytes]:
    stored = dict(blocks)
    for cid, data in blocks:
        assert cid.matches(data)
    return stored.__getitem__


def pattern(size: int) -> bytes:
    """Bytes that differ from chunk to chunk, the same in every run."""
    return random.Random(size).randbytes(size)


def entries(count: int, width: int) -> list[Link]:
    leaf = Cid.of(RAW, b"z")
    return [Link(leaf, f"{number:04}" + "y" * (width - 4), 1) for number in range(count)]


# Computed by ipfs-unixfs-importer 17.1.1 (npm) with the options of `ipfs add --cid-version=1
# --raw-leaves`; tests/interop compares more.
ZEROS = {
    1: "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu",
    262_145: "bafybeigllfqgfpqydppr6cmv56g7ax4wyhruzswvcefv6j5kj77nzttfki",
    1_000_000: "bafybeidide6lpcdutn3we5vvypssfhlq2n265w6dygwj37fyeklhlmfi34",
    10_000_000: "bafybeianjfxeaesik4wabrpb47sago2w7yhawiz7sqbhh5eoeuoeaznxci",
}
FOLDERS = {
    (2_000, 20): "bafybeia6qhq4anmcw4g37o62ubdarnrcogr6tq7uunirrvswtj5uxgjupy",
    (1_024, 220): "bafybeidepwyrzs47uqjnflmjvkpj7pvy7itv2kjeu2a37ylfoaz3fq55am",
    (2_000, 220): "bafybeidiomeivnb5ekrnizodqi76yw2iwxseaextau6turwcdkf5fzo2va",
}


@pytest.mark.parametrize(("size", "cid"), ZEROS.items())
def test_files_have_the_cids_of_an_ipfs_library(size: int, cid: str) -> None:
    assert str(build_file(bytes(size)).cid) == cid


@pytest.mark.parametrize(("shape", "cid"), FOLDERS.items())
def test_folders_have_the_cids_of_an_ipfs_library(shape: tuple[int, int], cid: str) -> None:
    assert str(build_directory(entries(*shape)).cid) == cid


def test_an_empty_file_is_one_empty_block() -> None:
    built = build_file(b"")
    assert (str(built.cid), built.size, built.tree_bytes) == (EMPTY, 0, 0)
    assert b"".join(read_file(getter(*built.blocks), built.cid)) == b""


def test_one_chunk_is_a_raw_block_and_one_byte_more_is_a_tree() -> None:
    assert build_file(bytes(CHUNK_BYTES)).cid.codec == RAW
    over = build_file(bytes(CHUNK_BYTES + 1))
    assert over.cid.codec == DAG_PB
    assert len(over.blocks) == 3
    assert over.size == CHUNK_BYTES + 1


def test_a_full_node_and_one_chunk_more() -> None:
    full = FileBuilder()
    blocks = full.add(bytes(CHUNK_BYTES * LINKS_PER_NODE_MAX))
    built = full.finish()
    stored = dict(blocks + built.blocks)
    assert len(links_of(built.cid, stored[built.cid])) == LINKS_PER_NODE_MAX
    more = FileBuilder()
    blocks = more.add(bytes(CHUNK_BYTES * LINKS_PER_NODE_MAX + 1))
    built = more.finish()
    stored = dict(blocks + built.blocks)
    top = links_of(built.cid, stored[built.cid])
    assert [len(links_of(cid, stored[cid])) for cid in top] == [LINKS_PER_NODE_MAX, 1]


@pytest.mark.parametrize("step", [1_000, CHUNK_BYTES, CHUNK_BYTES * 2 + 7])
def test_pieces_of_any_length_give_the_same_tree(step: int) -> None:
    data = pattern(700_000)
    builder = FileBuilder()
    blocks: list[Block] = []
    for start in range(0, len(data), step):
        blocks += builder.add(data[start : start + step])
    built = builder.finish()
    assert built.cid == build_file(data).cid
    assert b"".join(read_file(getter(*blocks, *built.blocks), built.cid)) == data


def test_a_range_equals_the_slice() -> None:
    data = pattern(3 * CHUNK_BYTES + 5)
    built = build_file(data)
    get = getter(*built.blocks)
    for start, stop in ((0, 1), (CHUNK_BYTES - 1, CHUNK_BYTES + 1), (5, 5), (9, 3), (-4, 4)):
        assert b"".join(read_file(get, built.cid, start, stop)) == data[max(0, start) : stop]
    assert b"".join(read_file(get, built.cid, len(data) - 3)) == data[-3:]
    assert b"".join(read_file(get, built.cid, len(data), len(data) + 9)) == b""
    assert file_size(get, built.cid) == len(data)


def test_a_range_reads_only_the_blocks_it_needs() -> None:
    data = pattern(4 * CHUNK_BYTES)
    built = build_file(data)
    stored = dict(built.blocks)
    asked: list[Cid] = []

    def get(cid: Cid) -> bytes:
        asked.append(cid)
        return stored[cid]

    assert (
        b"".join(read_file(get, built.cid, CHUNK_BYTES, CHUNK_BYTES + 1))
        == (data[CHUNK_BYTES : CHUNK_BYTES + 1])
    )
    assert len(asked) == 2


def folder() -> tuple[Built, list[Block]]:
    leaf = build_file(b"hello")
    inner = build_directory([leaf.link("f")])
    outer = build_directory([inner.link("b"), build_file(b"").link("a")])
    return outer, [*leaf.blocks, *inner.blocks, *outer.blocks, *build_file(b"").blocks]


def test_folders_are_sorted_and_paths_resolve() -> None:
    outer, blocks = folder()
    get = getter(*blocks)
    assert [link.name for link in list_folder(get, outer.cid)] == ["a", "b"]
    assert resolve(get, outer.cid, "b/f") == Cid.of(RAW, b"hello")
    assert resolve(get, outer.cid, "/b//f/") == Cid.of(RAW, b"hello")
    assert resolve(get, outer.cid, "") == outer.cid


@pytest.mark.parametrize("path", ["c", "b/g", "a/x", "b/f/y"])
def test_a_name_that_is_not_there_is_not_found(path: str) -> None:
    outer, blocks = folder()
    with pytest.raises(Dms3Error) as caught:
        resolve(getter(*blocks), outer.cid, path)
    assert caught.value.code == "not_found"


def test_a_path_is_bounded() -> None:
    outer, blocks = folder()
    with pytest.raises(Dms3Error, match="more than 64 parts"):
        resolve(getter(*blocks), outer.cid, "a/" * 65)


def test_a_folder_is_no_file_and_a_file_is_no_folder() -> None:
    outer, blocks = folder()
    get = getter(*blocks)
    with pytest.raises(Dms3Error, match="is not a file"):
        file_size(get, outer.cid)
    with pytest.raises(Dms3Error, match="is not a folder"):
        list(list_folder(get, Cid.of(RAW, b"hello")))


def test_a_folder_of_exactly_the_bound_is_plain_and_one_byte_more_is_sharded() -> None:
    at_bound = entries(1_024, 220)  # 1,024 * (220 + 36) = 262,144
    assert sum(len(link.name) + 36 for link in at_bound) == DIRECTORY_BYTES_MAX
    plain = build_directory(at_bound)
    assert len(plain.blocks) == 1
    last = at_bound[-1]
    over = [*at_bound[:-1], Link(last.cid, last.name + "y", 1)]
    sharded = build_directory(over)
    assert len(sharded.blocks) > 1
    get = getter(*sharded.blocks)
    assert {link.name for link in list_folder(get, sharded.cid)} == {link.name for link in over}
    assert resolve(get, sharded.cid, over[77].name) == last.cid
    with pytest.raises(Dms3Error, match="There is no"):
        resolve(get, sharded.cid, "absent")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("ok.txt", None),
        ("é" * 127, None),
        ("é" * 128, "longer"),
        ("", "usable"),
        ("..", "usable"),
        ("a/b", "usable"),
        ("a\nb", "control"),
        ("a\x7f", "control"),
        ("\udc80", "UTF-8"),
    ],
)
def test_names_that_cannot_be_kept(name: str, fault: str | None) -> None:
    found = name_fault(name)
    assert (found is None) if fault is None else (fault in str(found))


# what other software may send


def pb(content: bytes, *links: Link) -> Block:
    block = encode_node(Node(links, content))
    return Cid.of(DAG_PB, block), block


def test_inline_data_and_packed_sizes_are_read() -> None:
    part = build_file(b"world")
    cid, block = pb(b"\x08\x02\x12\x05hello\x18\x0a\x22\x01\x05", part.link(""))
    get = getter((cid, block), *part.blocks)
    assert b"".join(read_file(get, cid)) == b"helloworld"
    assert b"".join(read_file(get, cid, 3, 7)) == b"lowo"


def test_a_symbolic_link_is_known_and_not_followed() -> None:
    cid, block = pb(b"\x08\x04\x12\x04/etc")
    assert decode_block(cid, block) == SymlinkNode(b"/etc")
    with pytest.raises(Dms3Error, match="is not a file"):
        list(read_file(getter((cid, block)), cid))


LEAF = build_file(b"leaf").link("")


@pytest.mark.parametrize(
    ("content", "links", "reason"),
    [
        (b"\x08\x02\x18\x04", (LEAF,), "1 links and 0 sizes"),
        (b"\x08\x02\x18\x05\x20\x04", (LEAF,), "file size 5"),
        (b"\x08\x03", (), "not supported"),
        (b"", (), "not supported"),
        (b"\x08\x02\x4a\x00", (), "unexpected field 9"),
        (b"\x08\x02\x12\x05abc", (), "cut off"),
        (b"\x08\x01", (LEAF, LEAF), "one name twice"),
        (b"\x08\x05\x28\x22\x30\x10", (), "sharded 256 ways"),
        (b"\x08\x05\x12\x01\x01\x28\x22\x30\x80\x02", (), "bit field"),
        (b"\x08\x05\x28\x22\x30\x80\x02", (Link(LEAF.cid, "0", 4),), "without its slot"),
        (b"\x08\x05\x28\x22\x30\x80\x02", (Link(LEAF.cid, "0gx", 4),), "without its slot"),
    ],
)
def test_nodes_that_contradict_themselves_are_refused(
    content: bytes, links: tuple[Link, ...], reason: str
) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_block(*pb(content, *links))


def test_a_part_of_another_size_is_refused() -> None:
    cid, block = pb(b"\x08\x02\x18\x05\x20\x05", LEAF)
    get = getter((cid, block), (LEAF.cid, b"leaf"))
    with pytest.raises(DecodeError, match="4 bytes where 5 belong"):
        list(read_file(get, cid))


def test_a_name_in_the_wrong_shard_is_refused() -> None:
    block = pb(b"\x08\x05\x12\x01\x01\x28\x22\x30\x80\x02", Link(LEAF.cid, "00name", 4))
    with pytest.raises(DecodeError, match="wrong shard"):
        list(list_folder(getter(block), block[0]))


def test_a_file_tree_that_is_too_deep_is_refused() -> None:
    blocks = [pb(b"\x08\x02\x18\x04\x20\x04", LEAF)]
    for _ in range(64):
        blocks.append(pb(b"\x08\x02\x18\x04\x20\x04", Link(blocks[-1][0], "", 4)))
    get = getter((LEAF.cid, b"leaf"), *blocks)
    assert b"".join(read_file(get, blocks[62][0])) == b"leaf"
    with pytest.raises(DecodeError, match="deeper than 64"):
        list(read_file(get, blocks[64][0]))


def test_other_codecs_are_refused() -> None:
    with pytest.raises(DecodeError, match="neither raw nor dag-pb"):
        decode_block(Cid.of(DAG_CBOR, b"\xa0"), b"\xa0")
