"""The CIDs of our files and folders equal those of an IPFS library with kubo's options."""

import json
import subprocess
from pathlib import Path

import pytest

from dms3.core.dag_pb import Link
from dms3.core.limits import CHUNK_BYTES, DIRECTORY_BYTES_MAX, LINKS_PER_NODE_MAX
from dms3.core.unixfs import FileBuilder, build_directory, build_file
from interop.peer import PEERS, need

pytestmark = pytest.mark.interop

MB = 1_000_000
PIECE = bytes(range(256)) * 4096  # 1 MiB
CID_BYTES = 36


def write(path: Path, size: int) -> None:
    """A file of `size` bytes in which no two chunks are equal."""
    with path.open("wb") as file:
        for number, start in enumerate(range(0, size, len(PIECE))):
            piece = bytearray(PIECE)
            for chunk in range(0, len(PIECE), CHUNK_BYTES):
                piece[chunk : chunk + 8] = (number * len(PIECE) + chunk).to_bytes(8, "big")
            file.write(piece[: min(len(PIECE), size - start)])


def ours(path: Path) -> Link:
    """The entry of a file or folder, computed by us."""
    if path.is_dir():
        return build_directory(ours(inside) for inside in path.iterdir()).link(path.name)
    builder = FileBuilder()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            builder.add(piece)
    return builder.finish().link(path.name)


def theirs(path: Path) -> str:
    """The CID according to ipfs-unixfs-importer."""
    need("js")
    program = ["node", "--import", "./polyfill.mjs", "unixfs_importer.mjs", str(path)]
    found = subprocess.run(
        program, cwd=PEERS / "js", check=True, capture_output=True, text=True, timeout=200
    )
    cid: str = json.loads(found.stdout)["cid"]
    return cid


SIZES = (
    *(0, 1, MB, 10 * MB, 300 * MB),
    *(CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1),
    *(LINKS_PER_NODE_MAX * CHUNK_BYTES, LINKS_PER_NODE_MAX * CHUNK_BYTES + 1),
)


@pytest.mark.parametrize("size", SIZES)
def test_file(tmp_path, size):
    path = tmp_path / "file"
    write(path, size)
    assert str(ours(path).cid) == theirs(path)
    path.unlink()


def folder(root: Path, entries: int, name_chars: int) -> Path:
    root.mkdir()
    for number in range(entries):
        (root / f"{number:0{name_chars}}").write_bytes(b"content %d" % number)
    return root


@pytest.mark.parametrize(
    ("entries", "name_chars"),
    [
        (0, 4),
        (2000, 9),  # plain: 90,000 bytes of links
        (6000, 9),  # sharded: 270,000 bytes of links
        (DIRECTORY_BYTES_MAX // 64, 64 - CID_BYTES),  # exactly the limit: plain
        (DIRECTORY_BYTES_MAX // 64 + 1, 64 - CID_BYTES),  # one entry more: sharded
    ],
)
def test_folder(tmp_path, entries, name_chars):
    path = folder(tmp_path / "folder", entries, name_chars)
    assert str(ours(path).cid) == theirs(path)


def test_folder_of_folders_and_names_beyond_ascii(tmp_path):
    root = folder(tmp_path / "root", 3, 4)
    folder(root / "Übergröße", 6000, 9)
    folder(root / "空", 0, 4)
    (root / "🌱 leaf.txt").write_text("grün")
    write(root / "large", 3 * MB)
    assert str(ours(root).cid) == theirs(root)


def test_whole_file_in_memory_is_the_same(tmp_path):
    path = tmp_path / "file"
    write(path, MB)
    assert build_file(path.read_bytes()).cid == ours(path).cid
