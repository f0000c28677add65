"""The messages of /dms3/chain/1 and /dms3/agent/1, and both sides of their bounds."""

import dataclasses

import pytest

from dms3.chain.action import BASE_BYTES_MAX
from dms3.chain.agent_messages import (
    AgentQuestion,
    SendAnswer,
    SendQuestion,
    SessionAccept,
    SessionComplete,
    SessionDecline,
    SessionPropose,
    SessionReply,
    check_decline,
    check_question,
    decode_agent_question,
    decode_send_answer,
    decode_session_reply,
    sign_decline,
    sign_question,
)
from dms3.chain.messages import (
    CODES,
    STATES,
    WHAT,
    ChainQuestion,
    Fetch,
    Fetched,
    FetchedOp,
    OpResult,
    Publish,
    Published,
    ReceiptNote,
    decode_chain_question,
    decode_fetched,
    decode_published,
    decode_receipt_note,
)
from dms3.chain.ops import OP_BYTES_MAX, encode_op, ops_of
from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ACCEPTANCE_BYTES_MAX,
    AGENT_BODY_BYTES_MAX,
    CAPABILITY_BYTES_MAX,
    CERTIFICATE_AGENT_BYTES_MAX,
    CHAIN_ANSWER_BYTES_MAX,
    CHAIN_FETCH_MAX,
    CHAIN_OPS_MAX,
    CHAIN_QUESTION_BYTES_MAX,
    CHAIN_SMALL_BYTES_MAX,
    DETAIL_CHARS_MAX,
    DNA_NAME_CHARS_MAX,
    ENTRY_BYTES_MAX,
    FRAME_BODY_BYTES_MAX,
    PREFLIGHT_BYTES_MAX,
    RECEIPT_BYTES_MAX,
    TAG_BYTES_MAX,
)
from unit.chain.chain_kit import ALICE, ALICE_ROOT, BOB, DNA, T0, Chain, certificate, preflight

ID, LONG_ID = b"i" * 32, b"i" * 33
OPS = tuple(encode_op(op) for op in ops_of(Chain.begun().head))
FETCH = Fetch("links", b"base", 10, "by", b"tag", ALICE.public, -1, ID, 1, 2)
HELD = OpResult("held", b"receipt")
REFUSED = OpResult("refused", b"", "too-long", "the text has 601 characters", 12)


@pytest.mark.parametrize(
    ("message", "decoder"),
    [
        (ChainQuestion(DNA.id, publish=Publish(OPS)), decode_chain_question),
        (ChainQuestion(DNA.id, fetch=FETCH), decode_chain_question),
        (Published((HELD, REFUSED)), lambda data: decode_published(data, 2)),
        (Fetched((FetchedOp(OPS[0]), FetchedOp(OPS[1], "rejected", "r", "d", 1)), True, 4, 5),
         decode_fetched),
        (Fetched(()), decode_fetched),
        (ReceiptNote(DNA.id, (ID, ID), (HELD, REFUSED)), decode_receipt_note),
    ],
    ids=range(6),
)  # fmt: skip
def test_what_is_said_arrives(message, decoder):
    assert decoder(encode(message)) == message


