"""Formats of source chains: what strangers send, and what lies on disk."""

import sys
from pathlib import Path

from dms3.chain.action import decode_action, decode_signed, encode_signed
from dms3.chain.agent import decode_agent, decode_revocation, revoke_agent
from dms3.chain.agent_messages import (
    AgentQuestion,
    SendAnswer,
    SendQuestion,
    SessionAccept,
    SessionComplete,
    SessionPropose,
    SessionReply,
    decode_agent_question,
    decode_send_answer,
    decode_session_reply,
    sign_decline,
    sign_question,
)
from dms3.chain.dna import decode_dna, encode_dna
from dms3.chain.entry import decode_entry, make_entry, open_private, seal_private
from dms3.chain.manifest import parse_manifest
from dms3.chain.messages import (
    Bring,
    ChainQuestion,
    Fetch,
    Fetched,
    FetchedOp,
    OpResult,
    Publish,
    Published,
    ReceiptNote,
    Reconcile,
    Reconciled,
    Vouch,
    decode_chain_question,
    decode_fetched,
    decode_published,
    decode_receipt_note,
    decode_reconciled,
)
from dms3.chain.ops import decode_op, encode_op, ops_of
from dms3.chain.receipt import decode_receipt, issue_receipt
from dms3.chain.rules import check_action
from dms3.chain.session import (
    decode_acceptance,
    decode_agreed,
    decode_preflight,
)
from dms3.chain.values import decode_values, encode_values
from dms3.chain.warrant import (
    Evidence,
    WarrantNews,
    decode_evidence,
    decode_news,
    encode_evidence,
    encode_news,
)
from dms3.chain.whereabouts import decode_whereabouts, issue_whereabouts
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.reconcile import Summary, Told
from dms3.crypto.certificate import PEER_ID_PREFIX

TESTS = Path(__file__).parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from unit.chain.chain_kit import (  # noqa: E402  # path first
    ALICE,
    ALICE_ROOT,
    BOB,
    BOB_ROOT,
    CONTENT,
    DNA,
    PRIVATE_KEY,
    T0,
    Chain,
    Record,
    acceptance,
    certificate,
    countersigned,
    preflight,
)

_CHAIN, _BOBS = Chain.begun(), Chain.begun(BOB, BOB_ROOT)
_MADE = _CHAIN.create({"text": "I was here", "list": [1, None, True]})
_ABOUT = {"target": _MADE.signed.hash, "target_entry": _MADE.signed.action.entry}
_PRIVATE, _SEALED = _CHAIN.create_private({"text": "dear diary"})
_LINK = _CHAIN.add("link", base=b"base", to=BOB.public, link_kind="by", tag=b"tag")
_CHAIN.add("unlink", base=b"base", target=_LINK.signed.hash)
_CHAIN.add("delete", **_ABOUT)
_CERTIFICATE = certificate(ALICE, ALICE_ROOT)
_REVOCATION = revoke_agent(ALICE_ROOT, _CERTIFICATE, 7, T0)
_CHAIN.add("agent", revocation=_REVOCATION)
_ASKED = preflight()
_SESSION = decode_preflight(_ASKED).id
_ACCEPTED = [acceptance(_CHAIN, _SESSION), acceptance(_BOBS, _SESSION)]
_AGREED = countersigned(_ASKED, _ACCEPTED)
_FIELDS = {"entry": _AGREED[0], "entry_kind": "contract", "session": _SESSION}
_COUNTERSIGNED = _CHAIN.draft("countersign", _AGREED[1], **_FIELDS)
_EVIDENCE = encode_evidence(Evidence(1, "rule", (encode_signed(_BOBS.head),), "time"))
_WARRANT = _CHAIN.draft("warrant", to=BOB.public, proof=_EVIDENCE)
_RECORDS = [*_CHAIN.records, _COUNTERSIGNED, _WARRANT]
_SIGNED = [encode_signed(record.signed) for record in _RECORDS]
_OPS = [
    encode_op(op)
    for record in _RECORDS
    for op in ops_of(record.signed, record.entry, _SEALED if record is _PRIVATE else None)
]
_OPS_SMALL = tuple(_OPS[:3])
_HELD, _REFUSED = OpResult("held", b"receipt"), OpResult("refused", b"", "time", "older", 3)
_PART = Summary(b"\1\2", 5, b"m" * 16)
_PARTS = Told(at=b"\1", below=(_PART,))
_QUESTION = SendQuestion(
    *(1, DNA.id, ALICE.public, BOB.public, "hello", b"{}", b"", _CERTIFICATE, T0, b"n" * 16, b""),
)
_MANIFEST = b"""name = "guestbook"
title = "Guest book"
[entries.signature]
[entries.diary]
private = true
[links]
by = { by_anyone = true }
[properties]
longest = 500
"""


