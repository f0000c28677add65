"""Own chains as this device keeps them: key, head, standing; and those of the person's others.

Source: docs/chains.md, "My chain". Plain state over table "chain"; `writing.py` moves a head,
`restoring.py` changes a standing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from dms3.chain.operations import ChainHead
from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, short
from dms3.core.machine import View, scan
from dms3.crypto.keys import KeyTree
from dms3.crypto.signing import SigningKey

TABLE = "chain"
Standing = Literal["writable", "asking", "closed", "foreign"]


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A chain as it is kept. `agent`: its key now, number `generation` of `device` in this DNA.

    `time_us`: of the head. `lock`: a countersigning that the chain waits for, b"" for none.
    `fault`: why it will not be writable again, for people.
    """

    v: int
    overlay: bytes
    device: bytes
    agent: bytes
    generation: int = 0
    seq: int = -1
    head: Cid | None = None
    time_us: int = 0
    standing: str = "writable"
    lock: bytes = b""
    fault: str = ""

    @property
    def key(self) -> bytes:
        """Where it lies in the table."""
        return self.overlay + self.device


class Chain:
    """One own chain; `row` is what is kept of it, durable or about to be."""

    def __init__(self, row: ChainRow, tree: KeyTree, desk: Desk) -> None:
        self.row = row
        self._tree = tree
        self._desk = desk

    @property
    def key(self) -> bytes:
        """What it lies under, whichever key of the device writes it."""
        return self.row.key

    @property
    def overlay(self) -> OverlayId:
        """The overlay, which is the DNA's id."""
        return OverlayId(self.row.overlay)

    @property
    def signing(self) -> SigningKey:
        """The agent key of now."""
        row = self.row
        return self._tree.agent(row.device, row.overlay, row.generation)

    @property
    def shown(self) -> ChainHead:
        """What people and programs are told."""
        row = self.row
        standing = cast("Standing", row.standing)
        return ChainHead(self.overlay, row.agent, row.seq, row.head, standing, row.device)

    def change(self, row: ChainRow) -> None:
        """Keep `row` from now on."""
        self.row = row
        self._desk.persist(TABLE, row.key, encode(row))

    def stand(self, standing: Standing, fault: str = "") -> None:
        """Change whether it may be written; `fault` says why never again."""
        if (self.row.standing, self.row.fault) != (standing, fault):
            self.change(replace(self.row, standing=standing, fault=fault))

    def lock(self, session: bytes) -> None:
        """Let nothing but the countersigning `session` be written; b"" unlocks."""
        self.change(replace(self.row, lock=session))

    def check_writable(self) -> None:
        """Raise the error that says why nothing can be written."""
        name = short(self.row.overlay)
        if self.row.standing == "closed":
            raise Dms3Error(
                "chain_closed",
                f"Your chain in app {name} is closed: it goes on in another app.",
                hint="Write there.",
            )
        if self.row.fault:
            raise Dms3Error(
                "chain_closed",
                f"Your chain in app {name} cannot go on here: {self.row.fault}.",
                hint="Restore a backup into a new home: it writes a chain of its own.",
            )
        if self.row.standing == "asking":
            raise Dms3Error(
                "chain_restoring",
                f"Your chain in app {name} may be longer than this home knows: other nodes are "
                "asked first.",
                hint="Wait until enough of them can be reached; dms3 doctor says how far it is.",
            )


class Chains:
    """The own chains by overlay, and the foreign ones of the same person."""

    def __init__(self, device: bytes, tree: KeyTree, desk: Desk) -> None:
        self._device = device
        self._tree = tree
        self._desk = desk
        self._own: dict[OverlayId, Chain] = {}
        self._foreign: dict[bytes, Chain] = {}  # by the key of its row

    def load(self, view: View) -> None:
        """Read the table."""
        for _, value in scan(view, TABLE):
            row = decode(ChainRow, value)
            if row.device != self._device:  # a restored home is another device
                row = replace(row, standing="foreign", lock=b"")
            self.put(Chain(row, self._tree, self._desk))

    def find(self, overlay: OverlayId) -> Chain | None:
        """The own chain of `overlay`, begun or not."""
        return self._own.get(overlay)

    def need(self, overlay: OverlayId, device: bytes = b"") -> Chain:
        """The own chain, or that of another device; raises `not_found`."""
        chain = self._own.get(overlay)
        if device not in (b"", self._device):
            chain = self._foreign.get(overlay + device)
        if chain is None:
            raise Dms3Error(
                "not_found",
                f"This node has no chain in app {short(overlay)}.",
                hint="Install the app first: dms3 dapp install.",
            )
        return chain

    def own(self) -> list[Chain]:
        """All own chains, in order of overlay."""
        return [self._own[overlay] for overlay in sorted(self._own)]

    def foreign(self, overlay: OverlayId | None = None) -> list[Chain]:
        """Chains of the person's other devices, in order; None: of all overlays."""
        chains = [self._foreign[key] for key in sorted(self._foreign)]
        return [chain for chain in chains if overlay in (None, chain.overlay)]

    def put(self, chain: Chain) -> None:
        """A chain that was just begun here, or found; its row is kept by its own changes."""
        if chain.row.device == self._device:
            self._own[chain.overlay] = chain
        else:
            self._foreign[chain.key] = chain
