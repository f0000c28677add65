"""Apps without a network: a real store, functions run as plain Python, chains that say yes."""

import asyncio
import sys
import threading
import types
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dms3.chain.action import Action, sign_action
from dms3.chain.entry import make_entry
from dms3.chain.operations import ChainHead, Change, Commit, Committed, Rejected
from dms3.chain.operations_validation import (
    Found,
    GetLinks,
    GetRecord,
    LinkRecord,
    OpFigures,
    Record,
)
from dms3.chain.sandboxing import Called, CallFunction, Loaded, Program
from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error, Failure
from dms3.core.machine import Now
from dms3.core.verdict import Valid
from dms3.crypto.words import words_of_entropy
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.dapps import Dapps, Surroundings
from dms3.node.dapps_folder import SHIPPED, read_folder
from dms3.node.dapps_sandbox import Sandbox
from dms3.node.identity import Identity, create_identity

WORDS = words_of_entropy(bytes(16))
CALLBACKS = ("init", "receive", "post_commit", "countersign", "carry")
HOST = (
    *("commit", "get", "getLinks", "update", "remove", "link", "unlink", "query", "activity"),
    *("published", "send", "sign", "call", "bundleStart", "bundleClose", "migrate", "updateAgent"),
    *("grant", "revoke", "grants", "emit", "propose", "accept", "decline", "sessions"),
    *("verifySignature", "makeHash", "debug"),
)
ARGUMENTS = {
    "commit": ("kind", "content"),
    "get": ("hash",),
    "getLinks": ("base",),
    "link": ("base", "to", "kind"),
    "makeHash": ("content",),
    "emit": ("name", "value"),
    "call": ("app", "function", "arguments"),
    "bundleClose": ("commit",),
    "remove": ("target",),
    "send": ("agent", "body"),
    "sign": ("data",),
    "verifySignature": ("signature", "data", "key"),
    "debug": ("values",),
}


class Time:
    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def now(self) -> Now:
        return Now(self.us, self.us)


