"""The guided tour: a few node processes, real files, and a table of what held and how long it took.

What `dms3 demo` runs. Every check talks to the nodes as any program would, through the client of
the API; the tour knows nothing of a node's inside. A check that fails does not stop the others
unless they build on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dms3.cli.demo_apps import AppTour
from dms3.cli.demo_messages import MessageTour, TourError, expect
from dms3.cli.demo_survival import SurvivalTour
from dms3.cli.dev import DevNetwork, node_names
from dms3.cli.lines import counted
from dms3.cli.samples import long_words, split_documents, text_files
from dms3.core.errors import Dms3Error
from dms3.core.limits import DEMO_NODES_MIN
from dms3.sdk import Client

SPACE = "documents"
PUBLISHED = "open letters"
PUBLISHED_FILES_MAX = 12  # enough to search in, soon held by others
FEW_FILES = 64  # an import of so few reports its beginning and its end, and little between


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: what was shown, whether it held, what was seen, how long it took."""

    name: str
    ok: bool
    detail: str
    seconds: float


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
        self._public = ("", "")  # words, and the CID of the one document that has them

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
            ("alice publishes another space", self._publish),
            ("a stranger finds it by its words and opens it", self._stranger_finds),
            ("alice is killed; another stranger still finds it", self._found_without_alice),
            *MessageTour(self, self._network).steps(),
            *AppTour(self, self._network).steps(),
            *SurvivalTour(self, self._network).steps(),
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

    async def lose(self, name: str) -> None:
        """Kill the node called `name`, as a power cut would."""
        self._network.kill(name)
        await self._network.wait(name)
        if name in self._clients:
            await self._clients.pop(name).aclose()

    async def bring_back(self, name: str) -> None:
        """Start the node called `name` again, where it was."""
        await self._network.start_node(name)

    def _client(self, name: str) -> Client:
        if name not in self._clients:
            node = self._network.nodes[name]
            self._clients[name] = Client(home=Path(node.home), api=node.api)
        return self._clients[name]

    async def call(self, name: str, noun: str, verb: str, /, **arguments: object) -> dict[str, Any]:
        """What the node called `name` answers."""
        return await self._client(name).call(noun, verb, **arguments)

    async def _nodes_are_up(self) -> str:
        peers = {node.peer_id for node in self._network.nodes.values()}
        expect(len(peers) == len(self._network.nodes), "two nodes have the same peer id")
        for name in self._network.nodes:
            await self.call(name, "status", "")
        return f"{len(peers)} nodes, each with its own identity"

    async def _contacts(self) -> str:
        pairs = [("alice", "bob"), ("alice", "carol")]
        for one, other in pairs:
            for giver, taker in ((one, other), (other, one)):
                card = await self.call(giver, "contact", "card")
                await self.call(taker, "contact", "add", card=card["card"])
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
        found = await self.call("alice", "search", "", query=words)
        expect(cid in {hit["cid"] for hit in found["hits"]}, f"{words!r} did not find its document")
        return f"{words!r}: {counted(found['total'], 'hit')} in {found['milliseconds']:.1f} ms"

    async def _share(self) -> str:
        await self.call("alice", "store", "share", space=SPACE, **{"with": "bob"})
        await self.until(
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
        found = await self.call("bob", "search", "", query=words, scope="peers")
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
        found = await self.call("carol", "search", "", query=words, scope="all")
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
        report = await self.call("alice", "store", "verify")
        expect(not report["damaged"], f"damaged: {report['damaged'][:3]}")
        return f"{report['blocks']} blocks and {report['documents']} documents are whole"

    async def _finish_import(self) -> str:
        await self._add(self._second)
        again = await self._add(self._first + self._second)
        expect(again["documents"] == 0, f"{again['documents']} files were imported twice")
        listing = await self.call("alice", "store", "list")
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

        found = await self.until("bob", "search", "", has_hit, query=words, scope="peers")
        return f"{words!r}: {counted(found['total'], 'hit')} after the restart"

    async def _unshare(self) -> str:
        await self.call("alice", "store", "unshare", space=SPACE, **{"with": "bob"})
        words, _ = await self._distinctive_words()
        found = await self.call("bob", "search", "", query=words, scope="peers")
        expect(found["total"] == 0, f"bob still finds {found['total']} documents")
        return "bob finds nothing any more"

    async def _publish(self) -> str:
        chosen = [str(path) for path in text_files(self._second)[-PUBLISHED_FILES_MAX:]]
        await self.call("alice", "store", "add", paths=chosen, space=PUBLISHED)
        done = await self.call("alice", "store", "publish", space=PUBLISHED)
        self._public = await self._distinctive_words(space=PUBLISHED)
        holders = done["holders"]
        expect(holders["least"] > 1, f"only {holders['least']} node holds it")
        return (
            f"{counted(done['documents'], 'document')}, {counted(done['blocks'], 'block')}, "
            f"each held by {holders['least']} of {holders['wanted']} nodes"
        )

    async def _stranger_finds(self) -> str:
        return await self._find_public(node_names(len(self._network.nodes))[-1])

    async def _found_without_alice(self) -> str:
        await self.lose("alice")
        try:
            return await self._find_public(node_names(len(self._network.nodes))[-2])
        finally:
            await self.bring_back("alice")

    async def published(self) -> list[tuple[str, str]]:
        """(words, CID) of every document of the published space with three long words."""
        page = await self.call("alice", "store", "list", space=PUBLISHED, limit=1000)
        found = []
        for document in page["documents"]:
            words = [] if document["note"] else long_words(Path(document["source"]))
            if len(words) >= 3:
                found.append((" ".join(words[:3]), document["cid"]))
        return found

    async def found(self, name: str, words: str, cid: str) -> None:
        """The node called `name` finds a public document and opens it."""
        await self._open_public(name, words, cid)

    async def _find_public(self, stranger: str) -> str:
        return await self._open_public(stranger, *self._public)

    async def _open_public(self, stranger: str, words: str, cid: str) -> str:
        found = await self.call(stranger, "search", "", query=words, scope="public")
        expect(cid in {hit["cid"] for hit in found["hits"]}, f"{stranger} did not find {words!r}")
        data = await self._client(stranger).download(cid)
        expect(words.split(maxsplit=1)[0].encode() in data, f"{stranger} received another document")
        return (
            f"{stranger}, {words!r}: {counted(found['total'], 'hit')} in "
            f"{found['milliseconds']:.0f} ms, {len(data)} bytes opened"
        )

    async def _add(self, paths: Sequence[Path]) -> dict[str, Any]:
        return await self.call("alice", "store", "add", paths=[str(path) for path in paths])

    async def _distinctive_words(
        self, source: Sequence[Path] = (), space: str = SPACE
    ) -> tuple[str, str]:
        """Three words that one imported document has, and its CID."""
        wanted = {str(path) for path in text_files(source)} if source else None
        after: int | None = 0
        while after is not None:
            page = await self.call("alice", "store", "list", space=space, after=after, limit=1000)
            for document in page["documents"]:
                if document["note"] or (wanted is not None and document["source"] not in wanted):
                    continue
                words = long_words(Path(document["source"]))
                if len(words) >= 3:
                    return " ".join(words[:3]), document["cid"]
            after = page["next"]
        raise TourError("no document with three long words was found")

    async def until(
        self,
        name: str,
        noun: str,
        verb: str,
        holds: Callable[[dict[str, Any]], bool],
        /,
        **arguments: object,
    ) -> dict[str, Any]:
        """The first answer for which `holds`; asked again at each event of the node."""
        async with asyncio.timeout(30):
            events = self._client(name).events(since=0)
            while True:
                data = await self.call(name, noun, verb, **arguments)
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
