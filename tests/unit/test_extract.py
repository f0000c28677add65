import os
import socket
from pathlib import Path

import pytest

from dms3.core.limits import IMPORT_PART_BYTES
from dms3.io.extract import decode_text, detect_encoding, extract, html_text
from dms3.io.intake import CHANGED, NOT_A_FILE, UnreadableError, read_parts, take_files

PAGE = """<!DOCTYPE html><html><head><title>The  Canal &amp; I</title>
<style>p { color: red }</style><script>var hidden = "<p>no</p>";</script></head>
<body><h1>Marsworth</h1><p>The heron<br>waits</p><svg><text>drawn</text></svg>
<img alt="a grey bird"><p>by the ninth lock.</body></html>"""


def test_html_text_is_what_is_visible() -> None:
    title, text = html_text(PAGE)
    words = text.split()
    assert title == "The  Canal & I"
    assert " ".join(words) == (
        "The Canal & I Marsworth The heron waits a grey bird by the ninth lock."
    )


def test_a_page_without_a_title_is_called_by_its_heading() -> None:
    found = extract("x.html", b"<html><h1>Hello\n there</h1><p>text")
    assert (found.kind, found.title) == ("html", "Hello there")
    assert extract("x.html", b"<p>text").title == "x.html"


def test_broken_html_gives_text_all_the_same() -> None:
    for broken in ("<p>a<![if x]>b", "<!", "<p <p>b", "&#xD800;&#99999999;", "<![CDATA[x]]>"):
        title, text = html_text(broken)
        assert isinstance(title + text, str)
    assert "visible" in html_text("<p>visible<script>never closed")[1]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", "utf-8"),
        (b"plain", "utf-8"),
        ("café".encode(), "utf-8"),
        (b"\xef\xbb\xbfx", "utf-8-sig"),
        ("café".encode("utf-16"), "utf-16"),
        ("café".encode("utf-32"), "utf-32"),
        ("café".encode("latin-1"), "latin-1"),
        ("# coding: koi8-r\nжизнь".encode("koi8-r"), "koi8-r"),
        ("# coding: no-such\ncafé".encode("latin-1"), "latin-1"),
        ("é".encode() * 10 + b"\xc3", "latin-1"),
        (b"a\0b", None),
        (b"\x89PNG\r\n", None),
        (b"%PDF-1.7 text", None),
        (b"\xff\x01\x02\x03", None),
    ],
)
def test_encodings(data: bytes, encoding: str | None) -> None:
    assert detect_encoding(data) == encoding
    if encoding is not None:
        assert isinstance(decode_text(data, encoding), str)


def test_a_character_cut_off_at_the_end_of_the_first_part_is_no_other_encoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dms3.io.extract.IMPORT_PART_BYTES", 21)
    assert detect_encoding("é".encode() * 10 + b"\xc3") == "utf-8"
    assert detect_encoding("é".encode() * 9 + b"\xc3") == "latin-1"


def test_text_decodes_to_what_was_written() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"):
        data = "Grüße".encode(encoding)
        found = detect_encoding(data)
        assert found is not None
        assert decode_text(data, found) == "Grüße"


@pytest.mark.parametrize(
    ("name", "data", "kind", "language", "title"),
    [
        ("notes.md", b"intro\n\n## The *lock* ##\ntext", "markdown", "", "The *lock*"),
        ("notes.md", b"Canals\n======\n", "markdown", "", "Canals"),
        ("notes.md", b"nothing", "markdown", "", "notes.md"),
        ("a.py", b"x = 1", "code", "python", "a.py"),
        ("run", b"#!/usr/bin/env python3\n", "code", "python", "run"),
        ("run", b"#!/bin/sh\n", "code", "shell", "run"),
        ("page", b"  <!doctype HTML><title>T</title>", "html", "", "T"),
        ("letter", b"Dear Bob", "text", "", "letter"),
        ("photo.txt", b"\0\1\2", "file", "", "photo.txt"),
        ("\x01", b"x", "text", "", "untitled"),
    ],
)
def test_kind_language_and_title(
    name: str, data: bytes, kind: str, language: str, title: str
) -> None:
    found = extract(name, data)
    assert (found.kind, found.language, found.title) == (kind, language, title)
    assert (found.note == "binary") == (kind == "file")


def test_titles_are_bounded() -> None:
    assert len(extract("x.html", b"<title>" + b"long " * 10_000).title) <= 300


# intake


def test_files_are_taken_with_their_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    (taken,) = take_files([str(path)])
    assert taken.fault == ""
    assert taken.built is not None
    assert taken.built.blocks[0][1] == b"hello"
    assert taken.stamp == path.stat().st_mtime_ns


def test_what_is_no_readable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo, link, plug = (tmp_path / name for name in ("fifo", "link", "plug"))
    os.mkfifo(fifo)
    link.symlink_to("link")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the path of a socket is at most 108 bytes
        listener.bind("plug")
        paths = [fifo, link, plug, tmp_path, Path("/dev/null"), tmp_path / "gone"]
        faults = [one.fault for one in take_files([str(path) for path in paths])]
    assert faults[0] == NOT_A_FILE
    assert "symbolic link" in faults[1]
    assert faults[2:5] == [NOT_A_FILE] * 3
    assert "vanished" in faults[5]


def test_a_file_that_grew_beyond_one_part_is_not_taken_whole(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(IMPORT_PART_BYTES)
    (taken,) = take_files([str(path)])
    assert taken.fault == ""
    with path.open("ab") as file:
        file.write(b"x")
    (taken,) = take_files([str(path)])
    assert taken.fault == CHANGED


def test_a_file_that_changes_while_it_is_read_in_parts_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"a" * 100)
    state = path.stat()
    assert b"".join(read_parts(str(path), state.st_mtime_ns, 100)) == b"a" * 100
    parts = read_parts(str(path), state.st_mtime_ns, 100)
    next(parts)
    os.utime(path, ns=(1, 1))
    with pytest.raises(UnreadableError, match="changed"):
        next(parts)
    with pytest.raises(UnreadableError, match="changed"):
        next(read_parts(str(path), 2, 100))
