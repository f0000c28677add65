"""The formats are those of `tests/vectors/chain/formats.json`: a changed byte is a new network.

`python tests/unit/chain/test_vectors.py` prints what the code makes now.
"""

import json
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from dms3.chain.action import KINDS, check_signature, decode_signed, encode_signed  # noqa: E402
from dms3.chain.agent import revoke_agent  # noqa: E402
from dms3.chain.dna import decode_dna, encode_dna  # noqa: E402
from dms3.chain.entry import decode_entry, entry_hash, make_entry  # noqa: E402
from dms3.chain.ops import encode_op, op_id, ops_of  # noqa: E402
from dms3.chain.receipt import issue_receipt  # noqa: E402
from dms3.chain.session import decode_preflight  # noqa: E402
from dms3.chain.warrant import Evidence, encode_evidence  # noqa: E402
from dms3.chain.whereabouts import issue_whereabouts  # noqa: E402
from dms3.crypto.certificate import PEER_ID_PREFIX  # noqa: E402
from unit.chain.chain_kit import (  # noqa: E402
    ALICE,
    ALICE_NEXT,
    ALICE_ROOT,
    BOB,
    BOB_ROOT,
    CONTENT,
    DNA,
    OTHER_DNA,
    T0,
    Chain,
    acceptance,
    certificate,
    countersigned,
    preflight,
)

VECTORS = TESTS / "vectors" / "chain" / "formats.json"


def chain_of_all_kinds():
    """Every kind of action, each keeping the rules of the system; and one sealed entry."""
    bob = Chain.begun(BOB, BOB_ROOT)
    old = Chain.begun(ALICE, ALICE_ROOT, OTHER_DNA)
    closed = old.add("close", other_dna=DNA.id, to=ALICE.public).signed
    chain = Chain.begun()
    chain.add("open", other_dna=OTHER_DNA.id, target=closed.hash, proof=encode_signed(closed))
    made = chain.create({"text": "I was here"}).signed
    _, sealed = chain.create_private({"text": "dear diary"})
    entry, data = make_entry({"text": "I am here"})
    about = {"target": made.hash, "target_entry": made.action.entry}
    chain.add("update", data, entry=entry, entry_kind="signature", **about)
    fields = {"base": made.action.entry.binary, "to": BOB.public, "link_kind": "by", "tag": b"tag"}
    link = chain.add("link", **fields).signed
    chain.add("unlink", base=made.action.entry.binary, target=link.hash)
    chain.add("delete", **about)
    asked = preflight()
    session = decode_preflight(asked).id
    agreed, data = countersigned(asked, [acceptance(chain, session), acceptance(bob, session)])
    chain.add("countersign", data, entry=agreed, entry_kind="contract", session=session)
    evidence = encode_evidence(Evidence(1, "rule", (encode_signed(bob.head),), "time"))
    chain.add("warrant", to=BOB.public, proof=evidence)
    revocation = revoke_agent(ALICE_ROOT, certificate(ALICE_NEXT, ALICE_ROOT), 7, T0)
    chain.add("agent", revocation=revocation)
    chain.add("close", other_dna=OTHER_DNA.id, to=ALICE.public)
    return chain, sealed


def now():
    """What the code makes."""
    chain, sealed = chain_of_all_kinds()
    found = []
    for record in chain.records:
        ops = ops_of(record.signed, record.entry, sealed if record.signed.action.private else None)
        found.append(
            {
                "kind": record.signed.action.kind,
                "hash": str(record.signed.hash),
                "signed": encode_signed(record.signed).hex(),
                "entry": None if record.entry is None else record.entry.hex(),
                "ops": [[op.kind, op.basis.hex(), op_id(op).hex()] for op in ops],
            }
        )
    peer = PEER_ID_PREFIX + ALICE.public
    first = ops_of(chain.records[0].signed)[0]
    return {
        "about": "docs/wire.md, Source chains; checked by tests/unit/chain/test_vectors.py",
        "dna": {"id": DNA.id.hex(), "bytes": encode_dna(DNA).hex()},
        "entry": {"content": CONTENT, "hash": str(make_entry(CONTENT)[0])},
        "sealed": sealed.hex(),
        "certificate": certificate(ALICE, ALICE_ROOT).hex(),
        "preflight": preflight().hex(),
        "session": decode_preflight(preflight()).id.hex(),
        "receipt": issue_receipt(BOB, DNA.id, op_id(first), T0).hex(),
        "op": encode_op(first).hex(),
        "whereabouts": issue_whereabouts(
            ALICE, DNA.id, peer, ("/ip4/10.0.0.1/tcp/1",), T0
        ).value.hex(),
        "records": found,
    }


def recorded():
    return json.loads(VECTORS.read_text())


def test_the_formats_are_the_recorded_ones():
    assert now() == recorded()
    assert {row["kind"] for row in recorded()["records"]} == set(KINDS)


@pytest.mark.parametrize("row", recorded()["records"], ids=lambda row: row["kind"])
def test_a_recorded_action_is_read_as_it_was_written(row):
    signed = decode_signed(bytes.fromhex(row["signed"]))
    assert (signed.action.kind, str(signed.hash)) == (row["kind"], row["hash"])
    assert check_signature(signed)
    assert encode_signed(signed).hex() == row["signed"]
    if row["entry"] is not None:
        data = bytes.fromhex(row["entry"])
        assert entry_hash(data) == signed.action.entry
        assert decode_entry(data)


def test_the_recorded_chain_keeps_the_rules():
    chain, _ = chain_of_all_kinds()
    whole, chain.records = chain.records, []
    known = {record.signed.hash: record.signed for record in whole}
    for record in whole:
        assert repr(chain.judge(record, known)) == "Valid()", record.signed.action.kind
        chain.records.append(record)


def test_the_recorded_dna_has_its_id():
    row = recorded()["dna"]
    assert decode_dna(bytes.fromhex(row["bytes"])).id.hex() == row["id"]


if __name__ == "__main__":
    print(json.dumps(now(), indent=1))
