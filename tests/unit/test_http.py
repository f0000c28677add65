"""The HTTP front: commands, streams, errors, files, probes, the page, the OpenAPI document."""

import asyncio
import json

import httpx
import pytest

from dms3.api.blobs import parse_range
from dms3.api.reference import openapi
from dms3.api.serve import serve
from dms3.core.errors import Dms3Error
from dms3.core.limits import API_HEADER_BYTES_MAX, API_STOP_SECONDS_MAX
from dms3.sdk import Client, SyncClient
from dms3.web.home import health_sentence
from dms3.web.templating import marked
from unit.fronts import (
    AUTH,
    BROKEN_CID,
    FILE,
    FILE_CID,
    LOST_CID,
    TABLE,
    TOKEN,
    UPLOAD,
    asked,
    in_loop,
    make,
)

ECHO = "/api/v1/echo/all"
NDJSON = {"Accept": "application/x-ndjson"}


def lines(response: httpx.Response) -> list[dict]:
    return [json.loads(line) for line in response.text.splitlines()]


@in_loop
async def test_a_command_answers_in_the_envelope():
    async with asked() as (_, client):
        response = await client.post(ECHO, json={"words": ["grüße"], "with": "bob"})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        document = response.json()
        assert document["v"] == 1
        assert set(document) == {"v", "data"}
        assert document["data"]["words"] == ["grüße"]
        assert document["data"]["with"] == "bob"
        assert (await client.post("/api/v1/status")).json()["data"]["ready"] is True


@pytest.mark.parametrize(
    ("body", "kind", "code", "hint"),
    [
        (b'{"wrods": ["a"]}', "application/json", "argument_invalid", "Did you mean words?"),
        (b"{", "application/json", "body_malformed", ""),
        (b"[1]", "application/json", "body_malformed", ""),
        (b'{"words": ["a"], "words": ["b"]}', "application/json", "body_malformed", ""),
        (b'{"words": ["a"], "count": NaN}', "application/json", "body_malformed", ""),
        (b"\xff\xfe", "application/json", "body_malformed", ""),
        (b"[" * 100_000, "application/json", "body_malformed", ""),
        (b'{"words": ["a"]}', "text/plain", "body_malformed", "JSON object"),
        (b"words=a", "application/x-www-form-urlencoded", "body_malformed", "JSON object"),
        (b'{"words": ["\\ud800"]}', "application/json", "argument_invalid", ""),
        (b'{"words": ["a"], "count": 1e400}', "application/json", "argument_invalid", ""),
    ],
)
@in_loop
async def test_malformed_bodies_are_problems(body, kind, code, hint):
    async with asked() as (fixture, client):
        response = await client.post(ECHO, content=body, headers={"Content-Type": kind})
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/problem+json"
        document = response.json()
        assert document["code"] == code
        assert document["detail"]
        assert hint in document["hint"]
        assert document["status"] == 400
        assert fixture.reported == []


@pytest.mark.parametrize(
    ("code", "status"), [("timed_out", 504), ("not_found", 404), ("grant_missing", 403)]
)
@in_loop
async def test_errors_have_the_status_of_their_code(code, status):
    async with asked() as (_, client):
        response = await client.post("/api/v1/work/fail", json={"code": code})
        assert response.status_code == status
        assert response.json()["code"] == code
        assert response.json()["hint"] == "Do not."


@in_loop
async def test_a_bug_is_reported_and_tells_nothing():
    async with asked() as (fixture, client):
        response = await client.post("/api/v1/work/fail", json={"code": "bug"})
        assert response.status_code == 500
        assert response.json()["code"] == "internal"
        assert "ZeroDivision" not in response.text
        [(path, error)] = fixture.reported
        assert path == "/api/v1/work/fail"
        assert isinstance(error, ZeroDivisionError)


@in_loop
async def test_steps_stream_as_lines():
    async with asked() as (_, client):
        response = await client.post("/api/v1/work/count", json={"to": 2}, headers=NDJSON)
        assert response.headers["content-type"].startswith("application/x-ndjson")
        assert lines(response) == [
            {"progress": {"done": 1, "total": 2, "unit": "steps", "text": "Counting"}},
            {"item": {"number": 0}},
            {"progress": {"done": 2, "total": 2, "unit": "steps", "text": "Counting"}},
            {"item": {"number": 1}},
            {"data": {"counted": 2}},
        ]
        whole = await client.post("/api/v1/work/count", json={"to": 2})
        assert whole.json()["data"] == {"counted": 2, "items": [{"number": 0}, {"number": 1}]}


