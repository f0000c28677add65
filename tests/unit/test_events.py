"""The event stream: ids without a gap, gaps that are told, queries that are refused."""

import json
from contextlib import aclosing

import pytest
import websockets

from dms3.api.events import EventsQuery, follow, parse_events_query, sse_text
from dms3.api.serve import serve
from dms3.core.database import StoredEvent
from dms3.core.errors import Dms3Error
from dms3.core.limits import EVENTS_PAGE_MAX, EVENTS_QUERY_CHARS_MAX, EVENTS_TOPICS_MAX
from dms3.sdk import Client
from dms3.sdk.wire import EventLines
from unit.fronts import AUTH, TOKEN, FakeNode, asked, in_loop, make


async def take(events, count: int) -> list[dict]:
    found = []
    while len(found) < count:
        event = await anext(events)
        if event is not None:
            found.append(event)
    return found


def ids(events: list[dict]) -> list[int]:
    return [event["id"] for event in events]


@in_loop
async def test_stored_events_first_then_live_ones():
    node = FakeNode()
    for _ in range(3):
        node.happen("store.added", n=1)
    async with aclosing(follow(node, EventsQuery(since=1))) as events:
        assert await anext(events) is None, "from here on nothing is missed"
        node.happen("peer.up")
        assert ids(await take(events, 3)) == [2, 3, 4]
        node.happen("peer.down", why="gone")
        [last] = await take(events, 1)
        assert last == {
            "id": 5,
            "time": "2023-11-14T22:13:20.000Z",
            "topic": "peer.down",
            "data": {"why": "gone"},
        }
    assert node.readers == [], "a reader that left is forgotten"


@in_loop
async def test_without_since_only_what_happens_from_now_on():
    node = FakeNode()
    node.happen("old")
    async with aclosing(follow(node, EventsQuery())) as events:
        await anext(events)
        node.happen("new")
        assert [event["topic"] for event in await take(events, 1)] == ["new"]


@pytest.mark.parametrize("count", [EVENTS_PAGE_MAX - 1, EVENTS_PAGE_MAX, 2 * EVENTS_PAGE_MAX + 1])
@in_loop
async def test_any_number_of_stored_events_is_read_in_pages(count):
    node = FakeNode()
    for _ in range(count):
        node.happen("x")
    async with aclosing(follow(node, EventsQuery(since=0))) as events:
        assert ids(await take(events, count)) == list(range(1, count + 1))
        node.happen("x")
        assert ids(await take(events, 1)) == [count + 1]


@in_loop
async def test_events_no_longer_stored_are_announced_as_a_gap():
    node = FakeNode()
    for _ in range(5):
        node.happen("x")
    node.stored = node.stored[3:]  # the oldest were trimmed
    async with aclosing(follow(node, EventsQuery(since=1, topics=("y",)))) as events:
        [gap] = await take(events, 1)
        assert (gap["topic"], gap["data"], gap["id"]) == ("gap", {"first": 2, "last": 3}, 3)


@in_loop
async def test_a_reader_that_was_too_slow_is_served_from_the_store():
    node = FakeNode()
    async with aclosing(follow(node, EventsQuery(since=0))) as events:
        await anext(events)
        node.happen("x")
        await take(events, 1)
        reader, node.readers = node.readers[0], []
        for _ in range(4):
            node.happen("x")
        node.readers = [reader]
        node.happen("x")  # the reader sees only this one, and the notice that it missed others
        node.lose(2, 5)
        assert ids(await take(events, 5)) == [2, 3, 4, 5, 6]


@in_loop
async def test_what_the_store_lost_too_is_a_gap():
    node = FakeNode()
    async with aclosing(follow(node, EventsQuery())) as events:
        await anext(events)
        node.stored = [StoredEvent(9, "x", {}, 0)]
        for reader in node.readers:
            reader.put(StoredEvent(9, "x", {}, 0))
        node.lose(5, 8)
        gap, after = await take(events, 2)
        assert (gap["topic"], gap["data"]) == ("gap", {"first": 5, "last": 8})
        assert after["id"] == 9


@in_loop
async def test_silence_is_told_and_costs_no_event():
    node = FakeNode()
    async with aclosing(follow(node, EventsQuery(), quiet_s=0.01)) as events:
        assert [await anext(events) for _ in range(3)] == [None] * 3
        node.happen("x")
        assert len(await take(events, 1)) == 1


