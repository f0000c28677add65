"""Commands about documents: `store` and `search`.

Source: docs/interfaces.md, "Command line". Cheap to import: what they do is in `node/documents.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from dms3.node.services import NodeServices
from dms3.node.services_store import SearchAsked
from dms3.node.table import About, BlobOrPath, FolderUrl, Result, Secret, Step, command

Contact = Annotated[str, About("a contact: name, or beginning of the root", "--with", "CONTACT")]
Space = Annotated[str, "the name of a space"]


@command("store", "add", example="dms3 store add ~/letters --space letters")
async def store_add(
    node: NodeServices,
    paths: Annotated[tuple[BlobOrPath, ...], About("files, folders or uploads", metavar="PATH")],
    space: Annotated[str, "the space they go to; made when it is not there"] = "documents",
    kind: Annotated[str | None, "what they are, where the file names do not say it"] = None,
) -> AsyncIterator[Step]:
    """Import files and folders; what is there already is not imported twice."""
    async for step in node.documents.add(paths, space, kind):
        yield step


@command("store", "import", example="dms3 store import letters.car --space letters")
async def store_import(
    node: NodeServices,
    file: Annotated[BlobOrPath, About("a CAR file (version 1), or an upload", metavar="FILE")],
    space: Annotated[str, "the space it goes to; made when it is not there"] = "documents",
) -> AsyncIterator[Step]:
    """Import what a CAR file holds, with its content identifiers; every block is checked.

    The roots of the file become documents. What is there already is not imported twice, and of a
    file that is not whole nothing is kept.
    """
    async for step in node.documents.add_car(file, space):
        yield step


@command("store", "export", example="dms3 store export bafybei... -o letters.car", download=True)
async def store_export(
    node: NodeServices, cid: Annotated[str, About("a file or folder", metavar="CID")]
) -> AsyncIterator[Step]:
    """Write a file or folder with all its blocks as a CAR file, which IPFS software reads.

    Blocks are in the order of a walk depth first, each once: the same content is the same file.
    """
    async for step in node.documents.export_car(cid):
        yield step


@command("store", "list", example="dms3 store list --space letters")
async def store_list(
    node: NodeServices,
    space: Annotated[str | None, "list the documents of this space too"] = None,
    after: Annotated[int, "go on after this document number (`next` of the page before)"] = 0,
    limit: Annotated[int, "documents listed at most"] = 100,
) -> Result:
    """The spaces that are here or were shared with you, and the documents of one."""
    return Result(await node.documents.list(space, after, limit))


@command("store", "recent", example="dms3 store recent --limit 5")
async def store_recent(
    node: NodeServices,
    space: Annotated[str | None, "only of this space"] = None,
    before: Annotated[int | None, "go on before this document number (`next` of the page)"] = None,
    limit: Annotated[int, "documents listed at most"] = 20,
) -> Result:
    """The documents that came last, in your spaces."""
    return Result(await node.documents.recent(space, before, limit))


@command("store", "containers", example="dms3 store containers")
async def store_containers(node: NodeServices) -> Result:
    """What your spaces are made of: containers, how full each is and where it lies."""
    return Result(await node.documents.containers())


@command("store", "get", example="dms3 store get bafkreib... -o letter.txt", download=True)
async def store_get(
    node: NodeServices, cid: Annotated[str, About("the content identifier", metavar="CID")]
) -> Result:
    """Open a file by its content identifier, from here or from a peer who lets you read it."""
    return Result(await node.documents.describe(cid))


@command("store", "folder", example="dms3 store folder bafybei...")
async def store_folder(
    node: NodeServices,
    cid: Annotated[str, About("the content identifier of a folder", metavar="CID")],
    limit: Annotated[int, "entries listed at most"] = 1000,
) -> Result:
    """What lies in a folder, here or at a peer who lets you read it."""
    return Result(await node.documents.folder(cid, limit))


@command("store", "remove", example="dms3 store remove bafkreib...")
async def store_remove(
    node: NodeServices,
    cid: Annotated[str, About("the content identifier", metavar="CID")],
    space: Annotated[str | None, "remove it from this space only"] = None,
) -> Result:
    """Remove a document, or what was fetched of it; copies of others may still exist."""
    return Result(await node.documents.remove(cid, space))


@command("store", "share", example="dms3 store share letters --with bob --until 2027-03-01")
async def store_share(
    node: NodeServices,
    space: Space,
    with_: Contact,
    until: Annotated[str | None, "the last day, as 2027-03-01; without it: until unshared"] = None,
) -> Result:
    """Let a contact read and search a space."""
    return Result(await node.documents.share(space, with_, until))


@command("store", "unshare", example="dms3 store unshare letters --with bob")
async def store_unshare(node: NodeServices, space: Space, with_: Contact) -> Result:
    """Take a grant back; copies already made may still exist."""
    return Result(await node.documents.unshare(space, with_))


@command("store", "publish", example="dms3 store publish letters")
async def store_publish(
    node: NodeServices,
    space: Space,
    network: Annotated[str | None, "only for the members of this network of yours"] = None,
) -> AsyncIterator[Step]:
    """Let anybody find, search and read a space, also while this node is off.

    Other nodes keep copies of it, which anybody can read; that cannot be taken back.
    """
    async for step in node.documents.publish(space, network):
        yield step


@command("store", "unpublish", example="dms3 store unpublish letters")
async def store_unpublish(node: NodeServices, space: Space) -> Result:
    """Stop publishing a space; copies may remain elsewhere for up to 48 hours and longer."""
    return Result(await node.documents.unpublish(space))


@command("store", "verify", example="dms3 store verify")
async def store_verify(node: NodeServices) -> AsyncIterator[Step]:
    """Read and hash everything that is kept; says what is damaged."""
    async for step in node.documents.verify():
        yield step


@command("store", "backup", example="dms3 store backup /media/disk/dms3")
async def store_backup(
    node: NodeServices,
    url: Annotated[FolderUrl, About("a folder, as a path or file:///PATH", metavar="URL")],
) -> AsyncIterator[Step]:
    """Write a backup that the twelve words open; of what is there already only what is new."""
    async for step in node.backups.backup(url.url):
        yield step


@command("store", "restore", example="dms3 store restore /media/disk/dms3 --words-file words.txt")
async def store_restore(
    node: NodeServices,
    url: Annotated[FolderUrl, About("the folder of a backup", metavar="URL")],
    words: Annotated[Secret | None, "the twelve words; makes a home where no node runs"] = None,
    generation: Annotated[int | None, "which one, when not the newest"] = None,
) -> AsyncIterator[Step]:
    """Bring a backup back into an empty home; nothing that is there is overwritten."""
    text = None if words is None else words.text
    async for step in node.backups.restore(url.url, text, generation):
        yield step


@command("search", example='dms3 search "event loop" --kind text --scope all')
async def search(
    node: NodeServices,
    query: Annotated[str, 'words, "a phrase", -without, one OR other, begin*'],
    space: Annotated[str | None, "only this space"] = None,
    kind: Annotated[str | None, "only this kind of document"] = None,
    where: Annotated[tuple[str, ...], "FIELD:RANGE, such as bytes:1000..5000"] = (),
    scope: Annotated[
        Literal["local", "peers", "public", "cloud", "all"],
        "where to look: here, at peers, in public spaces, or everywhere",
    ] = "local",
    limit: Annotated[int, "hits at most"] = 20,
) -> Result:
    """Find documents, best first."""
    return Result(await node.documents.search(SearchAsked(query, space, kind, where, scope, limit)))


COMMANDS = (
    store_add,
    store_import,
    store_export,
    store_list,
    store_recent,
    store_containers,
    store_get,
    store_folder,
    store_remove,
    store_share,
    store_unshare,
    store_publish,
    store_unpublish,
    store_verify,
    store_backup,
    store_restore,
    search,
)
