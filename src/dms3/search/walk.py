"""The frontier of a DAG that is being fetched: which blocks are next, in the order of a reader.

Source: IPLD dag-pb and UnixFS specifications. Depth first, so the leaves of a file come in the
order of its bytes. Pure: asks nobody, stores nothing; only the shape of links matters here.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from dms3.core.cid import DAG_PB, Cid
from dms3.core.dag_pb import decode_node
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    BLOCK_BYTES_MAX,
    DAG_DEPTH_MAX,
    FETCH_ESTIMATE_BYTES_MIN,
    FETCH_NODES_MAX,
    FETCH_WANTS_MAX,
)


@dataclass(frozen=True, slots=True, order=True)
class Want:
    """A block to follow: its place in the DAG (link numbers from the root), and a size to expect.

    `estimate`: bytes it counts in the window before it has come; the author of a DAG may lie about
    it, so it has a floor and the window is also counted in blocks.
    """

    path: tuple[int, ...]
    cid: Cid
    estimate: int = BLOCK_BYTES_MAX

    @property
    def inner(self) -> bool:
        """Whether the block has links to follow."""
        return self.cid.codec == DAG_PB


class Frontier:
    """Wants not yet followed, smallest path first; every inner node is followed once."""

    def __init__(self, root: Cid) -> None:
        self._heap = [Want((), root)]
        self._followed: set[bytes] = set()  # asked whether it contains, never iterated

    def __len__(self) -> int:
        return len(self._heap)

    def pop(self) -> Want:
        """The next want in reading order."""
        return heapq.heappop(self._heap)

    def follow(self, want: Want, block: bytes) -> int:
        """Add the links of the inner node `want`; bytes of everything below it, as it claims.

        Raises `content_invalid` (not dag-pb, too deep) or `limit_reached` (more links than any
        content of ours has).
        """
        if want.cid.binary in self._followed:
            return 0
        if len(want.path) >= DAG_DEPTH_MAX:
            raise Dms3Error("content_invalid", f"{want.cid} lies deeper than {DAG_DEPTH_MAX}.")
        if len(self._followed) >= FETCH_NODES_MAX:
            raise Dms3Error("limit_reached", f"The content has over {FETCH_NODES_MAX} nodes.")
        try:
            links = decode_node(block).links
        except DecodeError as error:
            raise Dms3Error(
                "content_invalid", f"{want.cid} is not a dag-pb node: {error.reason}."
            ) from error
        if len(self._heap) + len(links) > FETCH_WANTS_MAX:
            raise Dms3Error("limit_reached", f"The content has over {FETCH_WANTS_MAX} open links.")
        self._followed.add(want.cid.binary)
        for number, link in enumerate(links):
            if link.cid.binary not in self._followed:
                estimate = min(max(link.size, FETCH_ESTIMATE_BYTES_MIN), BLOCK_BYTES_MAX)
                if link.cid.codec == DAG_PB:
                    estimate = FETCH_ESTIMATE_BYTES_MIN  # inner nodes of ours are about 8 KB
                heapq.heappush(self._heap, Want((*want.path, number), link.cid, estimate))
        return sum(link.size for link in links) + len(block)


def named_in(block: bytes) -> list[Cid]:
    """What a folder's node names; the parts of a file have no names."""
    try:
        return [link.cid for link in decode_node(block).links if link.name]
    except DecodeError:
        return []  # `Frontier.follow` says so
