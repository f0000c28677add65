"""Three nodes on one machine: one that nobody can dial is reached through another, all the same."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from network.running import Running, running, wait_until

LONELY = ("--listen", "none")  # the last word counts: it dials, and nobody dials it


class Three:
    """Nodes that run: `hop` can be dialled, `alice` too, and bob cannot; bob knows the hop."""

    def __init__(self, hop: Running, alice: Running, bob: Running) -> None:
        self.hop = hop
        self.alice = alice
        self.bob = bob


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    base: Path = tmp_path_factory.mktemp("circuit")
    with ExitStack() as stack:
        hop = stack.enter_context(running(base / "hop", "--no-mdns"))
        join = ("--no-mdns", "--join", hop.data["address"])
        alice = stack.enter_context(running(base / "alice", "--no-mdns", "--name", "alice"))
        bob = stack.enter_context(running(base / "bob", *join, *LONELY, "--name", "bob"))
        wait_until(lambda: bob.call("status")["addresses"])
        yield Three(hop, alice, bob)


def of(node: Running, other: Running) -> dict:
    (row,) = [
        row
        for row in node.call("peer", "list")["peers"]
        if row["peer_id"] == other.data["peer_id"]
    ]
    return row


def test_who_listens_nowhere_is_dialled_through_a_hop(three, tmp_path):
    alice, bob = three.alice, three.bob
    (address,) = bob.call("status")["addresses"]
    peer = three.hop.data["peer_id"]
    assert address == f"{three.hop.data['address']}/p2p-circuit/p2p/{bob.data['peer_id']}"
    bob.call("contact", "add", card=alice.call("contact", "card")["card"])
    card = bob.call("contact", "card")
    assert card["addresses"] == [address.rpartition("/p2p/")[0]]
    alice.call("contact", "add", card=card["card"])
    wait_until(lambda: of(alice, bob)["connected"])
    print(of(alice, bob), peer)
