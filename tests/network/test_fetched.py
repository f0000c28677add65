"""What a reader fetched: folders are listed without their files, and everything can be removed."""

from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from network.running import Running, running, wait_until

BIG = bytes(range(256)) * 8_192  # several blocks


def fetched(node: Running) -> tuple[int, int]:
    data = node.call("status")["fetched"]
    return data["documents"], data["bytes"]


def refused(node: Running, *words: str, **arguments: object) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        node.call(*words, **arguments)
    return caught.value


def test_a_reader_lists_a_folder_fetches_of_it_and_removes_what_was_fetched(tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "heron.txt").write_text("The heron waits beside the lock.")
    (letters / "big.bin").write_bytes(BIG)
    with (
        running(tmp_path / "alice", "--name", "alice") as alice,
        running(tmp_path / "bob", "--name", "bob", "--join", alice.data["address"]) as bob,
    ):
        for giver, taker in ((alice, bob), (bob, alice)):
            taker.call("contact", "add", card=giver.call("contact", "card")["card"])
        root = alice.call("store", "add", paths=[str(letters)], space="letters")["root"]
        assert refused(bob, "store", "folder", cid=root).code == "content_unavailable"
        alice.call("store", "share", space="letters", **{"with": "bob"})
        wait_until(lambda: any(not one["mine"] for one in bob.call("store", "list")["spaces"]))

        folder_asked_as_file = refused(bob, "store", "get", cid=root)
        assert folder_asked_as_file.code == "argument_invalid"
        assert f"dms3 store folder {root}" in folder_asked_as_file.hint
        here = alice.call("store", "folder", cid=root)
        there = bob.call("store", "folder", cid=root)
        assert there == here
        assert [one["name"] for one in there["entries"]] == ["big.bin", "heron.txt"]
        sizes = {one["name"]: one["size"] for one in there["entries"]}
        assert sizes["heron.txt"] == 32
        assert len(BIG) <= sizes["big.bin"] < len(BIG) * 1.01
        first = bob.call("store", "folder", cid=root, limit=1)
        assert (first["count"], len(first["entries"])) == (2, 1)
        assert refused(bob, "store", "folder", cid=root, limit=0).code == "argument_invalid"

        heron = there["entries"][1]["cid"]
        no_folder = refused(bob, "store", "folder", cid=heron)
        assert no_folder.code == "argument_invalid"
        assert f"dms3 store get {heron}" in no_folder.hint
        documents, size = fetched(bob)
        assert documents >= 1
        assert size > 0
        assert fetched(alice) == (0, 0)

        own = refused(bob, "store", "remove", cid=root, space="documents")
        assert own.code == "not_found", "what was fetched lies in no space of his"
        wait_until(lambda: bob.call("status")["fetches"] == 0)
        assert bob.call("store", "remove", cid=root) == {"removed": 1}
        assert refused(bob, "store", "remove", cid=root).code == "not_found"
        assert fetched(bob) == (0, 0)
        assert bob.call("store", "get", cid=heron)["size"] == 32
        assert fetched(bob) == (1, 32)
        assert bob.call("store", "remove", cid=heron) == {"removed": 1}
        assert fetched(bob) == (0, 0)
        alice.call("store", "unshare", space="letters", **{"with": "bob"})
        assert refused(bob, "store", "get", cid=heron).code == "content_unavailable"
        assert alice.call("store", "verify")["damaged"] == []
        assert bob.call("store", "verify")["damaged"] == []
