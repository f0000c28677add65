"""The store: durable group commits, snapshots, bounds, and what its failures say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dms3.core.database import Connection, StoredEvent
from dms3.core.errors import Dms3Error
from dms3.core.limits import EVENTS_KEPT_MAX
from dms3.core.machine import Delete, Persist, scan
from dms3.io import sqlcipher
from dms3.io import store as store_module
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store

KEY = bytes(range(32))
PUT = "INSERT INTO state (tbl, key, value) VALUES ('t', ?, x'00')"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store.db", KEY, MIGRATIONS, reserve=0)
    yield opened
    opened.close()


class Held:
    """The writer thread stopped inside a work until `release`."""

    def __init__(self, store: Store) -> None:
        self._gate = threading.Event()
        self._entered = threading.Event()
        self.future = store.transact(self._wait)
        assert self._entered.wait(10)

    def _wait(self, _: Connection) -> None:
        self._entered.set()
        assert self._gate.wait(10)

    def release(self) -> None:
        self._gate.set()


def put(key: bytes):
    return lambda connection: connection.execute(PUT, (key,)).rowcount


def keys(store: Store) -> list[bytes]:
    return [key for key, _ in store.view().range("t", b"", 1000)]


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = Store.open(path, KEY, MIGRATIONS)
    first.commit([Persist("t", b"a", b"1"), Persist("t", b"b", b"2")], []).result()
    first.commit([Delete("t", b"a"), Persist("t", b"b", b"3"), Delete("t", b"none")], []).result()
    first.close()
    second = Store.open(path, KEY, MIGRATIONS)
    assert second.view().range("t", b"", 10) == [(b"b", b"3")]
    assert second.check() == []
    second.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["store.db"]  # the log was emptied
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_writes_of_one_commit_happen_in_order(store: Store) -> None:
    store.commit([Persist("t", b"a", b"1"), Delete("t", b"a")], []).result()
    assert store.view().get("t", b"a") is None
    store.commit([Delete("t", b"a"), Persist("t", b"a", b"2")], []).result()
    assert store.view().get("t", b"a") == b"2"


def test_a_view_reads_in_order_of_bytes_and_only_its_table(store: Store) -> None:
    wanted = [b"", b"\0", b"a", b"a\0", b"b", b"\xff"]
    store.commit([Persist("t", key, key) for key in reversed(wanted)], []).result()
    store.commit([Persist("u", b"a", b"other"), Persist("T", b"a", b"other")], []).result()
    view = store.view()
    assert [key for key, _ in view.range("t", b"", 100)] == wanted
    assert [key for key, _ in view.range("t", b"a", 2)] == [b"a", b"a\0"]
    assert view.range("t", b"\xff\xff", 5) == []
    assert view.get("t", b"none") is None
    assert [key for key, _ in scan(view, "t", b"a", page=1)] == [b"a", b"a\0"]


def test_a_view_sees_each_commit_as_soon_as_its_future_is_done(store: Store) -> None:
    view = store.view()
    for number in range(50):
        store.commit([Persist("t", b"k", b"%d" % number)], []).result()
        assert view.get("t", b"k") == b"%d" % number


def test_works_that_wait_together_share_one_commit(store: Store) -> None:
    held = Held(store)
    before = store.commits
    futures = [store.transact(put(b"%d" % number)) for number in range(100)]
    held.release()
    assert [future.result() for future in futures] == [1] * 100
    held.future.result()
    assert store.commits - before == 2  # the held one, and one for all the others
    assert len(keys(store)) == 100


def test_a_group_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "STORE_GROUP_WORKS_MAX", 10)
    held = Held(store)
    before = store.commits
    futures = [store.transact(put(b"%d" % number)) for number in range(30)]
    held.release()
    assert all(future.result() == 1 for future in futures)
    assert store.commits - before == 4


def test_a_failing_work_undoes_itself_only(store: Store) -> None:
    held = Held(store)

    def fails(connection: Connection) -> None:
        connection.execute(PUT, (b"bad",))
        raise KeyError("mine")

    def leaves(connection: Connection) -> None:
        connection.execute(PUT, (b"worse",))
        raise SystemExit(3)

    good = store.transact(put(b"good"))
    bad = store.transact(fails)
    worse = store.transact(leaves)
    twice = store.transact(put(b"good"))  # refused by the unique index
    last = store.transact(put(b"last"))
    before = store.commits
    held.release()
    assert good.result() == 1
    assert isinstance(bad.exception(), KeyError)
    assert isinstance(worse.exception(), SystemExit)
    refused = twice.exception()
    assert isinstance(refused, Dms3Error)
    assert refused.code == "internal"
    assert last.result() == 1
    assert store.commits - before == 2
    assert keys(store) == [b"good", b"last"]


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_work_that_ends_the_transaction_is_an_error_and_the_store_goes_on(
    store: Store, statement: str
) -> None:
    future = store.transact(lambda connection: connection.execute(statement))
    with pytest.raises(Dms3Error) as caught:
        future.result()
    assert caught.value.code == "internal"
    assert store.transact(put(b"after")).result() == 1


def test_a_work_cancelled_before_it_ran_never_runs(store: Store) -> None:
    held = Held(store)
    future = store.transact(put(b"never"))
    assert future.cancel()
    held.release()
    assert store.transact(put(b"then")).result() == 1
    assert keys(store) == [b"then"]


def test_the_queue_is_bounded_and_keeps_seats_for_the_driver(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "STORE_WORKS_MAX", 3)
    monkeypatch.setattr(store_module, "STORE_COMMITS_MAX", 1)
    held = Held(store)
    works = [store.transact(put(b"%d" % number)) for number in range(3)]
    with pytest.raises(Dms3Error) as caught:
        store.transact(put(b"one too many"))
    assert caught.value.code == "node_busy"
    commit = store.commit([Persist("t", b"driver", b"1")], [])
    with pytest.raises(Dms3Error):
        store.commit([], [])
    held.release()
    assert [work.result() for work in works] == [1, 1, 1]
    commit.result()
    assert keys(store) == [b"0", b"1", b"2", b"driver"]


def test_a_reader_sees_one_snapshot_and_changes_nothing(store: Store) -> None:
    store.transact(put(b"a")).result()
    with store.read() as reader:
        assert reader.execute("SELECT count(*) FROM state").fetchone() == (1,)
        store.transact(put(b"b")).result()
        assert reader.execute("SELECT count(*) FROM state").fetchone() == (1,)
    with store.read() as reader:
        assert reader.execute("SELECT count(*) FROM state").fetchone() == (2,)
    with pytest.raises(Dms3Error), store.read() as reader:
        reader.execute(PUT, (b"c",))
    with pytest.raises(KeyError), store.read() as reader:
        raise KeyError
    assert keys(store) == [b"a", b"b"]


def test_readers_are_bounded_and_come_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "STORE_READER_WAIT_SECONDS_MAX", 0.01)
    readers = [store.read() for _ in range(store_module.STORE_READERS_MAX)]
    for reader in readers:
        reader.__enter__()
    with pytest.raises(Dms3Error) as caught, store.read():
        pass
    assert caught.value.code == "node_busy"
    for reader in readers:
        reader.__exit__(None, None, None)
    with store.read() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert len(store._opened) == store_module.STORE_READERS_MAX  # connections are used again


def test_readers_and_writers_in_many_threads(store: Store) -> None:
    wrong: list[tuple[int, int]] = []

    def write(thread: int) -> None:
        for number in range(20):
            key = b"%d-%d" % (thread, number)
            # two rows per work: a reader must see both or none
            store.transact(
                lambda c, key=key: c.executemany(PUT, [(key + b"x",), (key + b"y",)])
            ).result()

    def read() -> None:
        for _ in range(60):
            with store.read() as connection:
                (count,) = connection.execute("SELECT count(*) FROM state").fetchone() or (0,)
                (again,) = connection.execute("SELECT count(*) FROM state").fetchone() or (0,)
            if count % 2 or count != again:
                wrong.append((count, again))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(keys(store)) == 160


def event(number: int) -> StoredEvent:
    return StoredEvent(number, "topic", {"n": number, "text": "ö"}, 10 * number)


def test_events_are_kept_with_their_commit_and_trimmed(store: Store) -> None:
    assert store.last_event() == 0
    assert store.events(0, 10) == []
    store.commit([], [event(1), event(2)]).result()
    assert store.events(0, 10) == [event(1), event(2)]
    assert store.events(1, 10) == [event(2)]
    store.commit([], [event(number) for number in range(3, EVENTS_KEPT_MAX + 1)]).result()
    assert store.events(0, 1) == [event(1)]  # exactly as many as are kept
    store.commit([], [event(EVENTS_KEPT_MAX + 1)]).result()
    assert store.events(0, 1) == [event(2)]
    assert store.last_event() == EVENTS_KEPT_MAX + 1


@pytest.mark.parametrize("numbers", [[2], [1, 3], [0], [1, 1]])
def test_an_event_number_with_a_gap_fails_the_whole_commit(
    store: Store, numbers: list[int]
) -> None:
    future = store.commit([Persist("t", b"a", b"1")], [event(number) for number in numbers])
    assert isinstance(future.exception(), AssertionError)
    assert keys(store) == []
    assert store.last_event() == 0


def test_closing_finishes_what_is_queued_and_refuses_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store.open(path, KEY, MIGRATIONS)
    held = Held(store)
    futures = [store.transact(put(b"%d" % number)) for number in range(20)]
    closer = threading.Thread(target=store.close)
    closer.start()
    held.release()
    closer.join()
    assert [future.result() for future in futures] == [1] * 20
    for use in (lambda: store.transact(put(b"x")), lambda: store.commit([], []), store.last_event):
        with pytest.raises(Dms3Error) as caught:
            use()
        assert caught.value.code == "node_stopping"
    store.close()
    again = Store.open(path, KEY, MIGRATIONS)
    assert len(keys(again)) == 20
    again.close()


def test_nothing_about_the_key_is_shown(store: Store) -> None:
    assert KEY.hex() not in repr(vars(store).keys()) + repr(store)
    with pytest.raises(Dms3Error) as caught, store.read() as connection:
        connection.execute("SELECT * FROM nothing")
    assert KEY.hex() not in str(caught.value)
    assert KEY.hex() not in repr(caught.value.__cause__)


def test_a_cursor_does_not_outlive_its_work(store: Store) -> None:
    store.transact(lambda c: c.executemany(PUT, [(b"a",), (b"b",)])).result()
    kept: list = []

    def leaks(connection: Connection) -> Connection:
        kept.append(connection.execute("SELECT key FROM state"))
        kept.append(connection.executemany(PUT, [(b"c",)]))
        return connection

    connection = store.transact(leaks).result()
    assert kept[1].rowcount == 1
    with pytest.raises(sqlcipher.Error):
        kept[0].fetchone()
    with pytest.raises(AssertionError):
        connection.execute("SELECT 1")
    with pytest.raises(AssertionError):
        connection.executemany(PUT, [(b"d",)])


def test_a_half_read_result_does_not_keep_an_old_snapshot(store: Store) -> None:
    store.transact(lambda c: c.executemany(PUT, [(b"a",), (b"b",)])).result()
    with store.read() as reader:
        kept = reader.execute("SELECT key FROM state")
        assert kept.fetchone() == (b"a",)
    store.transact(put(b"c")).result()
    with store.read() as reader:  # the same connection
        assert reader.execute("SELECT count(*) FROM state").fetchone() == (3,)
    assert len(store._opened) == 1
    del kept


def test_thousands_of_results_are_not_collected(store: Store) -> None:
    def asks(connection: Connection) -> int:
        return sum(len(connection.execute("SELECT 1").fetchall()) for _ in range(2000))

    assert store.transact(asks).result() == 2000


def test_sorting_leaves_nothing_on_disk(store: Store) -> None:
    with store.read() as connection:
        assert connection.execute("PRAGMA temp_store").fetchone() == (2,)
    for name, value in (("synchronous", 2), ("temp_store", 2), ("secure_delete", 1)):
        pragma = f"PRAGMA {name}"
        result = store.transact(lambda c, pragma=pragma: c.execute(pragma).fetchone()).result()
        assert result == (value,)
