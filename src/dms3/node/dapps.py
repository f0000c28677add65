"""The apps of this node: installed, running, called; a plain class over the store and the sandbox.

Source: docs/dapps.md. Files are rows of the encrypted database; chains and what others wrote belong
to machines "source" and "validation", functions run in port "sandbox". Answers for commands are in
`node/dapps_answers.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dms3.chain.membrane import Open
from dms3.core.codec import encode
from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, short
from dms3.core.limits import CALLS_AT_ONCE_MAX, DAPP_NAME_CHARS_MAX, DAPPS_MAX
from dms3.core.machine import Entropy
from dms3.core.multibase import encode_base32
from dms3.io import dapp_tables as tables
from dms3.node.agent_people import Behind
from dms3.node.dapps_calling import Calls, Here
from dms3.node.dapps_logins import DappLogins
from dms3.node.dapps_parts import address_name, check_name, parts_of
from dms3.node.dapps_running import App, Call, begin, end, enter
from dms3.node.dapps_sandbox import Sandbox
from dms3.node.identity import Identity
from dms3.node.library import Clock
from dms3.node.noting import DappChanged
from dms3.node.table import unknown

FOLDER = "folder"  # where an app came from: a folder of the person, or uploads
SHIPPED_PREFIX = "shipped:"  # ...or what comes with dms3; else the CID of a published folder
_NEXT = "-next"  # ends the name of an app that is to take over


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What apps need of a node. `log`: takes a line that an app writes for its developer."""

    store: Database
    identity: Identity
    call: Call
    sandbox: Sandbox
    clock: Clock
    entropy: Entropy
    log: Callable[[str, str], None]


