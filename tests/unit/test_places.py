"""Port "place" over back-ends of a test: whose turn it is, what is told, what stays secret."""

import asyncio
import json

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PLACE_CALLS_MAX,
    PLACE_OBJECT_BYTES_MAX,
    PLACE_SECRET_BYTES_MAX,
    PLACE_URL_CHARS_MAX,
    PLACE_WAITING_MAX,
    PLACES_OPEN_MAX,
)
from dms3.io.clock import SystemEntropy
from dms3.io.place_ipfs import open_ipfs
from dms3.io.place_opendal import DRIVES, open_opendal
from dms3.io.place_service import open_service
from dms3.io.places import Places, place_name
from dms3.storage.operations import (
    DeleteObject,
    GetObject,
    ListObjects,
    Place,
    PutObject,
)
from unit.fronts import in_loop

NAME = "ab" * 32
PLACE = Place("webdav", "https://cloud.example/dms3", '{"password": "hidden"}')


class Shelf:
    """A back-end in memory; `gate`: closed, every put waits."""

    def __init__(self) -> None:
        self.objects = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = self.most = 0
        self.failing = None
        self.closed = False

    async def put(self, name, data):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        if self.failing:
            raise self.failing
        self.objects[name] = data

    async def get(self, name):
        return self.objects.get(name)

    async def names(self, after):
        return tuple(name for name in sorted(self.objects) if name > after)

    async def delete(self, name):
        self.objects.pop(name, None)

    async def close(self):
        self.closed = True


def places_on(*shelves: Shelf, seconds=5.0):
    left = list(shelves)
    return Places({"webdav": lambda _: left.pop(0)}, SystemEntropy(), seconds=seconds)


async def refused(work) -> Dms3Error:
    with pytest.raises(Dms3Error) as failed:
        await work
    assert "hidden" not in str(failed.value)
    return failed.value


@in_loop
async def test_operations_reach_the_place_and_a_check_leaves_nothing():
    shelf = Shelf()
    places = places_on(shelf)
    await places.serve("put", PutObject(PLACE, NAME, b"data"))
    assert await places.serve("get", GetObject(PLACE, NAME)) == b"data"
    assert await places.serve("list", ListObjects(PLACE)) == (NAME,)
    await places.serve("check", PLACE)
    assert shelf.objects == {NAME: b"data"}
    await places.serve("delete", DeleteObject(PLACE, NAME))
    assert await places.serve("get", GetObject(PLACE, NAME)) is None
    assert (await refused(places.serve("move", PLACE))).code == "method_unknown"
    await places.close()
    assert shelf.closed


@in_loop
async def test_a_check_notices_a_place_that_keeps_something_else():
    shelf = Shelf()
    places = places_on(shelf)

    async def get(_):
        return b"something else"

    shelf.get = get
    error = await refused(places.serve("check", PLACE))
    assert error.code == "peer_unreachable"
    assert shelf.objects == {}


@in_loop
async def test_what_is_asked_has_bounds():
    shelf = Shelf()
    places = places_on(shelf)
    largest = bytes(PLACE_OBJECT_BYTES_MAX)
    await places.serve("put", PutObject(PLACE, NAME, largest))
    too_large = await refused(places.serve("put", PutObject(PLACE, NAME, largest + b"x")))
    assert too_large.code == "argument_invalid"
    for name in ("", NAME.upper(), NAME + "0", "../" + NAME[3:], NAME[:-1] + "\n"):
        error = await refused(places.serve("get", GetObject(PLACE, name)))
        assert error.code == "argument_invalid", name
    shelf.objects[NAME] = largest + b"x"
    longer = await refused(places.serve("get", GetObject(PLACE, NAME)))
    assert longer.code == "peer_unreachable"


@pytest.mark.parametrize(
    "place",
    [
        Place("ftp", "ftp://cloud.example"),
        Place("webdav", "https://alice:hidden@cloud.example/"),
        Place("webdav", "https://cloud.example/?password=hidden"),
        Place("webdav", "https://cloud.example/#hidden"),
        Place("webdav", "https://[cloud"),
        Place("webdav", "https://cloud.example/" + "x" * PLACE_URL_CHARS_MAX),
        Place("webdav", "https://cloud.example/\n"),
        Place("webdav", "https://cloud.example/", "x" * (PLACE_SECRET_BYTES_MAX + 1)),
    ],
)
@in_loop
async def test_places_that_are_none_and_secrets_where_none_belong(place):
    error = await refused(places_on(Shelf()).serve("check", place))
    assert error.code == "argument_invalid"


@in_loop
async def test_a_failure_names_the_place_and_the_next_step():
    shelf = Shelf()
    places = places_on(shelf)
    for code in ("peer_unreachable", "limit_reached", "unauthorized", "argument_invalid"):
        shelf.failing = Dms3Error(code, "so it is")
        error = await refused(places.serve("put", PutObject(PLACE, NAME, b"")))
        assert error.code == code
        assert error.message == "The webdav place https://cloud.example/dms3: so it is."
        assert error.hint
    shelf.failing = Dms3Error("unauthorized", "so it is", hint="Do this.")
    assert (await refused(places.serve("put", PutObject(PLACE, NAME, b"")))).hint == "Do this."


