"""What the node asks of machine "source", which writes this device's chains: types only.

Source: docs/chains.md. What is asked of the machine that judges, holds and finds operations, own
and others', is in `operations_validation.py`.

| call | arguments | answer |
|---|---|---|
| `source.begin` | Begin: start or take up the chain of an app | ChainHead |
| `source.commit` | Commit: one transaction of changes | Committed, when it is durable here |
| `source.query` | Query: own chain | tuple of Record, in order of seq |
| `source.head` | OverlayId | ChainHead |
| `source.chains` | None | tuple of ChainHead |
| `source.published` | action hash | Published: who holds what of it |
| `source.end` | OverlayId: publish no more (the app was removed); nothing is deleted | None |
| `source.rotate` | OverlayId: the agent's next key (action agent) | ChainHead |
| `source.revoke_agent` | RevokeAgent: what a device writes from now on is not mine | Committed |
| `source.close` | Close: this chain goes on in another DNA | Committed |
| `source.restore` | OverlayId: bring what the person's other homes wrote | tuple of ChainHead |
| `source.receipts` | NoteReceipts: what holders say later of ops that were pending | None |
| `source.send` | SendTo: a question to an agent | what its app answered (JSON values) |
| `source.propose` | Propose: countersign an entry with others | Session |
| `source.accept` | AcceptSession | Session |
| `source.decline` | session id | Session |
| `source.sessions` | OverlayId | tuple of Session |
| `source.grant` / `source.revoke` / `source.grants` | see `source/capabilities.py` | |
| `source.warrant` | IssueWarrant: an action `warrant` of the own chain | Committed |
| `source.shut_out` | ShutOut: whose questions are refused from now on | None |

Asked by it: `validation.*`, `dht.*` (core/overlay.py), and of the node
`dapps.receive` Incoming -> JSON values (an agent's question), `dapps.countersign` Session ->
bool (whether this person's app accepts by itself; None: the person is asked).
Events: `chain.committed`, `chain.published`, `chain.refused`, `chain.rejected`, `chain.restored`,
`chain.session`, `chain.signal`, `chain.convicted`, `chain.warranted`.
Every answer may be a Failure instead. That nothing was found is no failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dms3.chain.dna import Dna
from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, Root
from dms3.core.limits import GET_PATIENCE_US
from dms3.core.multibase import encode_base32


@dataclass(frozen=True, slots=True)
class Begin:
    """Take part in the app `dna`; `proof` is the membrane proof, JSON values as the DNA asks."""

    dna: Dna
    proof: bytes = b""


@dataclass(frozen=True, slots=True)
class ChainHead:
    """An own chain: `agent` (its key now), its last action, whether it may be written.

    `standing`: writable, or asking (after a restore, until a quorum of its activity holders has
    reported the head), closed (it went on in another DNA), foreign (another device of the person).
    """

    overlay: OverlayId
    agent: bytes
    seq: int
    head: Cid | None
    standing: Literal["writable", "asking", "closed", "foreign"]
    device: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """One action to be written; `of` says which, the rest is what that kind needs.

    `content`: the entry's content, JSON values without floats. `target`: what is updated, deleted
    or unlinked (an action). `base`, `to`: what is linked, hashes or agents as bytes; `kind`: the
    entry kind or link kind as the DNA names it. `private`: the entry stays on this device. `proof`:
    of a create or update, for the membrane of its kind.
    """

    of: Literal["create", "update", "delete", "link", "unlink"]
    kind: str = ""
    content: Any = field(default=None, repr=False)
    target: Cid | None = None
    base: bytes = b""
    to: bytes = b""
    tag: bytes = b""
    private: bool = False
    proof: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Commit:
    """Write `changes` to the own chain of `overlay`, all or none.

    `head`: what the chain must end with (None: whatever it is), else `chain_moved`.
    """

    overlay: OverlayId
    changes: tuple[Change, ...]
    head: Cid | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """The hashes of the actions, in the order of the changes, and of their entries (or None)."""

    actions: tuple[Cid, ...]
    entries: tuple[Cid | None, ...]


@dataclass(frozen=True, slots=True)
class Rejected(Failure):
    """Why nothing of a commit was kept, `content_invalid`: the rule, and what broke it.

    `line`: of the app's rules, 0 for a rule of the system. `action`: which of the changes, from 0;
    `entry`: the hash of its entry, None without one. `author`: the agent that wrote it.
    """

    rule: str = ""
    detail: str = ""
    line: int = 0
    action: int = 0
    entry: Cid | None = None
    author: bytes = b""

    def error(self) -> Dms3Error:
        """The exception of this failure, with what broke which rule as JSON values."""
        about = {
            "rule": self.rule,
            "line": self.line,
            "detail": self.detail,
            "entry": None if self.entry is None else str(self.entry),
            "author": encode_base32(self.author),
        }
        return Dms3Error(self.code, self.message, retry=self.retry, about=about)


@dataclass(frozen=True, slots=True)
class Query:
    """Records of the own chain behind `after` (seq), of the entry kind, action kind, or all.

    `device`: of the person's chain there (b"": of this device).
    """

    overlay: OverlayId
    after: int = -1
    limit: int = 100
    kind: str = ""
    of: str = ""
    device: bytes = b""


@dataclass(frozen=True, slots=True)
class OpHeld:
    """One op of an action: where it lies, who signed for it, whether that is enough.

    `enough`: "uptime" (the signers' uptimes reach RECEIPT_UPTIME), "everybody" (every live member
    of a small overlay has signed), "near" (of these all but who says that it lies too far), ""
    (not yet; it is tried again at `again_us`, wall clock).
    """

    op: str
    basis: bytes
    signers: tuple[PeerId, ...]
    uptime: float
    members: int
    enough: Literal["uptime", "everybody", "near", ""]
    again_us: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """How far an own action has got; `complete` when every op of it is held by enough."""

    action: Cid
    ops: tuple[OpHeld, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class NoteReceipts:
    """`peer` says what became of ops: (op id, receipt) of those that it holds now."""

    overlay: OverlayId
    peer: PeerId
    receipts: tuple[tuple[bytes, bytes], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendTo:
    """Ask `agent` of `overlay`: `function` of its app with `body`; or its `receive` when "".

    `capability`: the proof for a function that is not open to everybody.
    """

    overlay: OverlayId
    agent: bytes
    function: str
    body: Any = field(repr=False)
    capability: bytes = field(default=b"", repr=False)
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class Incoming:
    """What an agent asks this node's app; the signature and the capability were checked.

    `sender`: the agent; `root`: the person behind it, certified. `granted`: a grant that stands
    lets it call `function`, or it is an agent of this very person; otherwise only what is open to
    everybody may be answered (else `grant_missing`).
    """

    overlay: OverlayId
    sender: bytes
    root: Root
    function: str
    body: Any = field(repr=False)
    granted: bool = False


@dataclass(frozen=True, slots=True)
class Propose:
    """Countersign an entry of `kind` with `content` together with `parties` (agents, not me)."""

    overlay: OverlayId
    kind: str
    content: Any = field(repr=False)
    parties: tuple[bytes, ...]
    window_us: int


@dataclass(frozen=True, slots=True)
class AcceptSession:
    """Sign session `id` with this device's chain."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """A countersigning: who takes part, who has signed, until when, and what came of it.

    `state`: proposed (by or to me), locked (I signed; my chain waits, or others' signatures are
    brought to the network), complete (every action is held by the neighbourhood), declined,
    expired. `why`: what ended it, for people.
    """

    id: bytes
    overlay: OverlayId
    kind: str
    content: Any = field(repr=False)
    parties: tuple[bytes, ...]
    signed: tuple[bytes, ...]
    until_us: int
    state: Literal["proposed", "locked", "complete", "declined", "expired"]
    action: Cid | None = None
    proposer: bytes = b""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    """End this chain; it goes on in `to` (a DNA id). `state`: JSON values that move along."""

    overlay: OverlayId
    to: bytes
    state: Any = None


@dataclass(frozen=True, slots=True)
class RevokeAgent:
    """Take back the key of `device` (b"": of this one, whose chain ends by it).

    `last_seq`: the last action that is still the person's; None: the last that is known here.
    """

    overlay: OverlayId
    device: bytes
    last_seq: int | None = None
