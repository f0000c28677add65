"""The store on a bad day: full disk, wrong key, damage, newer and older homes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dms3.core.database import Migration
from dms3.core.errors import Dms3Error
from dms3.core.machine import Persist
from dms3.io import sqlcipher
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store

KEY = bytes(range(32))
ONE = Migration(1, "one", ("CREATE TABLE thing (name TEXT)", "INSERT INTO thing VALUES ('old')"))
TWO = Migration(2, "two", ("ALTER TABLE thing ADD COLUMN size INTEGER",))
BAD = Migration(2, "bad", ("CREATE TABLE other (name TEXT)", "CREATE TABLE thing (again TEXT)"))


def refused(path: Path, key: bytes = KEY, migrations=MIGRATIONS, reserve: int = 0) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        Store.open(path, key, migrations, reserve=reserve)
    return caught.value


def filled(path: Path, rows: int = 200) -> None:
    store = Store.open(path, KEY, MIGRATIONS)
    store.commit([Persist("t", b"%d" % n, bytes(500)) for n in range(rows)], []).result()
    store.close()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_wrong_key_is_told_from_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    filled(path)
    assert refused(path, bytes(32)).code == "passphrase_wrong"
    for place in (20, 100, 4095):  # in the first page, behind the salt
        flip(path, place)
        error = refused(path)
        assert error.code == "store_corrupt"
        assert "1 of" in error.message
        flip(path, place)
    Store.open(path, KEY, MIGRATIONS).close()


def test_damage_behind_the_first_page_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    filled(path)
    for place in (5_000, path.stat().st_size - 2_000):
        flip(path, place)
        damaged = path.read_bytes()
        assert refused(path).code == "store_corrupt"
        assert path.read_bytes() == damaged
        flip(path, place)
    Store.open(path, KEY, MIGRATIONS).close()


def test_a_torn_page_that_is_whole_in_the_log_is_no_damage(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy.db"
    filled(path)
    store = Store.open(path, KEY, MIGRATIONS)
    store.transact(
        lambda connection: connection.execute("UPDATE state SET value = randomblob(length(value))")
    ).result()
    copy.write_bytes(path.read_bytes())  # as a power cut in the middle of a checkpoint leaves it
    copy.with_name("copy.db-wal").write_bytes(path.with_name("store.db-wal").read_bytes())
    store.close()
    flip(copy, copy.stat().st_size - 2_000)
    store = Store.open(copy, KEY, MIGRATIONS)
    assert store.check() == []
    store.close()


def test_damage_in_a_large_file_is_found_by_check_and_by_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    filled(path)
    monkeypatch.setattr("dms3.io.sqlcipher.STORE_CHECK_BYTES_MAX", path.stat().st_size - 1)
    flip(path, path.stat().st_size - 2000)
    store = Store.open(path, KEY, MIGRATIONS)
    assert len(store.check()) >= 1
    with pytest.raises(Dms3Error) as caught, store.read() as connection:
        connection.execute("SELECT sum(length(value)) FROM state").fetchall()
    assert caught.value.code == "store_corrupt"
    store.close()


@pytest.mark.parametrize("content", [b"short", b"not a database at all" * 300, bytes(8192)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    assert refused(path).code in ("store_corrupt", "passphrase_wrong")
    assert path.read_bytes() == content


def test_a_truncated_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    filled(path)
    path.write_bytes(path.read_bytes()[: 4096 * 10])
    assert refused(path).code == "store_corrupt"


def test_a_folder_that_is_not_there_or_not_ours(tmp_path: Path) -> None:
    assert refused(tmp_path / "none" / "store.db").code == "home_unusable"
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / "folder").code == "home_unusable"


def version(path: Path) -> int:
    connection = sqlcipher.connect(path, KEY, writer=False)
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return number


def test_a_migration_keeps_a_copy_of_the_database_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path, KEY, [ONE]).close()
    assert not sqlcipher.copy_path(path, 0).exists()  # nothing worth a copy
    store = Store.open(path, KEY, [ONE, TWO])
    with store.read() as connection:
        assert connection.execute("SELECT name, size FROM thing").fetchall() == [("old", None)]
    store.close()
    copy = sqlcipher.copy_path(path, 1)
    assert copy.name == "store.db.v1"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (version(path), version(copy)) == (2, 1)
    old = Store.open(copy, KEY, [ONE])  # the older program can use it
    with old.read() as connection:
        assert connection.execute("SELECT * FROM thing").fetchall() == [("old",)]
    old.close()
    Store.open(path, KEY, [ONE, TWO]).close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store.db", "store.db.v1"]


def test_the_copy_holds_what_was_only_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "store.db"  # the log is left behind by a process that dies without closing
    code = f"""
