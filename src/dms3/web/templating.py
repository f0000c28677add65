"""HTML from the templates beside this module: every value escaped, nothing from outside.

Source: docs/page.md, "How it is built". It decides nothing about what is shown, only how numbers,
times and identifiers look: with a unit, as `<time>`, never longer than twelve characters.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dms3 import __version__
from dms3.core.limits import SECOND_US

TEMPLATES = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HASH_CHARS_SHOWN = 12
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # Unicode UAX 9: embedding, override, isolate
_KEY_NAME = re.compile(
    r"(0x[0-9a-fA-F]{10}|[a-z2-7]{12})(?:[0-9a-fA-F]{30}|[a-z2-7]{40})((?:\.\w+)*)"
)
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")


class Pages:
    """The templates and static files of one node's page."""

    def __init__(self) -> None:
        self._static = {
            path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES
        }
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=straight,
        )
        self._environment.filters |= {
            "size": size,
            "number": number,
            "count": counted,
            "when": when,
            "day": day,
            "clock": clock,
            "lately": lately,
            "short": short,
            "marked": marked,
            "origin": origin,
            "handle": handle,
        }
        self._environment.globals |= {"version": __version__, "static": self.address}

    def html(
        self, request: Request, template: str, status: int = 200, /, **values: Any
    ) -> HTMLResponse:
        """The page made from `template`."""
        page = self._environment.get_template(template)
        return HTMLResponse(page.render(path=request.url.path, **values), status)

    def address(self, name: str) -> str:
        """Where the static file `name` is; another content has another address."""
        return f"/static/{name}?v={hashlib.sha256(self._static[name]).hexdigest()[:8]}"

    def static(self, name: str) -> Response:
        """The static file `name`, which a browser may keep."""
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(
            self._static[name], headers=headers, media_type=MEDIA_TYPES[Path(name).suffix]
        )

    @property
    def names(self) -> list[str]:
        """The names of all static files."""
        return sorted(self._static)


def straight(value: Any) -> Any:
    """A value without what turns the direction of text around: names must read as they are."""
    if not isinstance(value, str):
        return value
    text = _TURNS.sub("", value)
    return Markup(text) if isinstance(value, Markup) else text  # noqa: S704 - it was one before


def size(count: float) -> str:
    """`count` bytes with a unit: "57 bytes", "1.2 MB"."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    if unit == 0:
        return counted(int(count), "byte")
    return f"{count:.1f} {_UNITS[unit]}" if count < 9.95 else f"{count:.0f} {_UNITS[unit]}"


def number(count: int) -> str:
    """`count` with its thousands apart: "12,345"."""
    return f"{count:,}"


def counted(count: int, noun: str, many: str = "") -> str:
    """`count` and what is counted: "1 document", "12,345 documents"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def when(us: int | None) -> Markup:
    """A moment, in microseconds: shown in local time by the page's script, exact on hover."""
    return _time(us, "%d %B %Y, %H:%M UTC", "moment")


def day(us: int | None) -> Markup:
    """The day of a moment, in microseconds."""
    return _time(us, "%d %B %Y", "day")


def clock(us: int | None) -> Markup:
    """A moment among others of the same day: the page's script leaves the time of day."""
    return _time(us, "%d %B %Y, %H:%M UTC", "clock")


def lately(us: int | None) -> Markup:
    """A moment where there is little room: the script leaves the time of today, or the day."""
    return _time(us, "%d %B %Y, %H:%M UTC", "lately")


def _time(us: int | None, shape: str, kind: str) -> Markup:
    if us is None:
        return Markup("")
    try:
        moment = datetime.fromtimestamp(us // SECOND_US, UTC)
    except (ValueError, OverflowError, OSError):  # a file may carry any date
        return Markup("a date that no calendar has")
    exact = moment.isoformat().replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-time="{}" title="{}">{}</time>').format(
        exact, kind, exact, moment.strftime(shape).lstrip("0")
    )


def short(identifier: str, what: str = "the identifier") -> Markup:
    """An identifier: its beginning, and a button that copies the whole."""
    if len(identifier) <= HASH_CHARS_SHOWN:
        return Markup("<code>{}</code>").format(identifier)
    return Markup(
        '<span class="hash"><code>{}</code> <button type="button" class="copy needs-script" '
        'data-copy="{}" aria-label="Copy {}">copy</button></span>'
    ).format(identifier[:HASH_CHARS_SHOWN], identifier, what)


def handle(name: str) -> str:
    """A name of somebody; of one that is a key or an address only its beginning and ending."""
    match = _KEY_NAME.fullmatch(name)
    return f"{match[1]}\u2026{match[2]}" if match else name


def origin(source: str) -> str:
    """Where a document came from: a path, or the path inside what was uploaded."""
    if not source.startswith("upload:"):
        return source
    return f"uploaded as {source.partition('/')[2]}"


def marked(text: str, marks: Sequence[Sequence[int]] = ()) -> Markup:
    """`text` escaped, with the (start, end) places of `marks` in <mark>."""
    parts: list[Markup] = []
    place = 0
    for start, end in marks:
        if place <= start < end <= len(text):
            parts += [escape(text[place:start]), Markup("<mark>{}</mark>").format(text[start:end])]
            place = end
    return Markup("").join([*parts, escape(text[place:])])


def shell(*words: str, **options: object) -> str:
    """A command line a person can paste: `words`, then the options that are not None or ""."""
    line = ["dms3", *words]
    for name, value in _given(options).items():
        line += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(line)


def _given(options: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value not in (None, "")}
