"""Rules of the source that no linter has: sizes, names, banned calls, limits and codes in use.

Run it to list what breaks them; tests/unit/test_source_rules.py runs it in `make check` and shows
that each rule catches a violation. There is no list of exceptions, only the places named below.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_CHARS_MAX = 100
NODE_LINES_MAX = 300  # node/node.py: architecture.md, "Import rules"
COMPOSITION = ("node/node.py", "node/machines.py", "node/host.py")  # join parts and decide nothing
PROJECT_IMPORTS_MAX = 12  # layer 0, which is vocabulary, is not counted
DUPLICATE_STATEMENTS_MIN = 4

CHECKED = ("src", "tests", "benchmarks", "examples", "scripts")
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
MARKS = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")  # brackets: this line is no mark
MARKED_SUFFIXES = {".py", ".md", ".sh", ".toml", ".mjs", ".go", ".js", ".css", ".html", ".jinja"}
PRAGMA = re.compile(r"\s*# (noqa|type: ignore)\b.*$")
BANNED_CALLS = {
    "asyncio.create_task": "use a TaskGroup",
    "asyncio.ensure_future": "use a TaskGroup",
    "loop.create_task": "use a TaskGroup",
    "time.time": "take `now`",
    "time.monotonic": "take `now`",
    "time.sleep": "wait for an event",
}
BANNED_EVERYWHERE_BUT = {"time.time": "io/clock.py", "time.monotonic": "io/clock.py"}
PURE = ("core/", "crypto/", "libp2p/", "p2p/", "dht/", "search/")
# architecture.md, "Errors": the driver loop and the HTTP boundary; and where an error is handed
# over to the thread or process that waits for it.
CATCH_ALL_PLACES = (
    *("io/loop.py", "node/driver.py", "api/http.py"),
    *("io/store.py", "io/pool_worker.py", "guest/app.py"),
)
PRINT_PLACES = ("cli/",)
APP = re.compile(r"src/dms3/dapps/[^/]+/")  # what a person writes: no part of the package
# The driver and its parts.
SIM_MAY_USE_OF_NODE = ("dms3.node.driver", "dms3.node.inbox", "dms3.node.questions")


@dataclass(frozen=True)
class Source:
    """One Python file: `path` as in the repository, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the syntax tree."""
        return list(ast.walk(self.tree))

    @property
    def package_path(self) -> str | None:
        """The path inside src/dms3, or None for a file outside of it, or of an app."""
        inside = self.path.startswith("src/dms3/") and not APP.match(self.path)
        return self.path.removeprefix("src/dms3/") if inside else None

    def inside(self, places: tuple[str, ...]) -> bool:
        """Whether the file lies in one of `places`, paths inside src/dms3."""
        return self.package_path is not None and self.package_path.startswith(places)


Found = Iterator[str]


def sizes(source: Source) -> Found:
    """Files, functions and lines stay short enough to be read."""
    lines = source.text.splitlines()
    most = NODE_LINES_MAX if source.package_path == "node/node.py" else FILE_LINES_MAX
    if len(lines) > most:
        yield f"{source.path}: {len(lines)} lines, at most {most}"
    for number, line in enumerate(lines, 1):
        chars = len(PRAGMA.sub("", line))  # a pragma cannot be wrapped
        if chars > LINE_CHARS_MAX:
            yield f"{source.path}:{number}: {chars} characters, at most {LINE_CHARS_MAX}"
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield (
                    f"{source.path}:{node.lineno}: {node.name} has {length} lines, "
                    f"at most {FUNCTION_LINES_MAX}"
                )


def names(source: Source) -> Found:
    """A file is named for what is in it."""
    for part in Path(source.path).with_suffix("").parts:
        if part in FORBIDDEN_NAMES:
            yield f"{source.path}: {part!r} says nothing about what is in it"


def docstrings(source: Source) -> Found:
    """A module, a public class and a public function say what they are."""
    if source.package_path is None:
        return
    if not ast.get_docstring(source.tree):
        yield f"{source.path}: no module docstring"
    for node in source.tree.body:
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if named and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"{source.path}:{node.lineno}: {node.name} has no docstring"


def calls(source: Source) -> Found:
    """Tasks have an owner, time and entropy are injected, only commands print."""
    if source.package_path is None:
        return
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in BANNED_CALLS and BANNED_EVERYWHERE_BUT.get(name) != source.package_path:
            yield f"{source.path}:{node.lineno}: {name}: {BANNED_CALLS[name]}"
        if name.startswith("random.") and _imports_module(source, "random"):
            yield f"{source.path}:{node.lineno}: {name}: draw from the injected Entropy"
        if name == "print" and not source.inside(PRINT_PLACES):
            yield f"{source.path}:{node.lineno}: print outside cli/: log, or return the text"
        if name == "open" and source.inside(PURE):
            yield f"{source.path}:{node.lineno}: open in layers 0-2: take the bytes"


def _imports_module(source: Source, name: str) -> bool:
    return any(
        isinstance(node, ast.Import) and any(alias.name == name for alias in node.names)
        for node in source.nodes
    )


def catch_alls(source: Source) -> Found:
    """Only the driver loop and the HTTP boundary may swallow what nobody expected.

    Cleaning up and raising it again (a bare `raise` at the end) is allowed everywhere.
    """
    if source.package_path is None or source.inside(CATCH_ALL_PLACES):
        return
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler) and not _raises_again(node):
            caught = ast.unparse(node.type) if node.type else "everything"
            words = set(re.findall(r"\w+", caught))
            if words & {"everything", "Exception", "BaseException"}:
                yield f"{source.path}:{node.lineno}: catches {caught}: name the errors"


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def assertions(source: Source) -> Found:
    """A broken invariant says which one, with the value."""
    if source.package_path is None:
        return
    for node in source.nodes:
        if isinstance(node, ast.Assert) and node.msg is None and not _narrows(node.test):
            yield f"{source.path}:{node.lineno}: assert without a message"


def _narrows(test: ast.expr) -> bool:
    """Whether an assertion only tells the type checker what the line above established."""
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.IsNot) and ast.unparse(test.comparators[0]) == "None"
    return isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance"


def state(source: Source) -> Found:
    """No module state, and no order that depends on a hash."""
    if source.package_path is None:
        return
    for node in source.nodes:
        if isinstance(node, ast.Global):
            yield f"{source.path}:{node.lineno}: global {', '.join(node.names)}: pass it instead"
        loops = isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
        if loops and _is_set(node.iter):
            yield f"{source.path}:{node.iter.lineno}: iterates over a set: sort it first"


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"set", "frozenset"}


def imports(source: Source) -> Found:
    """A module that needs half the project is two modules; sim sees only the driver of node."""
    if source.package_path is None:
        return
    used: set[str] = set()
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dms3"):
            used.add(node.module or "")
        elif isinstance(node, ast.Import):
            used.update(alias.name for alias in node.names if alias.name.startswith("dms3."))
    parts = sorted(name for name in used if not name.startswith("dms3.core"))
    if len(parts) > PROJECT_IMPORTS_MAX and source.package_path not in COMPOSITION:
        yield f"{source.path}: imports {len(parts)} modules of ours, at most {PROJECT_IMPORTS_MAX}"
    if source.inside(("sim/",)):
        for module in sorted(name for name in used if name.startswith("dms3.node")):
            if module not in SIM_MAY_USE_OF_NODE:
                yield f"{source.path}: imports {module}: of node, sim knows only the driver"


FILE_RULES: tuple[Callable[[Source], Found], ...] = (
    *(sizes, names, docstrings, calls, catch_alls, assertions, state, imports),
)


def limits(sources: list[Source]) -> Found:
    """Every bound says why it has its value, and bounds something."""
    files = [source for source in sources if source.inside(("core/limits",))]
    words = _words(source for source in sources if source not in files)
    for file in files:
        yield from _limits_of(file, words)


def _limits_of(file: Source, words: set[str]) -> Found:
    lines = file.text.splitlines()
    inner = re.findall(r"\w+", "\n".join(re.sub(r"^\w+ =", "", line) for line in lines))
    for node in file.tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        name = ast.unparse(target)
        if name not in words and name not in inner:
            yield f"{file.path}:{node.lineno}: {name} bounds nothing"
        own = lines[node.lineno - 1 : node.end_lineno]
        above = lines[node.lineno - 2] if node.lineno > 1 else ""
        unit = name in {"KIB", "MIB", "GIB", "SECOND_US"}
        if not unit and not any("#" in line for line in own) and not above.startswith("#"):
            yield f"{file.path}:{node.lineno}: {name} does not say why it has its value"


def codes(sources: list[Source]) -> Found:
    """Every error code can happen."""
    (file,) = [source for source in sources if source.package_path == "core/errors.py"]
    known = [
        key.value
        for node in file.tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CODES"
        for key in (node.value.keys if isinstance(node.value, ast.Dict) else [])
        if isinstance(key, ast.Constant)
    ]
    used = {
        node.value
        for source in sources
        if source.package_path
        for node in source.nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and source is not file
    }
    used |= {
        argument.value
        for node in file.nodes
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    for code in known:
        if code not in used:
            yield f"{file.path}: nothing raises {code!r}"


def duplicates(sources: list[Source]) -> Found:
    """The same function twice is one function too many."""
    seen: dict[str, str] = {}
    for source in sources:
        if source.package_path is None:
            continue
        for node in source.nodes:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            inner = [part for statement in body for part in ast.walk(statement)]
            statements = sum(isinstance(part, ast.stmt) for part in inner)
            if statements < DUPLICATE_STATEMENTS_MIN:
                continue
            key = ast.dump(node.args) + "".join(ast.dump(statement) for statement in body)
            place = f"{source.path}:{node.lineno}: {node.name}"
            if key in seen:
                yield f"{place} is the same as {seen[key]}"
            seen.setdefault(key, place)


def _words(sources: Iterator[Source]) -> set[str]:
    found: set[str] = set()
    for source in sources:
        if source.package_path:
            found.update(re.findall(r"\w+", source.text))
    return found


TREE_RULES: tuple[Callable[[list[Source]], Found], ...] = (limits, codes, duplicates)


def marks(path: str, text: str) -> Found:
    """What is left to do is done, or is an issue; never a mark in a file."""
    for number, line in enumerate(text.splitlines(), 1):
        if MARKS.search(line):
            yield f"{path}:{number}: a leftover mark: {line.strip()[:60]}"


def read_sources(root: Path) -> list[Source]:
    """Every Python file of the project under `root`, in order of path."""
    return [
        Source(path.relative_to(root).as_posix(), path.read_text())
        for folder in CHECKED
        for path in sorted((root / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
    ]


def read_texts(root: Path) -> Iterator[tuple[str, str]]:
    """Path and text of every file that a person wrote, tests' data and locks left out."""
    for folder in (*CHECKED, "docs", "changelog.d"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in MARKED_SUFFIXES and "node_modules" not in path.parts:
                yield path.relative_to(root).as_posix(), path.read_text()
    for path in sorted([*root.glob("*.md"), root / "pyproject.toml", root / "Makefile"]):
        if path.exists():
            yield path.name, path.read_text()


def check(root: Path) -> list[str]:
    """Every violation in the project under `root`."""
    sources = read_sources(root)
    found = [line for source in sources for rule in FILE_RULES for line in rule(source)]
    found += [line for rule in TREE_RULES for line in rule(sources)]
    found += [line for path, text in read_texts(root) for line in marks(path, text)]
    return found


if __name__ == "__main__":
    violations = check(Path(__file__).parents[1])
    print("\n".join(violations) or "no violations")
    sys.exit(bool(violations))
