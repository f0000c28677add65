"""What a request to the gateway asks for, taken from its path, query and headers.

Source: IPFS path gateway and trustless gateway specifications; RFC 9110 section 12.5.1 (Accept).
Looks nothing up. Whatever it cannot make sense of is refused as `argument_invalid` or
`format_unavailable`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import CID_PATH_BYTES_MAX, GATEWAY_ACCEPT_ITEMS_MAX, GATEWAY_FIELDS_MAX

PLAIN, RAW_BLOCK, CAR, JSON, DAG_CBOR = "", "raw", "car", "json", "dag-cbor"
TYPES = {
    "application/vnd.ipld.raw": RAW_BLOCK,
    "application/vnd.ipld.car": CAR,
    "application/json": JSON,
    "application/vnd.ipld.dag-cbor": DAG_CBOR,
}
MISSING_TYPES = {
    "application/x-tar": "tar",
    "application/vnd.ipld.dag-json": "dag-json",
    "application/cbor": "cbor",
    "application/vnd.ipfs.ipns-record": "ipns-record",
}
FORMATS = tuple(TYPES.values())
PROBE = "bafkqaaa"
"""The identity CID of nothing, by which clients find out that this is a gateway."""

_SPAN = re.compile(r"(-?\d{1,18}):(-?\d{1,18}|\*)", re.ASCII)
_QUALITY = re.compile(r"[01](\.\d{0,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CarAsked:
    """A CAR as it is asked for.

    `start`, `last`: bytes of a file, both included, negative from its end; `last` None: the end,
    `start` None: no span. `scope`, `doubled`: as in `node/gateway.py`, CarWanted.
    """

    scope: str
    start: int | None
    last: int | None
    doubled: bool

    def span(self, size: int) -> tuple[int, int] | None:
        """Start and end (exclusive) in a file of `size` bytes; (0, 0) for nothing of it.

        Raises `argument_invalid` when the whole span lies outside the file.
        """
        if self.start is None:
            return None
        start = max(0, size + self.start) if self.start < 0 else self.start
        last = size - 1 if self.last is None else self.last
        end = min(size, (size + last if last < 0 else last) + 1)
        if start >= size > 0:
            raise Dms3Error("argument_invalid", f"The file has {size} bytes: no byte {start}.")
        return (start, end) if start < end else (0, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: `root` (None: the probe), `names` below it, the `form` of the answer.

    `slash`: the path ends with one. `location`: the URL that says the form, when only `Accept` did.
    `car`: for a CAR. `filename`: for saving, "" for none. `download`: it is to be saved.
    """

    path: str
    root: Cid | None
    names: tuple[str, ...]
    slash: bool
    form: str
    location: str
    car: CarAsked | None
    filename: str
    download: bool


