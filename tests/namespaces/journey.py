"""Two homes behind routers, two nodes in the open, two machines on a cable: prints what they saw.

Run by test_nat.py inside namespaces of its own; the last line is a JSON object of claims.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from namespaces.places import Ground, ip, nodes  # noqa: E402  # path first
from network import running  # noqa: E402

PUBLIC, CAFE = "45.0.0.10", "45.0.0.11"  # not special ones; nobody outside sees them
LETTER = "The heron waits beside the ninth lock.\n" * 20_000  # 0.8 MB: more than one window


WAIT_SECONDS = 60  # six nodes on a small machine: what takes a second alone takes many


def wait_until(holds: Callable[[], object]) -> None:
    """Wait for what the nodes do."""
    running.wait_until(lambda: bool(holds()), WAIT_SECONDS)


def build() -> None:
    """The networks: alice and bob each behind a router, carol and dave on a cable of their own."""
    ground = Ground()
    for name, address in (("public", PUBLIC), ("cafe", CAFE)):
        ground.internet(ground.place(name), address)
    for number, name in enumerate(("alice", "bob"), 1):
        router = ground.router(f"router{number}", f"45.0.0.{number}")
        ground.home(name, router, f"192.168.{number}.1", f"192.168.{number}.2")
    ground.cable(ground.place("carol"), "eth0", ground.place("dave"), "eth0")
    for name, address in (("carol", "10.0.0.1"), ("dave", "10.0.0.2")):
        ip(name, "addr", "add", f"{address}/24", "dev", "eth0")


def journey(base: Path) -> dict[str, Any]:
    """What happened."""
    with nodes(base) as start:
        public, cafe = (start(name, "--no-mdns") for name in ("public", "cafe"))
        carol, dave = start("carol"), start("dave")
        join = ("--join", f"/ip4/{PUBLIC}/tcp/7701/p2p/{public.data['peer_id']}")
        alice, bob = start("alice", *join), start("bob", *join)
        for node in (alice, bob):
            wait_until(lambda node=node: circuits_of(node))
        begun = running.seconds()
        alice.call("contact", "add", card=bob.call("contact", "card")["card"])
        bob.call("contact", "add", card=alice.call("contact", "card")["card"])
        wait_until(lambda: alice.peer(bob).get("connected") and bob.peer(alice).get("connected"))
        said: dict[str, Any] = {"met_seconds": round(running.seconds() - begun, 2)}
        said["direct"] = [alice.peer(bob)["direct"], bob.peer(alice)["direct"]]
        said["hop_direct"] = alice.peer(public)["direct"]
        cafe.call("contact", "add", card=alice.call("contact", "card")["card"])
        wait_until(lambda: cafe.peer(alice).get("connected"))
        said["cafe_first"] = [cafe.peer(alice)["direct"], cafe.peer(alice)["inbound"]]

        local_network(alice, bob, "home")  # over a circuit nobody is near

        (base / "heron.txt").write_text(LETTER)
        alice.call("store", "add", paths=[str(base / "heron.txt")], space="letters")
        alice.call("store", "share", space="letters", **{"with": "bob"})
        wait_until(lambda: bob.call("search", query="heron", scope="peers")["total"] == 1)
        (hit,) = bob.call("search", query="heron", scope="peers")["hits"]
        said["document"] = bob.download(hit["cid"]) == LETTER.encode()

        sent = bob.call("message", "send", name="alice", text="Through the wall.")["hash"]
        wait_until(lambda: sent in [row["hash"] for row in inbox(alice)])
        said["message"] = [row["text"] for row in inbox(alice)]
        said["public_knows"] = public.call("search", query="heron", scope="all")["total"]

        wait_until(lambda: cafe.peer(alice).get("direct"))
        said["cafe_then"] = [alice.peer(cafe)["direct"], alice.peer(cafe)["inbound"]]
        said["cafe_at"] = alice.peer(cafe)["address"]

        wait_until(lambda: carol.peer(dave).get("connected") and dave.peer(carol).get("connected"))
        said["lan"] = sorted({carol.peer(dave)["found"], dave.peer(carol)["found"]})
        said["lan_peers"] = [one.call("peer", "list")["connected"] for one in (carol, dave)]
        local_network(carol, dave, "house")
        wait_until(lambda: members_of(carol, "house") == members_of(dave, "house") == 2)
        said["lan_members"] = [members_of(one, "home") for one in (alice, bob)]
        return said


def local_network(one: Any, other: Any, name: str) -> None:
    """`one` makes a network for whoever is on its local network, and invites `other`."""
    one.call("network", "create", name=name, membrane="lan")
    root = other.call("id", "show")["root"]
    made = one.call("network", "invite", name=name, who=root)
    other.call("network", "join", invitation=made["invitation"])


def members_of(node: Any, name: str) -> int:
    """How many people it knows there, its own included."""
    return len(node.call("network", "members", name=name)["members"])


def circuits_of(node: Any) -> list[str]:
    """Its addresses through hops."""
    return [one for one in node.call("status")["addresses"] if "/p2p-circuit" in one]


def inbox(node: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.call("message", "inbox")["messages"]
    return found


if __name__ == "__main__":
    build()
    print(json.dumps(journey(Path(sys.argv[1]))))