@in_loop
async def test_an_error_in_mid_stream_is_the_last_line():
    async with asked() as (fixture, client):
        response = await client.post(
            "/api/v1/work/count", json={"to": 1, "fail": "timed_out"}, headers=NDJSON
        )
        assert response.status_code == 200
        last = lines(response)[-1]
        assert last == {"error": {"code": "timed_out", "message": "It failed.", "hint": "Do not."}}
        bug = await client.post("/api/v1/work/count", json={"to": 1, "fail": "bug"}, headers=NDJSON)
        assert lines(bug)[-1]["error"]["code"] == "internal"
        assert isinstance(fixture.reported[0][1], ZeroDivisionError)
        early = await client.post(
            "/api/v1/work/count", json={"to": 0, "fail": "timed_out"}, headers=NDJSON
        )
        assert early.status_code == 504, "an error before the first step is a problem"


@pytest.mark.parametrize("path", ["/api/v1/ech/all", "/api/v1", "/nothing", "/api/v1/echo/all/"])
@in_loop
async def test_an_unknown_route_names_the_nearest(path):
    async with asked() as (_, client):
        response = await client.post(path)
        assert response.status_code == 404
        assert response.json()["code"] == "method_unknown"
    if path.endswith("ech/all"):
        assert ECHO in response.json()["hint"]


@in_loop
async def test_the_wrong_method_says_which_is_right():
    async with asked() as (_, client):
        response = await client.get(ECHO)
        assert response.status_code == 405
        assert response.json()["hint"] == "Use POST."


