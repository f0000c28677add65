"""Decoders of capabilities and of sessions under way for the fuzz test."""

from dms3.chain.action import Action, encode_signed, sign_action
from dms3.chain.agent import AgentPlace, issue_agent
from dms3.chain.entry import make_entry
from dms3.chain.session import Preflight, accept_session, propose_session, session_entry
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId, Root, SpaceId
from dms3.crypto.grant import call_right, decode_grant, issue_grant
from dms3.crypto.signing import SigningKey
from dms3.source.agents import certified
from dms3.source.capabilities import Given, Token, Who, allows, decode_token
from dms3.source.sending import Shown, decode_shown
from dms3.source.sessions import Kept, SessionRow, fits, set_in

ALICE, BOB = sorted(
    (SigningKey.of_seed(letter * 32) for letter in (b"a", b"b")), key=lambda key: key.public
)
APP = OverlayId(b"o" * 32)
NOW, END = 5_000_000, 90_000_000
GRANT = issue_grant(
    ALICE, SpaceId(APP), Root(BOB.public), [call_right("read")], (NOW, END), b"#" * 16
)
GIVEN = Given(Root(ALICE.public), {GRANT.serial: GRANT})
PREV = Cid.of(DAG_CBOR, b"before")
CONTENT = {"text": "we agree"}
PLAIN_HASH, PLAIN = make_entry(CONTENT)
_BARE = Preflight(
    1, APP, ALICE.public, (ALICE.public, BOB.public), PLAIN_HASH, "note", NOW, END, b""
)
PREFLIGHT = propose_session(ALICE, _BARE)
SESSION = _BARE.id
ACCEPTED = tuple(accept_session(key, SESSION, 3, PREV) for key in (ALICE, BOB))
ENTRY_HASH, ENTRY = session_entry(CONTENT, PREFLIGHT, ACCEPTED)
ACTION = sign_action(
    BOB,
    Action(
        1,
        APP,
        BOB.public,
        BOB.public,
        3,
        PREV,
        NOW,
        "countersign",
        entry=ENTRY_HASH,
        entry_kind="note",
        session=SESSION,
    ),
)
WAITING = Kept(SessionRow(1, PREFLIGHT, PLAIN, ALICE.public, "accepted", ACCEPTED[:1]))
WRITTEN = Kept(SessionRow(1, PREFLIGHT, PLAIN, ALICE.public, "written", ACCEPTED))


def _refusal_is_no_fault(check, *arguments: object) -> object:
    try:
        return check(*arguments)
    except Dms3Error as error:
        raise DecodeError(0, error.message) from error


FUZZ = {
    "capability": decode_token,
    "capability shown": decode_shown,
    "grant of a call": decode_grant,
    "grant as a call shows it": lambda data: _refusal_is_no_fault(
        allows, GIVEN, "read", Who(APP, BOB.public), data, NOW
    ),
    "certificate of who asks": lambda data: _refusal_is_no_fault(certified, APP, BOB.public, data),
    "set of a session": lambda data: _refusal_is_no_fault(set_in, WAITING, data),
    "action of a session": lambda data: _refusal_is_no_fault(fits, WRITTEN, data),
}
SEEDS = {
    "capability": [
        encode(Token(1, encode(GRANT), b"")),
        encode(Token(1, encode(GRANT), b"s" * 32)),
    ],
    "capability shown": [encode(Shown(encode(GRANT), b"")), encode(Shown(b"g", b"s" * 64))],
    "grant of a call": [encode(GRANT)],
    "grant as a call shows it": [encode(GRANT)],
    "certificate of who asks": [issue_agent(ALICE, AgentPlace(APP, BOB.public, b"d" * 16), NOW)],
    "set of a session": [ENTRY],
    "action of a session": [encode_signed(ACTION)],
}
_SIGNED = "what is well formed is verified, and its shape is that of the decoders of chains"
COUNTS = dict.fromkeys(FUZZ, (4_000, _SIGNED))
