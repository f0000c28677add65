"""What the runner does when the node calls it: compile, load, judge, call.

Source: docs/sandbox.md, "What goes in and out". A job and its answer are JSON texts. Code is kept
between jobs, values are not: every judging and every call runs the program's text anew, in a module
of its own. Memory is tidied between jobs and never during one.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import marshal
import sys
import warnings
from types import CodeType, TracebackType
from typing import Any

import wit_world  # type: ignore[import-not-found]  # made by componentize-py from runner.wit

from dms3.guest.confine import NOTED, Missing, allowed, ending, missing, shown
from dms3.guest.dapp import CALLBACKS, NOW, Rule, Run, debug
from dms3.guest.source import SourceError, compiled

DETAIL_CHARS_MAX = 512  # of what is said of an error
_BUILTINS = allowed(debug)
_WITH_ENTRY = ("create", "update", "countersign")


class Program:
    """Code of a dapp that this instance has been given."""

    __slots__ = ("code", "lines", "name", "properties")

    def __init__(self, name: str, code: CodeType, lines: dict[str, int], properties: str) -> None:
        self.name = name
        self.code = code
        self.lines = lines
        self.properties = properties

    def run(self, run: Run) -> None:
        """Execute the text: its rules and exposed functions are declared in `run`."""
        NOW.run = run
        module = {"__builtins__": dict(_BUILTINS), "__name__": self.name}
        exec(self.code, module)
        for name in CALLBACKS:
            function: Any = module.get(name)
            if callable(function):
                run.exposed.setdefault(name, ("callback", function))
        NOTED.check()


PROGRAMS: dict[str, Program] = {}


class _Files:
    """There are none, once the runner is made.

    Python opens the file of a wrong text to show its line. It goes on when it cannot.
    """

    __slots__ = ("there",)

    def __init__(self) -> None:
        self.there = True

    def look(self, event: str, _arguments: tuple[Any, ...]) -> None:
        """Told by Python of what it is about to do."""
        if event == "open" and not self.there:
            raise OSError("there are no files here")


_FILES = _Files()


def answer(job: str) -> str:
    """The answer to a job; never raises but for what ends the instance."""
    _FILES.there = False
    try:
        request = json.loads(job)
        found = JOBS[request["do"]](request)
    except BaseException as error:  # noqa: BLE001 - an error that leaves here ends the instance
        found = ["abandoned", _brief(error)]
    finally:
        NOW.run, NOTED.error = Run({}, "{}"), None
    try:
        return json.dumps(found)
    except BaseException as error:  # noqa: BLE001 - as above
        return json.dumps(["abandoned", _brief(error)])


def _compile(request: dict[str, Any]) -> list[Any]:
    """["code", base64] or ["source", line, message]."""
    try:
        code, lines = compiled(request["source"], f"{request['name']}.py")
    except SourceError as error:
        return ["source", error.line, error.message]
    data = marshal.dumps((code, lines))  # type: ignore[arg-type]  # code is, too
    return ["code", base64.b64encode(data).decode()]


def _load(request: dict[str, Any]) -> list[Any]:
    """["loaded", rules, exposed] or ["source", line, message]."""
    code, lines = marshal.loads(base64.b64decode(request["code"]))  # noqa: S302 - made by _compile
    program = Program(request["name"], code, lines, json.dumps(request["properties"]))
    PROGRAMS[request["id"]] = program
    if not request["declare"]:
        return ["loaded"]
    run = Run(lines, program.properties)
    try:
        program.run(run)
    except BaseException as error:  # noqa: BLE001 - the text of a dapp may raise anything
        end = NOTED.error or ending(error)
        if end is not None:
            return ["abandoned", _brief(end)]
        return ["source", _line(error, program.name), _detail(error)]
    rules = [(each.name, each.line, each.doc) for each in run.rules]
    exposed = [
        (name, access, lines.get(name, 0), (function.__doc__ or "").strip().partition("\n")[0])
        for name, (access, function) in run.exposed.items()
    ]
    return ["loaded", rules, exposed]


def _judge(request: dict[str, Any]) -> list[Any]:
    """["valid"], ["invalid", rule, detail, line], ["unresolved", question], ["abandoned", why]."""
    program = PROGRAMS[request["id"]]
    run = Run(program.lines, program.properties)
    run.known, run.ask = request["known"], wit_world.host
    action, entry = request["action"], request["entry"]
    rule: Rule | None = None
    try:
        program.run(run)
        for rule in run.rules:
            applies, subject = _subject(rule, action, entry)
            if applies:
                broken = _broken(rule, subject, action)
                NOTED.check()
                if broken is not None:
                    return ["invalid", rule.name, broken[:DETAIL_CHARS_MAX], rule.line]
    except BaseException as error:  # noqa: BLE001 - a rule may raise anything
        end = NOTED.error or ending(error)
        if isinstance(end, Missing):
            return ["unresolved", end.question]
        if end is not None or rule is None:
            return ["abandoned", _brief(end or error)]
        return ["invalid", rule.name, _detail(error), _line(error, program.name) or rule.line]
    return ["valid"]


def _subject(rule: Rule, action: dict[str, Any], entry: Any) -> tuple[bool, Any]:
    """Whether `rule` is about this action, and what its function is given first."""
    kind = action["kind"]
    if rule.about == "entry":
        about = kind in _WITH_ENTRY and action.get("entry_kind") == rule.kind
        hidden = entry is None and bool(action.get("private"))  # judged where its author is
        return about and not hidden, entry
    if rule.about == "link":
        return kind == "link" and action.get("link_kind") == rule.kind, action
    if rule.about == "all":
        return True, entry
    if kind != rule.about:
        return False, None
    name = f"action:{action['target']}"
    known = NOW.run.known or {}
    if name not in known:
        raise missing(name)
    target = known[name]
    of = "link_kind" if kind == "unlink" else "entry_kind"
    return target is not None and target.get(of) == rule.kind, target


def _broken(rule: Rule, subject: Any, action: dict[str, Any]) -> str | None:
    """Why `rule` does not hold, or None."""
    code = getattr(rule.function, "__code__", None)
    one = code is not None and code.co_argcount == 1 and not code.co_flags & 0x04  # no *arguments
    found = rule.function(subject) if one else rule.function(subject, action)
    if found is True or found is None:
        return None
    if isinstance(found, str):
        return shown(found) or rule.doc
    return None if found else rule.doc


def _call(request: dict[str, Any]) -> list[Any]:
    """["result", value], ["failed", kind, message, line] or ["unknown", function]."""
    program = PROGRAMS[request["id"]]
    run = Run(program.lines, program.properties)
    run.ask, run.who = wit_world.host, request["who"]
    try:
        program.run(run)
        name = request["function"]
        access, function = run.exposed.get(name, ("", None))
        if function is None or (access == "callback") != request["callback"]:
            return ["unknown", name]
        arguments = request["arguments"]
        if isinstance(arguments, dict):
            wrong = _misfit(function, arguments)
            if wrong:
                return ["misfit", wrong]
            value = function(**arguments)
        else:
            value = function(*arguments)
        return ["result", _result(value)]
    except BaseException as error:  # noqa: BLE001 - a function may raise anything
        end = NOTED.error or ending(error)
        if end is not None:
            return ["abandoned", _brief(end)]
        line = _line(error, program.name)
        code = getattr(error, "code", "") if type(error).__name__ == "Failure" else ""
        return ["failed", code, _detail(error), line]


def _result(value: Any) -> Any:
    """`value` as the JSON value that it is; raises what has ended the run."""
    result = json.loads(json.dumps(value, allow_nan=False))
    NOTED.check()
    return result


def _misfit(function: Any, given: dict[str, Any]) -> str:
    """What does not fit between the arguments and the parameters of `function`, or ""."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 0x0C:  # *arguments or **named: the function decides
        return ""
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    needed = names[: code.co_argcount - len(function.__defaults__ or ())]
    only = names[code.co_argcount :]
    needed += tuple(name for name in only if name not in (function.__kwdefaults__ or {}))
    unknown = [name for name in given if name not in names]
    absent = [name for name in needed if name not in given]
    if unknown:
        return f"there is no argument {', '.join(unknown)}; there are: {', '.join(names) or 'none'}"
    return f"argument {', '.join(absent)} is missing" if absent else ""


