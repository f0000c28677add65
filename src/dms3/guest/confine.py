"""The built-in functions of a dapp, and the guards that `source.py` puts around its values.

Source: docs/sandbox.md, "What a rule may say". Nothing here keeps anything from one run to the
next: what a dapp can reach cannot be written to, see `own`.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView
from typing import Any, Self

from dms3.guest.modules import MODULES
from dms3.guest.ordered import Ordered, OrderedFrozenSet, OrderedSet, View
from dms3.guest.source import VIEWS, attribute_refused, is_private

OWN = ("rules", "functions")  # names of the modules that are a dapp's own
_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")
# What built-in functions import when they are called, with the built-ins of their caller.
_OF_PYTHON = ("_strptime", "_pylong", "time", "_decimal", "decimal", "warnings", "json.decoder")
_CHAIN_MAX = 256  # errors looked at behind an error


class Ended(BaseException):
    """Ends a run from inside; no handler of a dapp sees it."""


class Missing(Ended):
    """A rule asked for something that the node does not have yet; `question` says what."""

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self.question = question


class _Noted:
    """What has ended the run under way, also where Python has put another error in its place."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def check(self) -> None:
        """Raise it, if there is any."""
        if self.error is not None:
            raise self.error


NOTED = _Noted()


def missing(question: str) -> Missing:
    """The error for what the node does not have yet; the run has ended, whoever drops it."""
    NOTED.error = Missing(question)
    return NOTED.error


def noted() -> None:
    """The last thing in a method that Python calls: built-in functions drop errors of some."""
    error = sys.exception()
    if error is not None and NOTED.error is None:
        NOTED.error = ending(error)


def caught() -> None:
    """The first thing in every handler of a dapp: what ends the run is raised again.

    Where memory or stack run out differs from run to run, so no rule may go on behind it.
    """
    error = sys.exception()
    for _ in range(_CHAIN_MAX):
        if error is None:
            return
        if isinstance(error, Ended | MemoryError | RecursionError):
            raise error
        error = error.__context__
    raise MemoryError


def ending(error: BaseException) -> BaseException | None:
    """What ends the run behind `error`, if anything does."""
    seen: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if seen is None or isinstance(seen, Ended | MemoryError | RecursionError):
            return seen
        seen = seen.__context__
    return MemoryError()


def own(target: Any) -> Any:
    """`target` when its attributes may be set, and its private ones read.

    That is an object of a class that this run has made, or such a class. So nothing that the next
    run sees can be changed, and nobody looks into what is not theirs.
    """
    kind = target if isinstance(target, type) else type(target)
    if kind.__module__ in OWN or kind is super:
        return target
    raise TypeError(f"attributes of {type(target).__name__} cannot be set here, nor private read")


def shown(value: str) -> str:
    """`value` without addresses: they differ from run to run."""
    return _ADDRESS.sub(" at 0x0", value) if " at 0x" in value else value


def text(value: Any, conversion: int = -1, spec: str | None = None) -> str:
    """What stands in an f-string."""
    if conversion == ord("r"):
        value = shown(repr(value))
    elif conversion == ord("a"):
        value = shown(ascii(value))
    elif conversion == ord("s"):
        value = shown(str(value))
    if spec:
        return shown(format(value, spec))
    return value if type(value) is str else shown(str(value))


def mod(left: Any, right: Any) -> Any:
    """`left % right` of numbers."""
    if isinstance(left, str | bytes | bytearray):
        raise TypeError("% is not available for texts: use an f-string")
    return left % right


def view(target: Any, name: str) -> Any:
    """Attribute `keys` or `items` of `target`; what it returns makes no sets of Python's."""
    found = getattr(target, name)
    if not callable(found):
        return found

    def viewed(*arguments: Any, **named: Any) -> Any:
        value = found(*arguments, **named)
        return View(value) if isinstance(value, KeysView | ItemsView) else value

    return viewed


def each(target: Any, name: str) -> Any:
    """What a loop over `target.keys()` or `target.items()` goes through."""
    return getattr(target, name)()


