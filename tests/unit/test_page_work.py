"""What the page adds to the API: uploads with their folders, what runs, told as it happens."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from dms3.api.running import Running
from dms3.api.serve import serve
from dms3.core.errors import Dms3Error
from dms3.core.limits import BLOB_PATH_CHARS_MAX, PATH_PARTS_MAX
from dms3.node.importing import Upload
from dms3.node.table import Progress, Result
from unit.fronts import AUTH, TABLE, UPLOAD, asked, in_loop, make
from unit.test_library import add, opened, search

COUNT = TABLE.find("work", "count")


@in_loop
async def test_an_upload_brings_its_folders():
    async with asked() as (_, client):
        path = "letters/2026/Brief <1>.txt"
        sent = await client.put("/api/v1/blob", params={"path": path}, content=b"abc")
        assert sent.json()["data"] == {"id": f"{UPLOAD}/{path}", "bytes": 3}
        given = await client.post("/api/v1/echo/files", json={"paths": [f"{UPLOAD}/{path}"]})
        assert given.json()["data"]["blobs"] == [UPLOAD]
        just_right = "a/" * ((BLOB_PATH_CHARS_MAX - 1) // 2) + "b"
        assert len(just_right) <= BLOB_PATH_CHARS_MAX
        long = await client.put("/api/v1/blob", params={"path": just_right}, content=b"")
        assert long.status_code == 201
        for wrong in (
            *("", "/", "/etc/passwd", "a//b", "../a", "a/..", "a/./b", "a\\b/c", "a/\x00", "a/\n"),
            *("a/" + "n" * 256, "a/" * (BLOB_PATH_CHARS_MAX // 2) + "b"),
        ):
            refused = await client.put("/api/v1/blob", params={"path": wrong}, content=b"")
            assert refused.json().get("code") == "argument_invalid", wrong


@in_loop
async def test_an_upload_can_be_discarded(monkeypatch):
    async with asked() as (fixture, client):
        gone = []

        async def discard(upload):
            gone.append(upload)

        monkeypatch.setattr(fixture.node, "discard", discard, raising=False)
        assert (await client.delete(f"/api/v1/blob/{UPLOAD}")).json()["data"] == {"id": UPLOAD}
        assert gone == [UPLOAD]
        for wrong in ("x", UPLOAD.upper(), UPLOAD[1:]):
            refused = await client.delete(f"/api/v1/blob/{wrong}")
            assert refused.json()["code"] == "argument_invalid", wrong
        assert gone == [UPLOAD]


def test_uploads_keep_their_folders(tmp_path: Path):
    def upload(path: str, text: bytes) -> Upload:
        *folders, name = path.split("/")
        return Upload(name, len(text), lambda: iter((text,)), tuple(folders))

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            files = [upload("trip/day1/a.txt", b"heron one"), upload("trip/b.txt", b"heron two")]
            done = await add(library, *files)
            assert (done.documents, done.skipped_count) == (2, 0)
            assert done.root is not None
            names = [link.name for link in await library.folder(done.root)]
            assert sorted(names) == ["b.txt", "day1"], "the folder that was dropped is the root"
            found = {hit.source.partition("/")[2] for hit in (await search(library, "heron")).hits}
            assert found == {"trip/day1/a.txt", "trip/b.txt"}
            again = await add(library, *files)
            assert (again.documents, again.unchanged) == (0, 2)
            later = await add(library, upload("trip/c.txt", b"heron three"))
            assert later.documents == 1
            assert await library.folder(done.root), "a later part takes the place of no earlier one"
            same_name = await add(library, upload("trip/b.txt", b"another heron"))
            assert same_name.documents == 1
            assert (await search(library, "heron")).total == 4, "nothing was overwritten"

    asyncio.run(scenario())


@pytest.mark.parametrize("paths", [("x", "x/y"), ("x/y", "x")])
def test_a_file_with_the_name_of_a_folder_is_named_and_the_rest_imported(tmp_path: Path, paths):
    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            uploads = []
            for path in (*paths, "z"):
                *folders, name = path.split("/")
                uploads.append(Upload(name, 5, lambda: iter((b"egret",)), tuple(folders)))
            done = await add(library, *uploads)
            assert done.documents == 2
            [skip] = done.skipped
            assert skip.reason == "a file and a folder have this name"

    asyncio.run(scenario())


@pytest.mark.parametrize("folders", [("..",), ("",), ("a/b",), ("n" * 256,), ("a",) * 65])
def test_folders_that_cannot_be_are_refused(tmp_path: Path, folders):
    assert PATH_PARTS_MAX == 64

    async def scenario() -> None:
        async with opened(tmp_path / "home") as library:
            with pytest.raises(Dms3Error, match="cannot be stored"):
                await add(library, Upload("x", 1, lambda: iter((b"x",)), folders))

    asyncio.run(scenario())


async def steps(go: asyncio.Event):
    yield Progress(1, 3, "files")
    await go.wait()
    yield Progress(2, 3, "files", "Almost")
    yield Result({})


@in_loop
async def test_what_runs_is_known_until_it_ends_or_is_left():
    running = Running()
    go = asyncio.Event()
    assert running.shown() == {"running": []}
    tracked = running.track(COUNT, {"space": "letters", "to": 3}, steps(go))
    assert await anext(tracked) == Progress(1, 3, "files")
    [work] = running.shown()["running"]
    assert work.pop("seconds") >= 0
    assert work == {
        "number": 1,
        "command": "work count",
        "space": "letters",
        "done": 1,
        "total": 3,
        "unit": "files",
        "text": "",
    }
    go.set()
    await anext(tracked)
    assert running.shown()["running"][0]["text"] == "Almost"
    assert [step async for step in tracked] == [Result({})]
    assert running.shown() == {"running": []}
    left = running.track(COUNT, {}, steps(asyncio.Event()))
    await anext(left)
    await left.aclose()
    assert running.shown() == {"running": []}


@in_loop
async def test_changes_come_together():
    running = Running()
    go = asyncio.Event()
    changes = running.changes()
    assert await anext(changes) == {"running": []}
    tracked = running.track(COUNT, {}, steps(go))
    await anext(tracked)
    go.set()
    await anext(tracked)
    seen = await anext(changes)
    assert [work["done"] for work in seen["running"]] == [2], "two changes are one notice"
    await tracked.aclose()
    assert await anext(changes) == {"running": []}
    await changes.aclose()
    assert running._watchers == set()


@in_loop
async def test_the_event_stream_tells_what_runs_between_the_events():
    fixture = make()
    async with (
        serve(fixture.front.app, "127.0.0.1", 0) as listening,
        httpx.AsyncClient(base_url=listening.url, headers=AUTH, timeout=10) as client,
        client.stream("GET", "/api/v1/events?topics=peer,running") as stream,
    ):
        lines = stream.aiter_lines()

        async def told(wanted: str) -> dict:
            async for line in lines:
                if line == f"event: {wanted}":
                    return json.loads((await anext(lines)).removeprefix("data: "))
            raise AssertionError("the stream ended")

        assert await told("running") == {"running": []}
        async with client.stream(
            "POST",
            "/api/v1/work/wait",
            json={"streaming": True},
            headers={"Accept": "application/x-ndjson"},
        ) as work:
            steps_of_work = work.aiter_lines()  # kept: without it the answer would be closed
            assert '"progress"' in await anext(steps_of_work)
            [one] = (await told("running"))["running"]
            assert one["command"] == "work wait"
            shown = (await client.get("/api/v1/running")).json()["data"]
            assert [other["command"] for other in shown["running"]] == ["work wait"]
            fixture.node.happen("peer.up", name="bob")
            assert (await told("message"))["topic"] == "peer.up"
        while (await told("running"))["running"]:
            pass  # the command is cancelled when its client goes away
    assert fixture.reported == []
