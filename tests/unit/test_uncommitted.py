"""What a machine sees of its state: its own writes first, then what the store holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dms3.core.limits import VIEW_ROW_BYTES_KNOWN_MAX, VIEW_ROWS_KNOWN_MAX
from dms3.node.uncommitted import Uncommitted


class Committed:
    """Rows of a store, and how often they were read."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.reads = 0

    def get(self, table: str, key: bytes) -> bytes | None:
        self.reads += 1
        return self.rows.get((table, key))

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        found = [(key, value) for (name, key), value in self.rows.items() if name == table]
        return sorted(pair for pair in found if pair[0] >= start)[:limit]


def written(committed: Committed, view: Uncommitted, key: bytes, value: bytes | None) -> None:
    """Write `key` in one transaction, and make it durable."""
    view.write("m/t", key, value, 1)
    if value is None:
        committed.rows.pop(("m/t", key), None)
    else:
        committed.rows["m/t", key] = value
    view.settle("m/t", key, 1)


def test_a_row_is_read_from_the_store_once() -> None:
    committed = Committed()
    committed.rows["m/t", b"k"] = b"v"
    view = Uncommitted(committed, "m")
    assert [view.get("t", b"k"), view.get("t", b"k")] == [b"v", b"v"]
    assert [view.get("t", b"no"), view.get("t", b"no")] == [None, None]
    assert committed.reads == 2


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("after", [None, b"new"])
def test_what_is_remembered_is_what_was_written_last(
    before: bytes | None, after: bytes | None
) -> None:
    committed = Committed()
    view = Uncommitted(committed, "m")
    written(committed, view, b"k", before)
    assert view.get("t", b"k") == before
    view.write("m/t", b"k", after, 2)
    assert view.get("t", b"k") == after, "its own write, which is not durable yet"
    written(committed, view, b"k", after)
    assert view.get("t", b"k") == after
    assert committed.reads == 0, "what was written is known"


def test_a_row_that_is_written_again_meanwhile_is_not_what_became_durable() -> None:
    view = Uncommitted(Committed(), "m")
    view.write("m/t", b"k", b"first", 1)
    view.write("m/t", b"k", b"second", 2)
    view.settle("m/t", b"k", 1)
    assert view.get("t", b"k") == b"second"
    view.settle("m/t", b"k", 2)
    assert view.get("t", b"k") == b"second"


@pytest.mark.parametrize(("size", "reads"), [(0, 1), (1, 2)])
def test_a_long_row_is_not_remembered(size: int, reads: int) -> None:
    committed = Committed()
    committed.rows["m/t", b"k"] = b"x" * (VIEW_ROW_BYTES_KNOWN_MAX + size)
    view = Uncommitted(committed, "m")
    assert view.get("t", b"k") == view.get("t", b"k")
    assert committed.reads == reads


def test_the_oldest_of_too_many_rows_is_forgotten() -> None:
    committed = Committed()
    view = Uncommitted(committed, "m")
    for number in range(VIEW_ROWS_KNOWN_MAX + 1):
        view.get("t", number.to_bytes(4, "big"))
    view.get("t", VIEW_ROWS_KNOWN_MAX.to_bytes(4, "big"))
    assert committed.reads == VIEW_ROWS_KNOWN_MAX + 1, "the newest is known"
    view.get("t", bytes(4))
    assert committed.reads == VIEW_ROWS_KNOWN_MAX + 2, "the oldest is not"
