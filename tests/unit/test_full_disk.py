"""A disk that is really full: a small file system in memory, where this machine allows one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Dms3Error
from dms3.core.machine import Persist
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.spool import Spool
from dms3.io.store import Store

KEY = bytes(range(32))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "dms3-test", str(folder)]
    try:
        allowed = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def random_block(size: int) -> tuple[Cid, bytes]:
    data = os.urandom(size)
    return Cid.of(RAW, data), data


def codes_until_full(store: Store, packs: Packs, sizes: list[int]) -> tuple[list[str], list[Cid]]:
    """What 100 imports said, and the blocks they confirmed."""
    codes, confirmed = [], []
    for number in range(100):
        block = random_block(sizes[number % len(sizes)])
        try:
            staged = packs.stage([block])
            packs.sync()
            store.transact(lambda c, staged=staged: packs.attach(c, staged)).result()
        except Dms3Error as error:
            codes.append(error.code)
        else:
            codes.append("ok")
            confirmed.append(block[0])
    return codes, confirmed


@pytest.mark.parametrize("sizes", [[30_000], [200_000], [30_000, 100_000]])
def test_a_disk_that_runs_full_loses_nothing(disk: Path, sizes: list[int]) -> None:
    store = Store.open(disk / "store.db", KEY, MIGRATIONS, reserve=0)
    packs = Packs(disk / "packs", KEY, store, SystemEntropy(), reserve=0)
    codes, confirmed = codes_until_full(store, packs, sizes)
    assert set(codes) == {"ok", "disk_full"}
    store.close()
    packs.close()
    store = Store.open(disk / "store.db", KEY, MIGRATIONS, reserve=0)
    packs = Packs(disk / "packs", KEY, store, SystemEntropy(), reserve=0)
    assert store.check() == []
    assert list(packs.verify()) == []
    assert all(packs.has(cid) for cid in confirmed)
    packs.close()
    store.close()


def test_with_its_reserve_a_node_finishes_refuses_and_makes_room(disk: Path) -> None:
    reserve = 2_500_000
    store = Store.open(disk / "store.db", KEY, MIGRATIONS, reserve=reserve)
    packs = Packs(disk / "packs", KEY, store, SystemEntropy(), reserve=reserve)
    spool = Spool(disk / "spool", SystemEntropy(), reserve=reserve)
    codes, confirmed = codes_until_full(store, packs, [100_000])
    assert codes[-1] == "disk_full"
    with pytest.raises(Dms3Error) as caught:
        spool.begin().write(bytes(100_000))
    assert caught.value.code == "disk_full"
    store.commit([Persist("t", b"accepted before", bytes(60_000))], []).result()
    swept = packs.sweep(f"SELECT x'{confirmed[0].binary.hex()}'")
    assert (swept.blocks, swept.moved) == (len(confirmed) - 1, 1)
    assert codes_until_full(store, packs, [100_000])[0][0] == "ok"
    assert packs.has(confirmed[0])
    spool.close()
    packs.close()
    store.close()
