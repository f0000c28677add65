"""The text of a dapp as code: what may stand in it, and what is put around what stands in it.

Source: docs/sandbox.md, "What a rule may say". The same on every node, because it is part of the
runner. Two things are kept away from dapps: whatever leads out of their own objects (names with two
underscores, frames, formats), and whatever differs between two runs (sets in order of their hash,
addresses, identity, finalizers). Runs nothing.
"""

from __future__ import annotations

import ast
from typing import NoReturn, cast

MODULES = frozenset(
    {
        *("dapp", "json", "hashlib", "re", "math", "base64", "struct", "string", "itertools"),
        *("functools", "collections", "dataclasses", "enum", "datetime", "unicodedata"),
    }
)
# What a class may define. Not `__eq__`, `__hash__`: how often they are called depends on hashes of
# text, which differ from one runner to the next; not `__del__`, which runs when memory is tidied.
METHODS = frozenset(
    f"__{name}__"
    for name in (
        *("init", "post_init", "str", "repr", "len", "bool", "iter", "next", "contains", "call"),
        *("getitem", "setitem", "delitem", "lt", "le", "gt", "ge", "add", "radd", "iadd", "sub"),
        *("rsub", "mul", "rmul", "truediv", "floordiv", "mod", "pow", "neg", "abs", "int", "float"),
        *("and", "or", "xor", "invert", "reversed", "index"),
    )
)
DUNDER_ATTRIBUTES = frozenset({"__name__", "__doc__"})
# Of generators, coroutines, frames, tracebacks, code, functions: ways to a frame and its globals.
FRAME_PREFIXES = ("gi_", "cr_", "ag_", "f_", "tb_", "co_", "func_")
BANNED_ATTRIBUTES = {
    "format": "use an f-string",
    "format_map": "use an f-string",
    "args": "use str(error)",
    "now": 'there is no clock here; use action["time"]',
    "utcnow": 'there is no clock here; use action["time"]',
    "today": 'there is no clock here; use action["time"]',
    "mro": "classes are not walked",
}
# Of errors and patterns of Python, to what the next run sees. A dapp's own may be so called.
PRIVATE = frozenset({"obj", "groupindex"})
SINGLETONS = (None, True, False)
FIXED_NAMES = frozenset({"str", "super", "type"})  # the checks below rely on their meaning
VIEWS = frozenset({"keys", "items"})


class SourceError(Exception):
    """A text that no dapp may have; `line` is where, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def attribute_refused(name: str) -> str:
    """Why attribute `name` is not for dapps, or "" when it is."""
    if name in BANNED_ATTRIBUTES:
        return f".{name} is not available: {BANNED_ATTRIBUTES[name]}"
    if name in DUNDER_ATTRIBUTES:
        return ""
    if name.startswith("__") or (name.startswith("_") and name.endswith("_")):
        return f".{name} is not available: names with underscores around them are Python's own"
    if name.startswith(FRAME_PREFIXES):
        return f".{name} is not available: names that begin so are those of frames"
    return ""


def is_private(name: str) -> bool:
    """Whether only a dapp's own objects may be asked for attribute `name`."""
    return name.startswith("_") or name in PRIVATE


def compiled(text: str, filename: str) -> tuple[object, dict[str, int]]:
    """The code of a dapp's `text`, and the line of each function at its top.

    SourceError when the text is no Python or holds what no dapp may have.
    """
    try:
        tree = ast.parse(text, filename)
    except SyntaxError as error:
        raise SourceError(error.lineno or 0, error.msg) from None
    except ValueError as error:  # a zero byte, half of a character
        raise SourceError(0, str(error)) from None
    lines = {node.name: node.lineno for node in tree.body if isinstance(node, ast.FunctionDef)}
    changed = ast.fix_missing_locations(_Confined().visit(tree))
    try:
        return compile(changed, filename, "exec", dont_inherit=True), lines
    except SyntaxError as error:
        raise SourceError(error.lineno or 0, error.msg) from None
    except ValueError as error:  # a guard in a pattern
        raise SourceError(0, f"{error}: give the value a name first") from None


def _refuse(node: ast.AST, message: str) -> NoReturn:
    raise SourceError(getattr(node, "lineno", 0), message)


def _guard(name: str, node: ast.expr, *arguments: ast.expr) -> ast.Call:
    """A call of guard `name`. No text can hold that name: a dot is no part of one."""
    call = ast.Call(ast.Name(f".{name}", ast.Load()), list(arguments), [])
    return ast.copy_location(call, node)


