"""Module `dapp`: what rules and functions of a dapp import.

Source: IPS paper, appendix B (the names); docs/sandbox.md. Rules declare themselves and read what
they must have; functions ask the node, which answers as its person's node and nobody else's.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from typing import Any

from dms3.guest.confine import missing
from dms3.guest.modules import MODULES, module

ACCESS = ("own", "unrestricted", "transferable", "assigned")
CALLBACKS = ("init", "receive", "post_commit", "countersign", "carry")


class Failure(Exception):  # noqa: N818 - a dapp says `except Failure`
    """What the node could not do: `code` as in docs/errors.md, and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Run:
    """What one run of a program knows, and what the program has declared in it."""

    __slots__ = ("ask", "exposed", "known", "lines", "properties", "rules", "who")

    def __init__(self, lines: dict[str, int], properties: str) -> None:
        self.lines = lines
        self.properties = properties
        self.rules: list[Rule] = []
        self.exposed: dict[str, tuple[str, Callable[..., Any]]] = {}
        self.known: dict[str, Any] | None = None  # what rules may read; None: it is no judging
        self.ask: Callable[[str], str] | None = None  # the node; None: it is no call
        self.who: dict[str, str] = {}


class Rule:
    """One rule: what it is asked about, and the function."""

    __slots__ = ("about", "doc", "function", "kind", "line", "name")

    def __init__(self, about: str, kind: str, function: Callable[..., Any], line: int) -> None:
        self.about = about
        self.kind = kind
        self.function = function
        self.name = function.__name__
        self.line = line
        self.doc = (function.__doc__ or "").strip().partition("\n")[0]


class _Now:
    """The run under way in this instance."""

    __slots__ = ("run",)

    def __init__(self) -> None:
        self.run = Run({}, "{}")


NOW = _Now()


# Declarations.


