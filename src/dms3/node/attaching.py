"""Files in messages: read from disk or uploads into data URIs, and out of them again.

Source: dm3 specification, attachments; RFC 2397 (data URIs). A file travels inside its message, so
a delivery service bounds it. A URI that points elsewhere is shown and never followed.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from dms3.core.errors import Dms3Error
from dms3.core.limits import ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, BLOB_NAME_CHARS_MAX
from dms3.dm3.message import Attachment
from dms3.io.spool import Spool
from dms3.node.publishing import plain_text
from dms3.node.table import BlobOrPath

UNKNOWN = "application/octet-stream"
_DATA = re.compile(r"data:([\w.+-]{1,64}/[\w.+-]{1,64})?((?:;[\w.+=-]{1,80}){0,4}),", re.ASCII)
_PADDING = 2_048  # what is sealed is padded to a multiple of this
_AROUND_BYTES = 6_100  # of an envelope, beside the message: measured with an empty one


class Inside:
    """The content of an attachment, for whoever streams files (`node/services_content.py`)."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.size = len(data)
        self._data = data

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end`, in one piece."""
        yield self._data[start:end]


def attach(files: Sequence[BlobOrPath], spool: Spool) -> tuple[Attachment, ...]:
    """The files as attachments; raises `argument_invalid`, `body_too_large`. For a thread."""
    if len(files) > ATTACHMENTS_MAX:
        raise Dms3Error(
            "argument_invalid",
            f"{len(files)} files are too many for one message; {ATTACHMENTS_MAX} fit.",
            hint="Share a space for more: dms3 store share SPACE --with CONTACT.",
        )
    return tuple(_attachment(file, _bytes_of(file, spool)) for file in files)


def _bytes_of(file: BlobOrPath, spool: Spool) -> bytes:
    try:
        if file.blob is not None:
            size = spool.size(file.blob)
            check_size(file.name, size)
            return b"".join(spool.read(file.blob))
        path = Path(file.value)
        check_size(file.name, path.stat().st_size)
        with path.open("rb") as opened:
            data = opened.read(ATTACHMENT_BYTES_MAX + 1)
    except OSError as cause:
        raise Dms3Error(
            "argument_invalid", f"{file.value[:200]} cannot be read: {cause.strerror}."
        ) from cause
    check_size(file.name, len(data))
    return data


def check_size(name: str, size: int) -> None:
    """Raise `body_too_large` for a file that no message can carry."""
    if size > ATTACHMENT_BYTES_MAX:
        raise Dms3Error(
            "body_too_large",
            f"{name[:80]} has {size:,} bytes; a message carries at most {ATTACHMENT_BYTES_MAX:,}.",
            hint="Share a space instead: dms3 store share SPACE --with CONTACT.",
        )


def _attachment(file: BlobOrPath, data: bytes) -> Attachment:
    media = mimetypes.guess_type(file.name)[0] or UNKNOWN
    return Attachment(file.name, f"data:{media};base64,{base64.b64encode(data).decode()}")


def envelope_bytes(message_bytes: int) -> int:
    """About how many bytes an envelope has around a message whose canonical JSON has these."""
    padded = (message_bytes // _PADDING + 1) * _PADDING
    return _AROUND_BYTES + padded * 4 // 3


def attachment_room(limit: int) -> int:
    """About how many bytes of a file fit into an envelope of `limit` bytes."""
    return max(0, (limit - _AROUND_BYTES) * 9 // 16 - _PADDING)


def media_of(uri: str) -> str:
    """The media type that a data URI names; "" for one that points elsewhere."""
    found = _DATA.match(uri[:512])
    return (found[1] or UNKNOWN) if found else ""


def decoded_size(uri: str) -> int:
    """Bytes of the file in a data URI, about; 0 for one that points elsewhere."""
    found = _DATA.match(uri[:512])
    if found is None:
        return 0
    if not found[2].lower().endswith(";base64"):
        return len(uri) - found.end()
    ends = uri[-2:].count("=")
    return (len(uri) - found.end()) * 3 // 4 - ends


def contents(uri: str) -> bytes:
    """The file in a data URI; raises `content_unavailable` for one that points elsewhere."""
    found = _DATA.match(uri[:512])
    if found is None:
        raise Dms3Error(
            "content_unavailable",
            f"The attachment is not in the message; it lies at {plain_text(uri)[:200]}.",
            hint="Whoever opens that address is seen by its owner.",
        )
    data = uri[found.end() :]
    if not found[2].lower().endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(unquote_to_bytes(data), validate=True)
    except (binascii.Error, ValueError) as cause:
        raise Dms3Error("content_invalid", "The attachment is not in base64.") from cause


def shown_name(one: Attachment, number: int) -> str:
    """A name for saving: that of the file, without what could lead elsewhere."""
    name = plain_text(one.name or "").replace("/", "_").replace("\\", "_").strip(". ")
    return name[:BLOB_NAME_CHARS_MAX] or f"attachment-{number}"


def reference(message: str, number: int) -> str:
    """The name under which `GET /api/v1/blob/` gives attachment `number` of a message."""
    return f"{message}-{number}"
