"""Decoders of the files and search part, for the fuzz harness: returns or raises DecodeError."""

from __future__ import annotations

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link, decode_node
from dms3.core.errors import Dms3Error
from dms3.core.hamt import murmur3_64
from dms3.core.unixfs import build_directory, build_file
from dms3.core.unixfs_read import decode_block, links_of
from dms3.io.extract import extract
from dms3.search.condition import parse_conditions
from dms3.search.query import match_text, parse_query
from dms3.search.snippet import cut_snippet, make_snippet


def _unixfs(data: bytes) -> None:
    cid = Cid.of_digest(DAG_PB, bytes(32))
    decode_block(cid, data)
    links_of(cid, data)


def _must_be_refusal(error: Dms3Error) -> None:
    assert error.code == "argument_invalid"


def _query(data: bytes) -> None:
    """People's input: a clear refusal is allowed, nothing else."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        query = parse_query(text)
    except Dms3Error as error:
        _must_be_refusal(error)
        return
    match_text(query).encode()


def _snippet(data: bytes) -> None:
    """A snippet of what a query also looks for: every text has one."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        query = parse_query(text)
    except Dms3Error as error:
        _must_be_refusal(error)
        return
    make_snippet(text, query)
    cut_snippet(data, "utf-8", query)


def _condition(data: bytes) -> None:
    try:
        parse_conditions([data.decode("latin-1")])
    except Dms3Error as error:
        _must_be_refusal(error)


def _extract(data: bytes) -> None:
    extract("page.html", data)
    extract("notes.md", data)
    extract("unknown", data)


_LEAF = Cid.of(RAW, b"x")
_FILE = build_file(bytes(600_000)).blocks[-1][1]
_SHARDS = build_directory(Link(_LEAF, f"{n:04}" + "y" * 200, 1) for n in range(1_300)).blocks
_PAGE = b"<!doctype html><title>A &amp; B</title><script>x</script><p>text<br><img alt='c'>"

FUZZ = {
    "dag_pb": decode_node,
    "unixfs": _unixfs,
    "murmur3": murmur3_64,
    "query": _query,
    "snippet": _snippet,
    "condition": _condition,
    "extract": _extract,
}

SEEDS = {
    "dag_pb": [_FILE, b"\x0a\x02\x08\x01", _SHARDS[0][1]],
    "unixfs": [_FILE, b"\x0a\x02\x08\x01", _SHARDS[0][1], b"\x0a\x08\x08\x04\x12\x04/etc"],
    "murmur3": [b"", b"hello", bytes(40)],
    "snippet": [b'heron "ninth lock" -tow OR egret pre*', b"lock lock lock \x00\xff*"],
    "query": [b'heron "ninth lock" -tow OR egret pre*', "caf\u00e9 \u4e2d".encode(), b"\x00\xff*"],
    "condition": [b"bytes:1KB..2MiB", b"modified:2026-01-02T03:04:05+01:00..", b"name:*.py"],
    "extract": [_PAGE, "caf\u00e9".encode("utf-16"), b"# Title\n\ntext", b"<![x]><!--->"],
}

COUNTS = {"snippet": (5_000, "no decoder: each input is cut into a snippet of itself, 0.3 ms")}

SLOW = {"extract", "query", "unixfs"}