def _is_view(node: ast.expr) -> bool:
    """Whether it is `x.keys()` or `x.items()`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in VIEWS
        and not node.args
        and not node.keywords
    )


class _Confined(ast.NodeTransformer):
    """Refuses what no dapp may have; puts guards where a value decides."""

    def __init__(self) -> None:
        self._in_try = 0
        self._in_class = False

    # What is no part of the language here.

    def _absent(self, node: ast.AST) -> NoReturn:
        _refuse(node, f"{_WORDS[type(node).__name__]} cannot be used here")

    visit_AsyncFunctionDef = visit_AsyncFor = visit_AsyncWith = visit_Await = _absent
    visit_With = visit_TryStar = visit_TypeAlias = visit_TemplateStr = _absent

    # Names.

    def _bind(self, node: ast.AST, name: str | None) -> None:
        if name is None:
            return
        if name.startswith("__"):
            _refuse(node, f"{name}: names that begin with two underscores are Python's own")
        if name in FIXED_NAMES:
            _refuse(node, f"{name} cannot be given another meaning")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A name that is read, given a value or deleted."""
        if not isinstance(node.ctx, ast.Load):
            self._bind(node, node.id)
        elif node.id.startswith("__"):
            _refuse(node, f"{node.id}: names that begin with two underscores are Python's own")
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """A parameter."""
        self._bind(node, node.arg)
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        """Names of the module; every run has a module of its own."""
        for name in node.names:
            self._bind(node, name)
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        """Names of a function around this one."""
        for name in node.names:
            self._bind(node, name)
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        """Only modules that are here."""
        for alias in node.names:
            self._check_module(node, alias.name)
            self._bind(node, alias.asname)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Only names of modules that are here."""
        if node.module == "__future__":
            return None
        if node.level:
            _refuse(node, "a dapp is one file; it imports only dapp and parts of Python")
        self._check_module(node, node.module or "")
        for alias in node.names:
            if alias.name == "*":
                _refuse(node, "name what is imported; * is everything")
            reason = attribute_refused(alias.name)
            if reason:
                _refuse(node, reason)
            self._bind(node, alias.asname or alias.name)
        return node

    def _check_module(self, node: ast.AST, name: str) -> None:
        if name not in MODULES:
            there = ", ".join(sorted(MODULES))
            _refuse(node, f"{name} cannot be imported here; there are: {there}")

    # Functions and classes.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function; inside a class one of METHODS, or a name of the dapp's own."""
        called_by_python = self._in_class and node.name in METHODS
        if not called_by_python:
            self._bind(node, node.name)
        self._check_parameters(node)
        self._body(node, in_class=False)
        if called_by_python:
            _note_endings(node)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        """A function without a name."""
        return self._body(node, in_class=False)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """A class of the dapp's own, made by Python's `type` or by `enum`."""
        self._bind(node, node.name)
        self._check_parameters(node)
        if node.keywords:
            _refuse(node, "a class has bases and nothing else in its brackets")
        return self._body(node, in_class=True)

    def _check_parameters(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        if getattr(node, "type_params", None):
            _refuse(node, "type parameters cannot be used here")

    def _body(self, node: ast.AST, *, in_class: bool) -> ast.AST:
        before = (self._in_try, self._in_class)
        self._in_try, self._in_class = 0, in_class
        changed = self.generic_visit(node)
        self._in_try, self._in_class = before
        return changed

    # Attributes.

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Reading is refused by name; writing also by what is written to."""
        reason = attribute_refused(node.attr)
        if reason and not (node.attr in ("__init__", "__post_init__") and _is_super(node.value)):
            _refuse(node, reason)
        if not isinstance(node.ctx, ast.Load) or is_private(node.attr):
            if not reason:
                node.value = _guard("own", node, self._visited(node.value))
            return node
        if node.attr in VIEWS:
            return _guard("view", node, self._visited(node.value), ast.Constant(node.attr))
        if isinstance(node.value, ast.Name) and node.value.id == "str":
            node.value.id = ".str"
            return node
        return self.generic_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        """`case Kind(name=...)` reads attributes, too."""
        for name in node.kwd_attrs:
            reason = attribute_refused(name)
            if reason or name in VIEWS or is_private(name):
                _refuse(node, reason or f"{name} cannot be matched by")
        if isinstance(node.cls, ast.Name) and node.cls.id == "str":
            node.cls.id = ".str"
            node.patterns = [self.visit(pattern) for pattern in node.patterns]
            return node
        return self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        """A name given by a pattern."""
        self._bind(node, node.name)
        return self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        """As above."""
        self._bind(node, node.name)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        """As above."""
        self._bind(node, node.rest)
        return self.generic_visit(node)

    def _visited(self, node: ast.expr) -> ast.expr:
        return cast("ast.expr", self.visit(node))

    # Values whose order or text would differ from one run to the next.

    def visit_Set(self, node: ast.Set) -> ast.AST:
        """A set in order of what came first."""
        items = ast.copy_location(ast.List(node.elts, ast.Load()), node)
        return _guard("set", node, self._visited(items))

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        """As above."""
        items = ast.copy_location(ast.ListComp(node.elt, node.generators), node)
        return _guard("set", node, self._visited(items))

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        """Text of a value, without addresses."""
        spec = self._visited(node.format_spec) if node.format_spec else ast.Constant(None)
        kind = ast.Constant(node.conversion)
        node.value = _guard("text", node, self._visited(node.value), kind, spec)
        node.conversion, node.format_spec = -1, None
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`%` is arithmetic only."""
        changed = cast("ast.BinOp", self.generic_visit(node))
        if isinstance(changed.op, ast.Mod):
            return _guard("mod", node, changed.left, changed.right)
        return changed

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """As above."""
        if not isinstance(node.op, ast.Mod):
            return self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            _refuse(node, "write x = x % y")
        self._bind(node, node.target.id)
        old = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        value = _guard("mod", node.value, old, self._visited(node.value))
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Whether two values are one object depends on what was there before; use ==."""
        sides = [node.left, *node.comparators]
        for place, op in enumerate(node.ops):
            pair = sides[place : place + 2]
            if isinstance(op, ast.Is | ast.IsNot) and not any(map(_is_fixed, pair)):
                _refuse(node, "`is` compares with None, True, False or type(x); use ==")
        if isinstance(
            node.ops[-1], ast.In | ast.NotIn
        ):  # another comparison would be given it, too
            self._leave_view(sides[-1])
        return self.generic_visit(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        """A loop over the keys of a dict needs no guard."""
        self._leave_view(node.iter)
        return self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """As above."""
        self._leave_view(node.iter)
        return self.generic_visit(node)

    def _leave_view(self, node: ast.expr) -> None:
        if _is_view(node):
            function = cast("ast.Attribute", cast("ast.Call", node).func)
            name = ast.Constant(function.attr)
            call = cast("ast.Call", node)
            call.func = ast.copy_location(ast.Name(".each", ast.Load()), node)
            call.args = [function.value, name]

    # Errors.

    def visit_Try(self, node: ast.Try) -> ast.AST:
        """What ends the run passes through every handler."""
        self._leaves_finally(ast.Module(node.finalbody, []))
        self._in_try += 1
        self.generic_visit(node)
        self._in_try -= 1
        for handler in node.handlers:
            self._bind(handler, handler.name)
            handler.body.insert(0, _caught(handler))
        if node.finalbody:
            node.finalbody.insert(0, _caught(node.finalbody[0]))
        return node

    def _leaves_finally(self, node: ast.AST) -> None:
        """Refuse `return`, `break` and `continue` that would drop the error under way."""
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.FunctionDef | ast.Lambda | ast.ClassDef):
                continue
            if isinstance(part, ast.Return | ast.Break | ast.Continue):
                _refuse(part, "return, break and continue cannot stand inside finally")
            self._leaves_finally(part)

    def visit_Yield(self, node: ast.Yield | ast.YieldFrom) -> ast.AST:
        """A generator that is given up ends at once: nothing of it runs later."""
        if self._in_try:
            _refuse(node, "yield cannot stand inside try")
        return self.generic_visit(node)

    visit_YieldFrom = visit_Yield


def _note_endings(node: ast.FunctionDef) -> None:
    """Have a method note what ends the run: Python may put another error in its place."""
    kept = 1 if ast.get_docstring(node, clean=False) is not None else 0
    body = node.body[kept:]
    if not body:
        return
    noted = ast.Expr(ast.Call(ast.Name(".noted", ast.Load()), [], []))
    handler = ast.ExceptHandler(None, None, [noted, ast.Raise(None, None)])
    guarded = ast.copy_location(ast.Try(body, [handler], [], []), body[0])
    node.body[kept:] = [guarded]


def _caught(where: ast.AST) -> ast.stmt:
    call = ast.Call(ast.Name(".caught", ast.Load()), [], [])
    return ast.copy_location(ast.Expr(ast.copy_location(call, where)), where)


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "super"
        and not node.args
    )


def _is_fixed(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return any(node.value is each for each in SINGLETONS)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "type"


_WORDS = {
    "AsyncFunctionDef": "async",
    "AsyncFor": "async",
    "AsyncWith": "async",
    "Await": "await",
    "With": "with",
    "TryStar": "except*",
    "TypeAlias": "type",
    "TemplateStr": "a template string",
}
