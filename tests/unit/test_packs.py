"""Blocks: where they lie, what survives, what is removed, and that damage is found."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.database import Connection
from dms3.core.errors import Dms3Error
from dms3.io import packfile as packfile_module
from dms3.io import packsweep as packsweep_module
from dms3.io.packfile import FRAME_BYTES, MARK
from dms3.io.packs import Packs, Staged
from dms3.io.packstage import Staging
from dms3.io.packsweep import Sweeper
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.sim.seeds import SeededEntropy, stream

KEY = bytes(range(32))
LARGE = 65_536
NONE = "SELECT x'00'"
ALL = "SELECT cid FROM block"
MARKER = b"the quick brown marker sentence nobody may read "


def block(text: object, size: int) -> tuple[Cid, bytes]:
    data = (f"{text}-".encode() * size)[:size]
    return Cid.of(RAW, data), data


class Blocks:
    """A store and its packs in one folder, reopened at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entropy = SeededEntropy(stream(7, "packs"))
        self.open()

    def open(self) -> None:
        self.store = Store.open(self.folder / "store.db", KEY, MIGRATIONS, reserve=0)
        self.packs = Packs(self.folder / "packs", KEY, self.store, self.entropy, reserve=0)

    def close(self) -> None:
        self.packs.close()
        self.store.close()

    def die(self) -> None:
        """As far as the disk can tell: the kernel lets go of the lock, nothing else happens."""
        os.close(self.packs._held)
        self.packs._held = None
        self.store.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def attach(self, staged: Staged) -> None:
        self.store.transact(lambda c: self.packs.attach(c, staged)).result()

    def put(self, *blocks: tuple[Cid, bytes]) -> int:
        staged = self.packs.stage(blocks)
        self.packs.sync()
        self.attach(staged)
        return staged.new_bytes

    def files(self) -> list[Path]:
        return sorted((self.folder / "packs").iterdir())


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[Blocks]:
    home = Blocks(tmp_path)
    yield home
    home.close()


def test_blocks_of_every_size_come_back_also_after_reopening(blocks: Blocks) -> None:
    some = [block(size, size) for size in (0, 1, 1000, LARGE - 1, LARGE, LARGE + 1, 2 << 20)]
    assert blocks.put(*some) == sum(len(data) for _, data in some)
    for _ in range(2):
        for cid, data in some:
            assert blocks.packs.get(cid) == data
            assert blocks.packs.has(cid)
            assert blocks.packs.size(cid) == len(data)
        blocks.reopen()
    other, _ = block("other", 10)
    assert blocks.packs.get(other) is None
    assert not blocks.packs.has(other)
    assert blocks.packs.size(other) is None
    assert list(blocks.packs.verify()) == []


def test_the_boundary_between_row_and_record(blocks: Blocks) -> None:
    blocks.put(block("row", LARGE - 1))
    assert blocks.files() == []
    blocks.put(block("record", LARGE))
    (path,) = blocks.files()
    assert path.stat().st_size == len(MARK) + LARGE + FRAME_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_stored_is_not_stored_again(blocks: Blocks) -> None:
    some = [block("small", 100), block("large", LARGE)]
    blocks.put(*some)
    size = blocks.files()[0].stat().st_size
    assert blocks.put(*some, *some) == 0
    assert blocks.put(block("new", 50), *some, block("new", 50)) == 50
    assert blocks.files()[0].stat().st_size == size


def test_two_who_stage_the_same_block_both_succeed(blocks: Blocks) -> None:
    one, two = (blocks.packs.stage([block("same", LARGE)]) for _ in range(2))
    blocks.packs.sync()
    blocks.attach(one)
    blocks.attach(two)
    assert blocks.packs.get(block("same", LARGE)[0]) == block("same", LARGE)[1]
    assert blocks.packs.use()[0].dead_bytes == LARGE + FRAME_BYTES  # the second record


def test_a_transaction_that_fails_stores_nothing(blocks: Blocks) -> None:
    some = [block("small", 100), block("large", LARGE)]
    staged = blocks.packs.stage(some)
    blocks.packs.sync()

    def fails(connection: Connection) -> None:
        blocks.packs.attach(connection, staged)
        raise KeyError

    with pytest.raises(KeyError):
        blocks.store.transact(fails).result()
    assert [blocks.packs.get(cid) for cid, _ in some] == [None, None]
    blocks.attach(staged)  # the same records, in a transaction that works
    assert [blocks.packs.get(cid) for cid, _ in some] == [data for _, data in some]