@pytest.mark.parametrize("what", WHAT)
def test_what_can_be_fetched(what):
    assert Fetch(what, b"b", CHAIN_FETCH_MAX).what == what


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: Fetch("everything", b"b", 1), "cannot be fetched"),
        (lambda: Fetch("record", b"", 1), "key of the overlay"),
        (lambda: Fetch("record", bytes(BASE_BYTES_MAX + 1), 1), "key of the overlay"),
        (lambda: Fetch("record", b"b", 0), "limit"),
        (lambda: Fetch("record", b"b", CHAIN_FETCH_MAX + 1), "limit"),
        (lambda: Fetch("record", b"b", 1, "k" * (DNA_NAME_CHARS_MAX + 1)), "link kind"),
        (lambda: Fetch("record", b"b", 1, tag=bytes(TAG_BYTES_MAX + 1)), "tag"),
        (lambda: Fetch("record", b"b", 1, author=LONG_ID), "agent"),
        (lambda: Fetch("record", b"b", 1, after=-2), "place"),
        (lambda: Fetch("record", b"b", 1, cursor=LONG_ID), "32 bytes"),
        (lambda: Fetch("record", b"b", 1, until_us=-1), "time"),
        (lambda: ChainQuestion(b"short", fetch=FETCH), "overlay"),
        (lambda: ChainQuestion(DNA.id), "exactly one"),
        (lambda: ChainQuestion(DNA.id, Publish(OPS), FETCH), "exactly one"),
        (lambda: Publish(()), "1 to 64"),
        (lambda: Publish(OPS[:1] * (CHAIN_OPS_MAX + 1)), "1 to 64"),
        (lambda: Publish((bytes(OP_BYTES_MAX + 1),)), "op is too long"),
        (lambda: OpResult("taken"), "no result"),
        (lambda: OpResult("held"), "receipt"),
        (lambda: OpResult("refused", b"receipt"), "receipt"),
        (lambda: OpResult("held", bytes(RECEIPT_BYTES_MAX + 1)), "receipt is too long"),
        (lambda: OpResult("refused", rule="r" * (DNA_NAME_CHARS_MAX + 1)), "rule is too long"),
        (lambda: OpResult("refused", detail="d" * (DETAIL_CHARS_MAX + 1)), "detail is too long"),
        (lambda: OpResult("refused", line=-1), "line"),
        (lambda: Published((HELD,) * (CHAIN_OPS_MAX + 1)), "too many"),
        (lambda: FetchedOp(bytes(OP_BYTES_MAX + 1)), "op is too long"),
        (lambda: FetchedOp(b"", "loved"), "no state"),
        (lambda: FetchedOp(b"", rule="r" * (DNA_NAME_CHARS_MAX + 1)), "rule is too long"),
        (lambda: FetchedOp(b"", detail="d" * (DETAIL_CHARS_MAX + 1)), "detail is too long"),
        (lambda: FetchedOp(b"", line=-1), "line"),
        (lambda: Fetched((FetchedOp(b""),) * (CHAIN_FETCH_MAX + 1)), "too many"),
        (lambda: Fetched((), head=2, highest=1), "places"),
        (lambda: ReceiptNote(b"short", (ID,), (HELD,)), "overlay"),
        (lambda: ReceiptNote(DNA.id, (), ()), "1 to 64"),
        (lambda: ReceiptNote(DNA.id, (ID,) * 65, (HELD,) * 65), "1 to 64"),
        (lambda: ReceiptNote(DNA.id, (ID,), ()), "one result"),
        (lambda: ReceiptNote(DNA.id, (LONG_ID,), (HELD,)), "32 bytes"),
    ],
    ids=range(37),
)
def test_what_nobody_may_say(made, says):
    with pytest.raises(ValueError, match=says):
        made()


def test_the_greatest_messages_of_chains():
    """The greatest op fits one question and one answer, and both fit a frame."""
    assert CHAIN_QUESTION_BYTES_MAX <= FRAME_BODY_BYTES_MAX
    assert CHAIN_ANSWER_BYTES_MAX <= FRAME_BODY_BYTES_MAX
    greatest = bytes(OP_BYTES_MAX)
    question = ChainQuestion(DNA.id, publish=Publish((greatest,)))
    assert decode_chain_question(encode(question)) == question
    answer = Fetched((FetchedOp(greatest, "rejected", "r" * 64, "\U0001f600" * DETAIL_CHARS_MAX),))
    assert decode_fetched(encode(answer)) == answer
    whole = OpResult(
        "held", bytes([1]) * RECEIPT_BYTES_MAX, "r" * 64, "\U0001f600" * DETAIL_CHARS_MAX
    )
    published = Published((whole,) * CHAIN_OPS_MAX)
    assert decode_published(encode(published), CHAIN_OPS_MAX) == published
    note = ReceiptNote(DNA.id, (ID,) * CHAIN_OPS_MAX, (whole,) * CHAIN_OPS_MAX)
    assert decode_receipt_note(encode(note)) == note
    fetch = Fetch("links", bytes(BASE_BYTES_MAX), CHAIN_FETCH_MAX, "k" * 64, bytes(TAG_BYTES_MAX),
                  ALICE.public, cursor=ID, since_us=(1 << 64) - 1)  # fmt: skip
    question = ChainQuestion(DNA.id, fetch=fetch)
    assert len(encode(question)) <= CHAIN_SMALL_BYTES_MAX
    assert decode_chain_question(encode(question)) == question
    many = Fetched((FetchedOp(OPS[1], "integrated"),) * CHAIN_FETCH_MAX)
    assert decode_fetched(encode(many)) == many