@in_loop
async def test_upload_and_its_name():
    async with asked() as (fixture, client):
        response = await client.put("/api/v1/blob", params={"name": "Brief 1.txt"}, content=b"abc")
        assert response.status_code == 201
        assert response.json()["data"] == {"id": f"{UPLOAD}/Brief 1.txt", "bytes": 3}
        assert fixture.node.uploads == [b"abc"]
        assert (await client.put("/api/v1/blob")).json()["data"]["id"] == UPLOAD
        given = {"paths": [response.json()["data"]["id"]]}
        named = await client.post("/api/v1/echo/files", json=given)
        assert named.json()["data"]["blobs"] == [UPLOAD]
        for wrong in ("a/b", "..\\x", "a\0", "n" * 256):
            refused = await client.put("/api/v1/blob", params={"name": wrong}, content=b"")
            assert refused.status_code == 400, wrong
        dots = await client.put("/api/v1/blob", params={"name": ".."}, content=b"")
        assert dots.json()["data"]["id"] == UPLOAD


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-500", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes=0-\u0661", None),
        ("bytes=" + "9" * 25 + "-", None),
    ],
)
def test_ranges(header, part):
    assert parse_range(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_of_the_file_is_refused(header):
    with pytest.raises(Dms3Error) as caught:
        parse_range(header, 100)
    assert caught.value.http_status == 416


def test_an_empty_file_has_no_range():
    assert parse_range("", 0) is None
    with pytest.raises(Dms3Error):
        parse_range("bytes=0-", 0)


@in_loop
async def test_files_with_ranges():
    async with asked() as (_, client):
        url = f"/api/v1/blob/{FILE_CID}"
        whole = await client.get(url)
        assert whole.content == FILE
        assert whole.headers["content-length"] == str(len(FILE))
        assert whole.headers["content-disposition"].startswith("attachment; filename*=UTF-8''le%20")
        assert "sandbox" in whole.headers["content-security-policy"]
        part = await client.get(url, headers={"Range": "bytes=995-2004"})
        assert part.status_code == 206
        assert part.content == FILE[995:2005]
        assert part.headers["content-range"] == f"bytes 995-2004/{len(FILE)}"
        head = await client.head(url)
        assert head.headers["content-length"] == str(len(FILE))
        assert head.content == b""
        beyond = await client.get(url, headers={"Range": "bytes=99999999-"})
        assert beyond.status_code == 416
        lost = await client.get(f"/api/v1/blob/{LOST_CID}")
        assert lost.status_code == 404
        assert lost.json()["code"] == "content_unavailable"
        for wrong in ("x", "Qm", "bafy", "b" * 200):
            assert (await client.get(f"/api/v1/blob/{wrong}")).status_code == 400


@in_loop
async def test_probes_need_no_token():
    fixture = make()
    transport = httpx.ASGITransport(fixture.front.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:7700") as client:
        assert (await client.get("/healthz")).text == "alive\n"
        assert (await client.get("/readyz")).text == "ready\n"
        fixture.node.why_not_ready = "locked"
        assert (await client.get("/readyz")).status_code == 503
        metrics = await client.get("/metrics")
        assert metrics.text == "dms3_node_ready 1\n"
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


@in_loop
async def test_the_openapi_document_is_whole():
    async with asked() as (fixture, client):
        document = (await client.get("/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert document["info"]["title"] == "dms3"
        ids = []
        for path, operations in document["paths"].items():
            assert path.startswith("/api/v1/")
            for operation in operations.values():
                ids.append(operation["operationId"])
                assert operation["summary"]
                assert operation["responses"]
                problems = operation["responses"]["default"]["content"]
                schema = problems["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}
        assert len(ids) == len(set(ids)), "operation ids are unique"
        assert {f"/api/v1{command.path}" for command in TABLE} <= set(document["paths"])
        body = document["paths"][ECHO]["post"]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        assert schema["additionalProperties"] is False
        assert schema["required"] == ["words"]
        assert schema["properties"]["words"]["items"] == {"type": "string"}
        assert schema["properties"]["scope"]["enum"] == ["local", "peers"]
        assert schema["properties"]["maybe"]["type"] == ["string", "null"]
        for name in _references(document):
            assert name in document["components"]["schemas"]
        assert openapi(fixture.front.described()) == document, "asked twice, the same document"


def _references(value) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"].rpartition("/")[2]] if "$ref" in value else []
        return own + [name for part in value.values() for name in _references(part)]
    return [n for part in value for n in _references(part)] if isinstance(value, list) else []


@in_loop
async def test_the_reference_page_is_ours_alone():
    async with asked() as (_, client):
        page = (await client.get("/docs")).text
        for command in TABLE:
            assert f"POST /api/v1{command.path}" in page
        assert "<script" not in page
        assert "//" not in page.replace("</", "").replace("https://", "//") or "src=" not in page
        assert (
            "default-src 'self'" in (await client.get("/docs")).headers["content-security-policy"]
        )


@in_loop
async def test_the_page_escapes_what_others_wrote():
    async with asked() as (fixture, client):
        page = (await client.get("/search", params={"q": "<img>", "scope": "peers"})).text
        assert "&lt;script&gt;x&lt;/script&gt;" in page
        assert "<script>" not in page
        assert "<img>" not in page
        assert "<b>alice" not in page
        assert "<mark>&lt;i&gt;</mark>" in page
        assert 'value="peers" checked' in page
        assert "&lt;letters&gt;" in (await client.get("/documents")).text
        home = (await client.get("/")).text
        assert "Connected to 2 nodes. 7 documents are kept here." in home
        assert "<b>alice" not in home
        refused = await client.get("/search", params={"q": "refuse"})
        assert "A query needs &lt;words&gt;." in refused.text
        fixture.node.why_not_ready = "locked"
        assert "This node is locked" in (await client.get("/")).text
        assert (
            (await client.get("/static/style.css")).headers["content-type"].startswith("text/css")
        )


def test_sentences_and_marks():
    status = {"ready": True, "peers": {"connected": 1}, "documents": 1}
    assert health_sentence(status) == "Connected to 1 node. 1 document is kept here."
    assert health_sentence({"ready": False}) == "This node is starting."
    assert marked("abc", [[0, 1], [0, 2], [2, 9]]) == "<mark>a</mark>bc"
    assert marked("<", [[0, 1]]) == "<mark>&lt;</mark>"


@in_loop
async def test_two_fronts_in_one_process_share_nothing():
    one, two = make(), make()
    one.node.why_not_ready = "starting"
    async with one.client() as first, two.client() as second:
        assert (await first.get("/readyz")).status_code == 503
        assert (await second.get("/readyz")).status_code == 200
        code = one.front.login_path()
        assert (await second.get(code)).status_code == 403
        assert (await first.get(code)).status_code == 303


# Real sockets


def sdk(listening, tmp_path) -> Client:
    (tmp_path / "api.token").write_text(TOKEN)
    return Client(home=tmp_path, api=listening.url)


@in_loop
async def test_the_client_speaks_with_a_real_server(tmp_path):
    fixture = make()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        assert listening.port > 0
        async with sdk(listening, tmp_path) as client:
            assert (await client.call("echo", "all", words=["a"]))["words"] == ["a"]
            assert (await client.call("status"))["ready"] is True
            steps = [line async for line in client.stream("work", "count", to=1)]
            assert [next(iter(step)) for step in steps] == ["progress", "item", "data"]
            assert await client.download(str(FILE_CID)) == FILE
            assert await client.download(str(FILE_CID), 5, 9) == FILE[5:9]
            path = tmp_path / "brief.txt"
            path.write_bytes(b"x" * 3_000_000)
            assert (await client.upload(path)) == {"id": f"{UPLOAD}/brief.txt", "bytes": 3_000_000}
            assert (await client.login_url()).startswith(listening.url + "/login?code=")
            for arguments in ({"to": 0, "fail": "not_found"}, {"to": 1, "fail": "not_found"}):
                with pytest.raises(Dms3Error) as caught:
                    [line async for line in client.stream("work", "count", **arguments)]
                assert caught.value.code == "not_found"
                assert caught.value.hint == "Do not."
            with pytest.raises(Dms3Error) as caught:
                await client.download(str(BROKEN_CID))
            assert caught.value.code == "node_unreachable", "a cut answer is no answer"
            assert await client.call("echo", "all", words=["a"]), "the next one is"
    assert fixture.reported == []
    with pytest.raises(Dms3Error) as caught:
        await sdk(listening, tmp_path).call("status")
    assert caught.value.code == "node_unreachable"
    assert "dms3 up" in caught.value.hint


@in_loop
async def test_the_blocking_client(tmp_path):
    fixture = make()
    (tmp_path / "api.token").write_text(TOKEN)

    def talk(url: str) -> None:
        with SyncClient(home=tmp_path, api=url) as client:
            assert client.where.local
            assert client.call("echo", "all", words=["a"])["words"] == ["a"]
            assert client.download(str(FILE_CID), 1) == FILE[1:]
            assert len(list(client.stream("work", "count", to=2))) == 5
            assert client.upload(tmp_path / "api.token")["bytes"] == len(TOKEN)
            with pytest.raises(Dms3Error, match="cannot be read"):
                client.upload(tmp_path / "missing")
            with pytest.raises(Dms3Error, match="called 'wrods'"):
                client.call("echo", "all", wrods=[])

    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        await asyncio.to_thread(talk, listening.url)


@pytest.mark.parametrize("streaming", [False, True])
@in_loop
async def test_a_client_that_leaves_cancels_its_command(streaming):
    fixture = make()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        body = json.dumps({"streaming": streaming}).encode()
        accept = "application/x-ndjson" if streaming else "*/*"
        writer.write(request("POST", "/api/v1/work/wait", body, Accept=accept))
        await fixture.node.started.wait()
        writer.close()
        await fixture.node.cancelled.wait()
    assert fixture.reported == []


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    head = {"Host": "127.0.0.1", "Content-Type": "application/json", **AUTH, **headers}
    head.setdefault("Content-Length", str(len(body)))
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    return f"{method} {path} HTTP/1.1\r\n{named}\r\n".encode() + body


@in_loop
async def test_a_port_in_use_is_one_clear_message():
    app = make().front.app
    async with serve(app, "127.0.0.1", 0) as listening:
        with pytest.raises(Dms3Error) as caught:
            async with serve(app, "127.0.0.1", listening.port):
                pytest.fail("two servers on one port")
        assert caught.value.code == "port_in_use"
        assert str(listening.port) in caught.value.message
    for host, port in (("no-such-host.invalid", 0), ("203.0.113.7", 0)):
        with pytest.raises(Dms3Error) as caught:
            async with serve(app, host, port):
                pytest.fail("listens where it cannot")
        assert caught.value.code == "argument_invalid"


@in_loop
async def test_stopping_does_not_wait_for_ever_for_a_command():
    fixture = make()
    loop = asyncio.get_running_loop()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        writer.write(request("POST", "/api/v1/work/wait", b"{}"))
        await fixture.node.started.wait()
        begun = loop.time()
    assert loop.time() - begun < API_STOP_SECONDS_MAX + 2
    assert fixture.node.cancelled.is_set()
    writer.close()


@in_loop
async def test_an_error_inside_the_block_comes_out_as_it_is():
    with pytest.raises(Dms3Error, match="own failure"):
        async with serve(make().front.app, "127.0.0.1", 0):
            raise Dms3Error("not_found", "own failure")


@in_loop
async def test_a_head_without_end_is_refused():
    async with serve(make().front.app, "127.0.0.1", 0) as listening:
        for size, status in ((API_HEADER_BYTES_MAX - 1000, b"200"), (API_HEADER_BYTES_MAX, b"400")):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * size)
            await writer.drain()
            if status == b"200":
                writer.write(b"\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 " + status)
            writer.close()


@in_loop
async def test_a_head_that_comes_slowly_is_cut_off(monkeypatch):
    monkeypatch.setattr("dms3.api.serve.API_HEADER_SECONDS_MAX", 0.05)
    async with serve(make().front.app, "127.0.0.1", 0) as listening:
        for sent in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            writer.write(sent)
            assert await reader.read() == b""
            writer.close()


@in_loop
async def test_bytes_that_are_no_http_are_refused():
    fixture = make()
    async with serve(fixture.front.app, "127.0.0.1", 0) as listening:
        for junk in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", bytes(range(256))):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
            writer.write(junk)
            writer.write_eof()
            answer = await reader.read()
            assert not answer or answer.startswith(b"HTTP/1.1 4")
            writer.close()
    assert fixture.reported == []
