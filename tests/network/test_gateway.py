"""The role gateway in a real process: public spaces for strangers, nothing else, and gone at once.

Costs the start of three nodes."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx

from dms3.core.errors import Dms3Error
from dms3.core.unixfs import build_file
from network.running import Running, running, wait_until

TEXT = "The heron waits beside the ninth lock."
LARGE = os.urandom(3_000_000)
GATEWAY = ("--role", "gateway", "--public", "127.0.0.1:0", "--no-mdns")


def is_public(node: Running, space: str) -> bool:
    rows = node.call("store", "list")["spaces"]
    return any(row["name"] == space and row["public"] for row in rows)


@contextlib.contextmanager
def publishing(node: Running, space: str) -> Iterator[None]:
    """A public space, which is so at once, although publishing waits for other nodes; withdrawn."""

    def ask() -> None:
        with contextlib.suppress(Dms3Error):  # unpublished meanwhile
            node.call("store", "publish", space=space)

    asked = threading.Thread(target=ask)
    asked.start()
    try:
        wait_until(lambda: is_public(node, space))
        yield
    finally:
        node.call("store", "unpublish", space=space)
        asked.join()


def write(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "heron.txt").write_text(TEXT)
    (folder / "inner" / "page.html").write_text("<script>location='/'</script>")
    (folder / "large.bin").write_bytes(LARGE)
    return folder


def problem(answer: httpx.Response, status: int, code: str) -> bytes:
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    assert answer.json()["code"] == code
    return answer.content


def read_what_is_public(client: httpx.Client, root: str) -> None:
    answer = client.get(f"/ipfs/{root}/large.bin")
    assert answer.content == LARGE
    part = client.get(f"/ipfs/{root}/large.bin", headers={"Range": "bytes=2999998-"})
    assert (part.status_code, part.content) == (206, LARGE[-2:])
    problem(
        client.get(f"/ipfs/{root}/large.bin", headers={"Range": "bytes=3000000-"}),
        416,
        "range_invalid",
    )
    moved = client.get(f"/ipfs/{root}/inner")
    assert moved.headers["location"] == f"/ipfs/{root}/inner/"
    page = client.get(f"/ipfs/{root}/inner/page.html")
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    again = client.get(f"/ipfs/{root}/heron.txt", headers={"If-None-Match": "*"})
    assert (again.status_code, again.content) == (304, b"")


def refuse_what_is_wrong(client: httpx.Client, root: str) -> None:
    problem(client.get(f"/ipfs/{root}?format=tar"), 406, "format_unavailable")
    problem(client.get("/ipfs/nothing"), 400, "argument_invalid")
    problem(client.get(f"/ipfs/{root}/none"), 404, "not_found")
    problem(client.request("DELETE", f"/ipfs/{root}"), 405, "method_unknown")
    for path in ("/api/v1/status", "/dm3/hello", "/", "/metrics"):
        assert client.get(path).json()["code"] == "method_unknown"


def test_strangers_read_public_spaces_and_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path / "canal")
    secret = tmp_path / "secret.txt"
    secret.write_text("Nobody else reads this.")
    absent = build_file(b"nowhere").cid
    with running(tmp_path / "home", *GATEWAY) as node:
        base = f"http://{node.data['public']}"
        root = node.call("store", "add", paths=[str(folder)], space="canal")["root"]
        private = node.call("store", "add", paths=[str(secret)], space="private")["root"]
        with httpx.Client(base_url=base, timeout=20) as client:
            nothing = problem(client.get(f"/ipfs/{absent}"), 404, "not_found")
            assert client.get(f"/ipfs/{root}").content == nothing
            with publishing(node, "canal"):
                read_what_is_public(client, root)
                refuse_what_is_wrong(client, root)
                car = client.get(f"/ipfs/{root}?format=car").content
                token = {"Authorization": f"Bearer {node.token}"}
                for path in (f"/ipfs/{private}", f"/ipfs/{private}?format=raw"):
                    assert client.get(path, headers=token).content == nothing
                own = client.get(f"http://{node.data['api']}/", headers={"Origin": base})
                assert own.status_code == 403, "a page of the gateway is a stranger to the API"
            (tmp_path / "canal.car").write_bytes(car)
            brought = node.call(
                "store", "import", file=str(tmp_path / "canal.car"), space="brought"
            )
            assert brought["root"] == root
            for path in ("", "/heron.txt", "?format=raw", "?format=car"):
                assert client.get(f"/ipfs/{root}{path}").content == nothing


def test_a_car_of_what_others_share_is_fetched_first(tmp_path: Path) -> None:
    folder = write(tmp_path / "letters")
    with (
        running(tmp_path / "alice", "--name", "alice") as alice,
        running(tmp_path / "bob", "--name", "bob", "--join", alice.data["address"]) as bob,
    ):
        for giver, taker in ((alice, bob), (bob, alice)):
            taker.call("contact", "add", card=giver.call("contact", "card")["card"])
        root = alice.call("store", "add", paths=[str(folder)], space="letters")["root"]
        alice.call("store", "share", space="letters", **{"with": "bob"})
        wait_until(lambda: any(not one["mine"] for one in bob.call("store", "list")["spaces"]))
        there, here = (node.call("store", "export", cid=root) for node in (bob, alice))
        assert there == here