@in_loop
async def test_a_place_has_so_many_at_once_and_so_many_waiting():
    shelf = Shelf()
    shelf.gate.clear()
    places = places_on(shelf)
    async with asyncio.TaskGroup() as group:
        work = [
            group.create_task(places.serve("put", PutObject(PLACE, f"{number:064x}", b"")))
            for number in range(PLACE_WAITING_MAX)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert shelf.now == PLACE_CALLS_MAX
        error = await refused(places.serve("get", GetObject(PLACE, NAME)))
        assert error.code == "limit_reached"
        shelf.gate.set()
    assert all(task.done() for task in work)
    assert shelf.most == PLACE_CALLS_MAX
    assert len(shelf.objects) == PLACE_WAITING_MAX


@in_loop
async def test_nobody_waits_for_ever_and_the_next_one_gets_the_turn():
    shelf = Shelf()
    shelf.gate.clear()
    places = places_on(shelf, seconds=0.01)
    error = await refused(places.serve("put", PutObject(PLACE, NAME, b"")))
    assert error.code == "timed_out"
    assert "0.01 s" in error.message
    shelf.gate.set()
    await places.serve("put", PutObject(PLACE, NAME, b""))
    assert shelf.now == 0


@in_loop
async def test_places_nobody_uses_are_let_go_and_used_ones_stay():
    shelves = [Shelf() for _ in range(PLACES_OPEN_MAX + 2)]
    places = places_on(*shelves)
    shelves[0].gate.clear()
    asked = [Place("webdav", f"https://{number}.example/") for number in range(len(shelves))]
    async with asyncio.TaskGroup() as group:
        group.create_task(places.serve("put", PutObject(asked[0], NAME, b"")))
        await asyncio.sleep(0)
        for place in asked[1:]:
            await places.serve("put", PutObject(place, NAME, b""))
        assert [shelf.closed for shelf in shelves[:3]] == [False, True, True]
        shelves[0].gate.set()
    await places.close()
    assert all(shelf.closed for shelf in shelves)


def test_what_a_place_is_called_has_no_secret():
    assert place_name(Place("local")) == "The conversations in this home"
    assert place_name(Place("overlay", "", "ab" * 32)) == "The public overlay"
    assert "hidden" not in place_name(Place("s3", "https://alice:hidden@cloud.example"))
    assert "hidden" not in repr(PLACE)
    assert place_name(Place("webdav", "https://a.example/dav/a@b/c")).endswith("/dav/a@b/c")


# Openers


def opendal(kind, url, secret="{}"):
    return open_opendal(Place(kind, url, secret), "ab" * 8, lambda: 0)


async def _nobody():
    raise AssertionError("nobody is asked")


@pytest.mark.parametrize(
    "make",
    [
        lambda: opendal("s3", "https://s3.example/"),
        lambda: opendal("s3", "s3://bucket"),
        lambda: opendal("webdav", "cloud.example"),
        lambda: opendal("webdav", "https://cloud.example", "[]"),
        lambda: opendal("webdav", "https://cloud.example", '{"password": 5}'),
        lambda: opendal("webdav", "https://cloud.example", "hidden"),
        lambda: opendal("opendal", "fs:///etc"),
        lambda: opendal("opendal", "memory:///"),
        lambda: open_ipfs(Place("ipfs", "http://127.0.0.1:5001"), "ab" * 8),
        lambda: open_ipfs(Place("ipfs", "http://127.0.0.1:5001/a/b"), "ab" * 8),
        lambda: open_ipfs(Place("ipfs", "http://127.0.0.1:5001/.."), "ab" * 8),
        lambda: open_ipfs(Place("ipfs", "ipfs://cid/folder"), "ab" * 8),
        lambda: open_ipfs(Place("ipfs", "http://a:1/f", '{"authorization": 1}'), "ab" * 8),
        lambda: open_ipfs(Place("ipfs", "http://a:1/f", '{"authorization": "a\\nb"}'), "ab" * 8),
        lambda: open_service(Place("service", "dms3://peer"), _nobody),
        lambda: open_service(Place("service", "https://a/dm3", '{"name": "a"}'), _nobody),
        lambda: open_service(
            Place("service", "https://a/dm3", '{"name": "a", "seed": "hidden"}'), _nobody
        ),
    ],
)
@in_loop
async def test_addresses_and_secrets_that_open_nothing(make):
    with pytest.raises(Dms3Error) as failed:
        make()
    assert failed.value.code == "argument_invalid"
    assert "hidden" not in str(failed.value)


@in_loop
async def test_drives_are_opened_without_a_word_to_them():
    for drive in DRIVES:
        secret = json.dumps({"access_token": "hidden"})
        assert "hidden" not in repr(opendal("opendal", f"{drive}:///folder", secret))


@in_loop
async def test_the_environment_of_other_programs_is_not_read(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    place = Place("s3", "http://127.0.0.1:9/bucket", "{}")
    places = Places(
        {"s3": lambda place: open_opendal(place, "ab" * 8, lambda: 0)}, SystemEntropy(), seconds=5
    )
    error = await refused(places.serve("get", GetObject(place, NAME)))
    assert error.code == "unauthorized", "it has no credentials, and says so before it asks"
