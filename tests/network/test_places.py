"""Places of conversation storage against real servers: what is kept, what fails and how, kills."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PLACE_LIST_NAMES_MAX, PLACE_OBJECT_BYTES_MAX
from dms3.io.clock import SystemEntropy
from dms3.io.place_local import LocalPlace
from dms3.io.places import Places
from dms3.storage.names import StorageKeys
from dms3.storage.operations import (
    DeleteObject,
    GetObject,
    ListObjects,
    Place,
    PutObject,
)
from network.faulty_wire import Wire
from network.place_campaign import Job, Ledger, kills_of, look, write_and_kill
from network.place_servers import KUBO, PASSWORD, free_port, place_at, server
from network.place_writer import content, name_of, number_of, plain_places

REMOTE = ("s3", "webdav", "ipfs", "kubo")
KINDS = ("local", *REMOTE)
KILLS, KILLS_LONG = 2, 100
SEED = "places 1"
OLD, NEW = b"old" * 40_000, b"new" * 40_000
NAME = name_of(SEED, 0)


@pytest.fixture(scope="module", params=KINDS)
def stage(request, tmp_path_factory) -> Iterator[tuple[str, int, Path]]:
    """A kind, the port of its server, and the folder where that keeps things."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    need(kind)
    if kind == "local":
        yield kind, 0, folder
        return
    with server(kind, folder) as (port, _):
        yield kind, port, folder


def need(kind: str) -> None:
    """Of IPFS the real node where there is one, else the small server."""
    if kind == "kubo" and not KUBO.exists():
        pytest.skip("no IPFS node in build/peers (sh scripts/peers.sh kubo)")
    if kind == "ipfs" and KUBO.exists():
        pytest.skip("the real one is here")


@pytest.fixture
def remote(stage):
    if stage[0] == "local":
        pytest.skip("there is no wire to this node's own folder")
    return stage


def run(folder: Path, test, *, seconds: float = 30) -> None:
    """Run `test(port)` over places of every kind."""

    async def main() -> None:
        places = plain_places(folder)
        places._seconds = seconds
        try:
            await test(places.serve)
        finally:
            await places.close()

    asyncio.run(main())


def names_of(count: int, seed: str) -> list[str]:
    return sorted(name_of(seed, slot) for slot in range(count))


def test_what_is_put_is_there_until_it_is_removed(stage, tmp_path):
    kind, port, _ = stage
    place = place_at(kind, port)
    names = names_of(12, f"{SEED} keep")

    async def test(serve):
        await serve("check", place)
        for name in names:
            await serve("put", PutObject(place, name, name.encode()))
        await asyncio.gather(*(serve("put", PutObject(place, name, b"b" + name.encode()))
                               for name in names))  # fmt: skip
        found = await asyncio.gather(*(serve("get", GetObject(place, name)) for name in names))
        assert found == [b"b" + name.encode() for name in names]
        assert await serve("get", GetObject(place, "0" * 64)) is None
        largest = bytes(range(256)) * (PLACE_OBJECT_BYTES_MAX // 256)
        for data in (largest, b""):
            await serve("put", PutObject(place, names[0], data))
            assert await serve("get", GetObject(place, names[0])) == data
        for _ in range(2):
            await serve("delete", DeleteObject(place, names[0]))
        assert await serve("get", GetObject(place, names[0])) is None

    run(tmp_path, test)


def test_names_are_listed_in_order_and_nothing_else_is(stage, tmp_path):
    kind, port, _ = stage
    place = place_at(kind, port)
    place = Place(place.kind, place.url + "-list", place.secret) if place.url else place
    names = names_of(20, f"{SEED} list")

    async def test(serve):
        assert await serve("list", ListObjects(place)) == ()
        await asyncio.gather(*(serve("put", PutObject(place, name, b"x")) for name in names))
        assert list(await serve("list", ListObjects(place))) == names
        assert list(await serve("list", ListObjects(place, names[7]))) == names[8:]
        assert await serve("list", ListObjects(place, names[-1])) == ()

    run(tmp_path, test)


def test_a_server_that_is_away_is_named_and_so_is_what_to_do(remote, tmp_path):
    kind, _, _ = remote
    place = place_at(kind, free_port())

    async def test(serve):
        for operation, asked in (
            ("put", PutObject(place, NAME, NEW)),
            ("get", GetObject(place, NAME)),
            ("list", ListObjects(place)),
            ("delete", DeleteObject(place, NAME)),
            ("check", place),
        ):
            error = await failure(serve, operation, asked)
            assert error.code == "peer_unreachable", operation
            assert place.url in str(error)
            assert "tried again" in error.hint

    run(tmp_path, test)


async def failure(serve, operation: str, asked: object) -> Dms3Error:
    with pytest.raises(Dms3Error) as failed:
        await serve(operation, asked)
    error = failed.value
    assert PASSWORD not in str(error)
    return error


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("401 Unauthorized", "unauthorized"),
        ("403 Forbidden", "unauthorized"),
        ("507 Insufficient Storage", "limit_reached"),
        ("413 Content Too Large", "limit_reached"),
        ("503 Service Unavailable", "peer_unreachable"),
    ],
)
def test_what_a_server_refuses(remote, tmp_path, status, code):
    kind, port, _ = remote
    if place_at(kind, port).kind == "ipfs" and code == "limit_reached":
        pytest.skip("an IPFS node says in words that its disk is full")

    async def test(serve):
        async with Wire(port).up() as wire:
            wire.mode = status
            place = place_at(kind, wire.port)
            assert (await failure(serve, "put", PutObject(place, NAME, NEW))).code == code
            wire.mode = "pass"
            await serve("put", PutObject(place, NAME, NEW))

    run(tmp_path, test)