def test_longer_ones_are_refused():
    for decoder, limit in (
        (decode_chain_question, CHAIN_QUESTION_BYTES_MAX),
        (decode_fetched, CHAIN_ANSWER_BYTES_MAX),
        (decode_receipt_note, CHAIN_ANSWER_BYTES_MAX),
        (lambda data: decode_published(data, 1), 64 * 1_024),
    ):
        with pytest.raises(DecodeError, match="too long"):
            decoder(bytes(limit + 1))
    with pytest.raises(DecodeError, match="more than 4096 items"):
        decode_chain_question(b"\x80" * CHAIN_SMALL_BYTES_MAX * 2)


def test_answers_fit_their_questions():
    with pytest.raises(DecodeError, match="1 results for 2 ops"):
        decode_published(encode(Published((HELD,))), 2)
    with pytest.raises(DecodeError, match="more ops than"):
        decode_fetched(encode(Fetched((FetchedOp(b""),) * 2)), 1)


def test_words_of_results_are_known():
    assert [OpResult(code, b"r" * (code == "held")).code for code in CODES] == list(CODES)
    assert [FetchedOp(b"", state).state for state in STATES] == list(STATES)


# /dms3/agent/1

QUESTION = SendQuestion(
    v=1,
    overlay=DNA.id,
    sender=ALICE.public,
    to=BOB.public,
    function="hello",
    body=b"{}",
    capability=b"",
    certificate=certificate(ALICE, ALICE_ROOT),
    time_us=T0,
    nonce=b"n" * 16,
    signature=b"",
)
SEND = AgentQuestion(send=sign_question(ALICE, QUESTION))
STEPS = [
    AgentQuestion(propose=SessionPropose(BOB.public, preflight(), b"entry", b"certificate")),
    AgentQuestion(accept=SessionAccept(b"acceptance")),
    AgentQuestion(complete=SessionComplete(BOB.public, ID, b"entry")),
    AgentQuestion(decline=sign_decline(BOB, ID, "not today")),
]


@pytest.mark.parametrize("question", [SEND, *STEPS], ids=range(5))
def test_what_agents_ask_arrives(question):
    assert decode_agent_question(encode(question)) == question


@pytest.mark.parametrize("answer", [SendAnswer(b"5"), SendAnswer(code="forbidden", message="No.")])
def test_what_agents_answer_arrives(answer):
    assert decode_send_answer(encode(answer)) == answer
    reply = SessionReply("accepted", b"acceptance")
    assert decode_session_reply(encode(reply)) == reply


def test_a_question_is_signed_by_who_asks():
    assert check_question(SEND.send)
    for name in ("overlay", "sender", "to"):
        assert not check_question(dataclasses.replace(SEND.send, **{name: b"x" * 32}))
    for name in ("function", "body", "capability", "certificate", "time_us", "nonce", "signature"):
        other = {"function": "other", "time_us": 5, "nonce": b"m" * 16, "signature": bytes(64)}
        changed = dataclasses.replace(SEND.send, **{name: other.get(name, b"other")})
        assert not check_question(changed), name
    with pytest.raises(AssertionError):
        sign_question(BOB, QUESTION)
    with pytest.raises(DecodeError, match="not signed"):
        decode_agent_question(encode(AgentQuestion(send=QUESTION)))


