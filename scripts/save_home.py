"""Save the home of a stopped node for tests/vectors/homes: `python scripts/save_home.py issue-N`.

Run it at the end of an issue, by the program that is to be remembered. What the home holds is said
in its expected.json; tests/network/test_saved_home.py opens it with every later program.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from dms3.core.errors import Dms3Error  # noqa: E402 - as below
from dms3.sdk import SyncClient  # noqa: E402
from network.running import Running, running, wait_until  # noqa: E402 - tests are no package
from network.test_saved_home import HOMES, conversation, guestbook  # noqa: E402

KEPT = ("key", "packs", "store.db")
FILES = {
    "first.txt": "The lighthouse at the end of the pier was painted white that spring.\n",
    "page.html": "<title>Harbour</title><p>Boats wait for the tide before they leave.</p>",
    "large.txt": "".join(f"{number} potatoes in a row of the field\n" for number in range(2_000)),
    "second.md": "# Garden\n\nThe potatoes are planted when the soil is warm.\n",
}
PUBLIC = {"notice.txt": "The regatta begins at noon on the first Sunday of the month.\n"}
SAID = (
    ("alice", "Are you coming to the weir on Sunday?"),
    ("bob", "Yes, at four."),
    ("alice", "Then bring the lantern."),
    ("bob", "It is packed already."),
)
SIGNED = ("alice", "bob")
THEIRS = {"ferry.txt": "The ferry leaves twice a day, except in a storm.\n"}


def written(folder: Path, files: dict[str, str]) -> list[str]:
    """The paths of `files` below `folder`."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in files]


def filled(alice: Running, bob: Running, work: Path) -> dict[str, Any]:
    """Give both something; what is in the home of alice."""
    for one, other in ((alice, bob), (bob, alice)):
        one.call("contact", "add", card=other.call("contact", "card")["card"])
    alice.call("store", "add", paths=written(work / "letters", FILES), space="letters")
    bob.call("store", "add", paths=written(work / "bobs", THEIRS), space="sea")
    alice.call("store", "share", space="letters", **{"with": "bob"})
    bob.call("store", "share", space="sea", **{"with": "alice"})
    alice.call("store", "add", paths=written(work / "notices", PUBLIC), space="notices")
    alice.call("store", "publish", space="notices")

    def found() -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = alice.call("search", query="ferry", scope="peers")["hits"]
        return hits

    wait_until(lambda: bool(found()))
    return {
        "fetched": found()[0]["cid"],
        "messages": exchanged(alice, bob),
        "guestbook": signed(alice, bob),
    }


def signed(alice: Running, bob: Running) -> list[dict[str, Any]]:
    """Let both write into the guestbook; its lines, as alice reads them."""
    for node, name in ((alice, "alice"), (bob, "bob")):
        node.call("dapp", "install", what="guestbook")
        line = {"text": f"{name} was here", "name": name}
        node.call("dapp", "call", dapp="guestbook", function="sign", arguments=line)
    wait_until(lambda: len(guestbook(alice)) == len(SIGNED))
    return guestbook(alice)


def exchanged(alice: Running, bob: Running) -> list[dict[str, Any]]:
    """Let both write to each other, read it, and compare keys; the conversation as alice has it."""
    nodes = {"alice": (alice, "bob"), "bob": (bob, "alice")}
    for number, (sender, text) in enumerate(SAID, 1):
        node, name = nodes[sender]
        node.call("message", "send", name=name, text=text)
        arrived(nodes.values(), number)
    last = alice.call("message", "conversation", name="bob")["messages"][-1]
    alice.call("message", "react", hash=last["hash"], text="+1")
    for node, name in nodes.values():
        node.call("message", "opened", name=name)
    wait_until(lambda: all(one["state"] == "read" for one in conversation(alice, "bob")))
    alice.call("message", "verified", name="bob")
    return conversation(alice, "bob")


def arrived(nodes: Iterable[tuple[Running, str]], number: int) -> None:
    """Wait until each has `number` messages."""

    def count(node: Running, name: str) -> int:
        try:
            return len(conversation(node, name))
        except Dms3Error:  # the profile of the other is still being published
            return 0

    wait_until(lambda: all(count(*each) == number for each in nodes))


def main() -> None:
    """Make the home called as the argument says."""
    name = sys.argv[1]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with running(work / "alice", "--name", "alice") as alice:
            join = ("--join", alice.data["address"])
            with running(work / "bob", "--name", "bob", *join) as bob:
                expected = filled(alice, bob, work)
                fetched_bytes(alice, expected["fetched"])
                expected |= described(alice, bob)
        made = {"made": f"by the program at the end of {name.replace('-', ' ')} (commit {commit})"}
        target = HOMES / name
        target.mkdir()
        for part in KEPT:
            source = work / "alice" / part
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target / part)
        (target / "expected.json").write_text(json.dumps(made | expected, indent=1) + "\n")


def fetched_bytes(alice: Running, cid: str) -> None:
    """Read the file of somebody else once, so that its blocks are in the home."""
    with SyncClient(home=alice.home, api=alice.data["api"]) as client:
        assert b"ferry" in b"".join(client.pieces(cid))


def described(alice: Running, bob: Running) -> dict[str, Any]:
    """What a later program has to find."""
    shown = alice.call("id", "show")
    documents = alice.call("store", "list", space="letters")["documents"]
    keys = ("name", "title", "kind", "bytes", "cid")
    verified = alice.call("store", "verify")
    return {
        "id": shown,
        "words": alice.call("id", "words")["words"],
        "contact": {"name": "bob", "root": bob.call("id", "show")["root"]},
        "documents": [{key: one[key] for key in keys} for one in documents],
        "public": ["notices"],
        "verified": {key: verified[key] for key in ("blocks", "documents", "damaged")},
    }


if __name__ == "__main__":
    main()
