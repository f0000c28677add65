"""What a text record of a name leads to: inline JSON, a URL with its hash, or pinned content.

Source: dm3 specification, "Registry"; docs/names.md. A URL is fetched by the io port `web`, which
connects to no private address; what comes is believed for its hash, or for its CID, alone.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.limits import PROFILE_RECORD_BYTES_MAX
from dms3.core.unixfs_read import FileNode, decode_block
from dms3.dm3.canonical import parse
from dms3.dm3.outside import FetchUrl
from dms3.dm3.records import Inline, Linked, Pinned, check_linked, read_record
from dms3.names.steps import Ask, Wanted

GATEWAY = "https://ipfs.io/ipfs/{cid}?format=raw"
"""A trustless gateway (IPFS HTTP gateway specification): it gives the block as it is."""


def read_text(name: str, text: str) -> Generator[Wanted, Any, Any]:
    """The JSON value of the record `text` of `name`; raises `content_invalid`, or as a fetch."""
    try:
        found = read_record(text)
    except DecodeError as error:
        raise _wrong(name, error.reason) from error
    if isinstance(found, Inline):
        return found.value
    if isinstance(found, Linked):
        body = yield from _fetched(name, FetchUrl(found.url, PROFILE_RECORD_BYTES_MAX))
        try:
            return check_linked(found, body)
        except DecodeError as error:
            raise _wrong(name, error.reason) from error
    return (yield from _pinned(name, found))


def _pinned(name: str, found: Pinned) -> Generator[Wanted, Any, Any]:
    """The block comes from anybody; its own hash says whether it is the right one."""
    url = GATEWAY.format(cid=found.cid)
    body = yield from _fetched(name, FetchUrl(url, PROFILE_RECORD_BYTES_MAX))
    if not found.cid.matches(body):
        raise _wrong(name, "what came is not the content that it names")
    try:
        node = decode_block(found.cid, body)
        if not isinstance(node, FileNode) or node.parts:
            raise _wrong(name, "its content is no file of one block")
        return parse(node.data, PROFILE_RECORD_BYTES_MAX)
    except DecodeError as error:
        raise _wrong(name, error.reason) from error


def _fetched(name: str, wanted: FetchUrl) -> Generator[Wanted, Any, bytes]:
    answer = yield Ask("web.fetch", wanted)
    if isinstance(answer, Failure):
        error = answer.error()
        why = f"The record of {name} leads elsewhere: {error.message}"
        raise Dms3Error(error.code, why, retry=answer.retry)
    body: bytes = answer
    return body


def _wrong(name: str, why: str) -> Dms3Error:
    return Dms3Error("content_invalid", f"The record of {name} is not valid: {why}.")