def rule(
    kind: str | None = None,
    *,
    link: str | None = None,
    delete: str | None = None,
    unlink: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a rule about entries of `kind`, about links, deletions, unlinkings; or about all."""
    given = {"entry": kind, "link": link, "delete": delete, "unlink": unlink}
    chosen = [(about, name) for about, name in given.items() if name is not None]
    if callable(kind) or len(chosen) > 1:
        raise TypeError('a rule is about one thing: @rule("note"), @rule(link="reply") or @rule()')
    about, name = chosen[0] if chosen else ("all", "")

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        run = NOW.run
        run.rules.append(Rule(about, name, function, run.lines.get(function.__name__, 0)))
        return function

    return declare


def expose(access: str = "own") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function that can be called from outside: by this person alone, or by whom."""
    if access not in ACCESS:
        raise TypeError(f"a function is exposed as one of {', '.join(ACCESS)}")

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        NOW.run.exposed[function.__name__] = (access, function)
        return function

    return declare


# What both may do.


def property(name: str, default: Any = None) -> Any:  # noqa: A001 - the name in the paper
    """The property `name` of the DNA."""
    return json.loads(NOW.run.properties).get(name, default)


def verifySignature(signature: str, data: Any, key: str) -> bool:
    """Whether `signature` is that of `key` over the JSON values `data`."""
    return bool(_asked("verifySignature", signature=signature, data=data, key=key))


def makeHash(content: Any) -> str:
    """The hash that a public entry with `content` has."""
    return str(_asked("makeHash", content=content))


def debug(*values: Any) -> None:
    """Show `values` to whoever develops the dapp; nothing in a rule."""
    if NOW.run.known is None and NOW.run.ask is not None:
        _asked("debug", values=[str(value) for value in values])


# What rules may read.


def must_get_entry(hash: str) -> Any:  # noqa: A002 - what it is
    """The content of an entry; the rule is asked again when it is there."""
    return _known(f"entry:{_name(hash)}")


def must_get_action(hash: str) -> Any:  # noqa: A002
    """An action."""
    return _known(f"action:{_name(hash)}")


def must_get_valid_record(hash: str) -> Any:  # noqa: A002
    """An action that holds, with its entry: {"action": ..., "entry": ...}."""
    return _known(f"record:{_name(hash)}")


def must_get_agent_activity(agent: str, until: str) -> Any:
    """All actions of `agent` up to the action `until`, earliest first."""
    return _known(f"activity:{_name(agent)}:{_name(until)}")


def _known(question: str) -> Any:
    known = NOW.run.known
    if known is None:
        raise TypeError("must_get is for rules; a function calls get")
    if question not in known:
        raise missing(question)
    return known[question]


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a hash or agent is a text, not {type(value).__name__}")
    return value


# What functions may do: every one of them asks the node.


class Agent:
    """Who this node is in this dapp: `key` of its chain, and `person`."""

    __slots__ = ()

    @builtins.property
    def key(self) -> str:
        """The agent key of this device."""
        return NOW.run.who.get("key", "")

    @builtins.property
    def person(self) -> str:
        """The root key of the person."""
        return NOW.run.who.get("person", "")


class HostFunction:
    """A function of the node: arguments by place or name, JSON values."""

    __slots__ = ("_name", "_needed", "_optional")

    def __init__(self, name: str, needed: str = "", **optional: Any) -> None:
        self._name = name
        self._needed = tuple(needed.split())
        self._optional = tuple(optional.items())  # nothing here can be changed by who is here next

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the node answers; raises Failure."""
        if NOW.run.known is not None:
            raise TypeError(f"{self._name} is not available in a rule")
        names = (*self._needed, *(name for name, _ in self._optional))
        if len(arguments) > len(names):
            raise TypeError(f"{self._name} takes {len(names)} arguments: {', '.join(names)}")
        given = dict(zip(names, arguments, strict=False))
        for name, value in named.items():
            if name not in names or name in given:
                raise TypeError(f"{self._name} takes {', '.join(names)} once, not {name}")
            given[name] = value
        absent = [name for name in self._needed if name not in given]
        if absent:
            raise TypeError(f"{self._name} needs {', '.join(absent)}")
        return _asked(self._name, **(dict(self._optional) | given))


def _asked(name: str, /, **arguments: Any) -> Any:
    ask = NOW.run.ask
    if ask is None:
        raise TypeError(f"{name} is not available while a program is loaded")
    answer = json.loads(ask(json.dumps([name, arguments], allow_nan=False)))
    if "error" in answer:
        raise Failure(answer["error"]["code"], answer["error"]["message"])
    return answer["value"]


HOST = (
    HostFunction("commit", "kind content", private=False),
    HostFunction("get", "hash", latest=False, local=False),
    HostFunction("getLinks", "base", kind="", tag="", author="", limit=1_000),
    HostFunction("update", "target content"),
    HostFunction("remove", "target"),
    HostFunction("link", "base to kind", tag=""),
    HostFunction("unlink", "link"),
    HostFunction("query", kind="", of="", after=-1, limit=100),
    HostFunction("activity", "agent", after=-1, limit=1_000),
    HostFunction("published", "hash"),
    HostFunction("send", "agent body", function="", capability="", seconds=10),
    HostFunction("sign", "data"),
    HostFunction("call", "app function", arguments=None),
    HostFunction("bundleStart", seconds=5),
    HostFunction("bundleClose", commit=True),
    HostFunction("migrate", "to", state=None),
    HostFunction("updateAgent"),
    HostFunction("grant", "function", access="transferable", to=None),
    HostFunction("revoke", "grant"),
    HostFunction("grants"),
    HostFunction("emit", "name", value=None),
    HostFunction("propose", "kind content parties", seconds=3_600),
    HostFunction("accept", "session"),
    HostFunction("decline", "session"),
    HostFunction("sessions"),
)

MODULES["dapp"] = module(
    "dapp",
    {
        **{each._name: each for each in HOST},  # noqa: SLF001 - the same module
        "rule": rule,
        "expose": expose,
        "property": property,
        "debug": debug,
        "verifySignature": verifySignature,
        "makeHash": makeHash,
        "agent": Agent(),
        "must_get_entry": must_get_entry,
        "must_get_action": must_get_action,
        "must_get_valid_record": must_get_valid_record,
        "must_get_agent_activity": must_get_agent_activity,
        "Failure": Failure,
    },
)