@in_loop
async def test_a_node_that_stops_ends_the_stream():
    node = FakeNode()
    async with aclosing(follow(node, EventsQuery())) as events:
        await anext(events)
        node.readers[0].close()
        with pytest.raises(StopAsyncIteration):
            await anext(events)


@pytest.mark.parametrize(
    ("text", "last", "query"),
    [
        ("", "", EventsQuery()),
        ("since=0", "", EventsQuery(0)),
        ("since=7&topics=a,b,,", "", EventsQuery(7, ("a", "b"))),
        ("since=7", "9", EventsQuery(9)),
        ("since=9", "7", EventsQuery(9)),
        ("", "7", EventsQuery(7)),
        ("topics=", "", EventsQuery()),
    ],
)
def test_queries(text, last, query):
    assert parse_events_query(text, last) == query


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("since=", ""),
        ("since=-1", ""),
        ("since=1.5", ""),
        ("since=" + "9" * 19, ""),
        ("since=\u0661", ""),
        ("form=1", ""),
        ("", "x"),
        ("topics=" + ",".join("t" * (EVENTS_TOPICS_MAX + 1)), ""),
        ("topics=" + "t" * EVENTS_QUERY_CHARS_MAX, ""),
    ],
)
def test_wrong_queries_are_refused(text, last):
    with pytest.raises(Dms3Error) as caught:
        parse_events_query(text, last)
    assert caught.value.code == "argument_invalid"


def test_topics_match_whole_words():
    query = EventsQuery(topics=("store",))
    assert query.wants("store")
    assert query.wants("store.added")
    assert not query.wants("storage")
    assert EventsQuery().wants("anything")
    assert parse_events_query("topics=" + ",".join("t" * EVENTS_TOPICS_MAX)).topics


def test_the_text_format_is_read_back():
    event = {"id": 3, "time": "t", "topic": "x", "data": {"text": "line\nline"}}
    text = sse_text(None) + sse_text(event)
    parser = EventLines()
    found = [e for line in text.decode().split("\n") for e in parser.feed(line)]
    assert found == [event]


@in_loop
async def test_wrong_queries_are_problems_over_http():
    async with asked() as (_, client):
        response = await client.get("/api/v1/events", params={"since": "x"})
        assert response.status_code == 400
        assert response.json()["code"] == "argument_invalid"


def client_of(listening, tmp_path) -> Client:
    (tmp_path / "api.token").write_text(TOKEN)
    return Client(home=tmp_path, api=listening.url)


@in_loop
async def test_the_stream_over_a_real_connection(tmp_path):
    fixture = make()
    for _ in range(3):
        fixture.node.happen("store.added")
    fixture.node.happen("peer.up")
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        async with (
            client_of(listening, tmp_path) as client,
            aclosing(client.events(since=1, topics=("store",))) as events,
        ):
            assert ids([await anext(events), await anext(events)]) == [2, 3]
            fixture.node.happen("peer.down")
            fixture.node.happen("store.added")
            assert (await anext(events))["id"] == 6
        await fixture.node.left.wait()
    assert fixture.reported == []


@in_loop
async def test_a_client_is_told_when_the_stream_ends(tmp_path):
    fixture = make()
    fixture.node.happen("x")
    async with (
        serve(fixture.front.app, "127.0.0.1", 0) as listening,
        client_of(listening, tmp_path) as client,
    ):
        events = client.events(since=0)
        await anext(events)
        fixture.node.readers[0].close()
        with pytest.raises(Dms3Error) as caught:
            await anext(events)
        assert caught.value.code == "node_unreachable"


@in_loop
async def test_events_over_a_websocket():
    fixture = make()
    fixture.node.happen("x")
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        url = f"ws://127.0.0.1:{listening.port}/api/v1/events"
        async with websockets.connect(url + "?since=0", additional_headers=AUTH) as socket:
            assert json.loads(await socket.recv())["id"] == 1
            fixture.node.happen("y")
            assert json.loads(await socket.recv())["topic"] == "y"
        async with websockets.connect(url + "?since=x", additional_headers=AUTH) as socket:
            assert json.loads(await socket.recv())["error"]["code"] == "argument_invalid"
        for headers in ({}, AUTH | {"Origin": "http://evil.example"}, AUTH | {"Host": "evil"}):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with websockets.connect(url, additional_headers=headers):
                    pytest.fail("a stranger was let in")
            assert caught.value.response.status_code == 403
    assert fixture.reported == []