class Counted:
    """Entropy that is the same in every run."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


class GuestFailure(Exception):  # noqa: N818 - it stands for the guest's Failure
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PlainEngine:
    """Functions as plain Python, in place of the sandbox, whose own tests are in unit/sandbox."""

    def __init__(self) -> None:
        self.making: Any = None
        self.loaded: list[Program] = []
        self._lock = threading.Lock()

    async def serve(self, operation: str, program: Any) -> Loaded:
        assert operation == "load"
        self.loaded.append(program)
        rules, exposed = self._run(program.source.decode(), lambda _name, _given: None, {})
        found = [(name, access, 1, fn.__doc__ or "") for name, (access, fn) in exposed.items()]
        return Loaded(tuple(rules), tuple(found))

    async def call(self, asked: CallFunction, host: Callable[..., Any]) -> Called:
        loop = asyncio.get_running_loop()

        def ask(name: str, given: Mapping[str, Any]) -> Any:
            answer = asyncio.run_coroutine_threadsafe(host(name, given), loop).result(20)
            if isinstance(answer, Failure):
                raise GuestFailure(answer.code, answer.message)
            return answer

        def work() -> Any:
            who = {"key": asked.agent, "person": asked.person}
            _, exposed = self._run(asked.program.source.decode(), ask, who)
            access, function = exposed.get(asked.function, ("", None))
            if function is None or (access == "callback") != asked.callback:
                raise Dms3Error("method_unknown", f"There is no function {asked.function}.")
            return function(**asked.arguments)

        try:
            return Called(await asyncio.to_thread(work), 0)
        except GuestFailure as error:
            raise Dms3Error(error.code, f"{asked.function}: {error.message}") from error

    def _run(self, text: str, ask: Callable[..., Any], who: Mapping[str, str]) -> Any:
        rules: list[tuple[str, int, str]] = []
        exposed: dict[str, tuple[str, Any]] = {}
        module = _module(rules, exposed, ask, who)
        with self._lock:
            sys.modules["dapp"] = module
            names: dict[str, Any] = {}
            exec(compile(text, "functions.py", "exec"), names)
            del sys.modules["dapp"]
        for name in CALLBACKS:
            if name in names:
                exposed.setdefault(name, ("callback", names[name]))
        return rules, exposed


def _module(rules: list[Any], exposed: Any, ask: Any, who: Mapping[str, str]) -> types.ModuleType:
    module = types.ModuleType("dapp")

    def function_of(name: str) -> Any:
        def function(*given: Any, **named: Any) -> Any:
            return ask(name, dict(zip(ARGUMENTS.get(name, ()), given, strict=False)) | named)

        return function

    def rule(*_given: Any, **_named: Any) -> Any:
        def declare(function: Any) -> Any:
            rules.append((function.__name__, function.__code__.co_firstlineno, function.__doc__))
            return function

        return declare

    def expose(access: str = "own") -> Any:
        def declare(function: Any) -> Any:
            exposed[function.__name__] = (access, function)
            return function

        return declare

    for name in HOST:
        setattr(module, name, function_of(name))
    values = {"rule": rule, "expose": expose, "Failure": GuestFailure, "property": lambda *_: None}
    for name, value in values.items():
        setattr(module, name, value)
    agent = types.SimpleNamespace(key=who.get("key", ""), person=who.get("person", ""))
    module.agent = agent  # type: ignore[attr-defined]
    module.must_get_valid_record = lambda _hash: None  # type: ignore[attr-defined]
    return module


class Chains:
    """Machines "source" and "validation" of one node that nobody else is with."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.asked: list[tuple[str, Any]] = []
        self.refusing: Rejected | None = None
        self.failing: dict[str, Dms3Error] = {}
        self.records: dict[Cid, Record] = {}
        self.links: list[LinkRecord] = []
        self.signals: list[Any] = []

    async def call(self, operation: str, arguments: Any = None) -> Any:
        self.asked.append((operation, arguments))
        await asyncio.sleep(0)
        if operation in self.failing:
            raise self.failing[operation]
        match operation, arguments:
            case (("source.begin" | "source.head"), _):
                return self._head(getattr(arguments, "dna", arguments))
            case "source.commit", Commit():
                return self._commit(arguments)
            case "validation.get", GetRecord():
                return self._get(arguments.hash)
            case "validation.links", GetLinks():
                return tuple(one for one in self.links if one.base == arguments.base)
            case "validation.figures", _:
                return OpFigures((("integrated", 3),), 300)
            case "noting.signal", _:
                self.signals.append(arguments)
        return ()

    def _head(self, of: Any) -> ChainHead:
        overlay = getattr(of, "id", of)
        agent = self.identity.tree.agent(self.identity.device, overlay).public
        return ChainHead(overlay, agent, 2, None, "writable")  # type: ignore[arg-type]

    def _commit(self, commit: Commit) -> Committed:
        if self.refusing is not None:
            raise self.refusing.error()
        done = [self._write(commit.overlay, change) for change in commit.changes]
        return Committed(tuple(action for action, _ in done), tuple(entry for _, entry in done))

    def _write(self, overlay: bytes, change: Change) -> tuple[Cid, Cid | None]:
        key = self.identity.tree.agent(self.identity.device, overlay)
        entry, data = (None, None)
        if change.of == "create":
            entry, data = make_entry(change.content)
        seq = 3 + len(self.records) + len(self.links)
        rest: dict[str, Any] = {"entry": entry, "entry_kind": change.kind}
        if change.of == "link":
            rest = {"base": change.base, "to": change.to, "link_kind": change.kind}
        if change.of == "delete":
            target = change.target
            rest = {"target": target, "target_entry": target}
        first = Cid.of(0x71, b"before")
        action = Action(
            1, bytes(overlay), key.public, self.identity.root, seq, first, 1, change.of, **rest
        )
        signed = sign_action(key, action)
        if change.of == "link":
            self.links.append(
                LinkRecord(signed.hash, change.base, change.to, change.kind, b"", key.public, 1)
            )
        else:
            self.records[signed.hash] = Record(signed, data)
        return signed.hash, entry

    def _get(self, wanted: Cid) -> Found | None:
        for hash_, record in self.records.items():
            if wanted in (hash_, record.signed.action.entry):
                return Found((record,), (), (), live=True, verdict=Valid(), holders=1)
        return None


class Kit:
    """A node's apps with everything around them."""

    def __init__(self, store: Store) -> None:
        self.identity = create_identity(Counted(), "alice", WORDS)
        self.chains = Chains(self.identity)
        self.engine = PlainEngine()
        self.time = Time()
        self.said: list[tuple[str, str]] = []
        self.dapps = Dapps(
            Surroundings(
                store,
                self.identity,
                self.chains.call,
                Sandbox(self.engine),
                self.time,
                Counted(),
                lambda dapp, line: self.said.append((dapp, line)),
            )
        )

    async def ready(self, files: Mapping[str, bytes], name: str | None = None) -> Any:
        app, _ = await self.dapps.install(files, "folder", name, None)
        while app.state == "starting":
            app.changed.clear()
            await app.changed.wait()
        return app


@asynccontextmanager
async def kit(home: Path):
    """The apps of a node with its store at `home`, running."""
    home.mkdir(exist_ok=True)
    store = Store.open(home / "database", b"k" * 32, MIGRATIONS, reserve=0)
    made = Kit(store)
    try:
        await made.dapps.start()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.dapps.run())
            yield made
            running.cancel()
    finally:
        store.close()


def guestbook(**changed: str) -> dict[str, bytes]:
    """The files of the guestbook, some with another text (dots in names as `__`)."""
    files = read_folder(SHIPPED / "guestbook")
    return files | {name.replace("__", "."): text.encode() for name, text in changed.items()}


def with_functions(text: str) -> dict[str, bytes]:
    return guestbook(functions__py=text)
