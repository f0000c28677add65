"""The guided tour: a few node processes, real files, and a table of what held and how long it took.

What `dms3 demo` runs. Every check talks to the nodes as any program would, through the client of
the API; the tour knows nothing of a node's inside. A check that fails does not stop the others
unless they build on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sysconfig
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dms3.cli.dev import DevNetwork
from dms3.cli.views import counted
from dms3.core.errors import Dms3Error
from dms3.core.limits import DEMO_FIRST_FILES_MIN, DEMO_NODES_MIN, DEMO_WALK_FILES_MAX
from dms3.sdk import Client

FOREIGN_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})
SPACE = "documents"
FEW_FILES = 64  # an import of so few reports its beginning and its end, and little between


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: what was shown, whether it held, what was seen, how long it took."""

    name: str
    ok: bool
    detail: str
    seconds: float


class TourError(Exception):
    """A check that did not hold; the text says what was seen instead."""


class Tour:
    """Walks through the main job on a started network of at least three nodes.

    Arguments: `network`, started; `folder`, the documents; `report`, called with each check as it
    ends.
    """

    def __init__(self, network: DevNetwork, folder: Path, report: Callable[[Check], None]) -> None:
        self._network = network
        self._first, self._second = split_documents(folder)
        self._report = report
        self._clients: dict[str, Client] = {}
        self._documents = 0
        self._opened = ""

    async def run(self) -> list[Check]:
        """Every check in order; a tour that cannot go on ends with the check that stopped it."""
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            (f"{len(self._network.nodes)} nodes run as processes of their own", self._nodes_are_up),
            ("contacts exchange cards", self._contacts),
            ("alice imports a folder", self._import),
            ("alice searches her documents", self._search_at_home),
            ("alice shares a space with bob", self._share),
            ("bob searches what alice shared", self._search_from_bob),
            ("bob opens a found file by its CID", self._open_at_bob),
            ("carol, without a grant, finds nothing", self._carol_finds_nothing),
            ("carol, without a grant, fetches nothing", self._carol_fetches_nothing),
            ("alice is killed in the middle of an import", self._kill_while_importing),
            ("alice starts again and her store verifies", self._restart_and_verify),
            ("the import finishes without a duplicate", self._finish_import),
            ("bob finds what the second import added", self._search_again),
            ("alice takes the grant back", self._unshare),
        ]
        checks: list[Check] = []
        for name, step in steps:
            begun = time.perf_counter()
            try:
                ok, detail = True, await step()
            except (TourError, Dms3Error) as error:
                ok, detail = False, str(error)
            checks.append(Check(name, ok, detail, round(time.perf_counter() - begun, 3)))
            self._report(checks[-1])
            if not ok:
                break
        await self.close()
        return checks

    async def close(self) -> None:
        """Close the connections to the nodes."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _client(self, name: str) -> Client:
        if name not in self._clients:
            node = self._network.nodes[name]
            self._clients[name] = Client(home=Path(node.home), api=node.api)
        return self._clients[name]

    async def _call(self, name: str, noun: str, verb: str, **arguments: object) -> dict[str, Any]:
        return await self._client(name).call(noun, verb, **arguments)

    async def _nodes_are_up(self) -> str:
        peers = {node.peer_id for node in self._network.nodes.values()}
        expect(len(peers) == len(self._network.nodes), "two nodes have the same peer id")
        for name in self._network.nodes:
            await self._call(name, "status", "")
        return f"{len(peers)} nodes, each with its own identity"

    async def _contacts(self) -> str:
        pairs = [("alice", "bob"), ("alice", "carol")]
        for one, other in pairs:
            for giver, taker in ((one, other), (other, one)):
                card = await self._call(giver, "contact", "card")
                await self._call(taker, "contact", "add", card=card["card"])
        return "alice and bob, alice and carol"

    async def _import(self) -> str:
        begun = time.perf_counter()
        done = await self._add(self._first)
        seconds = time.perf_counter() - begun
        self._documents = done["documents"]
        expect(self._documents > 0, "no document was imported")
        rate, kept = done["documents"] / seconds, done["kept_count"]
        return (
            f"{done['documents']} documents, {done['bytes'] / 1e6:.1f} MB, "
            f"{rate:.0f} documents/s, {kept:,} other files kept, "
            f"{done['skipped_count'] - kept:,} skipped with a reason"
        )

    async def _search_at_home(self) -> str:
        words, cid = await self._distinctive_words()
        found = await self._call("alice", "search", "", query=words)
        expect(cid in {hit["cid"] for hit in found["hits"]}, f"{words!r} did not find its document")
        return f"{words!r}: {counted(found['total'], 'hit')} in {found['milliseconds']:.1f} ms"

    async def _share(self) -> str:
        await self._call("alice", "store", "share", space=SPACE, **{"with": "bob"})
        await self._until(
            "bob",
            "store",
            "list",
            lambda data: any(
                space["name"] == SPACE and not space["mine"] for space in data["spaces"]
            ),
        )
        return "bob can read and search it"

    async def _search_from_bob(self) -> str:
        words, cid = await self._distinctive_words()
        found = await self._call("bob", "search", "", query=words, scope="peers")
        expect(cid in {hit["cid"] for hit in found["hits"]}, f"bob did not find {words!r}")
        self._opened = cid
        return f"{words!r}: {counted(found['total'], 'hit')} in {found['milliseconds']:.1f} ms"

    async def _open_at_bob(self) -> str:
        at_alice = await self._client("alice").download(self._opened)
        at_bob = await self._client("bob").download(self._opened)
        expect(at_alice == at_bob, "bob's bytes differ from alice's")
        return f"{len(at_bob)} bytes, SHA-256 {hashlib.sha256(at_bob).hexdigest()[:12]}"

    async def _carol_finds_nothing(self) -> str:
        words, _ = await self._distinctive_words()
        found = await self._call("carol", "search", "", query=words, scope="all")
        expect(found["total"] == 0, f"carol found {found['total']} documents")
        return "0 hits"

    async def _carol_fetches_nothing(self) -> str:
        try:
            await self._client("carol").download(self._opened)
        except Dms3Error as error:
            expect(error.code == "content_unavailable", f"refused with {error.code}: {error}")
            return f"refused: {error.code}"
        raise TourError("carol received the file")

    async def _kill_while_importing(self) -> str:
        done = total = 0
        try:
            async for line in self._client("alice").stream(
                "store", "add", paths=[str(path) for path in self._second]
            ):
                progress = line.get("progress")
                if progress and begun_of(progress) and progress["done"] < progress["total"]:
                    done, total = progress["done"], progress["total"]
                    self._network.kill("alice")
        except Dms3Error as error:
            expect(error.code == "node_unreachable", f"ended with {error.code}: {error}")
        expect(total > 0, "the import ended before it could be interrupted")
        await self._network.wait("alice")
        return f"killed at {done} of {total} files"

    async def _restart_and_verify(self) -> str:
        await self._clients.pop("alice").aclose()
        await self._network.start_node("alice")
        report = await self._call("alice", "store", "verify")
        expect(not report["damaged"], f"damaged: {report['damaged'][:3]}")
        return f"{report['blocks']} blocks and {report['documents']} documents are whole"

    async def _finish_import(self) -> str:
        await self._add(self._second)
        again = await self._add(self._first + self._second)
        expect(again["documents"] == 0, f"{again['documents']} files were imported twice")
        listing = await self._call("alice", "store", "list")
        stored = next(space["documents"] for space in listing["spaces"] if space["name"] == SPACE)
        expect(
            stored == again["unchanged"],
            f"{stored} documents are stored for {again['unchanged']} files",
        )
        self._documents = stored
        return f"{stored} documents, each once"

    async def _search_again(self) -> str:
        words, cid = await self._distinctive_words(source=self._second)

        def has_hit(data: dict[str, Any]) -> bool:
            return cid in {hit["cid"] for hit in data["hits"]}

        found = await self._until("bob", "search", "", has_hit, query=words, scope="peers")
        return f"{words!r}: {counted(found['total'], 'hit')} after the restart"

    async def _unshare(self) -> str:
        await self._call("alice", "store", "unshare", space=SPACE, **{"with": "bob"})
        words, _ = await self._distinctive_words()
        found = await self._call("bob", "search", "", query=words, scope="peers")
        expect(found["total"] == 0, f"bob still finds {found['total']} documents")
        return "bob finds nothing any more"

    async def _add(self, paths: Sequence[Path]) -> dict[str, Any]:
        return await self._call("alice", "store", "add", paths=[str(path) for path in paths])

    async def _distinctive_words(self, source: Sequence[Path] = ()) -> tuple[str, str]:
        """Two words that one imported document has, and its CID."""
        wanted = {str(path) for path in text_files(source)} if source else None
        after: int | None = 0
        while after is not None:
            page = await self._call("alice", "store", "list", space=SPACE, after=after, limit=1000)
            for document in page["documents"]:
                if document["note"] or (wanted is not None and document["source"] not in wanted):
                    continue
                words = long_words(Path(document["source"]))
                if len(words) >= 3:
                    return " ".join(words[:3]), document["cid"]
            after = page["next"]
        raise TourError("no document with three long words was found")

    async def _until(
        self,
        name: str,
        noun: str,
        verb: str,
        holds: Callable[[dict[str, Any]], bool],
        **arguments: object,
    ) -> dict[str, Any]:
        """The first answer for which `holds`; asked again at each event of the node."""
        async with asyncio.timeout(30):
            events = self._client(name).events(since=0)
            while True:
                data = await self._call(name, noun, verb, **arguments)
                if holds(data):
                    return data
                await anext(events)


def begun_of(progress: dict[str, Any]) -> bool:
    """Whether an import has visibly begun; one of a few files is over with its first round."""
    return bool(progress["done"] > 0 or progress["total"] <= FEW_FILES)


def check_enough(nodes: int) -> None:
    """Raise `argument_invalid` when the tour cannot be walked with so few nodes."""
    if nodes < DEMO_NODES_MIN:
        raise Dms3Error(
            "argument_invalid",
            f"The tour needs at least {DEMO_NODES_MIN} nodes, not {nodes}.",
            hint="Choose another number with -n, or leave it out.",
        )


def expect(held: bool, otherwise: str) -> None:
    """Raise TourError(otherwise) unless `held`."""
    if not held:
        raise TourError(otherwise)


def default_documents() -> Path:
    """Python's own standard library: real text on every machine."""
    return Path(sysconfig.get_paths()["stdlib"])


