"""Three nodes on one machine: one that nobody can dial is reached through another, all the same."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from network.running import Running, running, wait_until

LONELY = ("--listen", "none")  # the last word counts: it dials, and nobody dials it
SENTENCE = "The heron waits beside the ninth lock.\n"


class Three(NamedTuple):
    """Nodes that run: `hop` and `alice` can be dialled, bob cannot, and knows the hop alone."""

    hop: Running
    alice: Running
    bob: Running


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    base: Path = tmp_path_factory.mktemp("circuit")
    (base / "heron.txt").write_text(SENTENCE)
    with ExitStack() as stack:
        hop = stack.enter_context(running(base / "hop", "--no-mdns"))
        join = ("--no-mdns", "--join", hop.data["address"])
        alice = stack.enter_context(running(base / "alice", "--no-mdns", "--name", "alice"))
        bob = stack.enter_context(running(base / "bob", *join, *LONELY, "--name", "bob"))
        wait_until(lambda: bob.call("status")["addresses"])
        bob.call("store", "add", paths=[str(base / "heron.txt")], space="letters")
        yield Three(hop, alice, bob)


def row_of(node: Running, other: Running) -> dict[str, object]:
    rows = node.call("peer", "list")["peers"]
    return next((row for row in rows if row["peer_id"] == other.data["peer_id"]), {})


def reach_of(node: Running) -> tuple[str, str]:
    (check,) = [one for one in node.call("doctor")["checks"] if one["name"] == "reach"]
    return check["verdict"], check["detail"]


def metric(node: Running, name: str) -> float:
    lines = httpx.get(f"http://{node.data['api']}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_who_listens_nowhere_is_dialled_through_a_hop(three):
    hop, alice, bob = three
    (address,) = bob.call("status")["addresses"]
    assert address == f"{hop.data['address']}/p2p-circuit/p2p/{bob.data['peer_id']}"
    card = bob.call("contact", "card")
    assert card["addresses"] == [address.rpartition("/p2p/")[0]]
    alice.call("contact", "add", card=card["card"])
    wait_until(lambda: row_of(alice, bob).get("connected"))
    there, back = row_of(alice, bob), row_of(bob, alice)
    assert (there["direct"], there["inbound"], back["direct"], back["inbound"]) == (
        *(False, False),
        *(False, True),
    )
    assert there["address"] == card["addresses"][0]
    assert row_of(bob, hop)["direct"] is True


def test_what_is_shared_and_said_goes_through_it(three):
    hop, alice, bob = three
    bob.call("contact", "add", card=alice.call("contact", "card")["card"])
    bob.call("store", "share", space="letters", **{"with": "alice"})
    wait_until(lambda: alice.call("search", query="heron", scope="peers")["total"] == 1)
    sent = alice.call("message", "send", name="bob", text="Through the wall.")["hash"]
    wait_until(lambda: sent in [row["hash"] for row in bob.call("message", "inbox")["messages"]])
    assert row_of(alice, bob)["direct"] is False
    assert metric(hop, "dms3_circuits_bytes_total") > len(SENTENCE)
    assert metric(hop, 'dms3_circuits{state="open"}') == 1
    assert metric(hop, 'dms3_circuits{state="place"}') >= 1


def test_the_doctor_says_how_a_node_is_reached(three):
    hop, _, bob = three
    assert reach_of(hop)[0] == "pass"
    assert "passes circuits" in reach_of(hop)[1]
    assert reach_of(bob)[0] == "pass"
    assert "through" in reach_of(bob)[1]
