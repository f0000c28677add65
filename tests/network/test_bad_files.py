"""Bad files through the API of a real node: skipped with a reason, counted, nothing disturbed."""

from __future__ import annotations

import os
import socket
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import IMPORT_FILE_BYTES_MAX, KIB, MIB, PATH_PARTS_MAX
from network.running import Running, running

EMPTY_FILES = 5_000
SPARSE_BYTES = IMPORT_FILE_BYTES_MAX + 1


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("files") / "home") as node:
        yield node


def add(node: Running, space: str, *paths: Path) -> dict[str, Any]:
    return node.call("store", "add", paths=[str(path) for path in paths], space=space)


def reasons(result: dict[str, Any]) -> Counter[str]:
    assert result["skipped_count"] == len(result["skipped"])
    return Counter(one["reason"] for one in result["skipped"])


def again(node: Running, space: str, *paths: Path) -> dict[str, Any]:
    """The same import a second time: nothing is new, the same things are skipped."""
    before = node.call("store", "list", space=space, limit=10_000)["documents"]
    result = add(node, space, *paths)
    assert (result["documents"], result["bytes"]) == (0, 0)
    assert node.call("store", "list", space=space, limit=10_000)["documents"] == before
    assert node.call("status")["ready"] is True
    return result


def test_things_that_are_no_files_are_skipped_and_nothing_waits(
    node: Running, tmp_path: Path
) -> None:
    (tmp_path / "good.txt").write_text("a good kingfisher")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        (tmp_path / "loop-a").symlink_to("loop-b")
        (tmp_path / "loop-b").symlink_to("loop-a")
        (tmp_path / "self").symlink_to(".")
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "out").symlink_to("/etc/hostname")
        first = add(node, "odd", tmp_path)
        assert first["documents"] == 1
        assert reasons(first) == {
            "not a regular file": 2,
            "a symbolic link; links are not followed": 5,
        }
        second = again(node, "odd", tmp_path)
        assert second["unchanged"] == 1
        assert reasons(second) == reasons(first)
        assert second["root"] == first["root"]
    assert node.call("search", query="kingfisher", space="odd")["total"] == 1


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/null", "/proc/self/mem", "/dev/tty"])
def test_a_device_or_pipe_that_is_named_is_skipped(
    node: Running, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    result = add(node, "devices", path)
    assert (result["documents"], result["skipped_count"], result["root"]) == (0, 1, None)


def test_loops_and_missing_paths_that_are_named_are_refused_by_name(
    node: Running, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / "none", tmp_path / "none" / "below"):
        with pytest.raises(Dms3Error, match=r"symbolic link|no file or folder") as caught:
            add(node, "named", path)
        assert caught.value.code == "not_found"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what has no read permission")
def test_unreadable_files_and_folders_are_skipped(node: Running, tmp_path: Path) -> None:
    (tmp_path / "shut.txt").write_text("x")
    (tmp_path / "shut.txt").chmod(0)
    (tmp_path / "folder").mkdir(mode=0)
    assert reasons(add(node, "shut", tmp_path)) == {"it cannot be read: permission denied": 2}
    (tmp_path / "folder").chmod(0o700)


def test_files_that_the_system_will_not_read_are_skipped(node: Running) -> None:
    """/proc holds files that root too cannot read, that vanish, and whose size is a lie."""
    result = add(node, "proc", Path(f"/proc/{os.getpid()}/attr"), Path("/proc/self/task"))
    assert result["skipped_count"] > 0
    assert all(one["reason"] for one in result["skipped"])
    assert node.call("status")["ready"] is True


def test_odd_names_arrive_as_they_are_or_are_skipped(node: Running, tmp_path: Path) -> None:
    good = ["\u202egnp.txt", "\U0001f600.txt", "x" * 251 + ".txt", " .txt", "-rf.txt", "%2e.txt"]
    for index, name in enumerate(good):
        (tmp_path / name).write_text(f"heronnumber{index}")
    bad = [b"latin\xe9.txt", b"\xff\xfe", b"cut\xf0\x9f\x98", b"new\nline.txt", b"\x1b[31m.txt"]
    for name in bad:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("never found")
    result = add(node, "names", tmp_path)
    assert result["documents"] == len(good)
    assert reasons(result) == {
        "its name is not UTF-8": 3,
        "its name contains control characters": 2,
    }
    assert all(one["path"].isprintable() for one in result["skipped"])
    listed = node.call("store", "list", space="names")["documents"]
    assert {row["name"] for row in listed} == set(good)
    for index in range(len(good)):
        assert node.call("search", query=f"heronnumber{index}", space="names")["total"] == 1
    assert again(node, "names", tmp_path)["unchanged"] == len(good)


def test_what_is_no_text_is_kept_and_said(node: Running, tmp_path: Path) -> None:
    (tmp_path / "noise.bin").write_bytes(os.urandom(100 * KIB))
    (tmp_path / "zeros.txt").write_bytes(bytes(100 * KIB))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("zeros", bytes(64 * MIB))
    first = add(node, "binary", tmp_path)
    assert first["documents"] == 0
    assert reasons(first) == {"binary: stored, found by its name only": 3}
    assert first["root"] is not None, "a folder of only skipped files is a folder"
    assert again(node, "binary", tmp_path)["root"] == first["root"]


def test_a_folder_with_nothing_to_keep(node: Running, tmp_path: Path) -> None:
    (tmp_path / "pipes").mkdir()
    for index in range(10):
        os.mkfifo(tmp_path / "pipes" / f"{index}")
    result = add(node, "nothing", tmp_path / "pipes")
    assert (result["documents"], result["skipped_count"]) == (0, 10)
    again(node, "nothing", tmp_path / "pipes")


def test_a_sparse_file_beyond_the_limit_is_skipped_unread(node: Running, tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(SPARSE_BYTES)
    (tmp_path / "small.txt").write_text("beside the huge one")
    before = node.memory()
    result = add(node, "huge", tmp_path)
    assert result["documents"] == 1
    assert reasons(result) == {f"larger than {IMPORT_FILE_BYTES_MAX >> 30} GiB": 1}
    assert node.memory() - before < 32 * MIB


def test_gigantic_lines_and_scripts_are_text(node: Running, tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("longword" * (MIB // 8) + " endofline")
    script = "<script>secretcode('x')</script>"
    html = f"<title>Page</title>{script}<p onclick=evil()>shown &lt;b&gt; words</p>"
    (tmp_path / "page.html").write_text(html)
    (tmp_path / "deep.html").write_text("<div>" * 50_000 + "deepest words" + "</div>" * 50_000)
    (tmp_path / "broken.html").write_text("<" * 20_000 + "!--" * 20_000 + "&" * 20_000)
    result = add(node, "text", tmp_path)
    assert result["documents"] + result["skipped_count"] == 4
    assert node.call("search", query="endofline", space="text")["total"] == 1
    assert node.call("search", query="deepest", space="text")["total"] == 1
    assert node.call("search", query="secretcode", space="text")["total"] == 0
    hit = node.call("search", query="shown", space="text")["hits"][0]
    assert hit["title"] == "Page"
    assert "<script" not in hit["snippet"]
    again(node, "text", tmp_path)


def test_deep_folders_are_walked_up_to_the_bound(node: Running, tmp_path: Path) -> None:
    folder = tmp_path
    for depth in range(PATH_PARTS_MAX + 20):
        folder /= "d"
        folder.mkdir()
        (folder / "file.txt").write_text(f"level {depth}")
    result = add(node, "deep", tmp_path)
    assert result["documents"] == PATH_PARTS_MAX - 1
    assert reasons(result) == {f"deeper than {PATH_PARTS_MAX} folders": 1}
    assert again(node, "deep", tmp_path)["unchanged"] == PATH_PARTS_MAX - 1


def test_thousands_of_empty_files(node: Running, tmp_path: Path) -> None:
    for index in range(EMPTY_FILES):
        (tmp_path / f"{index:04}.txt").touch()
    first = add(node, "empty", tmp_path)
    assert first["documents"] == EMPTY_FILES
    assert first["skipped_count"] == 0
    second = again(node, "empty", tmp_path)
    assert second["unchanged"] == EMPTY_FILES
    assert second["root"] == first["root"]


def test_files_that_vanish_grow_and_change_while_they_are_imported(
    node: Running, tmp_path: Path
) -> None:
    for index in range(300):
        (tmp_path / f"{index:03}.txt").write_text(f"steady words {index} " * 50)
    growing, large = tmp_path / "z-growing.txt", tmp_path / "z-large.bin"
    growing.write_text("it grows ")
    large.write_bytes(os.urandom(40 * MIB))
    stop = threading.Event()

    def disturb() -> None:
        victims = sorted(tmp_path.glob("2*.txt"), reverse=True)
        while not stop.is_set():
            if victims:
                victims.pop().unlink()
            with growing.open("a") as file:
                file.write("more " * 100)
            with large.open("r+b") as file:
                file.write(os.urandom(10))
            stop.wait(0.001)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        result = add(node, "moving", tmp_path)
    finally:
        stop.set()
        disturber.join()
    print(reasons(result))
    steady = [path for path in tmp_path.glob("*.txt") if path != growing]
    assert len(steady) <= result["documents"] + result["skipped_count"] <= 302
    assert set(reasons(result)) <= {
        "it vanished before it was read",
        "it changed while it was read",
        "binary: stored, found by its name only",
    }
    assert reasons(result)["it changed while it was read"] >= 1
    settled = add(node, "moving", tmp_path)
    assert settled["documents"] + settled["unchanged"] + settled["skipped_count"] >= len(steady) + 2
    assert reasons(settled) == {"binary: stored, found by its name only": 1}
    found = {
        row["source"] for row in node.call("store", "list", space="moving", limit=1000)["documents"]
    }
    assert {str(path) for path in steady} <= found
    again(node, "moving", tmp_path)


def test_the_home_of_a_node_is_never_a_document(node: Running, tmp_path: Path) -> None:
    """Who imports the folder of all folders must not share the keys to everything."""
    (tmp_path / "home").symlink_to(node.home)
    around = node.home.parent / "around"
    around.mkdir()
    (around / "note.txt").write_text("beside the home")
    result = add(node, "all", node.home.parent)
    assert reasons(result)["the home of a node; it holds keys"] == 1
    for inside in (node.home, tmp_path / "home", node.home / "packs", node.home / "api.token"):
        with pytest.raises(Dms3Error, match="the home of a node") as caught:
            add(node, "all", inside)
        assert caught.value.code == "argument_invalid"
    listed = node.call("store", "list", space="all", limit=1_000)["documents"]
    assert {row["name"] for row in listed} >= {"note.txt"}
    assert not [row for row in listed if row["source"].startswith(f"{node.home}/")]


def test_the_store_is_whole_afterwards(node: Running) -> None:
    assert node.call("store", "verify")["damaged"] == []
