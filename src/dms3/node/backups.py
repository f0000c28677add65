"""What `store backup` and `store restore` do at a running node, shaped for programs and people.

Source: docs/interfaces.md, `store backup`. Implements `BackupServices` of node/services_store.py. A
home where no node runs is made from a backup by the command line (`cli/restoring.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

from dms3.core.errors import Dms3Error
from dms3.crypto.backup import BackupKeys
from dms3.crypto.keys import KeyTree
from dms3.io.clock import SystemEntropy
from dms3.io.keyfile import KeyFile
from dms3.io.objects import ObjectFolder, folder_of
from dms3.node.backing import watched
from dms3.node.home import Home
from dms3.node.identity import Identity, create_identity
from dms3.node.node import Node, packs_key
from dms3.node.restoring import Restoration, read_manifest
from dms3.node.table import Progress, Result, Step


class Opener(Protocol):
    """What closes a node and opens it again (`node/host.py`)."""

    home: Home

    @property
    def store_key(self) -> bytes:
        """The key of the open store."""
        ...

    async def reopen(self) -> None:
        """Close the node, take over what was restored, open it again."""
        ...


def check_outside(folder: Path, home: Path) -> None:
    """Whether `folder` lies outside of `home`; raises `argument_invalid`: both would be lost."""
    if folder.resolve().is_relative_to(home.resolve()):
        raise Dms3Error(
            "argument_invalid",
            f"{folder} lies in the home folder of this node: what takes the one takes the other.",
            hint="Choose a folder elsewhere, on another disk if there is one.",
        )


class Backups:
    """The services over a running `node`."""

    def __init__(self, node: Node, opener: Opener) -> None:
        self._node = node
        self._opener = opener

    async def backup(self, url: str) -> AsyncIterator[Step]:
        """Write a generation; raises as `Backing.backup`, and when `url` lies in the home."""
        check_outside(folder_of(url), self._opener.home.path)
        run = None
        async with contextlib.aclosing(self._node.backing.backup(url)) as runs:
            async for run in runs:
                yield Progress(run.done_bytes, max(run.total_bytes, run.done_bytes), "bytes")
        assert run is not None, "a run is given at least once"
        assert run.result is not None, "the run has ended"
        manifest = run.result.manifest
        yield Result(
            {
                "folder": str(folder_of(url)),
                "generation": manifest.generation,
                "made_us": manifest.made_us,
                "documents": manifest.documents,
                "bytes": manifest.size,
                "objects": run.result.objects,
                "written_bytes": run.result.written_bytes,
                "freed_bytes": run.result.freed_bytes,
            }
        )

    async def restore(
        self, url: str, words: str | None, generation: int | None
    ) -> AsyncIterator[Step]:
        """Bring a generation back into this empty node; raises as `Restoration`."""
        identity = self._node.identity
        if words is not None and KeyTree.of_words(words).root_id() != identity.root:
            raise Dms3Error(
                "already_exists",
                "This node already belongs to another person than that of the words.",
                hint="Choose an empty folder with --home.",
            )
        await self._check_empty()
        run = restoration(self._opener.home, self._opener.store_key, identity, url, generation)
        async with contextlib.aclosing(watched(run)) as steps:
            async for step in steps:
                yield Progress(step.done_bytes, step.total_bytes, "bytes")
        await self._check_empty()  # nothing that came meanwhile is lost
        await self._opener.reopen()
        yield Result(restored(run))

    async def _check_empty(self) -> None:
        """Raise `already_exists` when there is anything here that a restoration would replace."""
        node = self._node
        documents = sum(space.documents for space in await node.library.spaces())
        fetched, _ = await node.library.fetched()
        contacts = await node.call("peers.contact_list")
        grants = await node.call("sharing.grants")
        held = {
            "documents": documents,
            "fetched files": fetched,
            "contacts": len(contacts),
            "grants": len(grants.given),
        }
        found = ", ".join(f"{count} {what}" for what, count in held.items() if count)
        if found:
            raise not_empty(self._opener.home, found)


@contextlib.contextmanager
def new_home(path: Path, url: str, words: str, generation: int | None) -> Iterator[Restoration]:
    """The restoration that makes the home at `path`, for the person of `words`; then it is adopted.

    Raises `already_exists` for a home that is in use, what is wrong with words and backup before
    the folder is made, and what `Restoration.run` raises; a later one goes on where this ended.
    """
    home = Home(path)
    if home.database.exists() and not home.staged_ready.exists():
        raise not_empty(home, home.database.name)
    identity = create_identity(SystemEntropy(), "", words)
    read_manifest(ObjectFolder(folder_of(url)), BackupKeys(identity.tree), generation)
    home.create()
    with home.locked():
        keys = KeyFile(home.key, SystemEntropy())
        key = keys.open() if keys.exists() else keys.create()
        yield restoration(home, key, identity, url, generation)
        home.adopt()


def not_empty(home: Home, found: str) -> Dms3Error:
    """What people are told when a restoration would replace something."""
    return Dms3Error(
        "already_exists",
        f"{home.path} is not empty: it holds {found}.",
        hint="Restore into a new folder: --home FOLDER --words-file FILE.",
    )


def restoration(
    home: Home, key: bytes, identity: Identity, url: str, generation: int | None
) -> Restoration:
    """The restoration of the backup at `url` into `home`, whose store key is `key`."""
    if generation is not None and generation < 1:
        raise Dms3Error("argument_invalid", f"There is no generation {generation}.")
    folder = ObjectFolder(folder_of(url))
    return Restoration(folder, home, (key, packs_key(key)), identity, SystemEntropy(), generation)


def restored(run: Restoration) -> dict[str, Any]:
    """The result of a finished restoration."""
    assert run.result is not None, "the run has ended"
    manifest, verified = run.result.manifest, run.result.verified
    return {
        "home": str(run.home.path),
        "root": run.identity.root.hex(),
        "name": manifest.name,
        "generation": manifest.generation,
        "made_us": manifest.made_us,
        "documents": manifest.documents,
        "bytes": manifest.size,
        "blocks": verified.blocks,
        "damaged": [{"what": one.what, "reason": one.reason} for one in verified.damaged],
    }