def test_a_wrong_password_is_said_to_be_wrong(remote, tmp_path):
    kind, port, _ = remote
    if kind != "webdav":
        pytest.skip("this server takes everybody")
    good = place_at(kind, port)
    for secret in ({"username": "alice", "password": "wrong"}, {}):
        place = Place(good.kind, good.url, json.dumps(secret))

        async def test(serve, place=place):
            for operation, asked in (
                ("put", PutObject(place, NAME, NEW)),
                ("get", GetObject(place, NAME)),
                ("list", ListObjects(place)),
                ("delete", DeleteObject(place, NAME)),
            ):
                error = await failure(serve, operation, asked)
                assert error.code == "unauthorized", operation
                assert "--secret-file" in error.hint

        run(tmp_path, test)


def test_a_server_that_does_not_answer_is_not_waited_for(remote, tmp_path):
    kind, port, _ = remote

    async def test(serve):
        async with Wire(port).up() as wire:
            wire.mode = "hold"
            place = place_at(kind, wire.port)
            for operation, asked in (
                ("put", PutObject(place, NAME, NEW)),
                ("get", GetObject(place, NAME)),
            ):
                assert (await failure(serve, operation, asked)).code == "timed_out"

    run(tmp_path, test, seconds=0.3)


def test_a_write_that_is_cut_leaves_the_old_object_or_the_new_one(remote, tmp_path):
    kind, port, _ = remote
    direct = place_at(kind, port)

    async def test(serve):
        await serve("put", PutObject(direct, NAME, OLD))
        for after in (0, 200, 1_000, 60_000, 119_000):
            async with Wire(port).up() as wire:
                wire.mode, wire.after = "cut up", after
                place = place_at(kind, wire.port)
                with contextlib.suppress(Dms3Error):
                    await serve("put", PutObject(place, NAME, NEW))
                    assert await serve("get", GetObject(direct, NAME)) == NEW
                assert await serve("get", GetObject(direct, NAME)) in (OLD, NEW), after

    run(tmp_path, test)


def test_an_answer_that_is_cut_is_not_taken_for_the_object(remote, tmp_path):
    kind, port, _ = remote
    direct = place_at(kind, port)

    async def test(serve):
        await serve("put", PutObject(direct, NAME, OLD))
        for after in (0, 100, 60_000, 110_000):
            async with Wire(port).up() as wire:
                wire.mode, wire.after = "cut down", after
                place = place_at(kind, wire.port)
                found = b""
                with contextlib.suppress(Dms3Error):
                    found = await serve("get", GetObject(place, NAME))
                assert found in (b"", OLD), f"cut after {after}"  # or read on from there

    run(tmp_path, test, seconds=5)


