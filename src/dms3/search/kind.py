"""Kinds: the versioned schemas of documents, and the typed fields that a search can ask for.

Source: docs/vocabulary.md, docs/architecture.md, "Storage and search". The first kinds are
those of files; a kind only gains fields, a changed meaning is a new version. Which kind a file is
also depends on its content: `io/extract.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from dms3.core.errors import Dms3Error


class FieldType(StrEnum):
    """How a field's values compare, and how they are written in a condition."""

    INTEGER = "integer"  # with an optional unit: 10, 4KB, 2MiB
    TIME = "time"  # ISO 8601 date or date and time, UTC unless it says otherwise
    TEXT = "text"  # whole value; * stands for any characters


@dataclass(frozen=True, slots=True)
class Field:
    """A typed field that every document of a kind has."""

    name: str
    type: FieldType
    meaning: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A schema: its name, its version, what it is for people, its fields."""

    name: str
    version: int
    meaning: str
    fields: tuple[Field, ...]


_FILE_FIELDS = (
    Field("bytes", FieldType.INTEGER, "size of the file"),
    Field("modified", FieldType.TIME, "when the file was last changed"),
    Field("added", FieldType.TIME, "when it was imported"),
    Field("name", FieldType.TEXT, "name of the file"),
    Field("language", FieldType.TEXT, "programming or data language, empty when there is none"),
)

TEXT, MARKDOWN, HTML, CODE, FILE = "text", "markdown", "html", "code", "file"
MESSAGE = "message"
DAPP = "dapp"

KINDS = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(TEXT, 1, "plain text", _FILE_FIELDS),
            Kind(MARKDOWN, 1, "Markdown and similar marked-up text", _FILE_FIELDS),
            Kind(HTML, 1, "a web page", _FILE_FIELDS),
            Kind(CODE, 1, "source code and configuration", _FILE_FIELDS),
            Kind(FILE, 1, "any other file, found by its name", _FILE_FIELDS),
            Kind(MESSAGE, 1, "a message, found on this node only", _FILE_FIELDS),
            Kind(DAPP, 1, "an app that somebody has published", _FILE_FIELDS),
        )
    }
)

FIELDS = MappingProxyType({field.name: field for field in _FILE_FIELDS})

_MARKUP_SUFFIXES = MappingProxyType(
    {
        "md": (MARKDOWN, ""),
        "markdown": (MARKDOWN, ""),
        "mdx": (MARKDOWN, ""),
        "rst": (MARKDOWN, "restructuredtext"),
        "adoc": (MARKDOWN, "asciidoc"),
        "org": (MARKDOWN, "org"),
        "html": (HTML, ""),
        "htm": (HTML, ""),
        "xhtml": (HTML, ""),
        "txt": (TEXT, ""),
        "text": (TEXT, ""),
        "log": (TEXT, ""),
        "csv": (TEXT, "csv"),
        "tsv": (TEXT, "tsv"),
        "tex": (MARKDOWN, "tex"),
    }
)

_LANGUAGES = MappingProxyType(
    {
        "ada": "adb ads",
        "assembly": "asm s",
        "c": "c h",
        "c#": "cs",
        "c++": "cc cpp cxx hh hpp hxx",
        "clojure": "clj cljs",
        "css": "css less scss",
        "d": "d",
        "dart": "dart",
        "diff": "diff patch",
        "elixir": "ex exs",
        "elm": "elm",
        "erlang": "erl hrl",
        "f#": "fs fsi fsx",
        "fortran": "f f90 f95 for",
        "go": "go",
        "graphql": "graphql gql",
        "groovy": "gradle groovy",
        "haskell": "hs lhs",
        "ini": "cfg conf ini properties",
        "java": "java",
        "javascript": "cjs js jsx mjs",
        "json": "json jsonl ndjson ipynb",
        "julia": "jl",
        "kotlin": "kt kts",
        "lisp": "cl el lisp lsp",
        "lua": "lua",
        "make": "mk mak",
        "nim": "nim",
        "nix": "nix",
        "objective-c": "m mm",
        "ocaml": "ml mli",
        "pascal": "pas pp",
        "perl": "pl pm pod",
        "php": "php",
        "powershell": "ps1 psm1",
        "prolog": "pro",
        "protobuf": "proto",
        "python": "py pyi pyw pyx",
        "r": "r rmd",
        "ruby": "rb",
        "rust": "rs",
        "scala": "sc scala",
        "scheme": "scm ss rkt",
        "shell": "bash bat cmd fish ksh sh zsh",
        "solidity": "sol",
        "sql": "sql",
        "swift": "swift",
        "tcl": "tcl",
        "toml": "toml lock",
        "typescript": "cts mts ts tsx",
        "verilog": "sv v",
        "vhdl": "vhd vhdl",
        "xml": "xml xsd xsl svg plist",
        "yaml": "yaml yml",
        "zig": "zig",
    }
)

_CODE_SUFFIXES = MappingProxyType(
    {suffix: language for language, row in _LANGUAGES.items() for suffix in row.split()}
)

_CODE_NAMES = MappingProxyType(
    {"makefile": "make", "dockerfile": "docker", "cmakelists.txt": "cmake", "gnumakefile": "make"}
)


def kind_of_name(name: str) -> tuple[str, str] | None:
    """The kind and language a file's name tells, or None when it tells nothing."""
    lower = name.lower()
    if lower in _CODE_NAMES:
        return CODE, _CODE_NAMES[lower]
    suffix = lower.rpartition(".")[2] if "." in lower else ""
    if suffix in _MARKUP_SUFFIXES:
        return _MARKUP_SUFFIXES[suffix]
    if suffix in _CODE_SUFFIXES:
        return CODE, _CODE_SUFFIXES[suffix]
    return None


def check_kind(name: str) -> str:
    """`name` when it is a kind; raises `argument_invalid` with the kinds there are."""
    if name not in KINDS:
        raise Dms3Error(
            "argument_invalid",
            f"There is no kind {name[:32]!r}.",
            hint=f"Kinds are {', '.join(KINDS)}.",
        )
    return name
