"""What a delivery service holds of all people together has a bound."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import MAIL_TOTAL_BYTES, MAIL_TOTAL_BYTES_MAX
from dms3.core.units import MIB
from dms3.delivery.properties import Properties
from dms3.io.lockers import Bounds, Lockers
from dms3.io.lockers_dm3 import Cloud, Stored
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from unit.delivery_kit import ALICE, BOB, MALLORY, World, post_office, refused
from unit.fronts import in_loop

NAMES = ["0" * 63 + digit for digit in "0123456789"]
ROW = 200  # what each message and object counts beside its bytes


async def one_message(tmp_path) -> int:
    """How much one message counts."""
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        assert (await post.submit(post.envelope("one"))).text == "OK"
        totals = await post.service.totals()
        assert totals.held == totals.bytes + ROW
    (tmp_path / "store.db").unlink()
    return totals.held


async def put(post, person, session, name: str, data: bytes):
    path = f"/dm3/storage/objects/{person.name}/{name}"
    return await post.client.put(path, headers=session, content=data)


@in_loop
async def test_mail_and_lockers_share_what_is_for_all(tmp_path):
    size = await one_message(tmp_path)
    full = Properties(total_bytes=2 * size)
    async with post_office(tmp_path, properties=full) as post:
        for person in (BOB, MALLORY):
            await post.register(person)
        await post.submit(post.envelope("one"))
        session = await post.login(MALLORY)
        room = bytes(size - ROW)
        assert (await put(post, MALLORY, session, NAMES[0], room + b"x")).status_code == 429
        assert (await put(post, MALLORY, session, NAMES[0], room)).status_code == 204
        assert (await post.service.status())["held_bytes"] == full.total_bytes
        error = await refused(post, post.envelope("two"), "limit_reached", 429)
        assert "This service is full" in error["message"]
        assert (await put(post, MALLORY, session, NAMES[1], b"")).status_code == 429
        answer = await post.client.post(
            f"/dm3/storage/new/{MALLORY.name}/addConversation",
            headers=session,
            json={"encryptedContactName": "c"},
        )
        assert answer.status_code == 429
        assert (await post.service.totals()).held == full.total_bytes  # nothing of it was kept

        assert (await put(post, MALLORY, session, NAMES[0], b"less")).status_code == 204
        path = f"/dm3/storage/objects/{MALLORY.name}/{NAMES[0]}"
        assert (await post.client.delete(path, headers=session)).status_code == 204
        assert (await post.submit(post.envelope("two"))).text == "OK"  # there is room again


@in_loop
async def test_what_goes_makes_room(tmp_path):
    size = await one_message(tmp_path)
    async with post_office(tmp_path, properties=Properties(total_bytes=size)) as post:
        await post.register(BOB)
        first = post.envelope("one")
        await post.submit(first)
        await refused(post, post.envelope("two"), "limit_reached", 429)
        session = await post.login(BOB)
        await post.acknowledge(BOB, session, ("alice.eth", first.message_hash))
        assert (await post.service.totals()).held == 0
        assert (await post.submit(post.envelope("two"))).text == "OK"


@in_loop
async def test_mail_for_the_person_of_the_node_is_taken_when_it_is_full(tmp_path):
    world = World()
    world.own = "own.dms3"
    world.know(ALICE, world.own)  # the same account as alice.eth
    async with post_office(tmp_path, world, Properties(total_bytes=1)) as post:
        for person in (ALICE, BOB):
            await post.register(person)
        await refused(post, post.envelope(by=MALLORY), "limit_reached", 429)
        own = post.envelope(by=MALLORY, to=ALICE)
        assert (await post.submit(own)).text == "OK"
        world.own = "nobody.dms3"  # nobody can say whose node it is
        await refused(post, post.envelope("two", by=MALLORY, to=ALICE), "limit_reached", 429)


def test_empty_objects_and_conversations_do_not_come_for_nothing(tmp_path) -> None:
    store = Store.open(tmp_path / "store.db", bytes(32), MIGRATIONS, reserve=0)
    try:
        bounds = Bounds(total=3 * ROW)
        lockers, cloud = Lockers(store, bounds), Cloud(store, bounds)
        for name in NAMES[:3]:
            lockers.put(name, name, b"").result()  # each of another account
        for work in (lockers.put("a", NAMES[3], b""), cloud.add("a", "c", [Stored("k", 1, "")], 1)):
            with pytest.raises(Dms3Error, match="This service is full"):
                work.result()
        lockers.put(NAMES[0], NAMES[0], b"").result()  # the same once more takes no room
        lockers.delete(NAMES[0], NAMES[0]).result()
        lockers.put("a", NAMES[3], b"").result()
    finally:
        store.close()


def test_a_service_that_was_there_before_counts_what_it_has(tmp_path) -> None:
    path = tmp_path / "store.db"
    store = Store.open(path, bytes(32), MIGRATIONS[:6], reserve=0)
    try:

        def fill(connection):
            connection.execute("INSERT INTO locker VALUES (1, 'a', 2, 30)")
            connection.execute("INSERT INTO mail_account VALUES (1, 'a', '', '', '', 0, 3, 4000)")

        store.transact(fill).result()
    finally:
        store.close()
    store = Store.open(path, bytes(32), MIGRATIONS, reserve=0)
    try:
        with store.read() as connection:
            assert connection.execute("SELECT bytes FROM delivery_held").fetchall() == [
                (30 + 4_000 + 5 * ROW,)
            ]
    finally:
        store.close()


def test_the_bound_that_nobody_set() -> None:
    assert Properties().total_bytes == MAIL_TOTAL_BYTES == 10_240 * MIB
    assert MAIL_TOTAL_BYTES < MAIL_TOTAL_BYTES_MAX
