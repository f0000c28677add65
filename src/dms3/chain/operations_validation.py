"""What machine "validation" is asked, which judges, holds and finds operations: types only.

Source: docs/chains.md. What is asked of the machine that writes own chains is in `operations.py`.

| call | arguments | answer |
|---|---|---|
| `validation.open` | OpenApp: judge and hold for this overlay from now on | None |
| `validation.shut` | OverlayId | None |
| `validation.judge` | JudgeRecords: new actions of an own chain, before they are kept | Verdict |
| `validation.keep` | KeepRecords: own actions, judged by `judge` | None, when durable |
| `validation.get` | GetRecord | Found, or None |
| `validation.links` | GetLinks | tuple of LinkRecord |
| `validation.activity` | GetActivity | Activity |
| `validation.trace` | action hash: an entry's journey as this node sees it | tuple of OpState |
| `validation.figures` | OverlayId | OpFigures |
| `validation.totals` | None | OpFigures of all apps that are open, together |
| `validation.reconcile` | OverlayId: compare with a neighbour now | None |
| `validation.warrants` | OverlayId: who is convicted or blocked here | tuple of Warranted |
| `validation.voices` | WarnedOf | tuple of pairs: a root, and how many have warned of it |
| `validation.heed` | tuple of OverlayId: warrants of these apps count for a network | None |
| `validation.recall` | Recall: somebody has come who may have been warned of | None |
| `validation.block` | Block: the person takes nothing more of an agent | None |
| `validation.pardon` | Pardon: the person looks over it | None |

Asked by it: `sandbox.judge` (chain/sandboxing.py), `dht.*` (core/overlay.py), `source.*`.
Every answer may be a Failure instead. That nothing was found is no failure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dms3.chain.action import SignedAction
from dms3.chain.dna import Dna
from dms3.core.cid import Cid
from dms3.core.ids import OverlayId
from dms3.core.limits import GET_PATIENCE_US
from dms3.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Record:
    """An action and its entry's bytes (None: it has none, or a private one that is not mine).

    `sealed`: of an own private entry, what others hold of it.
    """

    signed: SignedAction
    entry: bytes | None = field(default=None, repr=False)
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OpenApp:
    """Judge by `dna` in its overlay, and hold what lies near this node.

    Where its membrane asks for it, `proof`: that this person may be in, and the `certificate` of
    this node (encoded). A second call brings others.
    """

    dna: Dna
    proof: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class JudgeRecords:
    """New actions of one chain with their entries, in order; the chain before them is held."""

    overlay: OverlayId
    records: tuple[Record, ...]
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class KeepRecords:
    """Own actions: readable here from now on, whoever else holds them."""

    overlay: OverlayId
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class GetRecord:
    """Bring what is under `hash`, an action or an entry; `local`: only what lies here.

    `latest`: follow updates to the newest one.
    """

    overlay: OverlayId
    hash: Cid
    latest: bool = False
    local: bool = False
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class Found:
    """A record with what happened to it: live as long as one of its creates is not deleted.

    `records`: every action that made this entry (of equal content several authors), earliest
    first; `updates` and `deletes`: action hashes. `verdict` of the first record.
    """

    records: tuple[Record, ...]
    updates: tuple[Cid, ...]
    deletes: tuple[Cid, ...]
    live: bool
    verdict: Verdict
    holders: int


@dataclass(frozen=True, slots=True)
class GetLinks:
    """Links from `base` of `kind` ("": all) whose tag begins with `tag`."""

    overlay: OverlayId
    base: bytes
    kind: str = ""
    tag: bytes = b""
    author: bytes = b""
    since_us: int = 0
    until_us: int = 0
    limit: int = 1_000
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A live link: its action, what it points to, its tag, who made it when."""

    action: Cid
    base: bytes
    to: bytes
    kind: str
    tag: bytes
    author: bytes
    time_us: int


@dataclass(frozen=True, slots=True)
class GetActivity:
    """What `agent` did, as a quorum of the holders of its key says.

    `after`: actions behind this seq; `until`: the chain up to this action, to genesis.
    """

    overlay: OverlayId
    agent: bytes
    after: int = -1
    until: Cid | None = None
    limit: int = 1_000
    patience_us: int = GET_PATIENCE_US


