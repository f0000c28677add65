"""Files cut into trees come back whole, and every range of them is the slice."""

import itertools
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.core import unixfs
from dms3.core.cid import RAW, Cid
from dms3.core.dag_pb import Link, Node, decode_node, encode_node
from dms3.core.unixfs import FileBuilder, build_directory
from dms3.core.unixfs_read import file_size, list_folder, read_file, resolve
from dms3.search.query import fold

CIDS = st.binary(max_size=8).map(lambda data: Cid.of(RAW, data))
NAMES = st.text(min_size=1, max_size=20).filter(lambda name: unixfs.name_fault(name) is None)


def small_tree(data: bytes, cuts: list[int]) -> tuple[Cid, Callable[[Cid], bytes]]:
    """A tree of 7-byte chunks and 3 links, so that a few bytes make several levels."""
    chunk, links = unixfs.CHUNK_BYTES, unixfs.LINKS_PER_NODE_MAX
    unixfs.CHUNK_BYTES, unixfs.LINKS_PER_NODE_MAX = 7, 3
    try:
        builder = FileBuilder()
        stored = {}
        places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for start, stop in itertools.pairwise(places):
            stored.update(builder.add(data[start:stop]))
        built = builder.finish()
        stored.update(built.blocks)
        assert built.size == len(data)
        return built.cid, stored.__getitem__
    finally:
        unixfs.CHUNK_BYTES, unixfs.LINKS_PER_NODE_MAX = chunk, links


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6), st.data())
def test_any_range_is_the_slice_however_the_file_arrived(
    data: bytes, cuts: list[int], draw: st.DataObject
) -> None:
    cid, get = small_tree(data, cuts)
    assert cid == small_tree(data, [])[0]
    assert file_size(get, cid) == len(data)
    assert b"".join(read_file(get, cid)) == data
    start = draw.draw(st.integers(0, len(data) + 3))
    stop = draw.draw(st.integers(0, len(data) + 3))
    assert b"".join(read_file(get, cid, start, stop)) == data[start:stop]


@given(
    st.lists(st.builds(Link, CIDS, st.text(max_size=10), st.integers(0, 2**64 - 1)), max_size=5),
    st.none() | st.binary(max_size=20),
)
def test_every_node_decodes_to_what_was_encoded(links: list[Link], data: bytes | None) -> None:
    node = Node(tuple(links), data)
    assert decode_node(encode_node(node)) == node


@settings(deadline=None)
@given(st.dictionaries(NAMES, CIDS, max_size=40), st.booleans())
def test_a_folder_holds_what_was_put_in_it(names: dict[str, Cid], is_sharded: bool) -> None:
    bound = unixfs.DIRECTORY_BYTES_MAX
    unixfs.DIRECTORY_BYTES_MAX = 0 if is_sharded else bound
    try:
        built = build_directory(Link(cid, name, 1) for name, cid in names.items())
    finally:
        unixfs.DIRECTORY_BYTES_MAX = bound
    get = dict(built.blocks).__getitem__
    assert {link.name: link.cid for link in list_folder(get, built.cid)} == names
    for name, cid in names.items():
        assert resolve(get, built.cid, name) == cid


@given(st.text())
def test_folding_keeps_every_place(text: str) -> None:
    assert len(fold(text)) == len(text)