class _Text:
    """`str`, whose texts have no addresses in them."""

    __slots__ = ()
    __name__ = "str"

    def __call__(self, *arguments: Any, **named: Any) -> str:
        return shown(str(*arguments, **named))

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, str)

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, str)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_OwnText,)

    def __or__(self, other: Any) -> Any:
        return (str, *other) if isinstance(other, tuple) else (str, other)

    __ror__ = __or__

    def __getattr__(self, name: str) -> Any:
        return getattr(str, name)

    def __repr__(self) -> str:
        return "<class 'str'>"


class _OwnText(str):
    """What a dapp's own class of texts is made from."""

    __slots__ = ()

    def __new__(cls, *arguments: Any) -> Self:
        return str.__new__(cls, shown(str(*arguments)))


TEXT = _Text()


def _type(value: Any, *more: Any) -> Any:
    if more:
        raise TypeError("type() says what a value is; classes are made by class")
    kind = type(value)
    if kind is str:
        return TEXT
    return _type if issubclass(kind, type) else kind


def _checked(name: Any) -> str:
    if type(name) is not str:
        raise TypeError("the name of an attribute is a text")
    reason = attribute_refused(name)
    if reason:
        raise AttributeError(reason)
    return name


def _getattr(target: Any, name: Any, *default: Any) -> Any:
    if _checked(name) in VIEWS:
        return view(target, name)
    if is_private(name):
        target = own(target)
    return getattr(target, name, *default)


def _hasattr(target: Any, name: Any) -> bool:
    return hasattr(target, _checked(name))


def _setattr(target: Any, name: Any, value: Any) -> None:
    setattr(own(target), _checked(name), value)


def _delattr(target: Any, name: Any) -> None:
    delattr(own(target), _checked(name))


def _repr(value: Any) -> str:
    return shown(repr(value))


def _ascii(value: Any) -> str:
    return shown(ascii(value))


def _format(value: Any, spec: str = "") -> str:
    return text(value, -1, spec)


def _import(
    name: str, _globals: Any = None, _locals: Any = None, _from: Any = (), level: int = 0
) -> Any:
    if not level and name in MODULES:
        return MODULES[name]
    if not level and name in _OF_PYTHON:  # no text can ask for it: `source.py` has looked
        return sys.modules[name]
    raise ImportError(f"{name} cannot be imported here")


def _plain_names() -> Iterator[str]:
    yield from ("abs", "all", "any", "bin", "bool", "bytearray", "bytes", "callable", "chr")
    yield from ("classmethod", "complex", "dict", "divmod", "enumerate", "filter", "float", "hex")
    yield from ("int", "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min")
    yield from ("next", "object", "oct", "ord", "pow", "property", "range", "reversed", "round")
    yield from ("slice", "sorted", "staticmethod", "sum", "super", "tuple", "zip")
    yield from ("None", "True", "False", "Ellipsis", "NotImplemented")
    yield from ("ArithmeticError", "AssertionError", "AttributeError", "Exception")
    yield from ("ImportError", "IndexError", "KeyError", "LookupError", "NameError")
    yield from ("NotImplementedError", "OverflowError", "RuntimeError", "StopIteration")
    yield from ("TypeError", "UnicodeError", "UnicodeDecodeError", "UnicodeEncodeError")
    yield from ("ValueError", "ZeroDivisionError", "__build_class__")


def allowed(debug: Callable[..., None]) -> dict[str, Any]:
    """The built-in names of a dapp; `debug` is what it prints with."""
    names: dict[str, Any] = {name: getattr(builtins, name) for name in _plain_names()}
    names |= {
        "str": TEXT,
        "type": _type,
        "repr": _repr,
        "ascii": _ascii,
        "format": _format,
        "getattr": _getattr,
        "hasattr": _hasattr,
        "setattr": _setattr,
        "delattr": _delattr,
        "set": OrderedSet,
        "frozenset": OrderedFrozenSet,
        "print": debug,
        "__import__": _import,
        ".own": own,
        ".text": text,
        ".mod": mod,
        ".view": view,
        ".each": each,
        ".caught": caught,
        ".noted": noted,
        ".set": OrderedSet,
        ".str": str,
    }
    return names


__all__ = ["NOTED", "Ended", "Missing", "Ordered", "allowed", "ending", "missing", "shown"]
