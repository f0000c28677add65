"""The gateway over a real store: what it gives, to whom it gives nothing, and its bounds."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dms3.api import ipfs
from dms3.api.ipfs import Bounds, Ipfs
from dms3.api.public import PublicFront
from dms3.core.car import CarReader
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import encode_plain
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import Dms3Error
from dms3.core.ids import Root, SpaceId
from dms3.core.limits import (
    GATEWAY_PIECE_BYTES,
    PATH_PARTS_MAX,
    PUBLIC_REQUESTS_BURST_MAX,
)
from dms3.core.unixfs import build_directory, build_file
from dms3.io import catalogue
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node import gateway
from dms3.node.gateway import Gateway

PUBLIC, PRIVATE = SpaceId(b"p" * 32), SpaceId(b"s" * 32)
TEXT = build_file(b"The heron waits.")
SECRET = build_file(b"The private heron.")
LARGE = build_file(os.urandom(600_000))
PAGE = build_file(b"<script>fetch('/')</script>")
ODD = '"><script>alert(1)</script>'
INNER = build_directory([PAGE.link("index.html")])
TREE = build_directory(
    [
        TEXT.link("a.txt"),
        TEXT.link(ODD),
        LARGE.link("large"),
        INNER.link("inner"),
        SECRET.link("secret"),
    ]
)
WIDE = build_directory(TEXT.link(f"{n:06}" + "x" * 200) for n in range(1_200))
CBOR = encode_plain({"to": TEXT.cid.binary})
CBOR_CID = Cid.of(DAG_CBOR, CBOR)
NO_FILE = encode_node(Node((), b"no file"))
NO_FILE_CID = Cid.of(TREE.cid.codec, NO_FILE)
PUBLIC_BLOCKS = [
    *(block for one in (TEXT, LARGE, PAGE, INNER, TREE, WIDE) for block in one.blocks),
    (CBOR_CID, CBOR),
    (NO_FILE_CID, NO_FILE),
]
PROBLEM = "application/problem+json"


class Here:
    """A store with public and private blocks, and a client of its gateway."""

    def __init__(self, front: PublicFront, client: httpx.AsyncClient) -> None:
        self.front, self.client = front, client
        self.public = frozenset([PUBLIC])

    async def get(self, path: str, accept: str = "", **headers: str) -> httpx.Response:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.client.get(f"/ipfs/{path}", headers={"Accept": accept, **given})

    async def car(self, path: str) -> list[Cid]:
        """The blocks of a CAR, in order, checked."""
        reader = CarReader()
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        blocks = reader.add(answer.content)
        reader.finish()
        return [cid for cid, _ in blocks]


def keep(store: Store, packs: Packs, space: SpaceId, blocks: Sequence[tuple[Cid, bytes]]) -> None:
    staged = packs.stage(blocks)
    packs.sync()

    def work(connection: Any) -> None:
        packs.attach(connection, staged)
        number = catalogue.add_space(connection, space, space.hex(), Root(b""), 1)
        row = catalogue.next_number(connection)
        catalogue.put(
            connection,
            [
                catalogue.plain_row(
                    number=row, space=number, source="x", kind="file", cid=blocks[0][0], now_us=1
                )
            ],
        )
        catalogue.need_blocks(connection, ((cid, number, row) for cid, _ in blocks))

    store.transact(work).result()


@asynccontextmanager
async def opened(path: Path, bounds: Bounds | None = None, **options: int) -> AsyncIterator[Here]:
    store = Store.open(path / "database", b"k" * 32, MIGRATIONS, reserve=0)
    packs = Packs(path / "packs", b"p" * 32, store, SystemEntropy(), reserve=0)
    try:
        keep(store, packs, PUBLIC, PUBLIC_BLOCKS)
        keep(store, packs, PRIVATE, SECRET.blocks)

        async def public() -> frozenset[SpaceId]:
            return here.public

        made = Gateway(store, packs, public, **options)
        reports: list[BaseException] = []
        front = PublicFront(
            {"ipfs": Ipfs(lambda: made, bounds)},
            lambda _, error: reports.append(error),
            {"ipfs": ipfs.refusal},
        )
        transport = httpx.ASGITransport(front)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            here = Here(front, client)
            yield here
        assert not reports, reports
    finally:
        packs.close()
        store.close()


def over(path: Path, work: Callable[[Here], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def run() -> None:
        async with opened(path, **options) as here:
            await work(here)

    asyncio.run(run())


def test_a_file_by_path_whole_and_in_parts(tmp_path):
    async def work(here: Here) -> None:
        answer = await here.get(f"{TREE.cid}/a.txt")
        assert (answer.status_code, answer.content) == (200, b"The heron waits.")
        headers = answer.headers
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["etag"] == f'"{TEXT.cid}"'
        assert headers["cache-control"] == "public, max-age=29030400, immutable"
        assert headers["x-ipfs-path"] == f"/ipfs/{TREE.cid}/a.txt"
        assert headers["x-ipfs-roots"] == f"{TREE.cid},{TEXT.cid}"
        assert headers["access-control-allow-origin"] == "*"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert "set-cookie" not in headers
        whole = (await here.get(str(LARGE.cid))).content
        assert build_file(whole).cid == LARGE.cid
        for given, start, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=262143-262144", 262_143, 262_145),
            ("bytes=-5", 599_995, 600_000),
            ("bytes=599999-", 599_999, 600_000),
        ):
            part = await here.get(f"{TREE.cid}/large", Range=given)
            assert (part.status_code, part.content) == (206, whole[start:end])
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/600000"
        outside = await here.get(f"{TREE.cid}/large", Range="bytes=600000-")
        assert (outside.status_code, outside.json()["code"]) == (416, "range_invalid")
        named = await here.get(f"{TREE.cid}/a.txt?download=true&filename=b.txt")
        assert named.headers["content-disposition"].startswith('attachment; filename="b.txt"')

    over(tmp_path, work)


def test_the_same_answer_for_what_is_private_and_for_what_is_nowhere(tmp_path):
    nowhere = Cid.of(RAW, b"nowhere")

    async def work(here: Here) -> None:
        forms = ("", "?format=raw", "?format=car", "?format=json", "/a/b?format=car", "/a")
        for form in forms:
            private = await here.get(f"{SECRET.cid}{form}")
            absent = await here.get(f"{nowhere}{form}")
            assert (private.status_code, private.headers["content-type"]) == (404, PROBLEM)
            assert private.content == absent.content
            assert private.headers.raw == absent.headers.raw
        etag = {"If_None_Match": f'"{SECRET.cid}.raw"'}
        assert (await here.get(f"{SECRET.cid}?format=raw", **etag)).status_code == 404
        cached = {"Cache_Control": "only-if-cached"}
        assert (await here.get(str(SECRET.cid), **cached)).status_code == 412
        inside = await here.get(f"{TREE.cid}/secret")
        assert inside.content == (await here.get(str(nowhere))).content
        here.public = frozenset()
        for path in (str(TREE.cid), f"{TREE.cid}/a.txt", f"{TEXT.cid}?format=raw"):
            assert (await here.get(path)).content == inside.content

    over(tmp_path, work)


def test_folders_are_listed_and_their_pages_run_nothing(tmp_path):
    async def work(here: Here) -> None:
        moved = await here.get(f"{TREE.cid}?x=1")
        assert (moved.status_code, moved.headers["location"]) == (301, f"/ipfs/{TREE.cid}/?x=1")
        listing = await here.get(f"{TREE.cid}/")
        assert listing.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script>" not in listing.text
        assert "%22%3E%3Cscript%3E" in listing.text
        assert "allow-scripts" not in listing.headers["content-security-policy"]
        data = (await here.get(f"{TREE.cid}?format=json")).json()
        assert [entry["name"] for entry in data["entries"]][:2] == [ODD, "a.txt"]
        assert not data["more"]
        page = await here.get(f"{TREE.cid}/inner/")
        assert (page.headers["content-type"], page.content[:8]) == ("text/html", b"<script>")
        worker = await here.get(f"{TREE.cid}/inner/", Service_Worker="script")
        assert worker.status_code == 400
        wide = await here.get(f"{WIDE.cid}/{1_199:06}{'x' * 200}")
        assert wide.content == b"The heron waits."
        assert (await here.get(f"{WIDE.cid}/1200")).status_code == 404
        assert len((await here.get(f"{WIDE.cid}/?format=json")).json()["entries"]) == 1_200

    over(tmp_path, work)


def test_cars_hold_what_proves_the_answer_and_no_more(tmp_path):
    leaves = [cid for cid, _ in LARGE.blocks if cid.codec == RAW]

    async def work(here: Here) -> None:
        tree = f"{TREE.cid}/large?format=car"
        assert await here.car(tree) == [TREE.cid, LARGE.cid, *leaves]
        assert await here.car(f"{tree}&dag-scope=block") == [TREE.cid, LARGE.cid]
        assert await here.car(f"{tree}&entity-bytes=262144:262144") == [
            TREE.cid,
            LARGE.cid,
            leaves[1],
        ]
        assert await here.car(f"{tree}&entity-bytes=5:4") == [TREE.cid, LARGE.cid]
        assert (await here.get(f"{tree}&entity-bytes=600000:*")).status_code == 400
        assert await here.car(f"{TREE.cid}?format=car&dag-scope=entity") == [TREE.cid]
        wide = await here.car(f"{WIDE.cid}/{7:06}{'x' * 200}?format=car&dag-scope=entity")
        assert wide[0] == WIDE.cid
        assert wide[-1] == TEXT.cid
        assert 2 < len(wide) < 5  # the shards on the way
        shards = len(WIDE.blocks)
        assert len(await here.car(f"{WIDE.cid}?format=car&dag-scope=entity")) == shards
        assert len(await here.car(f"{WIDE.cid}?format=car")) == shards + 1
        assert len(await here.car(f"{WIDE.cid}?format=car&car-dups=y")) == shards + 1_200
        assert await here.car(f"{CBOR_CID}?format=car") == [CBOR_CID, TEXT.cid]
        assert await here.car(f"{NO_FILE_CID}?format=car&dag-scope=entity") == [NO_FILE_CID]
        answer = await here.get(f"{TEXT.cid}", "application/vnd.ipld.car;dups=y")
        assert answer.headers["content-type"].endswith("version=1; order=dfs; dups=y")
        assert answer.headers["content-location"] == f"/ipfs/{TEXT.cid}?format=car"
        tags = [
            (await here.get(path)).headers["etag"]
            for path in (tree, f"{tree}&dag-scope=block", f"{tree}&entity-bytes=1:2")
        ]
        assert len(set(tags)) == 3
        assert (await here.get(tree, If_None_Match=tags[0])).status_code == 304

    over(tmp_path, work)


def test_blocks_probes_other_formats_and_methods(tmp_path):
    async def work(here: Here) -> None:
        raw = await here.get(f"{TREE.cid}?format=raw")
        assert raw.content == TREE.blocks[-1][1]
        assert raw.headers["content-type"] == "application/vnd.ipld.raw"
        assert f'filename="{TREE.cid}.bin"' in raw.headers["content-disposition"]
        again = await here.get(f"{TREE.cid}?format=raw", If_None_Match=raw.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")
        head = await here.client.head(f"/ipfs/{TREE.cid}/large")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == "600000"
        assert (await here.client.head(f"/ipfs/{SECRET.cid}")).status_code == 404
        assert (await here.get(f"{CBOR_CID}?format=dag-cbor")).content == CBOR
        assert (await here.get(f"{TEXT.cid}?format=dag-cbor")).status_code == 406
        assert (await here.get(str(CBOR_CID))).status_code == 406
        assert (await here.get(str(NO_FILE_CID))).status_code == 406
        assert (await here.get(f"{TEXT.cid}", "application/json")).status_code == 406
        assert (await here.get(f"{TEXT.cid}?format=tar")).status_code == 406
        assert (await here.get("bafkqaaa?format=raw")).content == b""
        probe = (await here.get("bafkqaaa?format=car")).content
        assert probe.endswith(b"gversion\x01")
        assert (await here.client.post(f"/ipfs/{TEXT.cid}")).status_code == 405
        options = await here.client.options(f"/ipfs/{TEXT.cid}")
        assert (options.status_code, options.content) == (204, b"")
        assert "Range" in options.headers["access-control-allow-headers"]
        assert (await here.client.get("/elsewhere")).json()["code"] == "method_unknown"

    over(tmp_path, work)


def test_paths_are_as_deep_as_is_said_and_no_deeper(tmp_path):
    async def work(here: Here) -> None:
        for count, code in ((PATH_PARTS_MAX, 404), (PATH_PARTS_MAX + 1, 400)):
            assert (await here.get(f"{TREE.cid}{'/a' * count}")).status_code == code

    over(tmp_path, work)


SIZE = sum(len(block) for _, block in LARGE.blocks)


@pytest.mark.parametrize(("most", "status"), [(SIZE, 200), (SIZE - 1, 400)])
def test_a_car_is_as_large_as_is_said_and_no_larger(tmp_path, most, status):
    async def work(here: Here) -> None:
        answer = await here.get(f"{LARGE.cid}?format=car")
        assert answer.status_code == status
        part = f"{LARGE.cid}?format=car&entity-bytes=0:5"
        assert (await here.get(part)).status_code == 200

    over(tmp_path, work, car_bytes=most)


@pytest.mark.parametrize("most", [len(LARGE.blocks), len(LARGE.blocks) - 1])
def test_a_car_has_as_many_blocks_as_is_said_and_no_more(tmp_path, monkeypatch, most):
    monkeypatch.setattr(gateway, "CAR_BLOCKS_MAX", most)

    async def work(here: Here) -> None:
        wire = Wire(here.front)
        await wire.get(f"{LARGE.cid}?format=car")
        whole = most == len(LARGE.blocks)
        assert (wire.status, wire.ended) == ((200, True) if whole else (400, True))

    over(tmp_path, work)


class Wire:
    """A request by hand: `host` asks, `taken` is called with each piece of the answer."""

    def __init__(self, front: PublicFront, host: str = "192.0.2.7") -> None:
        self._front, self._host = front, host
        self.status, self.body, self.ended = 0, bytearray(), False
        self.headers: dict[str, str] = {}

    async def taken(self, _: bytes) -> None:
        """The client takes a piece."""

    async def get(self, path: str) -> None:
        name, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/ipfs/{name}",
            "raw_path": f"/ipfs/{name}".encode(),
            "query_string": query.encode(),
            "headers": [],
            "client": (self._host, 1),
        }
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
                return
            self.body += message.get("body", b"")
            await self.taken(message.get("body", b""))
            self.ended = not message.get("more_body", False)

        await self._front(scope, receive, send)


LONG = build_file(bytes(3 * GATEWAY_PIECE_BYTES))


def test_a_space_that_is_public_no_longer_stops_in_the_middle(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PUBLIC_BLOCKS", [*PUBLIC_BLOCKS, *LONG.blocks])

    async def work(here: Here) -> None:
        class Withdrawing(Wire):
            async def taken(self, _: bytes) -> None:
                here.public = frozenset()

        wire = Withdrawing(here.front)
        await wire.get(str(LONG.cid))
        assert (wire.status, wire.ended) == (200, False), "an answer cut short"
        assert len(wire.body) == GATEWAY_PIECE_BYTES

    over(tmp_path, work)


def test_a_car_that_says_it_is_small_is_cut_where_it_is_too_large(tmp_path, monkeypatch):
    liar = encode_node(Node((Link(LONG.cid, "a", 1),), b"\x08\x01"))
    cid = Cid.of(TREE.cid.codec, liar)
    monkeypatch.setitem(globals(), "PUBLIC_BLOCKS", [*PUBLIC_BLOCKS, *LONG.blocks, (cid, liar)])

    async def work(here: Here) -> None:
        wire = Wire(here.front)
        await wire.get(f"{cid}?format=car&car-dups=y")
        assert (wire.status, wire.ended) == (200, False)
        assert len(wire.body) <= 2 * GATEWAY_PIECE_BYTES

    over(tmp_path, work, car_bytes=2 * GATEWAY_PIECE_BYTES)


def test_answers_under_way_are_counted_together_and_by_address(tmp_path):
    async def work(here: Here) -> None:
        go = asyncio.Event()
        begun = asyncio.Queue[None]()

        class Holding(Wire):
            async def taken(self, _: bytes) -> None:
                begun.put_nowait(None)
                await go.wait()

        async with asyncio.TaskGroup() as group:
            for host in ("192.0.2.1", "192.0.2.2"):
                group.create_task(Holding(here.front, host).get(str(TEXT.cid)))
                await begun.get()
            for host in ("192.0.2.2", "192.0.2.3"):
                refused = Wire(here.front, host)
                await refused.get(str(TEXT.cid))
                expected = 200 if host == "192.0.2.3" else 429
                assert refused.status == expected
            third = group.create_task(Holding(here.front, "192.0.2.3").get(str(TEXT.cid)))
            await begun.get()
            full = Wire(here.front, "192.0.2.4")
            await full.get(str(TEXT.cid))
            assert (full.status, full.headers["retry-after"]) == (429, "5")
            assert full.headers["content-type"] == PROBLEM
            go.set()
            await third
        after = Wire(here.front, "192.0.2.2")
        await after.get(str(TEXT.cid))
        assert after.status == 200

    over(tmp_path, work, bounds=Bounds(answers=3, per_host=1))


def test_too_many_requests_are_refused_as_problems(tmp_path):
    async def work(here: Here) -> None:
        answered = 0
        while True:
            wire = Wire(here.front)
            await wire.get("bafkqaaa")
            if wire.status != 200:
                break
            answered += 1
        assert answered >= PUBLIC_REQUESTS_BURST_MAX
        assert (wire.status, wire.headers["content-type"]) == (429, PROBLEM)
        assert "retry-after" in wire.headers

    over(tmp_path, work)


def test_an_answer_to_another_machine_keeps_its_pace(tmp_path, monkeypatch):
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(ipfs, "pause", sleep)

    async def work(here: Here) -> None:
        for host, count in (("127.0.0.1", 0), ("192.0.2.7", 1)):
            wire = Wire(here.front, host)
            await wire.get(str(LARGE.cid))
            assert (wire.ended, len(waits)) == (True, count)
        assert 1.9 < waits[0] <= 2

    over(tmp_path, work, bounds=Bounds(rate=200_000, burst=200_000))


def test_a_client_that_takes_nothing_loses_its_place(tmp_path):
    async def work(here: Here) -> None:
        class Sleeping(Wire):
            async def taken(self, _: bytes) -> None:
                await asyncio.Event().wait()

        wire = Sleeping(here.front)
        await wire.get(str(LARGE.cid))
        assert (wire.status, wire.ended) == (200, False)
        after = Wire(here.front)
        await after.get(str(TEXT.cid))
        assert after.status == 200

    over(tmp_path, work, bounds=Bounds(answers=1, piece_seconds=0.05))


def test_a_locked_node_says_to_come_back_and_nothing_else():
    def locked() -> Gateway:
        raise Dms3Error("node_locked", "This node is locked.")

    async def work() -> None:
        front = PublicFront({"ipfs": Ipfs(locked)}, lambda *_: None, {"ipfs": ipfs.refusal})
        wire = Wire(front)
        await wire.get(str(TEXT.cid))
        assert (wire.status, wire.headers["retry-after"]) == (503, "5")
        assert b"locked" not in wire.body

    asyncio.run(work())