class Dapps:
    """Every installed app; `run` as a task from the start of the node on."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.logins = DappLogins(around.entropy, around.clock)
        self._apps: dict[str, App] = {}
        self._changing = asyncio.Lock()  # one app is installed or removed at a time
        here = Here(around.identity, around.call, around.sandbox, around.log)
        self._calls = Calls(here, self, asyncio.Semaphore(CALLS_AT_ONCE_MAX))
        self._begun: asyncio.Queue[App] = asyncio.Queue()
        self.behind = Behind(around.call, around.clock)

    async def start(self) -> None:
        """Read what is installed; before anything else."""
        for row, files in await asyncio.to_thread(self._rows):
            try:
                self._meet(row, files)
            except Dms3Error as error:  # another version of dms3 has taken it
                self._around.log(row.name, str(error))

    async def run(self) -> None:
        """Begin what is installed, and what will be, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                app = await self._begun.get()
                group.create_task(self._begin(app))

    async def _begin(self, app: App) -> None:
        await begin(app, self._around.call, self._around.sandbox, self._certificate())
        if app.state == "ready":
            await self._calls.callback(app, "init", {})
            await self._around.call("noting.dapp", DappChanged(app.name, "ready"))

    def _certificate(self) -> bytes:
        return encode(self._around.identity.certify(self._around.clock.now().wall_us))

    async def renew(self) -> None:
        """Show a fresh certificate in apps with a membrane; a proof that has run out is said."""
        for app in self.apps():
            if app.state == "ready" and not isinstance(app.parts.dna.gates.outer, Open):
                try:
                    await enter(app, self._around.call, self._certificate())
                except Dms3Error as error:
                    self._around.log(app.name, str(error))

    def _meet(self, row: tables.DappRow, files: Mapping[str, bytes]) -> App:
        proof = json.loads(row.proof) if row.proof else None
        app = App(row, parts_of(files), proof)
        self._apps[row.name] = app
        self._begun.put_nowait(app)
        return app

    def _rows(self) -> list[tuple[tables.DappRow, dict[str, bytes]]]:
        with self._around.store.read() as connection:
            rows = tables.dapps(connection)
            return [(row, tables.dapp_files(connection, row.number)) for row in rows]

    # Which there are

    def apps(self) -> list[App]:
        """Every installed app, by name."""
        return [self._apps[name] for name in sorted(self._apps)]

    def app(self, name: str) -> App:
        """The app called `name`, or with that DNA id; raises `not_found`."""
        found = self._apps.get(name)
        if found is None:
            ids = [app for app in self.apps() if encode_base32(app.overlay) == name]
            if not ids:
                raise _no_app(name, list(self._apps))
            found = ids[0]
        return found

    def of_overlay(self, overlay: OverlayId) -> App:
        """The app with that DNA; raises `not_found`."""
        for app in self._apps.values():
            if app.overlay == overlay:
                return app
        raise Dms3Error("not_found", f"App {short(overlay)} is not installed here.")

    def numbered(self, number: int) -> App | None:
        """The app with that number in the database."""
        return next((app for app in self._apps.values() if app.row.number == number), None)

    async def files(self, app: App) -> dict[str, bytes]:
        """The files of an app by path."""

        def work() -> dict[str, bytes]:
            with self._around.store.read() as connection:
                return tables.dapp_files(connection, app.row.number)

        return await asyncio.to_thread(work)

    # Changing

    async def install(
        self, files: Mapping[str, bytes], source: str, name: str | None, proof: Any
    ) -> tuple[App, bool]:
        """The app of `files`, and whether it was there before (with other functions and page).

        Raises `content_invalid`, `already_exists` for another app with this name, or for what
        somebody else published with the rules of an app unless it is named, `limit_reached`.
        """
        parts = parts_of(files)
        chosen = check_name(name or address_name(parts.manifest.name))
        now_us = self._around.clock.now().wall_us
        async with self._changing:
            before = next((app for app in self.apps() if app.overlay == parts.dna.id), None)
            if before is None:
                self._check_room(chosen)
            elif name != before.name:
                _check_source(before, source)
            text = "" if proof is None else json.dumps(proof)
            row = tables.DappRow(0, bytes(parts.dna.id), chosen, text, source, now_us, now_us)
            number = await self._keep(row, files)
            if before is None:
                kept = tables.DappRow(number, row.dna, chosen, text, source, now_us, now_us)
                app = self._meet(kept, files)
            else:
                kept = dataclasses.replace(
                    before.row, proof=text or before.row.proof, source=source, changed_us=now_us
                )
                app = await self._replace(before, kept, files, proof)
        what = DappChanged(app.name, "installed" if before is None else "changed")
        await self._around.call("noting.dapp", what)
        return app, before is not None

    async def _keep(self, row: tables.DappRow, files: Mapping[str, bytes]) -> int:
        def work(connection: Connection) -> int:
            return tables.put_dapp(connection, row, files)

        return await asyncio.wrap_future(self._around.store.transact(work))

    async def _replace(
        self, app: App, row: tables.DappRow, files: Mapping[str, bytes], proof: Any
    ) -> App:
        """Other functions and page, or another proof, for an app whose rules are the same."""
        app.row, app.parts = row, parts_of(files)
        app.proof = app.proof if proof is None else proof
        if app.state == "ready":
            if proof is not None:
                await enter(app, self._around.call, self._certificate())
            app.declared = await self._around.sandbox.declared(app.parts)
        elif app.state == "failed":
            app.set("starting")
            self._begun.put_nowait(app)
        return app

    def _check_room(self, name: str) -> None:
        if name in self._apps:
            raise Dms3Error(
                "already_exists",
                f"Another app is called {name} here: its rules are not these.",
                hint=f"Install it as --name OTHER, or go on in it: dms3 dapp migrate {name}",
            )
        if len(self._apps) >= DAPPS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{DAPPS_MAX} apps are installed already.",
                hint="Remove one: dms3 dapp remove NAME",
            )

    async def remove(self, app: App) -> None:
        """Stop an app and forget its files; its chain stays."""
        async with self._changing:
            await end(app, self._around.call)
            work = partial(tables.drop_dapp, number=app.row.number)
            await asyncio.wrap_future(self._around.store.transact(work, frees_space=True))
            self._apps.pop(app.name, None)
            self.logins.end(app.row.number)
        await self._around.call("noting.dapp", DappChanged(app.name, "removed"))

    async def install_beside(
        self, old: App, files: Mapping[str, bytes], source: str, proof: Any
    ) -> App:
        """The app of `files` under a name for the time being; raises as `install`."""
        if parts_of(files).dna.id == old.overlay:
            raise Dms3Error(
                "argument_invalid",
                f"The rules of this app are those of {old.name}: it is the same app.",
                hint="dms3 dapp install brings its new functions and page.",
            )
        name = address_name(old.name[: DAPP_NAME_CHARS_MAX - len(_NEXT)]) + _NEXT
        app, _ = await self.install(files, source, name, proof)
        return app

    async def carried(self, app: App) -> Any:
        """The state that moves along when the chain of `app` ends: what its `carry` says."""
        return await self._calls.callback(app, "carry", {})

    async def take_over(self, old: App, new: App) -> None:
        """`new` is called as `old` was, which stops; its chain stays."""
        name = old.name
        await self.remove(old)

        def work(connection: Connection) -> None:
            tables.rename_dapp(connection, new.row.number, name)

        async with self._changing:
            await asyncio.wrap_future(self._around.store.transact(work))
            del self._apps[new.name]
            new.row = dataclasses.replace(new.row, name=name)
            self._apps[name] = new

    # Calling

    async def call(self, app: App, function: str, arguments: Any) -> Any:
        """What an exposed function returns to the person of this node."""
        return await self._calls.call(app, function, arguments)

    def check_grantable(self, app: App, function: str) -> None:
        """Raises `method_unknown`, or `argument_invalid` when no grant is for this function."""
        self._calls.check_grantable(app, function)

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Operations of port "dapps" (`chain/operations.py`)."""
        return await self._calls.serve(operation, arguments)


def _check_source(app: App, source: str) -> None:
    """Raises `already_exists` for a folder that others have published, and that is not its own.

    Equal rules are one app, and its functions and page see what its person wrote: whoever installs
    what looks like another app has to say that this one is meant.
    """
    is_published = source != FOLDER and not source.startswith(SHIPPED_PREFIX)
    if is_published and source != app.row.source:
        raise Dms3Error(
            "already_exists",
            f"This has the rules of {app.name}, which is installed: its functions and its page "
            f"would take the place of those, and see what you wrote in {app.name}.",
            hint=f"If you trust who published it: dms3 dapp install {source} --name {app.name}",
        )


def _no_app(name: str, known: list[str]) -> Dms3Error:
    error = unknown("app", name, known, code="not_found")
    if not error.hint:
        error.hint = f"Install it: dms3 dapp install {name[:40]}"
    return error
