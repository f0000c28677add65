"""The table of commands: what a node can be asked to do, as typed functions with docstrings.

Source: docs/architecture.md, "Commands". Command line, HTTP routes, OpenAPI and the reference page
are generated from it. It neither prints nor listens, and importing it is cheap.
"""

from __future__ import annotations

import difflib
import inspect
import keyword
import re
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from dms3.core.errors import Dms3Error
from dms3.core.limits import ARGUMENT_CHARS_MAX, ARGUMENT_ITEMS_MAX

INTEGER_BITS = 63  # of an argument; JSON readers elsewhere keep 53, databases 64 with a sign
_BLOB = re.compile(r"([0-9a-f]{32})((?:/(?!\.\.?(?:/|\Z))[^/\0]{1,255})*)")


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of long work: `done` of `total` (None: not known yet) in `unit`; `text` for people."""

    done: int
    total: int | None
    unit: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One of many results, sent as soon as it is there; JSON values only."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The last thing a command says; JSON values only."""

    data: Mapping[str, Any]


Step = Progress | Item | Result


@dataclass(frozen=True, slots=True)
class Secret:
    """An argument that is shown nowhere; on the command line it comes from a file or a prompt."""

    text: str = field(repr=False)

    def __str__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class InputPath:
    """A path on the node's machine, absolute; accepted only with the node's own token."""

    path: str


@dataclass(frozen=True, slots=True)
class FolderUrl:
    """A folder on the node's machine, as an absolute path or a URL (`file:///PATH`).

    Accepted only with the node's own token, as an InputPath.
    """

    url: str


@dataclass(frozen=True, slots=True)
class BlobOrPath:
    """A finished upload (`ID`, `ID/NAME`, `ID/FOLDER/NAME`) or an absolute path on the node's disk.

    A path is accepted only with the node's own token: who can read that file can read the disk.
    """

    value: str

    @property
    def blob(self) -> str | None:
        """The id of the upload, or None when this is a path."""
        match = _BLOB.fullmatch(self.value)
        return match[1] if match else None

    @property
    def name(self) -> str:
        """The file name that came with the upload, or the last part of the path."""
        match = _BLOB.fullmatch(self.value)
        given = match[2] if match else self.value.rstrip("/")
        return given.rpartition("/")[2]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that an upload lay in, the outermost first; () for a path."""
        match = _BLOB.fullmatch(self.value)
        return tuple(match[2].split("/")[1:-1]) if match else ()


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON value; on the command line it is typed as JSON text."""

    value: Any


@dataclass(frozen=True, slots=True)
class About:
    """What `Annotated` says of a parameter: help, and how the command line spells it.

    `flag`: "--with" makes it an option even when it has no default. `metavar`: the word in usage.
    `bare`: it is taken without a flag even when it may be left out.
    """

    help: str
    flag: str = ""
    metavar: str = ""
    bare: bool = False


