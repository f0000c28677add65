"""Bounds that depend on one another, and units that names promise."""

import re
from pathlib import Path

import pytest

from dms3.core import limits

NUMBERS = {
    name: value
    for name, value in vars(limits).items()
    if name.isupper() and isinstance(value, int | float)
}


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_a_bound_is_positive(name):
    assert NUMBERS[name] > 0


def test_a_range_has_its_smaller_end_first():
    for name, value in NUMBERS.items():
        if name.endswith("_MIN"):
            assert value < NUMBERS.get(name[:-4] + "_MAX", float("inf")), name


def test_a_leaf_fits_a_block_and_a_node_of_links_too():
    assert limits.CHUNK_BYTES < limits.BLOCK_BYTES_MAX
    link_bytes = 64  # CID, empty name, size, tags and lengths
    assert limits.LINKS_PER_NODE_MAX * link_bytes < limits.BLOCK_BYTES_MAX
    assert limits.DIRECTORY_BYTES_MAX < limits.BLOCK_BYTES_MAX


def test_a_block_goes_into_a_pack_and_not_into_a_persist():
    assert limits.PERSIST_VALUE_BYTES_MAX < limits.BLOCK_BYTES_MAX < limits.PACK_BYTES_MAX


def test_a_frame_with_a_block_fits_the_queue_of_a_stream():
    assert limits.BLOCK_BYTES_MAX < limits.STREAM_QUEUE_BYTES_MAX
    assert limits.STREAM_QUEUE_NOTICE_BYTES < limits.STREAM_QUEUE_BYTES_MAX


def test_the_blocks_of_a_fetch_fit_the_queue_of_who_answers():
    overhead = limits.FETCH_WINDOW_BLOCKS_MAX * 16  # length, kind and id of each frame
    assert limits.FETCH_ASKED_BYTES_MAX + overhead <= limits.ANSWER_BYTES_QUEUED_MAX
    assert limits.ANSWER_BYTES_QUEUED_MAX < limits.STREAM_QUEUE_BYTES_MAX


def test_no_bound_takes_the_name_of_another():
    folder = Path(limits.__file__).parent
    text = "\n".join(path.read_text() for path in sorted(folder.glob("limits*.py")))
    names = re.findall(r"^([A-Z][A-Z0-9_]*) =", text, re.MULTILINE)
    assert len(names) > 100
    assert [name for name in names if names.count(name) > 1] == []