def test_altered_bytes_come_back_altered_and_the_seal_says_so(stage, tmp_path):
    kind, port, folder = stage
    place = place_at(kind, port)
    if kind not in ("local", "webdav"):
        pytest.skip("the bytes of this server are not at hand")
    keys = StorageKeys(lambda generation: bytes([generation]) * 32)
    name = keys.name(0, "chunk", b"altered")
    sealed = keys.seal(0, name, b"what was said", bytes(12))

    async def test(serve):
        await serve("put", PutObject(place, name, sealed))
        top = tmp_path if kind == "local" else folder
        [path] = [path for path in top.rglob(name) if path.is_file()]
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(data)
        found = await serve("get", GetObject(place, name))
        assert found == bytes(data)
        with pytest.raises(DecodeError):
            keys.open(0, name, found)

    run(tmp_path, test)


def test_a_full_disk_is_a_full_place(tmp_path):
    async def test() -> None:
        places = Places(
            {"local": lambda _: LocalPlace(tmp_path / "c", reserve=1 << 60)}, SystemEntropy()
        )
        place = Place("local")
        error = await failure(places.serve, "put", PutObject(place, NAME, NEW))
        assert error.code == "limit_reached"
        assert await places.serve("get", GetObject(place, NAME)) is None
        assert await places.serve("list", ListObjects(place)) == ()

    asyncio.run(test())


# Kills


def campaign(kind: str, port: int, tmp_path: Path, seed: str, kills: int) -> None:
    job = Job(place_at(kind, port), tmp_path / "writer", seed)
    ledger = Ledger()

    async def test(serve):
        for acks in kills_of(seed, kills):
            await asyncio.to_thread(write_and_kill, job, ledger, acks)
            found = await look(serve, job, ledger, lambda: asyncio.sleep(0.05))
            assert found >= len(ledger.durable)
        listed = await serve("list", ListObjects(job.place))
        wanted = {name_of(seed, slot) for slot in ledger.durable}
        assert wanted <= set(listed), "what is durable is listed"

    run(tmp_path / "writer", test)
    print(f"{kind}: {kills} kills, {ledger.next - 1} writes begun, seed {seed!r}")


def test_a_killed_writer_loses_nothing_that_was_durable(stage, tmp_path):
    kind, port, _ = stage
    campaign(kind, port, tmp_path, f"{SEED} kill", KILLS)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_hundred_killed_writers_lose_nothing_that_was_durable(stage, tmp_path):
    kind, port, _ = stage
    campaign(kind, port, tmp_path, f"{SEED} hundred", KILLS_LONG)


@pytest.mark.parametrize("kind", ["webdav", "kubo"])
def test_a_killed_server_loses_nothing_that_was_durable(kind, tmp_path):
    killed_server(kind, tmp_path, KILLS)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kind", ["webdav", "kubo"])
def test_a_server_killed_a_hundred_times_loses_nothing_that_was_durable(kind, tmp_path):
    killed_server(kind, tmp_path, KILLS_LONG)


def killed_server(kind: str, tmp_path: Path, kills: int) -> None:
    """Kill the server in the middle of writes, start it again, and read."""
    need(kind)
    port = free_port()
    place = place_at(kind, port)
    durable: dict[int, int] = {}
    counted = [0]
    numbers = iter(range(1, 1 << 30))
    seed = f"{SEED} server"

    async def write(serve, slot: int, enough: int, process) -> None:
        with contextlib.suppress(Dms3Error):
            while True:
                number = next(numbers)
                await serve("put", PutObject(place, name_of(seed, slot), content(slot, number)))
                durable[slot] = number
                counted[0] += 1
                if counted[0] == enough:
                    process.kill()

    async def test(serve):
        for acks in kills_of(seed, kills):
            with server(kind, tmp_path, port) as (_, process):
                before = counted[0]
                enough = before + acks
                await asyncio.gather(*(write(serve, slot, enough, process) for slot in range(4)))
            with server(kind, tmp_path, port):
                for slot, number in durable.items():
                    data = await serve("get", GetObject(place, name_of(seed, slot)))
                    assert data is not None, f"slot {slot}: write {number} is lost"
                    assert number_of(slot, data) >= number

    run(tmp_path / "writer", test)


def test_a_page_of_names_has_a_bound(tmp_path):
    async def test() -> None:
        place = LocalPlace(tmp_path / "c", reserve=0)
        names = names_of(PLACE_LIST_NAMES_MAX + 1, "many")
        for name in names:
            folder = tmp_path / "c" / name[:2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        (folder / "stray").touch()
        first = await place.names("")
        assert list(first) == names[:-1]
        assert list(await place.names(first[-1])) == names[-1:]

    asyncio.run(test())
