"""An app, its people and a chain that keeps every rule, for tests of formats and rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dms3.chain.action import Action, SignedAction, sign_action
from dms3.chain.agent import AgentPlace, issue_agent
from dms3.chain.dna import Dna, EntryKind, LinkKind
from dms3.chain.entry import make_entry, seal_private
from dms3.chain.operations_validation import Record
from dms3.chain.rules import check_action
from dms3.chain.session import Preflight, accept_session, propose_session, session_entry
from dms3.core.cid import Cid
from dms3.core.verdict import Verdict
from dms3.crypto.signing import SigningKey

T0 = 1_800_000_000_000_000
DNA = Dna(
    name="guestbook",
    source=b"def signature_is_short(action, entry): ...\n",
    entries=(EntryKind("contract"), EntryKind("diary", private=True), EntryKind("signature"),
             EntryKind("wiki", by_anyone=True)),
    links=(LinkKind("by"), LinkKind("topic", by_anyone=True)),
    properties={"longest": 500},
)  # fmt: skip
OTHER_DNA = Dna(name="other")
PRIVATE_KEY = b"k" * 32


def key(number: int) -> SigningKey:
    return SigningKey.of_seed(bytes([number]) * 32)


ALICE, ALICE_ROOT = key(1), key(2)
ALICE_PHONE, ALICE_NEXT = key(3), key(4)
BOB, BOB_ROOT = key(5), key(6)


@dataclass
class Chain:
    """A chain of `signing`, an agent of `root`; `add` signs what comes next."""

    signing: SigningKey = ALICE
    root: SigningKey = ALICE_ROOT
    dna: Dna = DNA
    records: list[Record] = field(default_factory=list)

    @classmethod
    def begun(
        cls, signing: SigningKey = ALICE, root: SigningKey = ALICE_ROOT, dna: Dna = DNA
    ) -> "Chain":
        chain = cls(signing, root, dna)
        chain.add("dna")
        chain.add("proof", proof=b"invited")
        chain.add("agent", certificate=certificate(signing, root, dna))
        return chain

    @property
    def head(self) -> SignedAction | None:
        return self.records[-1].signed if self.records else None

    def next(self, kind: str, **fields: object) -> Action:
        """What would come next, its fields overridden by `fields`."""
        seq = len(self.records)
        common = {
            "v": 1,
            "dna": self.dna.id,
            "author": self.signing.public,
            "root": self.root.public,
            "seq": seq,
            "prev": self.head.hash if self.head else None,
            "time_us": T0 + seq,
            "kind": kind,
        }
        return Action(**{**common, **fields})

    def draft(self, kind: str, data: bytes | None = None, **fields: object) -> Record:
        return Record(sign_action(self.signing, self.next(kind, **fields)), data)

    def add(self, kind: str, data: bytes | None = None, **fields: object) -> Record:
        self.records.append(self.draft(kind, data, **fields))
        return self.records[-1]

    def create(self, content: object, kind: str = "signature") -> Record:
        entry, data = make_entry(content)
        return self.add("create", data, entry=entry, entry_kind=kind)

    def create_private(self, content: object) -> tuple[Record, bytes]:
        """A private entry, and it sealed."""
        entry, data = make_entry(content, b"s" * 16)
        cid, sealed = seal_private(PRIVATE_KEY, entry, data)
        fields = {"entry": entry, "entry_kind": "diary", "private": True, "sealed": cid}
        return self.add("create", data, **fields), sealed

    def judge(self, record: Record, known: Mapping[Cid, SignedAction] | None = None) -> Verdict:
        """The verdict on `record` behind the head, with this chain known unless `known` says."""
        if known is None:
            known = {each.signed.hash: each.signed for each in self.records}
        return check_action(record, self.dna, self.head, known)


def certificate(
    signing: SigningKey, root: SigningKey, dna: Dna = DNA, generation: int = 0
) -> bytes:
    return issue_agent(root, AgentPlace(dna.id, signing.public, b"d" * 16, generation), T0)


CONTENT = {"text": "we agree"}


def preflight(**fields: object) -> bytes:
    """Alice proposes to countersign CONTENT with Bob; `fields` override what she signs."""
    common = {
        "v": 1,
        "overlay": DNA.id,
        "proposer": ALICE.public,
        "parties": tuple(sorted((ALICE.public, BOB.public))),
        "entry": make_entry(CONTENT)[0],
        "kind": "contract",
        "since_us": T0,
        "until_us": T0 + 60_000_000,
        "signature": b"",
    }
    return propose_session(ALICE, Preflight(**{**common, **fields}))


def acceptance(chain: Chain, session: bytes) -> bytes:
    """The owner of `chain` accepts for its next place."""
    return accept_session(chain.signing, session, len(chain.records), chain.head.hash)


def countersigned(asked: bytes, accepted: list[bytes]) -> tuple[Cid, bytes]:
    return session_entry(CONTENT, asked, accepted)
