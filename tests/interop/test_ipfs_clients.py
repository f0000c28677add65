"""Helia's block broker, the UnixFS exporter and importer and the CAR library against our gateway
and our CAR files: what they fetch is verified by them, and each side reads the other's files."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.sdk import SyncClient
from interop.peer import PEERS, need
from interop.test_unixfs import folder, write
from network.running import Running, running, wait_until

pytestmark = pytest.mark.interop

MB = 1_000_000
GATEWAY = ("--role", "gateway", "--public", "127.0.0.1:0", "--no-mdns")


def client(command: str, *arguments: object) -> dict[str, Any]:
    """What the IPFS client answers; raises CalledProcessError when it does not believe a block."""
    need("ipfs")
    done = subprocess.run(
        ["node", "client.mjs", command, *map(str, arguments)],
        cwd=PEERS / "ipfs",
        check=True,
        capture_output=True,
        text=True,
        timeout=200,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b"(folder)"
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture(name="files", scope="module")
def fixture_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 10 MB file, folders in folders, and one with so many names that it is sharded."""
    root = tmp_path_factory.mktemp("clients") / "canal"
    (root / "inner" / "deeper").mkdir(parents=True)
    (root / "inner" / "deeper" / "grün.txt").write_text("The heron waits.")
    (root / "empty.txt").write_bytes(b"")
    write(root / "large.bin", 10 * MB)
    return root


@contextlib.contextmanager
def gateway(home: Path, files: Path) -> Iterator[tuple[Running, str, str]]:
    """A node that publishes `files`: itself, where its gateway is, and their root."""
    with running(home, *GATEWAY) as node:
        root = node.call("store", "add", paths=[str(files)], space="canal")["root"]

        def publish() -> None:
            with contextlib.suppress(Dms3Error):  # unpublished before other nodes came
                node.call("store", "publish", space="canal")

        asked = threading.Thread(target=publish)
        asked.start()
        try:
            wait_until(lambda: any(row["public"] for row in node.call("store", "list")["spaces"]))
            yield node, f"http://{node.data['public']}", root
        finally:
            node.call("store", "unpublish", space="canal")
            asked.join()


def test_a_client_fetches_and_verifies_through_the_gateway(tmp_path: Path, files: Path) -> None:
    need("ipfs")
    with gateway(tmp_path / "home", files) as (node, base, root):
        assert client("fetch", base, root, tmp_path / "fetched")["blocks"] > 40
        assert tree(tmp_path / "fetched") == tree(files)

        whole = client("archive", base, f"{root}?format=car")
        assert whole["roots"] == [root]
        assert whole["type"] == "application/vnd.ipld.car; version=1; order=dfs; dups=n"
        exported = node.call("store", "export", cid=root)
        assert (len(whole["blocks"]), whole["blocks"][0]) == (exported["blocks"], root)
        assert len(set(whole["blocks"])) == len(whole["blocks"])
        part = client("archive", base, f"{root}/large.bin?format=car&entity-bytes=5000000:5000001")
        assert len(part["blocks"]) == 3  # the folder, the file, one chunk
        assert set(part["blocks"]) < set(whole["blocks"])
        entity = client("archive", base, f"{root}/inner?format=car&dag-scope=entity")
        assert len(entity["blocks"]) == 2
    with pytest.raises(subprocess.CalledProcessError):
        client("fetch", base, root, tmp_path / "nothing")


def test_each_side_reads_the_files_of_the_other(tmp_path: Path, files: Path) -> None:
    need("ipfs")
    wide = folder(tmp_path / "wide", 1_300, 200)  # sharded
    with running(tmp_path / "home", "--no-mdns") as node:
        root = node.call("store", "add", paths=[str(files)], space="ours")["root"]
        ours = tmp_path / "ours.car"
        ours.write_bytes(download(node, node.call("store", "export", cid=root)["blob"]))
        read = client("unpack", ours, tmp_path / "unpacked")
        assert read["roots"] == [root]
        assert tree(tmp_path / "unpacked") == tree(files)

        for source, name in ((files, "theirs"), (wide, "wide")):
            theirs = tmp_path / f"{name}.car"
            packed = client("pack", source, theirs)
            done = node.call("store", "import", file=str(theirs), space=name)
            assert (done["roots"], done["blocks"]) == ([packed["root"]], len(packed["blocks"]))
            again = node.call("store", "import", file=str(theirs), space=name)
            assert (again["documents"], again["skipped_count"]) == (0, 0)
            back = node.call("store", "export", cid=packed["root"])
            (tmp_path / "back.car").write_bytes(download(node, back["blob"]))
            unpacked = tmp_path / f"back-{name}"
            assert sorted(client("unpack", tmp_path / "back.car", unpacked)["blocks"]) == sorted(
                packed["blocks"]
            )
            assert tree(unpacked) == tree(source)
        assert node.call("store", "list", space="theirs")["documents"][0]["name"] == "empty.txt"


def download(node: Running, blob: str) -> bytes:
    with SyncClient(home=node.home, api=node.data["api"]) as api:
        return api.download(blob)