def judge(data: bytes) -> None:
    """An action as it is met, with nothing at hand: rules never raise."""
    signed = decode_signed(data)
    known = {record.signed.hash: record.signed for record in _RECORDS}
    check_action(Record(signed, _MADE.entry), DNA, _CHAIN.head, known)
    check_action(Record(signed, _AGREED[1]), DNA, None, known)


def manifest(data: bytes) -> None:
    """A manifest says in words what is wrong with it."""
    try:
        parse_manifest(data.decode("utf-8", "replace"))
    except Dms3Error as error:
        if error.code != "content_invalid":
            raise
        raise DecodeError(0, error.message) from error


FUZZ = {
    "action": decode_action,
    "signed action": decode_signed,
    "rules of the system": judge,
    "entry": decode_entry,
    "values": lambda data: decode_values(data, "content"),
    "sealed entry": lambda data: open_private(PRIVATE_KEY, _PRIVATE.signed.action.entry, data),
    "dna": decode_dna,
    "manifest": manifest,
    "op": decode_op,
    "agent certificate": decode_agent,
    "agent revocation": decode_revocation,
    "receipt": decode_receipt,
    "preflight": decode_preflight,
    "acceptance": decode_acceptance,
    "session": decode_agreed,
    "evidence": decode_evidence,
    "warrant news": decode_news,
    "whereabouts": decode_whereabouts,
    "chain question": decode_chain_question,
    "published": lambda data: decode_published(data, 2),
    "fetched": decode_fetched,
    "reconciled": lambda data: decode_reconciled(data, 2),
    "receipt note": decode_receipt_note,
    "agent question": decode_agent_question,
    "send answer": decode_send_answer,
    "session reply": decode_session_reply,
}
_ONE_SHAPE = "25 decoders of one shape: all of them together get the inputs of one"
COUNTS = dict.fromkeys(FUZZ, (4_000, _ONE_SHAPE))

_PLACED = issue_whereabouts(
    ALICE, DNA.id, PEER_ID_PREFIX + ALICE.public, ("/ip4/10.0.0.1/tcp/1",), T0
)
SEEDS = {
    "action": [record.signed.data for record in _RECORDS],
    "signed action": _SIGNED,
    "rules of the system": _SIGNED,
    "entry": [_MADE.entry, _PRIVATE.entry, _AGREED[1], make_entry(CONTENT)[1]],
    "values": [encode_values({"a": [1, "x", None, -5]}, "content")],
    "sealed entry": [seal_private(PRIVATE_KEY, _PRIVATE.signed.action.entry, _PRIVATE.entry)[1]],
    "dna": [encode_dna(DNA)],
    "manifest": [_MANIFEST],
    "op": _OPS,
    "agent certificate": [_CERTIFICATE],
    "agent revocation": [_REVOCATION],
    "receipt": [issue_receipt(BOB, DNA.id, b"o" * 32, T0)],
    "preflight": [_ASKED],
    "acceptance": _ACCEPTED,
    "session": [decode_entry(_AGREED[1]).session],
    "evidence": [_EVIDENCE],
    "warrant news": [
        encode_news(WarrantNews(1, encode_signed(_WARRANT.signed), op))
        for op in (b"", _OPS_SMALL[0])
    ],
    "whereabouts": [_PLACED.value],
    "chain question": [
        encode(ChainQuestion(DNA.id, publish=Publish(_OPS_SMALL))),
        encode(ChainQuestion(DNA.id, fetch=Fetch("links", b"base", 10, "by", b"tag"))),
        encode(ChainQuestion(DNA.id, reconcile=Reconcile((_PART,), (b"o" * 32,)))),
        encode(ChainQuestion(DNA.id, bring=Bring((b"o" * 32, b"p" * 32)))),
        encode(ChainQuestion(DNA.id, vouch=Vouch((b"o" * 32,)))),
    ],
    "published": [encode(Published((_HELD, _REFUSED)))],
    "fetched": [encode(Fetched((FetchedOp(_OPS[0]), FetchedOp(_OPS[1], "rejected", "r")), True))],
    "reconciled": [encode(Reconciled((Told(equal=True), _PARTS), 3))],
    "receipt note": [encode(ReceiptNote(DNA.id, (b"o" * 32,), (_REFUSED,)))],
    "agent question": [
        encode(AgentQuestion(send=sign_question(ALICE, _QUESTION))),
        encode(AgentQuestion(propose=SessionPropose(BOB.public, _ASKED, _MADE.entry, b"c"))),
        encode(AgentQuestion(accept=SessionAccept(_ACCEPTED[0]))),
        encode(AgentQuestion(complete=SessionComplete(BOB.public, _SESSION, _AGREED[1]))),
        encode(AgentQuestion(decline=sign_decline(BOB, _SESSION, "not today"))),
    ],
    "send answer": [encode(SendAnswer(b"5")), encode(SendAnswer(code="forbidden", message="No."))],
    "session reply": [encode(SessionReply("accepted", _ACCEPTED[0]))],
}