@dataclass(frozen=True, slots=True)
class Activity:
    """`state`: empty (no chain that is known to have begun), valid, invalid, closed, forked.

    Forked are two actions at one seq.

    `actions`: in order of seq; `head`: the last seq that is held without a gap; `highest`: the
    highest seen; `holders`: how many answered; `quorum`: whether most of the live neighbourhood
    did. `revoked`: the agent's root has taken its key back (said when asked from the first on), or
    the next key has taken its place (said when the actions reach that far).
    """

    agent: bytes
    state: Literal["empty", "valid", "forked", "invalid", "closed"]
    actions: tuple[SignedAction, ...]
    head: int
    highest: int
    holders: int
    quorum: bool
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class OpState:
    """One op at this node: pending, system, app, integrated, rejected or abandoned, and why."""

    op: str
    basis: bytes
    state: str
    why: str = ""
    rule: str = ""
    line: int = 0
    waiting: tuple[str, ...] = ()
    received_us: int = 0


@dataclass(frozen=True, slots=True)
class WarnedOf:
    """Of whom have the people `by` warned in `apps`? The answer: pairs of root and how many."""

    apps: tuple[bytes, ...]
    by: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Recall:
    """Look up who has warned of the person `root` in `apps`."""

    apps: tuple[bytes, ...]
    root: bytes


@dataclass(frozen=True, slots=True)
class IssueWarrant:
    """Write to the own chain that `agent` broke rules, with `evidence` (see `chain/warrant.py`)."""

    overlay: OverlayId
    agent: bytes
    evidence: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShutOut:
    """All `agents` of `overlay` that this node answers no more."""

    overlay: OverlayId
    agents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Take nothing more of `agent`; `why` in the person's own words, for its list."""

    overlay: OverlayId
    agent: bytes
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pardon:
    """Take from `agent` again, whatever has been shown against it so far."""

    overlay: OverlayId
    agent: bytes


@dataclass(frozen=True, slots=True)
class Warranted:
    """An agent against whom there is evidence here, or a person's word.

    `kind`: "fork", "rule", "" without evidence. `standing`: convicted, blocked (by the person),
    pardoned. `seq`: the place in its chain from which on nothing is taken. `actions`: those of the
    evidence. `issuer`: the agent whose warrant was the first to say it, b"" when this node found it
    out; `warrant`: an action that says so, None as long as there is none. `rule`, `detail`, `line`:
    what was broken, of a rule; `why`: what the person said. `found_us`: wall clock.
    """

    overlay: OverlayId
    agent: bytes
    kind: Literal["fork", "rule", ""]
    standing: Literal["convicted", "blocked", "pardoned"]
    seq: int
    evidence: bytes = field(repr=False)
    actions: tuple[Cid, ...]
    issuer: bytes
    warrant: Cid | None
    rule: str
    detail: str
    line: int
    why: str
    found_us: int


@dataclass(frozen=True, slots=True)
class RepairFigures:
    """How this node and its neighbours in an overlay are kept equal, since it was opened.

    `rounds`: comparisons, of them `failed` without an end; `differing`: ranges that were unequal in
    the last one, at `at_us` (wall clock). `brought`: ops from partners, and what of theirs was not
    taken: `refused`, no room; `barred`, of an agent that this node blocks; `far`, not near it;
    `absent`, never given. `offered`: ops that
    partners wanted of us. `dropped`: ops let go of, `asked`: for which nearer holders were asked.
    `short`: ops of which a neighbour that is to hold them may have none yet. `whole`: False while
    what is held is still read.
    """

    rounds: int = 0
    failed: int = 0
    differing: int = 0
    at_us: int = 0
    brought: int = 0
    refused: int = 0
    barred: int = 0
    far: int = 0
    absent: int = 0
    offered: int = 0
    dropped: int = 0
    asked: int = 0
    short: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class OpFigures:
    """How many ops of an overlay are held here, by state, and their bytes."""

    states: tuple[tuple[str, int], ...]
    bytes: int
    repair: RepairFigures = RepairFigures()