def test_who_declines_signs_it():
    decline = STEPS[3].decline
    assert check_decline(decline)
    assert not check_decline(dataclasses.replace(decline, reason="other"))
    assert not check_decline(dataclasses.replace(decline, agent=ALICE.public))
    with pytest.raises(DecodeError, match="not signed"):
        decode_agent_question(encode(AgentQuestion(decline=SessionDecline(ID, ID, "", b""))))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (AgentQuestion, "exactly one"),
        (lambda: AgentQuestion(SEND.send, STEPS[0].propose), "exactly one"),
        (lambda: dataclasses.replace(QUESTION, v=2), "version 2"),
        (lambda: dataclasses.replace(QUESTION, overlay=b""), "overlay has 32"),
        (lambda: dataclasses.replace(QUESTION, sender=LONG_ID), "sender has 32"),
        (lambda: dataclasses.replace(QUESTION, to=LONG_ID), "to has 32"),
        (lambda: dataclasses.replace(QUESTION, function="f" * 65), "function"),
        (lambda: dataclasses.replace(QUESTION, body=bytes(AGENT_BODY_BYTES_MAX + 1)), "body"),
        (
            lambda: dataclasses.replace(QUESTION, capability=bytes(CAPABILITY_BYTES_MAX + 1)),
            "capab",
        ),
        (lambda: dataclasses.replace(QUESTION, certificate=bytes(513)), "certificate"),
        (lambda: dataclasses.replace(QUESTION, time_us=-1), "time"),
        (lambda: dataclasses.replace(QUESTION, nonce=b"short"), "nonce"),
        (SendAnswer, "either"),
        (lambda: SendAnswer(b"5", "forbidden"), "either"),
        (lambda: SendAnswer(bytes(AGENT_BODY_BYTES_MAX + 1)), "body"),
        (lambda: SendAnswer(code="c" * 65), "code"),
        (lambda: SendAnswer(code="c", message="m" * (DETAIL_CHARS_MAX + 1)), "message"),
        (lambda: SessionPropose(LONG_ID, b"", b"", b""), "agent"),
        (lambda: SessionPropose(ID, bytes(PREFLIGHT_BYTES_MAX + 1), b"", b""), "preflight"),
        (lambda: SessionPropose(ID, b"", bytes(ENTRY_BYTES_MAX + 1), b""), "entry"),
        (lambda: SessionPropose(ID, b"", b"", bytes(513)), "certificate"),
        (lambda: SessionAccept(bytes(ACCEPTANCE_BYTES_MAX + 1)), "acceptance"),
        (lambda: SessionComplete(LONG_ID, ID, b""), "agent"),
        (lambda: SessionComplete(ID, LONG_ID, b""), "session"),
        (lambda: SessionComplete(ID, ID, bytes(ENTRY_BYTES_MAX + 1)), "entry"),
        (lambda: SessionDecline(LONG_ID, ID, "", b""), "session"),
        (lambda: SessionDecline(ID, LONG_ID, "", b""), "agent"),
        (lambda: SessionDecline(ID, ID, "r" * (DETAIL_CHARS_MAX + 1), b""), "reason"),
        (lambda: SessionReply("maybe"), "no step"),
        (lambda: SessionReply("waiting", b"acceptance"), "only who accepts"),
        (lambda: SessionReply("accepted", bytes(ACCEPTANCE_BYTES_MAX + 1)), "too long"),
    ],
    ids=range(31),
)
def test_what_no_agent_may_say(made, says):
    with pytest.raises(ValueError, match=says):
        made()


def test_the_greatest_messages_of_agents():
    whole = dataclasses.replace(
        QUESTION,
        function="f" * DNA_NAME_CHARS_MAX,
        body=bytes(AGENT_BODY_BYTES_MAX),
        capability=bytes(CAPABILITY_BYTES_MAX),
        certificate=bytes(CERTIFICATE_AGENT_BYTES_MAX),
    )
    entry = bytes(ENTRY_BYTES_MAX)
    proposed = SessionPropose(ID, bytes(PREFLIGHT_BYTES_MAX), entry, bytes(512))
    for question in (
        AgentQuestion(send=sign_question(ALICE, whole)),
        AgentQuestion(propose=proposed),
        AgentQuestion(complete=SessionComplete(ID, ID, entry)),
        AgentQuestion(decline=sign_decline(BOB, ID, "\U0001f600" * DETAIL_CHARS_MAX)),
    ):
        assert decode_agent_question(encode(question)) == question
    answer = SendAnswer(bytes(AGENT_BODY_BYTES_MAX), message="\U0001f600" * (DETAIL_CHARS_MAX - 20))
    assert decode_send_answer(encode(answer)) == answer
    reply = SessionReply("accepted", bytes(ACCEPTANCE_BYTES_MAX))
    assert decode_session_reply(encode(reply)) == reply
    for decoder in (decode_agent_question, decode_send_answer, decode_session_reply):
        with pytest.raises(DecodeError, match="too long"):
            decoder(bytes(2 * ENTRY_BYTES_MAX))
