"""The text, title and kind of a file's bytes; runs inside a worker process and never raises.

Source: docs/architecture.md (work over 2 ms runs in worker processes); WHATWG HTML for which
elements hold no text. Plain text, Markdown, source code and HTML; anything else is a `file` with
a name and no text. It keeps nothing and does not open files (`io/intake.py` does).
"""

from __future__ import annotations

import codecs
import html
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from dms3.core.limits import (
    HIT_TITLE_CHARS_MAX,
    IMPORT_PART_BYTES,
    IMPORT_SNIFF_BYTES,
    TITLE_SCAN_CHARS_MAX,
)
from dms3.search.kind import CODE, FILE, HTML, MARKDOWN, TEXT, kind_of_name

UNTITLED = "untitled"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY_STARTS = (
    b"%PDF-",
    b"\x89PNG",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"\x7fELF",
    b"GIF8",
    b"\xff\xd8",
)
_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")  # not in text: BEL..CR and ESC are
_DECLARED = re.compile(rb"(?:charset|coding)\s*[=:]\s*[\"']?([-\w.]{1,40})", re.IGNORECASE)
_DECLARABLE = frozenset(
    [
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "iso-8859-1",
        "iso-8859-2",
        "iso-8859-5",
        "iso-8859-15",
        "koi8-r",
        "koi8-u",
        "latin-1",
        "latin1",
        "macroman",
        "shift_jis",
        "euc-jp",
        "iso-2022-jp",
        "euc-kr",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
    ]
)
_HTML_START = re.compile(
    rb"\s*(?:<!--.{0,400}?-->\s*)?<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)
_TAGS = re.compile(r"<[^<>]*>")
_SPACES = re.compile(r"\s+")
_HEADING = re.compile(
    r"^(?:#{1,6}[ \t]+(.{1,300}?)[ \t]*#*[ \t]*|(.{1,300})\n[=-]{3,})$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What is known of a file's content.

    `encoding`: how its bytes become its text, "" when they have none. `text`: set only when the
    text is not simply the decoded bytes. `note`: why it is not searchable, "" when it is.
    """

    kind: str
    language: str
    title: str
    encoding: str
    text: str | None = field(default=None, repr=False)
    note: str = ""


def extract(name: str, data: bytes) -> Extracted:
    """What the file called `name` with content `data` (or its beginning) is."""
    encoding = detect_encoding(data)
    if encoding is None:
        return Extracted(FILE, "", title_of_name(name), "", note="binary")
    kind, language = _kind(name, data)
    if kind == HTML:
        title, text = html_text(decode_text(data, encoding))
        return Extracted(kind, language, clean_title(title) or title_of_name(name), encoding, text)
    title = ""
    if kind == MARKDOWN:
        title = _heading(decode_text(data[: 4 * TITLE_SCAN_CHARS_MAX], encoding))
    return Extracted(kind, language, clean_title(title) or title_of_name(name), encoding)


def detect_encoding(data: bytes) -> str | None:
    """The name of the encoding of text `data`, or None when it is binary.

    In the first part of a large file a last character that is cut off does not count.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding
    start = data[:IMPORT_SNIFF_BYTES]
    if start.startswith(_BINARY_STARTS) or b"\0" in start:
        return None
    try:
        is_whole = len(data) < IMPORT_PART_BYTES
        codecs.getincrementaldecoder("utf-8")().decode(data, is_whole)
    except UnicodeDecodeError:
        return None if _CONTROLS.search(start) else _declared(start)
    return "utf-8"


def decode_text(data: bytes, encoding: str) -> str:
    """The text of `data`; what does not fit the encoding becomes a replacement character."""
    try:
        return codecs.getincrementaldecoder(encoding)("replace").decode(data)
    except (LookupError, UnicodeError):  # UTF-16 and UTF-32 refuse some input as a whole
        return data.decode("latin-1")


def html_text(source: str) -> tuple[str, str]:
    """Title and visible text of an HTML page, however broken it is."""
    reader = _Reader()
    try:
        reader.feed(source)
        reader.close()
    except (AssertionError, ValueError, IndexError, RecursionError):  # html.parser on odd markup
        return "", html.unescape(_TAGS.sub(" ", source))
    return "".join(reader.title) or "".join(reader.heading), "".join(reader.text)


def clean_title(text: str) -> str:
    """`text` on one line without control characters, cut to what a hit shows."""
    printable = "".join(char if char.isprintable() else " " for char in text[:TITLE_SCAN_CHARS_MAX])
    return _SPACES.sub(" ", printable).strip()[:HIT_TITLE_CHARS_MAX]


def title_of_name(name: str) -> str:
    """The title of a file that tells none itself: its name."""
    return clean_title(name) or UNTITLED


def _declared(start: bytes) -> str:
    """The encoding a page or source file says it has, when it is one we know; else Latin-1."""
    match = _DECLARED.search(start)
    name = match.group(1).decode("latin-1").lower() if match else ""
    return name if name in _DECLARABLE else "latin-1"


def _kind(name: str, data: bytes) -> tuple[str, str]:
    known = kind_of_name(name)
    if known is not None:
        return known
    if _HTML_START.match(data[:IMPORT_SNIFF_BYTES]):
        return HTML, ""
    if data.startswith(b"#!"):
        line = data[:200].split(b"\n", 1)[0]
        for language in ("python", "perl", "ruby", "node", "php", "sh"):
            if language.encode() in line:
                return CODE, {"sh": "shell", "node": "javascript"}.get(language, language)
        return CODE, ""
    return TEXT, ""


def _heading(text: str) -> str:
    match = _HEADING.search(text[:TITLE_SCAN_CHARS_MAX].replace("\r\n", "\n"))
    return "" if match is None else match.group(1) or match.group(2)


_SILENT = frozenset(("script", "style", "template", "noscript", "svg", "math", "iframe", "object"))
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "option",
        "p",
        "pre",
        "section",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
    ]
)


class _Reader(HTMLParser):
    """Collects text outside silent elements; block elements end a line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.title: list[str] = []
        self.heading: list[str] = []
        self._silent: str | None = None  # the outermost silent element we are in...
        self._depth = 0  # ...and how many of the same name are open
        self._sink: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter a silent element, or note a line end, a title, the first heading."""
        if self._silent is not None:
            self._depth += tag == self._silent
        elif tag in _SILENT:
            self._silent, self._depth = tag, 1
        elif tag in _BLOCKS:
            self.text.append("\n")
            if tag == "title" and not self.title:
                self._sink = self.title
            elif tag == "h1" and not self.heading:
                self._sink = self.heading
        if tag == "img":
            self.text.extend(f" {value} " for key, value in attrs if key == "alt" and value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that ends where it begins holds nothing, so it opens nothing."""
        if tag not in _SILENT:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Leave a silent element, a title or a heading."""
        if self._silent is not None:
            self._depth -= tag == self._silent
            if self._depth == 0:
                self._silent = None
        elif tag in _BLOCKS:
            self.text.append("\n")
            if tag in ("title", "h1"):
                self._sink = None

    def handle_data(self, data: str) -> None:
        """Keep visible text."""
        if self._silent is None:
            self.text.append(data)
            if self._sink is not None:
                self._sink.append(data)
