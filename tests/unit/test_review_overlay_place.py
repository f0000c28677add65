"""Strangers of the overlay who deny or hide what a person wrote, and a device gone wild there."""

import asyncio
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import CHUNK_LIFE_US, CHUNK_RENEW_US, CHUNK_RENEWALS_MAX
from dms3.core.machine import Now
from dms3.core.overlay import Got, Placed
from dms3.dht import chunks
from dms3.dht.chunks import chunk_key, decode_chunk, issue_chunk, merge
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node import overlay_place
from dms3.node.overlay_place import OverlayPlace

SEED = b"s" * 32
WALL = 1_800_000_000_000_000
DUE_US = CHUNK_LIFE_US - CHUNK_RENEW_US + 60_000_000


class Overlay:
    """Ten honest nodes, unless a key is denied or what lies there was set."""

    def __init__(self) -> None:
        self.wall_us = WALL
        self.held = {}
        self.denied = set()

    def now(self):
        return Now(0, self.wall_us)

    async def call(self, operation, question):
        if operation == "dht.put":
            for content in question.contents:
                old = self.held.get(content.key, content.value)
                self.held[content.key] = merge(old, content.value)
            return Placed((8,) * len(question.contents), 8)
        found = None if question.key in self.denied else self.held.get(question.key)
        return Got(() if found is None else (found,), None, 1, 10)

    def until(self, name):
        return decode_chunk(self.held[key_of(name)]).until_us


def name_of(number):
    return number.to_bytes(32, "big").hex()


def key_of(name):
    return chunk_key(SEED, name, 0, 0).public


@pytest.fixture
def overlay():
    return Overlay()


@pytest.fixture
def place(tmp_path: Path, overlay, monkeypatch):
    monkeypatch.setattr(overlay_place, "solve", lambda _: 1)
    store = Store.open(tmp_path / "store.db", bytes(32), MIGRATIONS, reserve=0)
    yield OverlayPlace(SEED, overlay.call, store, overlay)
    store.close()


def test_a_name_that_strangers_deny_is_neither_forgotten_nor_holds_up_another(place, overlay):
    async def play():
        names = [name_of(number) for number in range(4)]
        for name in names:
            await place.put(name, name.encode())
            overlay.wall_us += 1
        before = [overlay.until(name) for name in names]
        overlay.wall_us += DUE_US
        overlay.denied = {key_of(names[0]), key_of(names[1])}
        assert await place.renew() == 4
        overlay.denied = set()
        after = [overlay.until(name) for name in names]
        assert after[:2] == before[:2]
        assert all(new > old for new, old in zip(after[2:], before[2:], strict=True))
        assert await place.renew() == 2
        assert all(overlay.until(name) > old for name, old in zip(names, before, strict=True))
        for name in names:
            assert await place.get(name) == name.encode()

    asyncio.run(play())


def test_many_denied_names_are_looked_at_once_in_a_round(place, overlay):
    async def play():
        names = [name_of(number) for number in range(CHUNK_RENEWALS_MAX + 1)]
        for name in names:
            await place.put(name, b"x")
            overlay.wall_us += 1
        before = overlay.until(names[-1])
        overlay.wall_us += DUE_US
        overlay.denied = {key_of(name) for name in names[:-1]}
        assert await place.renew() == CHUNK_RENEWALS_MAX
        assert await place.renew() == 1
        assert overlay.until(names[-1]) > before

    asyncio.run(play())


def test_what_was_removed_or_has_expired_is_forgotten(place, overlay):
    async def play():
        for number in range(2):
            await place.put(name_of(number), b"x")
        removed, expired = name_of(0), name_of(1)
        other = issue_chunk(
            chunk_key(SEED, removed, 0, 0), b"", sequence=WALL + 9, work=1, wall_us=WALL + 9
        )
        overlay.held[key_of(removed)] = other.value
        overlay.wall_us += CHUNK_LIFE_US + 1
        del overlay.held[key_of(expired)]
        assert await place.renew() == 2
        assert await place.renew() == 0

    asyncio.run(play())


@pytest.mark.parametrize("what", ["sequence", "work"])
def test_numbers_of_a_device_gone_wild_end_no_renewal(place, overlay, what):
    async def play():
        name = name_of(1)
        await place.put(name, b"x")
        numbers = {"sequence": WALL + 1, "work": 1} | {what: chunks.INTEGER_MAX}
        wild = issue_chunk(chunk_key(SEED, name, 0, 0), b"", wall_us=WALL, **numbers)
        overlay.held[key_of(name)] = wild.value
        overlay.wall_us += DUE_US
        assert await place.renew() == 1
        with pytest.raises(Dms3Error, match="gone wild"):
            await place.put(name, b"y")

    asyncio.run(play())
