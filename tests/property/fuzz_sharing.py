"""Decoders of identity and sharing for the fuzz test."""

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.codec import encode, encode_plain
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.crypto.certificate import decode_certificate, issue_certificate
from dms3.crypto.grant import Proof, check_proof, decode_grant, decode_proof, issue_grant
from dms3.crypto.signing import SigningKey
from dms3.io.keyfile import decode_key_file
from dms3.search.messages import (
    BlockQuestion,
    GrantMessage,
    SearchQuestion,
    decode_block_question,
    decode_grant_message,
    decode_search_answer,
    decode_search_question,
)
from dms3.search.operations import Found, FoundHit
from dms3.search.walk import Frontier, Want

ALICE, BOB = SigningKey.of_seed(b"a" * 32), SigningKey.of_seed(b"b" * 32)
PEER = PeerId(bytes.fromhex("002408011220") + b"p" * 32)
SPACE = SpaceId(b"s" * 32)
CID = Cid.of(RAW, b"block")
NOW = 5_000_000

CERTIFICATE = encode(issue_certificate(BOB, PEER, "phone", 1_000_000, 9_000_000))
GRANT = encode(
    issue_grant(
        ALICE, SPACE, Root(BOB.public), ("read", "search"), (1_000_000, 9_000_000), b"#" * 16
    )
)
PROOF = Proof(GRANT, CERTIFICATE)
KEY_FILE = b"dms3 key 1\n" + encode_plain(
    {
        "v": 1,
        "key": b"\0" + b"k" * 32,
        "salt": b"\0",
        "nonce": b"\0",
        "memory_kib": 0,
        "passes": 0,
        "lanes": 0,
    }
)


def proof_as_a_gate_reads_it(data: bytes) -> object:
    """A proof's fields reach the signature check, whose refusals are expected."""
    proof = decode_proof(data)
    try:
        return check_proof(proof, Root(ALICE.public), SPACE, PEER, NOW)
    except Dms3Error as error:
        raise DecodeError(0, error.message) from error


def block_as_a_fetch_reads_it(data: bytes) -> object:
    """The links of a fetched inner node."""
    frontier = Frontier(CID)
    try:
        return frontier.follow(Want((), Cid.of(DAG_PB, data)), data)
    except Dms3Error as error:
        raise DecodeError(0, error.message) from error


FUZZ = {
    "certificate": decode_certificate,
    "grant": decode_grant,
    "proof": proof_as_a_gate_reads_it,
    "grant_message": decode_grant_message,
    "search_question": decode_search_question,
    "search_answer": decode_search_answer,
    "block_question": decode_block_question,
    "fetched_node": block_as_a_fetch_reads_it,
    "key_file": decode_key_file,
}

SEEDS = {
    "certificate": [CERTIFICATE],
    "grant": [GRANT],
    "proof": [encode(PROOF)],
    "grant_message": [
        encode(GrantMessage(CERTIFICATE, GRANT, "papers")),
        encode(GrantMessage(CERTIFICATE, serial=b"#" * 16)),
    ],
    "search_question": [
        encode(SearchQuestion(SPACE, "a query", 10, PROOF)),
        encode(SearchQuestion(SPACE, "x", 200, PROOF, "text", ("bytes:..10", "name:a*"))),
    ],
    "search_answer": [
        encode(Found((FoundHit(CID, "title", "snippet", "text", 7),), 1, 1, 0)),
        encode(Found((), 0, 0, 0)),
    ],
    "block_question": [encode(BlockQuestion(SPACE, CID, PROOF))],
    "fetched_node": [encode_node(Node((Link(CID, "", 5), Link(CID, "b", 6)), b"data"))],
    "key_file": [KEY_FILE],
}

SLOW = {
    "block_question",
    "fetched_node",
    "grant_message",
    "proof",
    "search_answer",
    "search_question",
}