Scalar = (
    type[str]
    | type[int]
    | type[bool]
    | type[Secret]
    | type[InputPath]
    | type[FolderUrl]
    | type[BlobOrPath]
    | type[Json]
)
_SCALARS: tuple[Scalar, ...] = (str, int, bool, Secret, InputPath, FolderUrl, BlobOrPath, Json)
_PATHS = (InputPath, FolderUrl, BlobOrPath)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a command: its scalar type, whether many or none, its default and words."""

    name: str
    type: Scalar
    many: bool
    optional: bool  # None is a value
    choices: tuple[str, ...]
    default: Any  # inspect.Parameter.empty when required
    about: About

    @property
    def argument(self) -> str:
        """What Python calls it: a word that is a keyword there (`with`) gets an underscore."""
        return f"{self.name}_" if keyword.iskeyword(self.name) else self.name

    @property
    def required(self) -> bool:
        """Whether the caller has to give it."""
        return self.default is inspect.Parameter.empty

    @property
    def positional(self) -> bool:
        """Whether the command line takes it without a flag."""
        named = self.about.flag or self.type is Secret
        return not named and (self.required or self.about.bare)

    @property
    def metavar(self) -> str:
        """The word that stands for the value in a usage line."""
        return self.about.metavar or self.name.upper()

    def bind(self, value: Any, *, paths: bool) -> Any:
        """The argument for JSON value `value`; raises `argument_invalid`, `forbidden`."""
        if value is None and self.optional:
            return None
        if not self.many:
            return self._one(value, paths=paths)
        if not isinstance(value, list | tuple):
            raise self._wrong(f"a list of {_type_name(self.type)}", value)
        if len(value) > ARGUMENT_ITEMS_MAX:
            raise Dms3Error(
                "argument_invalid",
                f"{self.name} has {len(value)} values; at most {ARGUMENT_ITEMS_MAX} are taken.",
            )
        if self.required and not value:
            raise Dms3Error("argument_invalid", f"{self.name} is empty.", hint=self.about.help)
        return tuple(self._one(item, paths=paths) for item in value)

    def _one(self, value: Any, *, paths: bool) -> Any:
        if self.type is Json:
            return Json(value)
        if self.type is bool or self.type is int:
            if type(value) is not self.type:
                raise self._wrong(_type_name(self.type), value)
            if self.type is int and abs(value) >> INTEGER_BITS:
                raise self._wrong(f"a whole number below 2**{INTEGER_BITS}", value)
            return value
        if not isinstance(value, str):
            raise self._wrong(_type_name(self.type), value)
        self._check_text(value)
        if self.type is str:
            return value
        bound = self.type(value)
        if self.type in _PATHS and not (isinstance(bound, BlobOrPath) and bound.blob):
            self._check_path(value, paths=paths)
        return bound

    def _check_text(self, value: str) -> None:
        if len(value) > ARGUMENT_CHARS_MAX:
            raise Dms3Error(
                "argument_invalid",
                f"{self.name} has {len(value)} characters; at most {ARGUMENT_CHARS_MAX} are taken.",
            )
        if any("\ud800" <= char <= "\udfff" for char in value) or "\0" in value:
            raise Dms3Error("argument_invalid", f"{self.name} holds a character that is no text.")
        if self.choices and value not in self.choices:
            raise unknown(f"value of {self.name}", value, self.choices)

    def _check_path(self, value: str, *, paths: bool) -> None:
        if not paths:
            raise Dms3Error(
                "forbidden",
                f"{self.name} takes a path only from the command line of the node's own machine.",
                hint="Upload the file with PUT /api/v1/blob and give the id it answers.",
            )
        if not value.startswith("/") and not (self.type is FolderUrl and "://" in value):
            raise self._wrong("an absolute path or the id of an upload", value)

    def _wrong(self, wanted: str, value: Any) -> Dms3Error:
        shown = "a hidden value" if self.type is Secret else f"{value!r}"[:80]
        return Dms3Error(
            "argument_invalid", f"{self.name} must be {wanted}, not {shown}.", hint=self.about.help
        )


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table: `noun` and `verb` (empty for `dms3 NOUN`), the function, its words.

    `download`: the result names a `cid` whose content the command line then fetches (`-o FILE`).
    `streams`: the function is an async generator of steps. `needs_token`: it shows or changes a
    secret, so the session of a browser, which other programs may come to see, does not do.
    """

    noun: str
    verb: str
    function: Callable[..., Awaitable[Result] | AsyncGenerator[Step]]
    summary: str
    description: str
    example: str
    streams: bool
    download: bool
    needs_token: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its arguments, as the signature has them; looked at when they are needed first."""
        return _parameters(self.function)

    @property
    def name(self) -> str:
        """As typed: "store add", "search"."""
        return f"{self.noun} {self.verb}".strip()

    @property
    def path(self) -> str:
        """The HTTP path below /api/v1."""
        return f"/{self.noun}/{self.verb}".rstrip("/")

    def bind(self, arguments: Mapping[str, Any], *, paths: bool) -> dict[str, Any]:
        """Checked keyword arguments from JSON values.

        `paths`: whether the caller may name files of this machine. Raises `argument_invalid` for
        an unknown, missing or wrong one, `forbidden` for a path.
        """
        names = [parameter.name for parameter in self.parameters]
        for key in arguments:
            if key not in names:
                raise unknown(f"parameter of {self.name}", key, names)
        bound = {}
        for parameter in self.parameters:
            if parameter.name in arguments:
                value = arguments[parameter.name]
                bound[parameter.argument] = parameter.bind(value, paths=paths)
            elif parameter.required:
                raise Dms3Error(
                    "argument_invalid",
                    f"{self.name} needs {parameter.name}: {parameter.about.help}.",
                    hint=f"Example: {self.example}",
                )
        return bound

    async def run(self, node: Any, arguments: Mapping[str, Any]) -> AsyncGenerator[Step]:
        """Steps of the command; the last one is its Result. `arguments`: from `bind`.

        `node` is whatever the function takes first; the table does not look into it.
        """
        outcome = self.function(node, **arguments)
        if isinstance(outcome, Awaitable):
            yield await outcome
            return
        last: Step | None = None
        async with aclosing(outcome) as steps:
            async for last in steps:
                yield last
        assert isinstance(last, Result), f"{self.name} ended with {last!r} instead of a Result"


@dataclass(frozen=True, slots=True)
class Table:
    """All commands of a node, in the order in which help lists them."""

    commands: tuple[Command, ...]

    def __post_init__(self) -> None:
        names = [command.name for command in self.commands]
        doubled = sorted({name for name in names if names.count(name) > 1})
        assert not doubled, f"commands defined twice: {doubled}"

    def __iter__(self) -> Iterator[Command]:
        return iter(self.commands)

    def find(self, noun: str, verb: str = "") -> Command:
        """The command of that name; raises `method_unknown` with the nearest one."""
        wanted = f"{noun} {verb}".strip()
        for command in self.commands:
            if command.name == wanted:
                return command
        raise unknown("command", wanted, [c.name for c in self.commands], code="method_unknown")


def command(
    noun: str, verb: str = "", *, example: str, download: bool = False, needs_token: bool = False
) -> Callable[[Callable[..., Any]], Command]:
    """Decorator: the Command of a function `(node, ...parameters)` with a docstring.

    The first line of the docstring is the summary. Parameters are str, int, bool, Literal of
    strings, Secret, InputPath, BlobOrPath, Json, a tuple of one of these, or one of these or None;
    their help stands in `Annotated[type, "help"]` or `Annotated[type, About(...)]`.
    """

    def made(function: Callable[..., Any]) -> Command:
        text = inspect.cleandoc(function.__doc__ or "")
        assert text, f"{function.__qualname__} has no docstring"
        summary, _, description = text.partition("\n")
        return Command(
            noun=noun,
            verb=verb,
            function=function,
            summary=summary.rstrip("."),
            description=description.strip(),
            example=example,
            streams=inspect.isasyncgenfunction(function),
            download=download,
            needs_token=needs_token,
        )

    return made


def unknown(
    what: str, given: str, known: Sequence[str], *, code: str = "argument_invalid"
) -> Dms3Error:
    """The error for a name that nobody knows, with the nearest known one as its hint."""
    near = nearest(given, known)
    hint = f"Did you mean {near}?" if near else f"Known: {', '.join(sorted(known)[:12])}."
    return Dms3Error(code, f"There is no {what} called {given[:64]!r}.", hint=hint if known else "")


def nearest(given: str, known: Sequence[str]) -> str:
    """The known name that looks most like `given`, or "" when none does."""
    return next(iter(difflib.get_close_matches(given[:64], known, n=1, cutoff=0.6)), "")


@cache
def _parameters(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    hints = get_type_hints(function, include_extras=True)
    given = list(inspect.signature(function).parameters.values())[1:]
    return tuple(_parameter(p.name, hints[p.name], p.default) for p in given)


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    about = About("")
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        about = next((n if isinstance(n, About) else About(n) for n in notes), about)
    assert about.help, f"parameter {name} has no help"
    optional = get_origin(hint) in (Union, UnionType)
    if optional:
        (hint,) = [part for part in get_args(hint) if part is not NoneType]
    many = get_origin(hint) is tuple
    if many:
        hint, rest = get_args(hint)
        assert rest is ..., f"parameter {name}: a tuple is written tuple[T, ...]"
    choices: tuple[str, ...] = ()
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    assert hint in _SCALARS, f"parameter {name} has type {hint}, which the table does not know"
    return Parameter(name.rstrip("_"), hint, many, optional, choices, default, about)


def _type_name(kind: Scalar) -> str:
    return {int: "a whole number", bool: "true or false"}.get(kind, "text")