def test_a_record_that_was_not_flushed_cannot_be_attached(blocks: Blocks) -> None:
    staged = blocks.packs.stage([block("large", LARGE)])
    with pytest.raises(AssertionError):
        blocks.attach(staged)
    blocks.packs.sync()
    blocks.attach(staged)


def test_a_failed_flush_is_never_trusted_again(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = blocks.packs.stage([block("large", LARGE)])

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(packfile_module.os, "fsync", fails)
        with pytest.raises(Dms3Error) as caught:
            blocks.packs.sync()
    assert caught.value.code == "home_unusable"
    blocks.packs.sync()
    with pytest.raises(Dms3Error) as caught:
        blocks.attach(staged)
    assert caught.value.code == "home_unusable"
    blocks.put(block("large", LARGE))  # in a new pack
    assert blocks.packs.get(block("large", LARGE)[0]) is not None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_packs_are_bounded_and_so_are_open_files(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packfile_module, "PACK_BYTES_MAX", len(MARK) + 2 * (LARGE + FRAME_BYTES))
    monkeypatch.setattr(packfile_module, "PACKS_OPEN_MAX", 3)
    some = [block(number, LARGE) for number in range(11)]
    blocks.put(*some[:5])
    blocks.put(*some[5:])
    sizes = [path.stat().st_size for path in blocks.files()]
    assert len(sizes) == 6
    assert max(sizes) == len(MARK) + 2 * (LARGE + FRAME_BYTES)
    before = open_files()
    for _ in range(2):
        assert [blocks.packs.get(cid) for cid, _ in some] == [data for _, data in some]
    assert open_files() <= before + 3
    assert len(blocks.packs._appender._full) == 0  # flushed packs are not kept open for writing


def test_many_threads_read_while_blocks_are_added(blocks: Blocks) -> None:
    some = [block(number, LARGE + number) for number in range(6)]
    blocks.put(*some)
    wrong: list[Cid] = []

    def read() -> None:
        for _ in range(10):
            wrong.extend(cid for cid, data in some if blocks.packs.get(cid) != data)

    def add(thread: int) -> None:
        for number in range(5):
            blocks.put(block((thread, number), LARGE), block((thread, number), 100))

    threads = [threading.Thread(target=read) for _ in range(3)]
    threads += [threading.Thread(target=add, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(blocks.packs.verify()) == []
    assert sum(use.dead_bytes for use in blocks.packs.use()) == 0


# removal


def test_a_sweep_removes_what_nobody_names(blocks: Blocks) -> None:
    kept = [block("kept", 100), block("kept", LARGE)]
    gone = [block("gone", 100), block("gone", LARGE)]
    blocks.put(*kept, *gone)
    names = ", ".join(f"(x'{cid.binary.hex()}')" for cid, _ in kept)
    swept = blocks.packs.sweep(f"SELECT column1 FROM (VALUES {names})")
    assert (swept.blocks, swept.bytes, swept.packs) == (2, 100 + LARGE, 0)
    assert [blocks.packs.get(cid) for cid, _ in kept] == [data for _, data in kept]
    assert [blocks.packs.get(cid) for cid, _ in gone] == [None, None]
    assert blocks.packs.use()[0].dead_bytes == LARGE + FRAME_BYTES
    assert blocks.packs.sweep(ALL).blocks == 0


def test_a_sweep_goes_through_more_rows_than_one_step(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packsweep_module, "SWEEP_ROWS_MAX", 7)
    blocks.put(*(block(number, 50) for number in range(30)))
    assert list(blocks.packs.verify()) == []
    before = blocks.store.commits
    assert blocks.packs.sweep(NONE).blocks == 30
    assert blocks.store.commits - before == 7  # five steps, the packs, and nothing to give back
    assert blocks.packs.sweep(NONE).blocks == 0


def test_a_step_of_a_sweep_removes_a_bounded_number_of_bytes(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packsweep_module, "SWEEP_BYTES_MAX", 150)
    kept = [block(("kept", number), 50) for number in range(4)]
    gone = [block(("gone", number), 50) for number in range(10)]
    blocks.put(*kept[:2], *gone[:5], *kept[2:], *gone[5:])
    before = blocks.store.commits
    swept = blocks.packs.sweep(naming(*kept))
    assert (swept.blocks, swept.bytes) == (10, 500)
    assert blocks.store.commits - before == 6  # 3, 3, 3 and 1 block, the packs, the pages
    assert [blocks.packs.get(cid) for cid, _ in kept] == [data for _, data in kept]


def test_a_sweep_gives_space_back_to_the_disk(blocks: Blocks) -> None:
    blocks.put(*(block(number, 50_000) for number in range(100)))
    blocks.reopen()  # the log is emptied into the database
    path = blocks.folder / "store.db"
    full = path.stat().st_size
    assert full > 5_000_000
    blocks.packs.sweep(naming(block(99, 50_000)))
    blocks.reopen()
    assert path.stat().st_size < full / 10
    assert blocks.packs.get(block(99, 50_000)[0]) == block(99, 50_000)[1]
    assert blocks.store.check() == []


def test_a_pack_that_is_dead_is_deleted_with_its_key(blocks: Blocks) -> None:
    blocks.put(block("one", LARGE), block("two", LARGE))
    swept = blocks.packs.sweep(NONE)
    assert (swept.blocks, swept.packs) == (2, 1)
    assert blocks.files() == []
    with blocks.store.read() as connection:
        assert connection.execute("SELECT count(*) FROM pack").fetchone() == (0,)
    blocks.put(block("one", LARGE))  # a new pack, not the deleted one
    assert blocks.packs.get(block("one", LARGE)[0]) == block("one", LARGE)[1]
    blocks.reopen()
    assert list(blocks.packs.verify()) == []


def naming(*blocks: tuple[Cid, bytes]) -> str:
    names = ", ".join(f"(x'{cid.binary.hex()}')" for cid, _ in blocks)
    return f"SELECT column1 FROM (VALUES {names})"


def test_a_pack_that_is_mostly_dead_is_rewritten(blocks: Blocks) -> None:
    some = [block(number, LARGE + number) for number in range(10)]
    blocks.put(*some)
    (before,) = blocks.files()
    dead = before.read_bytes()[len(MARK) : len(MARK) + LARGE + FRAME_BYTES]
    half = blocks.packs.sweep(naming(*some[5:]))  # not more than half is dead
    assert (half.blocks, half.packs, half.moved) == (5, 0, 0)
    most = blocks.packs.sweep(naming(*some[6:]))
    assert (most.blocks, most.packs, most.moved) == (1, 1, 4)
    (after,) = blocks.files()
    assert after != before
    assert dead not in after.read_bytes()
    assert [blocks.packs.get(cid) for cid, _ in some[:6]] == [None] * 6
    assert [blocks.packs.get(cid) for cid, _ in some[6:]] == [data for _, data in some[6:]]
    assert list(blocks.packs.verify()) == []
    assert [use.dead_bytes for use in blocks.packs.use()] == [0]
    blocks.reopen()
    assert list(blocks.packs.verify()) == []


def test_a_damaged_pack_is_not_rewritten(blocks: Blocks) -> None:
    some = [block(number, LARGE) for number in range(10)]
    blocks.put(*some)
    (path,) = blocks.files()
    flip(path, path.stat().st_size - 20)
    swept = blocks.packs.sweep(naming(*some[8:]))
    assert (swept.blocks, swept.packs, swept.moved) == (8, 0, 0)
    assert [damage.cid for damage in blocks.packs.verify()] == [some[9][0]]
    assert blocks.packs.get(some[8][0]) == some[8][1]


def test_a_crash_while_a_pack_is_rewritten_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [block(number, LARGE) for number in range(6)]
    for part, stop in ((Staging, "sync"), (Sweeper, "_delete_dead")):
        folder = tmp_path / stop
        folder.mkdir()
        blocks = Blocks(folder)
        blocks.put(*some)
        calls = []
        real = getattr(part, stop)

        def dies(self: Staging | Sweeper, calls=calls, real=real, stop=stop) -> int:
            calls.append(stop)
            if stop == "_delete_dead" and len(calls) == 1:
                return real(self)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(part, stop, dies)
            with pytest.raises(KeyboardInterrupt):
                blocks.packs.sweep(naming(some[0]))
        blocks.die()
        blocks.open()
        assert list(blocks.packs.verify()) == []
        assert blocks.packs.get(some[0][0]) == some[0][1]
        blocks.packs.sweep(naming(some[0]))
        assert [use.dead_bytes for use in blocks.packs.use()] == [0]
        blocks.close()


def test_blocks_are_read_while_packs_are_rewritten(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packfile_module, "PACK_BYTES_MAX", 9 * LARGE)
    monkeypatch.setattr(packfile_module, "PACKS_OPEN_MAX", 1)  # files are opened again and again
    kept = [block(("kept", number), LARGE) for number in range(2)]
    blocks.put(*kept)
    done = threading.Event()
    wrong: list[Cid] = []
    reads: list[int] = []

    def read() -> None:
        while not done.is_set():
            wrong.extend(cid for cid, data in kept if blocks.packs.get(cid) != data)
            reads.append(1)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    moved = 0
    for number in range(8):
        blocks.put(*(block(("gone", number, part), LARGE) for part in range(6)))
        moved += blocks.packs.sweep(naming(*kept)).moved
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert moved == 16
    assert reads
    assert list(blocks.packs.verify()) == []
    assert len(blocks.files()) == 1


def test_a_sweep_works_on_a_full_disk(blocks: Blocks) -> None:
    some = [block(number, LARGE) for number in range(6)]
    blocks.put(*some)
    blocks.store._reserve = blocks.packs._appender._reserve = 1 << 60
    swept = blocks.packs.sweep(naming(some[0]))
    assert (swept.blocks, swept.packs, swept.moved) == (5, 1, 1)
    assert blocks.packs.get(some[0][0]) == some[0][1]


def test_a_sweep_leaves_what_is_on_its_way(blocks: Blocks) -> None:
    known = [block("known", 100), block("known", LARGE)]
    blocks.put(*known)
    staged = blocks.packs.stage([*known, block("new", LARGE), block("new", 100)])
    swept = blocks.packs.sweep(NONE)
    assert (swept.blocks, swept.packs) == (0, 0)
    blocks.packs.sync()
    blocks.attach(staged)
    assert list(blocks.packs.verify()) == []
    del staged
    assert blocks.packs.sweep(NONE).blocks == 4


def test_a_block_removed_behind_the_back_of_a_stage_is_noticed(blocks: Blocks) -> None:
    known = block("known", 100)
    blocks.put(known)
    staged = blocks.packs.stage([known])
    blocks.store.transact(lambda c: c.execute("DELETE FROM block")).result()
    with pytest.raises(Dms3Error) as caught:
        blocks.attach(staged)
    assert caught.value.code == "node_busy"
    blocks.put(known)
    assert blocks.packs.has(known[0])


# after a crash


def test_what_was_never_committed_is_cut_off_at_the_next_start(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path)
    blocks.put(block("kept", LARGE))
    (path,) = blocks.files()
    size = path.stat().st_size
    blocks.packs.stage([block("lost", LARGE)])
    with path.open("ab") as file:
        file.write(b"torn record")
    orphan = path.with_name("00" * 16 + ".pack")
    orphan.write_bytes(MARK + b"a pack whose row was never committed")
    foreign = path.with_name("notes.txt")
    foreign.write_text("not ours")
    blocks.die()
    blocks.open()
    assert blocks.files() == sorted([path, foreign])
    assert path.stat().st_size == size
    assert blocks.packs.get(block("lost", LARGE)[0]) is None
    blocks.put(block("after", LARGE))
    assert path.stat().st_size == size + LARGE + FRAME_BYTES  # it goes on in the same pack
    assert list(blocks.packs.verify()) == []
    blocks.close()


def test_a_nonce_is_never_used_twice_under_one_key_across_restarts(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path)
    blocks.put(block("kept", LARGE))
    (path,) = blocks.files()
    seen = set()
    for number in range(5):
        blocks.packs.stage([block(number, LARGE)])
        data = path.read_bytes()
        start = len(MARK) + LARGE + FRAME_BYTES + 4
        seen.add(data[start : start + 12])
        blocks.die()
        blocks.open()
    assert len(seen) == 5
    blocks.close()


# damage


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_anywhere_in_a_record_is_found(blocks: Blocks) -> None:
    good, bad = block("good", LARGE), block("bad", LARGE)
    blocks.put(good, bad)
    (path,) = blocks.files()
    start = len(MARK) + LARGE + FRAME_BYTES
    end = start + LARGE + FRAME_BYTES
    for place in (start, start + 3, start + 4, start + 15, start + 16, start + 9000, end - 1):
        flip(path, place)
        assert [damage.cid for damage in blocks.packs.verify()] == [bad[0]], place
        with pytest.raises(Dms3Error) as caught:
            blocks.packs.get(bad[0])
        assert caught.value.code == "store_corrupt"
        assert blocks.packs.get(good[0]) == good[1]
        flip(path, place)
    assert list(blocks.packs.verify()) == []


def test_exchanged_records_and_lost_files_are_found(blocks: Blocks) -> None:
    one, two = block("one", LARGE), block("two", LARGE)
    blocks.put(one, two)
    (path,) = blocks.files()
    data = path.read_bytes()
    length = LARGE + FRAME_BYTES
    first, second = data[8 : 8 + length], data[8 + length :]
    path.write_bytes(MARK + second + first)
    assert {damage.cid for damage in blocks.packs.verify()} == {one[0], two[0]}
    path.write_bytes(MARK + first + second[:-1])
    assert [damage.cid for damage in blocks.packs.verify()] == [two[0]]
    path.unlink()
    blocks.reopen()
    damages = list(blocks.packs.verify())
    assert len(damages) == 2
    assert "No such file" in damages[0].reason
    blocks.put(block("three", LARGE))  # a damaged home still takes new blocks
    assert blocks.packs.get(block("three", LARGE)[0]) is not None


def test_a_small_block_under_a_wrong_name_is_found(blocks: Blocks) -> None:
    cid, data = block("right", 100)
    wrong, _ = block("wrong", 100)
    blocks.put((wrong, data))
    assert [damage.cid for damage in blocks.packs.verify()] == [wrong]
    assert blocks.packs.get(cid) is None


def test_verify_reports_its_progress(blocks: Blocks) -> None:
    blocks.put(block("small", 100), block("large", LARGE))
    seen: list[int] = []
    assert list(blocks.packs.verify(seen.append)) == []
    assert sum(seen) == 100 + LARGE


def test_a_wrong_key_reads_nothing(blocks: Blocks) -> None:
    blocks.put(block("secret", LARGE))
    blocks.packs.close()
    other = Packs(blocks.folder / "packs", bytes(32), blocks.store, blocks.entropy, reserve=0)
    with pytest.raises(Dms3Error) as caught:
        other.get(block("secret", LARGE)[0])
    assert caught.value.code == "store_corrupt"
    other.close()


# disk


def test_a_second_holder_is_refused_and_removes_nothing(blocks: Blocks) -> None:
    staged = blocks.packs.stage([block("on its way", LARGE)])
    for _ in range(2):
        with pytest.raises(Dms3Error) as caught:
            Packs(blocks.folder / "packs", KEY, blocks.store, blocks.entropy, reserve=0)
        assert caught.value.code == "home_in_use"
    blocks.packs.sync()
    blocks.attach(staged)
    assert list(blocks.packs.verify()) == []


def test_a_full_disk_is_noticed_before_a_record_is_written(blocks: Blocks) -> None:
    blocks.packs._appender._reserve = 1 << 60
    with pytest.raises(Dms3Error) as caught:
        blocks.packs.stage([block("large", LARGE)])
    assert caught.value.code == "disk_full"
    assert blocks.files() == []
    blocks.packs._appender._reserve = 0
    blocks.put(block("large", LARGE))


def test_a_write_that_finds_no_space_costs_only_its_own_record(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks.put(block("before", LARGE))
    real = os.pwrite

    def short(number: int, data: bytes, place: int) -> int:
        if len(data) < 20_000:
            raise OSError(28, "No space left on device")
        return real(number, data[:20_000], place)

    with monkeypatch.context() as patch:
        patch.setattr(packfile_module.os, "pwrite", short)
        with pytest.raises(Dms3Error) as caught:
            blocks.packs.stage([block("torn", LARGE)])
    assert caught.value.code == "disk_full"
    blocks.put(block("after", LARGE))
    assert list(blocks.packs.verify()) == []
    assert blocks.packs.get(block("after", LARGE)[0]) == block("after", LARGE)[1]
    assert blocks.packs.use()[0].dead_bytes == 0  # written over


def test_nothing_readable_lies_on_disk(tmp_path: Path) -> None:
    blocks = Blocks(tmp_path)
    some = [(Cid.of(RAW, data), data) for data in (MARKER, MARKER * 2000)]
    blocks.put(*some)
    found = b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file())
    assert len(found) > 100_000  # the log is there, too
    for secret in (MARKER, some[0][0].digest, some[1][0].digest, str(some[1][0]).encode(), KEY):
        assert secret not in found
    blocks.close()
