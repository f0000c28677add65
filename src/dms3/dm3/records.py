"""Text records of ENS: a profile in the record itself, behind a link with its hash, or pinned.

Source: the dm3 specification, "Registry", and the reference's resolver; docs/dm3.md, "Formats". Raw
and base64 data are written; percent-encoded data, which the specification allows and the reference
cannot read, is read as well. Does not fetch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_RECORD_BYTES_MAX, DM3_URL_CHARS_MAX
from dms3.dm3.canonical import (
    canonical,
    check_hash,
    decode_base64,
    encode_base64,
    hash_text,
    parse,
)

PROFILE_KEY = "network.dm3.profile"
SERVICE_KEY = "network.dm3.deliveryService"
_DATA = re.compile(r"data:application/json((?:;[a-z]+=[A-Za-z0-9-]+)*)(;base64)?,", re.IGNORECASE)
_HTTP = re.compile(r"https?://[^\s]+")
_HASH_PARAMETER = "dm3Hash="
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Inline:
    """The JSON `value` stands in the record."""

    value: Any


@dataclass(frozen=True, slots=True)
class Linked:
    """The JSON lies at `url` (http or https); its canonical form has the hash `hash`."""

    url: str
    hash: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """The JSON is the content `cid`."""

    cid: Cid


def read_record(text: str) -> Inline | Linked | Pinned:
    """What a text record says; raises DecodeError for text of any other form."""
    if len(text) > DM3_RECORD_BYTES_MAX:
        raise DecodeError(DM3_RECORD_BYTES_MAX, "a record is too long")
    if match := _DATA.match(text):
        return Inline(_inline(text[match.end() :], match[2] is not None))
    if _HTTP.fullmatch(text):
        return _linked(text)
    if text.startswith("ipfs://"):
        return Pinned(Cid.parse(text.removeprefix("ipfs://").strip("/")))
    raise DecodeError(0, "a record is a data:, http(s): or ipfs: URI")


def check_linked(linked: Linked, body: str | bytes) -> Any:
    """The JSON value of `body`, what lies at the link; raises DecodeError when it is another."""
    value = parse(body, DM3_RECORD_BYTES_MAX)
    if hash_text(canonical(value)) != linked.hash:
        raise DecodeError(0, "what lies behind the link is not what the record names")
    return value


def data_uri(text: str) -> str:
    """The record with the JSON `text` in it as it stands, which every reader understands."""
    return f"data:application/json,{text}"


def data_uri_base64(text: str) -> str:
    """As `data_uri`, in base64: for writers of records that change what is between braces."""
    return f"data:application/json;base64,{encode_base64(text.encode())}"


def link_uri(url: str, text: str) -> str:
    """The record that links to `url`, where canonical JSON `text` lies."""
    return f"{url}{'&' if '?' in url else '?'}{_HASH_PARAMETER}{hash_text(text)}"


def _inline(data: str, is_base64: bool) -> Any:
    if is_base64:
        return parse(decode_base64(data), DM3_RECORD_BYTES_MAX)
    if data.lstrip()[:1] == "{":  # raw: a per cent sign in it is one
        return parse(data, DM3_RECORD_BYTES_MAX)
    try:
        plain = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), data.encode())
    except UnicodeError as cause:
        raise DecodeError(0, f"not Unicode: {cause}") from cause
    return parse(plain, DM3_RECORD_BYTES_MAX)


def _linked(url: str) -> Linked:
    if len(url) > DM3_URL_CHARS_MAX:
        raise DecodeError(DM3_URL_CHARS_MAX, "a link is too long")
    query = url.partition("#")[0].partition("?")[2]
    for parameter in query.split("&"):
        if parameter.startswith(_HASH_PARAMETER):
            return Linked(url, check_hash(parameter.removeprefix(_HASH_PARAMETER)))
    raise DecodeError(0, f"a link to a profile ends in ?{_HASH_PARAMETER} and its hash")
