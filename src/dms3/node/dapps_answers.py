"""Apps for people and programs: what the `dapp` commands and the pages of apps ask.

Source: docs/dapps.md. Shapes what `node/dapps.py` and the machines answer. Implements
`DappServices` of node/services_dapp.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dms3.chain.operations import AcceptSession, Close, Session
from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import Root
from dms3.core.multibase import encode_base32
from dms3.crypto.grant import FOREVER_US
from dms3.node import dapps_described as described
from dms3.node import dapps_public
from dms3.node import dapps_shown as shown
from dms3.node.dapps import FOLDER, SHIPPED_PREFIX, Dapps
from dms3.node.dapps_folder import (
    INDEX,
    read_cid,
    read_path,
    read_uploads,
    shipped,
    shipped_folder,
)
from dms3.node.dapps_names import hex_of
from dms3.node.dapps_running import App
from dms3.node.documents import end_of_day_us
from dms3.node.node import Node
from dms3.node.table import BlobOrPath, Progress, Result, Step
from dms3.p2p.contacts import Contact
from dms3.source.capabilities import Capability, Give

Found = tuple[Mapping[str, bytes], str]
"""The files of an app, and where they came from."""


class DappAnswers:
    """The services over a running `node`; `port`: where its private listener answers."""

    def __init__(self, node: Node, port: int) -> None:
        self._node = node
        self._port = port

    @property
    def _dapps(self) -> Dapps:
        assert self._node.dapps is not None, "apps are a part of every node"
        return self._node.dapps

    # Installing

    async def install(
        self, what: str, files: Sequence[BlobOrPath], name: str | None, proof: Any
    ) -> AsyncIterator[Step]:
        """Install an app, or its new functions and page; the result when it is ready."""
        yield Progress(0, None, "files", "Reading")
        found, source = await self._files(what, files)
        app, changed = await self._dapps.install(found, source, name, proof)
        async for step in _until_ready(app):
            yield step
        self._let_go(files)
        yield Result({**await self._shown(app), "changed": changed})

    async def migrate(
        self, dapp: str, what: str, files: Sequence[BlobOrPath], proof: Any
    ) -> AsyncIterator[Step]:
        """Close the chain in `dapp` and go on in the app of `files`, under the same name."""
        old = self._dapps.app(dapp)
        old.check_ready()
        yield Progress(0, None, "files", "Reading")
        found, source = await self._files(what, files)
        new = await self._dapps.install_beside(old, found, source, proof)
        async for step in _until_ready(new):
            yield step
        new.check_ready()
        state = await self._dapps.carried(old)
        closed = await self._node.call("source.close", Close(old.overlay, new.overlay, state))
        await self._dapps.take_over(old, new)
        self._let_go(files)
        yield Result({**await self._shown(new), "closed": shown.committed(closed, 0)["action"]})

    async def _files(self, what: str, files: Sequence[BlobOrPath]) -> Found:
        if bool(what) == bool(files):
            raise Dms3Error(
                "argument_invalid",
                "Name one app: a folder, a CID, or one that comes with dms3.",
                hint=f"dms3 brings {', '.join(shipped())}.",
            )
        if files and all(one.blob is not None for one in files):
            uploads = await asyncio.to_thread(read_uploads, files, self._node.spool)
            return uploads, FOLDER
        if files:
            if len(files) > 1:
                raise Dms3Error("argument_invalid", "An app is one folder.")
            return await read_path(Path(files[0].value)), FOLDER
        try:
            cid = Cid.parse(what)
        except DecodeError:
            folder = await read_path(shipped_folder(what))
            return folder, f"{SHIPPED_PREFIX}{what}"
        cid = await dapps_public.folder_of(self._node, cid)
        return await read_cid(self._node, cid), str(cid)

    def _let_go(self, files: Sequence[BlobOrPath]) -> None:
        for one in files:
            if one.blob is not None:
                self._node.spool.remove(one.blob)

    async def remove(self, dapp: str) -> dict[str, Any]:
        """Stop an app and forget its files."""
        app = self._dapps.app(dapp)
        await self._dapps.remove(app)
        return {"dapp": app.name, "dna": encode_base32(app.overlay), "removed": True}

    # Looking

    async def list(self) -> dict[str, Any]:
        """Installed apps, and those that come with dms3."""
        apps = self._dapps.apps()
        here = {app.parts.manifest.name for app in apps}
        return {
            "dapps": [described.row(app, self._address(app)) for app in apps],
            "shipped": [
                {**about, "installed": about["name"] in here}
                for about in await asyncio.to_thread(described.shipped_rows)
            ],
        }

    async def show(self, dapp: str) -> dict[str, Any]:
        """What an app is, and what this node holds of it."""
        return await self._shown(self._dapps.app(dapp))

    async def about(self, dapp: str) -> dict[str, Any]:
        """What a page may know of its app."""
        row = described.row(self._dapps.app(dapp), "")
        return {key: row[key] for key in ("name", "title", "version", "agent", "functions")}

    async def _shown(self, app: App) -> dict[str, Any]:
        return await described.whole(self._node, app, self._address(app))

    def _address(self, app: App) -> str:
        return f"http://{app.name}.localhost:{self._port}/" if app.parts.page else ""

    async def agents(self) -> Sequence[dict[str, Any]]:
        """The agents of this person's apps here, for `id show`."""
        return [
            {
                "dna": encode_base32(app.overlay),
                "agent": encode_base32(app.head.agent),
                "dapp": app.name,
            }
            for app in self._dapps.apps()
            if app.head is not None
        ]

    # Calling

    async def call(self, dapp: str, function: str, arguments: Any) -> dict[str, Any]:
        """What an exposed function returns."""
        app = self._dapps.app(dapp)
        return {"value": await self._dapps.call(app, function, arguments)}

    # The page

    async def link(self, dapp: str) -> dict[str, Any]:
        """A link to the page of an app; raises `not_found` when it has none."""
        app = self._dapps.app(dapp)
        if not app.parts.page:
            raise Dms3Error("not_found", f"The app {app.name} has no page.")
        code = self._dapps.logins.code(app.row.number)
        return {"dapp": app.name, "url": f"{self._address(app)}login?code={code}"}

    async def token(self, dapp: str) -> dict[str, Any]:
        """A token that is good for the functions of this app alone."""
        app = self._dapps.app(dapp)
        return {
            "dapp": app.name,
            "token": f"dapp-{self._dapps.logins.session(app.row.number)}",
            "api": f"http://127.0.0.1:{self._port}/api/v1/dapp/call",
        }

    def known(self, dapp: str) -> bool:
        """Whether an app is called so."""
        return any(app.name == dapp for app in self._dapps.apps())

    def enter(self, dapp: str, code: str) -> str | None:
        """A session for a code that `link` made."""
        return self._dapps.logins.exchange(self._dapps.app(dapp).row.number, code)

    def admitted(self, secret: str) -> str | None:
        """The name of the app that a session or token is good for."""
        number = self._dapps.logins.admitted(secret)
        app = None if number is None else self._dapps.numbered(number)
        return None if app is None else app.name

    async def page(self, dapp: str, path: str) -> bytes:
        """A file of the page; raises `not_found`."""
        app = self._dapps.app(dapp)
        name = f"{path}{INDEX}" if path.endswith("/") else path
        files = await self._dapps.files(app) if app.parts.page else {}
        found = files.get(f"{app.parts.page}/{name}")
        if found is None:
            raise Dms3Error("not_found", f"The page of {app.name} has no file {name[:80]!r}.")
        return found

    # Publishing

    async def publish(self, dapp: str) -> AsyncIterator[Step]:
        """Let anybody find and install an app."""
        app = self._dapps.app(dapp)
        files = await self._dapps.files(app)
        async for step in dapps_public.publish(self._node, app, files):
            yield step

    async def discover(self, query: str, limit: int) -> dict[str, Any]:
        """Apps that others have published."""
        here = {app.overlay for app in self._dapps.apps()}
        return await dapps_public.discover(self._node, query, limit, here)

    # Capabilities and sessions

    async def grant(
        self, dapp: str, functions: Sequence[str], to: str | None, until: str | None
    ) -> dict[str, Any]:
        """Let a contact, or whoever gets the capability, call functions."""
        app = self._dapps.app(dapp)
        app.check_ready()
        for function in functions:
            self._dapps.check_grantable(app, function)
        reader = None
        if to is not None:
            who: Contact = await self._node.call("peers.contact_find", to)
            reader = Root(who.root)
        end_us = FOREVER_US if until is None else end_of_day_us(until)
        asked = Give(app.overlay, tuple(functions), reader, end_us, to or "")
        given: Capability = await self._node.call("source.grant", asked)
        return shown.capability(given)

    async def grants(self, dapp: str) -> dict[str, Any]:
        """Who may call what."""
        overlay = self._dapps.app(dapp).overlay
        found: tuple[Capability, ...] = await self._node.call("source.grants", overlay)
        return {"grants": [shown.capability(one) for one in found]}

    async def revoke(self, dapp: str, grant: str) -> dict[str, Any]:
        """Take a grant back; raises `not_found`."""
        self._dapps.app(dapp)
        if not await self._node.call("source.revoke", hex_of(grant, "grant")):
            raise Dms3Error("not_found", f"There is no grant {grant[:32]}.")
        return {"grant": grant, "revoked": True}

    async def sessions(self, dapp: str) -> dict[str, Any]:
        """What is being signed together with others."""
        overlay = self._dapps.app(dapp).overlay
        found: tuple[Session, ...] = await self._node.call("source.sessions", overlay)
        return {"sessions": [shown.session(one) for one in found]}

    async def decide(self, session: str, what: Literal["accept", "decline"]) -> dict[str, Any]:
        """Sign it, or do not."""
        identity = hex_of(session, "session")
        asked = AcceptSession(identity) if what == "accept" else identity
        return shown.session(await self._node.call(f"source.{what}", asked))


async def _until_ready(app: App) -> AsyncIterator[Progress]:
    """Progress until `app` is ready; raises what it failed with."""
    while app.state == "starting":
        app.changed.clear()
        yield app.progress or Progress(0, None, "steps", "Starting")
        await app.changed.wait()
    app.check_ready()