def split_documents(folder: Path) -> tuple[list[Path], list[Path]]:
    """The entries of `folder` for the first import (500 files, or half of fewer), and the rest.

    Installed packages of others and compiled files are left out. Raises `argument_invalid` when
    there are not two of them.
    """
    entries = _entries(folder)
    while len(entries) == 1 and entries[0].is_dir():
        entries = _entries(entries[0])
    if len(entries) < 2:
        raise Dms3Error(
            "argument_invalid",
            f"{folder} holds fewer than two files or folders; the tour imports twice.",
            hint="Choose a folder with more documents, or leave --docs out.",
        )
    counts = [len(text_files([entry])) for entry in entries]
    enough = min(DEMO_FIRST_FILES_MIN, sum(counts) // 2)
    split = next(at for at in range(1, len(counts) + 1) if sum(counts[:at]) >= enough)
    split = min(split, len(entries) - 1)
    return entries[:split], entries[split:]


def _entries(folder: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.name not in FOREIGN_FOLDERS and not entry.name.startswith(".")
    ]


def long_words(path: Path) -> list[str]:
    """The longest different words near the start of a text file, longest first."""
    text = path.read_text(errors="replace")[:20_000]
    return sorted(set(re.findall(r"\b[a-z]{9,18}\b", text)), key=lambda word: (-len(word), word))


def text_files(paths: Sequence[Path]) -> list[Path]:
    """At most `DEMO_WALK_FILES_MAX` plain files under `paths`."""
    found: list[Path] = []
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else iter([path])
        own = (file for file in inside if not FOREIGN_FOLDERS & set(file.parts) and file.is_file())
        found += islice(own, DEMO_WALK_FILES_MAX)
    return found