def parse_asked(raw_path: bytes, query: bytes, accept: str) -> Asked:
    """What is asked for; `raw_path` is the path as it came, beginning with /ipfs/."""
    path, root, names, slash = _path(raw_path)
    fields = _fields(query)
    form, parameters = _form(fields, accept)
    location = ""
    if form and not fields.get("format"):
        location = f"{path}?{'&'.join(filter(None, (query.decode('latin-1'), f'format={form}')))}"
    car = _car(fields, parameters) if form == CAR else None
    if form == RAW_BLOCK and names:
        raise Dms3Error(
            "argument_invalid",
            "A raw block is asked for by its CID alone, without a path.",
            hint="Ask for format=car, which proves the path too.",
        )
    return Asked(
        path=path,
        root=root,
        names=names,
        slash=slash,
        form=form,
        location=location if location.isprintable() else "",
        car=car,
        filename=fields.get("filename", "")[:255],
        download=fields.get("download", "").lower() == "true",
    )


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match header names `etag` (RFC 9110 section 13.1.2)."""
    given = [item.strip().removeprefix("W/") for item in header.split(",")]
    return "*" in given or etag.removeprefix("W/") in given


def _path(raw: bytes) -> tuple[str, Cid | None, tuple[str, ...], bool]:
    if len(raw) > CID_PATH_BYTES_MAX:
        raise Dms3Error("argument_invalid", f"The path is longer than {CID_PATH_BYTES_MAX} bytes.")
    parts = raw.split(b"/")  # "", "ipfs", CID, ...
    text = parts[2].decode("latin-1") if len(parts) > 2 else ""
    try:
        root = None if text == PROBE else Cid.parse(text)
        names = tuple(unquote_to_bytes(part).decode() for part in parts[3:] if part)
        path = raw.decode("ascii")
    except DecodeError as error:
        raise Dms3Error(
            "argument_invalid",
            f"{text[:80]!r} cannot be asked for: {error.reason}.",
            hint="Ask for /ipfs/CID or /ipfs/CID/PATH.",
        ) from error
    except UnicodeDecodeError as cause:
        raise Dms3Error("argument_invalid", "The path is not UTF-8, percent-encoded.") from cause
    if any("/" in name or "\0" in name for name in names):
        raise Dms3Error("not_found", "No file or folder has such a name.")
    return path, root, names, len(parts) > 3 and not parts[-1]


def _fields(query: bytes) -> dict[str, str]:
    """The parameters; of two with one name the last."""
    try:
        return dict(
            parse_qsl(
                query.decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=GATEWAY_FIELDS_MAX,
            )
        )
    except ValueError as cause:
        raise Dms3Error(
            "argument_invalid", f"The query has more than {GATEWAY_FIELDS_MAX} parameters."
        ) from cause


def _form(fields: dict[str, str], accept: str) -> tuple[str, dict[str, str]]:
    """The form of the answer and the parameters of its type; the query goes before the header."""
    kind, parameters = _preferred(accept)
    wanted = fields.get("format", "")
    if wanted:
        if wanted in MISSING_TYPES.values():
            raise _unavailable(wanted)
        if wanted not in FORMATS:
            raise Dms3Error(
                "argument_invalid",
                f"{wanted[:64]!r} is not a format.",
                hint=f"There are {', '.join(FORMATS)}.",
            )
        return wanted, parameters if TYPES.get(kind) == wanted else {}
    if kind in MISSING_TYPES:
        raise _unavailable(MISSING_TYPES[kind])
    return TYPES.get(kind, PLAIN), parameters


def _preferred(accept: str) -> tuple[str, dict[str, str]]:
    """The media type that an Accept header likes best, and its parameters; "" for no header."""
    found: list[tuple[float, str, dict[str, str]]] = []
    for item in accept.split(",")[:GATEWAY_ACCEPT_ITEMS_MAX]:
        kind, *rest = (part.strip() for part in item.split(";"))
        parameters = {}
        for part in rest:
            key, _, value = part.partition("=")
            parameters[key.strip().lower()] = value.strip().strip('"')
        quality = parameters.pop("q", "1")
        weight = float(quality) if _QUALITY.fullmatch(quality) else 0.0
        if kind and weight:
            found.append((-weight, kind.lower(), parameters))
    if not found:
        return "", {}
    _, kind, parameters = min(found, key=lambda item: item[0])  # the first of equal ones
    return kind, parameters


def _car(fields: dict[str, str], parameters: dict[str, str]) -> CarAsked:
    scope = fields.get("dag-scope", "all")
    if scope not in ("block", "entity", "all"):
        raise Dms3Error(
            "argument_invalid", f"dag-scope {scope[:32]!r} is not block, entity or all."
        )
    for name, known in (("version", ("1",)), ("order", ("dfs", "unk")), ("dups", ("y", "n"))):
        value = fields.get(f"car-{name}") or parameters.get(name) or known[0]
        if value not in known:
            raise _unavailable(f"car with {name}={value[:32]}")
    doubled = (fields.get("car-dups") or parameters.get("dups")) == "y"
    given = fields.get("entity-bytes")
    if given is None:
        return CarAsked(scope, None, None, doubled)
    span = _SPAN.fullmatch(given)
    if span is None:
        raise Dms3Error(
            "argument_invalid",
            f"entity-bytes {given[:64]!r} is not FROM:TO.",
            hint="For example 0:1023, 1024:* or -100:*.",
        )
    last = None if span[2] == "*" else int(span[2])
    return CarAsked("entity", int(span[1]), last, doubled)


def _unavailable(what: str) -> Dms3Error:
    return Dms3Error(
        "format_unavailable",
        f"This gateway does not give {what}.",
        hint="Ask for format=raw or format=car, or for the file without a format.",
    )
