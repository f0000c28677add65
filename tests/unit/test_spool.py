"""Uploads: bounded, unreadable on disk, gone when anything goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.io import spool as spool_module
from dms3.io.spool import Spool
from dms3.sim.seeds import SeededEntropy, stream

MARKER = b"the quick brown marker sentence nobody may read "


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", SeededEntropy(stream(3, "spool")), reserve=0)
    yield opened
    opened.close()
    assert files(tmp_path) == []


def files(folder: Path) -> list[Path]:
    return sorted((folder / "spool").iterdir())


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


@pytest.mark.parametrize("size", [0, 1, 65_536, 1 << 20, 3_000_000])
def test_an_upload_comes_back_and_can_be_removed(spool: Spool, tmp_path: Path, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    upload = spool.begin()
    for start in range(0, size, 100_000):
        upload.write(data[start : start + 100_000])
    done = upload.finish()
    assert (done.id, done.size) == (upload.id, size)
    assert spool.size(done.id) == size
    assert b"".join(spool.read(done.id)) == data
    assert b"".join(spool.read(done.id)) == data
    assert files(tmp_path)[0].stat().st_mode & 0o777 == 0o600
    spool.remove(done.id)
    spool.remove(done.id)
    assert files(tmp_path) == []


def test_nothing_readable_lies_on_disk(spool: Spool, tmp_path: Path) -> None:
    done = asyncio.run(spool.receive(pieces(MARKER * 50_000, MARKER)))
    (path,) = files(tmp_path)
    assert path.stat().st_size > done.size == len(MARKER) * 50_001
    assert MARKER not in path.read_bytes()
    assert next(spool.read(done.id)).startswith(MARKER)


def test_an_unfinished_or_unknown_upload_cannot_be_read(spool: Spool) -> None:
    upload = spool.begin()
    upload.write(b"half")
    for name in (upload.id, "00" * 16, "", "../../etc/passwd"):
        for use in (spool.read, spool.size):
            with pytest.raises(Dms3Error) as caught:
                use(name)
            assert caught.value.code == "not_found"
    upload.abandon()
    upload.abandon()
    for use in (lambda: upload.write(b"more"), upload.finish):
        with pytest.raises(Dms3Error) as caught:
            use()
        assert caught.value.code == "cancelled"


def test_the_size_is_bounded_on_both_sides(spool: Spool, tmp_path: Path) -> None:
    exact = spool.begin(limit=10)
    exact.write(bytes(10))
    assert exact.finish().size == 10
    above = spool.begin(limit=10)
    above.write(bytes(9))
    with pytest.raises(Dms3Error) as caught:
        above.write(bytes(2))
    assert caught.value.code == "body_too_large"
    assert len(files(tmp_path)) == 1
    small = Spool(tmp_path / "other", SeededEntropy(stream(4)), limit=5, reserve=0)
    with pytest.raises(Dms3Error):
        small.begin(limit=1000).write(bytes(6))  # the spool's own limit holds
    small.close()


def test_the_number_of_uploads_is_bounded(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "UPLOADS_MAX", 2)
    first = spool.begin()
    second = spool.begin()
    with pytest.raises(Dms3Error) as caught:
        spool.begin()
    assert caught.value.code == "node_busy"
    first.abandon()
    third = spool.begin()
    assert third.finish().size == 0
    second.abandon()


def test_a_full_disk_refuses_and_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    upload = spool.begin()
    spool._reserve = 1 << 60
    for use in (spool.begin, lambda: upload.write(bytes(10))):
        with pytest.raises(Dms3Error) as caught:
            use()
        assert caught.value.code == "disk_full"
    assert files(tmp_path) == []


def test_a_disk_that_fills_up_leaves_nothing(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = spool.begin()

    class Full:
        closed = False

        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self.closed = True

    upload._file.close()
    monkeypatch.setattr(upload, "_file", Full())
    with pytest.raises(Dms3Error) as caught:
        upload.write(bytes(1 << 20))
    assert caught.value.code == "disk_full"
    assert files(tmp_path) == []


def test_what_an_earlier_process_left_is_removed_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / f"{'ab' * 16}.upload").write_bytes(b"left over")
    (folder / "notes.txt").write_text("not ours")
    Spool(folder, SeededEntropy(stream(1)), reserve=0).close()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_second_holder_is_refused_and_removes_nothing(spool: Spool, tmp_path: Path) -> None:
    done = asyncio.run(spool.receive(pieces(b"data")))
    with pytest.raises(Dms3Error) as caught:
        Spool(tmp_path / "spool", SeededEntropy(stream(4)), reserve=0)
    assert caught.value.code == "home_in_use"
    assert list(spool.read(done.id)) == [b"data"]
    spool.close()
    Spool(tmp_path / "spool", SeededEntropy(stream(4)), reserve=0).close()


def test_a_changed_file_is_noticed(spool: Spool, tmp_path: Path) -> None:
    done = asyncio.run(spool.receive(pieces(bytes(200_000))))
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    for changed in (data[:-1], data[:65_552], bytearray(b"x") + data[1:], bytearray()):
        path.write_bytes(changed)
        with pytest.raises(Dms3Error) as caught:
            list(spool.read(done.id))
        assert caught.value.code == "store_corrupt"
    path.unlink()
    with pytest.raises(Dms3Error) as caught:
        list(spool.read(done.id))
    assert caught.value.code == "home_unusable"


def test_a_sender_that_fails_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield bytes(2 << 20)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(spool.receive(breaks()))
    assert files(tmp_path) == []
    with pytest.raises(Dms3Error) as caught:
        asyncio.run(spool.receive(pieces(bytes(100)), limit=99))
    assert caught.value.code == "body_too_large"
    assert files(tmp_path) == []


def test_a_cancelled_upload_leaves_nothing_even_in_mid_write(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()
    real = spool.check_space

    def slow(wanted: int) -> None:
        real(wanted)
        if wanted:
            writing.set()
            assert go_on.wait(10)

    monkeypatch.setattr(spool, "check_space", slow)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(spool.receive(pieces(bytes(2 << 20), bytes(2 << 20))))
            await asyncio.to_thread(writing.wait)
            asyncio.get_running_loop().call_later(0.05, go_on.set)
            task.cancel()
            go_on.set()

    asyncio.run(main())
    assert files(tmp_path) == []
    assert spool._entries == {}
