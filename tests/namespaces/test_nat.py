"""Nodes behind routers that translate addresses reach each other through a node in the open."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = ("unshare", "nsenter", "ip", "nft")
JOURNEY = Path(__file__).with_name("journey.py")
JOURNEY_SECONDS = 240
# Everything is made in namespaces of its own and gone with the process: mounts and nodes, too.
INSIDE = (
    *("unshare", *(() if os.geteuid() == 0 else ("-Ur",)), "--net", "--mount", "--pid"),
    *("--fork", "--kill-child", "--mount-proc"),
)
TRIED = "mount -t tmpfs none /run && ip link add one type veth peer name two && nft list ruleset"


def why_not() -> str:
    """What this machine lacks, or ""."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install iproute2 nftables util-linux"
    tried = subprocess.run(
        [*INSIDE, "sh", "-c", TRIED], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"no network namespaces here: {tried.stderr.strip()}"


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the people in the networks saw; a machine without namespaces skips, CI does not."""
    reason = why_not()
    if reason:
        if os.environ.get("DMS3_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    base = tmp_path_factory.mktemp("nat")
    inside = f"mount -t tmpfs none /run && exec '{sys.executable}' '{JOURNEY}' '{base}'"
    done = subprocess.run(
        [*INSIDE, "sh", "-c", inside],
        capture_output=True,
        text=True,
        check=False,
        timeout=JOURNEY_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    return found


def test_behind_two_routers_the_connection_is_a_circuit(said):
    assert said["direct"] == [False, False]
    assert said["hop_direct"] is True


def test_a_document_and_a_message_go_through_the_node_in_the_open(said):
    assert said["document"] is True
    assert said["message"] == ["Through the wall."]


def test_who_is_in_the_open_is_dialled_back_and_the_circuit_is_gone(said):
    assert said["cafe_first"] == [False, False]
    assert said["cafe_then"] == [True, False]
    assert said["cafe_at"] == "/ip4/45.0.0.11/tcp/7701"


def test_the_node_in_the_middle_learns_nothing_of_them(said):
    assert said["public_knows"] == 0


def test_two_machines_on_a_cable_find_each_other(said):
    assert "lan" in said["lan"]
    assert said["lan_peers"] == [1, 1]


def test_a_local_network_has_whoever_is_on_the_cable_and_nobody_from_behind_a_router(said):
    """Alice and Bob are connected, through the node in the open, and both were invited."""
    assert said["lan_members"] == [1, 1]
