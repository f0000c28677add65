"""The files and folders below the root of a CAR, every node checked against what is above it.

Source: UnixFS specification. Pure: blocks come from an injected `get`. Says which blocks each file
needs; stores nothing and reads no content. A DAG that repeats itself is looked at once per place of
a folder and once per file, both bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.cid import RAW, Cid
from dms3.core.dag_walk import Trail
from dms3.core.errors import DecodeError
from dms3.core.limits import CAR_FILES_MAX, DAG_DEPTH_MAX, PATH_PARTS_MAX, UPLOAD_BYTES_MAX
from dms3.core.unixfs import name_fault
from dms3.core.unixfs_read import FileNode, Get, SymlinkNode, decode_block, list_folder

SYMLINK = "a symbolic link"


@dataclass(frozen=True, slots=True)
class Tree:
    """A file: its content bytes, the bytes of its blocks as a tree, and these blocks, each once."""

    size: int
    tree_bytes: int
    cids: tuple[Cid, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileAt:
    """A file called `name` in `folders` (outermost first) below the root."""

    folders: tuple[str, ...]
    name: str
    cid: Cid
    tree: Tree


@dataclass(slots=True)
class Survey:
    """What lies below one root.

    `is_folder`: whether the root is one; `folder_cids`, `tree_bytes`: then its own blocks (and
    those of what is left out), and the bytes of everything. `left_out`: path and reason of entries
    that become no document.
    """

    root: Cid
    is_folder: bool = False
    tree_bytes: int = 0
    files: list[FileAt] = field(default_factory=list)
    folder_cids: dict[Cid, None] = field(default_factory=dict, repr=False)
    left_out: list[tuple[str, str]] = field(default_factory=list)


class Surveyor:
    """Surveys roots; `get` gives blocks, `size_of` their bytes; both raise for missing ones."""

    def __init__(self, get: Get, size_of: Callable[[Cid], int]) -> None:
        self._get = get
        self._size_of = size_of
        self._trees: dict[Cid, Tree] = {}
        self._entries = 0

    def survey(self, root: Cid, name: str) -> Survey:
        """What `root` is, called `name`; raises DecodeError for what is no tree of files."""
        found = Survey(root)
        if isinstance(decode_block(root, self._get(root)), FileNode):
            tree = self._tree(root)
            found.tree_bytes = tree.tree_bytes
            found.files.append(FileAt((), name, root, tree))
        else:
            found.is_folder = True
            found.tree_bytes = self._folder(found, root, ())
        return found

    def _folder(self, found: Survey, cid: Cid, folders: tuple[str, ...]) -> int:
        """Note everything in the folder `cid`; the bytes of all its blocks."""
        if len(folders) > PATH_PARTS_MAX:
            raise DecodeError(0, f"folders lie deeper than {PATH_PARTS_MAX}")
        trail = Trail(self._get)
        links = list(list_folder(trail.get, cid))
        tree_bytes = 0
        for own, block in trail.take():
            found.folder_cids[own] = None
            tree_bytes += len(block)
        for link in links:
            self._entries += 1
            if self._entries > CAR_FILES_MAX:
                raise DecodeError(0, f"it holds more than {CAR_FILES_MAX} files and folders")
            tree_bytes += self._entry(found, link.cid, link.name, folders)
        return tree_bytes

    def _entry(self, found: Survey, cid: Cid, name: str, folders: tuple[str, ...]) -> int:
        node = None if cid.codec == RAW else decode_block(cid, self._get(cid))
        fault = name_fault(name)
        if isinstance(node, SymlinkNode):
            found.folder_cids[cid] = None
            found.left_out.append(("/".join((*folders, name)), SYMLINK))
            return self._size_of(cid)
        if node is None or isinstance(node, FileNode):
            tree = self._tree(cid)
            if fault is None:
                found.files.append(FileAt(folders, name, cid, tree))
            else:
                found.folder_cids.update(dict.fromkeys(tree.cids))
                found.left_out.append(("/".join((*folders, name)), fault))
            return tree.tree_bytes
        if fault is not None:
            raise DecodeError(0, f"a folder cannot be kept: {fault}")
        return self._folder(found, cid, (*folders, name))

    def _tree(self, cid: Cid) -> Tree:
        """The file `cid`; looked at once."""
        if cid not in self._trees:
            known: dict[Cid, tuple[int, int]] = {}
            size, tree_bytes = self._part(cid, known, 0)
            self._trees[cid] = Tree(size, tree_bytes, tuple(known))
        return self._trees[cid]

    def _part(self, cid: Cid, known: dict[Cid, tuple[int, int]], depth: int) -> tuple[int, int]:
        """Content and tree bytes of a piece of a file, noted in `known`."""
        if cid in known:
            return known[cid]
        if depth == DAG_DEPTH_MAX:
            raise DecodeError(0, f"a file tree deeper than {DAG_DEPTH_MAX}")
        if cid.codec == RAW:
            size = self._size_of(cid)
            known[cid] = size, size
            return known[cid]
        block = self._get(cid)
        node = decode_block(cid, block)
        if not isinstance(node, FileNode):
            raise DecodeError(0, "a part of a file is something else")
        tree_bytes = len(block)
        for part in node.parts:
            size, below = self._part(part.cid, known, depth + 1)
            if size != part.size:
                raise DecodeError(0, f"a part of {size} bytes where {part.size} belong")
            tree_bytes += below
        if max(node.size, tree_bytes) > UPLOAD_BYTES_MAX:
            raise DecodeError(0, f"a file of more than {UPLOAD_BYTES_MAX} bytes")
        known[cid] = node.size, tree_bytes
        return known[cid]