import os, pathlib
from dms3.core.database import Migration
from dms3.io.store import Store
one = Migration(1, "one", {ONE.statements!r})
store = Store.open(pathlib.Path({str(path)!r}), {KEY!r}, [one])
store.transact(lambda c: c.execute("INSERT INTO thing VALUES ('new')")).result()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.with_name("store.db-wal").stat().st_size > 0
    Store.open(path, KEY, [ONE, TWO]).close()
    old = Store.open(sqlcipher.copy_path(path, 1), KEY, [ONE])
    with old.read() as connection:
        assert connection.execute("SELECT name FROM thing").fetchall() == [("old",), ("new",)]
    old.close()


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path, KEY, [ONE]).close()
    error = refused(path, migrations=[ONE, BAD])
    assert error.code == "home_unusable"
    assert "bad" in error.message
    assert version(path) == 1
    store = Store.open(path, KEY, [ONE, TWO])
    with store.read() as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
    assert tables == [("thing",)]
    store.close()


def test_no_room_for_the_copy_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path, KEY, [ONE]).close()
    assert refused(path, migrations=[ONE, TWO], reserve=1 << 60).code == "disk_full"
    assert version(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["store.db"]


def test_a_newer_home_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path, KEY, [ONE, TWO]).close()
    before = path.read_bytes()
    error = refused(path, migrations=[ONE])
    assert error.code == "home_newer"
    assert "version 2" in error.message
    assert path.read_bytes() == before


def test_migrations_are_numbered_from_one_without_a_gap(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Store.open(tmp_path / "store.db", KEY, [TWO])
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_full_disk_is_noticed_before_work_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    assert refused(path, reserve=1 << 60).code == "disk_full"
    filled(path)
    store = Store.open(path, KEY, MIGRATIONS, reserve=1 << 60)  # opens, so things can be removed
    with pytest.raises(Dms3Error) as caught:
        store.transact(lambda c: c.execute("SELECT 1").fetchone())
    assert caught.value.code == "disk_full"
    with pytest.raises(Dms3Error):
        store.check_space()
    remove = "DELETE FROM state WHERE key = x'31'"
    assert store.transact(lambda c: c.execute(remove).rowcount, frees_space=True).result() == 1
    store.commit([Persist("t", b"accepted before", b"1")], []).result()
    store.close()


def test_a_disk_that_fills_up_in_a_commit_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    filled(path)
    store = Store.open(path, KEY, MIGRATIONS)
    view = store.view()
    limit = "PRAGMA max_page_count = 60"
    store.transact(lambda c: c.execute(limit).fetchone()).result()  # SQLite's own full disk
    large = [Persist("big", b"%d" % n, bytes(60_000)) for n in range(20)]
    with pytest.raises(Dms3Error) as caught:
        store.commit(large, []).result()
    assert caught.value.code == "disk_full"
    assert view.range("big", b"", 10) == []
    assert len(view.range("t", b"", 1000)) == 200
    store.commit([Persist("t", b"0", b"changed")], []).result()  # it goes on
    assert view.get("t", b"0") == b"changed"
    assert store.check() == []
    store.close()


FULL = """
import pathlib, resource, sys
from dms3.core.errors import Dms3Error
from dms3.core.machine import Persist
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
store = Store.open(pathlib.Path(sys.argv[1]), bytes(range(32)), MIGRATIONS)
folder = pathlib.Path(sys.argv[1]).parent
most = max(path.stat().st_size for path in folder.iterdir()) + 400_000
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
codes = []
for number in range(40):
    try:
        store.commit([Persist("big", b"%d" % number, bytes(30_000))], []).result()
        codes.append("ok")
    except Dms3Error as error:
        codes.append(error.code)
print(" ".join(codes), flush=True)
import os
os._exit(0)
"""


def test_a_write_that_fails_stops_the_store_and_keeps_what_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], check=True, capture_output=True, text=True
    )
    codes = result.stdout.split()
    confirmed = codes.count("ok")
    assert 0 < confirmed < 40
    assert codes == ["ok"] * confirmed + ["home_unusable"] * (40 - confirmed)
    store = Store.open(path, KEY, MIGRATIONS)
    assert len(store.view().range("big", b"", 100)) == confirmed
    assert store.check() == []
    store.close()
