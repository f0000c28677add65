"""Two people and their nodes: what removing a contact, sharing anew and looking elsewhere do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from network.running import Running, running, wait_until

TEXT = "We meet on Friday to plant the garden.\n"


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Iterator[tuple[Running, Running]]:
    """The nodes of alice and bob, who is her contact; her space "letters" holds one document."""
    folder: Path = tmp_path_factory.mktemp("people")
    (folder / "garden.txt").write_text(TEXT)
    with (
        running(folder / "alice", "--name", "alice") as alice,
        running(folder / "bob", "--name", "bob") as bob,
    ):
        meet(alice, bob)
        alice.call("store", "add", paths=[str(folder / "garden.txt")], space="letters")
        yield alice, bob


def meet(alice: Running, bob: Running) -> None:
    bob.call("contact", "add", card=alice.call("contact", "card")["card"])
    alice.call("contact", "add", card=bob.call("contact", "card")["card"])
    wait_until(lambda: alice.call("peer", "list")["connected"] == 1)


def shared_with(node: Running) -> list[dict[str, object]]:
    return [space for space in node.call("store", "list")["spaces"] if not space["mine"]]


def readers(node: Running) -> list[dict[str, object]]:
    return [
        one for space in node.call("store", "list")["spaces"] for one in space.get("readers", ())
    ]


def share(alice: Running, **more: str) -> dict[str, object]:
    return alice.call("store", "share", space="letters", **{"with": "bob"}, **more)


def test_removing_a_contact_takes_the_grants_back(people: tuple[Running, Running]) -> None:
    alice, bob = people
    share(alice)
    wait_until(lambda: len(shared_with(bob)) == 1)
    assert bob.call("search", query="garden", scope="peers")["total"] == 1
    gone = alice.call("contact", "remove", contact="bob")
    assert (gone["name"], gone["withdrawn"]) == ("bob", 1)
    assert readers(alice) == []
    assert bob.call("search", query="garden", scope="peers")["total"] == 0
    wait_until(lambda: shared_with(bob) == [])
    with pytest.raises(Dms3Error, match="no contact 'bob'") as refused:
        alice.call("store", "unshare", space="letters", **{"with": "bob"})
    assert refused.value.code == "not_found"
    meet(alice, bob)
    assert alice.call("contact", "remove", contact="bob")["withdrawn"] == 0
    meet(alice, bob)


def test_sharing_again_with_another_end_replaces_the_grant(people: tuple[Running, Running]) -> None:
    alice, bob = people
    for until in ("2099-12-31", "2098-01-31", None):
        given = share(alice) if until is None else share(alice, until=until)
        assert given["new"]
        ends = given["until_us"]
        wait_until(lambda ends=ends: [one["until_us"] for one in shared_with(bob)] == [ends])
        assert [one["until_us"] for one in readers(alice)] == [ends]
        assert bob.call("search", query="garden", scope="peers")["total"] == 1
    assert share(alice)["new"] is False
    done = alice.call("store", "unshare", space="letters", **{"with": "bob"})
    assert done["withdrawn"] == 1
    wait_until(lambda: shared_with(bob) == [])