def _tidy(_request: dict[str, Any]) -> list[Any]:
    gc.collect()
    return ["tidy"]


JOBS = {"compile": _compile, "load": _load, "judge": _judge, "call": _call, "tidy": _tidy}


def _line(error: BaseException, name: str) -> int:
    """The line of the dapp's own text in which `error` was raised; 0 when in none."""
    found, trace = 0, error.__traceback__
    while isinstance(trace, TracebackType):
        if trace.tb_frame.f_code.co_filename == f"{name}.py":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _detail(error: BaseException) -> str:
    return shown(f"{type(error).__name__}: {error}")[:DETAIL_CHARS_MAX]


def _brief(error: BaseException) -> str:
    """What ended a run: one word for people and metrics."""
    end = ending(error)
    if isinstance(end, RecursionError):
        return "recursion"
    if isinstance(end, MemoryError):
        return "memory"
    return _detail(error)


class WitWorld(wit_world.WitWorld):  # type: ignore[misc]  # as above
    """What componentize-py looks for."""

    def run(self, job: str) -> str:
        """The answer to `job`."""
        return answer(job)


# Imported when they are needed, which is too late here: there are no files.
_LATE = ("_strptime", "_pylong", "decimal", "stringprep")
_ENCODINGS = (
    *("ascii", "latin_1", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32"),
    *("utf_32_le", "utf_32_be", "cp1252", "unicode_escape", "raw_unicode_escape", "hex_codec"),
)
for _name in (*_LATE, *(f"encodings.{each}" for each in _ENCODINGS)):
    importlib.import_module(_name)
for _name in _ENCODINGS:
    "".encode(_name) if _name != "hex_codec" else None  # found once, found in every run
warnings.simplefilter("ignore")  # they would be written to a stream that is not there


sys.addaudithook(_FILES.look)
gc.collect()
gc.disable()
gc.freeze()
